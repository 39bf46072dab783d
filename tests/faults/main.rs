//! The fault harness: the real binary under a seeded workload and a seeded schedule of faults, judged by
//! what pagers, sinks, producers and people saw. `run.sh` beside this file runs it for longer.
#![cfg_attr(
    not(feature = "fault-injection"),
    allow(dead_code, reason = "the mix is not built")
)]
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]
#![allow(
    clippy::disallowed_methods,
    reason = "the harness has its own clock, on purpose"
)]

mod checker_tests;
mod clocks;
#[path = "../common/mod.rs"]
mod common;
mod disk;
mod failover;
mod kinds;
mod kit;
mod mix;
mod proxy;
mod scenarios;
mod slack_faults;
mod stores;
mod windows;
mod workload;

/// Without a feature `fault-injection` the windows cannot be attacked, everything else can.
const WINDOWS: bool = cfg!(feature = "fault-injection");

/// Minutes long and drawn anew each time: `run.sh` builds and runs it.
#[cfg(feature = "fault-injection")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mix_of_faults_breaks_no_promise_on_sqlite() {
    mix::run("sqlite", None).await;
}

/// Minutes long and drawn anew each time: `run.sh` builds and runs it.
#[cfg(feature = "fault-injection")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mix_of_faults_breaks_no_promise_on_redis() {
    mix::run("redis", None).await;
}

/// The people sit at Slack, and Slack fails in its own ways too.
#[cfg(feature = "fault-injection")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mix_of_faults_breaks_no_promise_through_slack() {
    mix::run("sqlite", Some("slack")).await;
}
