//! Snoozes and quarantine: two plain lists with one button each.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::form::Form;
use super::view::{self, Fact, Moment, Tag};
use super::{Frame, admit, enter, error_page, render, see_other};
use crate::core::machine::Collection;
use crate::core::text::Untrusted;
use crate::http::access::Role;
use crate::http::error::ApiError;
use crate::http::query::MAX_LIMIT;
use crate::http::rows::{self, SnoozeRow};
use crate::http::session::Session;
use crate::http::{Http, act};
use crate::plugins::sources::Quarantined;
use crate::store::RowQuery;

#[derive(Template)]
#[template(path = "operator/snoozes.html")]
struct SnoozesPage {
    frame: Frame,
    snoozes: Vec<SnoozeLine>,
    may_act: bool,
    done: bool,
}

struct SnoozeLine {
    id: String,
    employee: String,
    rule: String,
    context: Vec<Fact>,
    severity: Tag,
    case: String,
    case_reference: String,
    until: Moment,
    suppressed: u64,
}

#[derive(Template)]
#[template(path = "operator/quarantine.html")]
struct QuarantinePage {
    frame: Frame,
    items: Vec<QuarantineLine>,
    may_act: bool,
    done: bool,
}

struct QuarantineLine {
    id: String,
    source: String,
    at: Moment,
    error: String,
    payload: String,
}

/// `GET /snoozes`.
pub async fn snoozes(http: web::Data<Http>, request: HttpRequest) -> HttpResponse {
    let session = match enter(&http, &request).await {
        Ok(session) => session,
        Err(elsewhere) => return elsewhere,
    };
    match rows::list::<SnoozeRow>(&http, &newest(Collection::Snoozes)).await {
        Err(error) => error_page(&session, &error, "/"),
        Ok(page) => {
            let now = http.now();
            let snoozes = page
                .items
                .into_iter()
                .filter(|snooze| snooze.until > now)
                .map(|snooze| SnoozeLine {
                    employee: snooze.employee,
                    rule: Untrusted::new(snooze.rule).line(80),
                    context: snooze
                        .context
                        .iter()
                        .map(|(name, value)| Fact {
                            name: Untrusted::new(name.as_str()).line(60),
                            value: view::line(value),
                        })
                        .collect(),
                    severity: view::severity(snooze.severity),
                    case: snooze.case.to_string(),
                    case_reference: snooze.case.reference(),
                    until: view::moment(snooze.until, now),
                    suppressed: snooze.suppressed,
                    id: snooze.id,
                })
                .collect();
            let page = SnoozesPage {
                frame: Frame::new("Snoozes", "/snoozes", &session),
                snoozes,
                may_act: session.operator.may(Role::Responder),
                done: request.query_string() == "done=1",
            };
            render(StatusCode::OK, &page)
        }
    }
}

/// `POST /snoozes/{id}/end`.
pub async fn end_snooze(
    http: web::Data<Http>,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
) -> HttpResponse {
    let session = match enter(&http, &request).await {
        Ok(session) => session,
        Err(elsewhere) => return elsewhere,
    };
    let ended = async {
        admitted(&request, &mut payload, &session, Role::Responder).await?;
        act::end_snooze(&http, &id, session.operator.name.clone()).await
    };
    finish(&session, ended.await, "/snoozes")
}

/// `GET /quarantine`.
pub async fn quarantine(http: web::Data<Http>, request: HttpRequest) -> HttpResponse {
    let session = match enter(&http, &request).await {
        Ok(session) => session,
        Err(elsewhere) => return elsewhere,
    };
    match rows::list::<Quarantined>(&http, &newest(Collection::Quarantine)).await {
        Err(error) => error_page(&session, &error, "/"),
        Ok(page) => {
            let now = http.now();
            let items = page
                .items
                .into_iter()
                .map(|one| QuarantineLine {
                    id: one.id,
                    source: one.source.to_string(),
                    at: view::moment(one.at, now),
                    error: Untrusted::new(one.error).line(500),
                    payload: view::text(&Untrusted::new(one.payload)),
                })
                .collect();
            let page = QuarantinePage {
                frame: Frame::new("Quarantine", "/quarantine", &session),
                items,
                may_act: session.operator.may(Role::Admin),
                done: request.query_string() == "done=1",
            };
            render(StatusCode::OK, &page)
        }
    }
}

/// `POST /quarantine/{id}/replay`.
pub async fn replay(
    http: web::Data<Http>,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
) -> HttpResponse {
    let session = match enter(&http, &request).await {
        Ok(session) => session,
        Err(elsewhere) => return elsewhere,
    };
    let replayed = async {
        admitted(&request, &mut payload, &session, Role::Admin).await?;
        act::replay(&http, &id, &session.operator.name)
            .await
            .map(drop)
    };
    finish(&session, replayed.await, "/quarantine")
}

async fn admitted(
    request: &HttpRequest,
    payload: &mut web::Payload,
    session: &Session,
    role: Role,
) -> Result<(), ApiError> {
    let form = Form::read(request, payload).await?;
    admit(session, &form, role)
}

fn finish(session: &Session, result: Result<(), ApiError>, list: &str) -> HttpResponse {
    match result {
        Ok(()) => see_other(&format!("{list}?done=1")),
        Err(error) => error_page(session, &error, list),
    }
}

fn newest(collection: Collection) -> RowQuery {
    RowQuery {
        collection,
        fields: Vec::new(),
        since: None,
        until: None,
        limit: MAX_LIMIT,
        cursor: None,
    }
}
