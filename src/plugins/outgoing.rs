//! Requests to outside systems: one client with a timeout on everything, and one reading of what an
//! answer means, so that a hanging or redirecting receiver can neither hold up a lane nor pass for a
//! delivery.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};

use crate::core::text::Untrusted;
use crate::core::time::Timestamp;

use super::Health;

/// A request that took longer is repeated: everything we send is idempotent under its key.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// When a receiver says 429 or 503 but not for how long.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(30);
/// However long a receiver asks us to wait, a page is tried again after this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What time it is; the wiring passes the bot's clock, a test its own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The client for all pagers, sinks and polled sources.
pub fn http_client() -> Client {
    http_client_with(REQUEST_TIMEOUT)
}

/// The same with another timeout.
pub fn http_client_with(timeout: Duration) -> Client {
    // Done first in `main` as well; a second time changes nothing. Without it rustls panics at the first
    // https request.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        // A redirected POST becomes a GET that answers 200: that would be a page nobody got.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("securitybot/", env!("CARGO_PKG_VERSION")))
        .build()
        .expect("a client with fixed settings and the ring provider can be built")
}

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 429, or 503 with `Retry-After`.
    RateLimited(Duration),
    /// Any other status; the text names it.
    Status(u16, String),
    /// No answer: it may have arrived.
    NoAnswer(String),
}

impl Failure {
    pub fn text(&self) -> String {
        match self {
            Self::RateLimited(wait) => format!("it asks to wait {} s", wait.as_secs()),
            Self::Status(_, text) | Self::NoAnswer(text) => text.clone(),
        }
    }
}

/// Sends and reads the answer: 2xx is taken, all else is not.
pub async fn send(request: reqwest::RequestBuilder) -> Result<Response, Failure> {
    let answer = request
        .send()
        .await
        .map_err(|error| Failure::NoAnswer(describe(error)))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let asked = answer
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim().parse().ok())
        .map(Duration::from_secs);
    match (status, asked) {
        (StatusCode::TOO_MANY_REQUESTS, _) | (StatusCode::SERVICE_UNAVAILABLE, Some(_)) => Err(
            Failure::RateLimited(asked.unwrap_or(DEFAULT_RETRY_AFTER).min(MAX_RETRY_AFTER)),
        ),
        _ => {
            let body = answer.bytes().await.unwrap_or_default();
            let start = String::from_utf8_lossy(&body[..body.len().min(400)]).into_owned();
            let said = Untrusted::new(start).line(200);
            Err(Failure::Status(
                status.as_u16(),
                if said.is_empty() {
                    format!("it answered {status}")
                } else {
                    format!("it answered {status}: {said}")
                },
            ))
        }
    }
}

/// The error with its causes, without the URL: that may carry a password or token.
pub fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    Untrusted::new(text).line(300)
}

/// How the last request went, for receivers that have no health endpoint of their own.
#[derive(Debug, Default)]
pub struct LastResult(Mutex<Option<String>>);

impl LastResult {
    /// Remembers a result and hands it on.
    pub fn note<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        let trouble = result.as_ref().err().map(Failure::text);
        *self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = trouble;
        result
    }

    pub fn health(&self, name: &str) -> Health {
        match &*self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
        {
            None => Health::Good,
            Some(trouble) => {
                Health::Degraded(format!("the last request to {name} failed: {trouble}"))
            }
        }
    }
}
