//! `snooze 2h` and `test` as an employee types them at the web chat of the real binary, with `kill -9` between
//! every two steps; and pages of one event that name each other.
#![allow(clippy::unwrap_used)] // no input from outside

mod common;

use std::time::Duration;

use common::bot::{Bot, PATIENCE, PEOPLE};
use common::fake_http::FakeHttp;
use common::fake_slack::{APP_TOKEN, BOT_TOKEN, FakeSlack, people};
use common::person::{Person, Shown, secret_of, totp};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// Snoozed for an hour, for three at most; pages go to `hook`.
fn config(hook: &FakeHttp) -> String {
    format!(
        r#"{PEOPLE}
[[rules]]
match = "sudo"
snooze = "1h"
snooze_max = "3h"

[[ladders]]
name = "default"
levels = [{{ after = "0s", pagers = ["hook"], repeat = "15m" }}]
ack_expires = "4h"

[[pagers]]
name = "hook"
kind = "webhook"
url = "{}"
secret = {{ file = "secret" }}
"#,
        hook.url()
    )
}

async fn start(hook: &FakeHttp) -> Bot {
    let bot = Bot::prepare(&config(hook));
    std::fs::write(bot.dir().join("secret"), "whsec_c2VjcmV0c2VjcmV0c2VjcmV0").unwrap();
    bot.started().await
}

async fn enrolled(bot: &Bot, name: &str) -> Person {
    let mut person = Person::sign_in(bot, name).await;
    person.enroll(bot).await;
    person
}

async fn alert(bot: &Bot, who: &str, host: &str) {
    let alert = json!({"principal": who, "rule": "sudo", "title": format!("sudo -i on {host}"),
        "context": {"host": host}});
    bot.post("/v1/alerts", alert).await;
}

async fn says(person: &Person, text: &str) {
    let (status, said) = person.say(text).await;
    assert_eq!(status, StatusCode::OK, "{said}");
}

fn time(value: &Value) -> securitybot::core::time::Timestamp {
    securitybot::core::time::Timestamp::parse_rfc3339(value.as_str().unwrap()).unwrap()
}

async fn snoozes(bot: &Bot) -> Vec<Value> {
    let answer = bot.get("/v1/snoozes").await;
    answer["snoozes"].as_array().unwrap().clone()
}

fn pages(hook: &FakeHttp) -> Vec<Value> {
    let sent = hook.requests();
    sent.iter().map(|request| request.json()).collect()
}

fn with_form(text: &'static str) -> impl Fn(&Shown) -> bool {
    move |shown| shown.has_form && shown.text.contains(text)
}

