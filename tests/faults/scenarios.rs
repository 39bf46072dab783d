//! Faults that need a stage of their own: two nodes, broken checkpoints, and a Redis that forgets.

use std::collections::BTreeSet;
use std::io::{Seek, SeekFrom};
use std::process::Command;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::kit::checker;
use super::kit::crew::{Crew, prepare, receivers, redis, sqlite};
use super::kit::history::{History, What};
use super::kit::setting::Setting;
use super::workload::Workload;
use crate::common::person::Person;
use crate::common::redis::RedisServer;

pub(super) fn history(name: &str, crashes_only: bool) -> (History, tempfile::TempPath) {
    let file = tempfile::Builder::new()
        .prefix(name)
        .suffix(".jsonl")
        .tempfile()
        .expect("a temporary file");
    let history = History::create(file.path());
    history.note(What::Began {
        seed: 0,
        store: name.to_owned(),
        crashes_only,
        ladder_ms: Vec::new(),
        ack_expires_ms: 0,
    });
    (history, file.into_temp_path())
}

pub(super) fn judge(
    history: &History,
    file: tempfile::TempPath,
    rested: Result<(), String>,
    log: &str,
) {
    let trace = checker::Trace::read(history.path()).expect("the history can be read back");
    let view = checker::View::of(&trace);
    println!("{}", checker::summary(&view));
    let broken: Vec<String> = checker::check(&view)
        .iter()
        .map(ToString::to_string)
        .collect();
    if !broken.is_empty() || rested.is_err() {
        let kept = file.keep();
        panic!("history {kept:?}\n{rested:?}\n{}\n{log}", broken.join("\n"));
    }
}

/// A node is frozen for longer than its lease; another takes over; the first wakes up in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_slept_past_its_lease_changes_nothing_when_it_wakes() {
    let server = RedisServer::start();
    let store = redis(&server.url());
    let (history, file) = history("two-nodes", false);
    let mut crew = Crew::start(&store, history.clone(), 3, false).await;
    let mut second = prepare(&Setting::of(&store), &crew.pager, &crew.sink);
    let second_data = second.data_dir();
    std::fs::create_dir_all(&second_data).expect("a data folder");
    for shared in ["seed.key", "token"] {
        std::fs::copy(crew.bot.data_dir().join(shared), second_data.join(shared)).expect("a copy");
    }
    let workload = Workload::start(crew.producer.clone(), 3, 1);
    tokio::time::sleep(Duration::from_secs(6)).await;

    crew.bot.signal("STOP");
    history.note(What::FaultBegan {
        fault: "node frozen past its lease".to_owned(),
        blocks: "node".to_owned(),
    });
    crew.town.nodes.add(second.url());
    second.spawn_with(&[("SECURITYBOT__SERVER__PUBLIC_URL", &crew.bot.url())]);
    second.ready().await;
    history.note(What::Up { node: 1 });
    tokio::time::sleep(Duration::from_secs(8)).await;
    crew.bot.signal("CONT");
    history.note(What::FaultEnded {
        fault: "node frozen past its lease".to_owned(),
    });
    tokio::time::sleep(Duration::from_secs(8)).await;

    // The second goes on alone.
    crew.kill9();
    workload.stop().await;
    let first = std::mem::replace(&mut crew.bot, second);
    history.note(What::Up { node: 0 });
    let rested = crew.rest(Duration::from_secs(120)).await;
    judge(
        &history,
        file,
        rested,
        &format!("{}\n---\n{}", first.log(), crew.bot.log()),
    );
}

/// Each hangs for longer than anybody waits: the aggregate is loaded anew and goes on from what it finds, and then the
/// old commit reaches the store after all. Only versions and epoch tell the two apart.
#[cfg(feature = "fault-injection")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_nobody_waits_for_any_more_is_not_overwritten() {
    let (history, file) = history("late-commits", false);
    let hangs = [40, 41, 43, 47, 53].map(|nth| format!("store.write.commit.before:hang:{nth}"));
    let env = [("SECURITYBOT_FAULT", hangs.join(","))];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let setting = Setting::of(&sqlite());
    let crew = Crew::start_in(setting, history.clone(), 6, &env).await;
    history.note(What::FaultBegan {
        fault: "commits hang".to_owned(),
        blocks: "store".to_owned(),
    });
    let workload = Workload::start(crew.producer.clone(), 6, 1);
    tokio::time::sleep(Duration::from_secs(50)).await;
    history.note(What::FaultEnded {
        fault: "commits hang".to_owned(),
    });
    workload.stop().await;
    let rested = crew.rest(Duration::from_secs(120)).await;
    let log = crew.bot.log();
    let hung = log.matches("hangs, as the harness asks").count();
    assert_eq!(hung, hangs.len(), "{log}");
    judge(&history, file, rested, &log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_folder_is_refused() {
    let (history, _file) = history("two-processes", true);
    let crew = Crew::start(&sqlite(), history, 4, false).await;
    let again = crew.bot.cli(&["run"]);
    assert_eq!(again.status.code(), Some(1));
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(
        said.contains("another securitybot uses this data folder"),
        "{said}"
    );
    assert!(
        crew.bot.get("/readyz").await["ready"]
            .as_bool()
            .unwrap_or(false)
    );
}

/// One checkpoint is garbage, two are swapped: those people's open questions fail and page; the fourth
/// person notices nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_checkpoints_fail_and_page_and_spare_everybody_else() {
    let (history, _file) = history("broken", true);
    let (pager, sink) = receivers(&history);
    let mut bot = prepare(&Setting::of(&sqlite()), &pager, &sink);
    bot.spawn();
    bot.ready().await;

    let names = ["alice", "bob", "carol", "dave"];
    for name in names {
        let alert = json!({"id": name, "principal": name, "rule": "ask", "title": format!("ask {name}"),
            "context": {"host": "web-3"}});
        bot.post("/v1/alerts", alert).await;
        bot.case_until(&format!("employee={name}"), "asked", |case| {
            case["state"] == "asked"
        })
        .await;
    }
    bot.terminate();
    let database =
        rusqlite::Connection::open(bot.data_dir().join("securitybot.db")).expect("opens");
    let state = |name: &str| -> String {
        database
            .query_row(
                "SELECT state FROM aggregates WHERE name = ?1",
                [format!("employee/{name}")],
                |row| row.get(0),
            )
            .expect("a checkpoint")
    };
    let (of_bob, of_carol) = (state("bob"), state("carol"));
    for (name, state) in [
        ("alice", "{\"schema\":1,\"state\":7"),
        ("bob", &of_carol),
        ("carol", &of_bob),
    ] {
        let changed = database.execute(
            "UPDATE aggregates SET state = ?2 WHERE name = ?1",
            [format!("employee/{name}"), state.to_owned()],
        );
        assert_eq!(changed.expect("written"), 1);
    }
    drop(database);

    bot.spawn();
    bot.ready().await;
    for name in names {
        let again = json!({"id": format!("{name} again"), "principal": name, "rule": "ask", "title": "ask more",
            "context": {"host": "web-4"}});
        bot.post("/v1/alerts", again).await;
        let asked = format!("employee={name}&state=asked");
        bot.case_until(&asked, "is asked afresh", |case| {
            case["title"] == "ask more"
        })
        .await;
        let first = bot.cases(&format!("alert={name}")).await;
        assert_eq!(first.len(), 1);
        match name {
            "dave" => assert_eq!(first[0]["state"], "asked", "dave notices nothing"),
            _ => {
                assert_eq!(first[0]["outcome"], "failed", "{name}");
                let case = first[0]["id"].as_str().expect("an id").to_owned();
                bot.until("its page", async || paged(&history, &case).then_some(()))
                    .await;
            }
        }
    }
    let dave = Person::sign_in(&bot, "dave").await;
    let question = dave.question("ask dave").await;
    let (status, said) = dave.answer(&question, "no").await;
    assert!(status.is_success(), "{status} {said}");
}

