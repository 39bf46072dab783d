//! The accepting commit: numbers without gaps, each identity once while its mark stands. Everything is
//! looked at before the first change, so that a refused request leaves no trace for later ones.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Transaction, params};

use super::put;
use crate::core::time::Timestamp;
use crate::store::{Accept, Batch, Hash, Mark, Refusal, Seen};

/// The accepted alerts as they are stored: a JSON array.
pub(super) fn chunk(one: &Accept) -> String {
    serde_json::to_string(&one.alerts).expect("alerts are plain data")
}

pub(super) fn accept(
    tx: &Transaction<'_>,
    batch: &Batch,
    one: &Accept,
    chunk: &str,
) -> rusqlite::Result<Option<Refusal>> {
    let found: Option<(i64, u64)> = tx
        .prepare_cached("SELECT id, next FROM sources WHERE partition = ?1 AND name = ?2")?
        .query_row(params![batch.partition, one.source.name], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let next = found.map_or(1, |(_, next)| next);
    if next != one.first {
        return Ok(Some(Refusal::Conflict { found: next }));
    }
    let standing = match found {
        Some((source, _)) => standing_marks(tx, source, &one.marks)?,
        None => one.marks.iter().map(|_| None).collect(),
    };
    let duplicates = duplicates(&one.marks, &standing, batch.now);
    if !duplicates.is_empty() {
        return Ok(Some(Refusal::Duplicate(duplicates)));
    }
    let source = match found {
        Some((source, _)) => source,
        None => {
            tx.prepare_cached(
                "INSERT INTO sources(partition, name, next, backlog) VALUES(?1, ?2, 1, 0)",
            )?
            .execute(params![batch.partition, one.source.name])?;
            tx.last_insert_rowid()
        }
    };
    tx.prepare_cached(
        "UPDATE sources SET next = next + ?2, backlog = backlog + ?2, cursor = ifnull(?3, cursor)
         WHERE id = ?1",
    )?
    .execute(params![source, one.alerts.len(), one.cursor])?;
    if !one.alerts.is_empty() {
        tx.prepare_cached(
            "INSERT INTO queue(source, first, count, alerts) VALUES(?1, ?2, ?3, ?4)",
        )?
        .execute(params![source, one.first, one.alerts.len(), chunk])?;
    }
    put_marks(tx, batch, source, &one.marks, &standing)?;
    put::apply(tx, batch.partition, &one.rows)?;
    Ok(None)
}

/// The narrow part of an identity that is indexed; equal ones are told apart by the whole.
fn short(identity: &Hash) -> i64 {
    i64::from_be_bytes(std::array::from_fn(|at| identity[at]))
}

/// A mark as found.
struct Standing {
    id: i64,
    same: bool,
    expires: Timestamp,
}

fn standing_marks(
    tx: &Transaction<'_>,
    source: i64,
    marks: &[Mark],
) -> rusqlite::Result<Vec<Option<Standing>>> {
    let mut find = tx.prepare_cached(
        "SELECT id, body = ?4, expires FROM marks WHERE source = ?1 AND short = ?2 AND identity = ?3",
    )?;
    marks
        .iter()
        .map(|mark| {
            find.query_row(
                params![source, short(&mark.identity), mark.identity, mark.body],
                |row| {
                    Ok(Standing {
                        id: row.get(0)?,
                        same: row.get(1)?,
                        expires: Timestamp::from_millis(row.get(2)?),
                    })
                },
            )
            .optional()
        })
        .collect()
}

/// Marks that stand in the store, or are set earlier in the same request.
fn duplicates(marks: &[Mark], standing: &[Option<Standing>], now: Timestamp) -> Vec<(usize, Seen)> {
    let seen = |same| if same { Seen::Same } else { Seen::Altered };
    let mut earlier: HashMap<&Hash, &Hash> = HashMap::new();
    let mut found = Vec::new();
    for (index, (mark, standing)) in marks.iter().zip(standing).enumerate() {
        let stored = standing.as_ref().filter(|stored| stored.expires > now);
        let same = match (stored, earlier.get(&mark.identity)) {
            (Some(stored), _) => stored.same,
            (None, Some(body)) => **body == mark.body,
            (None, None) => {
                earlier.insert(&mark.identity, &mark.body);
                continue;
            }
        };
        if !mark.renew {
            found.push((index, seen(same)));
        }
    }
    found
}

/// Renewing moves the expiry only; where no mark stands it makes a new one.
fn put_marks(
    tx: &Transaction<'_>,
    batch: &Batch,
    source: i64,
    marks: &[Mark],
    standing: &[Option<Standing>],
) -> rusqlite::Result<()> {
    let mut written: HashMap<&Hash, i64> = HashMap::new();
    for (mark, standing) in marks.iter().zip(standing) {
        let expires = mark.expires.as_millis();
        let live = standing.as_ref().is_some_and(|s| s.expires > batch.now);
        let before = written.get(&mark.identity).copied();
        if let Some(id) = before.or(standing
            .as_ref()
            .map(|s| s.id)
            .filter(|_| mark.renew && live))
        {
            tx.prepare_cached("UPDATE marks SET expires = ?2 WHERE id = ?1")?
                .execute(params![id, expires])?;
            continue;
        }
        if let Some(standing) = standing {
            tx.prepare_cached(
                "UPDATE marks SET expires = ?2, body = ?3, alert = ?4 WHERE id = ?1",
            )?
            .execute(params![standing.id, expires, mark.body, mark.alert])?;
            written.insert(&mark.identity, standing.id);
            continue;
        }
        tx.prepare_cached(
            "INSERT INTO marks(partition, source, short, identity, body, alert, expires)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            batch.partition,
            source,
            short(&mark.identity),
            mark.identity,
            mark.body,
            mark.alert,
            expires
        ])?;
        written.insert(&mark.identity, tx.last_insert_rowid());
    }
    Ok(())
}
