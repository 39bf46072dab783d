//! The ways in over HTTP: alerts from producers, the API for scripts and the command line, the pages
//! for operators, health and metrics. Handlers hold nothing: truth is in the store, every act is an
//! event that an actor answers once it is committed.

mod about;
pub mod access;
pub mod act;
pub mod api;
mod auth;
mod body;
pub mod enroll;
pub mod error;
mod health;
mod ingest;
mod openapi;
mod pagerduty;
mod pages;
mod query;
mod routes;
mod rows;
pub mod security;
mod session;

use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use tokio::sync::watch;

use crate::actors::mailbox::Mailbox;
use crate::actors::messages::Ports;
use crate::actors::snooze::{EndSnooze, Preview};
use crate::core::alert::Alert;
use crate::core::ids::{EmployeeId, OperatorName, SourceId};
use crate::core::policy::CasePolicy;
use crate::core::time::Timestamp;
use crate::core::world::World;
use crate::plugins::factors::CodeFactor;
use crate::plugins::sources::Incoming;
use crate::store::Store;

pub use access::Access;
pub use openapi::document;
pub use routes::{ENDPOINTS, Endpoint, Needs};

use error::ApiError;

/// A producer waits no longer than this for its alerts to be durable.
const ACCEPT_WITHIN: Duration = Duration::from_secs(2);
/// An operator's act is one commit; longer means that something is restarting.
const ACT_WITHIN: Duration = Duration::from_secs(5);
/// The default of `max_body`: 1 MiB.
pub const DEFAULT_MAX_BODY: usize = 1024 * 1024;

/// What `/readyz` says, kept up to date by `app`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Alerts can be made durable.
    pub ready: bool,
    /// Why not.
    pub failing: Vec<String>,
    /// What is weaker than it should be: a chat that is down, `appendfsync everysec`.
    pub degraded: Vec<String>,
}

/// One-time links for employees, made by whoever owns the pages they open.
#[async_trait]
pub trait Links: Send + Sync + 'static {
    /// Signs the employee in to the web chat; an error says why there is none (another chat).
    async fn chat_link(&self, employee: &EmployeeId) -> Result<String, String>;

    /// Opens the enrolment page of the employee once.
    async fn enroll_link(
        &self,
        employee: &EmployeeId,
        made_by: &OperatorName,
    ) -> Result<String, String>;
}

/// What a webhook held: alerts, and payloads (each replayable by itself) with why they are none.
#[derive(Debug, Default)]
pub struct Webhook {
    pub alerts: Vec<Incoming>,
    pub quarantined: Vec<(String, String)>,
}

/// The alerts of a request in their order, each read or refused for good.
pub type Natives = Vec<Result<Incoming, String>>;

/// Body, source, `Idempotency-Key`. `Err`: nothing of it can be read (400).
pub type ReadNative = fn(&[u8], &SourceId, Option<&str>) -> Result<Natives, String>;

/// The readers of what producers send. Functions, so that this module names no format's file.
#[derive(Clone, Copy)]
pub struct Formats {
    /// `POST /v1/alerts`.
    pub native: ReadNative,
    /// Alertmanager's webhook v4; the last two are the source's `principal_label` and `cluster`.
    pub alertmanager:
        fn(body: &[u8], source: &SourceId, principal_label: &str, cluster: &str) -> Webhook,
    /// Standard Webhooks: whether `signature` is good for (secret, id, timestamp, body) at `now`.
    pub verify_webhook: fn(
        secret: &SecretString,
        id: &str,
        timestamp: &str,
        signature: &str,
        body: &[u8],
        now: Timestamp,
    ) -> bool,
}

/// The question as the employee would see it, for `explain`; `None` when it cannot be rendered.
pub type QuestionText =
    Arc<dyn Fn(&World, &Alert, &CasePolicy, Timestamp) -> Option<String> + Send + Sync>;

/// Everything the handlers need; `app` makes one and shares it between the workers.
pub struct Http {
    pub ports: Ports,
    pub end_snooze: Mailbox<EndSnooze>,
    pub preview_snooze: Mailbox<Preview>,
    pub store: Arc<dyn Store>,
    pub world: watch::Receiver<Arc<World>>,
    pub access: watch::Receiver<Arc<Access>>,
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    pub readiness: watch::Receiver<Readiness>,
    pub links: Arc<dyn Links>,
    pub factor: Arc<dyn CodeFactor>,
    pub metrics: PrometheusHandle,
    pub formats: Formats,
    pub question_text: QuestionText,
    /// Bytes of one ingest request; [`DEFAULT_MAX_BODY`].
    pub max_body: usize,
    /// Cookies are `Secure` and `__Host-` when it is https.
    pub public_url: String,
}

impl Http {
    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn world(&self) -> Arc<World> {
        self.world.borrow().clone()
    }

    fn access(&self) -> Arc<Access> {
        self.access.borrow().clone()
    }

    fn is_https(&self) -> bool {
        self.public_url.starts_with("https://")
    }
}

/// Registers every resource of this module (see `routes.rs`). Anything else (the web chat, the
/// enrolment page) is registered beside it; what nobody knows is a JSON 404.
pub fn configure(cfg: &mut web::ServiceConfig, http: web::Data<Http>) {
    cfg.app_data(http);
    for (path, endpoints) in routes::by_path() {
        let mut resource = web::resource(path).wrap(from_fn(security::layer));
        for endpoint in endpoints {
            resource = resource.route((endpoint.route)());
        }
        cfg.service(resource.default_service(web::to(method_not_allowed)));
    }
    cfg.default_service(web::to(not_found));
}

async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ApiError::not_found("address; see /v1/openapi.json"))
}

async fn method_not_allowed() -> Result<HttpResponse, ApiError> {
    Err(ApiError::new(
        actix_web::http::StatusCode::METHOD_NOT_ALLOWED,
        "this address does not take that method; see /v1/openapi.json",
    ))
}
