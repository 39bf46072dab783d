//! Cases: the list that scripts page through, one case with its timeline, close and note.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::core::case::Outcome;
use crate::core::ids::CaseId;
use crate::core::machine::Collection;
use crate::core::record::Record;

use super::Answer;
use crate::http::access::Role;
use crate::http::error::ApiError;
use crate::http::query::Params;
use crate::http::{Http, act, auth, body, rows};

pub const STATES: [&str; 4] = ["queued", "asked", "verifying", "closed"];
pub const FILTERS: [&str; 9] = [
    "employee", "rule", "outcome", "state", "alert", "since", "until", "limit", "cursor",
];

/// `GET /v1/cases`.
pub async fn list(http: web::Data<Http>, request: HttpRequest) -> Answer {
    auth::operator(&http, &request, Role::Viewer).await?;
    let params = Params::parse(request.query_string(), &FILTERS)?;
    params.word("outcome", &Outcome::ALL.map(Outcome::name))?;
    params.word("state", &STATES)?;
    let fields = ["employee", "rule", "outcome", "state", "alert"]
        .into_iter()
        .filter_map(|name| Some((name, params.get(name)?.to_owned())))
        .collect();
    let page = rows::cases(&http, &params.rows(Collection::Cases, fields)?).await?;
    let cases: Vec<_> = page
        .items
        .into_iter()
        .map(|mut case| {
            case.evidence.clear();
            case
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({"cases": cases, "next": page.next})))
}

/// `GET /v1/cases/{id}`.
pub async fn one(http: web::Data<Http>, request: HttpRequest, id: web::Path<String>) -> Answer {
    auth::operator(&http, &request, Role::Viewer).await?;
    let id = rows::case_id(&id, "case")?;
    let mut case = find(&http, id).await?;
    let timeline = rows::timeline(&http, id).await?;
    case["timeline"] = timeline.iter().map(entry).collect();
    Ok(HttpResponse::Ok().json(case))
}

fn entry(record: &Record) -> Value {
    json!({
        "at": record.at.to_rfc3339(),
        "what": record.event,
        "who": record.who.label(),
        "detail": record.detail,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Close {
    reason: String,
}

/// `POST /v1/cases/{id}/close`.
pub async fn close(
    http: web::Data<Http>,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
) -> Answer {
    let operator = auth::operator(&http, &request, Role::Responder).await?;
    let id = rows::case_id(&id, "case")?;
    let Close { reason } = body::json(&request, &mut payload).await?;
    act::close(&http, id, operator, &reason).await?;
    Ok(HttpResponse::Ok().json(find(&http, id).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    text: String,
}

/// `POST /v1/cases/{id}/notes`.
pub async fn note(
    http: web::Data<Http>,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
) -> Answer {
    let operator = auth::operator(&http, &request, Role::Responder).await?;
    let id = rows::case_id(&id, "case")?;
    let Note { text } = body::json(&request, &mut payload).await?;
    act::note(&http, id, operator, &text).await?;
    Ok(HttpResponse::Ok().json(find(&http, id).await?))
}

async fn find(http: &Http, id: CaseId) -> Result<Value, ApiError> {
    let case = rows::case(http, id)
        .await?
        .ok_or_else(|| ApiError::not_found("case"))?;
    serde_json::to_value(case).map_err(|error| ApiError::broken(error.to_string()))
}
