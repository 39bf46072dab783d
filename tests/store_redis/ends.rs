//! What is damaged in Redis ends with people, and not in silence: the bot itself over the damaged store.

use redis::Commands;
use serde_json::json;

use super::common::bot::{Bot, PATIENCE, PEOPLE};
use super::common::redis::RedisServer;

/// The one key with that end, and that field in it.
fn key(redis: &mut redis::Connection, end: &str, field: Option<&str>) -> String {
    let mut keys: Vec<String> = redis.keys(format!("*:{end}")).unwrap();
    keys.retain(|key| field.is_none_or(|field| redis.hexists(key, field).unwrap()));
    assert_eq!(keys.len(), 1, "{end}: {keys:?}");
    keys.remove(0)
}

/// Of an aggregate of a source.
fn name(source: &str) -> &str {
    source.strip_prefix("source/").unwrap()
}

#[tokio::test]
async fn a_damaged_state_ends_its_case_failed_and_what_is_damaged_in_a_queue_pages() {
    let server = RedisServer::start();
    let url = server.url();
    let mut bot = Bot::start(&format!(
        "[store]\nkind = \"redis\"\nurl = {url:?}\n{PEOPLE}"
    ))
    .await;
    let alert = json!({ "id": "a1", "principal": "alice", "rule": "sudo", "title": "sudo -i" });
    bot.post("/v1/alerts", alert).await;
    let asked = |case: &serde_json::Value| case["state"] == "asked";
    bot.case_until("alert=a1", "asked", asked).await;
    bot.kill9();

    let mut redis = redis::Client::open(url.as_str())
        .unwrap()
        .get_connection()
        .unwrap();
    let states = key(&mut redis, "agg", Some("employee/alice"));
    let state: Vec<u8> = redis.hget(&states, "employee/alice").unwrap();
    let half = &state[..state.len() / 2];
    let () = redis.hset(&states, "employee/alice", half).unwrap();
    let nexts = key(&mut redis, "next", None);
    let sources: Vec<(String, u64)> = redis.hgetall(&nexts).unwrap();
    let (source, next) = &sources[0];
    let queue = format!("{}q:{source}", nexts.strip_suffix("next").unwrap());
    let alert = b"14\nemployee/alice4\xff\xff\xff\xffcut";
    let () = redis.hset(&queue, *next, &alert[..]).unwrap();
    let chunk = b"c3\nz\xff\xff\xff\xffcut";
    let () = redis.hset(&queue, next + 1, &chunk[..]).unwrap();
    let () = redis.hset(&nexts, source, next + 4).unwrap();

    bot.spawn();
    bot.ready().await;
    // Whoever looks at it: the next alert.
    let alert = json!({ "id": "a2", "principal": "alice", "rule": "nmap", "title": "nmap" });
    bot.post("/v1/alerts", alert).await;
    let failed = |case: &serde_json::Value| case["outcome"] == "failed";
    bot.case_until("alert=a1", "failed", failed).await;
    let of_alert = format!(
        "A queued alert of source {} (number {next}) cannot be read",
        name(source)
    );
    let of_chunk = format!(
        "3 queued alerts of source {} (from number {} on) cannot be read",
        name(source),
        next + 1
    );
    let until = std::time::Instant::now() + PATIENCE;
    while !(bot.log().contains(&of_alert) && bot.log().contains(&of_chunk)) {
        assert!(std::time::Instant::now() < until, "{}", bot.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // Then they leave, like what can be read.
    while redis.hlen::<_, u64>(&queue).unwrap() > 0 {
        assert!(
            std::time::Instant::now() < until,
            "they never left the queue"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let asked = |case: &serde_json::Value| case["state"] == "asked";
    bot.case_until("alert=a2", "asked", asked).await;
}
