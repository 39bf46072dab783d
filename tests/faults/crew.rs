//! A bot with its fakes, people and producers: set up, killed, brought to rest and judged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::fakes::{Kind, Receiver};
use super::history::{History, What};
use super::operators::Operators;
use super::people::Employee;
use super::producers::{Nodes, Producer, alert};
use super::setting::{NAMES, Setting};
use super::slack::Workspace;
use super::slack_people::SlackEmployee;
use super::town::Town;
use crate::common::bot::Bot;
use crate::common::person::{Person, secret_of};

pub struct Crew {
    pub bot: Bot,
    pub history: History,
    pub pager: Receiver,
    pub sink: Receiver,
    pub producer: Producer,
    pub town: Town,
    slack: Option<Workspace>,
    people: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    lives: u32,
    /// Cases as they were noted last.
    told: Mutex<HashMap<String, Value>>,
}

impl Crew {
    /// Everybody is signed in, enrolled and at work.
    pub async fn start(store: &str, history: History, seed: u64, mischief: bool) -> Self {
        let setting = Setting {
            mischief,
            ..Setting::of(store)
        };
        Self::start_in(setting, history, seed, &[]).await
    }

    /// With an environment.
    pub async fn start_in(
        setting: Setting,
        history: History,
        seed: u64,
        env: &[(&str, &str)],
    ) -> Self {
        let (pager, sink) = receivers(&history);
        let mut bot = prepare(&setting, &pager, &sink);
        if let Some(data) = &setting.data {
            std::fs::create_dir_all(data).expect("a data folder");
            std::os::unix::fs::symlink(data, bot.data_dir()).expect("a link to it");
        }
        bot.spawn_with(env);
        bot.ready().await;
        history.note(What::Up { node: 0 });
        let nodes = Nodes::new(bot.url());
        let producer = Producer::new(nodes.clone(), bot.token(), &history);
        let town = Town::new(&history, nodes, setting.mischief);
        let stop = Arc::new(AtomicBool::new(false));
        let mut people = Vec::new();
        for name in NAMES {
            if let Some(slack) = &setting.slack {
                let path = format!("/v1/employees/{name}/factors/totp");
                let secret = secret_of(&bot.post(&path, serde_json::json!({})).await);
                SlackEmployee::new(name, secret, slack, &town, seed).live(stop.clone());
                continue;
            }
            let mut person = Person::sign_in(&bot, name).await;
            person.enroll(&bot).await;
            let (cookie, secret) = person.credentials();
            let employee = Employee::new(name, cookie, secret, &town, seed);
            people.push(tokio::spawn(employee.live()));
        }
        if setting.operators {
            people.push(Operators::start(&town, seed));
        }
        Self {
            bot,
            history,
            pager,
            sink,
            producer,
            town,
            slack: setting.slack,
            people,
            stop,
            lives: 1,
            told: Mutex::default(),
        }
    }

    /// What is under way now, as the other sides see it.
    pub fn in_flight(&self) -> usize {
        self.producer.at_work() + self.town.at_work() + self.pager.at_work() + self.sink.at_work()
    }

    pub fn kill9(&mut self) {
        self.history.note(What::Down {
            node: 0,
            how: "kill -9".to_owned(),
        });
        self.bot.kill9();
    }

    pub async fn restart(&mut self) {
        self.bot.spawn();
        self.bot.ready().await;
        self.lives += 1;
        self.history.note(What::Up { node: 0 });
    }

