//! The web chat as employees meet it: the real binary, a real Chromium, wide and as a telephone, with
//! the keyboard alone and without scripts. Code that works for a test client and not for a person fails
//! here. Each page leaves a picture in `target/screenshots`.
#![allow(clippy::unwrap_used)] // the fakes in common

mod browser_support;
mod common;

use browser_support::{Browser, ENTER, PHONE, WIDE};
use common::bot::{Bot, PEOPLE};
use common::person::Person;
use serde_json::{Value, json};

const LIVE_QUESTIONS: &str =
    "return document.querySelectorAll('.answers button[value=yes]').length === 1";

async fn link(bot: &Bot, name: &str, kind: &str) -> String {
    let answer = bot
        .post(
            &format!("/v1/employees/{name}/links"),
            json!({"kind": kind}),
        )
        .await;
    answer["url"].as_str().expect("a link").to_owned()
}

async fn sign_in(browser: &Browser, bot: &Bot, name: &str) {
    browser.open(&link(bot, name, "chat").await).await;
    browser.click("Open my chat").await;
    browser.sees("Security chat").await;
}

fn sudo(who: &str, id: &str, host: &str) -> Value {
    json!({"id": id, "principal": who, "rule": "sudo", "title": format!("sudo -i on {host}"),
        "description": "An interactive root shell was opened.",
        "reason": "Nov 24 10:02:11 sudo: TTY=pts/0 ; PWD=/srv/a-rather-long-folder-name/without-any-space-to-break-at ; USER=root ; COMMAND=/bin/bash",
        "url": "https://siem.example.com/alerts/4711",
        "context": {"host": host, "source_address": "10.0.0.7"}})
}

#[tokio::test]
async fn the_keyboard_alone_answers_and_a_killed_bot_costs_only_the_delay() {
    let mut bot = Bot::start(PEOPLE).await;
    let mut alice = Person::sign_in(&bot, "alice").await;
    let browser = Browser::start(WIDE).await;

    browser.open(&link(&bot, "alice", "chat").await).await;
    browser.look("chat-link").await;
    browser.tab_to("#go").await;
    browser.press(ENTER).await;
    browser.sees("enjoy your day").await;
    browser.look("chat-empty").await;
    // Gone with the page: whoever finds it again has not reloaded.
    browser.run("window.mark = 1").await;
    alice.enroll(&bot).await;
    browser.sees("has set up your authenticator app").await;

    bot.post("/v1/alerts", sudo("alice", "one", "web-3")).await;
    browser.sees("sudo -i on web-3").await;
    browser.until("one question", LIVE_QUESTIONS).await;
    browser.look("chat-question").await;

    bot.kill9();
    browser.sees("Connecting again").await;
    browser.look("chat-connecting").await;
    bot.spawn();
    bot.ready().await;
    browser
        .until(
            "connected again",
            "return document.getElementById('connection').hidden",
        )
        .await;
    browser.until("one question", LIVE_QUESTIONS).await;

    browser.tab_to(".answers button[value=yes]").await;
    browser.press(ENTER).await;
    browser
        .until(
            "the focus goes to the explanation",
            "return document.activeElement.name === 'why'",
        )
        .await;
    browser.press("restarting nginx").await;
    browser.look("chat-form").await;
    browser.tab_to("input.code").await;
    browser.press("000000").await;
    browser.press(ENTER).await;
    browser
        .until(
            "told in the form, explanation kept",
            "return !document.querySelector('.proof .form-error').hidden && \
             document.querySelector('.proof textarea').value === 'restarting nginx' && \
             document.activeElement.classList.contains('code')",
        )
        .await;
    browser.look("chat-wrong-code").await;
    browser.press(&alice.code(0)).await;
    browser.press(ENTER).await;
    browser.sees("is settled").await;
    browser
        .until(
            "no live answers",
            "return !document.querySelector('.proof, button[value=yes], button[value=no]')",
        )
        .await;
    browser.look("chat-thanks").await;
    assert_eq!(browser.run("return window.mark").await, 1, "no reload");
    assert_eq!(
        browser
            .run("return document.querySelectorAll('.message h2').length")
            .await,
        1,
        "asked once"
    );
    let case = bot
        .case_until("employee=alice", "verified", |c| c["outcome"] == "verified")
        .await;
    assert_eq!(case["explanation"], "restarting nginx");
    assert_eq!(case["factor"], "totp");

    browser
        .run("document.getElementById('sign-out').click()")
        .await;
    browser.sees("signed out").await;
    browser.look("chat-signed-out").await;
    browser.close().await;
}

