//! A Redis that was started anew: what half a commit left in its append-only file would come back at its next
//! start (see the module's own words), so it is asked to write that file again from what it has in memory.

use redis::{Cmd, RedisError};

use super::link::Connection;

/// Of the store's `meta`: the run of the server whose file holds no more than what that run began with.
const CLEAN: &str = "clean_run";

/// What was found out about a server.
pub(super) struct Look {
    /// Which run of which server it is; `None`: it does not say.
    pub run: Option<String>,
    /// Otherwise it is asked again before the next call.
    pub is_done: bool,
}

impl Look {
    const SILENT: Self = Self {
        run: None,
        is_done: true,
    };
}

/// To be done with a new connection before anything is written through it. An error: nothing may be.
pub(super) async fn look(connection: &mut Connection, meta: &str) -> Result<Look, RedisError> {
    let Connection::One(_) = connection else {
        // In a cluster a primary that dies is replaced by a replica, whose own file is whole.
        return Ok(Look::SILENT);
    };
    let info: String = match ask(connection, &redis::cmd("INFO")).await {
        Ok(info) => info,
        Err(error) if is_not_allowed(&error) => {
            tracing::warn!(%error, "Redis does not take INFO from this user: it will not be noticed when another \
                server takes its place");
            return Ok(Look::SILENT);
        }
        Err(error) => return Err(error),
    };
    let value = |name: &str| {
        let lines = info.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(key, _)| *key == name);
        found.next().map_or("", |(_, value)| value.trim_end())
    };
    let run = value("run_id");
    let mut look = Look {
        run: Some(run.to_owned()).filter(|run| !run.is_empty()),
        is_done: true,
    };
    if value("loading") == "1" {
        look.is_done = false;
    } else if value("aof_enabled") == "1" && value("role") == "master" {
        look.is_done = match clean(connection, meta, run).await {
            Ok(()) => true,
            Err(error) if is_not_allowed(&error) => {
                tracing::warn!(%error, "Redis was started anew and does not take BGREWRITEAOF from this user: \
                    what a power loss left at the end of its append-only file can come back at its next start");
                true
            }
            Err(error) if error.code().is_some() => false,
            Err(error) => return Err(error),
        };
    }
    Ok(look)
}

fn is_not_allowed(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOPERM" | "ERR"))
}

async fn clean(connection: &mut Connection, meta: &str, run: &str) -> Result<(), RedisError> {
    let mut known = redis::cmd("HMGET");
    known.arg(meta).arg("schema").arg(CLEAN);
    let (schema, clean): (Option<String>, Option<String>) = ask(connection, &known).await?;
    if clean.as_deref() == Some(run) {
        return Ok(());
    }
    if schema.is_some() {
        let _: String = ask(connection, &redis::cmd("BGREWRITEAOF")).await?;
        tracing::info!("Redis was started anew; it writes its append-only file again");
    }
    let mut note = redis::cmd("HSET");
    note.arg(meta).arg(CLEAN).arg(run);
    // Full, or a replica by now: then it is asked once more by the next connection.
    let _: Result<i64, _> = ask(connection, &note).await;
    Ok(())
}

async fn ask<T: redis::FromRedisValue>(
    connection: &mut Connection,
    cmd: &Cmd,
) -> Result<T, RedisError> {
    Ok(redis::from_redis_value(connection.ask(cmd).await?)?)
}