    /// Starts it with an environment, and without when it ends before it is ready.
    pub async fn revive(&mut self, env: &[(&str, &str)], plain: &[(&str, &str)]) {
        let until = Instant::now() + Duration::from_secs(90);
        let mut with = env;
        let mut ends = Vec::new();
        self.bot.spawn_with(with);
        loop {
            let path = "/readyz";
            let (status, _) = self.bot.call(reqwest::Method::GET, path, None).await;
            if status.is_success() {
                break;
            }
            if let Some(status) = self.bot.exited() {
                ends.push(status.to_string());
                with = plain;
                self.bot.spawn_with(with);
            }
            assert!(
                Instant::now() < until,
                "no life in it: {} ends, the last {:?}; now {}\n{}",
                ends.len(),
                ends.last(),
                std::fs::read_to_string(format!("/proc/{}/status", self.bot.pid()))
                    .unwrap_or_default(),
                self.bot.log()
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        self.lives += 1;
        self.history.note(What::Up { node: 0 });
    }

    /// Writes down what the API tells of all cases, of those that changed.
    pub async fn note_cases(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/cases?limit=500{cursor}");
            let (status, page) = self.bot.call(reqwest::Method::GET, &path, None).await;
            if !status.is_success() {
                return all;
            }
            for case in page["cases"].as_array().into_iter().flatten() {
                let id = case["id"].as_str().unwrap_or_default().to_owned();
                let before = self.told.lock().unwrap().insert(id, case.clone());
                if before.as_ref() != Some(case) {
                    self.history.note(What::Case { case: case.clone() });
                }
                all.push(case.clone());
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// Waits until every alert is taken and every case over, but those that nobody answers; then writes
    /// down how things stand. `Err` names what did not come to rest in time.
    pub async fn rest(&self, patience: Duration) -> Result<(), String> {
        let until = Instant::now() + patience;
        loop {
            let open = self.unfinished().await;
            let clicks = self.slack.as_ref().map_or(0, Workspace::unacknowledged);
            let busy = self.in_flight() + self.producer.unanswered() + clicks;
            if open.as_ref().is_some_and(Vec::is_empty) && busy == 0 {
                break;
            }
            if Instant::now() > until {
                return Err(format!(
                    "not at rest after {patience:?}: {} alerts untaken, {} in flight, open: {open:#?}",
                    self.producer.unanswered(),
                    self.in_flight(),
                ));
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        self.town.calm_down();
        // What people see and what sinks got comes a moment later.
        self.settle().await;
        self.note_cases().await;
        let verified = self.bot.cli(&["journal", "verify"]);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&verified.stdout),
            String::from_utf8_lossy(&verified.stderr)
        );
        let (backlog, outbox) = self.left_over().await;
        self.history.note(What::Rest {
            backlog,
            outbox,
            journal_whole: verified.status.success(),
            journal_said: said.trim().to_owned(),
        });
        Ok(())
    }

    /// Alerts, and effects or records, that have not gone where they should: what a page has just brought with it is
    /// given a moment, an idle intake looks every 10 s for what the store holds and it does not, and how far a sink
    /// lags is measured once a minute.
    async fn left_over(&self) -> (u64, u64) {
        let until = Instant::now() + Duration::from_secs(70);
        loop {
            let metrics = self.metrics().await;
            let left = (
                sum(&metrics, "securitybot_intake_backlog"),
                sum(&metrics, "securitybot_chat_waiting")
                    + sum(&metrics, "securitybot_sink_lag_records"),
            );
            if left == (0, 0) || Instant::now() > until {
                return left;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Open cases that will not stay open; `None` when the bot does not tell.
    async fn unfinished(&self) -> Option<Vec<Value>> {
        let mut open = Vec::new();
        for state in ["queued", "asked", "verifying"] {
            let path = format!("/v1/cases?limit=500&state={state}");
            let (status, page) = self.bot.call(reqwest::Method::GET, &path, None).await;
            if !status.is_success() {
                return None;
            }
            open.extend(page["cases"].as_array().cloned().unwrap_or_default());
        }
        open.retain(|case| {
            case["state"] != "asked"
                || !case["rule"]
                    .as_str()
                    .unwrap_or_default()
                    .starts_with("open")
        });
        Some(open)
    }

    /// Until nothing new has come for a while: longer with Slack, which takes fifty edits a minute.
    async fn settle(&self) {
        let (calm, most) = match self.slack {
            Some(_) => (Duration::from_secs(5), Duration::from_secs(90)),
            None => (Duration::from_millis(1500), Duration::from_secs(20)),
        };
        let until = Instant::now() + most;
        let mut before = self.history.stirs();
        loop {
            tokio::time::sleep(calm).await;
            let now = self.history.stirs();
            if now == before || Instant::now() > until {
                return;
            }
            before = now;
        }
    }

    pub async fn metrics(&self) -> String {
        let client = securitybot::plugins::http_client();
        let request = client.get(format!("{}/metrics", self.bot.url()));
        match request.bearer_auth(self.bot.token()).send().await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    pub fn lives(&self) -> u32 {
        self.lives
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for person in &self.people {
            person.abort();
        }
    }
}

pub fn receivers(history: &History) -> (Receiver, Receiver) {
    (
        Receiver::start(Kind::Pager, history, Duration::from_millis(30)),
        Receiver::start(Kind::Sink, history, Duration::from_millis(2)),
    )
}

/// A node that has not been started.
pub fn prepare(setting: &Setting, pager: &Receiver, sink: &Receiver) -> Bot {
    let bot = Bot::prepare("");
    bot.configure(&setting.config(&pager.url(), &sink.url(), bot.dir()));
    bot
}

/// Something that happened to somebody: most are asked, some never answer, some are nobody we know.
pub fn an_alert(id: &str, rng: &mut StdRng) -> Value {
    let person = NAMES[rng.random_range(0..NAMES.len())];
    let host = format!("host-{}", rng.random_range(0..30));
    match rng.random_range(0..20) {
        0..2 => alert(id, person, "quiet", &host),
        2 => alert(id, person, "open", &host),
        3 => alert(id, person, "paged", &host),
        4 => alert(id, person, "shadow", &host),
        5..7 => alert(id, "mallory", "ask", &host),
        _ => alert(id, person, "ask", &host),
    }
}

/// The sum over all labels of one metric.
fn sum(metrics: &str, name: &str) -> u64 {
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let labelled = rest.starts_with('{') || rest.starts_with(' ');
        labelled.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    values.sum::<f64>() as u64
}

/// A store section for the config.
pub fn sqlite() -> String {
    String::new()
}

pub fn redis(url: &str) -> String {
    format!("[store]\nkind = \"redis\"\nurl = {url:?}\n")
}
