//! Snoozes: what is not asked now, why and until when, and the end of one before its time.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::core::machine::Collection;

use super::Answer;
use crate::http::access::Role;
use crate::http::query::Params;
use crate::http::rows::SnoozeRow;
use crate::http::{Http, act, auth, rows};

pub const FILTERS: [&str; 3] = ["employee", "limit", "cursor"];

/// `GET /v1/snoozes`.
pub async fn list(http: web::Data<Http>, request: HttpRequest) -> Answer {
    auth::operator(&http, &request, Role::Viewer).await?;
    let params = Params::parse(request.query_string(), &FILTERS)?;
    let fields = params
        .get("employee")
        .map(|employee| ("employee", employee.to_owned()));
    let query = params.rows(Collection::Snoozes, fields.into_iter().collect())?;
    let page = rows::list::<SnoozeRow>(&http, &query).await?;
    let now = http.now();
    let snoozes: Vec<_> = page
        .items
        .iter()
        // The store drops expired rows in its own time.
        .filter(|snooze| snooze.until > now)
        .map(SnoozeRow::json)
        .collect();
    Ok(HttpResponse::Ok().json(json!({"snoozes": snoozes, "next": page.next})))
}

/// `DELETE /v1/snoozes/{id}`.
pub async fn end(http: web::Data<Http>, request: HttpRequest, id: web::Path<String>) -> Answer {
    let operator = auth::operator(&http, &request, Role::Responder).await?;
    act::end_snooze(&http, &id, operator).await?;
    Ok(HttpResponse::Ok().json(json!({"id": *id, "ended": true})))
}
