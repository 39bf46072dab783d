//! `POST /v1/pagerduty`: what people do in PagerDuty counts here too (webhooks v3,
//! <https://developer.pagerduty.com/docs/webhooks-overview>). Signed, and only for what a person did: the
//! echo of our own acknowledgement, or a timeout of the service, acknowledges and resolves nothing.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use hmac::{Hmac, Mac};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use sha2::Sha256;

use crate::actors::messages::{DeliverError, Escalate};
use crate::core::case::EscalationState;
use crate::core::escalation::{Event, Reply};
use crate::core::ids::{CaseId, OperatorName};
use crate::core::text::Untrusted;

use super::error::ApiError;
use super::{ACT_WITHIN, Http, body, rows};

const MAX_BYTES: usize = 256 * 1024;
const NAME_CHARS: usize = 80;

#[derive(Deserialize)]
struct Webhook {
    event: Happened,
}

#[derive(Deserialize)]
struct Happened {
    event_type: String,
    /// Who did it; `null` when it came through the Events API (as ours does) or by itself.
    #[serde(default)]
    agent: Option<Agent>,
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize)]
struct Agent {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    id: String,
}

#[derive(Default, Deserialize)]
struct Data {
    /// Our `dedup_key`: the page's key.
    #[serde(default)]
    incident_key: Option<String>,
}

pub async fn webhook(
    http: web::Data<Http>,
    request: HttpRequest,
    mut payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = body::read(&request, &mut payload, MAX_BYTES).await?;
    let given = request.headers().get("x-pagerduty-signature");
    let given = given.and_then(|value| value.to_str().ok()).unwrap_or("");
    if !is_signed(&http, given, &body) {
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "expected X-PagerDuty-Signature made with a pager's webhook_secret",
        ));
    }
    body::check_depth(&body)?;
    // A payload that is none of ours would be refused for ever: it is taken and ignored.
    let said = match serde_json::from_slice::<Webhook>(&body) {
        Ok(webhook) => take(&http, webhook.event).await?,
        Err(_) => "ignored: not an event this service knows".to_owned(),
    };
    Ok(HttpResponse::Accepted().json(json!({"result": said})))
}

async fn take(http: &Http, event: Happened) -> Result<String, ApiError> {
    let ignored = |why: &str| Ok(format!("ignored: {why}"));
    let acknowledged = match event.event_type.as_str() {
        "incident.acknowledged" => true,
        "incident.resolved" => false,
        _ => return ignored("neither an acknowledgement nor an end"),
    };
    let Some(operator) = event.agent.as_ref().and_then(operator) else {
        return ignored("not done by a person");
    };
    let key = event.data.incident_key.as_deref().and_then(page_key);
    let Some((id, round)) = key else {
        return ignored("not an incident of this service");
    };
    let Some(row) = rows::escalation(http, id).await? else {
        return ignored("no such escalation");
    };
    // It was raised again since: whoever took the first page has not seen the news.
    if row.round != round || row.state == EscalationState::Resolved {
        return ignored("the escalation has gone on since");
    }
    let event = match acknowledged {
        // Renewing on every echo would keep an acknowledgement alive by itself.
        true if row.acknowledged_by.is_some() => return ignored("acknowledged already"),
        true => Event::Acknowledged { operator },
        false => Event::Resolved {
            operator,
            reason: "resolved in PagerDuty".to_owned(),
        },
    };
    let message = Escalate {
        to: row.key(),
        event,
    };
    match http.ports.escalations.ask(message, ACT_WITHIN).await? {
        Ok(Reply::Taken) => Ok("taken".to_owned()),
        Ok(Reply::NoLongerApplies { why }) => ignored(&why),
        Ok(Reply::NotFound) => ignored("no such escalation"),
        Err(DeliverError::TryAgain(why)) => Err(ApiError::unavailable(why)),
    }
}

/// `pagerduty:{name}`: a name of an operator of ours has no colon, so neither can pass for the other.
fn operator(agent: &Agent) -> Option<OperatorName> {
    if !matches!(agent.kind.as_str(), "user_reference" | "user") {
        return None;
    }
    let name = agent.summary.as_deref().unwrap_or(&agent.id);
    let name = Untrusted::new(name).line(NAME_CHARS);
    (!name.is_empty()).then(|| OperatorName::new(format!("pagerduty:{name}")))
}

/// `{id}:{round}:{level}`.
fn page_key(key: &str) -> Option<(CaseId, u32)> {
    let mut parts = key.split(':');
    let id = CaseId::parse(parts.next()?)?;
    Some((id, parts.next()?.parse().ok()?))
}

/// `v1={hex}`, several by commas while a secret is replaced. Any pager's secret counts.
fn is_signed(http: &Http, header: &str, body: &[u8]) -> bool {
    let access = http.access();
    let given: Vec<Vec<u8>> = header
        .split(',')
        .filter_map(|part| hex::decode(part.trim().strip_prefix("v1=")?).ok())
        .collect();
    access.pagerduty.iter().any(|secret| {
        given.iter().any(|signature| {
            Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
                .is_ok_and(|mac| mac.chain_update(body).verify_slice(signature).is_ok())
        })
    })
}
