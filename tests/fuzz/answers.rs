//! What chats and PagerDuty send: signed and from a signed-in person, and otherwise anything.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::App;
use actix_web::test::{self, TestRequest};
use actix_web::web::Data;
use async_trait::async_trait;
use hmac::{Hmac, Mac};
use securitybot::core::conversation::Reply;
use securitybot::core::time::Timestamp;
use securitybot::messages::mask_codes;
use securitybot::plugins::chat::slack::{self, Settings, Slack};
use securitybot::plugins::chat::{ChatEvent, Inbox, InboxError};
use securitybot::store::memory::MemoryStore;
use serde_json::Value;
use sha2::Sha256;

use crate::bot::{self, Bot};
use crate::engine::fuzz;
use crate::http_support::Bench;

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

#[derive(Default)]
struct Heard(Mutex<Vec<ChatEvent>>);

#[async_trait]
impl Inbox for Heard {
    async fn deliver(&self, event: ChatEvent) -> Result<Reply, InboxError> {
        self.0.lock().unwrap().push(event);
        Ok(Reply::Taken)
    }
}

fn signed(at: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("v0:{at}:").as_bytes());
    mac.update(body);
    format!("v0={}", hex::encode(mac.finalize().into_bytes()))
}

/// Slack's word is taken (it is signed); what it says may be anything. Who acted is who stands there.
fn slack_at(target: &str, path: &str, in_form: bool) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let system = actix_web::rt::System::new();
    let settings = Settings {
        api_url: "http://127.0.0.1:1/api/".parse().unwrap(),
        bot_token: "xoxb-1".into(),
        app_token: None,
        signing_secret: Some(SECRET.into()),
    };
    let clock = Arc::new(|| Timestamp::from_millis(bot::NOW));
    let slack = Arc::new(Slack::new(settings, Arc::new(MemoryStore::new(8)), clock));
    let heard = Arc::new(Heard::default());
    let app = system.block_on(async {
        slack.start(heard.clone());
        let data = Data::from(slack);
        test::init_service(App::new().configure(|cfg| slack::configure(cfg, data))).await
    });
    fuzz(target, |bytes| {
        let payload = String::from_utf8_lossy(bytes);
        let body = match in_form {
            true => url::form_urlencoded::Serializer::new(String::new())
                .append_pair("payload", &payload)
                .finish()
                .into_bytes(),
            false => bytes.to_vec(),
        };
        let at = bot::NOW / 1_000;
        let request = TestRequest::post()
            .uri(path)
            .insert_header(("x-slack-request-timestamp", at.to_string()))
            .insert_header(("x-slack-signature", signed(at, &body)))
            .set_payload(body);
        let answer = system.block_on(test::call_service(&app, request.to_request()));
        if answer.status().is_server_error() {
            return Err(format!("answered {}", answer.status()));
        }
        for event in heard.0.lock().unwrap().drain(..) {
            let (_, user) = event.from.user.split_once('/').unwrap_or_default();
            let said = serde_json::from_str::<Value>(&payload).unwrap_or_default();
            let known = [&said["user"]["id"], &said["event"]["user"]];
            if event.from.chat != slack::NAME || !known.iter().any(|id| *id == user) {
                return Err(format!("{:?} said nothing", event.from));
            }
        }
        Ok(())
    });
}

#[test]
fn slack_events() {
    slack_at("slack_events", "/slack/events", false);
}

#[test]
fn slack_interactions() {
    slack_at("slack_interactions", "/slack/interactions", true);
}

/// A session lives for some hours; a stage is renewed before that.
const POSTS_PER_STAGE: usize = 200;

/// The first line says where to, the rest is the form; session and CSRF token are good.
#[test]
fn web_chat_posts() {
    let system = actix_web::rt::System::new();
    let stage = || {
        system.block_on(async {
            let bot = Bot::new();
            let app = app!(bot);
            bot.ask("alice", 1).await;
            let alice = bot.sign_in(&app, "alice").await;
            (bot, app, alice)
        })
    };
    let mut set = stage();
    let mut posts = 0;
    fuzz("web_chat", |bytes| {
        posts += 1;
        if posts % POSTS_PER_STAGE == 0 {
            set = stage();
        }
        let (bot, app, alice) = &set;
        bot.wait(Duration::from_secs(6));
        let text = String::from_utf8_lossy(bytes);
        let (to, form) = text.split_once('\n').unwrap_or(("say", &text));
        let to = ["say", "answer", "confirm"]
            .into_iter()
            .find(|path| *path == to)
            .unwrap_or("say");
        let form = format!("csrf={}&{form}", alice.csrf);
        let page = system.block_on(bot::post(app, &format!("/chat/{to}"), &alice.cookie, &form));
        if page.status.is_server_error() {
            return Err(format!("answered {}", page.status));
        }
        for event in bot.inbox.taken.lock().unwrap().drain(..) {
            let masked = !event.what.starts_with("typed") || mask_codes(&event.what) == event.what;
            if event.user != "alice" || !masked {
                return Err(format!("{event:?}"));
            }
        }
        Ok(())
    });
}

/// Signed with the pager's secret, and otherwise anything.
#[test]
fn pagerduty_webhooks() {
    let system = actix_web::rt::System::new();
    let bench = system.block_on(Bench::start());
    fuzz("pagerduty", |bytes| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"pd-secret").unwrap();
        mac.update(bytes);
        let signature = format!("v1={}", hex::encode(mac.finalize().into_bytes()));
        let request = bench
            .request(reqwest::Method::POST, "/v1/pagerduty")
            .header("x-pagerduty-signature", signature)
            .body(bytes.to_vec());
        let answer = system
            .block_on(request.send())
            .map_err(|error| error.to_string())?;
        match answer.status().is_server_error() {
            true => Err(format!("answered {}", answer.status())),
            false => Ok(()),
        }
    });
}
