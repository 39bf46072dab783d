//! One case, or one escalation without a case: all that is known, and the buttons that still apply.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::form::Form;
use super::view::{self, Entry, Fact, Moment, Tag};
use super::{Frame, admit, enter, error_page, render, see_other};
use crate::core::case::{CaseState, CaseView, EscalationState};
use crate::core::ids::CaseId;
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;
use crate::http::access::Role;
use crate::http::error::ApiError;
use crate::http::rows::{self, EscalationRow};
use crate::http::session::Session;
use crate::http::{Http, act};

#[derive(Template)]
#[template(path = "operator/case.html")]
struct CasePage {
    frame: Frame,
    id: String,
    reference: String,
    title: String,
    /// What a flash line says after an act.
    done: Option<&'static str>,
    case: Option<CaseDetail>,
    escalation: Option<EscalationDetail>,
    timeline: Vec<Entry>,
    may_act: bool,
    can_close: bool,
    can_acknowledge: bool,
    can_resolve: bool,
}

struct CaseDetail {
    who: String,
    employee: Option<String>,
    rule: String,
    severity: Tag,
    status: Tag,
    is_open: bool,
    explanation: Option<String>,
    factor: Option<String>,
    facts: Vec<Fact>,
    snoozed_by: Option<String>,
    times: Vec<(&'static str, Moment)>,
    evidence: Vec<EvidenceDetail>,
    count: u64,
}

struct EvidenceDetail {
    heading: String,
    occurred: Option<Moment>,
    description: String,
    reason: String,
    url: Option<String>,
    plain_url: String,
}

struct EscalationDetail {
    state: Tag,
    urgency: Tag,
    kind: String,
    level: u32,
    round: u32,
    opened: Moment,
    acknowledged_by: Option<String>,
    resolved_by: Option<String>,
    reason: Option<String>,
    summary: String,
    notes: Vec<String>,
    related: Vec<(String, String)>,
}

/// `GET /cases/{id}`.
pub async fn show(
    http: web::Data<Http>,
    request: HttpRequest,
    id: web::Path<String>,
) -> HttpResponse {
    let session = match enter(&http, &request).await {
        Ok(session) => session,
        Err(elsewhere) => return elsewhere,
    };
    match page(&http, &session, &id, request.query_string()).await {
        Ok(page) => render(StatusCode::OK, &page),
        Err(error) => error_page(&session, &error, "/"),
    }
}

async fn page(http: &Http, session: &Session, id: &str, query: &str) -> Result<CasePage, ApiError> {
    let id = rows::case_id(id, "case")?;
    let case = rows::case(http, id).await?;
    let escalation = rows::escalation(http, id).await?;
    if case.is_none() && escalation.is_none() {
        return Err(ApiError::not_found("case"));
    }
    let now = http.now();
    let timeline = rows::timeline(http, id).await?;
    let state = escalation.as_ref().map(|row| row.state);
    let title = match (&case, &escalation) {
        (Some(case), _) => view::title(&case.title),
        (None, Some(row)) => view::title(&Untrusted::new(row.summary.as_str())),
        (None, None) => String::new(),
    };
    Ok(CasePage {
        frame: Frame::new(format!("{} {title}", id.reference()), "/", session),
        id: id.to_string(),
        reference: id.reference(),
        title,
        done: done(query),
        may_act: session.operator.may(Role::Responder),
        can_close: case
            .as_ref()
            .is_some_and(|case| case.state != CaseState::Closed),
        can_acknowledge: state == Some(EscalationState::Open),
        can_resolve: state.is_some_and(|state| state != EscalationState::Resolved),
        case: case.map(|case| case_detail(&case, now)),
        escalation: escalation.map(|row| escalation_detail(&row, now)),
        timeline: timeline
            .iter()
            .map(|record| view::entry(record, now))
            .collect(),
    })
}

fn case_detail(case: &CaseView, now: Timestamp) -> CaseDetail {
    let times = [
        ("Opened", Some(case.opened_at)),
        ("Asked", case.asked_at),
        ("Answer due", case.deadline),
        ("Answered", case.answered_at),
        ("Closed", case.closed_at),
    ];
    CaseDetail {
        who: view::who(case),
        employee: case.employee.as_ref().map(ToString::to_string),
        rule: Untrusted::new(case.rule.as_str()).line(120),
        severity: view::severity(case.severity),
        status: view::status(case),
        is_open: case.outcome.is_none(),
        explanation: case.explanation.as_ref().map(view::text),
        factor: case.factor.clone(),
        facts: case
            .context
            .iter()
            .map(|(name, value)| Fact {
                name: Untrusted::new(name.as_str()).line(60),
                value: view::line(value),
            })
            .collect(),
        snoozed_by: case.snoozed_by.map(|id| id.to_string()),
        times: times
            .into_iter()
            .filter_map(|(name, at)| Some((name, view::moment(at?, now))))
            .collect(),
        evidence: case
            .evidence
            .iter()
            .map(|one| EvidenceDetail {
                heading: view::title(&one.title),
                occurred: one.alert.occurred_at.map(|at| view::moment(at, now)),
                description: view::text(&one.description),
                reason: view::text(&one.reason),
                url: one.url.as_ref().and_then(view::web_link),
                plain_url: one.url.as_ref().map(view::line).unwrap_or_default(),
            })
            .collect(),
        count: case.count,
    }
}

fn escalation_detail(row: &EscalationRow, now: Timestamp) -> EscalationDetail {
    EscalationDetail {
        state: view::escalation_state(row.state),
        urgency: view::severity(row.urgency),
        kind: row.kind.clone(),
        level: row.level,
        round: row.round,
        opened: view::moment(row.opened_at, now),
        acknowledged_by: row.acknowledged_by.as_ref().map(ToString::to_string),
        resolved_by: row.resolved_by.as_ref().map(ToString::to_string),
        reason: row.reason.clone(),
        summary: view::line(&Untrusted::new(row.summary.as_str())),
        notes: row
            .notes
            .iter()
            .map(|note| view::text(&Untrusted::new(note.as_str())))
            .collect(),
        related: row
            .related
            .iter()
            .map(|id| (id.to_string(), id.reference()))
            .collect(),
    }
}

/// Fixed texts only: a link cannot put words into our page.
fn done(query: &str) -> Option<&'static str> {
    match query.strip_prefix("done=")? {
        "acknowledged" => Some("Acknowledged. The ladder waits for you to resolve it."),
        "resolved" => Some("Resolved."),
        "closed" => Some("Closed."),
        "noted" => Some("Note added."),
        _ => None,
    }
}

