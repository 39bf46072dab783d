//! The story of the product, told on both stores against the real binary with real servers around it,
//! killed and restarted on the way; and what the process itself must do when it is told to end, to read
//! its config again, or is started twice.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod common;

#[path = "story/actors.rs"]
mod actors;
#[path = "story/evidence.rs"]
mod evidence;
#[path = "story/paging.rs"]
mod paging;
#[path = "story/process.rs"]
mod process;
#[path = "story/scenario.rs"]
mod scenario;
#[path = "story/stage.rs"]
mod stage;

use common::redis::RedisServer;

#[tokio::test(flavor = "multi_thread")]
async fn the_story_on_sqlite() {
    scenario::tell(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_on_redis() {
    scenario::tell(Some(RedisServer::start())).await;
}
