//! What would happen to an alert, without anything happening: for writing rules and for finding out why
//! somebody was, or was not, asked.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::actors::messages::DeliverError;
use crate::actors::snooze::Preview;
use crate::core::alert::Alert;
use crate::core::context;
use crate::core::conversation::SnoozeRow;
use crate::core::ids::{EmployeeId, SourceId};
use crate::core::policy::{CasePolicy, Mode};

use super::Answer;
use crate::http::access::Role;
use crate::http::error::ApiError;
use crate::http::{ACT_WITHIN, Http, auth, body};

/// `POST /v1/explain` with one alert in the native format.
pub async fn explain(
    http: web::Data<Http>,
    request: HttpRequest,
    mut payload: web::Payload,
) -> Answer {
    auth::operator(&http, &request, Role::Viewer).await?;
    let bytes = body::read(&request, &mut payload, http.max_body).await?;
    body::require_json(&request)?;
    let mut alert = parse(&http, &bytes)?;
    let now = http.now();
    alert.accepted_at = now;

    let world = http.world();
    let employee = world.directory.resolve(alert.principal.raw());
    let policy = world.policy.for_case(&alert.rule, alert.severity);
    let snooze = match employee {
        Some(employee) => snooze(&http, &employee.id, &alert, &policy).await?,
        None => None,
    };
    let outcome = match (policy.mode, employee) {
        (Mode::Shadow, _) => "shadow",
        (Mode::Page, _) => "paged",
        (Mode::Ask, None) => "unknown_employee",
        (Mode::Ask, Some(employee)) if employee.opted_out => "opted_out",
        (Mode::Ask, Some(_)) if snooze.is_some() => "snoozed",
        (Mode::Ask, Some(_)) => "ask",
    };
    let ladder = world.policy.ladder(&policy.ladder);
    let question = employee.and_then(|_| (http.question_text)(&world, &alert, &policy, now));
    Ok(HttpResponse::Ok().json(json!({
        "outcome": outcome,
        "employee": employee.map(|e| &e.id),
        "principal": alert.principal,
        "rule": alert.rule,
        "mode": policy.mode,
        "severity": policy.severity,
        "context": context::present(&policy.context_keys, &alert.context),
        "snoozed": snooze.is_some(),
        "snoozed_by": snooze.as_ref().map(|snooze| snooze.case),
        "snooze": snooze,
        "question": question,
        "deadlines": {
            "answer_within_s": policy.times.answer_within.as_secs(),
            "working_hours": policy.times.working_hours,
            "ceiling_s": policy.times.ceiling.as_secs(),
            "ceiling": now.after(policy.times.ceiling).to_rfc3339(),
        },
        "snooze_after_verified_s": policy.times.snooze.as_secs(),
        "ladder": {
            "name": ladder.name,
            "levels": ladder.levels.iter().map(|level| json!({
                "after_s": level.after.as_secs(),
                "pagers": level.pagers,
                "repeat_s": level.repeat.as_secs(),
            })).collect::<Vec<_>>(),
            "ack_expires_s": ladder.ack_expires.as_secs(),
        },
    })))
}

fn parse(http: &Http, bytes: &[u8]) -> Result<Alert, ApiError> {
    body::check_depth(bytes)?;
    let parsed = (http.formats.native)(bytes, &SourceId::from("local"), None)
        .map_err(ApiError::bad_request)?;
    let mut parsed = parsed.into_iter();
    match (parsed.next(), parsed.next()) {
        (Some(Ok(incoming)), None) => Ok(incoming.alert),
        (Some(Err(error)), None) => Err(ApiError::new(
            actix_web::http::StatusCode::UNPROCESSABLE_ENTITY,
            error,
        )),
        _ => Err(ApiError::bad_request("expected one alert")),
    }
}

/// The snooze that would suppress the alert now.
async fn snooze(
    http: &Http,
    employee: &EmployeeId,
    alert: &Alert,
    policy: &CasePolicy,
) -> Result<Option<SnoozeRow>, ApiError> {
    let message = Preview {
        employee: employee.clone(),
        rule: alert.rule.clone(),
        context: context::present(&policy.context_keys, &alert.context),
        severity: policy.severity,
    };
    let found = http.preview_snooze.ask(message, ACT_WITHIN).await?;
    found.map_err(|DeliverError::TryAgain(why)| ApiError::unavailable(why))
}
