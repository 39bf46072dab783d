//! Socket Mode: what is acknowledged, when, and that no event is lost when connections come and go.

use std::sync::atomic::Ordering;
use std::time::Duration;

use securitybot::core::conversation::{Answer, Reply};
use securitybot::plugins::Health;
use securitybot::plugins::chat::{Chat, ChatAction};
use serde_json::Value;

use crate::bot::{Bot, asked, identity, proof_form};
use crate::common::fake_slack::TEAM;

#[actix_web::test]
async fn a_yes_opens_its_form_at_once_and_the_form_comes_back() {
    let bot = Bot::new();
    let alice = identity("UALICE");
    bot.start_listening().await;
    let sent = bot.slack.send(&alice, "k#1", &asked()).await.unwrap();
    let message = bot.fake.message_to("UALICE", "web-3");

    let click = bot.fake.click("UALICE", &message, "yes");
    let fake = bot.fake.clone();
    tokio::task::spawn_blocking(move || fake.acknowledged(&click))
        .await
        .unwrap();
    // The conversation's answer to the yes is the edit with the form.
    bot.slack
        .edit(&alice, &sent.message_id, &proof_form(2))
        .await
        .unwrap();
    let fake = bot.fake.clone();
    let form = tokio::task::spawn_blocking(move || fake.form(0))
        .await
        .unwrap();
    let labels: Vec<&str> = form["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|block| block["label"]["text"].as_str())
        .collect();
    assert!(
        labels.iter().any(|label| label.starts_with("Why")),
        "{labels:?}"
    );
    assert!(
        labels.iter().any(|label| label.contains("code")),
        "{labels:?}"
    );

    let refusal = Reply::ProofRefused {
        message: "That code is not right; 4 tries are left.".to_owned(),
    };
    bot.inbox.replies.lock().unwrap().push(refusal);
    let (fake, view) = (bot.fake.clone(), form.clone());
    let wrong = tokio::task::spawn_blocking(move || {
        fake.submit("UALICE", &view, "a deployment with 111222 in it", "123 456")
    });
    let wrong = wrong.await.unwrap();
    assert_eq!(wrong["response_action"], "errors");
    assert!(
        wrong["errors"]["code"]
            .as_str()
            .unwrap()
            .contains("4 tries")
    );
    let (fake, view) = (bot.fake.clone(), form);
    let right =
        tokio::task::spawn_blocking(move || fake.submit("UALICE", &view, "why not", "654321"));
    assert_eq!(right.await.unwrap(), Value::Null, "the form closes");

    let events = bot.inbox.events.lock().unwrap();
    assert!(
        events
            .iter()
            .all(|event| event.from.user == format!("{TEAM}/UALICE"))
    );
    assert!(matches!(
        events[0].action,
        ChatAction::Pressed {
            revision: 1,
            answer: Answer::Yes,
            ..
        }
    ));
    let ChatAction::Submitted {
        ticks,
        explanation,
        code,
        ..
    } = &events[1].action
    else {
        panic!("{:?}", events[1])
    };
    assert_eq!(ticks.len(), 1);
    assert_eq!(explanation.raw(), "a deployment with [code] in it");
    assert_eq!(
        secrecy::ExposeSecret::expose_secret(code.as_ref().unwrap()),
        "123456"
    );
    assert_ne!(
        events[1].event_id, events[2].event_id,
        "two tries are two events"
    );
}

#[actix_web::test]
async fn what_was_not_taken_is_not_acknowledged_and_comes_again_as_the_same_event() {
    let bot = Bot::new();
    bot.start_listening().await;
    bot.inbox.refuse.store(1, Ordering::SeqCst);
    let envelope = bot.fake.say(
        "UALICE",
        "no, my code is 123456 &amp; <https://x.example|this>",
    );
    let (fake, id) = (bot.fake.clone(), envelope.clone());
    tokio::task::spawn_blocking(move || fake.acknowledged(&id))
        .await
        .unwrap();
    let ids = bot.inbox.ids();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(bot.inbox.typed()[0], "no, my code is [code] & this");
    bot.fake.deliver_again(&envelope);
    for _ in 0..100 {
        if bot.inbox.ids().len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(bot.inbox.ids()[2], ids[0], "a duplicate has the same id");
}

#[actix_web::test]
async fn whoever_presses_what_is_not_theirs_sees_no_form() {
    let bot = Bot::new();
    let alice = identity("UALICE");
    bot.start_listening().await;
    let sent = bot.slack.send(&alice, "k#1", &asked()).await.unwrap();
    let message = bot.fake.message_to("UALICE", "web-3");
    bot.inbox.replies.lock().unwrap().push(Reply::NotYours);
    let (fake, click) = (bot.fake.clone(), bot.fake.click("UBOB", &message, "yes"));
    tokio::task::spawn_blocking(move || fake.acknowledged(&click))
        .await
        .unwrap();
    // alice's own yes has its answer within the same moment.
    bot.slack
        .edit(&alice, &sent.message_id, &proof_form(2))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(bot.fake.calls("views.open").is_empty());
}

#[actix_web::test]
async fn bots_edits_and_other_channels_say_nothing() {
    let bot = Bot::new();
    bot.start_listening().await;
    let event = |change: (&str, Value)| {
        let mut event = serde_json::json!({
            "type": "message", "channel": "D1", "channel_type": "im", "user": "UALICE", "team": TEAM,
            "text": "yes", "ts": "1795514520.000100",
        });
        event[change.0] = change.1;
        serde_json::json!({ "type": "event_callback", "team_id": TEAM, "event_id": "Ev1", "event": event })
    };
    let spoofs = [
        ("bot_id", "B1".into()),
        ("subtype", "message_changed".into()),
        ("subtype", "bot_message".into()),
        ("channel_type", "channel".into()),
        ("hidden", true.into()),
        ("user", Value::Null),
    ];
    for spoof in spoofs {
        let id = bot.fake.envelope("events_api", event(spoof));
        let fake = bot.fake.clone();
        tokio::task::spawn_blocking(move || fake.acknowledged(&id))
            .await
            .unwrap();
    }
    assert_eq!(bot.inbox.ids(), Vec::<String>::new());
    let id = bot
        .fake
        .envelope("events_api", event(("text", "yes".into())));
    let fake = bot.fake.clone();
    tokio::task::spawn_blocking(move || fake.acknowledged(&id))
        .await
        .unwrap();
    assert_eq!(bot.inbox.typed(), ["yes"]);
}

#[actix_web::test]
async fn connections_are_replaced_before_they_end_and_after_they_broke() {
    let bot = Bot::new();
    bot.start_listening().await;
    while bot.slack.health().await != Health::Good {
        tokio::task::yield_now().await;
    }

    bot.fake.announce_disconnect("refresh_requested");
    let fake = bot.fake.clone();
    let more = tokio::task::spawn_blocking(move || fake.wait_connected(4)).await;
    more.expect("the old connections live on until the new ones are up");

    bot.fake.drop_connections();
    let envelope = bot.fake.say("UALICE", "said while nobody listened");
    let fake = bot.fake.clone();
    tokio::task::spawn_blocking(move || fake.acknowledged(&envelope))
        .await
        .unwrap();
    // Perhaps twice, but then under the same id.
    let mut ids = bot.inbox.ids();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(bot.inbox.typed()[0], "said while nobody listened");
    bot.slack.close();
    let fake = bot.fake.clone();
    let ended = tokio::task::spawn_blocking(move || {
        fake.wait_for("the end of all connections", |state| {
            state.sockets.is_empty().then_some(())
        });
    });
    ended.await.unwrap();
}
