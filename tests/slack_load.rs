//! A bad morning: many questions at once to a company of 5,000, with Slack's limits counted on Slack's side. Nothing is
//! refused, urgent ones overtake the others, nobody is asked twice. `SLACK_QUESTIONS=500` asks as many.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod common;

use std::time::{Duration, Instant};

use common::bot::Bot;
use common::fake_slack::state::State;
use common::fake_slack::{APP_TOKEN, BOT_TOKEN, FakeSlack};
use serde_json::{Value, json};

const EMPLOYEES: usize = 5_000;
const QUESTIONS: usize = 80;
/// A question and, the first time, a greeting before it; five of them a second.
const PER_QUESTION: Duration = Duration::from_millis(600);

fn config(bot: &Bot, slack: &FakeSlack) -> String {
    let secret = |name: &str, value: &str| {
        let file = bot.dir().join(name);
        std::fs::write(&file, value).unwrap();
        format!("{{ file = {:?} }}", file.display().to_string())
    };
    format!(
        r#"
[chat]
kind = "slack"
bot_token = {}
app_token = {}
api_url = "{}"
[directory]
domains = ["example.com"]
"#,
        secret("bot-token", BOT_TOKEN),
        secret("app-token", APP_TOKEN),
        slack.api_url(),
    )
}

/// The severities of the questions that Slack has taken, in their order.
fn asked(state: &State) -> Vec<String> {
    let mut questions: Vec<(&str, &str)> = state
        .messages
        .values()
        .flatten()
        .filter_map(|message| {
            let title = message["blocks"][0]["text"]["text"].as_str()?;
            let severity = title.strip_prefix("severity ")?;
            Some((message["ts"].as_str()?, severity))
        })
        .collect();
    questions.sort_unstable();
    let severities = questions.into_iter();
    severities
        .map(|(_, severity)| severity.to_owned())
        .collect()
}

#[tokio::test]
async fn many_questions_at_once_are_all_asked_the_urgent_ones_first_and_nothing_is_refused() {
    let count = std::env::var("SLACK_QUESTIONS").ok();
    let count: usize = count.map_or(QUESTIONS, |count| count.parse().unwrap());
    let slack = FakeSlack::start();
    for nth in 0..EMPLOYEES {
        let name = format!("user{nth}");
        slack.add_user(&format!("U{nth:05}"), &name, &format!("{name}@example.com"));
    }
    let bot = Bot::prepare("");
    bot.configure(&config(&bot, &slack));
    let bot = bot.started().await;
    slack.wait_connected(1);

    // What can wait comes first, so that what cannot has to overtake.
    let alert = |nth: usize| {
        let severity = if nth < count / 2 { "low" } else { "high" };
        json!({
            "id": format!("alert-{nth}"), "principal": format!("user{nth}"), "rule": "sudo", "severity": severity,
            "title": format!("severity {severity}"), "context": { "host": format!("host-{nth}") },
        })
    };
    let alerts: Vec<Value> = (0..count).map(alert).collect();
    let begun = Instant::now();
    bot.post("/v1/alerts", json!(alerts)).await;
    let patience = Duration::from_secs(30) + PER_QUESTION * u32::try_from(count).unwrap();
    let mut urgent_asked = None;
    loop {
        let asked = asked(&slack.state());
        let urgent = asked.iter().filter(|severity| *severity == "high").count();
        if urgent == count - count / 2 {
            urgent_asked.get_or_insert(begun.elapsed());
        }
        if asked.len() >= count {
            break;
        }
        assert!(
            begun.elapsed() < patience,
            "{} of {count} asked",
            asked.len()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (all, urgent) = (begun.elapsed(), urgent_asked.unwrap());
    let (asked, refused, sent) = {
        let state = slack.state();
        let sent: usize = state.messages.values().map(Vec::len).sum();
        (asked(&state), state.refused_429, sent)
    };
    let last_urgent = asked
        .iter()
        .rposition(|severity| severity == "high")
        .unwrap();
    let before = asked[..last_urgent].iter().filter(|s| *s == "low").count();
    println!(
        "{count} questions among {EMPLOYEES} employees, {sent} messages with greetings: urgent ones asked in {:.1} s \
         ({before} others before the last of them), all in {:.1} s; {refused} refused",
        urgent.as_secs_f64(),
        all.as_secs_f64(),
    );
    assert_eq!(refused, 0, "Slack had to say wait");
    assert_eq!(asked.len(), count, "somebody was asked twice");
    assert!(before <= count / 5, "{before} that could wait did not");
}
