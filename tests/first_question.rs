//! The shortest whole story: asked, answered, proved, written back; and asked once only.
#![allow(clippy::unwrap_used)] // no input from outside

mod common;

use common::bot::{Bot, PEOPLE};
use common::person::Person;
use serde_json::json;

#[tokio::test]
async fn alice_is_asked_says_yes_proves_it_and_is_not_asked_again() {
    let bot = Bot::start(PEOPLE).await;
    let mut alice = Person::sign_in(&bot, "alice").await;
    alice.enroll(&bot).await;
    let alert = json!({"principal": "alice", "rule": "sudo", "title": "sudo -i on web-3",
        "context": {"host": "web-3"}});
    bot.post("/v1/alerts", alert.clone()).await;

    let question = alice.question("sudo -i on web-3").await;
    alice.verifies(&question, "restarting nginx", 0).await;

    let case = bot
        .case_until("employee=alice", "verified", |case| {
            case["outcome"] == "verified"
        })
        .await;
    assert_eq!(case["explanation"], "restarting nginx");
    assert_eq!(case["factor"], "totp");
    let ended = alice.sees("thanks", |s| {
        s.case == question.case && !s.has_answers && !s.has_form
    });
    ended.await;

    bot.post(
        "/v1/alerts",
        json!({"id": "again", "principal": "alice", "rule": "sudo",
        "title": "sudo -i on web-3", "context": {"host": "web-3"}}),
    )
    .await;
    let again = bot
        .case_until("alert=again", "snoozed", |case| case["state"] == "closed")
        .await;
    assert_eq!(again["outcome"], "snoozed");
    assert_eq!(again["snoozed_by"], case["id"]);
}
