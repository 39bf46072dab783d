//! The disk under Redis fills up and is freed again. With `everysec` Redis refuses writes (MISCONF); with `always`
//! it gives up and has to be started again.

use std::time::Duration;

use super::failover::{began, ended, pause, says};
use super::kit::crew::{Crew, redis};
use super::kit::setting::Setting;
use super::scenarios::{history, judge};
use super::stores::{Disk, tell};
use super::workload::Workload;
use crate::common::redis::RedisServer;

const FULL: &str = "disk full under redis, total";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_redis_refuses_and_drains_afterwards() {
    full_disk("everysec").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_a_full_disk_ended_goes_on_where_it_was() {
    full_disk("always").await;
}

async fn full_disk(fsync: &str) {
    let disk = Disk::mount();
    let folder = disk.path.to_str().expect("plain letters").to_owned();
    let mut server = RedisServer::start_with(&[("dir", &folder), ("appendfsync", fsync)]);
    let (history, file) = history("full-disk", false);
    let setting = Setting::of(&redis(&server.url()));
    let crew = Crew::start_in(setting, history.clone(), 9, &[]).await;
    let workload = Workload::start(crew.producer.clone(), 9, 1);
    pause(5).await;

    began(&history, "disk filling", "store");
    disk.fill();
    match fsync {
        "everysec" => says(&server, "INFO persistence", "aof_last_write_status:err"),
        _ => says(&server, "PING", "refused"),
    }
    began(&history, FULL, "store");
    pause(6).await;
    let ready = crew.bot.call(reqwest::Method::GET, "/readyz", None).await;
    assert_eq!(ready.0.as_u16(), 503, "{}", ready.1);
    ended(&history, FULL);
    disk.free();
    match fsync {
        "everysec" => says(&server, "INFO persistence", "aof_last_write_status:ok"),
        _ => server.restart(),
    }
    ended(&history, "disk filling");
    pause(6).await;
    assert!(tell(&server, "PING").contains("PONG"));

    workload.stop().await;
    let rested = crew.rest(Duration::from_secs(120)).await;
    judge(&history, file, rested, &crew.bot.log());
}
