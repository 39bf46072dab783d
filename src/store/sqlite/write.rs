//! One batch, one transaction: each write is checked against what the ones before it left, and if any
//! is refused the whole transaction is rolled back.

use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::{accept, put};
use crate::core::ids::AggregateKey;
use crate::core::time::Timestamp;
use crate::store::{Batch, Commit, Head, JournalRow, PieceChanges, Refusal, Write, WriteError};

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

pub(super) fn failed(error: &rusqlite::Error) -> WriteError {
    WriteError::Failed(error.to_string())
}

/// What a failed COMMIT says.
pub(super) fn commit_error(error: &rusqlite::Error) -> WriteError {
    match error.sqlite_error_code() {
        // No commit frame was written, and the transaction is rolled back.
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => failed(error),
        // A failed fsync leaves frames behind that a restart may or may not find whole.
        _ => WriteError::Unknown(error.to_string()),
    }
}

/// Runs `body` in a transaction. An error before COMMIT is certain: nothing was written.
pub(super) fn committed<T>(
    conn: &mut Connection,
    body: impl FnOnce(&Transaction<'_>) -> Result<T, Stop>,
) -> Result<T, WriteError> {
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| failed(&error))?;
    let done = match body(&tx) {
        Ok(done) => done,
        Err(stop) => {
            tx.rollback().map_err(|error| failed(&error))?;
            return Err(match stop {
                Stop::Sql(error) => failed(&error),
                Stop::Contract(error) => error,
            });
        }
    };
    tx.commit().map_err(|error| commit_error(&error))?;
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

/// A batch with what need not be worked out by the one thread that writes.
pub(super) struct Prepared {
    batch: Batch,
    /// The journal's end after it.
    head: Head,
    /// The alerts of each write as they are stored; empty for one that accepts none.
    chunks: Vec<String>,
}

impl Prepared {
    pub fn new(batch: Batch, head: Head) -> Self {
        let chunks = batch.writes.iter().map(|write| match write {
            Write::Accept(one) => accept::chunk(one),
            Write::Commit(_) | Write::Take { .. } => String::new(),
        });
        Self {
            chunks: chunks.collect(),
            batch,
            head,
        }
    }
}

pub(super) fn write(tx: &Transaction<'_>, prepared: &Prepared) -> Result<(), Stop> {
    let batch = &prepared.batch;
    fence(tx, batch)?;
    let mut refused = Vec::new();
    for (index, (write, chunk)) in batch.writes.iter().zip(&prepared.chunks).enumerate() {
        let refusal = match write {
            Write::Commit(one) => commit(tx, batch.partition, one)?,
            Write::Accept(one) => accept::accept(tx, batch, one, chunk)?,
            Write::Take { source, firsts } => {
                take(tx, source, firsts)?;
                None
            }
        };
        refused.extend(refusal.map(|why| (index, why)));
    }
    if !refused.is_empty() {
        return Err(Stop::Contract(WriteError::Refused(refused)));
    }
    append(tx, batch.partition, &batch.journal, &prepared.head)
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
    let changed = match one.expected {
        0 => create(tx, &one.key, &one.state, &one.guard, one.due)?,
        _ => replace(tx, one)?,
    };
    let Some(id) = changed else {
        return conflict(version(tx, &one.key)?);
    };
    pieces(tx, id, &one.pieces)?;
    put::apply(tx, partition, &one.rows)?;
    for birth in &one.births {
        if create(tx, &birth.key, &birth.state, "", birth.due)?.is_none() {
            return conflict(version(tx, &birth.key)?);
        }
        put::apply(tx, partition, &birth.rows)?;
    }
    Ok(None)
}

/// What is freed goes at once: a transaction is never half there.
fn pieces(tx: &Transaction<'_>, id: i64, changes: &PieceChanges) -> rusqlite::Result<()> {
    let mut delete =
        tx.prepare_cached("DELETE FROM pieces WHERE aggregate = ?1 AND number = ?2")?;
    for number in &changes.freed {
        delete.execute(params![id, number])?;
    }
    let mut put = tx.prepare_cached(
        "INSERT INTO pieces(aggregate, number, body) VALUES(?1, ?2, ?3)
         ON CONFLICT(aggregate, number) DO UPDATE SET body = excluded.body",
    )?;
    for piece in &changes.written {
        put.execute(params![id, piece.number, piece.body])?;
    }
    Ok(())
}

/// The id of the aggregate that is new; `None`: there is one.
fn create(
    tx: &Transaction<'_>,
    key: &AggregateKey,
    state: &str,
    guard: &str,
    due: Option<Timestamp>,
) -> rusqlite::Result<Option<i64>> {
    let due = due.map(Timestamp::as_millis);
    tx.prepare_cached(
        "INSERT INTO aggregates(partition, name, version, state, guard, due)
         VALUES(?1, ?2, 1, ?3, ?4, ?5) ON CONFLICT DO NOTHING RETURNING id",
    )?
    .query_row(params![key.partition, key.name, state, guard, due], |row| {
        row.get(0)
    })
    .optional()
}

/// The id of the aggregate that is changed; `None`: it is at another version. A time that stands is left alone, for an
/// index hangs on it.
fn replace(tx: &Transaction<'_>, one: &Commit) -> rusqlite::Result<Option<i64>> {
    let mut statement = tx.prepare_cached(match one.due_stands {
        true => {
            "UPDATE aggregates SET version = version + 1, state = ?4, guard = ?5
             WHERE partition = ?1 AND name = ?2 AND version = ?3 RETURNING id"
        }
        false => {
            "UPDATE aggregates SET version = version + 1, state = ?4, guard = ?5, due = ?6
             WHERE partition = ?1 AND name = ?2 AND version = ?3 RETURNING id"
        }
    })?;
    let (key, due) = (&one.key, one.due.map(Timestamp::as_millis));
    let (state, guard) = (&one.state, &one.guard);
    let id = |row: &rusqlite::Row<'_>| row.get(0);
    let changed = match one.due_stands {
        true => statement.query_row(
            params![key.partition, key.name, one.expected, state, guard],
            id,
        ),
        false => statement.query_row(
            params![key.partition, key.name, one.expected, state, guard, due],
            id,
        ),
    };
    changed.optional()
}

fn take(tx: &Transaction<'_>, source: &AggregateKey, firsts: &[u64]) -> rusqlite::Result<()> {
    let id: Option<i64> = tx
        .prepare_cached("SELECT id FROM sources WHERE partition = ?1 AND name = ?2")?
        .query_row(params![source.partition, source.name], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Ok(()) };
    let mut delete =
        tx.prepare_cached("DELETE FROM queue WHERE source = ?1 AND first = ?2 RETURNING count")?;
    let mut taken = 0;
    for first in firsts {
        let count = delete.query_row(params![id, first], |row| row.get(0));
        taken += count.optional()?.unwrap_or(0u64);
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
