//! Everybody around the bot: Alertmanager as source and pager, a receiver of signed webhooks, the store,
//! an operator with a token of her own.

use std::fmt::Write as _;
use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use securitybot::core::time::Timestamp;
use serde_json::{Value, json};

use crate::common::alertmanager::Alertmanager;
use crate::common::bot::{Bot, PEOPLE};
use crate::common::fake_http::FakeHttp;
use crate::common::person::Person;
use crate::common::redis::RedisServer;
use crate::evidence::{Evidence, millis};

pub const PAGER_SECRET: &str = "whsec_c3RvcnktcGFnZXItc2VjcmV0LXN0b3J5";
pub const SINK_SECRET: &str = "a sink's secret is any text";
const SOURCE_TOKEN: &str = "alertmanager-speaks";
const SAM_TOKEN: &str = "sam-is-on-duty";
/// How long carol has: the kills before her reminder must fit into half of it.
const CAROL_HAS: &str = "16s";
pub const LEVEL_TWO_AFTER_MS: i64 = 8_000;

const CONFIG: &str = r#"
[severity.medium]
answer_within = "10m"
ceiling = "20m"
working_hours = false
snooze = "1h"

[[employees]]
id = "erin"
name = "Erin"
email = "erin@example.com"
time_zone = "Europe/Paris"

[[operators]]
name = "sam"
token = { file = "sam.token" }
roles = ["responder"]

[[sources]]
name = "local"
kind = "http"

[[sources]]
name = "prometheus"
kind = "alertmanager_webhook"
token = { file = "source.token" }

[[ladders]]
name = "default"
levels = [
  { after = "0s", pagers = ["duty", "hook"], repeat = "4s" },
  { after = "8s", pagers = ["boss"], repeat = "4s" },
]

[[sinks]]
name = "answers"
kind = "jsonl"
path = "answers.jsonl"

[rollups]
hourly = true
daily_at = "never"
sinks = ["answers", "siem"]
"#;

pub struct Stage {
    pub bot: Bot,
    pub alertmanager: Alertmanager,
    hooks: FakeHttp,
    pub kills: usize,
    _redis: Option<RedisServer>,
}

impl Stage {
    pub async fn set(redis: Option<RedisServer>) -> Self {
        let bot = Bot::prepare("");
        let webhook = format!("{}/v1/alerts/alertmanager", bot.url());
        let alertmanager = Alertmanager::start_with(&webhook, SOURCE_TOKEN).await;
        let hooks = FakeHttp::start();
        bot.configure(&config(&alertmanager, &hooks, redis.as_ref()));
        for (file, secret) in [
            ("sam.token", SAM_TOKEN),
            ("source.token", SOURCE_TOKEN),
            ("pager.secret", PAGER_SECRET),
            ("sink.secret", SINK_SECRET),
        ] {
            std::fs::write(bot.dir().join(file), secret).expect("the secret is written");
        }
        Self {
            bot: bot.started().await,
            alertmanager,
            hooks,
            kills: 0,
            _redis: redis,
        }
    }

    /// Signed in, with an authenticator.
    pub async fn person(&self, name: &str) -> Person {
        let mut person = Person::sign_in(&self.bot, name).await;
        person.enroll(&self.bot).await;
        person
    }

    pub async fn kill9_and_restart(&mut self) {
        self.kills += 1;
        self.bot.kill9_and_restart().await;
    }

