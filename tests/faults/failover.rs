//! Redis behind a Sentinel: the primary dies, or is sent to the back row, and a replica goes on. What the replica
//! had not yet is gone: with `min_replicas = 1` nothing of that was acknowledged, without it is counted.

use std::time::{Duration, Instant};

use super::kit::checker;
use super::kit::crew::Crew;
use super::kit::history::{History, What};
use super::kit::setting::Setting;
use super::scenarios::{history, judge};
use super::stores::tell;
use super::workload::Workload;
use crate::common::redis::RedisServer;

/// Sentinel takes a silent primary for dead, and a replica that was cut off for ten times as long for too old.
const DOWN_AFTER_MS: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(40);

struct Watched {
    primary: RedisServer,
    replica: RedisServer,
    sentinel: RedisServer,
}

impl Watched {
    /// The replica has a user of its own at the primary, so that it alone can be cut off.
    fn start() -> Self {
        let user = ("user", "follower on >sesame ~* &* +psync +replconf +ping");
        let followers = [user, ("masteruser", "follower"), ("masterauth", "sesame")];
        let primary = RedisServer::start_with(&followers);
        let of = format!("127.0.0.1 {}", primary.port);
        let mut settings = followers.to_vec();
        settings.push(("replicaof", &of));
        let replica = RedisServer::start_with(&settings);
        says(&replica, "INFO replication", "master_link_status:up");
        let sentinel = RedisServer::start_sentinel(&format!(
            "sentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main {DOWN_AFTER_MS}\n\
             sentinel failover-timeout main 5000\n",
            primary.port
        ));
        says(
            &sentinel,
            "SENTINEL REPLICAS main",
            &replica.port.to_string(),
        );
        Self {
            primary,
            replica,
            sentinel,
        }
    }

    fn store(&self, min_replicas: u32) -> String {
        format!(
            "[store]\nkind = \"redis\"\nurl = \"redis+sentinel://127.0.0.1:{}/main/0\"\nmin_replicas = {min_replicas}\n",
            self.sentinel.port
        )
    }

    /// Nothing passes to the replica any more.
    fn cut_off(&self) {
        tell(&self.primary, "ACL SETUSER follower off");
        tell(&self.primary, "CLIENT KILL TYPE replica");
        says(&self.primary, "INFO replication", "connected_slaves:0");
    }

    fn leads(&self, server: &RedisServer) {
        let port = server.port.to_string();
        says(
            &self.sentinel,
            "SENTINEL GET-MASTER-ADDR-BY-NAME main",
            &port,
        );
        says(server, "INFO replication", "role:master");
    }
}

