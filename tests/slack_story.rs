//! The main job through Slack, with the real program: asked, answered by button, form and in words, proved, edited in
//! place, paged; and nobody asked twice when Slack's answer is lost.
#![allow(clippy::unwrap_used)]

#[path = "common/mod.rs"]
mod common;

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::fake_http::FakeHttp;
use common::fake_slack::{APP_TOKEN, BOT_TOKEN, FakeSlack, Mode, people};
use common::person::{secret_of, totp};
use common::port::free_port;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

struct Service {
    child: Child,
    url: String,
    token: String,
    client: reqwest::Client,
    folder: tempfile::TempDir,
}

impl Service {
    async fn start(slack: &FakeSlack, pager: &FakeHttp) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let config = format!(
            r#"
[server]
listen = "{address}"
data_dir = "data"
public_url = "http://{address}"
[chat]
kind = "slack"
bot_token = {{ env = "BOT_TOKEN" }}
app_token = {{ env = "APP_TOKEN" }}
api_url = "{api}"
[directory]
domains = ["example.com"]
[[employees]]
id = "alice"
name = "Alice"
email = "alice@example.com"
time_zone = "Europe/Berlin"
[[sources]]
name = "local"
kind = "http"
[[operators]]
name = "sam"
token = {{ env = "SAM_TOKEN" }}
roles = ["responder"]
chat = "T0TEST/USAM"
[[ladders]]
name = "default"
levels = [{{ after = "0s", pagers = ["hook", "channel"], repeat = "15m" }}]
ack_expires = "4h"
[[pagers]]
name = "hook"
kind = "webhook"
url = "{hook}"
secret = {{ env = "HOOK_SECRET" }}
[[pagers]]
name = "channel"
kind = "slack"
channel = "C0SEC"
"#,
            api = slack.api_url(),
            hook = pager.url(),
        );
        let path = folder.path().join("config.toml");
        std::fs::File::create(&path)
            .unwrap()
            .write_all(config.as_bytes())
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_securitybot"))
            .current_dir(folder.path())
            .envs([
                ("BOT_TOKEN", BOT_TOKEN),
                ("APP_TOKEN", APP_TOKEN),
                ("SAM_TOKEN", "sams-token-sams-token-sams-token"),
                ("HOOK_SECRET", "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"),
            ])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut service = Self {
            child,
            url: format!("http://{address}"),
            token: String::new(),
            client: securitybot::plugins::http_client(),
            folder,
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ready = service
                .client
                .get(format!("{}/readyz", service.url))
                .send()
                .await;
            if ready.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            assert!(Instant::now() < deadline, "not ready: {}", service.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let token = service.folder.path().join("data/token");
        service.token = std::fs::read_to_string(token).unwrap().trim().to_owned();
        service
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.url));
        let answer = request.bearer_auth(&self.token).send().await.unwrap();
        answer.json().await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.url)).json(&body);
        let answer = request.bearer_auth(&self.token).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    }

    async fn alert(&self, principal: &str, title: &str, host: &str) {
        let alert = json!({
            "principal": principal, "rule": "sudo", "title": title, "reason": "COMMAND=/bin/bash <!channel>",
            "context": { "host": host },
        });
        self.post("/v1/alerts", alert).await;
    }

    async fn outcome(&self, title: &str, outcome: &str) -> Value {
        self.until(title, "outcome", outcome).await
    }

    /// The newest case with this title, once it is so far.
    async fn until(&self, title: &str, key: &str, wanted: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let cases = self.get("/v1/cases").await;
            let case = cases["cases"]
                .as_array()
                .unwrap()
                .iter()
                .find(|c| c["title"] == title);
            if let Some(case) = case.filter(|case| case[key] == wanted) {
                return case.clone();
            }
            assert!(
                Instant::now() < deadline,
                "{title} never {wanted}: {cases:#}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answers(message: &Value) -> Vec<String> {
    people::actions(message)
}

#[actix_web::test]
async fn the_whole_story_through_slack() {
    let slack = FakeSlack::start();
    slack.add_user("UALICE", "Alice A", "alice@example.com");
    slack.add_user("UBOB", "Bob B", "bob@example.com");
    let pager = FakeHttp::start();
    let service = Service::start(&slack, &pager).await;
    slack.wait_connected(1);
    let enrolled = service
        .post("/v1/employees/alice/factors/totp", json!({}))
        .await;

    // A yes by button, explained and proved in the form that opens by itself.
    service.alert("alice", "sudo -i on web-3", "web-3").await;
    let asked = slack.message_to("UALICE", "sudo -i on web-3");
    assert_eq!(answers(&asked), ["yes", "no", "not_sure", "someone_else"]);
    let yes = slack.click("UALICE", &asked, "yes");
    slack.acknowledged(&yes);
    let form = slack.form(0);
    let wrong = slack.submit("UALICE", &form, "a deployment", "000000");
    assert_eq!(wrong["response_action"], "errors", "{wrong}");
    let code = totp(&secret_of(&enrolled), 0);
    let right = slack.submit("UALICE", &form, "a deployment", &code);
    assert_eq!(right, Value::Null);
    let case = service.outcome("sudo -i on web-3", "verified").await;
    assert_eq!(case["explanation"], "a deployment");
    let ended = slack.edited(&asked, "the end on the message", |message| {
        answers(message) == ["not_me_after_all"]
    });
    assert_eq!(ended["ts"], asked["ts"], "the same message");

    // Somebody whom only Slack knows says no.
    service.alert("bob", "nmap on db-1", "db-1").await;
    let asked = slack.message_to("UBOB", "nmap on db-1");
    slack.acknowledged(&slack.click("UBOB", &asked, "no"));
    let case = service.outcome("nmap on db-1", "denied").await;
    assert_eq!(case["employee"], "bob@example.com");
    let deadline = Instant::now() + PATIENCE;
    while !pager
        .requests()
        .iter()
        .any(|page| page.json()["summary"].to_string().contains("nmap"))
    {
        assert!(Instant::now() < deadline, "no page: {}", service.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    slack.edited(&asked, "no live buttons", |message| {
        answers(message).is_empty()
    });

    // Slack takes a question and its answer is lost: nobody is asked twice; and the answer comes in words.
    slack.mode("chat.postMessage", Mode::CutAfterApplying, 1);
    service.alert("alice", "sudo -i on web-9", "web-9").await;
    let asked = slack.message_to("UALICE", "sudo -i on web-9");
    service.until("sudo -i on web-9", "state", "asked").await;
    assert!(!slack.calls("conversations.history").is_empty());
    slack.acknowledged(&slack.say("UALICE", "no, that was not me"));
    service.outcome("sudo -i on web-9", "denied").await;
    slack.edited(&asked, "no live buttons", |message| {
        answers(message).is_empty()
    });
    let copies = slack.state().messages_to("UALICE");
    let copies = copies
        .iter()
        .filter(|m| m["metadata"] == asked["metadata"])
        .count();
    assert_eq!(copies, 1);
    assert_eq!(slack.state().refused_429, 0);
}

#[actix_web::test]
async fn a_page_in_a_channel_is_acknowledged_noted_and_resolved_by_operators_only() {
    let slack = FakeSlack::start();
    slack.add_user("UALICE", "Alice A", "alice@example.com");
    slack.add_channel("C0SEC");
    let pager = FakeHttp::start();
    let service = Service::start(&slack, &pager).await;
    slack.wait_connected(1);
    // Nobody's alert pages without a question; the first try is cut off after Slack took it.
    slack.mode("chat.postMessage", Mode::CutAfterApplying, 1);
    service.alert("mallory", "sudo -i on web-3", "web-3").await;
    let page = slack.message_in("C0SEC", "sudo -i on web-3");
    let buttons = ["page_acknowledge", "page_resolve", "page_assign", "link"];
    assert_eq!(people::actions(&page), buttons);
    let text = page["blocks"].to_string();
    assert!(!text.contains("<!channel>"), "{text}");

    slack.acknowledged(&slack.click("UALICE", &page, "page_acknowledge"));
    slack.wait_for("a polite refusal", |state| {
        let mut calls = state.calls.iter();
        calls
            .find(|(method, args)| method == "chat.postEphemeral" && args["user"] == "UALICE")
            .map(drop)
    });
    slack.acknowledged(&slack.click("USAM", &page, "page_acknowledge"));
    slack.edited(&page, "the acknowledgement", |message| {
        message.to_string().contains("Acknowledged by sam")
            && people::actions(message) == ["page_resolve", "page_assign", "link"]
    });
    // Assigned: whoever may act may, the message says so, and whom it is for is told in its thread.
    slack.acknowledged(&slack.pick("UALICE", &page, "page_assign", "UALICE"));
    slack.acknowledged(&slack.pick("USAM", &page, "page_assign", "UALICE"));
    let assigned = slack.edited(&page, "the assignment", |message| {
        message.to_string().contains("Assigned to alice by sam")
    });
    assert!(assigned.to_string().contains("Acknowledged by sam"));
    let told = slack.message_in("C0SEC", "asks you to take this one");
    assert_eq!(told["text"], "<@UALICE>: sam asks you to take this one.");
    assert_eq!(told["thread_ts"], page["ts"]);
    slack.acknowledged(&slack.reply("UALICE", &page, "not for the case"));
    slack.acknowledged(&slack.reply("USAM", &page, "asked the data centre"));

    slack.acknowledged(&slack.click("USAM", &page, "page_resolve"));
    let form = slack.form(0);
    assert_eq!(
        slack.submit_reason("USAM", &form, "a forgotten service account"),
        Value::Null
    );
    slack.edited(&page, "the resolution", |message| {
        message
            .to_string()
            .contains("Resolved by sam: a forgotten service account")
            && message.to_string().contains("Assigned to alice by sam")
            && people::actions(message) == ["link"]
    });
    let pages = slack.state().messages["C0SEC"].clone();
    let pages = pages
        .iter()
        .filter(|message| message["thread_ts"].is_null());
    assert_eq!(
        pages.count(),
        1,
        "the page that was cut off was found again"
    );
    let id = service
        .outcome("sudo -i on web-3", "unknown_employee")
        .await["id"]
        .clone();
    let case = service
        .get(&format!("/v1/cases/{}", id.as_str().unwrap()))
        .await;
    assert_eq!(case["escalation"]["resolved_by"], "sam");
    let timeline = case["timeline"].to_string();
    assert!(timeline.contains("asked the data centre"), "{timeline}");
    assert!(!timeline.contains("not for the case"), "{timeline}");
    let assigned = timeline.matches("Assigned to alice by sam").count();
    assert_eq!(assigned, 1, "{timeline}");
    assert!(timeline.contains("escalation_assigned"), "{timeline}");
    let escalations = service.get("/v1/escalations").await.to_string();
    assert!(
        escalations.contains("Assigned to alice by sam"),
        "{escalations}"
    );
}

#[actix_web::test]
async fn the_home_tab_shows_what_there_is_about_oneself_and_nobody_else() {
    let slack = FakeSlack::start();
    slack.add_user("UALICE", "Alice A", "alice@example.com");
    slack.add_user("UBOB", "Bob B", "bob@example.com");
    let pager = FakeHttp::start();
    let service = Service::start(&slack, &pager).await;
    slack.wait_connected(1);
    slack.add_user("UEVE", "Eve", "eve@elsewhere.example");
    service
        .alert("alice", "sudo -i <@UBOB> on web-3", "web-3")
        .await;
    let asked = slack.message_to("UALICE", "sudo -i ");
    service
        .until("sudo -i <@UBOB> on web-3", "state", "asked")
        .await;

    slack.acknowledged(&slack.open_home("UALICE", "messages"));
    slack.acknowledged(&slack.open_home("UALICE", "home"));
    let home = slack.home_of("UALICE", "please answer by").to_string();
    assert!(home.contains("sudo -i &lt;@UBOB&gt; on web-3"), "{home}");
    slack.acknowledged(&slack.open_home("UBOB", "home"));
    let home = slack.home_of("UBOB", "All good!").to_string();
    assert!(!home.contains("sudo"), "{home}");
    slack.acknowledged(&slack.open_home("UEVE", "home"));
    slack.home_of("UEVE", "who you are");
    let published = slack.calls("views.publish").len();
    assert_eq!(published, 3, "the messages tab is not the home tab");

    // What changes shows by itself on the page of whoever has looked at it.
    slack.acknowledged(&slack.click("UALICE", &asked, "no"));
    let home = slack
        .home_of("UALICE", "You said it wasn't you.")
        .to_string();
    assert!(home.contains("All good!"), "{home}");
    service.alert("bob", "nmap on db-1", "db-1").await;
    slack.home_of("UBOB", "nmap on db-1");
    assert!(!slack.state().homes["UALICE"].to_string().contains("nmap"));
    assert_eq!(slack.state().refused_429, 0);
}

#[actix_web::test]
async fn a_revoked_token_shows_in_readyz_and_the_question_goes_out_afterwards() {
    let slack = FakeSlack::start();
    slack.add_user("UALICE", "Alice A", "alice@example.com");
    let pager = FakeHttp::start();
    let service = Service::start(&slack, &pager).await;
    for method in ["chat.postMessage", "auth.test"] {
        slack.mode(
            method,
            Mode::Refused("token_revoked".to_owned()),
            usize::MAX,
        );
    }
    service.alert("alice", "sudo -i on web-3", "web-3").await;
    let deadline = Instant::now() + PATIENCE;
    while !service
        .get("/readyz")
        .await
        .to_string()
        .contains("token_revoked")
    {
        assert!(Instant::now() < deadline, "readyz says nothing");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    slack.state().modes.clear();
    slack.message_to("UALICE", "sudo -i on web-3");
}
