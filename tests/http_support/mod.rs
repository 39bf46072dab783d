//! A real server over fakes: a store in memory, actors of ten lines, a parser of the native format that
//! knows just enough. What the product did is read from the fakes, never from its own word.
#![allow(dead_code)] // each test binary uses its part
#![allow(clippy::unwrap_used)] // no input from outside

pub mod fakes;
pub mod samples;
pub mod store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::Actor;
use actix_web::{App, HttpServer, web};
use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::{Client, Method, RequestBuilder, Response};
use secrecy::SecretString;
use securitybot::actors::mailbox::{Slot, mailbox};
use securitybot::actors::messages::{AcceptAlerts, CheckCode, Deliver, Escalate, Ports};
use securitybot::actors::snooze::{EndSnooze, Preview, Snooze};
use securitybot::core::employee::{Directory, Employee};
use securitybot::core::ids::{EmployeeId, OperatorName, PagerName, SourceId};
use securitybot::core::policy::{Ladder, Level, Policy, WorkingHours};
use securitybot::core::time::Timestamp;
use securitybot::core::world::World;
use securitybot::http::access::{
    Access, OperatorAccess, Role, SourceAccess, SourceKind, SourceSecret, TokenHash,
};
use securitybot::http::{Formats, Http, Readiness, configure};
use serde_json::Value;
use tokio::sync::watch;
use wildmatch::WildMatch;

use fakes::{Log, Mode};
use store::FakeStore;

/// 2026-11-24T10:00:00Z.
pub const NOW: i64 = 1_795_514_400_000;

pub struct Bench {
    pub url: String,
    pub client: Client,
    pub store: Arc<FakeStore>,
    pub log: Arc<Mutex<Log>>,
    pub readiness: watch::Sender<Readiness>,
    pub access: watch::Sender<Arc<Access>>,
    intake: Slot<AcceptAlerts>,
    _slots: (Slot<Deliver>, Slot<Escalate>, Slot<CheckCode>),
    _snooze: (Slot<EndSnooze>, Slot<Preview>),
    _world: watch::Sender<Arc<World>>,
}

pub fn now() -> Timestamp {
    Timestamp::from_millis(NOW)
}

pub fn access() -> Access {
    let operator = |name: &str, role: Role| OperatorAccess {
        name: OperatorName::from(name),
        token: TokenHash::of(&format!("{name}-token")),
        roles: vec![role],
    };
    let source = |name: &str, kind: SourceKind, rules: &[&str]| SourceAccess {
        id: SourceId::from(name),
        kind,
        secret: SourceSecret::Bearer(TokenHash::of(&format!("{name}-token"))),
        rules: rules.iter().map(|glob| WildMatch::new(glob)).collect(),
        max_backlog: None,
    };
    let webhook = SourceKind::AlertmanagerWebhook {
        principal_label: "user".to_owned(),
        cluster: "main".to_owned(),
    };
    Access {
        operators: vec![
            operator("vera", Role::Viewer),
            operator("sam", Role::Responder),
            operator("admin", Role::Admin),
        ],
        sources: vec![
            source("local", SourceKind::Native, &[]),
            source("siem", SourceKind::Native, &["sudo*"]),
            source("am", webhook, &["Sudo*"]),
            SourceAccess {
                secret: SourceSecret::Hmac(SecretString::from("shared")),
                ..source("signed", SourceKind::Native, &[])
            },
        ],
        pagerduty: vec![SecretString::from("pd-secret")],
    }
}

pub fn world() -> World {
    let employee = |id: &str| Employee {
        id: EmployeeId::from(id),
        name: id.into(),
        email: Some(format!("{id}@example.com").into()),
        aliases: Box::default(),
        time_zone: "Europe/Berlin".into(),
        locale: None,
        manager: None,
        chat: None,
        opted_out: id == "oscar",
    };
    let ladder = Ladder {
        name: "default".to_owned(),
        levels: vec![Level {
            after: Duration::ZERO,
            pagers: vec![PagerName::from("log")],
            repeat: Duration::from_secs(900),
        }],
        ack_expires: Duration::from_secs(14_400),
    };
    World {
        policy: Policy {
            severities: BTreeMap::new(),
            rules: Vec::new(),
            ladders: [("default".to_owned(), ladder)].into(),
            working_hours: WorkingHours::default(),
            pager_refresh: BTreeMap::new(),
            dedup: Duration::from_secs(30 * 24 * 3600),
            public_url: "http://127.0.0.1".to_owned(),
            pushes: None,
            shared: Default::default(),
        },
        directory: Directory::new(vec![employee("alice"), employee("oscar")], "web", &[]),
        partitions: 8,
    }
}

