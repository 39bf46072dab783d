//! Rollups in the security channel: once, as text, with a picture that may be missing.

use securitybot::plugins::chat::slack::SlackSink;
use securitybot::plugins::sinks::{Report, Sink};
use serde_json::{Value, json};

use crate::bot::Bot;
use crate::common::fake_slack::Mode;

const CHANNEL: &str = "C0SEC";

fn rollup(period: &str, rules: Value) -> Report {
    Report::Rollup(json!({
        "type": "rollup", "id": format!("rollup/{period}/2026-11-24T09:00:00Z"), "period": period,
        "from": "2026-11-24T09:00:00Z", "to": "2026-11-24T10:00:00Z", "rules": rules,
    }))
}

fn busy() -> Value {
    json!([{ "rule": "sudo <!channel>", "asked": 3, "verified": 2, "denied": 1 }])
}

fn sink(bot: &Bot) -> SlackSink {
    bot.fake.add_channel(CHANNEL);
    SlackSink::new(bot.slack.clone(), "security", CHANNEL)
}

/// As nobody else may: a second message a second is refused.
async fn next_second() {
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
}

#[actix_web::test]
async fn a_rollup_is_text_with_a_picture_in_its_thread() {
    let bot = Bot::new();
    let sink = sink(&bot);
    let records = [
        Report::Record {
            id: "r1".to_owned(),
            json: json!({ "type": "record", "id": "r1" }).to_string(),
        },
        rollup("hour", busy()),
    ];
    sink.deliver(&records).await.unwrap();

    let posted = bot.fake.message_in(CHANNEL, "2 verified");
    let text = posted["blocks"].to_string();
    assert!(
        text.contains("sudo &lt;!channel&gt;: 3 asked, 2 verified, 1 denied"),
        "{text}"
    );
    let files = bot.fake.state().files.clone();
    let [file] = &files.values().collect::<Vec<_>>()[..] else {
        panic!("{files:?}");
    };
    let thread = posted["ts"].as_str().unwrap().to_owned();
    assert_eq!(file.shared, Some((CHANNEL.to_owned(), thread)));
    assert!(file.bytes.as_ref().unwrap().starts_with(b"\x89PNG\r\n"));
    assert_eq!(
        bot.fake.state().messages[CHANNEL].len(),
        1,
        "records are not posted"
    );
}

#[actix_web::test]
async fn a_rollup_that_was_cut_off_is_found_and_a_picture_that_fails_is_left_out() {
    let bot = Bot::new();
    let sink = sink(&bot);
    bot.fake.mode("chat.postMessage", Mode::CutAfterApplying, 1);
    let hour = [rollup("hour", busy())];
    sink.deliver(&hour).await.unwrap_err();
    sink.deliver(&hour).await.unwrap();
    assert_eq!(bot.fake.state().messages[CHANNEL].len(), 1);

    next_second().await;
    let missing = Mode::Refused("missing_scope".to_owned());
    bot.fake.mode("files.getUploadURLExternal", missing, 1);
    sink.deliver(&[rollup("day", busy())]).await.unwrap();
    bot.fake.message_in(CHANNEL, "The last day");
    assert_eq!(bot.fake.state().refused_429, 0);
}

#[actix_web::test]
async fn a_quiet_hour_is_no_message_and_a_quiet_day_is() {
    let bot = Bot::new();
    let sink = sink(&bot);
    sink.deliver(&[rollup("hour", json!([]))]).await.unwrap();
    assert!(bot.fake.state().messages[CHANNEL].is_empty());
    sink.deliver(&[rollup("day", json!([]))]).await.unwrap();
    bot.fake.message_in(CHANNEL, "nothing was asked");
}
