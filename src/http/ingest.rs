//! Alerts in. What is answered 2xx is durable (promise P1); everything else is a status that tells the
//! producer whether to send it again, change it, or stop.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use crate::actors::messages::{AcceptAlerts, AcceptError, Accepted};
use crate::plugins::sources::Incoming;
use crate::store::Seen;

use super::access::{SourceAccess, SourceKind};
use super::error::ApiError;
use super::{ACCEPT_WITHIN, Http, Webhook, auth, body};

/// `POST /v1/alerts`.
pub async fn alerts(
    http: web::Data<Http>,
    request: HttpRequest,
    mut payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let (source, body) = admit(&http, &request, &mut payload).await?;
    if !matches!(source.kind, SourceKind::Native) {
        return Err(wrong_door(&source));
    }
    body::check_depth(&body)?;
    let key = request
        .headers()
        .get("idempotency-key")
        .and_then(|v| v.to_str().ok());
    let parsed = (http.formats.native)(&body, &source.id, key).map_err(ApiError::bad_request)?;

    let mut answer = Answer::default();
    let mut alerts = Vec::new();
    let mut indexes = Vec::new();
    let of_request = parsed.len();
    for (index, one) in parsed.into_iter().enumerate() {
        match one.and_then(|incoming| allowed(&source, incoming)) {
            Ok(incoming) => {
                indexes.push(index);
                alerts.push(incoming);
            }
            Err(error) => answer.reject(index, &error),
        }
    }
    count_rejected(&source, answer.rejected.len());
    if !alerts.is_empty() {
        let accepted = accept(&http, &source, alerts, Vec::new()).await?;
        for (verdict, index) in accepted.alerts.into_iter().zip(indexes) {
            match verdict.seen {
                None => answer.accepted.push(verdict.id),
                Some(Seen::Same) => answer.duplicates.push(verdict.id),
                Some(Seen::Altered) => {
                    answer.altered = true;
                    let error = "this id was accepted before with another body; a changed alert needs a new id";
                    answer.reject(index, error);
                }
            }
        }
    }
    Ok(HttpResponse::build(answer.status(of_request)).json(answer.in_order()))
}