impl Bench {
    pub async fn start() -> Self {
        Self::on(0, "http://127.0.0.1:8080").await
    }

    /// On a port (0: any free one), as if reached under `public_url`.
    pub async fn on(port: u16, public_url: &str) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let store = Arc::new(FakeStore::default());
        let (intake_slot, intake) = mailbox("intake");
        let (conversations_slot, conversations) = mailbox("dispatcher");
        let (escalations_slot, escalations) = mailbox("escalator");
        let (verifier_slot, verifier) = mailbox("verifier");
        let fakes = fakes::Fakes {
            log: log.clone(),
            store: store.clone(),
        }
        .start();
        intake_slot.install(&fakes);
        conversations_slot.install(&fakes);
        escalations_slot.install(&fakes);
        let (end_snooze_slot, end_snooze) = mailbox("snooze");
        let (preview_snooze_slot, preview_snooze) = mailbox("snooze");
        let snooze = Snooze::new(store.clone(), Arc::new(now), conversations.clone()).start();
        end_snooze_slot.install(&snooze);
        preview_snooze_slot.install(&snooze);
        let (world_sender, world) = watch::channel(Arc::new(world()));
        let (access_sender, access) = watch::channel(Arc::new(access()));
        let (readiness, readiness_receiver) = watch::channel(Readiness {
            ready: true,
            ..Readiness::default()
        });
        let http = web::Data::new(Http {
            ports: Ports {
                intake,
                conversations,
                escalations,
                verifier,
            },
            end_snooze,
            preview_snooze,
            store: store.clone(),
            world,
            access,
            clock: Arc::new(now),
            readiness: readiness_receiver,
            links: Arc::new(fakes::FakeLinks),
            factor: Arc::new(fakes::FakeFactor),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            formats: Formats {
                native: fakes::native,
                alertmanager: fakes::alertmanager,
                verify_webhook: |secret, id, at, signature, body, _| {
                    fakes::sign(secret, id, at, body) == signature
                },
            },
            question_text: Arc::new(|_, alert, _, _| Some(alert.title.line(100))),
            max_body: 1024 * 1024,
            public_url: public_url.to_owned(),
        });
        let server = HttpServer::new(move || {
            let http = http.clone();
            App::new().configure(move |cfg| configure(cfg, http))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", port))
        .unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        actix_rt::spawn(server.run());
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            url,
            client,
            store,
            log,
            readiness,
            access: access_sender,
            intake: intake_slot,
            _slots: (conversations_slot, escalations_slot, verifier_slot),
            _snooze: (end_snooze_slot, preview_snooze_slot),
            _world: world_sender,
        }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub async fn get(&self, path: &str, token: &str) -> Response {
        let request = self.request(Method::GET, path).bearer_auth(token);
        request.send().await.unwrap()
    }

    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Response {
        let request = self.request(Method::POST, path).bearer_auth(token);
        request.json(body).send().await.unwrap()
    }

    pub fn intake_is(&self, mode: Mode) {
        self.log.lock().unwrap().mode = mode;
    }

    pub fn intake_is_gone(&self) {
        self.intake.clear();
    }

    /// Signs in to the pages; answers cookie and CSRF token.
    pub async fn sign_in(&self, token: &str) -> (String, String) {
        let form = [("token", token), ("next", "/")];
        let response = self.submit("/login", "", &form).await;
        assert_eq!(response.status(), 303, "the sign-in is taken");
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let page = self.page("/", &cookie).await;
        let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap();
        (cookie, csrf.split('"').next().unwrap().to_owned())
    }

    pub async fn page(&self, path: &str, cookie: &str) -> String {
        let request = self.request(Method::GET, path).header("cookie", cookie);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.unwrap()
    }

    pub async fn submit(&self, path: &str, cookie: &str, form: &[(&str, &str)]) -> Response {
        let request = self.request(Method::POST, path).header("cookie", cookie);
        with_form(request, form).send().await.unwrap()
    }
}

pub fn with_form(request: RequestBuilder, form: &[(&str, &str)]) -> RequestBuilder {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    let body = body.extend_pairs(form).finish();
    request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
}