#[tokio::test]
async fn a_telephone_shows_and_answers_everything() {
    let bot = Bot::start(PEOPLE).await;
    let browser = Browser::start(PHONE).await;
    let mut alice = Person::sign_in(&bot, "alice").await;

    browser.open(&link(&bot, "alice", "enroll").await).await;
    browser.look("enroll-start").await;
    browser.click("Start").await;
    browser.sees("authenticator app").await;
    browser.look("enroll-code").await;
    let svg = "return document.querySelector('.qr svg') !== null";
    browser.until("a QR code", svg).await;
    let secret = browser
        .run("return document.getElementById('secret').textContent")
        .await;
    let secret = secret.as_str().expect("a secret").replace(' ', "");
    alice.has_authenticator(secret);
    browser.fill("#code", &alice.code(0)).await;
    browser.click("Confirm").await;
    browser.sees("All set").await;
    browser.look("enroll-done").await;

    sign_in(&browser, &bot, "alice").await;
    browser.look("chat-empty").await;
    bot.post("/v1/alerts", sudo("alice", "one", "web-3")).await;
    browser.sees("sudo -i on web-3").await;
    browser.look("chat-question").await;
    browser.click("Yes").await;
    browser.fill(".proof textarea", "restarting nginx").await;
    browser.look("chat-form").await;
    // The step of the enrolment's code is used up.
    browser.fill("input.code", &alice.code(1)).await;
    browser.click("Confirm").await;
    browser.sees("is settled").await;
    browser.look("chat-thanks").await;

    bot.post("/v1/alerts", sudo("alice", "two", "web-4")).await;
    browser.until("the next question", LIVE_QUESTIONS).await;
    browser.click("No, that").await;
    browser.sees("alerted the security team").await;
    browser.look("chat-denied").await;
    browser.fill("#message", "help").await;
    browser.click("Send").await;
    browser.sees("status").await;
    browser.look("chat-help").await;
    browser.close().await;
}

#[tokio::test]
async fn two_employees_in_two_browsers_never_meet() {
    let bot = Bot::start(PEOPLE).await;
    let alice = Browser::start(WIDE).await;
    let bob = Browser::start(WIDE).await;
    sign_in(&alice, &bot, "alice").await;
    sign_in(&bob, &bot, "bob").await;
    bot.post("/v1/alerts", sudo("alice", "one", "web-3")).await;
    bot.post("/v1/alerts", sudo("bob", "two", "db-1")).await;
    alice.sees("sudo -i on web-3").await;
    bob.sees("sudo -i on db-1").await;

    let theirs = alice
        .run("return document.querySelector('.message.open').dataset.case")
        .await;
    let stolen = format!(
        "const form = document.querySelector('.message.open .answers'); \
         form.querySelector('[name=case]').value = {theirs}; \
         form.querySelector('button[value=no]').click();"
    );
    bob.run(&stolen).await;
    bob.until(
        "refused",
        "return !document.querySelector('.answers .form-error').hidden",
    )
    .await;

    assert!(!alice.text().await.contains("db-1"));
    assert!(!bob.text().await.contains("web-3"));
    let case = bot.cases("employee=alice").await;
    assert_eq!(case[0]["state"], "asked", "only alice answers hers");
    alice.click("Not sure").await;
    alice.sees("honest answer").await;
    let case = bot.cases("employee=bob").await;
    assert_eq!(case[0]["state"], "asked", "bob's is as it was");
    alice.close().await;
    bob.close().await;
}

#[tokio::test]
async fn plain_forms_answer_without_scripts() {
    let bot = Bot::start(PEOPLE).await;
    let mut alice = Person::sign_in(&bot, "alice").await;
    alice.enroll(&bot).await;
    bot.post("/v1/alerts", sudo("alice", "one", "web-3")).await;
    alice.question("sudo -i on web-3").await;
    let browser = Browser::without_scripts(WIDE).await;

    sign_in(&browser, &bot, "alice").await;
    browser.sees("reload this page").await;
    browser.look("chat-plain-question").await;
    browser.click("Yes").await;
    alice.sees("the form", |shown| shown.has_form).await;
    browser.open(&format!("{}/chat", bot.url())).await;
    browser.fill(".proof textarea", "restarting nginx").await;
    browser.fill("input.code", &alice.code(0)).await;
    browser.click("Confirm").await;
    bot.case_until("employee=alice", "verified", |c| c["outcome"] == "verified")
        .await;
    browser.open(&format!("{}/chat", bot.url())).await;
    browser.sees("is settled").await;
    browser.look("chat-plain-thanks").await;
    browser.close().await;
}
