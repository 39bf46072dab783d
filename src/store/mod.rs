//! Where everything durable lives. One trait, two stores (`sqlite/`, `redis/`), one conformance suite
//! (`conformance/`) that both must pass, and a model of them in memory (`memory/`) to compare with.
//!
//! # Contract
//!
//! A [`Batch`] is written whole or not at all. After `Ok` it is durable as far as the store can promise
//! (SQLite: fsync; Redis: its `appendfsync`). After [`WriteError::Refused`] nothing of it was written
//! and the named writes are why. After [`WriteError::Unknown`] it may or may not be there, or still
//! arrive: the caller must forget what it believed and read again. Reads see every write that returned.
//!
//! Writes of one batch see each other in their order; a refused one is not seen by those after it.
//! A row's id is unique in its collection and is always written through the same partition.
//! A case's timeline is an index into the journal; what trimming drops there moves to the case, so no
//! record is stored twice.
//! Giving a lease up raises the epoch too, so that a write after [`Store::release`] is fenced.

pub mod conformance;
#[cfg(feature = "fault-injection")]
pub mod faulty;
pub mod journal;
mod lists;
pub mod memory;
pub mod redis;
mod shape;
pub mod sqlite;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::core::ids::{AggregateKey, CaseId};
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::time::Timestamp;

/// A SHA-256.
pub type Hash = [u8; 32];

/// Rises each time a partition changes hands; a write with an older one is fenced.
pub type Epoch = u64;

/// The journal's end in one partition: the last record's number and its hash (hex SHA-256 over the
/// previous hash, the number and the body; see `store/journal.rs`). The empty journal is `(0, "")`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub seq: u64,
    pub hash: String,
}

/// What [`Store::claim`] grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub epoch: Epoch,
    pub head: Head,
}

/// One group commit of one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub partition: u16,
    pub epoch: Epoch,
    /// Must be the store's head, or the batch is [`WriteError::Fenced`].
    pub head_before: Head,
    pub writes: Vec<Write>,
    /// Journal records of all writes, chained from `head_before`.
    pub journal: Vec<JournalRow>,
    /// The writer's clock, for expiry of marks.
    pub now: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    Commit(Commit),
    Accept(Accept),
    /// Chunks leave the queue, once the receivers of all their alerts have committed these. Each by the number of
    /// its first alert; a number that no chunk begins with takes nothing, so that taking twice is harmless.
    Take {
        source: AggregateKey,
        firsts: Vec<u64>,
    },
}

/// The next state of one aggregate with everything that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    pub key: AggregateKey,
    /// The version the caller stepped from; 0: the aggregate must not exist. The next is `expected + 1`.
    pub expected: u64,
    /// The encoded checkpoint (state and outbox, JSON).
    pub state: String,
    /// The encoded [`crate::core::machine::Guard`].
    pub guard: String,
    pub pieces: PieceChanges,
    /// When it must be woken; `None`: never by time.
    pub due: Option<Timestamp>,
    /// The store has that time already, from the commit that `expected` names: there is nothing to write.
    pub due_stands: bool,
    pub rows: Vec<RowChange>,
    /// Other aggregates of the same partition created by this commit (escalations): version 1.
    pub births: Vec<Birth>,
}

/// A part of an aggregate's state that is stored by itself. It is written once, under a number that the aggregate did
/// not use before, and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    pub number: u64,
    /// JSON.
    pub body: String,
}

/// What a commit does to the pieces of its aggregate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PieceChanges {
    pub written: Vec<Piece>,
    /// The numbers of all that belong to the state from now on, in ascending order.
    pub held: Vec<u64>,
    /// The numbers of those that belonged to the state before. A store that can be left with half a commit keeps them
    /// until they are named as `dropped`.
    pub freed: Vec<u64>,
    /// Those that an earlier commit, which stands, has freed.
    pub dropped: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Birth {
    pub key: AggregateKey,
    pub state: String,
    pub due: Option<Timestamp>,
    pub rows: Vec<RowChange>,
}

/// The accepting commit of a few requests or one poll. Its alerts, if it has any, enter the queue as one chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Accept {
    pub source: AggregateKey,
    /// The number of the first alert; must be the queue's next number. Numbers never restart.
    pub first: u64,
    pub alerts: Vec<QueuedAlert>,
    pub marks: Vec<Mark>,
    /// The Poller's place after these alerts; replaces the stored one.
    pub cursor: Option<String>,
    pub rows: Vec<RowChange>,
}

/// One accepted alert on its way to its receiver. Numbers run from `Accept::first` in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedAlert {
    pub number: u64,
    /// The conversation that takes it, fixed at acceptance: `employee/alice`, `unknown/mallory`.
    pub receiver: String,
    /// The alert's JSON.
    pub body: String,
}