enum Act {
    Acknowledge,
    Resolve,
    Close,
    Note,
}

async fn act(
    http: &Http,
    request: &HttpRequest,
    id: &str,
    payload: &mut web::Payload,
    act: Act,
) -> HttpResponse {
    let session = match enter(http, request).await {
        Ok(session) => session,
        Err(elsewhere) => return elsewhere,
    };
    match perform(http, request, &session, id, payload, act).await {
        // Whoever takes several from the list stays there.
        Ok(Acted { on_list: true, .. }) => see_other("/"),
        Ok(Acted { id, word, .. }) => see_other(&format!("/cases/{id}?done={word}")),
        Err(error) => {
            let back =
                CaseId::parse(id).map_or_else(|| "/".to_owned(), |id| format!("/cases/{id}"));
            error_page(&session, &error, &back)
        }
    }
}

struct Acted {
    id: CaseId,
    word: &'static str,
    on_list: bool,
}

async fn perform(
    http: &Http,
    request: &HttpRequest,
    session: &Session,
    id: &str,
    payload: &mut web::Payload,
    act: Act,
) -> Result<Acted, ApiError> {
    let form = Form::read(request, payload).await?;
    admit(session, &form, Role::Responder)?;
    let id = rows::case_id(id, "case")?;
    let operator = session.operator.name.clone();
    let word = match act {
        Act::Acknowledge => act::acknowledge(http, id, operator)
            .await
            .map(|()| "acknowledged"),
        Act::Resolve => act::resolve(http, id, operator, form.get("reason"))
            .await
            .map(|()| "resolved"),
        Act::Close => act::close(http, id, operator, form.get("reason"))
            .await
            .map(|()| "closed"),
        Act::Note => act::note(http, id, operator, form.get("text"))
            .await
            .map(|()| "noted"),
    }?;
    Ok(Acted {
        id,
        word,
        on_list: form.get("back") == "list",
    })
}

type Id = web::Path<String>;

/// `POST /cases/{id}/ack`.
pub async fn ack(
    http: web::Data<Http>,
    request: HttpRequest,
    id: Id,
    mut payload: web::Payload,
) -> HttpResponse {
    act(&http, &request, &id, &mut payload, Act::Acknowledge).await
}

/// `POST /cases/{id}/resolve`.
pub async fn resolve(
    http: web::Data<Http>,
    request: HttpRequest,
    id: Id,
    mut payload: web::Payload,
) -> HttpResponse {
    act(&http, &request, &id, &mut payload, Act::Resolve).await
}

/// `POST /cases/{id}/close`.
pub async fn close(
    http: web::Data<Http>,
    request: HttpRequest,
    id: Id,
    mut payload: web::Payload,
) -> HttpResponse {
    act(&http, &request, &id, &mut payload, Act::Close).await
}

/// `POST /cases/{id}/note`.
pub async fn note(
    http: web::Data<Http>,
    request: HttpRequest,
    id: Id,
    mut payload: web::Payload,
) -> HttpResponse {
    act(&http, &request, &id, &mut payload, Act::Note).await
}
