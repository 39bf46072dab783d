//! Every address of this module, once: what is registered, who may, and what `/v1/openapi.json` says
//! come from the same table, so that no route can be missing from the document.

use actix_web::{Route, web};

use super::access::Role;
use super::{api, health, ingest, openapi, pagerduty, pages};

/// What a request must bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Source,
    /// A bearer token or a session.
    Operator(Role),
    /// A session; without one the browser is sent to the sign-in.
    Session(Role),
}

pub struct Endpoint {
    pub method: &'static str,
    pub path: &'static str,
    pub needs: Needs,
    pub summary: &'static str,
    /// Names of query parameters.
    pub query: &'static [&'static str],
    /// The schema of the request body, and of the answer; empty: none.
    pub takes: &'static str,
    pub gives: &'static str,
    pub(super) route: fn() -> Route,
}

/// One line per address keeps the table readable.
macro_rules! endpoints {
    ($( $method:ident $path:literal $needs:expr, $takes:literal -> $gives:literal,
        $query:expr, $handler:path, $summary:literal; )*) => {
        &[$( Endpoint {
            method: stringify!($method),
            path: $path,
            needs: $needs,
            summary: $summary,
            query: $query,
            takes: $takes,
            gives: $gives,
            route: || web::$method().to($handler),
        } ),*]
    };
}

const VIEWER: Needs = Needs::Operator(Role::Viewer);
const RESPONDER: Needs = Needs::Operator(Role::Responder);
const ADMIN: Needs = Needs::Operator(Role::Admin);
const SEES: Needs = Needs::Session(Role::Viewer);
const ACTS: Needs = Needs::Session(Role::Responder);
const RULES: Needs = Needs::Session(Role::Admin);

pub const ENDPOINTS: &[Endpoint] = endpoints! {
    post "/v1/alerts" Needs::Source, "Alerts" -> "Accepted", &[], ingest::alerts, "Hand in one alert or up to 1,000";
    post "/v1/alerts/alertmanager" Needs::Source, "Any" -> "Accepted", &[], ingest::alertmanager, "Alertmanager's webhook, version 4";
    post "/v1/pagerduty" Needs::Source, "Any" -> "Any", &[], pagerduty::webhook, "PagerDuty's webhook, version 3";
    get "/v1/cases" VIEWER, "" -> "Cases", &api::cases::FILTERS, api::cases::list, "Cases, newest first";
    get "/v1/cases/{id}" VIEWER, "" -> "Case", &[], api::cases::one, "One case with its timeline";
    post "/v1/cases/{id}/close" RESPONDER, "Reason" -> "Case", &[], api::cases::close, "Close a case by hand";
    post "/v1/cases/{id}/notes" RESPONDER, "Note" -> "Case", &[], api::cases::note, "Add a note to a case";
    get "/v1/escalations" VIEWER, "" -> "Escalations", &api::escalations::FILTERS, api::escalations::list, "Escalations, newest first";
    post "/v1/escalations/{id}/ack" RESPONDER, "" -> "Case", &[], api::escalations::ack, "Acknowledge: I am on it";
    post "/v1/escalations/{id}/resolve" RESPONDER, "Reason" -> "Case", &[], api::escalations::resolve, "Resolve with a reason";
    get "/v1/snoozes" VIEWER, "" -> "Snoozes", &api::snoozes::FILTERS, api::snoozes::list, "Snoozes that stand now";
    delete "/v1/snoozes/{id}" RESPONDER, "" -> "Any", &[], api::snoozes::end, "End a snooze";
    get "/v1/rollups" VIEWER, "" -> "Rollups", &api::rollups::FILTERS, api::rollups::list, "Hourly and daily figures, newest first";
    get "/v1/quarantine" VIEWER, "" -> "Quarantine", &api::quarantine::FILTERS, api::quarantine::list, "Payloads that could not be read";
    post "/v1/quarantine/{id}/replay" ADMIN, "" -> "Any", &[], api::quarantine::replay, "Read a payload again";
    post "/v1/employees/{id}/factors/totp" ADMIN, "" -> "Enrolment", &[], api::employees::enroll, "Enrol or replace an authenticator";
    post "/v1/employees/{id}/unlock" ADMIN, "" -> "Any", &[], api::employees::unlock, "Lift a code lock";
    post "/v1/employees/{id}/links" ADMIN, "LinkRequest" -> "Link", &[], api::employees::link, "Make a one-time link: chat or enroll";
    post "/v1/pages/test" ADMIN, "" -> "Any", &[], api::test_page::send, "Send a test page up the default ladder";
    post "/v1/explain" VIEWER, "Alert" -> "Any", &[], api::explain::explain, "What would happen to an alert; sends nothing";
    get "/v1/journal/verify" VIEWER, "" -> "Any", &[], api::journal::verify, "Check the journal's hash chain";
    get "/v1/openapi.json" Needs::Nothing, "" -> "Any", &[], openapi::serve, "This document";
    get "/healthz" Needs::Nothing, "" -> "Any", &[], health::healthz, "200 while alive";
    get "/readyz" Needs::Nothing, "" -> "Readiness", &[], health::readyz, "200 while alerts can be made durable, else 503";
    get "/metrics" Needs::Nothing, "" -> "Text", &[], health::metrics, "Numbers for Prometheus";
    get "/" SEES, "" -> "Html", &pages::list::FILTERS, pages::list::show, "Page: open escalations and cases";
    get "/cases/{id}" SEES, "" -> "Html", &[], pages::case::show, "Page: one case";
    post "/cases/{id}/ack" ACTS, "Form" -> "Html", &[], pages::case::ack, "Page: acknowledge";
    post "/cases/{id}/resolve" ACTS, "Form" -> "Html", &[], pages::case::resolve, "Page: resolve";
    post "/cases/{id}/close" ACTS, "Form" -> "Html", &[], pages::case::close, "Page: close";
    post "/cases/{id}/note" ACTS, "Form" -> "Html", &[], pages::case::note, "Page: add a note";
    get "/snoozes" SEES, "" -> "Html", &[], pages::lists::snoozes, "Page: snoozes";
    post "/snoozes/{id}/end" ACTS, "Form" -> "Html", &[], pages::lists::end_snooze, "Page: end a snooze";
    get "/rollups" SEES, "" -> "Html", &pages::rollups::FILTERS, pages::rollups::show, "Page: hourly and daily figures";
    get "/quarantine" SEES, "" -> "Html", &[], pages::lists::quarantine, "Page: quarantine";
    post "/quarantine/{id}/replay" RULES, "Form" -> "Html", &[], pages::lists::replay, "Page: replay";
    get "/login" Needs::Nothing, "" -> "Html", &["next"], pages::login::form, "Page: sign in";
    post "/login" Needs::Nothing, "Form" -> "Html", &[], pages::login::sign_in, "Page: sign in with an operator's token";
    post "/logout" Needs::Nothing, "Form" -> "Html", &[], pages::login::sign_out, "Page: sign out";
    get "/assets/operator.css" Needs::Nothing, "" -> "Text", &[], pages::stylesheet, "Style of the pages";
};

/// Endpoints grouped by path, as actix wants its resources; in the table's order, for it tries them one after the other,
/// and a flood comes to the first.
pub fn by_path() -> Vec<(&'static str, Vec<&'static Endpoint>)> {
    let mut paths: Vec<(&str, Vec<_>)> = Vec::new();
    for endpoint in ENDPOINTS {
        match paths.iter_mut().find(|(path, _)| *path == endpoint.path) {
            Some((_, there)) => there.push(endpoint),
            None => paths.push((endpoint.path, vec![endpoint])),
        }
    }
    paths
}
