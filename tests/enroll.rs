//! The enrolment page as an employee meets it: previews are harmless, wrong codes cost nothing, a right code counts
//! once, and an outage in the middle loses nothing.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "web_chat/fakes.rs"]
#[allow(dead_code)] // the inbox is for the chat's tests
mod fakes;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use actix::{Actor, Context, Handler};
use actix_web::http::{StatusCode, header};
use actix_web::test::{self, TestRequest};
use actix_web::{App, web};
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use securitybot::actors::mailbox::mailbox;
use securitybot::actors::messages::{Deliver, DeliverError};
use securitybot::core::conversation::event::Enroller;
use securitybot::core::conversation::{Event, Proof, Reply};
use securitybot::core::ids::EmployeeId;
use securitybot::core::time::Timestamp;
use securitybot::http::enroll::{Enroll, configure};
use securitybot::plugins::factors::{CodeFactor, Enrolment};

use fakes::FakeStore;

#[actix_web::test]
async fn a_right_code_enrols_once_and_a_preview_or_a_wrong_code_costs_nothing() {
    let taken: Taken = Arc::default();
    let store = Arc::new(FakeStore::default());
    let down = Arc::new(AtomicBool::new(false));
    let conversation = Conversation {
        taken: taken.clone(),
        down: down.clone(),
    };
    let (slot, conversations) = mailbox("dispatcher");
    slot.install(&conversation.start());
    let clock = Arc::new(|| Timestamp::from_millis(1_795_514_520_000));
    let enroll = Arc::new(Enroll::new(
        store.clone(),
        conversations,
        Arc::new(FakeFactor),
        clock,
        8,
        "",
    ));
    let link = enroll
        .new_link(&"alice".into(), "sam".into())
        .await
        .unwrap();
    let data = web::Data::from(enroll);
    let app = test::init_service(App::new().configure(|cfg| configure(cfg, data))).await;
    let page = async |request: TestRequest| {
        let response = test::call_service(&app, request.uri(&link).to_request()).await;
        let status = response.status();
        let body = test::read_body(response).await;
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let form = |code: &str| {
        TestRequest::post().set_payload(format!(
            "sealed=sealed-seed&uri=otpauth%3A%2F%2Ftotp%2Fx%3Fsecret%3DABCDEFGH&code={code}"
        ))
    };

    assert_eq!(page(TestRequest::get()).await.0, StatusCode::OK);
    let (status, start) = page(TestRequest::post()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        start.contains("<svg") && start.contains("ABCD EFGH"),
        "{start}"
    );
    assert!(start.contains("name=\"sealed\" value=\"sealed-seed\""));

    let (status, again) = page(form("000000")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(again.contains("match") && !again.contains("000000"));
    assert!(taken.lock().unwrap().is_empty());

    let cross_site = form("123456").insert_header((header::ORIGIN, "https://evil.example"));
    assert_eq!(page(cross_site).await.0, StatusCode::FORBIDDEN);

    // The commit fails: the same seed can be confirmed again, another one cannot.
    down.store(true, Ordering::SeqCst);
    assert_eq!(
        page(form("123456")).await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    down.store(false, Ordering::SeqCst);
    let other = TestRequest::post().set_payload("sealed=other&uri=otpauth%3A%2F%2Fx&code=123456");
    assert_eq!(page(other).await.0, StatusCode::GONE);
    let (status, done) = page(form("123%20456")).await;
    assert_eq!((status, done.contains("All set")), (StatusCode::OK, true));

    // Reloading the last page enrols nothing again, and the link is over.
    assert_eq!(page(form("123456")).await.0, StatusCode::OK);
    assert_eq!(page(TestRequest::get()).await.0, StatusCode::GONE);
    assert_eq!(page(TestRequest::post()).await.0, StatusCode::GONE);
    let expected = "employee/alice sam totp sealed-seed".to_owned();
    assert_eq!(*taken.lock().unwrap(), [expected]);
    assert!(!store.dump().contains("sealed-seed"));
}

type Taken = Arc<Mutex<Vec<String>>>;

struct Conversation {
    taken: Taken,
    down: Arc<AtomicBool>,
}

impl Actor for Conversation {
    type Context = Context<Self>;
}

impl Handler<Deliver> for Conversation {
    type Result = Result<Reply, DeliverError>;

    fn handle(&mut self, message: Deliver, _: &mut Self::Context) -> Self::Result {
        if self.down.load(Ordering::SeqCst) {
            return Err(DeliverError::TryAgain("the store is down".to_owned()));
        }
        if let Event::FactorEnrolled {
            by: Enroller::Link { made_by },
            factor,
            sealed_seed,
        } = message.event
        {
            let line = format!("{} {made_by} {factor} {sealed_seed}", message.to);
            self.taken.lock().expect("not poisoned").push(line);
        }
        Ok(Reply::Taken)
    }
}

struct FakeFactor;

#[async_trait]
impl CodeFactor for FakeFactor {
    fn name(&self) -> &'static str {
        "totp"
    }

    fn enroll(&self, _: &EmployeeId, label: &str) -> Enrolment {
        Enrolment {
            otpauth_uri: format!("otpauth://totp/{label}?secret=ABCDEFGH").into(),
            sealed_seed: "sealed-seed".to_owned(),
        }
    }

    async fn check(&self, _: &EmployeeId, _: &str, code: &SecretString) -> Proof {
        let step = (code.expose_secret() == "123456").then_some(7);
        Proof::Totp { step }
    }
}
