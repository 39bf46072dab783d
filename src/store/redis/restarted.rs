//! A Redis that was started anew: what half a commit left in its append-only file would come back at its next
//! start (see the module's own words), so it is asked to write that file again from what it has in memory.

use redis::{Cmd, RedisError};

use super::link::Connection;

/// Of the store's `meta`: the run of the server whose file holds no more than what that run began with.
const CLEAN: &str = "clean_run";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Done,
    /// The server does not answer such questions now; ask again before the next call.
    Later,
}

/// To be done with a new connection before anything is written through it. An error: the connection is dead.
pub(super) async fn look(connection: &mut Connection, meta: &str) -> Result<Look, RedisError> {
    let Connection::One(_) = connection else {
        // In a cluster a primary that dies is replaced by a replica, whose own file is whole.
        return Ok(Look::Done);
    };
    match clean(connection, meta).await {
        Ok(look) => Ok(look),
        Err(error) if matches!(error.code(), Some("NOPERM" | "ERR")) => {
            tracing::warn!(%error, "Redis was started anew and does not take BGREWRITEAOF from this user: \
                what a power loss left at the end of its append-only file can come back at its next start");
            Ok(Look::Done)
        }
        Err(error) if error.code().is_some() => Ok(Look::Later),
        Err(error) => Err(error),
    }
}

async fn clean(connection: &mut Connection, meta: &str) -> Result<Look, RedisError> {
    let info: String = ask(connection, &redis::cmd("INFO")).await?;
    let value = |name: &str| {
        let lines = info.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(key, _)| *key == name);
        found.next().map_or("", |(_, value)| value.trim_end())
    };
    if value("loading") == "1" {
        return Ok(Look::Later);
    }
    if value("aof_enabled") != "1" || value("role") != "master" {
        return Ok(Look::Done);
    }
    let run = value("run_id");
    let mut known = redis::cmd("HMGET");
    known.arg(meta).arg("schema").arg(CLEAN);
    let (schema, clean): (Option<String>, Option<String>) = ask(connection, &known).await?;
    if clean.as_deref() == Some(run) {
        return Ok(Look::Done);
    }
    if schema.is_some() {
        let _: String = ask(connection, &redis::cmd("BGREWRITEAOF")).await?;
        tracing::info!("Redis was started anew; it writes its append-only file again");
    }
    let mut note = redis::cmd("HSET");
    note.arg(meta).arg(CLEAN).arg(run);
    // Full, or a replica by now: then it is asked once more by the next connection.
    let _: Result<i64, _> = ask(connection, &note).await;
    Ok(Look::Done)
}

async fn ask<T: redis::FromRedisValue>(
    connection: &mut Connection,
    cmd: &Cmd,
) -> Result<T, RedisError> {
    Ok(redis::from_redis_value(connection.ask(cmd).await?)?)
}
