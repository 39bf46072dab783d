//! Every actor is ended in turn while alerts come in and people answer: it is brought back, and nobody
//! notices anything but the delay.

use std::fmt::Write as _;

use reqwest::{Method, StatusCode};
use securitybot::actors::caretaker::{Roles, StopOne};
use securitybot::app::{App, server};
use securitybot::clock::Clock;
use securitybot::config::Config;
use serde_json::json;

use crate::common::bot::Bot;
use crate::common::fake_http::FakeHttp;
use crate::common::person::Person;
use crate::common::redis::RedisServer;

const CONFIG: &str = r#"
[severity.medium]
answer_within = "10m"
ceiling = "20m"
working_hours = false
snooze = "1h"

[[sources]]
name = "local"
kind = "http"

[[sources]]
name = "file"
kind = "jsonl"
path = "alerts.jsonl"
every = "200ms"
[sources.map]
principal = "user"
rule = "rule"
title = "title"
context = { host = "host" }

[[sinks]]
name = "answers"
kind = "jsonl"
path = "answers.jsonl"

[[ladders]]
name = "default"
levels = [{ after = "0s", pagers = ["hook"], repeat = "1m" }]
"#;

/// Not more than there are roles; a test fails when there are more.
const PEOPLE: usize = 16;

#[actix_web::test]
async fn on_sqlite_every_actor_is_ended_in_turn_and_everything_ends_as_it_should() {
    every_actor_is_ended(None).await;
}

#[actix_web::test]
async fn on_redis_every_actor_is_ended_in_turn_and_everything_ends_as_it_should() {
    let redis = RedisServer::start();
    every_actor_is_ended(Some(&redis)).await;
}

