//! The mix: one fault after another, each chosen by the seed, over a workload that never pauses; then
//! everything is healed, comes to rest, and the checker has its say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use reqwest::Method;

use super::kinds::{ANYWHERE, Fault, ON_REDIS};
use super::kit::checker;
use super::kit::crew::Crew;
use super::kit::fakes::Mode;
use super::kit::history::{History, What};
use super::kit::setting::{ACK_EXPIRES, LADDER, Setting};
use super::kit::slack::Workspace;
use super::proxy::Wire;
use super::slack_faults::{ON_SLACK, REFUSED, SlackFault};
use super::stores::{self, Place};
use super::windows::{BEFORE_HANDING_OVER, all_attacks, required_windows};
use super::workload::Workload;
use crate::WINDOWS;

/// Long enough for a late page, a code every 30 s for each person, and a loaded machine.
const REST: Duration = Duration::from_secs(150);

/// Without `FAULTS_SEED`: the same schedule each time. `tests/run.sh` and `run.sh` draw a new one.
const USUAL_SEED: u64 = 2026;

/// Runs from this length on have a calm minute.
const CALM_FROM_S: u64 = 170;

/// `chat`: `web`, `slack`, or whatever `FAULTS_CHAT` says.
pub async fn run(store: &str, chat: Option<&str>) {
    let variable = |name: &str| std::env::var(name).ok();
    let wanted = variable("FAULTS_STORE").unwrap_or_else(|| store.to_owned());
    let said = variable("FAULTS_CHAT");
    if wanted != store || (chat.is_some() && said.is_some()) {
        println!("FAULTS_STORE={wanted} FAULTS_CHAT={said:?}: nothing to do here");
        return;
    }
    let chat = chat.map(str::to_owned).or(said).unwrap_or("web".to_owned());
    let seconds = number("FAULTS_SECONDS").unwrap_or(60);
    let seed = number("FAULTS_SEED").unwrap_or(USUAL_SEED);
    let file = std::env::var_os("FAULTS_HISTORY").map_or_else(
        || std::env::temp_dir().join(format!("faults-{chat}-{store}-{seed}.jsonl")),
        PathBuf::from,
    );
    println!("history {}", file.display());
    println!("seed    {seed}: tests/faults/run.sh --store {store} --chat {chat} --seed {seed}");
    let history = History::create(&file);
    history.note(What::Began {
        seed,
        store: store.to_owned(),
        crashes_only: false,
        ladder_ms: LADDER.map(|after| after.as_millis() as i64).to_vec(),
        ack_expires_ms: ACK_EXPIRES.as_millis() as i64,
    });

    let slack = match chat.as_str() {
        "web" => None,
        "slack" => Some(Workspace::start(&history)),
        other => panic!("FAULTS_CHAT={other}: expected web or slack"),
    };
    // Slack takes fifty edits a minute, and each question needs two.
    let pace = if slack.is_some() { 5 } else { 1 };
    let mut mix = Mix::start(store, slack, history.clone(), seed, seconds).await;
    let workload = Workload::start(mix.crew.producer.clone(), seed, pace);
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        mix.one_fault().await;
        let calm = mix.rng.random_range(200..1500);
        tokio::time::sleep(Duration::from_millis(calm)).await;
        mix.look().await;
    }
    mix.disarm().await;
    workload.stop().await;
    let rested = mix.crew.rest(REST).await;
    let rested = rested.and(mix.is_well_again().await);
    let mut missed = mix.count_windows();
    if std::env::var_os("FAULTS_ONLY").is_some() {
        missed.clear();
    }

    let trace = checker::Trace::read(history.path()).expect("the history can be read back");
    let view = checker::View::of(&trace);
    println!("{}", checker::summary(&view));
    println!("lives   {}", mix.crew.lives());
    if WINDOWS {
        println!(
            "windows {} attacked: {:?}",
            mix.attacked.len(),
            mix.attacked
        );
    }
    let names: Vec<&str> = checker::INVARIANTS
        .iter()
        .map(|(name, _, _)| *name)
        .collect();
    println!("checked {}", names.join(" "));
    let broken: Vec<String> = checker::check(&view)
        .iter()
        .map(ToString::to_string)
        .collect();
    println!("broken  {}", broken.len());
    if !broken.is_empty() || rested.is_err() || !missed.is_empty() {
        let log = file.with_extension("log");
        let _ = std::fs::write(&log, mix.crew.bot.log());
        panic!(
            "seed {seed}, history {}, log {}\n{rested:?}\nwindows never passed: {missed:?}\n{}",
            file.display(),
            log.display(),
            broken.join("\n")
        );
    }
    if std::env::var_os("FAULTS_HISTORY").is_none() {
        let _ = std::fs::remove_file(&file);
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

struct Mix {
    crew: Crew,
    place: Place,
    slack: Option<Workspace>,
    history: History,
    rng: StdRng,
    faults: u64,
    hits: PathBuf,
    _hits_folder: tempfile::TempDir,
    /// Windows with what to do there, still to be attacked in this round.
    to_attack: Vec<(String, &'static str)>,
    attacked: BTreeSet<String>,
    seconds: u64,
    /// Kinds of faults still to come in this round: each comes before any comes again.
    to_come: Vec<Fault>,
}

impl Mix {
    async fn start(
        store: &str,
        slack: Option<Workspace>,
        history: History,
        seed: u64,
        seconds: u64,
    ) -> Self {
        let place = Place::new(store);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let hits = folder.path().join("hits");
        let (config, data) = place.config();
        let env = [("SECURITYBOT_FAULT_HITS", text(&hits))];
        let setting = Setting {
            store: config,
            data,
            slack: slack.clone(),
            operators: true,
            mischief: true,
        };
        let crew = Crew::start_in(setting, history.clone(), seed, &env).await;
        Self {
            crew,
            place,
            slack,
            history,
            rng: StdRng::seed_from_u64(seed),
            faults: 0,
            hits,
            _hits_folder: folder,
            to_attack: Vec::new(),
            attacked: BTreeSet::new(),
            seconds,
            to_come: Vec::new(),
        }
    }

    async fn look(&mut self) {
        let cases = self.crew.note_cases().await;
        if let Some(id) = cases.first().and_then(|case| case["id"].as_str()) {
            let path = format!("/v1/cases/{id}");
            let _ = self.crew.bot.call(Method::GET, &path, None).await;
        }
        if !self.crew.bot.is_running() {
            return;
        }
        if let Some(kib) = stores::memory_kib(self.crew.bot.pid()) {
            self.history.note(What::Memory { node: 0, kib });
        }
    }

    fn next(&mut self) -> Fault {
        if self.to_come.is_empty() {
            self.to_come.extend(ANYWHERE);
            match self.place {
                Place::Sqlite(_) => self.to_come.extend([Fault::DiskFull; 3]),
                Place::Redis { .. } => self.to_come.extend(ON_REDIS),
            }
            if self.slack.is_some() {
                self.to_come.extend(ON_SLACK.map(Fault::Slack));
            }
            if WINDOWS {
                let count = self.to_come.len();
                self.to_come.extend(vec![Fault::Window; count]);
            }
            if let Ok(only) = std::env::var("FAULTS_ONLY") {
                self.to_come
                    .retain(|fault| format!("{fault:?}").contains(&only));
                assert!(!self.to_come.is_empty(), "no fault is called {only}");
            }
            self.to_come.shuffle(&mut self.rng);
            if self.seconds >= CALM_FROM_S {
                self.to_come.push(Fault::Calm);
                self.to_come.push(Fault::Kill);
            }
        }
        self.to_come.pop().expect("filled just now")
    }

    async fn one_fault(&mut self) {
        self.notice_death().await;
        let fault = self.next();
        let most = if self.rng.random_ratio(1, 6) {
            12_000
        } else {
            3_000
        };
        let long = Duration::from_millis(self.rng.random_range(300..most));
        match fault {
            Fault::Kill => {
                self.crew.kill9();
                self.revive("").await;
            }
            Fault::Terminate => self.terminate().await,
            Fault::Window => self.attack_a_window().await,
            Fault::NodeFrozen => {
                self.crew.bot.signal("STOP");
                self.during("node frozen", "node", long).await;
                self.crew.bot.signal("CONT");
                self.over("node frozen");
            }
            Fault::FewFiles => {
                self.files(64);
                self.during("64 files", "store", long).await;
                self.files(4096);
                self.over("64 files");
            }
            Fault::Calm => tokio::time::sleep(Duration::from_secs(64)).await,
            Fault::Pager(mode) => {
                self.crew.pager.set(mode);
                let name = format!("pager {mode:?}");
                self.during(&name, "pager", long).await;
                self.crew.pager.set(Mode::Ok);
                self.over_after_backoff(&name);
            }
            Fault::Sink(mode) => {
                self.crew.sink.set(mode);
                let name = format!("sink {mode:?}");
                self.during(&name, "sink", long).await;
                self.crew.sink.set(Mode::Ok);
                self.over(&name);
            }
            Fault::Slack(fault) => self.hurt_slack(fault, long).await,
            _ => self.hurt_the_store(fault, long).await,
        }
    }

    async fn hurt_the_store(&mut self, fault: Fault, long: Duration) {
        match (&mut self.place, fault) {
            (Place::Sqlite(disk), Fault::DiskFull) => {
                disk.fill();
                self.during("disk full", "store", long).await;
                if let Place::Sqlite(disk) = &self.place {
                    disk.free();
                }
                self.over_after_backoff("disk full");
            }
            (Place::Redis { server, .. }, Fault::RedisKilled) => {
                server.kill9();
                self.during("redis killed, total", "store", long).await;
                if let Place::Redis { server, .. } = &mut self.place {
                    server.restart();
                }
                self.over_after_backoff("redis killed, total");
            }
            (Place::Redis { server, .. }, Fault::RedisLoading) => {
                server.restart_loading();
                // Shorter than it takes: nothing can be made durable all the time.
                let long = long.min(stores::LOADS_FOR / 2);
                self.during("redis loading, total", "store", long).await;
                if let Place::Redis { server, .. } = &self.place {
                    server.load_fast();
                }
                self.over_after_backoff("redis loading, total");
            }
            (Place::Redis { server, .. }, Fault::RedisUnfit(word, harm, heal)) => {
                stores::tell(server, harm);
                let name = format!("redis may {word}");
                self.during(&name, "store", long).await;
                self.must_hear(word, false, Duration::from_secs(15)).await;
                if let Place::Redis { server, .. } = &self.place {
                    stores::tell(server, heal);
                }
                self.over(&name);
            }
            (Place::Redis { server, .. }, Fault::RedisFrozen) => {
                server.freeze();
                self.during("redis frozen, total", "store", long).await;
                if let Place::Redis { server, .. } = &self.place {
                    server.thaw();
                }
                self.over_after_backoff("redis frozen, total");
            }
            (Place::Redis { server, .. }, Fault::RedisTold(name, harm, heal)) => {
                let _ = std::fs::create_dir_all(server.dir().join("occupied"));
                for command in harm {
                    stores::tell_as(server, "sesame", command);
                }
                let name = format!("redis {name}");
                self.during(&name, "store", long).await;
                if let Place::Redis { server, .. } = &self.place {
                    for command in heal {
                        stores::tell_as(server, "sesame", command);
                    }
                }
                self.over_after_backoff(&name);
            }
            (Place::Redis { proxy, .. }, Fault::Wire(wire)) => {
                proxy.set(wire);
                let total = matches!(wire, Wire::Frozen | Wire::NoReplies);
                let name = format!("wire {wire:?}{}", if total { ", total" } else { "" });
                self.during(&name, "store", long).await;
                if let Place::Redis { proxy, .. } = &self.place {
                    proxy.set(Wire::Good);
                }
                self.over_after_backoff(&name);
            }
            (Place::Redis { proxy, .. }, Fault::WireReset) => {
                proxy.reset();
                self.during("wire reset", "store", Duration::from_millis(100))
                    .await;
                self.over_after_backoff("wire reset");
            }
            (_, fault) => unreachable!("{fault:?} is for the other store"),
        }
    }

    async fn hurt_slack(&mut self, fault: SlackFault, long: Duration) {
        let Some(slack) = self.slack.clone() else {
            unreachable!("{fault:?} without Slack");
        };
        fault.begin(&slack.fake);
        let name = format!("slack {fault:?}");
        self.during(&name, "chat", long).await;
        if fault == SlackFault::TokenRefused {
            self.must_hear(REFUSED, true, Duration::from_secs(45)).await;
        }
        fault.end(&slack.fake);
        self.over_after_backoff(&name);
    }

    /// Until `readyz` speaks of it, being ready or not.
    async fn must_hear(&self, word: &str, is_ready: bool, patience: Duration) {
        let heard = self.ready_until(patience, |ready, said| {
            ready == is_ready && said.contains(word)
        });
        if let Err(ready) = heard.await {
            let log = self.crew.bot.log();
            panic!("readyz does not speak of {word:?} after {patience:?}: {ready}\n{log}");
        }
    }

    async fn ready_until(
        &self,
        patience: Duration,
        pass: impl Fn(bool, &str) -> bool,
    ) -> Result<(), String> {
        let until = Instant::now() + patience;
        loop {
            let (status, said) = self.crew.bot.call(Method::GET, "/readyz", None).await;
            let said = said.to_string();
            if pass(status.is_success(), &said) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(said);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// After everything was healed nothing is complained of. Slack is asked every 30 s.
    async fn is_well_again(&self) -> Result<(), String> {
        let well = |ready: bool, said: &str| ready && !said.contains("chat slack");
        let healed = self.ready_until(Duration::from_secs(60), well).await;
        healed.map_err(|said| format!("healed, and readyz says {said}"))
    }

    async fn during(&mut self, fault: &str, blocks: &str, long: Duration) {
        self.faults += 1;
        self.history.note(What::FaultBegan {
            fault: format!("{fault}#{}", self.faults),
            blocks: blocks.to_owned(),
        });
        tokio::time::sleep(long).await;
    }

    fn over(&self, fault: &str) {
        let fault = format!("{fault}#{}", self.faults);
        self.history.note(What::FaultEnded { fault });
    }

    /// Healed now, but whoever was refused waits a while before the next try.
    fn over_after_backoff(&mut self, fault: &str) {
        self.over(fault);
        let (history, fault) = (self.history.clone(), format!("{fault}#{}+", self.faults));
        history.note(What::FaultBegan {
            fault: fault.clone(),
            blocks: "backoff".to_owned(),
        });
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            history.note(What::FaultEnded { fault });
        });
    }

    async fn terminate(&mut self) {
        self.history.note(What::Down {
            node: 0,
            how: "SIGTERM".to_owned(),
        });
        self.crew.bot.signal("TERM");
        let began = Instant::now();
        while self.crew.bot.exited().is_none() {
            assert!(
                began.elapsed() < Duration::from_secs(15),
                "no end 15 s after SIGTERM:\n{}",
                self.crew.bot.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.revive("").await;
    }

    /// A new life that is to meet its fault at one of the windows.
    async fn attack_a_window(&mut self) {
        let (window, action) = self.next_window();
        let is_early = (window.as_str(), action) == BEFORE_HANDING_OVER;
        let nth = match window.contains("write") || window.contains("row") {
            true if !is_early => self.rng.random_range(1..20),
            _ => self.rng.random_range(1..4),
        };
        self.crew.kill9();
        let fault = format!("{window}:{action}:{nth}");
        self.revive(&fault).await;
        self.attacked.insert(format!("{window}:{action}"));
        let name = format!("window {action}");
        if action == "abort" {
            let until = Instant::now() + Duration::from_secs(5);
            while Instant::now() < until {
                if self.crew.bot.exited().is_some() {
                    self.history.note(What::Down {
                        node: 0,
                        how: "window abort".to_owned(),
                    });
                    return self.revive("").await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            return;
        }
        self.during(&name, "window", Duration::from_secs(3)).await;
        let (history, faults) = (self.history.clone(), self.faults);
        // A call that hangs does so for 20 s.
        let long = Duration::from_secs(if action == "hang" { 25 } else { 5 });
        tokio::spawn(async move {
            tokio::time::sleep(long).await;
            let fault = format!("{name}#{faults}");
            history.note(What::FaultEnded { fault });
        });
    }

    /// An abort that came late.
    async fn notice_death(&mut self) {
        if self.crew.bot.exited().is_some() {
            self.history.note(What::Down {
                node: 0,
                how: "window abort".to_owned(),
            });
            self.revive("").await;
        }
    }

    /// What was asked of this life must not come while everything is to come to rest.
    async fn disarm(&mut self) {
        self.notice_death().await;
        self.terminate().await;
        // A life that hung at a window may end without closing its store; this one has nothing to hang at.
        self.terminate().await;
    }

    fn next_window(&mut self) -> (String, &'static str) {
        // Until it did what it is for: a life may end over a duplicate, which leaves nothing in the queue.
        if !stores::hits(&self.hits).contains_key("store.queued.after") {
            let (window, action) = BEFORE_HANDING_OVER;
            return (window.to_owned(), action);
        }
        if self.to_attack.is_empty() {
            self.to_attack = all_attacks();
            self.to_attack.shuffle(&mut self.rng);
        }
        self.to_attack.pop().expect("there are windows")
    }

    async fn revive(&mut self, fault: &str) {
        let hits = text(&self.hits).to_owned();
        let plain = [("SECURITYBOT_FAULT_HITS", hits.as_str())];
        let env = [
            ("SECURITYBOT_FAULT_HITS", hits.as_str()),
            ("SECURITYBOT_FAULT", fault),
        ];
        self.crew.revive(&env, &plain).await;
    }

    fn files(&self, most: u32) {
        let pid = format!("--pid={}", self.crew.bot.pid());
        let set = Command::new("prlimit")
            .args([&pid, &format!("--nofile={most}:4096")])
            .status();
        assert!(set.is_ok_and(|status| status.success()), "prlimit");
    }

    /// Writes down how often each window was passed; the required ones that never were.
    fn count_windows(&self) -> Vec<String> {
        let hits = stores::hits(&self.hits);
        for (name, hits) in &hits {
            self.history.note(What::Window {
                name: name.clone(),
                hits: *hits,
            });
        }
        let passed: Vec<String> = hits.iter().map(|(name, n)| format!("{name} {n}")).collect();
        if WINDOWS {
            println!("passed  {}", passed.join(", "));
        }
        required_windows(self.seconds >= CALM_FROM_S, self.slack.is_some())
            .into_iter()
            .filter(|window| !hits.contains_key(window))
            .collect()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain letters")
}
