//! A web chat with fakes behind it, and a browser's view of it.
#![allow(clippy::unwrap_used)] // a fake that fails fails its test

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::{StatusCode, header};
use actix_web::test::{self, TestRequest};
use securitybot::core::alert::Severity;
use securitybot::core::conversation::effect::{Form, Question, TickOption};
use securitybot::core::conversation::{Content, Outgoing};
use securitybot::core::employee::{Directory, Employee};
use securitybot::core::ids::{CaseId, ChatIdentity};
use securitybot::core::policy::{Explanation, Policy};
use securitybot::core::time::Timestamp;
use securitybot::core::world::World;
use securitybot::messages::{Messages, Rendered};
use securitybot::plugins::chat::Chat;
use securitybot::plugins::chat::web::WebChat;
use tokio::sync::watch;

use crate::fakes::{FakeInbox, FakeStore};

pub const NOW: i64 = 1_795_514_520_000;
pub const XSS: &str = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>";

/// The pages of a bot, as a function from request to page.
macro_rules! app {
    ($bot:expr) => {{
        let app = service!($bot);
        async move |request: actix_web::test::TestRequest| {
            $crate::bot::read(actix_web::test::call_service(&app, request.to_request()).await).await
        }
    }};
}

macro_rules! service {
    ($bot:expr) => {{
        let chat = actix_web::web::Data::from($bot.chat.clone());
        actix_web::test::init_service(
            actix_web::App::new()
                .configure(|cfg| securitybot::plugins::chat::web::configure(cfg, chat)),
        )
        .await
    }};
}

pub const RETENTION: Duration = Duration::from_secs(90 * 24 * 3600);

pub struct Bot {
    pub chat: Arc<WebChat>,
    pub store: Arc<FakeStore>,
    pub inbox: Arc<FakeInbox>,
    pub clock: Arc<AtomicI64>,
    pub _world: watch::Sender<Arc<World>>,
}

impl Bot {
    pub fn new() -> Self {
        Self::at("")
    }

    pub fn at(public_url: &str) -> Self {
        let employee = |id: &str| Employee {
            id: id.into(),
            name: id.into(),
            email: None,
            aliases: Box::default(),
            time_zone: "Europe/Berlin".into(),
            locale: None,
            manager: None,
            chat: None,
            opted_out: false,
        };
        let policy = Policy {
            severities: Default::default(),
            rules: Vec::new(),
            ladders: Default::default(),
            working_hours: Default::default(),
            pager_refresh: Default::default(),
            dedup: Duration::from_secs(1),
            public_url: String::new(),
            pushes: None,
            shared: Default::default(),
        };
        let (sender, world) = watch::channel(Arc::new(World {
            policy,
            directory: Directory::new(vec![employee("alice"), employee("bob")], "web", &[]),
            partitions: 8,
        }));
        let (store, inbox) = (
            Arc::new(FakeStore::default()),
            Arc::new(FakeInbox::default()),
        );
        let clock = Arc::new(AtomicI64::new(NOW));
        let now = {
            let clock = clock.clone();
            Arc::new(move || Timestamp::from_millis(clock.load(Ordering::SeqCst)))
        };
        let chat = Arc::new(WebChat::new(
            store.clone(),
            now,
            public_url,
            RETENTION,
            world,
        ));
        chat.set_inbox(inbox.clone());
        Self {
            chat,
            store,
            inbox,
            clock,
            _world: sender,
        }
    }

    pub fn wait(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.clock.fetch_add(millis, Ordering::SeqCst);
    }

    pub async fn link(&self, employee: &str) -> String {
        self.chat.new_link(&employee.into()).await.unwrap()
    }

    pub async fn sign_in(
        &self,
        app: &impl AsyncFn(TestRequest) -> Page,
        employee: &str,
    ) -> Browser {
        let link = self.link(employee).await;
        let cookie = post(app, &link, "", "").await.cookie();
        let page = get(app, "/chat", &cookie).await;
        Browser {
            csrf: page.value_of("say", "csrf"),
            event: page.value_of("say", "event"),
            cookie,
            page,
        }
    }

    pub async fn ask(&self, employee: &str, nth: u64) {
        let key = format!("{employee}#{nth}");
        let message = self.rendered(employee, nth);
        self.chat
            .send(&identity(employee), &key, &message)
            .await
            .unwrap();
    }

    pub async fn prove(&self, employee: &str, first: u64, second: u64) {
        let tick = |nth| TickOption {
            case: case(nth),
            reference: case(nth).reference(),
            revision: 1,
            title: XSS.into(),
            ticked: nth == first,
        };
        let content = Content::ProofForm {
            question: question(first),
            form: Form {
                code: true,
                push: false,
                explanation: Explanation::Required,
                given: Some(XSS.into()),
                ticks: vec![tick(first), tick(second)],
            },
        };
        let message = render(employee, content);
        self.chat
            .send(&identity(employee), "proof", &message)
            .await
            .unwrap();
    }

