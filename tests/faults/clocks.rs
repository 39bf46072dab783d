//! The system clock of the bot jumps, and the machine sleeps. The harness's own clock stays true, and the checker
//! makes no allowance: a jump that is taken back within a minute must move nothing, page nobody early and let no
//! code be checked meanwhile.

use std::path::Path;
use std::time::Duration;

use super::failover::{began, ended, pause};
use super::kit::crew::{Crew, sqlite};
use super::kit::setting::Setting;
use super::scenarios::{history, judge};
use super::workload::Workload;

const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
const HOUR_S: i64 = 3_600;

fn library() -> String {
    let folders = std::fs::read_dir("/usr/lib").expect("libraries").flatten();
    let places = folders.map(|folder| folder.path().join(LIBRARY));
    let found = places.into_iter().find(|place| place.exists());
    let found = found.expect("libfaketime is installed: apt-get install libfaketime");
    found.display().to_string()
}

/// Whole at every moment: the bot reads it whenever it looks at its clock.
fn set(file: &Path, ahead_s: i64) {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{ahead_s:+}s\n")).expect("written");
    std::fs::rename(&new, file).expect("renamed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_and_comes_back_moves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("ahead");
    set(&file, 0);
    let library = library();
    let env = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().expect("letters")),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let (history, kept) = history("clock", false);
    let crew = Crew::start_in(Setting::of(&sqlite()), history.clone(), 10, &env).await;
    let workload = Workload::start(crew.producer.clone(), 10, 1);
    pause(3).await;
    for ahead in [HOUR_S, -HOUR_S, 24 * HOUR_S, -24 * HOUR_S] {
        set(&file, ahead);
        pause(7).await;
        let ready = crew.bot.get("/readyz").await.to_string();
        assert!(ready.contains("codes are not checked"), "{ready}");
        set(&file, 0);
        pause(3).await;
    }
    workload.stop().await;
    let rested = crew.rest(Duration::from_secs(120)).await;
    judge(&history, kept, rested, &crew.bot.log());
}

/// For longer than a lease stands; the clocks run on meanwhile, as they do while a machine is suspended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_slept_past_its_lease_goes_on_where_it_was() {
    let (history, kept) = history("suspend", false);
    let crew = Crew::start(&sqlite(), history.clone(), 11, false).await;
    let workload = Workload::start(crew.producer.clone(), 11, 1);
    pause(4).await;
    began(&history, "suspended", "node");
    crew.bot.signal("STOP");
    pause(20).await;
    crew.bot.signal("CONT");
    ended(&history, "suspended");
    pause(4).await;
    workload.stop().await;
    let rested = crew.rest(Duration::from_secs(120)).await;
    judge(&history, kept, rested, &crew.bot.log());
}
