//! What the server promises. A Redis that may evict keys, or that writes nothing to disk, would lose
//! acknowledged alerts without a word; so it does not count as ready.

use std::collections::HashMap;

use super::RedisStore;
use crate::store::Health;

impl RedisStore {
    pub(super) async fn look_at_health(&self) -> Health {
        let mut health = Health::default();
        let mut info = redis::cmd("INFO");
        info.arg("everything");
        match self.writes.call_all::<String>(&info).await {
            Ok(nodes) => {
                for text in nodes {
                    judge_info(&mut health, &text, self.options.min_replicas);
                }
            }
            Err(error) => {
                let error = error.on_read();
                health.failing.push(error.to_string());
                return health;
            }
        }
        let mut config = redis::cmd("CONFIG");
        config
            .arg("GET")
            .arg("maxmemory-policy")
            .arg("appendonly")
            .arg("appendfsync");
        match self
            .writes
            .call_all::<HashMap<String, String>>(&config)
            .await
        {
            Ok(nodes) if nodes.iter().all(|found| !found.is_empty()) => {
                for found in nodes {
                    judge_config(&mut health, &found);
                }
            }
            // Managed servers do not tell.
            _ => health.degraded.push(
                "Redis does not answer CONFIG GET: whether it may evict keys and how it writes to \
                 disk is unknown (expected noeviction, appendonly yes, appendfsync always)"
                    .to_owned(),
            ),
        }
        health
    }
}

fn judge_config(health: &mut Health, found: &HashMap<String, String>) {
    let value = |name: &str| found.get(name).map_or("unknown", String::as_str);
    let policy = value("maxmemory-policy");
    if policy != "noeviction" {
        health.failing.push(format!(
            "Redis may evict keys (maxmemory-policy {policy}, expected noeviction)"
        ));
    }
    let append_only = value("appendonly");
    if append_only != "yes" {
        health.failing.push(format!(
            "Redis keeps no append-only file (appendonly {append_only}, expected yes)"
        ));
    }
    match value("appendfsync") {
        "always" => {}
        "everysec" => health.degraded.push(
            "appendfsync everysec: up to 2 s can be lost with Redis itself (expected always)"
                .to_owned(),
        ),
        other => health.degraded.push(format!(
            "appendfsync {other}: what the operating system has not written is lost with it \
             (expected always)"
        )),
    }
}

fn judge_info(health: &mut Health, text: &str, min_replicas: u32) {
    let info: HashMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .collect();
    let value = |name: &str| info.get(name).copied().unwrap_or_default();
    if value("role") == "slave" {
        health
            .failing
            .push("this Redis is a replica, expected the primary".to_owned());
    }
    if value("loading") == "1" {
        health
            .failing
            .push("Redis is still loading its data".to_owned());
    }
    if value("aof_last_write_status") == "err" {
        health
            .failing
            .push("Redis could not write its append-only file".to_owned());
    }
    let limit: u64 = value("maxmemory").parse().unwrap_or(0);
    let used: u64 = value("used_memory").parse().unwrap_or(0);
    if limit > 0 && used >= limit {
        health.failing.push(format!(
            "Redis is full: {used} bytes of maxmemory {limit} are used"
        ));
    }
    let replicas: u32 = value("connected_slaves").parse().unwrap_or(0);
    if replicas < min_replicas {
        health.degraded.push(format!(
            "{replicas} replicas are connected, min_replicas is {min_replicas}"
        ));
    }
}
