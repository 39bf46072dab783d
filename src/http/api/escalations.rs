//! Escalations: what is paged and who is on it. Acknowledge stops the ladder for a while, resolve for
//! good; of two operators the first commit wins and the other gets 409.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::core::ids::CaseId;
use crate::core::machine::Collection;

use super::Answer;
use crate::http::access::Role;
use crate::http::error::ApiError;
use crate::http::query::Params;
use crate::http::rows::EscalationRow;
use crate::http::{Http, act, auth, body, rows};

pub const STATES: [&str; 3] = ["open", "acknowledged", "resolved"];
pub const FILTERS: [&str; 3] = ["state", "limit", "cursor"];

/// `GET /v1/escalations`.
pub async fn list(http: web::Data<Http>, request: HttpRequest) -> Answer {
    auth::operator(&http, &request, Role::Viewer).await?;
    let params = Params::parse(request.query_string(), &FILTERS)?;
    let fields = params
        .word("state", &STATES)?
        .map(|state| ("state", state.to_owned()));
    let query = params.rows(Collection::Escalations, fields.into_iter().collect())?;
    let page = rows::list::<EscalationRow>(&http, &query).await?;
    let escalations: Vec<_> = page.items.iter().map(EscalationRow::json).collect();
    Ok(HttpResponse::Ok().json(json!({"escalations": escalations, "next": page.next})))
}

/// `POST /v1/escalations/{id}/ack`.
pub async fn ack(http: web::Data<Http>, request: HttpRequest, id: web::Path<String>) -> Answer {
    let operator = auth::operator(&http, &request, Role::Responder).await?;
    let id = rows::case_id(&id, "escalation")?;
    act::acknowledge(&http, id, operator).await?;
    answer(&http, id).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolve {
    reason: String,
}

/// `POST /v1/escalations/{id}/resolve`.
pub async fn resolve(
    http: web::Data<Http>,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
) -> Answer {
    let operator = auth::operator(&http, &request, Role::Responder).await?;
    let id = rows::case_id(&id, "escalation")?;
    let Resolve { reason } = body::json(&request, &mut payload).await?;
    act::resolve(&http, id, operator, &reason).await?;
    answer(&http, id).await
}

/// The case; the escalation itself where there is no case (operations, flood, test).
async fn answer(http: &Http, id: CaseId) -> Answer {
    if let Some(case) = rows::case(http, id).await? {
        return Ok(HttpResponse::Ok().json(case));
    }
    let row = rows::escalation(http, id).await?;
    let row = row.ok_or_else(|| ApiError::not_found("escalation"))?;
    Ok(HttpResponse::Ok().json(row.json()))
}
