//! Sending, editing and reading back; what each of Slack's refusals means.

use std::time::Duration;

use securitybot::core::conversation::Reply;
use securitybot::core::time::Timestamp;
use securitybot::plugins::Health;
use securitybot::plugins::chat::{Chat, ChatError};

use crate::bot::{Bot, asked, identity};
use crate::common::fake_slack::{Mode, people};

const LONG_AGO: Timestamp = Timestamp::from_millis(0);

#[actix_web::test]
async fn a_question_carries_its_key_and_is_found_and_edited() {
    let bot = Bot::new();
    let alice = identity("UALICE");
    let none = bot.slack.find(&alice, "employee/alice#1", LONG_AGO).await;
    assert_eq!(none, Ok(None));

    let sent = bot
        .slack
        .send(&alice, "employee/alice#1", &asked())
        .await
        .unwrap();

    let message = bot.fake.message_to("UALICE", "web-3");
    assert_eq!(
        message["metadata"]["event_payload"]["key"],
        "employee/alice#1"
    );
    assert_eq!(
        people::actions(&message),
        ["link", "yes", "no", "not_sure", "someone_else"]
    );
    let found = bot
        .slack
        .find(&alice, "employee/alice#1", LONG_AGO)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&found.message_id, found.at), (&sent.message_id, sent.at));
    assert_eq!(
        bot.slack.find(&alice, "employee/alice#2", LONG_AGO).await,
        Ok(None)
    );

    let mut ended = asked();
    ended.buttons.clear();
    let edited = bot
        .slack
        .edit(&alice, &sent.message_id, &ended)
        .await
        .unwrap();
    assert!(
        edited.at >= sent.at,
        "an edit is never older than the message"
    );
    let message = bot.fake.message_to("UALICE", "web-3");
    assert_eq!(people::actions(&message), ["link"]);
    assert_eq!(bot.fake.state().messages_to("UALICE").len(), 1);
    let opened = bot.fake.calls("conversations.open");
    assert_eq!(opened.len(), 1, "the channel is remembered");
    bot.fake.calls("chat.postMessage").iter().for_each(|call| {
        assert_eq!(call["unfurl_links"], false);
        assert_eq!(call["unfurl_media"], false);
    });
}

#[actix_web::test]
async fn a_send_whose_answer_was_cut_is_unclear_and_then_found() {
    let bot = Bot::new();
    let alice = identity("UALICE");
    bot.fake.mode("chat.postMessage", Mode::CutAfterApplying, 1);
    let unclear = bot.slack.send(&alice, "k#1", &asked()).await;
    assert!(matches!(unclear, Err(ChatError::Unclear(_))), "{unclear:?}");
    assert!(
        bot.slack
            .find(&alice, "k#1", LONG_AGO)
            .await
            .unwrap()
            .is_some()
    );
    for mode in [
        Mode::Status(502),
        Mode::Refused("internal_error".to_owned()),
    ] {
        bot.fake.mode("chat.postMessage", mode, 1);
        let unclear = bot.slack.send(&alice, "k#2", &asked()).await;
        assert!(matches!(unclear, Err(ChatError::Unclear(_))), "{unclear:?}");
        assert_eq!(bot.slack.find(&alice, "k#2", LONG_AGO).await, Ok(None));
    }
}