/// What one [`Accept`] put into a queue: kept as one value, and let go as one by [`Write::Take`]. Of which of its
/// alerts were committed nothing is kept: after a crash the whole of it is delivered again, and a conversation skips
/// the numbers up to the last one that it took, which stands in its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedChunk {
    /// The number of its first alert; those of the others follow.
    pub first: u64,
    /// How many alerts it has, also when they cannot be read any more; at least 1.
    pub count: u64,
    /// Or why they cannot be read.
    pub alerts: Result<Vec<QueuedAlert>, String>,
}

impl QueuedChunk {
    /// The number of its last alert.
    pub fn last(&self) -> u64 {
        self.first.saturating_add(self.count.saturating_sub(1))
    }
}

/// A dedup mark: it says that an identity was accepted with that body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Of the identity; unique within a source.
    pub identity: Hash,
    /// Of the body before defaults.
    pub body: Hash,
    pub expires: Timestamp,
    /// `true`: the mark exists, move its expiry. `false`: it must not exist (or be expired at `now`).
    pub renew: bool,
    /// The alert's id, for answers.
    pub alert: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRow {
    pub seq: u64,
    /// Ties it to a case's timeline.
    pub case: Option<CaseId>,
    pub at: Timestamp,
    /// The record's JSON.
    pub body: String,
    pub hash: String,
}

/// Why one write of a batch could not be made. The others may be sent again without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The aggregate (or a birth, or the queue's next number) is at another version.
    Conflict { found: u64 },
    /// Marks that stand already: index into `Accept::marks` and whether the body is the same. Two
    /// equal identities within one `Accept` are named too (the later one).
    Duplicate(Vec<(usize, Seen)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Same,
    /// The same identity with another body.
    Altered,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Nothing was written; each refused write by its index in the batch.
    #[error("{} of the batch's writes were refused", .0.len())]
    Refused(Vec<(usize, Refusal)>),
    /// Another node owns the partition, or the journal went on without us. Nothing was written.
    #[error("the partition is owned by another node or its journal has moved")]
    Fenced,
    /// Nothing was written, for certain: disk full, no permission, script refused.
    #[error("the store refused to write: {0}")]
    Failed(String),
    /// It may have been written, or may still be.
    #[error("the outcome of a write is unknown: {0}")]
    Unknown(String),
    /// Written, but by fewer replicas than `min_replicas`: committed, but no producer may be told so.
    #[error("written, but only {got} of {wanted} replicas have it")]
    Unreplicated { got: u32, wanted: u32 },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// Something stored cannot be read: names the key and what was expected.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
    /// The store belongs to another set-up: partition count, newer schema, held by another process.
    #[error("{0}")]
    Mismatch(String),
}

/// An aggregate as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub version: u64,
    pub state: String,
    pub guard: String,
    /// In the order of their numbers; one that is missing is not there.
    pub pieces: Vec<Piece>,
}

/// What stands under a name; `None`: nothing.
pub type Found = Result<Option<Stored>, StoreError>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub key: AggregateKey,
    pub version: u64,
    pub at: Timestamp,
}

/// What is known of a source's queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// The number the next accepted alert gets; 1 for a new source.
    pub next: u64,
    /// How many alerts its chunks hold.
    pub backlog: u64,
    pub cursor: Option<String>,
}

/// A list, newest first by (`at`, id).
#[derive(Clone, Debug, PartialEq)]
pub struct RowQuery {
    pub collection: Collection,
    /// All must match.
    pub fields: Vec<(&'static str, String)>,
    /// `since <= at < until`.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// 1 to 500.
    pub limit: usize,
    /// From an earlier answer.
    pub cursor: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowPage {
    pub rows: Vec<Row>,
    pub next: Option<String>,
}

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Reasons why nothing can be made durable now. Empty: ready.
    pub failing: Vec<String>,
    /// What is weaker than it should be (`appendfsync everysec`, no AOF ...).
    pub degraded: Vec<String>,
}

#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// `sqlite`, `redis`.
    fn kind(&self) -> &'static str;

    fn partitions(&self) -> u16;

    /// Whether another server stands behind it than the one that was read so far: it may hold less than that one
    /// said yes to, so whatever is in memory may be ahead of it. Nothing can be written until [`Store::begin_anew`].
    fn is_another(&self) -> bool {
        false
    }

    /// Everybody who had read of it is gone.
    async fn begin_anew(&self) {}

