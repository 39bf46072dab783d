//! `kill -9`, fifty times, in the middle of work: promises P1 to P6 as the other sides see them, on both
//! stores. What a restart must not change is recorded before each kill and judged by the checker.
//! `CRASH_KILLS=1000` kills as often as that (`tests/faults/run.sh --kills 1000`).
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod common;
#[path = "faults/kit.rs"]
mod kit;

use std::time::{Duration, Instant};

use kit::checker;
use kit::crew::{Crew, an_alert, redis, sqlite};
use kit::history::{History, What};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Without `CRASH_KILLS`; so often too all cases are looked at in a longer run.
const KILLS: u32 = 50;
const ALERTS_OF_A_ROUND: u32 = 4;
/// Kills in a hundred that must have met a commit, a send or a settlement under way.
const IN_FLIGHT: u32 = 80;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_crashes_on_sqlite_change_nothing_but_the_delay() {
    crash(&sqlite(), "sqlite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_crashes_on_redis_change_nothing_but_the_delay() {
    let server = common::redis::RedisServer::start();
    crash(&redis(&server.url()), "redis").await;
}

async fn crash(store: &str, name: &str) {
    let number = |name: &str| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    let seed = number("CRASH_SEED").unwrap_or_else(rand::random);
    let kills = number("CRASH_KILLS").map_or(KILLS, |kills| u32::try_from(kills).unwrap());
    println!("seed {seed}: CRASH_SEED={seed} repeats the workload");
    let file = tempfile::Builder::new()
        .prefix("history")
        .suffix(".jsonl")
        .tempfile()
        .unwrap();
    let history = History::create(file.path());
    history.note(What::Began {
        seed,
        store: name.to_owned(),
        crashes_only: true,
        ladder_ms: Vec::new(),
        ack_expires_ms: 0,
    });
    let mut rng = StdRng::seed_from_u64(seed);
    let mut crew = Crew::start(store, history.clone(), seed, false).await;
    let began = Instant::now();

    let mut in_flight = 0;
    for round in 0..kills {
        let mut alerts: Vec<_> = (round * ALERTS_OF_A_ROUND..(round + 1) * ALERTS_OF_A_ROUND)
            .map(|n| an_alert(&format!("a{n}"), &mut rng))
            .collect();
        let held_back = alerts.split_off(alerts.len() / 2);
        alerts
            .into_iter()
            .for_each(|alert| crew.producer.send(alert));
        if round % kills.div_ceil(KILLS) == 0 {
            println!(
                "{round} kills, {in_flight} with work in flight, {:?}",
                began.elapsed()
            );
            crew.note_cases().await;
        }
        if met_work(&crew, held_back, &mut rng).await {
            in_flight += 1;
        }
        crew.kill9();
        crew.restart().await;
    }
    let rested = crew.rest(Duration::from_secs(100)).await;
    let trace = checker::Trace::read(history.path()).unwrap();
    let view = checker::View::of(&trace);
    println!(
        "{name}: {kills} kills, {in_flight} with work in flight, {:?}",
        began.elapsed()
    );
    println!("{}", checker::summary(&view));

    let names = checker::INVARIANTS.map(|(name, ..)| name);
    println!("checked {}", names.join(" "));
    let broken: Vec<String> = checker::check(&view)
        .iter()
        .map(ToString::to_string)
        .collect();
    if !broken.is_empty() || rested.is_err() {
        let kept = file.keep().map(|(_, path)| path.display().to_string());
        panic!(
            "seed {seed}, history {kept:?}: {rested:?}\n{}\n{}",
            broken.join("\n"),
            crew.bot.log()
        );
    }
    let taken = history.count(|what| matches!(what, What::AlertAnswered { status: 202, .. }));
    let alerts = kills * ALERTS_OF_A_ROUND;
    assert!(
        taken >= alerts as usize,
        "{taken} of {alerts} alerts were taken"
    );
    assert!(
        in_flight * 100 >= kills * IN_FLIGHT,
        "{in_flight} of {kills} kills met work in flight, {IN_FLIGHT} in a hundred should"
    );
}

/// Lets the bot work for a while, then waits for a moment of the kind that this kill is to meet; when
/// none comes, it is met by new alerts.
async fn met_work(crew: &Crew, alerts: Vec<serde_json::Value>, rng: &mut StdRng) -> bool {
    let kind = rng.random_range(0..5);
    tokio::time::sleep(Duration::from_millis(rng.random_range(0..900))).await;
    let fresh = crew.town.fresh();
    let met = |kind: u32| match kind {
        0 => crew.town.at_work() > 0,
        1 => crew.pager.at_work() > 0,
        // A question has just been seen: that it was sent is hardly recorded.
        2 => crew.town.fresh() > fresh,
        3 => crew.sink.at_work() > 0,
        _ => crew.producer.at_work() > 0,
    };
    if kind < 4 && meets(Duration::from_millis(1200), || met(kind)).await {
        alerts
            .into_iter()
            .for_each(|alert| crew.producer.send(alert));
        return true;
    }
    alerts
        .into_iter()
        .for_each(|alert| crew.producer.send(alert));
    meets(Duration::from_millis(500), || met(4)).await;
    // Before, in and after the commit; if all is done by then, whatever comes next.
    tokio::time::sleep(Duration::from_micros(rng.random_range(0..6000))).await;
    meets(Duration::from_millis(300), || crew.in_flight() > 0).await
}

async fn meets(patience: Duration, moment: impl Fn() -> bool) -> bool {
    let until = Instant::now() + patience;
    while Instant::now() < until {
        if moment() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    false
}
