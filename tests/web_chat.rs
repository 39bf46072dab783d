//! The web chat as browsers and attackers use it: sign-in, isolation, forms, codes, and what happens when an answer
//! is not taken.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

#[macro_use]
#[path = "web_chat/bot.rs"]
mod bot;
#[path = "web_chat/fakes.rs"]
mod fakes;

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::Service;
use actix_web::http::{StatusCode, header};
use actix_web::test::TestRequest;
use futures_util::future::join_all;
use securitybot::core::conversation::Reply;
use securitybot::messages::Block;
use securitybot::plugins::chat::Chat;

use bot::{Bot, Page, RETENTION, XSS, case, get, identity, post};

#[actix_web::test]
async fn a_sign_in_link_survives_previews_and_works_once() {
    let bot = Bot::new();
    let app = app!(bot);
    let link = bot.link("alice").await;

    for _ in 0..3 {
        assert_eq!(get(&app, &link, "").await.status, StatusCode::OK);
    }
    let signed_in = post(&app, &link, "", "").await;
    assert_eq!(signed_in.status, StatusCode::SEE_OTHER);
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(
            signed_in.set_cookie.contains(flag),
            "{}",
            signed_in.set_cookie
        );
    }
    assert_eq!(post(&app, &link, "", "").await.status, StatusCode::GONE);
    assert_eq!(get(&app, &link, "").await.status, StatusCode::GONE);

    let token = signed_in.cookie().split_once('=').unwrap().1.to_owned();
    assert!(
        !bot.store.dump().contains(&token),
        "the session is stored as it is"
    );
    assert!(!bot.store.dump().contains(link.rsplit('/').next().unwrap()));
}

#[actix_web::test]
async fn links_and_sessions_expire() {
    let bot = Bot::new();
    let app = app!(bot);
    let link = bot.link("alice").await;
    bot.wait(Duration::from_secs(15 * 60));
    assert_eq!(post(&app, &link, "", "").await.status, StatusCode::GONE);

    let cookie = bot.sign_in(&app, "alice").await.cookie;
    bot.wait(Duration::from_secs(11 * 3600));
    assert_eq!(get(&app, "/chat", &cookie).await.status, StatusCode::OK);
    bot.wait(Duration::from_secs(11 * 3600));
    assert_eq!(get(&app, "/chat", &cookie).await.status, StatusCode::OK);
    bot.wait(Duration::from_secs(12 * 3600));
    let over = get(&app, "/chat", &cookie).await;
    assert_eq!(over.status, StatusCode::UNAUTHORIZED);
    assert!(over.body.contains("chat-link"));
}

#[actix_web::test]
async fn https_cookies_are_bound_to_the_host() {
    let bot = Bot::at("https://bot.example.com/");
    let app = app!(bot);
    let link = bot.link("alice").await;
    let path = link
        .strip_prefix("https://bot.example.com")
        .expect("the public address");
    let signed_in = post(&app, path, "", "").await;
    assert!(
        signed_in.set_cookie.starts_with("__Host-"),
        "{}",
        signed_in.set_cookie
    );
    assert!(signed_in.set_cookie.contains("; Secure"));
    assert_eq!(
        get(&app, "/chat", &signed_in.cookie()).await.status,
        StatusCode::OK
    );
}