    pub async fn message_id(&self, employee: &str, nth: u64) -> String {
        let key = format!("{employee}#{nth}");
        let since = Timestamp::from_millis(0);
        let found = self.chat.find(&identity(employee), &key, since).await;
        found.unwrap().unwrap().message_id
    }

    pub fn rendered(&self, employee: &str, nth: u64) -> Rendered {
        let question = question(nth);
        render(employee, Content::Question { question })
    }
}

#[derive(Clone)]
pub struct Browser {
    pub cookie: String,
    pub csrf: String,
    pub event: String,
    pub page: Page,
}

impl Browser {
    pub fn with_event(mut self, event: String) -> Self {
        self.event = event;
        self
    }

    pub fn form(&self, fields: &[(&str, &str)]) -> String {
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("csrf", &self.csrf)
            .append_pair("event", &self.event)
            .extend_pairs(fields)
            .finish()
    }

    pub fn say(&self, text: &str) -> String {
        self.form(&[("text", text)])
    }

    pub fn press(&self, case: CaseId, answer: &str) -> String {
        self.form(&[
            ("case", &case.to_string()),
            ("revision", "1"),
            ("answer", answer),
        ])
    }

    pub fn confirm(&self, nth: u64, why: &str, encoded_code: &str) -> String {
        let case = case(nth).to_string();
        let tick = format!("{case}:1");
        let fields = [
            ("case", case.as_str()),
            ("revision", "1"),
            ("tick", &tick),
            ("why", why),
        ];
        format!("{}&code={encoded_code}", self.form(&fields))
    }
}

#[derive(Clone)]
pub struct Page {
    pub status: StatusCode,
    pub body: String,
    pub set_cookie: String,
    pub retry_after: String,
    pub policy: String,
}

impl Page {
    pub fn cookie(&self) -> String {
        self.set_cookie
            .split(';')
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// The value of a hidden field in the form with this id.
    pub fn value_of(&self, form: &str, field: &str) -> String {
        let form = self
            .body
            .split(&format!("id=\"{form}\""))
            .nth(1)
            .expect("the form");
        let field = form
            .split(&format!("name=\"{field}\" value=\""))
            .nth(1)
            .expect("the field");
        field.split('"').next().unwrap_or_default().to_owned()
    }

    /// Event ids are new on every page.
    pub fn without_ids(&self) -> String {
        let mut parts = self.body.split("name=\"event\" value=\"");
        let mut body = parts.next().unwrap_or_default().to_owned();
        parts.for_each(|part| body.push_str(part.split_once('"').map_or(part, |(_, rest)| rest)));
        body
    }
}

pub async fn get(app: &impl AsyncFn(TestRequest) -> Page, path: &str, cookie: &str) -> Page {
    let request = TestRequest::get().uri(path);
    app(request.insert_header((header::COOKIE, cookie))).await
}

pub async fn post(
    app: &impl AsyncFn(TestRequest) -> Page,
    path: &str,
    cookie: &str,
    form: &str,
) -> Page {
    let request = TestRequest::post().uri(path).set_payload(form.to_owned());
    app(request.insert_header((header::COOKIE, cookie))).await
}

pub async fn read(response: ServiceResponse<impl MessageBody>) -> Page {
    let text = |name: header::HeaderName| {
        let value = response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    };
    Page {
        status: response.status(),
        set_cookie: text(header::SET_COOKIE),
        retry_after: text(header::RETRY_AFTER),
        policy: text(header::CONTENT_SECURITY_POLICY),
        body: String::from_utf8(test::read_body(response).await.to_vec()).unwrap(),
    }
}

pub fn render(employee: &str, content: Content) -> Rendered {
    Messages::embedded().render(&Outgoing {
        to: identity(employee),
        employee: employee.into(),
        case: None,
        urgency: Severity::Medium,
        content,
    })
}

pub fn question(nth: u64) -> Box<Question> {
    let at = Timestamp::from_millis(NOW);
    Box::new(Question {
        case: case(nth),
        reference: case(nth).reference(),
        revision: 1,
        rule: "sudo".to_owned(),
        severity: Severity::Medium,
        title: format!("sudo -i {XSS}").as_str().into(),
        description: XSS.into(),
        reason: XSS.into(),
        url: None,
        context: vec![(XSS.to_owned(), XSS.into())],
        count: 1,
        first_at: at,
        last_at: at,
        time_zone: "Europe/Berlin".to_owned(),
        deadline: None,
    })
}

pub fn case(nth: u64) -> CaseId {
    CaseId::new(Timestamp::from_millis(NOW), 7, nth)
}

pub fn identity(employee: &str) -> ChatIdentity {
    ChatIdentity {
        chat: "web".to_owned(),
        user: employee.to_owned(),
    }
}