async fn every_actor_is_ended(redis: Option<&RedisServer>) {
    let hook = FakeHttp::start();
    let mut config = CONFIG.to_owned();
    // One partition is enough, and two show that they are apart.
    config.push_str("\n[store]\npartitions = 2\n");
    if let Some(redis) = redis {
        let _ = write!(config, "kind = \"redis\"\nurl = {:?}\n", redis.url());
    }
    let _ = write!(
        config,
        "\n[[pagers]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\nsecret = {{ file = \"s\" }}\n",
        hook.url()
    );
    for n in 0..PEOPLE {
        let _ = write!(
            config,
            "\n[[employees]]\nid = \"p{n}\"\nname = \"P {n}\"\nemail = \"p{n}@example.com\"\n"
        );
    }
    // The harness without its process: the service runs in this one.
    let bot = Bot::prepare(&config);
    // Relative paths would be those of this process.
    let folder = bot.dir().display();
    let config = config
        .replace("path = \"", &format!("path = \"{folder}/"))
        .replace("file = \"", &format!("file = \"{folder}/"));
    bot.configure(&config);
    std::fs::write(bot.dir().join("s"), "secret").expect("written");
    let app = start(&bot).await;
    let server = server::serve(&app).expect("it listens");
    let handle = server.handle();
    actix_web::rt::spawn(server);

    let caretaker = &app.system().caretaker;
    let roles = caretaker.send(Roles).await.expect("the caretaker lives");
    println!("{roles:?}");
    assert!(roles.len() <= PEOPLE, "more roles than people: {roles:?}");
    for wanted in [
        "messenger",
        "verifier",
        "escalator",
        "joined",
        "dispatcher",
        "reporter",
        "snooze",
        "waker",
        "checkpointer/1",
        "intake/local",
        "intakes",
        "poller/file",
    ] {
        assert!(roles.iter().any(|role| role == wanted), "no {wanted}");
    }
    let end = async |role: &str| {
        let role = role.to_owned();
        let found = caretaker.send(StopOne { role }).await;
        assert!(found.expect("the caretaker lives"));
    };

    let mut people = Vec::new();
    for n in 0..roles.len() {
        let mut person = Person::sign_in(&bot, &format!("p{n}")).await;
        person.enroll(&bot).await;
        people.push(person);
    }

    for (person, role) in people.iter().zip(&roles) {
        let name = person.name.as_str();

        // Ended while the alert comes in; one that was not acknowledged is sent again, as a producer does.
        let (sent, ()) = tokio::join!(fires(&bot, name, "sudo"), end(role));
        println!("{role}: accepted at attempt {sent}");
        let question = person.question("sudo on web-3").await;
        // Ended while the answer is on its way; the person clicks again when told to.
        let (_, ()) = tokio::join!(answers(&bot, person, "sudo on web-3", "yes"), end(role));
        let form = person.sees("the form", |s| s.has_form).await;
        let code = person.code(0);
        // Sent again under the same event id: it counts once.
        bot.until(&format!("{role}: the code is taken"), async || {
            let (status, said) = person.confirm(&form, "an update", &code).await;
            // Patient people are asked to be slower, too.
            let later = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            assert!(status.is_success() || later, "{role}: {status} {said}");
            status.is_success().then_some(())
        })
        .await;
        let case = bot
            .case_until(&format!("employee={name}&rule=sudo"), role, |case| {
                case["state"] == "closed"
            })
            .await;
        assert_eq!(case["outcome"], "verified", "{role}");
        assert_eq!(person.times_asked(&question.case).await, 1, "{role}");

        // Through the followed file, and a no.
        let line = json!({"user": name, "rule": "nmap", "title": "nmap on web-3", "host": "web-3"});
        append(&bot, &format!("{line}\n"));
        end(role).await;
        let question = person.question("nmap on web-3").await;
        answers(&bot, person, "nmap on web-3", "no").await;
        end(role).await;
        bot.until(&format!("{role}: the page"), async || {
            let requests = hook.requests();
            let page = requests
                .iter()
                .map(|request| request.json())
                .find(|page| page["case"]["id"] == *question.case);
            page.map(|page| assert_eq!(page["level"], 1))
        })
        .await;
        assert_eq!(person.times_asked(&question.case).await, 1, "{role}");
    }

    for role in &roles {
        bot.until(&format!("{role} was brought back"), async || {
            let label = format!("actor=\"{role}\"");
            let back = bot.metric("securitybot_actor_restarts_total", &label);
            (back.await >= 1.0).then_some(())
        })
        .await;
    }
    let cases = bot.cases("").await;
    assert_eq!(cases.len(), 2 * roles.len());
    for case in cases {
        let expected = if case["rule"] == "sudo" {
            "verified"
        } else {
            "denied"
        };
        assert_eq!(case["outcome"], expected, "{case:#}");
    }
    bot.until("the sink has every end", async || {
        let text = std::fs::read_to_string(bot.dir().join("answers.jsonl")).unwrap_or_default();
        let ends = text
            .lines()
            .filter(|line| line.contains("\"event\":\"case_closed\""));
        (ends.count() >= 2 * roles.len()).then_some(())
    })
    .await;
    handle.stop(false).await;
    app.stop().await;
}

async fn start(bot: &Bot) -> App {
    securitybot::app::metrics();
    let config = Config::load(&bot.config_file(), std::iter::empty()).expect("a good config");
    App::start(config, Clock::system())
        .await
        .expect("it starts")
}

/// Until it is acknowledged; how many attempts it took.
async fn fires(bot: &Bot, name: &str, rule: &str) -> u32 {
    let alert = json!({"id": format!("{name}-{rule}"), "principal": name, "rule": rule,
        "title": format!("{rule} on web-3"), "context": {"host": "web-3"}});
    let mut attempts = 0;
    bot.until("the alert is accepted", async || {
        attempts += 1;
        let (status, answer) = bot
            .call(Method::POST, "/v1/alerts", Some(alert.clone()))
            .await;
        assert!(
            status.is_success() || status.is_server_error(),
            "{status} {answer}"
        );
        status.is_success().then_some(())
    })
    .await;
    attempts
}

/// Clicks until the bot has taken it.
async fn answers(bot: &Bot, person: &Person, title: &str, answer: &str) {
    bot.until("the answer is taken", async || {
        let question = person.question(title).await;
        let (status, _) = person.answer(&question, answer).await;
        status.is_success().then_some(())
    })
    .await;
}

fn append(bot: &Bot, text: &str) {
    use std::io::Write as _;
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(bot.dir().join("alerts.jsonl"));
    let mut file = file.expect("the file opens");
    file.write_all(text.as_bytes()).expect("written");
}
