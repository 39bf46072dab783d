//! Reads, on connections of their own: WAL gives each the state of the last commit, so nothing that
//! was answered as written can be missing, and a long list never holds up a write.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, OptionalExtension, Row, Statement, params};
use tokio::sync::Semaphore;

use super::{locked, schema, unreadable};
use crate::core::ids::{AggregateKey, CaseId};
use crate::core::time::Timestamp;
use crate::store::{
    Due, Found, Head, JournalRow, Piece, Queue, QueuedAlert, QueuedChunk, StoreError, Stored,
};

/// Reads at the same time; the machine has few cores and the file one disk.
const READERS: usize = 4;

pub(super) struct Readers {
    path: PathBuf,
    gate: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            gate: Arc::new(Semaphore::new(READERS)),
            idle: Arc::default(),
        }
    }

    /// Runs `read` on a thread that may block.
    pub async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = |_| StoreError::Unavailable("the store is closed".to_owned());
        let permit = self.gate.clone().acquire_owned().await.map_err(closed)?;
        let (path, idle) = (self.path.clone(), self.idle.clone());
        let work = move || {
            let _permit = permit;
            let waiting = locked(&idle).pop();
            let conn = match waiting {
                Some(conn) => conn,
                None => schema::open_reader(&path).map_err(unreadable)?,
            };
            let result = read(&conn);
            locked(&idle).push(conn);
            result
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| StoreError::Unavailable(format!("a read ended badly: {e}")))?
    }

    pub fn close(&self) {
        self.gate.close();
        locked(&self.idle).clear();
    }
}

pub(super) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// In one transaction: the file's locks are taken and given back once.
pub(super) fn load_all(
    conn: &Connection,
    partition: u16,
    names: &[String],
) -> Result<Vec<Found>, StoreError> {
    let reading = conn.unchecked_transaction().map_err(unreadable)?;
    let mut select = reading
        .prepare_cached(
            "SELECT a.version, a.state, a.guard, p.number, p.body
             FROM aggregates a LEFT JOIN pieces p ON p.aggregate = a.id
             WHERE a.partition = ?1 AND a.name = ?2 ORDER BY p.number",
        )
        .map_err(unreadable)?;
    let found = names
        .iter()
        .map(|name| load(&mut select, partition, name).map_err(unreadable));
    Ok(found.collect())
}

fn load(
    select: &mut Statement<'_>,
    partition: u16,
    name: &str,
) -> rusqlite::Result<Option<Stored>> {
    let mut rows = select.query(params![partition, name])?;
    let mut stored = None;
    while let Some(row) = rows.next()? {
        let stored = match &mut stored {
            Some(stored) => stored,
            None => stored.insert(Stored {
                version: row.get(0)?,
                state: row.get(1)?,
                guard: row.get(2)?,
                pieces: Vec::new(),
            }),
        };
        if let Some(number) = row.get(3)? {
            let body = row.get(4)?;
            stored.pieces.push(Piece { number, body });
        }
    }
    Ok(stored)
}