    /// Takes the lease of a partition for `node` until `now + ttl` and raises its epoch. A node takes
    /// its own lease again at once. `Err(Mismatch)` while another node's lease stands.
    async fn claim(
        &self,
        partition: u16,
        node: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Claim, StoreError>;

    /// Extends the lease; `false` when it is no longer ours.
    async fn renew(
        &self,
        partition: u16,
        node: &str,
        epoch: Epoch,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<bool, StoreError>;

    /// Gives the lease up at an orderly end.
    async fn release(&self, partition: u16, node: &str, epoch: Epoch) -> Result<(), StoreError>;

    async fn write(&self, batch: &Batch) -> Result<(), WriteError>;

    /// What stands under these names, an answer for each in their order. One that is unreadable is
    /// [`StoreError::Corrupt`] by itself and spoils no other; after an error of the whole nothing is known of any. Each
    /// is of one commit, with its pieces; two of them may be of different ones.
    async fn load_all(&self, partition: u16, names: &[&str]) -> Result<Vec<Found>, StoreError>;

    /// [`Store::load_all`] of one.
    async fn load(&self, key: &AggregateKey) -> Found {
        let mut found = self.load_all(key.partition, &[key.name.as_str()]).await?;
        found.pop().expect("there is an answer for each name")
    }

    /// Aggregates with `due <= now`, earliest first.
    async fn due(
        &self,
        partition: u16,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError>;

    async fn queue(&self, source: &AggregateKey) -> Result<Queue, StoreError>;

    /// Chunks whose first number is above `after`, in order: whole ones, until they hold `limit` alerts or more. One
    /// that is damaged is among them and says so; it must not keep the others back.
    async fn queued(
        &self,
        source: &AggregateKey,
        after: u64,
        limit: usize,
    ) -> Result<Vec<QueuedChunk>, StoreError>;

    /// The names of all sources of a partition that ever had a queue, for the leftovers of sources
    /// that were taken out of the config.
    async fn sources(&self, partition: u16) -> Result<Vec<AggregateKey>, StoreError>;

    /// Journal records with a number above `after`, in order.
    async fn journal(
        &self,
        partition: u16,
        after: u64,
        limit: usize,
    ) -> Result<Vec<JournalRow>, StoreError>;

    /// The head of the journal and the anchor below its oldest kept record.
    async fn journal_ends(&self, partition: u16) -> Result<(Head, Head), StoreError>;

    /// The records of one case, in order, as long as the case lives.
    async fn timeline(&self, case: CaseId) -> Result<Vec<JournalRow>, StoreError>;

    /// Of these ids the rows that there are, in any order.
    async fn named(&self, collection: Collection, ids: &[&str]) -> Result<Vec<Row>, StoreError>;

    async fn row(&self, collection: Collection, id: &str) -> Result<Option<Row>, StoreError> {
        Ok(self.named(collection, &[id]).await?.pop())
    }

    /// [`Store::row`] of what lies in this partition, if anywhere.
    async fn row_in(
        &self,
        _partition: u16,
        collection: Collection,
        id: &str,
    ) -> Result<Option<Row>, StoreError> {
        self.row(collection, id).await
    }

    async fn rows(&self, query: &RowQuery) -> Result<RowPage, StoreError>;

    /// [`Store::rows`] where all that match lie in this partition.
    async fn rows_in(&self, _partition: u16, query: &RowQuery) -> Result<RowPage, StoreError> {
        self.rows(query).await
    }

    /// How many rows have this value in that field. A store that keeps an index answers from it.
    async fn count(
        &self,
        collection: Collection,
        field: &'static str,
        value: &str,
    ) -> Result<u64, StoreError> {
        let mut query = RowQuery {
            collection,
            fields: vec![(field, value.to_owned())],
            since: None,
            until: None,
            limit: 500,
            cursor: None,
        };
        let mut count = 0;
        loop {
            let page = self.rows(&query).await?;
            count += page.rows.len() as u64;
            query.cursor = page.next;
            if query.cursor.is_none() {
                return Ok(count);
            }
        }
    }

    /// Writes rows outside any commit, each idempotent by id: chat history, tokens, documents. With
    /// `if_absent` a row that exists is left alone; answers how many were written.
    async fn put_rows(
        &self,
        partition: u16,
        rows: &[RowChange],
        if_absent: bool,
    ) -> Result<usize, WriteError>;

    /// Drops what retention allows: expired rows and marks, journal records older than
    /// `journal_before` and numbered up to `through` (the slowest sink's cursor), closed cases older
    /// than `cases_before`. Work is bounded per call; `true`: there is more.
    async fn trim(&self, partition: u16, keep: &Retention) -> Result<bool, StoreError>;

    async fn health(&self) -> Health;

    /// Flushes and closes at an orderly end.
    async fn close(&self);
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub now: Timestamp,
    pub journal_before: Timestamp,
    pub journal_through: u64,
    pub cases_before: Timestamp,
}
