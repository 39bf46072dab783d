//! The other sides of the web chat: a store of rows in memory that can be made to fail, and an inbox that answers as
//! told and remembers what it was given.
#![allow(clippy::unwrap_used)] // a fake that fails fails its test

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use securitybot::core::conversation::Reply;
use securitybot::core::ids::{AggregateKey, CaseId};
use securitybot::core::machine::{Collection, Row, RowChange};
use securitybot::core::time::Timestamp;
use securitybot::plugins::chat::{ChatAction, ChatEvent, Inbox, InboxError};
use securitybot::store::{
    Batch, Claim, Due, Epoch, Found, Head, Health, JournalRow, Queue, QueuedChunk, Retention,
    RowPage, RowQuery, Store, StoreError, WriteError,
};

#[derive(Default)]
pub struct FakeStore {
    pub rows: Mutex<BTreeMap<(Collection, String), Row>>,
    pub down: AtomicBool,
    /// Calls of `put_rows`.
    pub puts: AtomicUsize,
}

impl FakeStore {
    /// Everything that is stored, as text.
    pub fn dump(&self) -> String {
        format!("{:?}", self.rows.lock().unwrap())
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.down.load(Ordering::SeqCst) {
            true => Err(unavailable()),
            false => Ok(()),
        }
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("the fake is down".to_owned())
}

#[async_trait]
impl Store for FakeStore {
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn partitions(&self) -> u16 {
        8
    }

    async fn named(&self, collection: Collection, ids: &[&str]) -> Result<Vec<Row>, StoreError> {
        self.check()?;
        let rows = self.rows.lock().unwrap();
        let row = |id: &&str| rows.get(&(collection, (*id).to_owned())).cloned();
        Ok(ids.iter().filter_map(row).collect())
    }

    async fn rows(&self, query: &RowQuery) -> Result<RowPage, StoreError> {
        self.check()?;
        let rows = self.rows.lock().unwrap();
        let wanted = |row: &&Row| {
            row.collection == query.collection
                && query.fields.iter().all(|field| row.fields.contains(field))
        };
        let mut rows: Vec<_> = rows.values().filter(wanted).cloned().collect();
        rows.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
        rows.truncate(query.limit);
        Ok(RowPage { rows, next: None })
    }

    async fn put_rows(
        &self,
        _partition: u16,
        changes: &[RowChange],
        if_absent: bool,
    ) -> Result<usize, WriteError> {
        self.check()
            .map_err(|error| WriteError::Failed(error.to_string()))?;
        self.puts.fetch_add(1, Ordering::SeqCst);
        let mut rows = self.rows.lock().unwrap();
        let mut written = 0;
        for change in changes {
            match change {
                RowChange::Put(row) | RowChange::New(row) => {
                    let key = (row.collection, row.id.clone());
                    if !(if_absent && rows.contains_key(&key)) {
                        rows.insert(key, row.clone());
                        written += 1;
                    }
                }
                RowChange::Delete { collection, id } => {
                    rows.remove(&(*collection, id.clone()));
                    written += 1;
                }
            }
        }
        Ok(written)
    }

    async fn claim(&self, _: u16, _: &str, _: Timestamp, _: Duration) -> Result<Claim, StoreError> {
        Err(unavailable())
    }

    async fn renew(
        &self,
        _: u16,
        _: &str,
        _: Epoch,
        _: Timestamp,
        _: Duration,
    ) -> Result<bool, StoreError> {
        Err(unavailable())
    }

    async fn release(&self, _: u16, _: &str, _: Epoch) -> Result<(), StoreError> {
        Err(unavailable())
    }

    async fn write(&self, _: &Batch) -> Result<(), WriteError> {
        Err(WriteError::Fenced)
    }

    async fn load_all(&self, _: u16, _: &[&str]) -> Result<Vec<Found>, StoreError> {
        Err(unavailable())
    }

    async fn due(&self, _: u16, _: Timestamp, _: usize) -> Result<Vec<Due>, StoreError> {
        Err(unavailable())
    }

    async fn queue(&self, _: &AggregateKey) -> Result<Queue, StoreError> {
        Err(unavailable())
    }

    async fn queued(
        &self,
        _: &AggregateKey,
        _: u64,
        _: usize,
    ) -> Result<Vec<QueuedChunk>, StoreError> {
        Err(unavailable())
    }

    async fn sources(&self, _: u16) -> Result<Vec<AggregateKey>, StoreError> {
        Err(unavailable())
    }

    async fn journal(&self, _: u16, _: u64, _: usize) -> Result<Vec<JournalRow>, StoreError> {
        Err(unavailable())
    }

    async fn journal_ends(&self, _: u16) -> Result<(Head, Head), StoreError> {
        Err(unavailable())
    }

    async fn timeline(&self, _: CaseId) -> Result<Vec<JournalRow>, StoreError> {
        Err(unavailable())
    }

    async fn trim(&self, _: u16, _: &Retention) -> Result<bool, StoreError> {
        Err(unavailable())
    }

    async fn health(&self) -> Health {
        Health::default()
    }

    async fn close(&self) {}
}

/// What reached the inbox, codes in the clear: only here may they be seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    pub event_id: String,
    pub user: String,
    pub what: String,
}

#[derive(Default)]
pub struct FakeInbox {
    pub taken: Mutex<Vec<Taken>>,
    /// The next answers; afterwards `Taken`.
    pub replies: Mutex<VecDeque<Result<Reply, InboxError>>>,
}

impl FakeInbox {
    pub fn reply(&self, reply: Reply) {
        self.replies.lock().unwrap().push_back(Ok(reply));
    }

    pub fn fail(&self) {
        let error = InboxError::TryAgain("the store is down".to_owned());
        self.replies.lock().unwrap().push_back(Err(error));
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }
}

#[async_trait]
impl Inbox for FakeInbox {
    async fn deliver(&self, event: ChatEvent) -> Result<Reply, InboxError> {
        let what = match event.action {
            ChatAction::Pressed {
                case,
                revision,
                answer,
                shown,
            } => match shown {
                true => format!("pressed {case} {revision} {answer:?}, shown"),
                false => format!("pressed {case} {revision} {answer:?}"),
            },
            ChatAction::Typed { text } => format!("typed {}", text.raw()),
            ChatAction::PushRequested {
                case,
                ticks,
                explanation,
            } => format!("push {case} {} {:?}", ticks.len(), explanation.raw()),
            ChatAction::Submitted {
                case,
                ticks,
                explanation,
                code,
            } => format!(
                "submitted {case} {} {:?} {:?}",
                ticks.len(),
                explanation.raw(),
                code.as_ref().map(|code| code.expose_secret())
            ),
        };
        self.taken.lock().unwrap().push(Taken {
            event_id: event.event_id,
            user: event.from.user,
            what,
        });
        self.replies
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Ok(Reply::Taken))
    }
}