pub(super) fn due(
    conn: &Connection,
    partition: u16,
    now: Timestamp,
    most: usize,
) -> Result<Vec<Due>, StoreError> {
    (|| {
        conn.prepare_cached(
            "SELECT name, version, due FROM aggregates
             WHERE partition = ?1 AND due <= ?2 ORDER BY due, name LIMIT ?3",
        )?
        .query_map(params![partition, now.as_millis(), limit(most)], |row| {
            Ok(Due {
                key: AggregateKey {
                    partition,
                    name: row.get(0)?,
                },
                version: row.get(1)?,
                at: Timestamp::from_millis(row.get(2)?),
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()
    })()
    .map_err(unreadable)
}

pub(super) fn queue(conn: &Connection, source: &AggregateKey) -> Result<Queue, StoreError> {
    let found = (|| {
        conn.prepare_cached(
            "SELECT next, backlog, cursor FROM sources WHERE partition = ?1 AND name = ?2",
        )?
        .query_row(params![source.partition, source.name], |row| {
            Ok(Queue {
                next: row.get(0)?,
                backlog: row.get(1)?,
                cursor: row.get(2)?,
            })
        })
        .optional()
    })()
    .map_err(unreadable)?;
    Ok(found.unwrap_or(Queue {
        next: 1,
        ..Queue::default()
    }))
}

pub(super) fn queued(
    conn: &Connection,
    source: &AggregateKey,
    after: u64,
    most: usize,
) -> Result<Vec<QueuedChunk>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    (|| {
        let mut select = conn.prepare_cached(
            "SELECT q.first, q.count, q.alerts FROM sources s JOIN queue q ON q.source = s.id
             WHERE s.partition = ?1 AND s.name = ?2 AND q.first > ?3 ORDER BY q.first LIMIT ?4",
        )?;
        // Each has one alert or more.
        let mut rows = select.query(params![source.partition, source.name, after, limit(most)])?;
        let (mut chunks, mut held) = (Vec::new(), 0);
        while held < most
            && let Some(row) = rows.next()?
        {
            let (first, count) = (row.get(0)?, row.get(1)?);
            let alerts = row.get_ref(2)?.as_bytes()?;
            chunks.push(QueuedChunk {
                first,
                count,
                alerts: alerts_of(first, count, alerts),
            });
            held = held.saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
        }
        Ok(chunks)
    })()
    .map_err(unreadable)
}

fn alerts_of(first: u64, count: u64, stored: &[u8]) -> Result<Vec<QueuedAlert>, String> {
    let alerts: Vec<QueuedAlert> =
        serde_json::from_slice(stored).map_err(|error| error.to_string())?;
    let numbers = alerts.iter().map(|alert| alert.number);
    if numbers.eq((first..).take(usize::try_from(count).unwrap_or(usize::MAX))) {
        return Ok(alerts);
    }
    Err(format!(
        "it holds others than {count} alerts from number {first} on"
    ))
}

pub(super) fn sources(conn: &Connection, partition: u16) -> Result<Vec<AggregateKey>, StoreError> {
    (|| {
        conn.prepare_cached("SELECT name FROM sources WHERE partition = ?1 ORDER BY name")?
            .query_map([partition], |row| {
                Ok(AggregateKey {
                    partition,
                    name: row.get(0)?,
                })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
    })()
    .map_err(unreadable)
}

pub(super) fn journal(
    conn: &Connection,
    partition: u16,
    after: u64,
    most: usize,
) -> Result<Vec<JournalRow>, StoreError> {
    const LAST: u64 = (1 << 48) - 1;
    let (from, to) = (
        super::put::journal_id(partition, after.min(LAST)),
        super::put::journal_id(partition, LAST),
    );
    let rows = (|| {
        conn.prepare_cached(
            "SELECT seq, case_id, at, body, hash FROM journal
             WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
        )?
        .query_map(params![from, to, limit(most)], record)?
        .collect::<rusqlite::Result<Vec<_>>>()
    })();
    rows.map_err(unreadable)
}

fn record(row: &Row<'_>) -> rusqlite::Result<JournalRow> {
    let case: Option<String> = row.get(1)?;
    Ok(JournalRow {
        seq: row.get(0)?,
        case: case.as_deref().and_then(CaseId::parse),
        at: Timestamp::from_millis(row.get(2)?),
        body: row.get(3)?,
        hash: row.get(4)?,
    })
}

pub(super) fn journal_ends(conn: &Connection, partition: u16) -> Result<(Head, Head), StoreError> {
    let found = (|| {
        conn.prepare_cached(
            "SELECT head_seq, head_hash, anchor_seq, anchor_hash FROM leases WHERE partition = ?1",
        )?
        .query_row([partition], |row| {
            let head = |from: usize| {
                Ok::<_, rusqlite::Error>(Head {
                    seq: row.get(from)?,
                    hash: row.get(from + 1)?,
                })
            };
            Ok((head(0)?, head(2)?))
        })
        .optional()
    })();
    found.map(Option::unwrap_or_default).map_err(unreadable)
}

/// What trimming moved aside, then what is still in the journal; one statement, so that a record on
/// its way from one to the other is seen once.
pub(super) fn timeline(conn: &Connection, case: CaseId) -> Result<Vec<JournalRow>, StoreError> {
    (|| {
        conn.prepare_cached(
            "SELECT seq, case_id, at, body, hash FROM timeline WHERE case_id = ?1
             UNION ALL SELECT seq, case_id, at, body, hash FROM journal WHERE case_id = ?1
             ORDER BY seq",
        )?
        .query_map([case.to_string()], record)?
        .collect::<rusqlite::Result<Vec<_>>>()
    })()
    .map_err(unreadable)
}
