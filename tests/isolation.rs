//! One broken conversation is nobody else's affair: with the real binary and a checkpoint that cannot be
//! read, in the store as it lies on the disk.
#![allow(clippy::unwrap_used)] // the fakes in common

mod common;

use common::bot::{Bot, PEOPLE};
use common::person::Person;
use serde_json::json;

const BROKEN: &str = "{\"schema\": 1, \"state\": {\"cases\": 7";

fn database(bot: &Bot) -> rusqlite::Connection {
    rusqlite::Connection::open(bot.data_dir().join("securitybot.db")).expect("the store opens")
}

fn checkpoint(bot: &Bot, who: &str) -> String {
    let query = "SELECT state FROM aggregates WHERE name = ?1";
    let name = format!("employee/{who}");
    let state = database(bot).query_row(query, [name], |row| row.get(0));
    state.expect("a checkpoint")
}

fn replace_checkpoint(bot: &Bot, who: &str, state: &str) {
    let update = "UPDATE aggregates SET state = ?2 WHERE name = ?1";
    let name = format!("employee/{who}");
    let changed = database(bot).execute(update, [name.as_str(), state]);
    assert_eq!(changed, Ok(1));
}

async fn alert(bot: &Bot, id: &str, who: &str, host: &str) {
    let alert = json!({"id": id, "principal": who, "rule": "sudo",
        "title": format!("sudo -i on {host}"), "context": {"host": host}});
    bot.post("/v1/alerts", alert).await;
}

#[tokio::test]
async fn an_unreadable_checkpoint_fails_its_own_cases_pages_and_disturbs_nobody() {
    let mut bot = Bot::start(PEOPLE).await;
    let alice = Person::sign_in(&bot, "alice").await;
    let mut bob = Person::sign_in(&bot, "bob").await;
    bob.enroll(&bot).await;
    alert(&bot, "one", "alice", "web-3").await;
    alert(&bot, "two", "bob", "db-1").await;
    alice.question("sudo -i on web-3").await;
    let question = bob.question("sudo -i on db-1").await;
    assert!(bot.terminate().success());

    replace_checkpoint(&bot, "alice", BROKEN);
    bot.spawn();
    bot.ready().await;
    bob.verifies(&question, "a backup", 0).await;
    bot.case_until("alert=two", "bob's", |c| c["outcome"] == "verified")
        .await;
    alert(&bot, "three", "alice", "web-9").await;
    let failed = bot
        .case_until("alert=one", "failed", |c| c["outcome"] == "failed")
        .await;
    assert_eq!(failed["escalation"]["state"], "open");
    let reference = failed["reference"]
        .as_str()
        .expect("a reference")
        .to_owned();
    bot.until("a page", async || {
        let log = bot.log();
        log.lines()
            .any(|line| line.contains("PAGE [high]") && line.contains(&reference))
            .then_some(())
    })
    .await;
    alice.question("sudo -i on web-9").await;

    assert!(bot.terminate().success());
    let query = "SELECT body FROM rows WHERE collection = 'documents' AND key LIKE 'aside/%alice%'";
    let aside: String = database(&bot)
        .query_row(query, [], |row| row.get(0))
        .expect("the old bytes are kept aside");
    assert_eq!(aside, BROKEN);
}

#[tokio::test]
async fn a_checkpoint_of_a_newer_version_is_refused_untouched_and_its_alerts_wait() {
    let sources = "[[sources]]\nname = \"local\"\nkind = \"http\"\nmax_backlog = 20\n";
    let mut bot = Bot::start(&format!("{PEOPLE}{sources}")).await;
    let alice = Person::sign_in(&bot, "alice").await;
    let bob = Person::sign_in(&bot, "bob").await;
    alert(&bot, "one", "alice", "web-3").await;
    alice.question("sudo -i on web-3").await;
    assert!(bot.terminate().success());
    let good = checkpoint(&bot, "alice");
    let mut newer: serde_json::Value = serde_json::from_str(&good).expect("JSON");
    newer["schema"] = json!(999);
    let newer = newer.to_string();
    replace_checkpoint(&bot, "alice", &newer);

    bot.spawn();
    bot.ready().await;
    alert(&bot, "two", "alice", "web-9").await;
    alert(&bot, "three", "bob", "db-1").await;
    bob.question("sudo -i on db-1").await;
    bot.until("a clear refusal", async || {
        let log = bot.log();
        log.lines()
            .any(|line| line.contains("schema 999, newer than"))
            .then_some(())
    })
    .await;
    // Those that came with one that nobody takes are no backlog: accepting goes on.
    for day in 0..4 {
        let alerts = [("alice", 1), ("bob", 9)].map(|(who, count)| {
            (0..count).map(move |n| {
                json!({"id": format!("{who} {day} {n}"), "principal": who, "rule": "sudo",
                    "title": "sudo -i", "context": {"host": format!("db-{n}")}})
            })
        });
        let alerts: Vec<_> = alerts.into_iter().flatten().collect();
        bot.post("/v1/alerts", json!(alerts)).await;
        let last = format!("alert=bob {day} 8");
        bot.case_until(&last, "taken", |_| true).await;
    }
    let case = &bot.cases("alert=one").await[0];
    assert_eq!(case["state"], "asked", "not ours to judge");
    assert!(bot.terminate().success());
    assert_eq!(checkpoint(&bot, "alice"), newer, "touched");

    replace_checkpoint(&bot, "alice", &good);
    bot.spawn();
    bot.ready().await;
    bot.case_until("alert=two", "it waited", |c| c["state"] != "closed")
        .await;
}