fn paged(history: &History, case: &str) -> bool {
    history
        .count(|what| matches!(what, What::Page { id, applied: true, .. } if id.starts_with(case)))
        > 0
}

/// What cannot be promised, measured: a Redis with `everysec` that is killed, and one whose last bytes a
/// power cut took. The bot must go on, and what is lost must have been accepted just before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgets_costs_its_last_seconds_and_nothing_else() {
    let mut server = RedisServer::start_with(&[("appendfsync", "everysec")]);
    let (history, _file) = history("everysec", false);
    let crew = Crew::start(&redis(&server.url()), history.clone(), 5, false).await;
    let ready = crew.bot.get("/readyz").await;
    assert!(
        ready["degraded"].to_string().contains("everysec"),
        "{ready}"
    );
    let workload = Workload::start(crew.producer.clone(), 5, 1);
    let mut rng = StdRng::seed_from_u64(5);
    let mut killed = Vec::new();
    for round in 0..6 {
        tokio::time::sleep(Duration::from_millis(rng.random_range(1500..3000))).await;
        server.kill9();
        killed.push(history.last_t());
        if round % 2 == 1 {
            cut_tail(&server, rng.random_range(1..3000));
        }
        server.restart();
    }
    workload.stop().await;
    let rested = crew.rest(Duration::from_secs(120)).await;
    assert!(rested.is_ok(), "{rested:?}\n{}", crew.bot.log());

    let trace = checker::Trace::read(history.path()).expect("the history can be read back");
    let view = checker::View::of(&trace);
    let known = view.cases_of();
    let lost: BTreeSet<&str> = view
        .acknowledged
        .keys()
        .filter(|alert| !known.contains_key(**alert))
        .copied()
        .collect();
    println!(
        "{} alerts taken, {} lost to a Redis that forgot: {lost:?}",
        view.acknowledged.len(),
        lost.len()
    );
    for alert in &lost {
        let (taken, _) = view.acknowledged[alert];
        // A retry of it may have come between; the first answer is what counts. Redis puts a sync off while the
        // disk is slow, and the cut tails are some seconds of a light load.
        let just_before = killed
            .iter()
            .any(|at| taken <= *at && at - taken < 10_000_000);
        assert!(
            just_before,
            "alert {alert} was taken long before Redis was killed"
        );
    }
    // Nobody is paged or asked about what is not there, and what is there is whole.
    let forgiven = [
        "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I10", "I12", "I13", "I16",
    ];
    let broken: Vec<String> = checker::check(&view)
        .iter()
        .filter(|found| !forgiven.contains(&found.invariant))
        .map(ToString::to_string)
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Takes the last bytes of the append-only file.
fn cut_tail(server: &RedisServer, bytes: u64) {
    let folder = server.dir().join("appendonlydir");
    let newest = std::fs::read_dir(folder)
        .expect("an append-only folder")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains(".incr."))
        .max()
        .expect("an append-only file");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(newest)
        .expect("opens");
    let length = file.seek(SeekFrom::End(0)).expect("a length");
    file.set_len(length.saturating_sub(bytes)).expect("cut");
}

/// Kept so that a missing tool is named, not guessed at.
#[test]
fn the_tools_of_the_harness_are_there() {
    for (tool, package) in [
        ("prlimit", "util-linux"),
        ("oathtool", "oathtool"),
        ("mount", "mount"),
    ] {
        let found = Command::new(tool).arg("--version").output();
        assert!(
            found.is_ok(),
            "{tool} is missing: apt-get install {package}"
        );
    }
}
