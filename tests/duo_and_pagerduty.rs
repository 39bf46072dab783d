//! The real binary between Duo and PagerDuty: a push outlives `kill -9`, a fraud report wakes somebody at
//! once, and what they do in PagerDuty counts here without going round in circles.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod common;

use std::path::Path;

use common::bot::{Bot, PATIENCE, PEOPLE};
use common::fake_duo::{FakeDuo, IKEY, SKEY};
use common::fake_pagerduty::FakePagerDuty;
use common::person::{Person, Shown};
use serde_json::{Value, json};
use tempfile::TempDir;

fn config(secrets: &Path, duo: &FakeDuo, pager: &FakePagerDuty) -> String {
    let secret = |name: &str, value: &str| {
        let file = secrets.join(name);
        std::fs::write(&file, value).expect("a secret is written");
        format!("{{ file = {:?} }}", file.display().to_string())
    };
    format!(
        r#"
[factors.duo]
integration_key = {}
secret_key = {}
api_host = "127.0.0.1"
api_url = "{}"

[[pagers]]
name = "pd"
kind = "pagerduty"
routing_key = {}
api_url = "{}"
webhook_secret = {}
{PEOPLE}"#,
        secret("ikey", IKEY),
        secret("skey", SKEY),
        duo.url(),
        secret("routing", "R0UT1NG"),
        pager.url(),
        secret("webhook", "pd-secret"),
    )
}

/// An alert, a yes, and the form that asks for its proof.
async fn asked(bot: &Bot, alice: &Person, host: &str) -> Shown {
    let title = format!("sudo -i on {host}");
    let alert = json!({"id": host, "principal": "alice", "rule": "sudo", "title": title, "context": {"host": host}});
    bot.post("/v1/alerts", alert).await;
    let question = alice.question(&title).await;
    let (status, said) = alice.answer(&question, "yes").await;
    assert!(status.is_success(), "{status} {said}");
    alice
        .sees("the form", |s| s.has_form && s.case == question.case)
        .await
}

#[tokio::test]
async fn a_push_outlives_a_kill_and_a_fraud_report_goes_to_pagerduty_and_back() {
    let secrets = TempDir::new().expect("a temporary folder");
    let (duo, pager) = (FakeDuo::start(), FakePagerDuty::start("pd-secret"));
    let mut bot = Bot::start(&config(secrets.path(), &duo, &pager)).await;
    let alice = Person::sign_in(&bot, "alice").await;

    let form = asked(&bot, &alice, "web-3").await;
    let (status, said) = alice.push(&form, "restarting nginx").await;
    assert!(status.is_success(), "{status} {said}");
    let pushes = duo.wait_for_pushes(1, PATIENCE);
    assert_eq!(pushes[0].user, "alice@example.com");
    bot.until("the push is on the timeline", async || {
        let case = bot.get(&format!("/v1/cases/{}", form.case)).await;
        let timeline = case["timeline"].as_array()?;
        timeline
            .iter()
            .any(|r| r["what"] == "push_sent")
            .then_some(())
    })
    .await;
    bot.kill9_and_restart().await;
    duo.answer("allow", "allow");
    let verified = bot
        .case_until("alert=web-3", "verified", |case| {
            case["outcome"] == "verified"
        })
        .await;
    assert_eq!(verified["factor"], "duo");
    assert_eq!(duo.pushes().len(), 1, "not asked again by the restart");

    let form = asked(&bot, &alice, "web-4").await;
    alice.push(&form, "restarting nginx").await;
    duo.wait_for_pushes(2, PATIENCE);
    duo.answer("deny", "fraud");
    let key = format!("{}:1:1", form.case);
    assert_eq!(pager.wait_for(1, PATIENCE), [format!("trigger {key}")]);
    let event = &pager.events()[0];
    assert_eq!(event["payload"]["severity"], "critical");
    let summary = event["payload"]["summary"].as_str().unwrap_or_default();
    assert!(summary.contains("FRAUD"), "{summary}");

    let jane = json!({"id": "PLH1HKV", "type": "user_reference", "summary": "Jane Roe"});
    let url = bot.url();
    let taken = pager.tell(&url, "incident.acknowledged", &key, jane.clone());
    assert_eq!(taken.await, 202);
    let actions = pager.wait_for(2, PATIENCE);
    assert_eq!(actions[1], format!("acknowledge {key}"));
    // PagerDuty tells of our own acknowledgement too.
    let echo = pager.tell(&url, "incident.acknowledged", &key, Value::Null);
    assert_eq!(echo.await, 202);
    let case = bot.get(&format!("/v1/cases/{}", form.case)).await;
    assert_eq!(case["escalation"]["acknowledged_by"], "pagerduty:Jane Roe");

    let resolved = pager.tell(&url, "incident.resolved", &key, jane);
    assert_eq!(resolved.await, 202);
    let actions = pager.wait_for(3, PATIENCE);
    assert_eq!(actions[2], format!("resolve {key}"));
    let case = bot.get(&format!("/v1/cases/{}", form.case)).await;
    assert_eq!(case["escalation"]["state"], "resolved");
    assert_eq!(case["outcome"], "verification_failed");
    assert_eq!(pager.actions().len(), 3, "nothing goes round in circles");
    assert_eq!(duo.refused(), 0);
}
