//! The Events API and interactivity by HTTP. A request is believed only with Slack's signature over its raw bytes, within
//! five minutes, and once; what is not durable is answered 503, so that Slack delivers it again.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use super::Slack;
use super::inbound::{Kind, Verdict};
use super::signature::is_genuine;

/// A message with its blocks is well below.
const MOST_BYTES: usize = 1024 * 1024;
/// The signature's window, to both sides.
const REMEMBERED: Duration = Duration::from_secs(660);

/// The routes under `/slack`.
pub fn configure(cfg: &mut web::ServiceConfig, slack: web::Data<Slack>) {
    cfg.service(
        web::scope("/slack")
            .app_data(slack)
            .app_data(web::PayloadConfig::new(MOST_BYTES))
            .route("/events", web::post().to(events))
            .route("/interactions", web::post().to(interactions)),
    );
}

async fn events(req: HttpRequest, slack: web::Data<Slack>, body: web::Bytes) -> HttpResponse {
    if let Err(refusal) = accept(&req, &slack, &body).await {
        return refusal;
    }
    let Ok(payload) = serde_json::from_slice::<Value>(&body) else {
        return HttpResponse::BadRequest().body("expected JSON");
    };
    if payload["type"] == "url_verification" {
        let challenge = payload["challenge"].as_str().unwrap_or_default();
        return HttpResponse::Ok()
            .content_type("text/plain; charset=utf-8")
            .body(challenge.to_owned());
    }
    if let Some(retry) = header(&req, "x-slack-retry-num") {
        let why = header(&req, "x-slack-retry-reason").unwrap_or_default();
        tracing::info!(retry, why, "Slack delivers an event again");
        metrics::counter!("securitybot_slack_redeliveries_total").increment(1);
    }
    answer(slack.into_inner().take(Kind::EventsApi, payload).await)
}

async fn interactions(req: HttpRequest, slack: web::Data<Slack>, body: web::Bytes) -> HttpResponse {
    if let Err(refusal) = accept(&req, &slack, &body).await {
        return refusal;
    }
    let payload = url::form_urlencoded::parse(&body)
        .find(|(name, _)| name == "payload")
        .and_then(|(_, value)| serde_json::from_str(&value).ok());
    match payload {
        Some(payload) => answer(slack.into_inner().take(Kind::Interactive, payload).await),
        None => HttpResponse::BadRequest().body("expected a form with a JSON payload"),
    }
}

fn answer(verdict: Verdict) -> HttpResponse {
    match verdict {
        Verdict::Taken(None) => HttpResponse::Ok().finish(),
        Verdict::Taken(Some(body)) => HttpResponse::Ok().json(body),
        Verdict::NotTaken => HttpResponse::ServiceUnavailable().body("not taken, please try again"),
    }
}

fn header<'a>(req: &'a HttpRequest, name: &str) -> Option<&'a str> {
    req.headers().get(name)?.to_str().ok()
}

/// From Slack, now, and for the first time.
async fn accept(req: &HttpRequest, slack: &Slack, body: &[u8]) -> Result<(), HttpResponse> {
    let forbidden = || HttpResponse::Unauthorized().body("not signed by Slack");
    let secret = slack.signing_secret.as_ref().ok_or_else(forbidden)?;
    let now = slack.now();
    let (at, signature) = (
        header(req, "x-slack-request-timestamp").unwrap_or_default(),
        header(req, "x-slack-signature").unwrap_or_default(),
    );
    if !is_genuine(secret, at, signature, body, now) {
        metrics::counter!("securitybot_slack_refused_total").increment(1);
        return Err(forbidden());
    }
    let signature = signature.to_ascii_lowercase();
    match slack
        .seen
        .spend(&signature, at, now, now.after(REMEMBERED))
        .await
    {
        Ok(None) => Ok(()),
        // Slack signs each delivery anew: this is a copy of one that came before, and nothing is done.
        Ok(Some(_)) => Err(HttpResponse::Ok().finish()),
        Err(error) => {
            tracing::warn!(%error, "a request from Slack cannot be told from a replay now");
            Err(HttpResponse::ServiceUnavailable().finish())
        }
    }
}