    /// Prometheus has found this.
    pub async fn fires(&self, alerts: &[Finding<'_>]) {
        let alerts: Vec<_> = alerts.iter().map(Finding::json).collect();
        self.alertmanager.fire(&json!(alerts)).await;
    }

    /// The case about one finding, once it passes.
    pub async fn case(
        &self,
        about: &Finding<'_>,
        what: &str,
        pass: impl Fn(&Value) -> bool,
    ) -> Value {
        let filter = format!("rule={}", about.rule);
        self.bot
            .case_until(&filter, what, |case| {
                case["principal"] == about.user
                    && case["context"]["session"] == about.session
                    && pass(case)
            })
            .await
    }

    pub async fn ended(&self, about: &Finding<'_>, outcome: &str) -> Value {
        self.case(about, outcome, |case| case["outcome"] == outcome)
            .await
    }

    /// What has come in so far at the pagers' and the sink's receiver.
    pub fn evidence(&self) -> Evidence {
        Evidence::read(&self.hooks.requests())
    }

    /// Waits for a page of this case at the webhook of that level.
    pub async fn paged(&self, case: &Value, level: u64, repeat: u64) -> (Timestamp, Value) {
        let what = format!("page {repeat} of level {level} for {}", case["title"]);
        self.bot
            .until(&what, async || {
                let pages = self.evidence().pages;
                pages.into_iter().find_map(|(at, page)| {
                    let is_it = page["case"]["id"] == case["id"]
                        && page["level"] == level
                        && page["repeat"].as_u64() >= Some(repeat);
                    is_it.then_some((at, page))
                })
            })
            .await
    }

    pub async fn sam(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.bot
            .call_as(SAM_TOKEN, Method::POST, path, Some(body))
            .await
    }

    /// Waits until Alertmanager shows a page of this case, or none any more.
    pub async fn shown_in_alertmanager(&self, case: &Value, shown: bool) -> Option<Value> {
        let is_it = |alert: &&Value| {
            alert["labels"]["alertname"] == "SecuritybotPage"
                && alert["labels"]["case"] == case["id"]
        };
        let what = format!("page for {} stands: {shown}", case["title"]);
        let alerts = self
            .alertmanager
            .until(&what, |alerts| alerts.iter().any(|a| is_it(&a)) == shown)
            .await;
        alerts.iter().find(is_it).cloned()
    }

    pub fn jsonl(&self) -> PathBuf {
        self.bot.dir().join("answers.jsonl")
    }

    /// The same binary and data after the coming full hour: its clock is moved, ours is not.
    pub async fn restart_after_the_hour(&mut self) {
        const HOUR_MS: i64 = 3_600_000;
        assert!(self.bot.terminate().success(), "{}", self.bot.log());
        let now = millis(securitybot::clock::Clock::system().now());
        // Within the coming hour at its end: rollups wait a moment for the last records.
        let ahead = (HOUR_MS - now.rem_euclid(HOUR_MS)) / 1000 + 5;
        let ahead = format!("+{ahead}s");
        let library = faketime();
        self.bot.spawn_with(&[
            ("LD_PRELOAD", library.to_str().expect("a plain path")),
            ("FAKETIME", &ahead),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]);
        self.bot.ready().await;
    }
}

/// One alert of Prometheus.
#[derive(Clone, Copy)]
pub struct Finding<'a> {
    pub user: &'a str,
    pub rule: &'a str,
    pub host: &'a str,
    pub session: &'a str,
}

impl Finding<'_> {
    pub fn title(&self) -> String {
        let what = if self.rule == "sudo" {
            "sudo -i"
        } else {
            self.rule
        };
        format!("{what} on {}", self.host)
    }

    fn json(&self) -> Value {
        json!({
            "labels": {"alertname": self.rule, "user": self.user, "host": self.host, "session": self.session},
            "annotations": {"summary": self.title(), "description": "a root shell was opened"},
        })
    }
}

fn config(alertmanager: &Alertmanager, hooks: &FakeHttp, redis: Option<&RedisServer>) -> String {
    let mut text = format!("{PEOPLE}\n{CONFIG}\n");
    let (alertmanager, hooks) = (alertmanager.url(), hooks.url());
    let _ = write!(
        text,
        r#"
[[rules]]
match = "nmap"
answer_within = "{CAROL_HAS}"
ceiling = "60s"

[[pagers]]
name = "duty"
kind = "alertmanager"
url = "{alertmanager}"

[[pagers]]
name = "hook"
kind = "webhook"
url = "{hooks}/pages"
secret = {{ file = "pager.secret" }}

[[pagers]]
name = "boss"
kind = "webhook"
url = "{hooks}/boss"
secret = {{ file = "pager.secret" }}

[[sinks]]
name = "siem"
kind = "webhook"
url = "{hooks}/answers"
secret = {{ file = "sink.secret" }}
"#
    );
    if let Some(redis) = redis {
        let _ = write!(
            text,
            "\n[store]\nkind = \"redis\"\nurl = {:?}\n",
            redis.url()
        );
    }
    text
}

fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("/usr/lib");
    folders
        .flatten()
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
        .expect("libfaketime is missing: apt-get install libfaketime")
}
