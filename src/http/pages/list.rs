//! The start page: what needs a human first (worst, then oldest), what is being asked, what just ended.

use std::cmp::Reverse;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::joined::{self, Group};
use super::view::{self, CaseLine};
use super::{Frame, enter, error_page, render};
use crate::core::case::{CaseView, Outcome};
use crate::core::machine::Collection;
use crate::http::access::Role;
use crate::http::error::ApiError;
use crate::http::query::Params;
use crate::http::rows::{self, EscalationRow};
use crate::http::{Http, session::Session};

pub const FILTERS: [&str; 5] = ["employee", "rule", "outcome", "cursor", "auto"];
const RECENT: usize = 25;
/// Of each kind; more on one page helps nobody.
const MOST: usize = 1_000;

#[derive(Template)]
#[template(path = "operator/list.html")]
struct ListPage {
    frame: Frame,
    groups: Vec<Group>,
    may_act: bool,
    open: Vec<CaseLine>,
    closed: Vec<CaseLine>,
    /// There is more open than is shown.
    is_cut: bool,
    /// Further back than the first page.
    is_older: bool,
    older: Option<String>,
    employee: String,
    rule: String,
    outcomes: Vec<Choice>,
    is_filtered: bool,
    /// Toggles the reload.
    auto_link: String,
}

impl ListPage {
    fn waiting(&self) -> usize {
        self.groups.iter().map(|group| group.lines.len()).sum()
    }
}

struct Choice {
    value: &'static str,
    label: String,
    chosen: bool,
}

/// `GET /`.
pub async fn show(http: web::Data<Http>, request: HttpRequest) -> HttpResponse {
    let session = match enter(&http, &request).await {
        Ok(session) => session,
        Err(elsewhere) => return elsewhere,
    };
    match page(&http, &request, &session).await {
        Ok(page) => render(StatusCode::OK, &page),
        Err(error) => error_page(&session, &error, "/"),
    }
}

async fn page(http: &Http, request: &HttpRequest, session: &Session) -> Result<ListPage, ApiError> {
    let params = Params::parse(request.query_string(), &FILTERS)?;
    let now = http.now();
    let filter = |names: &[&'static str]| -> Vec<(&'static str, String)> {
        names
            .iter()
            .filter_map(|name| Some((*name, params.get(name)?.to_owned())))
            .collect()
    };
    let outcome = params.word("outcome", &Outcome::ALL.map(Outcome::name))?;

    let mut closed_query = params.rows(Collection::Cases, {
        let mut fields = filter(&["employee", "rule", "outcome"]);
        fields.push(("state", "closed".to_owned()));
        fields
    })?;
    closed_query.limit = RECENT;
    let closed = rows::cases(http, &closed_query).await?;

    let mut open: Vec<CaseView> = Vec::new();
    let mut is_cut = false;
    for state in ["queued", "asked", "verifying"] {
        let mut fields = filter(&["employee", "rule"]);
        fields.push(("state", state.to_owned()));
        let (cases, more) = rows::everything(http, Collection::Cases, fields, None, MOST).await?;
        open.extend(cases);
        is_cut |= more;
    }
    open.sort_by_key(|case| (Reverse(case.severity), case.opened_at));

    let is_auto = params.get("auto").is_some();
    let filters = filter(&["employee", "rule", "outcome"]);
    let older = closed
        .next
        .map(|next| format!("{}#closed", link(&filters, ("cursor", &next))));
    let auto_link = link(&filters, ("auto", if is_auto { "" } else { "1" }));
    let (groups, more) = escalations(http).await?;
    let mut frame = Frame::new("Open work", "/", session);
    frame.auto = is_auto;
    Ok(ListPage {
        frame,
        groups,
        may_act: session.operator.may(Role::Responder),
        is_cut: is_cut || more,
        open: open.iter().map(|case| view::case_line(case, now)).collect(),
        closed: closed
            .items
            .iter()
            .map(|case| view::case_line(case, now))
            .collect(),
        is_older: params.get("cursor").is_some(),
        older,
        employee: params.get("employee").unwrap_or_default().to_owned(),
        rule: params.get("rule").unwrap_or_default().to_owned(),
        outcomes: Outcome::ALL
            .iter()
            .map(|one| Choice {
                value: one.name(),
                label: view::outcome(*one).word,
                chosen: outcome == Some(one.name()),
            })
            .collect(),
        is_filtered: !filters.is_empty(),
        auto_link,
    })
}

/// This page with its filters and one parameter more.
fn link(filters: &[(&'static str, String)], more: (&str, &str)) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(filters);
    query.append_pair(more.0, more.1);
    format!("/?{}", query.finish())
}

/// Never filtered: no filter may hide what nobody has taken yet.
async fn escalations(http: &Http) -> Result<(Vec<Group>, bool), ApiError> {
    let mut open: Vec<EscalationRow> = Vec::new();
    let mut is_cut = false;
    for state in ["open", "acknowledged"] {
        let fields = vec![("state", state.to_owned())];
        let (rows, more) =
            rows::everything(http, Collection::Escalations, fields, None, MOST).await?;
        open.extend(rows);
        is_cut |= more;
    }
    open.sort_by_key(|row| {
        (
            row.acknowledged_by.is_some(),
            Reverse(row.urgency),
            row.opened_at,
        )
    });
    let ids = open.iter().map(|row| row.id);
    let cases = rows::named::<CaseView>(http, Collection::Cases, ids).await?;
    let pages: Vec<_> = open
        .into_iter()
        .map(|row| {
            // One that was acknowledged between the two lists stands in both.
            let case = cases.get(&row.id).cloned();
            (row, case)
        })
        .collect();
    Ok((joined::groups(&pages, http.now()), is_cut))
}
