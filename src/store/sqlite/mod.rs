//! The embedded store: one SQLite file, no server to install, readable with tools operators know.
//!
//! One thread owns the writing connection, so that writers never wait for SQLite's lock and a batch
//! is one transaction with one fsync (WAL, `synchronous=FULL`). Another writes the log back into the file beside
//! it (`log.rs`). Reads have connections of their own and never wait for a write. Whoever opens the store holds the exclusive lock of its folder.

mod accept;
mod lease;
mod log;
mod put;
mod read;
mod rows;
mod schema;
mod trim;
mod write;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, Transaction};
use tokio::sync::oneshot;

use super::{
    Batch, Claim, Due, Epoch, Found, Head, Health, JournalRow, Queue, QueuedChunk, Retention,
    RowPage, RowQuery, Store, StoreError, WriteError, shape,
};
use crate::core::ids::{AggregateKey, CaseId};
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::time::Timestamp;
use log::Log;
use read::Readers;
use writer::Job;

pub struct SqliteStore {
    path: PathBuf,
    partitions: u16,
    /// `None` once closed.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Readers,
    /// Why the last write failed; a later one that works clears it.
    last_failure: Mutex<Option<String>>,
}

/// The writer thread did not answer.
enum Lost {
    /// The job was never handed over.
    Refused,
    /// It was, and may have been done.
    Unanswered,
}

impl SqliteStore {
    /// Opens the file, or makes it. Blocks: the file is checked before anything else runs.
    pub fn open(path: &Path, partitions: u16) -> Result<Self, StoreError> {
        shape::check_partitions(partitions)?;
        let mut conn = schema::open_writer(path, partitions)?;
        let mut log = Log::of(&mut conn, path)?;
        let (jobs, inbox) = mpsc::channel::<Job>();
        let writer = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || {
                writer::run(&mut conn, &inbox, &mut log);
                let file = log.close();
                // Closed in order: leave one whole file behind, without a log beside it.
                if let Err(error) =
                    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                {
                    tracing::warn!(%error, "the store's log could not be written back at the end");
                }
                drop(conn);
                drop(file);
            })
            .map_err(|e| StoreError::Unavailable(format!("no thread for the store: {e}")))?;
        Ok(Self {
            path: path.to_owned(),
            partitions,
            jobs: Mutex::new(Some(jobs)),
            writer: Mutex::new(Some(writer)),
            readers: Readers::new(path),
            last_failure: Mutex::new(None),
        })
    }

    /// Runs `job` on the writer thread, in the order of the calls. A caller that stops waiting does
    /// not stop the job.
    async fn on_writer<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, Lost> {
        let (reply, answer) = oneshot::channel();
        let job = Job::Alone(Box::new(move |conn| {
            let _ = reply.send(job(conn));
        }));
        self.hand_over(job)?;
        answer.await.map_err(|_| Lost::Unanswered)
    }

    fn hand_over(&self, job: Job) -> Result<(), Lost> {
        let jobs = locked(&self.jobs);
        let sent = jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { Ok(()) } else { Err(Lost::Refused) }
    }

    /// Writes; what others write at the same time may share the transaction.
    async fn writing<T: Send + 'static>(
        &self,
        body: impl Fn(&Transaction<'_>) -> Result<T, write::Stop> + Send + 'static,
    ) -> Result<T, WriteError> {
        let (reply, answer) = oneshot::channel();
        let write = writer::Write::new(body, reply);
        let result = match self.hand_over(Job::Shared(Box::new(write))) {
            Ok(()) => answer.await.unwrap_or_else(|_| {
                Err(WriteError::Unknown(
                    "the store's writer ended in the middle".to_owned(),
                ))
            }),
            Err(_) => Err(WriteError::Failed("the store is closed".to_owned())),
        };
        match &result {
            Err(WriteError::Failed(why) | WriteError::Unknown(why)) => {
                *locked(&self.last_failure) = Some(why.clone());
            }
            Ok(_) => *locked(&self.last_failure) = None,
            Err(_) => {}
        }
        result
    }

    async fn leasing<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.on_writer(job).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Unavailable("the store is closed".to_owned())),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error of a read, or of a lease.