#[actix_web::test]
async fn two_employees_neither_see_nor_answer_each_other_by_any_id() {
    let bot = Bot::new();
    let app = app!(bot);
    bot.ask("alice", 1).await;
    bot.ask("bob", 2).await;
    let alice = bot.sign_in(&app, "alice").await;
    let bob = bot.sign_in(&app, "bob").await;
    let alices_id = bot.message_id("alice", 1).await;

    for path in ["/chat", "/chat/messages"] {
        let page = get(&app, path, &bob.cookie).await;
        assert!(
            !page.body.contains(&case(1).to_string()),
            "{path} shows alice's case"
        );
        assert!(
            !page.body.contains(&alices_id),
            "{path} shows alice's message"
        );
        assert!(page.body.contains(&case(2).to_string()));
    }

    // Whatever bob names, it is delivered as bob's, and a foreign case answers like one that never was.
    for reply in [Reply::NotYours, Reply::NotFound] {
        bot.inbox.reply(reply);
    }
    let foreign = post(
        &app,
        "/chat/answer",
        &bob.cookie,
        &bob.press(case(1), "yes"),
    )
    .await;
    let unknown = post(
        &app,
        "/chat/answer",
        &bob.cookie,
        &bob.press(case(99), "yes"),
    )
    .await;
    let garbage = bob
        .press(case(99), "yes")
        .replace(&case(99).to_string(), "nonsense");
    let garbage = post(&app, "/chat/answer", &bob.cookie, &garbage).await;
    let shown = |page: &Page| (page.status, page.without_ids());
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    assert_eq!(shown(&foreign), shown(&unknown));
    assert_eq!(shown(&foreign), shown(&garbage));
    assert!(bot.inbox.taken().iter().all(|taken| taken.user == "bob"));

    // The chat's own ids are bound to their employee as well.
    let message = bot.rendered("bob", 2);
    let edit = bot.chat.edit(&identity("bob"), &alices_id, &message).await;
    assert!(edit.is_err(), "bob's edit reached alice's message");

    // A form of alice's session is worthless in bob's.
    let taken_over = alice.press(case(2), "yes");
    let refused = post(&app, "/chat/answer", &bob.cookie, &taken_over).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[actix_web::test]
async fn a_question_stays_in_reach_however_much_was_said_since() {
    let bot = Bot::new();
    let app = app!(bot);
    bot.ask("alice", 1).await;
    bot.ask("alice", 2).await;
    let mut answered = bot.rendered("alice", 3);
    answered.buttons.clear();
    for n in 0..250 {
        bot.wait(Duration::from_secs(1));
        let (to, key) = (identity("alice"), format!("chatter{n}"));
        bot.chat.send(&to, &key, &answered).await.unwrap();
    }
    // Answered meanwhile: it is old and may leave.
    let second = bot.message_id("alice", 2).await;
    let edited = bot.chat.edit(&identity("alice"), &second, &answered).await;
    edited.unwrap();

    let alice = bot.sign_in(&app, "alice").await;
    let first = bot.message_id("alice", 1).await;
    assert!(alice.page.body.contains(&format!("m-{first}")));
    assert!(!alice.page.body.contains(&format!("m-{second}")));
    bot.inbox.reply(Reply::Taken);
    let pressed = alice.press(case(1), "yes");
    let taken = post(&app, "/chat/answer", &alice.cookie, &pressed).await;
    assert_eq!(taken.status, StatusCode::SEE_OTHER);
    assert_eq!(bot.inbox.taken().len(), 1);
}

#[actix_web::test]
async fn the_history_vouches_for_a_question_that_the_conversation_has_forgotten_and_for_no_other() {
    let bot = Bot::new();
    let app = app!(bot);
    bot.ask("alice", 1).await;
    bot.ask("bob", 2).await;
    let alice = bot.sign_in(&app, "alice").await;
    let press = async |nth| {
        bot.inbox.reply(Reply::NotFound);
        let form = alice.press(case(nth), "no");
        let page = post(&app, "/chat/answer", &alice.cookie, &form).await;
        let taken: Vec<_> = bot.inbox.taken.lock().unwrap().drain(..).collect();
        (page.status, taken)
    };

    let (status, taken) = press(1).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let [asked, vouched] = &taken[..] else {
        panic!("{taken:?}")
    };
    assert_eq!(asked.event_id, vouched.event_id);
    assert_eq!(format!("{}, shown", asked.what), vouched.what);

    for other in [2, 99] {
        let (status, taken) = press(other).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(taken.len(), 1, "{taken:?}");
        assert!(!taken[0].what.ends_with("shown"), "{taken:?}");
    }
}

#[actix_web::test]
async fn forms_of_other_sites_are_refused() {
    let bot = Bot::new();
    let app = app!(bot);
    let alice = bot.sign_in(&app, "alice").await;
    let good = alice.say("yes");

    for (form, name, value) in [
        ("text=yes&event=aaaaaaaaaaaa", "x-a", "b"),
        ("text=yes&event=aaaaaaaaaaaa&csrf=00", "x-a", "b"),
        (good.as_str(), "origin", "https://evil.example"),
        (good.as_str(), "origin", "null"),
        (good.as_str(), "sec-fetch-site", "cross-site"),
    ] {
        let request = TestRequest::post()
            .uri("/chat/say")
            .insert_header((header::COOKIE, alice.cookie.as_str()))
            .insert_header((header::HOST, "127.0.0.1:8080"))
            .insert_header((name, value))
            .set_payload(form.to_owned());
        assert_eq!(
            app(request).await.status,
            StatusCode::FORBIDDEN,
            "{form} {name} {value}"
        );
    }
    assert!(bot.inbox.taken().is_empty());
    let taken = post(&app, "/chat/say", &alice.cookie, &good).await;
    assert_eq!(taken.status, StatusCode::SEE_OTHER);
    assert_eq!(
        post(&app, "/chat/say", "", &good).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[actix_web::test]
async fn a_code_goes_to_the_inbox_and_nowhere_else() {
    let bot = Bot::new();
    let app = app!(bot);
    bot.prove("alice", 1, 2).await;
    let alice = bot.sign_in(&app, "alice").await;
    let refused = "That code didn't match.".to_owned();
    bot.inbox.reply(Reply::ProofRefused {
        message: refused.clone(),
    });

    let form = alice.confirm(1, "restarting 735921", "482%20913");
    let page = post(&app, "/chat/confirm", &alice.cookie, &form).await;

    let taken = bot.inbox.taken();
    assert_eq!(
        taken[0].what,
        format!(
            "submitted {} 1 \"restarting [code]\" Some(\"482913\")",
            case(1)
        )
    );
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        page.body.contains("That code didn&#39;t match."),
        "{}",
        page.body
    );
    assert!(
        page.body.contains("restarting [code]</textarea>"),
        "what was typed is gone"
    );
    for place in [&page.body, &bot.store.dump(), &taken[0].event_id] {
        for code in ["482913", "482 913", "735921"] {
            assert!(!place.contains(code), "{code} is in {place}");
        }
    }

    // Two questions, two ticks, no code.
    let both = format!("{}&tick={}%3A1", alice.confirm(1, "why", ""), case(2));
    assert_eq!(
        post(&app, "/chat/confirm", &alice.cookie, &both)
            .await
            .status,
        StatusCode::SEE_OTHER
    );
    assert_eq!(
        bot.inbox.taken()[1].what,
        format!("submitted {} 2 \"why\" None", case(1))
    );
}

#[actix_web::test]
async fn typed_text_is_masked_delivered_and_then_shown() {
    let bot = Bot::new();
    let app = app!(bot);
    let alice = bot.sign_in(&app, "alice").await;
    let text = format!("yes 12\u{200b}3456 {XSS}");
    let page = post(&app, "/chat/say", &alice.cookie, &alice.say(&text)).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_eq!(bot.inbox.taken()[0].what, format!("typed yes [code] {XSS}"));

    let page = get(&app, "/chat", &alice.cookie).await;
    assert!(
        page.body.contains("yes [code] &#60;script&#62;"),
        "{}",
        page.body
    );
    assert!(!bot.store.dump().contains("123456"));
    let again = bot.sign_in(&app, "alice").await;
    assert!(
        again.page.body.contains("yes [code]"),
        "the history is gone"
    );
}

#[actix_web::test]
async fn what_is_not_taken_is_said_kept_and_sent_again_as_the_same_event() {
    let bot = Bot::new();
    let app = app!(bot);
    let alice = bot.sign_in(&app, "alice").await;
    bot.inbox.fail();

    let page = post(&app, "/chat/say", &alice.cookie, &alice.say("yes, nginx")).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.body.contains("Not sent, please try again"));
    assert!(
        page.body.contains(">yes, nginx</textarea>"),
        "what was typed is gone"
    );
    assert!(
        !bot.store.dump().contains("nginx"),
        "stored although it was not taken"
    );

    let again = alice.clone().with_event(page.value_of("say", "event"));
    let page = post(&app, "/chat/say", &alice.cookie, &again.say("yes, nginx")).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    let taken = bot.inbox.taken();
    assert_eq!(taken[0].event_id, taken[1].event_id);

    // Sent twice by an impatient finger: one event, one message in the history.
    post(&app, "/chat/say", &alice.cookie, &again.say("yes, nginx")).await;
    assert_eq!(bot.inbox.taken()[2].event_id, taken[0].event_id);
    let page = get(&app, "/chat", &alice.cookie).await;
    assert_eq!(page.body.matches("yes, nginx").count(), 1);

    // A no on the form of an earlier yes is an event of its own.
    bot.ask("alice", 1).await;
    post(
        &app,
        "/chat/answer",
        &alice.cookie,
        &again.press(case(1), "yes"),
    )
    .await;
    post(
        &app,
        "/chat/answer",
        &alice.cookie,
        &again.press(case(1), "no"),
    )
    .await;
    let taken = bot.inbox.taken();
    assert_ne!(taken[3].event_id, taken[4].event_id);
}

#[actix_web::test]
async fn a_script_gets_json() {
    let bot = Bot::new();
    let app = app!(bot);
    let alice = bot.sign_in(&app, "alice").await;
    bot.inbox.fail();
    let ask = |form: String| {
        TestRequest::post()
            .uri("/chat/say")
            .insert_header((header::COOKIE, alice.cookie.as_str()))
            .insert_header((header::ACCEPT, "application/json"))
            .set_payload(form)
    };
    let failed = app(ask(alice.say("hi"))).await;
    assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(failed.body.contains("\"ok\":false"), "{}", failed.body);
    let taken = app(ask(alice.say("hi"))).await;
    assert_eq!(
        (taken.status, taken.body.as_str()),
        (StatusCode::OK, r#"{"message":"","ok":true}"#)
    );
    let long = app(ask(alice.say(&"ä".repeat(4_001)))).await;
    assert_eq!(long.status, StatusCode::UNPROCESSABLE_ENTITY);
    let huge = app(ask(alice.say(&"a".repeat(100_000)))).await;
    assert_eq!(huge.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[actix_web::test]
async fn a_session_that_is_too_fast_is_slowed_down() {
    let bot = Bot::new();
    let app = app!(bot);
    let alice = bot.sign_in(&app, "alice").await;
    for _ in 0..20 {
        let page = post(&app, "/chat/say", &alice.cookie, &alice.say("hi")).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER);
    }
    let page = post(&app, "/chat/say", &alice.cookie, &alice.say("hi")).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(page.retry_after, "1");
    let bob = bot.sign_in(&app, "bob").await;
    let page = post(&app, "/chat/say", &bob.cookie, &bob.say("hi")).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "bob waits for alice");
    bot.wait(Duration::from_secs(1));
    let page = post(&app, "/chat/say", &alice.cookie, &alice.say("hi")).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
}

#[actix_web::test]
async fn hostile_alerts_come_out_inert() {
    let bot = Bot::new();
    let app = app!(bot);
    bot.prove("alice", 1, 2).await;
    let alice = bot.sign_in(&app, "alice").await;
    let fragments = get(&app, "/chat/messages", &alice.cookie).await;
    let json: serde_json::Value = serde_json::from_str(&fragments.body).unwrap();
    let fragment = json["messages"][0]["html"].as_str().unwrap();
    for html in [&alice.page.body, fragment] {
        assert!(html.contains("&#60;script&#62;alert(1)"), "{html}");
        assert!(!html.contains("<script>alert") && !html.contains("<img"));
    }
    for page in [&alice.page, &fragments] {
        assert!(page.policy.contains("script-src 'self'"), "{}", page.policy);
        assert!(!page.policy.contains("unsafe"));
    }
}

#[actix_web::test]
async fn sending_twice_under_one_key_is_one_message_and_an_edit_keeps_its_place() {
    let bot = Bot::new();
    let message = bot.rendered("alice", 1);
    let first = bot
        .chat
        .send(&identity("alice"), "employee/alice#1", &message)
        .await
        .unwrap();
    bot.wait(Duration::from_secs(60));
    let again = bot
        .chat
        .send(&identity("alice"), "employee/alice#1", &message)
        .await
        .unwrap();
    assert_eq!(first, again);
    assert!(first.text.contains("sudo -i"));

    let found = bot
        .chat
        .find(&identity("alice"), "employee/alice#1", first.at)
        .await
        .unwrap();
    assert_eq!(found.as_ref(), Some(&first));
    let nothing = bot
        .chat
        .find(&identity("bob"), "employee/alice#1", first.at)
        .await
        .unwrap();
    assert_eq!(nothing, None);

    let edited = bot
        .chat
        .edit(
            &identity("alice"),
            &first.message_id,
            &bot.rendered("alice", 2),
        )
        .await;
    assert_eq!(edited.unwrap().message_id, first.message_id);
    let rows = bot.store.rows.lock().unwrap();
    assert_eq!(rows.len(), 1);
    let row = rows.values().next().unwrap();
    assert_eq!(row.at, first.at);
    assert_eq!(row.expires, Some(first.at.after(RETENTION)));
}

#[actix_web::test]
async fn messages_of_one_moment_are_written_together_and_a_repeat_among_them_changes_none() {
    let bot = Bot::new();
    let to = identity("alice");
    let send = |key: String, nth| {
        let (chat, to, message) = (&bot.chat, &to, bot.rendered("alice", nth));
        async move { chat.send(to, &key, &message).await.unwrap() }
    };
    let first = send("k0".to_owned(), 1).await;
    let before = bot.store.puts.load(Ordering::SeqCst);
    bot.wait(Duration::from_secs(1));
    let receipts = join_all((0..20).map(|nth| send(format!("k{nth}"), 2))).await;
    assert_eq!(bot.store.puts.load(Ordering::SeqCst), before + 1);
    assert_eq!(receipts[0], first);
    assert_eq!(bot.store.rows.lock().unwrap().len(), 20);

    // An edit goes after the message it replaces, also when both wait.
    let last = &receipts[19].message_id;
    let fresh = bot.rendered("alice", 3);
    let (edited, _) = tokio::join!(
        bot.chat.edit(&to, last, &fresh),
        send("another".to_owned(), 2)
    );
    assert_eq!(&edited.unwrap().message_id, last);
    assert_eq!(bot.store.rows.lock().unwrap().len(), 21);
}

#[actix_web::test]
async fn messages_of_one_millisecond_stand_in_the_order_they_were_sent_in() {
    let bot = Bot::new();
    let app = app!(bot);
    let to = identity("alice");
    for nth in 0..20 {
        let mut message = bot.rendered("alice", 1);
        message.blocks = vec![Block::Heading {
            text: format!("message {nth:02}"),
        }];
        bot.chat
            .send(&to, &format!("k{nth}"), &message)
            .await
            .unwrap();
    }
    let page = bot.sign_in(&app, "alice").await.page.body;
    let places: Vec<_> = (0..20)
        .map(|nth| page.find(&format!("message {nth:02}")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[actix_web::test]
async fn an_open_page_hears_of_a_message_at_once_and_only_of_its_own() {
    let bot = Bot::new();
    let app = app!(bot);
    let alice = bot.sign_in(&app, "alice").await;
    let service = service!(bot);
    let request = TestRequest::get()
        .uri("/chat/stream")
        .insert_header((header::COOKIE, alice.cookie.as_str()))
        .to_request();
    let response = service.call(request).await.unwrap();
    let mut body = Box::pin(response.into_body());
    let mut next = async || {
        let chunk = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await;
        chunk.map(|chunk| String::from_utf8(chunk.ok().unwrap().to_vec()).unwrap())
    };
    assert!(next().await.unwrap().contains("event: hello"));
    bot.ask("bob", 2).await;
    bot.ask("alice", 1).await;
    let heard = next().await.unwrap();
    assert!(heard.starts_with("event: message\ndata: {"), "{heard}");
    assert!(heard.contains(&case(1).to_string()) && !heard.contains(&case(2).to_string()));
    bot.chat.close_streams();
    assert_eq!(next().await, None);
}

#[actix_web::test]
async fn a_dead_store_is_a_kind_503() {
    let bot = Bot::new();
    let app = app!(bot);
    let alice = bot.sign_in(&app, "alice").await;
    bot.store.down.store(true, Ordering::SeqCst);
    let page = get(&app, "/chat", &alice.cookie).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    let page = post(&app, "/chat/say", &alice.cookie, &alice.say("hi")).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(bot.inbox.taken().is_empty());
    assert!(
        bot.chat
            .send(&identity("alice"), "k", &bot.rendered("alice", 1))
            .await
            .is_err()
    );
}
