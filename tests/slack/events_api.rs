//! The Events API and interactivity by HTTP: only what Slack signed, now, once; and 200 only for what is durable.

use std::sync::atomic::Ordering;

use actix_web::App;
use actix_web::http::StatusCode;
use actix_web::test::{self, TestRequest};
use actix_web::web::Data;
use securitybot::core::conversation::Reply;
use securitybot::plugins::chat::Chat;
use securitybot::plugins::chat::slack;
use serde_json::{Value, json};

use crate::bot::{Bot, SECRET, asked, identity};
use crate::common::fake_slack::TEAM;

struct Posted {
    status: StatusCode,
    body: String,
}

async fn post(bot: &Bot, path: &str, body: &str, at: i64, signature: &str) -> Posted {
    let data = Data::from(bot.slack.clone());
    let app = test::init_service(App::new().configure(|cfg| slack::configure(cfg, data))).await;
    let request = TestRequest::post()
        .uri(path)
        .insert_header(("x-slack-request-timestamp", at.to_string()))
        .insert_header(("x-slack-signature", signature))
        .set_payload(body.to_owned());
    let response = test::call_service(&app, request.to_request()).await;
    Posted {
        status: response.status(),
        body: String::from_utf8(test::read_body(response).await.to_vec()).unwrap(),
    }
}

async fn signed(bot: &Bot, path: &str, body: &str) -> Posted {
    let at = bot.fake.state().seconds();
    post(bot, path, body, at, &bot.fake.signed(SECRET, at, body)).await
}

fn typed(ts: &str) -> String {
    json!({ "type": "event_callback", "team_id": TEAM, "event_id": "Ev1", "event": {
        "type": "message", "channel": "D1", "channel_type": "im", "user": "UALICE", "text": "yes", "ts": ts,
    } })
    .to_string()
}

#[actix_web::test]
async fn only_what_slack_signed_now_is_heard() {
    let bot = Bot::with(false);
    bot.start();
    let hello = json!({ "type": "url_verification", "challenge": "ch4llenge" }).to_string();
    let answer = signed(&bot, "/slack/events", &hello).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::OK, "ch4llenge")
    );

    let (body, now) = (typed("1795514520.000100"), bot.fake.state().seconds());
    let good = bot.fake.signed(SECRET, now, &body);
    let old = bot.fake.signed(SECRET, now - 400, &body);
    let foreign = bot.fake.signed("another secret", now, &body);
    for (at, signature) in [
        (now, foreign),
        (now - 400, old),
        (now, String::new()),
        (now - 1, good.clone()),
    ] {
        let answer = post(&bot, "/slack/events", &body, at, &signature).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    assert!(bot.inbox.ids().is_empty());

    assert_eq!(
        post(&bot, "/slack/events", &body, now, &good).await.status,
        StatusCode::OK
    );
    // A copy of the very same request does nothing, in whatever case its signature is written.
    let copy = post(&bot, "/slack/events", &body, now, &good).await;
    assert_eq!((copy.status, bot.inbox.ids().len()), (StatusCode::OK, 1));
}

#[actix_web::test]
async fn what_is_not_durable_is_answered_503_and_taken_at_the_next_delivery() {
    let bot = Bot::with(false);
    bot.start();
    bot.inbox.refuse.store(1, Ordering::SeqCst);
    let (body, now) = (typed("1795514520.000100"), bot.fake.state().seconds());
    let mut statuses = Vec::new();
    for at in [now - 1, now] {
        let signature = bot.fake.signed(SECRET, at, &body);
        statuses.push(
            post(&bot, "/slack/events", &body, at, &signature)
                .await
                .status,
        );
    }
    assert_eq!(statuses, [StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK]);
    let ids = bot.inbox.ids();
    assert_eq!(ids[0], ids[1]);
}

#[actix_web::test]
async fn a_click_comes_by_http_and_a_late_one_is_answered_in_words() {
    let bot = Bot::with(false);
    bot.start();
    bot.slack
        .send(&identity("UALICE"), "k#1", &asked())
        .await
        .unwrap();
    let message = bot.fake.message_to("UALICE", "web-3");
    bot.inbox
        .replies
        .lock()
        .unwrap()
        .push(Reply::AlreadyAnswered);
    let payload = bot.fake.click_payload("UBOB", &message, "no");
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &payload.to_string())
        .finish();
    let answer = signed(&bot, "/slack/interactions", &body).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""));
    let from = bot.inbox.events.lock().unwrap()[0].from.user.clone();
    assert_eq!(
        from,
        format!("{TEAM}/UBOB"),
        "who clicked is Slack's word, not the message's"
    );
    let fake = bot.fake.clone();
    let hint: Value = tokio::task::spawn_blocking(move || {
        fake.wait_for("a hint", |state| {
            let mut calls = state.calls.iter();
            calls
                .find(|(method, _)| method == "chat.postEphemeral")
                .map(|(_, args)| args.clone())
        })
    })
    .await
    .unwrap();
    assert_eq!(hint["user"], "UBOB");
}