fn unreadable(error: rusqlite::Error) -> StoreError {
    match (&error, error.sqlite_error_code()) {
        (_, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        | (
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
            | rusqlite::Error::IntegralValueOutOfRange(..),
            _,
        ) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn partitions(&self) -> u16 {
        self.partitions
    }

    async fn claim(
        &self,
        partition: u16,
        node: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Claim, StoreError> {
        let node = node.to_owned();
        self.leasing(move |conn| lease::claim(conn, partition, &node, now, ttl))
            .await
    }

    async fn renew(
        &self,
        partition: u16,
        node: &str,
        epoch: Epoch,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let node = node.to_owned();
        self.leasing(move |conn| lease::renew(conn, partition, &node, epoch, now.after(ttl)))
            .await
    }

    async fn release(&self, partition: u16, node: &str, epoch: Epoch) -> Result<(), StoreError> {
        let node = node.to_owned();
        self.leasing(move |conn| lease::release(conn, partition, &node, epoch))
            .await
    }

    async fn write(&self, batch: &Batch) -> Result<(), WriteError> {
        let head = shape::check(batch, self.partitions)?;
        // Another thread takes it and may outlive this call, so it needs its own copy.
        let prepared = write::Prepared::new(batch.clone(), head);
        self.writing(move |tx| write::write(tx, &prepared)).await
    }

    async fn load_all(&self, partition: u16, names: &[&str]) -> Result<Vec<Found>, StoreError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.readers
            .run(move |conn| read::load_all(conn, partition, &names))
            .await
    }

    async fn due(
        &self,
        partition: u16,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        self.readers
            .run(move |conn| read::due(conn, partition, now, limit))
            .await
    }

    async fn queue(&self, source: &AggregateKey) -> Result<Queue, StoreError> {
        let source = source.clone();
        self.readers
            .run(move |conn| read::queue(conn, &source))
            .await
    }

    async fn queued(
        &self,
        source: &AggregateKey,
        after: u64,
        limit: usize,
    ) -> Result<Vec<QueuedChunk>, StoreError> {
        let source = source.clone();
        self.readers
            .run(move |conn| read::queued(conn, &source, after, limit))
            .await
    }

    async fn sources(&self, partition: u16) -> Result<Vec<AggregateKey>, StoreError> {
        self.readers
            .run(move |conn| read::sources(conn, partition))
            .await
    }

    async fn journal(
        &self,
        partition: u16,
        after: u64,
        limit: usize,
    ) -> Result<Vec<JournalRow>, StoreError> {
        self.readers
            .run(move |conn| read::journal(conn, partition, after, limit))
            .await
    }

    async fn journal_ends(&self, partition: u16) -> Result<(Head, Head), StoreError> {
        self.readers
            .run(move |conn| read::journal_ends(conn, partition))
            .await
    }

    async fn timeline(&self, case: CaseId) -> Result<Vec<JournalRow>, StoreError> {
        self.readers
            .run(move |conn| read::timeline(conn, case))
            .await
    }

    async fn named(&self, collection: Collection, ids: &[&str]) -> Result<Vec<Row>, StoreError> {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        self.readers
            .run(move |conn| rows::named(conn, collection, &ids))
            .await
    }

    async fn rows(&self, query: &RowQuery) -> Result<RowPage, StoreError> {
        let query = query.clone();
        self.readers.run(move |conn| rows::rows(conn, &query)).await
    }

    async fn count(
        &self,
        collection: Collection,
        field: &'static str,
        value: &str,
    ) -> Result<u64, StoreError> {
        let value = value.to_owned();
        self.readers
            .run(move |conn| rows::count(conn, collection, field, &value))
            .await
    }

    async fn put_rows(
        &self,
        partition: u16,
        rows: &[RowChange],
        if_absent: bool,
    ) -> Result<usize, WriteError> {
        let rows = rows.to_vec();
        self.writing(move |tx| put::put_all(tx, partition, &rows, if_absent))
            .await
    }

    async fn trim(&self, partition: u16, keep: &Retention) -> Result<bool, StoreError> {
        let keep = keep.clone();
        self.leasing(move |conn| trim::trim(conn, partition, &keep))
            .await
    }

    async fn health(&self) -> Health {
        // After a failure a write has to work again before the store counts as ready.
        let failed = locked(&self.last_failure).is_some();
        let probe = self
            .writing(move |tx| if failed { write::probe(tx) } else { Ok(()) })
            .await;
        let failing = match probe {
            Ok(()) => Vec::new(),
            Err(error) => vec![format!("{}: {error}", self.path.display())],
        };
        Health {
            failing,
            degraded: Vec::new(),
        }
    }

    async fn close(&self) {
        locked(&self.jobs).take();
        self.readers.close();
        let writer = locked(&self.writer).take();
        if let Some(writer) = writer {
            let ended = tokio::task::spawn_blocking(move || writer.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                tracing::error!("the store's writer did not end in order");
            }
        }
    }
}