#[actix_web::test]
async fn a_message_far_back_is_found_page_by_page() {
    let bot = Bot::new();
    let alice = identity("UALICE");
    bot.slack.send(&alice, "k#1", &asked()).await.unwrap();
    for _ in 0..450 {
        bot.fake.say("UALICE", "chatter");
    }
    assert!(
        bot.slack
            .find(&alice, "k#1", LONG_AGO)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(bot.fake.calls("conversations.history").len(), 3);
}

#[actix_web::test]
async fn refusals_say_whether_to_wait_to_try_again_or_to_give_up() {
    let bot = Bot::new();
    let alice = identity("UALICE");
    let stranger = bot.slack.send(&identity("UNOBODY"), "k", &asked()).await;
    assert!(matches!(stranger, Err(ChatError::Gone(_))), "{stranger:?}");
    let web_id = securitybot::core::ids::ChatIdentity {
        chat: "slack".to_owned(),
        user: "alice".to_owned(),
    };
    let unlinked = bot.slack.send(&web_id, "k", &asked()).await;
    assert!(matches!(unlinked, Err(ChatError::Gone(_))), "{unlinked:?}");
    bot.fake.mode(
        "chat.postMessage",
        Mode::Refused("invalid_blocks".to_owned()),
        1,
    );
    let refused = bot.slack.send(&alice, "k", &asked()).await;
    assert!(matches!(refused, Err(ChatError::Refused(_))), "{refused:?}");

    let bob = identity("UBOB");
    bot.fake.mode("chat.postMessage", Mode::RateLimited(7), 1);
    let limited = bot.slack.send(&bob, "k", &asked()).await;
    assert_eq!(limited, Err(ChatError::RateLimited(Duration::from_secs(7))));
    let calls = bot.fake.calls("chat.postMessage").len();
    let again = bot.slack.send(&bob, "k", &asked()).await;
    assert!(
        matches!(again, Err(ChatError::RateLimited(_))),
        "the silence is kept"
    );
    assert_eq!(
        bot.fake.calls("chat.postMessage").len(),
        calls,
        "without asking"
    );
    bot.slack
        .send(&alice, "k", &asked())
        .await
        .expect("others are not held up");
}

#[actix_web::test]
async fn a_revoked_token_is_no_fault_of_the_person_and_shows_in_health() {
    let bot = Bot::with(false);
    assert_eq!(bot.slack.health().await, Health::Good);
    bot.fake.mode(
        "chat.postMessage",
        Mode::Refused("token_revoked".to_owned()),
        1,
    );
    let refused = bot.slack.send(&identity("UALICE"), "k", &asked()).await;
    assert!(
        matches!(refused, Err(ChatError::Unavailable(_))),
        "{refused:?}"
    );
    let health = bot.slack.health().await;
    assert!(
        matches!(&health, Health::Degraded(why) if why.contains("token_revoked")),
        "{health:?}"
    );
    tokio::time::sleep(Duration::from_millis(1_100)).await; // Slack's one message a second
    bot.slack
        .send(&identity("UALICE"), "k", &asked())
        .await
        .unwrap();
    assert_eq!(bot.slack.health().await, Health::Good);
}

#[actix_web::test]
async fn many_questions_at_once_provoke_no_refusal() {
    let bot = Bot::new();
    let users: Vec<String> = (0..12).map(|nth| format!("U{nth:04}")).collect();
    for user in &users {
        bot.fake
            .add_user(user, user, &format!("{user}@example.com"));
    }
    let sends = users.iter().map(|user| {
        let slack = bot.slack.clone();
        async move {
            let to = identity(user);
            for key in ["k#1", "k#2"] {
                while let Err(error) = slack.send(&to, key, &asked()).await {
                    match error {
                        ChatError::RateLimited(wait) => tokio::time::sleep(wait).await,
                        error => panic!("{error}"),
                    }
                }
            }
        }
    });
    futures_util::future::join_all(sends).await;
    assert_eq!(bot.fake.state().refused_429, 0);
    for user in &users {
        assert_eq!(bot.fake.state().messages_to(user).len(), 2);
    }
}

#[actix_web::test]
async fn the_directory_is_read_whole_without_bots_and_people_who_left() {
    let bot = Bot::new();
    {
        let mut state = bot.fake.state();
        state.users_page = 2;
        for (id, flag) in [
            ("UGONE", "deleted"),
            ("UROBOT", "is_bot"),
            ("UOTHER", "is_stranger"),
        ] {
            let mut user = state.users[0].clone();
            user["id"] = id.into();
            user[flag] = true.into();
            state.users.push(user);
        }
        let mut guest = state.users[0].clone();
        guest["id"] = "UGUEST".into();
        guest["is_restricted"] = true.into();
        guest["tz"] = "Not/AZone".into();
        state.users.push(guest);
    }
    bot.fake.mode("users.list", Mode::RateLimited(1), 1);
    let people = bot.slack.people().await.unwrap().unwrap();
    let users: Vec<&str> = people.iter().map(|person| person.user.as_str()).collect();
    assert_eq!(users, ["T0TEST/UALICE", "T0TEST/UBOB", "T0TEST/UGUEST"]);
    assert_eq!(people[0].email.as_deref(), Some("alice@example.com"));
    assert_eq!(people[0].time_zone.as_deref(), Some("Europe/Berlin"));
    assert_eq!(people[2].time_zone, None);
}

#[actix_web::test]
async fn a_wait_that_slack_asks_for_is_kept_by_hints_and_new_sockets_too() {
    let bot = Bot::new();
    let opening = "apps.connections.open";
    bot.fake.mode(opening, Mode::RateLimited(3), usize::MAX);
    bot.start();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    // Both connections may be on their way when the first is refused.
    let calls = bot.fake.calls(opening).len();
    assert!((1..=2).contains(&calls), "{calls} calls within the wait");
    bot.fake.state().modes.clear();
    let fake = bot.fake.clone();
    tokio::task::spawn_blocking(move || fake.wait_connected(1))
        .await
        .unwrap();

    let alice = identity("UALICE");
    bot.slack.send(&alice, "k", &asked()).await.unwrap();
    let message = bot.fake.message_to("UALICE", "web-3");
    let hint = "chat.postEphemeral";
    bot.fake.mode(hint, Mode::RateLimited(30), 1);
    for _ in 0..3 {
        let refused = Reply::AlreadyAnswered;
        bot.inbox.replies.lock().unwrap().push(refused);
        let (fake, click) = (bot.fake.clone(), bot.fake.click("UBOB", &message, "no"));
        tokio::task::spawn_blocking(move || fake.acknowledged(&click))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(bot.fake.calls(hint).len(), 1);
}
