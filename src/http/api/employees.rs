//! What operators do for an employee: a new factor, the end of a code lock, one-time links. The new
//! secret is in the answer and nowhere else: not in an event, a record or a log.

use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use crate::core::employee::Employee;
use crate::core::ids::EmployeeId;

use super::Answer;
use crate::http::access::Role;
use crate::http::error::ApiError;
use crate::http::{Http, act, auth, body};

/// `POST /v1/employees/{id}/factors/totp`: replaces an earlier one.
pub async fn enroll(http: web::Data<Http>, request: HttpRequest, id: web::Path<String>) -> Answer {
    let operator = auth::operator(&http, &request, Role::Admin).await?;
    let employee = find(&http, &id)?;
    let label = employee.email.as_deref().unwrap_or(employee.id.as_str());
    let enrolment = http.factor.enroll(&employee.id, label);
    act::enrolled(&http, &employee.id, operator, enrolment.sealed_seed).await?;
    Ok(HttpResponse::Ok().json(json!({"otpauth_uri": enrolment.otpauth_uri.expose_secret()})))
}

/// `POST /v1/employees/{id}/unlock`.
pub async fn unlock(http: web::Data<Http>, request: HttpRequest, id: web::Path<String>) -> Answer {
    let operator = auth::operator(&http, &request, Role::Admin).await?;
    let employee = find(&http, &id)?;
    act::unlock(&http, &employee.id, operator).await?;
    Ok(HttpResponse::Ok().json(json!({"employee": employee.id, "unlocked": true})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkRequest {
    kind: LinkKind,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum LinkKind {
    Chat,
    Enroll,
}

/// `POST /v1/employees/{id}/links`.
pub async fn link(
    http: web::Data<Http>,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
) -> Answer {
    let operator = auth::operator(&http, &request, Role::Admin).await?;
    let employee = find(&http, &id)?;
    let LinkRequest { kind } = body::json(&request, &mut payload).await?;
    let url = match kind {
        LinkKind::Chat => http.links.chat_link(&employee.id).await,
        LinkKind::Enroll => http.links.enroll_link(&employee.id, &operator).await,
    }
    .map_err(ApiError::conflict)?;
    Ok(HttpResponse::Ok().json(json!({"url": url})))
}

fn find(http: &Http, id: &str) -> Result<Employee, ApiError> {
    http.world()
        .directory
        .get(&EmployeeId::from(id))
        .cloned()
        .ok_or_else(|| ApiError::not_found("employee"))
}
