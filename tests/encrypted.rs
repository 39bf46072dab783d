//! Redis, Slack's Web API and its socket behind TLS, as they are outside of tests: one question and its answer over all
//! three, and none when the certificate is not to be believed.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod common;

use std::time::{Duration, Instant};

use common::bot::{Bot, PEOPLE};
use common::fake_slack::{APP_TOKEN, BOT_TOKEN, FakeSlack};
use common::redis::RedisServer;
use common::tls::Authority;
use serde_json::json;

#[tokio::test]
async fn redis_slack_and_its_socket_are_spoken_to_by_tls_and_only_with_a_good_certificate() {
    let authority = Authority::new();
    let redis = RedisServer::start();
    let slack = FakeSlack::start();
    slack.add_user("UALICE", "Alice", "alice@example.com");
    let socket = authority.door_to(slack.state().socket_port);
    slack.state().socket_url = Some(format!("wss://localhost:{socket}/link"));
    let (redis_door, api_door) = (
        authority.door_to(redis.port),
        authority.door_to(slack.port()),
    );
    let mut bot = Bot::prepare("");
    let secret = |name: &str, value: &str| {
        let file = bot.dir().join(name);
        std::fs::write(&file, value).unwrap();
        format!("{{ file = {:?} }}", file.display().to_string())
    };
    let config = format!(
        r#"
[store]
kind = "redis"
url = {}
[chat]
kind = "slack"
bot_token = {}
app_token = {}
api_url = "https://localhost:{api_door}/api/"
{PEOPLE}"#,
        secret("redis", &format!("rediss://localhost:{redis_door}/0")),
        secret("bot-token", BOT_TOKEN),
        secret("app-token", APP_TOKEN),
    );
    bot.configure(&config);

    // Nobody has vouched for this certificate: nothing is said to it.
    bot.spawn_with(&[("SSL_CERT_FILE", "/dev/null")]);
    let url = format!("{}/readyz", bot.url());
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until && bot.exited().is_none() {
        let ready = securitybot::plugins::http_client().get(&url).send().await;
        assert!(!ready.is_ok_and(|answer| answer.status().is_success()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bot.kill9();
    assert!(slack.state().calls.is_empty(), "{:?}", slack.state().calls);

    let ca = authority.ca_file();
    bot.spawn_with(&[("SSL_CERT_FILE", ca.to_str().unwrap())]);
    bot.ready().await;
    slack.wait_connected(1);
    let alert =
        json!({ "id": "a1", "principal": "alice", "rule": "sudo", "title": "sudo -i on web-3" });
    bot.post("/v1/alerts", alert).await;
    let asked = slack.message_to("UALICE", "sudo -i on web-3");
    let no = slack.click("UALICE", &asked, "no");
    slack.acknowledged(&no);
    let denied = |case: &serde_json::Value| case["outcome"] == "denied";
    bot.case_until("alert=a1", "denied", denied).await;
}
