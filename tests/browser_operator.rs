//! The operator's evening: the real binary, a real Chromium, wide and as a telephone. From the page
//! that came in to the reason that ends it, each step by a form that needs no script.
#![allow(clippy::unwrap_used)] // the fakes in common

mod browser_support;
mod common;

use browser_support::{Browser, PHONE, WIDE};
use common::bot::{Bot, PEOPLE};
use common::person::Person;
use serde_json::json;

#[tokio::test]
async fn an_operator_finds_takes_and_ends_what_needs_a_human() {
    for width in [WIDE, PHONE] {
        let bot = Bot::start(PEOPLE).await;
        let alice = Person::sign_in(&bot, "alice").await;
        let evidence = "Nov 24 10:02:11 web-3 sudo: alice : TTY=pts/0 ; COMMAND=/bin/bash -c https://example.com/a-path-without-a-place-to-break-at-all-whatever-happens";
        bot.post(
            "/v1/alerts",
            json!({"id": "one", "principal": "alice", "rule": "sudo", "title": "sudo -i on web-3",
                "severity": "high", "reason": evidence, "context": {"host": "web-3"}}),
        )
        .await;
        let question = alice.question("sudo -i on web-3").await;
        alice.answer(&question, "no").await;
        bot.post(
            "/v1/alerts",
            json!({"id": "two", "principal": "bob", "rule": "nmap", "title": "nmap from bob's laptop",
                "context": {"host": "laptop-17"}}),
        )
        .await;
        bot.post(
            "/v1/alerts",
            json!({"id": "three", "principal": "mallory", "rule": "login",
                "title": "login from a country never seen before"}),
        )
        .await;
        bot.until("pages and a question", async || {
            let pages = bot.get("/v1/escalations?state=open").await;
            let asked = bot.cases("employee=bob&state=asked").await;
            (pages["escalations"].as_array()?.len() == 2 && asked.len() == 1).then_some(())
        })
        .await;
        let browser = Browser::start(width).await;

        browser.open(&bot.url()).await;
        browser.look("operator-login").await;
        browser.fill("#token", &bot.token()).await;
        browser.click("Sign in").await;
        browser.sees("Needs a human").await;
        browser.look("operator-work").await;

        let case = &bot.cases("employee=alice").await[0];
        let id = case["id"].as_str().expect("an id");
        browser.open(&format!("{}/cases/{id}", bot.url())).await;
        browser.sees("COMMAND=/bin/bash").await;
        browser.look("operator-case").await;
        browser.click("Acknowledge").await;
        browser.sees("acknowledged by admin").await;
        browser.fill("#note-text", "called her").await;
        browser.click("Note").await;
        browser.sees("called her").await;
        browser.fill("#resolve-reason", "credentials rotated").await;
        browser.click("Resolve").await;
        browser.sees("resolved by admin").await;
        browser.look("operator-resolved").await;

        let case = &bot.cases("employee=bob").await[0];
        let id = case["id"].as_str().expect("an id");
        browser.open(&format!("{}/cases/{id}", bot.url())).await;
        browser.look("operator-open-case").await;
        browser.fill("#close-reason", "a drill").await;
        browser.click("Close").await;
        let closed = bot.case_until("employee=bob", "closed", |c| c["outcome"] == "closed");
        closed.await;
        browser.open(&bot.url()).await;
        browser.sees("Recently closed").await;
        browser.look("operator-work-later").await;
        for page in ["snoozes", "rollups", "quarantine"] {
            browser.open(&format!("{}/{page}", bot.url())).await;
            browser.look(&format!("operator-{page}")).await;
        }
        browser.close().await;
    }
}