pub(super) fn says(server: &RedisServer, command: &str, expected: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = tell(server, command);
        if said.contains(expected) {
            return;
        }
        assert!(Instant::now() < until, "{command}: no {expected} in {said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(super) fn began(history: &History, fault: &str, blocks: &str) {
    history.note(What::FaultBegan {
        fault: fault.to_owned(),
        blocks: blocks.to_owned(),
    });
}

pub(super) fn ended(history: &History, fault: &str) {
    let fault = fault.to_owned();
    history.note(What::FaultEnded { fault });
}

pub(super) async fn pause(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

async fn crew(watched: &Watched, min_replicas: u32, history: &History, seed: u64) -> Crew {
    let setting = Setting::of(&watched.store(min_replicas));
    let crew = Crew::start_in(setting, history.clone(), seed, &[]).await;
    crew.town.expect_losses();
    crew
}

/// Killed first, then, when the old primary is back as a replica, deposed in order: both times with somebody
/// writing all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_to_a_replica_that_keeps_up_loses_nothing() {
    let mut watched = Watched::start();
    let (history, file) = history("failover", false);
    let crew = crew(&watched, 1, &history, 6).await;
    let workload = Workload::start(crew.producer.clone(), 6, 1);
    pause(5).await;

    began(&history, "primary killed", "store");
    watched.primary.kill9();
    watched.leads(&watched.replica);
    // Nobody has what it writes, so it acknowledges nothing, until the old one is its replica.
    pause(1).await;
    watched.primary.restart();
    says(&watched.replica, "INFO replication", "state=online");
    ended(&history, "primary killed");
    pause(5).await;

    // From now on nobody follows the old primary, which does not know yet.
    began(&history, "primary deposed", "store");
    began(&history, "unfollowed", "tail");
    let said = tell(&watched.sentinel, "SENTINEL FAILOVER main");
    assert!(said.starts_with("+OK"), "{said}");
    watched.leads(&watched.primary);
    says(&watched.replica, "INFO replication", "role:slave");
    ended(&history, "unfollowed");
    says(&watched.primary, "INFO replication", "state=online");
    ended(&history, "primary deposed");
    pause(5).await;

    workload.stop().await;
    let rested = crew.rest(Duration::from_secs(120)).await;
    judge(&history, file, rested, &crew.bot.log());
}

/// Alerts that were acknowledged and that nobody knows of any more.
fn lost(history: &History) -> Vec<String> {
    let trace = checker::Trace::read(history.path()).expect("the history can be read back");
    let view = checker::View::of(&trace);
    let known = view.cases_of();
    let acknowledged = view.acknowledged.keys();
    let lost: Vec<String> = acknowledged
        .filter(|alert| !known.contains_key(**alert))
        .map(|alert| (*alert).to_owned())
        .collect();
    println!(
        "{} alerts taken, {} of them lost",
        view.acknowledged.len(),
        lost.len()
    );
    lost
}

/// What cannot be promised without `min_replicas`, measured. The checker excuses what happened in the tail that the
/// replica missed, and nothing else: the bot goes on from what the replica has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lagged_costs_its_tail_and_nothing_else() {
    let mut watched = Watched::start();
    let (history, file) = history("failover-lagging", false);
    let crew = crew(&watched, 0, &history, 7).await;
    let workload = Workload::start(crew.producer.clone(), 7, 1);
    pause(5).await;

    began(&history, "replica cut off", "tail");
    watched.cut_off();
    pause(4).await;
    began(&history, "primary killed", "store");
    watched.primary.kill9();
    watched.leads(&watched.replica);
    ended(&history, "primary killed");
    ended(&history, "replica cut off");
    pause(10).await;

    workload.stop().await;
    let rested = crew.rest(Duration::from_secs(120)).await;
    let lost = lost(&history);
    judge(&history, file, rested, &crew.bot.log());
    assert!(!lost.is_empty(), "the replica had everything");
}

/// The same with `min_replicas = 1`: 503 as long as the replica does not follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_min_replicas_a_replica_that_lagged_costs_no_acknowledged_alert() {
    let mut watched = Watched::start();
    let (history, file) = history("failover-refusing", false);
    let crew = crew(&watched, 1, &history, 8).await;
    let workload = Workload::start(crew.producer.clone(), 8, 1);
    pause(5).await;

    began(&history, "replica frozen, total", "store");
    watched.replica.freeze();
    pause(4).await;
    ended(&history, "replica frozen, total");
    watched.replica.thaw();
    pause(5).await;

    began(&history, "replica cut off", "tail");
    watched.cut_off();
    began(&history, "primary alone and killed, total", "store");
    pause(4).await;
    watched.primary.kill9();
    watched.leads(&watched.replica);
    ended(&history, "replica cut off");
    pause(2).await;
    ended(&history, "primary alone and killed, total");
    began(&history, "until it is followed", "store");
    watched.primary.restart();
    says(&watched.replica, "INFO replication", "state=online");
    ended(&history, "until it is followed");
    pause(5).await;

    workload.stop().await;
    let rested = crew.rest(Duration::from_secs(120)).await;
    let lost = lost(&history);
    judge(&history, file, rested, &crew.bot.log());
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}