/// `POST /v1/alerts/alertmanager`: what can never be accepted is kept in the quarantine and answered
/// 2xx, because Alertmanager repeats a refused notification for ever.
pub async fn alertmanager(
    http: web::Data<Http>,
    request: HttpRequest,
    mut payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let (source, body) = admit(&http, &request, &mut payload).await?;
    if !matches!(source.kind, SourceKind::AlertmanagerWebhook { .. }) {
        return Err(wrong_door(&source));
    }
    let mut answer = Answer::default();
    let read = read_webhook(&http, &source, &body);
    let mut quarantined = read.quarantined;
    let mut alerts = Vec::new();
    for incoming in read.alerts {
        let payload = format!(r#"{{"version":"4","alerts":[{}]}}"#, incoming.canonical);
        match allowed(&source, incoming) {
            Ok(incoming) => alerts.push(incoming),
            Err(error) => quarantined.push((payload, error)),
        }
    }
    for (index, (_, error)) in quarantined.iter().enumerate() {
        answer.reject(index, error);
    }
    if !alerts.is_empty() || !quarantined.is_empty() {
        let accepted = accept(&http, &source, alerts, quarantined).await?;
        for verdict in accepted.alerts {
            match verdict.seen {
                None => answer.accepted.push(verdict.id),
                // Alertmanager repeats what fires, with annotations that may have changed.
                Some(Seen::Same | Seen::Altered) => answer.duplicates.push(verdict.id),
            }
        }
    }
    Ok(HttpResponse::Accepted().json(answer.in_order()))
}

/// Reads a payload through its source's format; also how the quarantine is replayed. What cannot be
/// read is in `quarantined`, never an error.
pub fn read_webhook(http: &Http, source: &SourceAccess, body: &[u8]) -> Webhook {
    let unreadable = |error: String| Webhook {
        alerts: Vec::new(),
        quarantined: vec![(String::from_utf8_lossy(body).into_owned(), error)],
    };
    if let Err(error) = body::check_depth(body) {
        return unreadable(error.message);
    }
    match &source.kind {
        SourceKind::AlertmanagerWebhook {
            principal_label,
            cluster,
        } => (http.formats.alertmanager)(body, &source.id, principal_label, cluster),
        SourceKind::Polled(read) => match read(body) {
            Ok(alerts) => Webhook {
                alerts,
                quarantined: Vec::new(),
            },
            Err(error) => unreadable(error),
        },
        SourceKind::Native => {
            let parsed = (http.formats.native)(body, &source.id, None)
                .and_then(|parsed| parsed.into_iter().collect());
            match parsed {
                Ok(alerts) => Webhook {
                    alerts,
                    quarantined: Vec::new(),
                },
                Err(error) => unreadable(error),
            }
        }
    }
}

/// The refusal of an alert whose rule the source may not send.
pub fn allowed(source: &SourceAccess, incoming: Incoming) -> Result<Incoming, String> {
    if source.allows(incoming.alert.rule.as_str()) {
        return Ok(incoming);
    }
    Err(format!("source {} may not send this rule", source.id))
}

/// Makes alerts durable, or says 503.
pub async fn accept(
    http: &Http,
    source: &SourceAccess,
    alerts: Vec<Incoming>,
    quarantined: Vec<(String, String)>,
) -> Result<Accepted, ApiError> {
    let message = AcceptAlerts {
        source: source.id.clone(),
        alerts,
        quarantined,
        cursor: None,
    };
    match http.ports.intake.ask(message, ACCEPT_WITHIN).await {
        Ok(Ok(accepted)) => Ok(accepted),
        Ok(Err(
            error @ (AcceptError::Unavailable(_)
            | AcceptError::BacklogFull { .. }
            | AcceptError::NoSuchSource(_)),
        )) => Err(ApiError::unavailable(error.to_string())),
        Err(error) => Err(ApiError::unavailable(format!(
            "alerts cannot be made durable now: {error}; send them again"
        ))),
    }
}

/// Credentials before the body is read, then size and type, then who it is.
async fn admit(
    http: &Http,
    request: &HttpRequest,
    payload: &mut web::Payload,
) -> Result<(SourceAccess, web::BytesMut), ApiError> {
    let known = auth::has_credentials(request);
    let body = body::read(request, payload, http.max_body).await?;
    known?;
    let source = auth::source(http, request, &body)?;
    body::require_json(request)?;
    Ok((source, body))
}

fn wrong_door(source: &SourceAccess) -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        format!("source {} posts to {}", source.id, source.kind.path()),
    )
}

#[derive(Default, Serialize)]
struct Answer {
    accepted: Vec<Arc<str>>,
    duplicates: Vec<Arc<str>>,
    rejected: Vec<Rejected>,
    #[serde(skip)]
    altered: bool,
}

#[derive(Serialize)]
struct Rejected {
    index: usize,
    error: String,
}

impl Answer {
    fn reject(&mut self, index: usize, error: &str) {
        let error = error.to_owned();
        self.rejected.push(Rejected { index, error });
    }

    fn status(&self, of_request: usize) -> StatusCode {
        if self.rejected.is_empty() || self.rejected.len() < of_request {
            StatusCode::ACCEPTED
        } else if self.altered && of_request == 1 {
            StatusCode::CONFLICT
        } else {
            StatusCode::UNPROCESSABLE_ENTITY
        }
    }

    fn in_order(mut self) -> Self {
        self.rejected.sort_by_key(|one| one.index);
        self
    }
}

/// Beside what the intake counts once it stands: accepted, duplicate, altered.
fn count_rejected(source: &SourceAccess, count: usize) {
    if count > 0 {
        metrics::counter!("securitybot_alerts_total", "source" => source.id.to_string(), "result" => "rejected")
            .increment(count as u64);
    }
}
