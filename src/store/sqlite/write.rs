//! One batch, one transaction: each write is checked against what the ones before it left, and if any
//! is refused the whole transaction is rolled back.

use std::collections::HashMap;

use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::put;
use crate::core::ids::AggregateKey;
use crate::core::time::Timestamp;
use crate::store::{
    Accept, Batch, Commit, Head, JournalRow, Mark, Refusal, Seen, Write, WriteError,
};

/// What stops a transaction: SQLite, or the contract.
pub(super) enum Stop {
    Sql(rusqlite::Error),
    Contract(WriteError),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Runs `body` in a transaction. An error before COMMIT is certain: nothing was written.
pub(super) fn committed<T>(
    conn: &mut Connection,
    body: impl FnOnce(&Transaction<'_>) -> Result<T, Stop>,
) -> Result<T, WriteError> {
    let failed = |e: rusqlite::Error| WriteError::Failed(e.to_string());
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let done = match body(&tx) {
        Ok(done) => done,
        Err(stop) => {
            tx.rollback().map_err(failed)?;
            return Err(match stop {
                Stop::Sql(error) => failed(error),
                Stop::Contract(error) => error,
            });
        }
    };
    tx.commit()
        .map_err(|error| match error.sqlite_error_code() {
            // No commit frame was written, and the transaction is rolled back.
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => failed(error),
            // A failed fsync leaves frames behind that a restart may or may not find whole.
            _ => WriteError::Unknown(error.to_string()),
        })?;
    Ok(done)
}

/// A write that changes nothing anyone reads: does the disk take it?
pub(super) fn probe(tx: &Transaction<'_>) -> Result<(), Stop> {
    tx.execute(
        "INSERT INTO meta VALUES('probe', '1')
         ON CONFLICT(key) DO UPDATE SET value = CAST(value AS INTEGER) + 1",
        [],
    )?;
    Ok(())
}

/// `head` is the journal's end after the batch.
pub(super) fn write(conn: &mut Connection, batch: &Batch, head: &Head) -> Result<(), WriteError> {
    committed(conn, |tx| {
        fence(tx, batch)?;
        let mut refused = Vec::new();
        for (index, write) in batch.writes.iter().enumerate() {
            let refusal = match write {
                Write::Commit(one) => commit(tx, batch.partition, one)?,
                Write::Accept(one) => accept(tx, batch, one)?,
                Write::Take { source, numbers } => {
                    take(tx, source, numbers)?;
                    None
                }
            };
            refused.extend(refusal.map(|why| (index, why)));
        }
        if !refused.is_empty() {
            return Err(Stop::Contract(WriteError::Refused(refused)));
        }
        append(tx, batch.partition, &batch.journal, head)
    })
}

fn fence(tx: &Transaction<'_>, batch: &Batch) -> Result<(), Stop> {
    let ours = tx
        .prepare_cached(
            "SELECT 1 FROM leases
             WHERE partition = ?1 AND epoch = ?2 AND head_seq = ?3 AND head_hash = ?4",
        )?
        .exists(params![
            batch.partition,
            batch.epoch,
            batch.head_before.seq,
            batch.head_before.hash
        ])?;
    if ours {
        Ok(())
    } else {
        Err(Stop::Contract(WriteError::Fenced))
    }
}

fn version(tx: &Transaction<'_>, key: &AggregateKey) -> rusqlite::Result<u64> {
    let found = tx
        .prepare_cached("SELECT version FROM aggregates WHERE partition = ?1 AND name = ?2")?
        .query_row(params![key.partition, key.name], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0))
}

fn commit(tx: &Transaction<'_>, partition: u16, one: &Commit) -> rusqlite::Result<Option<Refusal>> {
    let conflict = |found| Ok(Some(Refusal::Conflict { found }));
    // With births everything is looked at before the first change: a refused write leaves no trace
    // for those after it. Without, the change itself is the check.
    if !one.births.is_empty() {
        let found = version(tx, &one.key)?;
        if found != one.expected {
            return conflict(found);
        }
        for birth in &one.births {
            let found = version(tx, &birth.key)?;
            if found != 0 {
                return conflict(found);
            }
        }
    }
    let due = one.due.map(Timestamp::as_millis);
    let changed = if one.expected == 0 {
        create(tx, &one.key, &one.state, &one.guard, due)?
    } else {
        tx.prepare_cached(
            "UPDATE aggregates SET version = version + 1, state = ?4, guard = ?5, due = ?6
             WHERE partition = ?1 AND name = ?2 AND version = ?3",
        )?
        .execute(params![
            one.key.partition,
            one.key.name,
            one.expected,
            one.state,
            one.guard,
            due
        ])?
    };
    if changed == 0 {
        return conflict(version(tx, &one.key)?);
    }
    put::apply(tx, partition, &one.rows)?;
    for birth in &one.births {
        let due = birth.due.map(Timestamp::as_millis);
        if create(tx, &birth.key, &birth.state, "", due)? == 0 {
            return conflict(version(tx, &birth.key)?);
        }
        put::apply(tx, partition, &birth.rows)?;
    }
    Ok(None)
}

fn create(
    tx: &Transaction<'_>,
    key: &AggregateKey,
    state: &str,
    guard: &str,
    due: Option<i64>,
) -> rusqlite::Result<usize> {
    tx.prepare_cached(
        "INSERT INTO aggregates(partition, name, version, state, guard, due)
         VALUES(?1, ?2, 1, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
    )?
    .execute(params![key.partition, key.name, state, guard, due])
}

fn accept(tx: &Transaction<'_>, batch: &Batch, one: &Accept) -> rusqlite::Result<Option<Refusal>> {
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
    let mut insert = tx.prepare_cached(
        "INSERT INTO queue(source, number, receiver, body) VALUES(?1, ?2, ?3, ?4)",
    )?;
    for alert in &one.alerts {
        insert.execute(params![source, alert.number, alert.receiver, alert.body])?;
    }
    put_marks(tx, batch, source, &one.marks, &standing)?;
    put::apply(tx, batch.partition, &one.rows)?;
    Ok(None)
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
            let identity = put::packed(&mark.identity);
            find.query_row(
                params![
                    source,
                    put::short(&mark.identity),
                    identity,
                    put::packed(&mark.body)
                ],
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
    let mut earlier: HashMap<&str, &str> = HashMap::new();
    let mut found = Vec::new();
    for (index, (mark, standing)) in marks.iter().zip(standing).enumerate() {
        let stored = standing.as_ref().filter(|stored| stored.expires > now);
        let same = match (stored, earlier.get(mark.identity.as_str())) {
            (Some(stored), _) => stored.same,
            (None, Some(body)) => *body == mark.body,
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
    let mut written: HashMap<&str, i64> = HashMap::new();
    for (mark, standing) in marks.iter().zip(standing) {
        let expires = mark.expires.as_millis();
        let live = standing.as_ref().is_some_and(|s| s.expires > batch.now);
        let before = written.get(mark.identity.as_str()).copied();
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
            .execute(params![
                standing.id,
                expires,
                put::packed(&mark.body),
                mark.alert
            ])?;
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
            put::short(&mark.identity),
            put::packed(&mark.identity),
            put::packed(&mark.body),
            mark.alert,
            expires
        ])?;
        written.insert(&mark.identity, tx.last_insert_rowid());
    }
    Ok(())
}

fn take(tx: &Transaction<'_>, source: &AggregateKey, numbers: &[u64]) -> rusqlite::Result<()> {
    let id: Option<i64> = tx
        .prepare_cached("SELECT id FROM sources WHERE partition = ?1 AND name = ?2")?
        .query_row(params![source.partition, source.name], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Ok(()) };
    let mut delete = tx.prepare_cached("DELETE FROM queue WHERE source = ?1 AND number = ?2")?;
    let mut taken = 0;
    for number in numbers {
        taken += delete.execute(params![id, number])?;
    }
    tx.prepare_cached("UPDATE sources SET backlog = backlog - ?2 WHERE id = ?1")?
        .execute(params![id, taken])?;
    Ok(())
}

fn append(
    tx: &Transaction<'_>,
    partition: u16,
    journal: &[JournalRow],
    head: &Head,
) -> Result<(), Stop> {
    if journal.is_empty() {
        return Ok(());
    }
    let mut insert = tx.prepare_cached(
        "INSERT INTO journal(id, case_id, at, body, hash) VALUES(?1, ?2, ?3, ?4, ?5)",
    )?;
    for row in journal {
        insert.execute(params![
            put::journal_id(partition, row.seq),
            row.case.map(|case| case.to_string()),
            row.at.as_millis(),
            row.body,
            row.hash
        ])?;
    }
    tx.prepare_cached("UPDATE leases SET head_seq = ?2, head_hash = ?3 WHERE partition = ?1")?
        .execute(params![partition, head.seq, head.hash])?;
    Ok(())
}