#[tokio::test]
async fn a_longer_snooze_survives_every_kill_and_needs_its_code() {
    let hook = FakeHttp::start();
    let mut bot = start(&hook).await;
    let alice = enrolled(&bot, "alice").await;
    says(&alice, "snooze 1h").await;
    alice
        .sees("that there is none", |s| {
            s.text.contains("nothing to lengthen")
        })
        .await;
    alert(&bot, "alice", "web-3").await;
    let question = alice.question("sudo -i on web-3").await;
    alice.verifies(&question, "restarting nginx", -1).await;
    let before = bot
        .until("the snooze", async || snoozes(&bot).await.pop())
        .await;
    assert_eq!(before["lengthened_at"], Value::Null);

    says(&alice, "snooze 1h").await;
    let form = alice
        .sees("the form", with_form("I can make it last"))
        .await;
    bot.kill9_and_restart().await;
    assert_eq!(
        snoozes(&bot).await,
        *std::slice::from_ref(&before),
        "a wish is no code"
    );
    let (status, said) = alice.confirm(&form, "", &alice.wrong_code()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{said}");
    bot.kill9_and_restart().await;
    assert_eq!(snoozes(&bot).await, *std::slice::from_ref(&before));

    // The page as it is now: each try is an event of its own.
    let form = alice
        .sees("the form", with_form("I can make it last"))
        .await;
    let (status, said) = alice
        .confirm(&form, "long deployment", &alice.code(0))
        .await;
    assert_eq!((status, &said["message"]), (StatusCode::OK, &json!("")));
    bot.kill9_and_restart().await;
    let after = snoozes(&bot).await.pop().unwrap();
    let hour = Duration::from_secs(3600);
    assert_eq!(time(&after["until"]), time(&before["until"]).after(hour));
    assert_eq!(after["case"], before["case"]);
    assert!(after["lengthened_at"].is_string(), "{after}");
    alice
        .sees("that it is done", |s| {
            s.id == form.id && !s.has_form && s.text.contains("Done!")
        })
        .await;
    let case = bot.get(&format!("/v1/cases/{}", question.case)).await;
    let timeline = case["timeline"].as_array().unwrap();
    let lengthened: Vec<_> = timeline
        .iter()
        .filter(|entry| entry["what"] == "snooze_lengthened")
        .collect();
    let [entry] = lengthened.as_slice() else {
        panic!("{timeline:#?}");
    };
    assert_eq!(entry["who"], "employee alice");
    let detail = entry["detail"].as_str().unwrap();
    assert!(
        detail.contains(after["until"].as_str().unwrap()),
        "{detail}"
    );

    // More than the rule allows: what it allows is offered.
    says(&alice, "snooze 10h").await;
    alice.sees("the cap", with_form("at most")).await;
    // It was not alice after all: what she lengthened is over as any other snooze.
    let ended = alice
        .sees("the closed question", |s| {
            s.case == question.case && s.is_question
        })
        .await;
    let (status, said) = alice.answer(&ended, "not_me_after_all").await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert!(snoozes(&bot).await.is_empty());
    let paged = hook.wait_for(1, PATIENCE);
    assert_eq!(paged[0].json()["case"]["id"], question.case);
    let journal = bot.get("/v1/journal/verify").await;
    assert!(!journal.to_string().contains("broken at"), "{journal}");
}

#[tokio::test]
async fn practice_survives_every_kill_and_leaves_nothing_but_a_used_code() {
    let hook = FakeHttp::start();
    let mut bot = start(&hook).await;
    let alice = enrolled(&bot, "alice").await;
    says(&alice, "help").await;
    for command in ["snooze 2h", "test", "status", "report"] {
        alice
            .sees(command, |s| s.text.contains(&format!("{command}:")))
            .await;
    }
    says(&alice, "test").await;
    let question = alice.question("Practice: sudo -i on example-host").await;
    bot.kill9_and_restart().await;
    let (status, said) = alice.answer(&question, "yes").await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let form = alice
        .sees("the form", |s| s.has_form && s.id == question.id)
        .await;
    bot.kill9_and_restart().await;
    let (status, said) = alice.confirm(&form, "trying it", &alice.wrong_code()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(said.to_string().contains("4 tries are left"), "{said}");
    let form = alice
        .sees("the form", |s| s.has_form && s.id == question.id)
        .await;
    let code = alice.code(0);
    let (status, said) = alice.confirm(&form, "trying it", &code).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    bot.kill9_and_restart().await;
    alice
        .sees("praise", |s| {
            s.id == question.id && !s.has_form && s.text.contains("Well done")
        })
        .await;

    // Another answer, which would have paged.
    says(&alice, "test").await;
    let second = alice
        .sees("a second one", |s| s.has_answers && s.id != question.id)
        .await;
    let (status, said) = alice.answer(&second, "no").await;
    assert_eq!(status, StatusCode::OK, "{said}");
    alice
        .sees("what it means", |s| {
            s.id == second.id && s.text.contains("alerted the security team")
        })
        .await;
    assert!(bot.cases("").await.is_empty());
    assert!(snoozes(&bot).await.is_empty());
    assert_eq!(bot.get("/v1/escalations").await["escalations"], json!([]));
    assert_eq!(bot.metric("securitybot_cases_closed_total", "").await, 0.0);
    assert!(pages(&hook).is_empty());

    // The code of practice is used, also for what is real.
    alert(&bot, "alice", "web-3").await;
    let real = alice.question("sudo -i on web-3").await;
    alice.answer(&real, "yes").await;
    let form = alice
        .sees("the form", |s| s.has_form && s.case == real.case)
        .await;
    let (status, said) = alice.confirm(&form, "deploying", &code).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(said.to_string().contains("used already"), "{said}");
    let form = alice
        .sees("the form", |s| s.has_form && s.case == real.case)
        .await;
    let (status, said) = alice.confirm(&form, "deploying", &alice.code(1)).await;
    assert_eq!(status, StatusCode::OK, "{said}");
}

#[tokio::test]
async fn guessing_codes_in_practice_locks_and_pages() {
    let hook = FakeHttp::start();
    let mut bot = start(&hook).await;
    let alice = enrolled(&bot, "alice").await;
    says(&alice, "test").await;
    let question = alice.question("Practice:").await;
    alice.answer(&question, "yes").await;
    for guess in 0..5 {
        let form = alice.sees("the form", |s| s.has_form).await;
        let (status, said) = alice.confirm(&form, "guessing", &alice.wrong_code()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{said}");
        if guess == 2 {
            bot.kill9_and_restart().await;
        }
    }
    let paged = hook.wait_for(1, PATIENCE)[0].json();
    assert_eq!(
        (&paged["kind"], &paged["urgency"]),
        (&json!("operations"), &json!("critical"))
    );
    assert!(
        paged["summary"].as_str().unwrap().contains("alice"),
        "{paged}"
    );
    says(&alice, "test").await;
    let next = alice
        .sees("the next one", |s| s.has_answers && s.id != question.id)
        .await;
    alice.answer(&next, "yes").await;
    let form = alice
        .sees("the form", |s| s.has_form && s.id == next.id)
        .await;
    let (status, said) = alice.confirm(&form, "guessing", &alice.code(0)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        said.to_string().contains("locked"),
        "the right code is none now: {said}"
    );
}

#[tokio::test]
async fn three_noes_within_a_minute_are_three_pages_and_the_later_name_the_earlier() {
    let hook = FakeHttp::start();
    let bot = start(&hook).await;
    let mut references = Vec::new();
    for (nth, name) in ["alice", "bob", "carol"].into_iter().enumerate() {
        let person = enrolled(&bot, name).await;
        alert(&bot, name, "web-3").await;
        let question = person.question("sudo -i on web-3").await;
        let (status, said) = person.answer(&question, "no").await;
        assert_eq!(status, StatusCode::OK, "{said}");
        let sent = hook.wait_for(nth + 1, PATIENCE);
        let page = sent[nth].json();
        let expected: Vec<Value> = references.iter().map(|(id, _)| json!(id)).collect();
        assert_eq!(page["case"]["id"], question.case);
        assert_eq!(page["related"], json!(expected), "{page}");
        let notes = page["notes"].to_string();
        for (_, reference) in &references {
            assert!(notes.contains(reference), "{notes}");
        }
        assert_eq!(
            notes.contains("Also within the last 60 s"),
            nth > 0,
            "{notes}"
        );
        let reference = page["case"]["reference"].as_str().unwrap();
        references.push((question.case, format!("{reference} ({name})")));
    }
    let open = bot.get("/v1/escalations?state=open").await;
    assert_eq!(open["escalations"].as_array().unwrap().len(), 3);
    let (id, _) = &references[1];
    bot.post(&format!("/v1/escalations/{id}/ack"), json!({}))
        .await;
    let open = bot.get("/v1/escalations?state=open").await;
    assert_eq!(
        open["escalations"].as_array().unwrap().len(),
        2,
        "one act for one page"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_commands_work_through_slack_with_its_buttons_and_form() {
    let slack = FakeSlack::start();
    slack.add_user("UALICE", "Alice A", "alice@example.com");
    let hook = FakeHttp::start();
    let chat = format!(
        r#"
[chat]
kind = "slack"
bot_token = {{ file = "bot" }}
app_token = {{ file = "app" }}
api_url = "{}"
"#,
        slack.api_url()
    );
    let bot = Bot::prepare(&format!("{chat}{}", config(&hook)));
    for (name, text) in [
        ("bot", BOT_TOKEN),
        ("app", APP_TOKEN),
        ("secret", "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"),
    ] {
        std::fs::write(bot.dir().join(name), text).unwrap();
    }
    let mut bot = bot.started().await;
    slack.wait_connected(1);
    let secret = secret_of(
        &bot.post("/v1/employees/alice/factors/totp", json!({}))
            .await,
    );

    // Practice: buttons, the form that opens by itself, thanks.
    slack.acknowledged(&slack.say("UALICE", "test"));
    let asked = slack.message_to("UALICE", "Practice: sudo");
    assert_eq!(
        people::actions(&asked),
        ["yes", "no", "not_sure", "someone_else"]
    );
    slack.acknowledged(&slack.click("UALICE", &asked, "yes"));
    let done = slack.submit("UALICE", &slack.form(0), "trying it", &totp(&secret, -1));
    assert_eq!(done, Value::Null);
    slack.edited(&asked, "praise", |message| {
        people::actions(message).is_empty() && message.to_string().contains("Well done")
    });

    // A real yes, and a longer snooze for it after a kill between request and code.
    alert(&bot, "alice", "web-3").await;
    let asked = slack.message_to("UALICE", "sudo -i on web-3");
    slack.acknowledged(&slack.click("UALICE", &asked, "yes"));
    slack.submit("UALICE", &slack.form(1), "deploying", &totp(&secret, 0));
    let before = bot
        .until("the snooze", async || snoozes(&bot).await.pop())
        .await;
    slack.acknowledged(&slack.say("UALICE", "snooze 1h"));
    let form = slack.message_to("UALICE", "A longer snooze");
    bot.kill9_and_restart().await;
    slack.wait_connected(1);
    slack.acknowledged(&slack.click("UALICE", &form, "form"));
    let done = slack.submit("UALICE", &slack.form(2), "", &totp(&secret, 1));
    assert_eq!(done, Value::Null);
    slack.edited(&form, "that it is done", |message| {
        people::actions(message).is_empty() && message.to_string().contains("Done!")
    });
    let after = snoozes(&bot).await.pop().unwrap();
    let hour = Duration::from_secs(3600);
    assert_eq!(time(&after["until"]), time(&before["until"]).after(hour));
    assert!(pages(&hook).is_empty());
}
