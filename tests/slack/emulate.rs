//! Our client against `emulate`, a Slack that nobody here wrote: what we believe of the Web API is not only what our own
//! fake believes.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use securitybot::clock::Clock;
use securitybot::core::ids::{ChatIdentity, OperatorName};
use securitybot::core::page::Page;
use securitybot::core::time::Timestamp;
use securitybot::plugins::chat::slack::{Settings, Slack, SlackPager, SlackSink};
use securitybot::plugins::chat::{Chat, ChatError};
use securitybot::plugins::pagers::Pager;
use securitybot::plugins::sinks::{Report, Sink};
use securitybot::store::memory::MemoryStore;
use serde_json::{Value, json};

use crate::bot::{CASE, asked};
use crate::common::fake_slack::BOT_TOKEN;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/slack_emulate");
/// Where the emulator is; set in the network that the test makes for the two of them.
const PLACE: &str = "SLACK_EMULATE";
const NAME: &str = "emulate::our_client_gets_along_with_a_slack_that_nobody_here_wrote";
const LONG_AGO: Timestamp = Timestamp::from_millis(0);

#[actix_web::test]
async fn our_client_gets_along_with_a_slack_that_nobody_here_wrote() {
    if let Ok(place) = std::env::var(PLACE) {
        return inside(&place).await;
    }
    let set_up = Command::new(format!("{FOLDER}/setup.sh")).status().unwrap();
    assert!(set_up.success(), "it needs npm and its registry");
    // Itself again, in a network namespace of its own.
    let ran = Command::new("unshare")
        .args(["--net", "--map-root-user"])
        .arg(format!("{FOLDER}/run.sh"))
        .arg(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

async fn inside(place: &str) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let api = Emulator {
        place: place.to_owned(),
        client: securitybot::plugins::http_client(),
    };
    let channel = api.channel("security").await;
    let clock = Clock::system();
    let settings = Settings {
        api_url: format!("{place}/api/").parse().unwrap(),
        bot_token: BOT_TOKEN.into(),
        app_token: None,
        signing_secret: None,
    };
    let store = Arc::new(MemoryStore::new(8));
    let slack = Arc::new(Slack::new(settings, store, Arc::new(move || clock.now())));

    a_question_is_sent_found_and_edited(&slack).await;
    // One message a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    a_page_is_sent_once_and_acknowledged(&slack, &api, &channel).await;
    a_rollup_is_posted_once_with_its_picture(&slack, &api, &channel).await;
}

async fn a_question_is_sent_found_and_edited(slack: &Slack) {
    let people = slack.people().await.unwrap().unwrap();
    let mut named = people.iter();
    let alice = named
        .find(|person| person.email.as_deref() == Some("alice@example.com"))
        .unwrap_or_else(|| panic!("no alice in {people:?}"));
    let to = |user: &str| ChatIdentity {
        chat: "slack".to_owned(),
        user: user.to_owned(),
    };
    let nobody = slack.send(&to("T000000001/UNOBODY"), "k#0", &asked()).await;
    assert!(matches!(nobody, Err(ChatError::Gone(_))), "{nobody:?}");
    let alice = to(&alice.user);
    let sent = slack.send(&alice, "k#1", &asked()).await.unwrap();
    let found = slack.find(&alice, "k#1", LONG_AGO).await.unwrap();
    assert_eq!(found.unwrap().message_id, sent.message_id);
    assert_eq!(slack.find(&alice, "k#2", LONG_AGO).await, Ok(None));
    let mut ended = asked();
    ended.buttons.clear();
    let edited = slack.edit(&alice, &sent.message_id, &ended).await.unwrap();
    assert!(edited.at >= sent.at);
    let found = slack.find(&alice, "k#1", LONG_AGO).await.unwrap();
    assert_eq!(
        found.unwrap().message_id,
        sent.message_id,
        "an edit keeps the key"
    );
}

async fn a_page_is_sent_once_and_acknowledged(slack: &Arc<Slack>, api: &Emulator, channel: &str) {
    let page: Page = serde_json::from_value(json!({
        "type": "page", "kind": "operations", "key": format!("{CASE}:1:1"), "id": CASE, "level": 1, "round": 1,
        "repeat": 0, "urgency": "high", "summary": "somebody said no", "notes": [], "case": null, "related": [],
        "url": "https://bot.example.com/cases/1",
    }))
    .unwrap();
    let pager = || SlackPager::new(slack.clone(), "security", channel);
    pager().page(&page).await.unwrap();
    // A new life does not know what the last one sent.
    pager().page(&page).await.unwrap();
    let by = OperatorName::new("sam");
    pager().acknowledge(&page, &by).await.unwrap();
    let messages = api.history(channel).await;
    assert_eq!(messages.len(), 1, "{messages:#?}");
    let blocks = messages[0]["blocks"].to_string();
    assert!(blocks.contains("Acknowledged by sam"), "{blocks}");
}

async fn a_rollup_is_posted_once_with_its_picture(
    slack: &Arc<Slack>,
    api: &Emulator,
    channel: &str,
) {
    let sink = SlackSink::new(slack.clone(), "security", channel);
    let rollup = Report::Rollup(json!({
        "type": "rollup", "id": "rollup/hour/1", "period": "hour", "from": "09:00", "to": "10:00",
        "rules": [{ "rule": "sudo", "asked": 3, "verified": 3 }],
    }));
    for _ in 0..2 {
        sink.deliver(std::slice::from_ref(&rollup)).await.unwrap();
    }
    let files = api.post("files.list", &[]).await;
    let files = files["files"].as_array().unwrap();
    assert_eq!(files.len(), 1, "{files:#?}");
    assert_eq!(files[0]["name"], "rollup.png");
    let messages = api.history(channel).await;
    let rollups = messages
        .iter()
        .filter(|m| m.to_string().contains("3 verified"));
    assert_eq!(rollups.count(), 1, "{messages:#?}");
}

/// The emulator, asked by nobody's client but plain HTTP.
struct Emulator {
    place: String,
    client: reqwest::Client,
}

impl Emulator {
    async fn post(&self, method: &str, fields: &[(&str, &str)]) -> Value {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let url = format!("{}/api/{method}", self.place);
        for _ in 0..200 {
            let request = self.client.post(&url).bearer_auth(BOT_TOKEN);
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            if let Ok(answer) = request.body(body.clone()).send().await {
                let answer: Value = answer.json().await.unwrap();
                assert_eq!(answer["ok"], true, "{method}: {answer}");
                return answer;
            }
            // It is still starting.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no emulator at {url}");
    }

    async fn channel(&self, name: &str) -> String {
        let all = self.post("conversations.list", &[]).await;
        let mut channels = all["channels"].as_array().unwrap().iter();
        let channel = channels.find(|channel| channel["name"] == name).unwrap();
        channel["id"].as_str().unwrap().to_owned()
    }

    async fn history(&self, channel: &str) -> Vec<Value> {
        let answer = self
            .post("conversations.history", &[("channel", channel)])
            .await;
        let messages = answer["messages"].as_array().unwrap().iter();
        let from_us = messages.filter(|message| message["subtype"].is_null());
        from_us
            .filter(|message| message["thread_ts"].is_null())
            .cloned()
            .collect()
    }
}
