//! The chat's history as rows of the store: what was sent under which key, and what the employee wrote. It survives
//! restarts, and sending twice under one key stays one message.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::ids::{AggregateKey, CaseId};
use crate::core::machine::{Collection, Row};
use crate::core::time::Timestamp;
use crate::messages::Rendered;
use crate::store::{RowQuery, Store, StoreError, WriteError};

use super::tokens::digest;
use super::writer::Writer;

/// The field by which a page finds its messages.
const EMPLOYEE: &str = "employee";
/// Beside it on messages with buttons or a form, so that a page finds these however old they are.
const LIVE_FOR: &str = "live_for";
/// As much as anybody scrolls; older messages stay in the journal.
const SHOWN: usize = 200;
/// Chats that share one clock, so many clocks.
const CLOCKS: usize = 1024;
/// A clock that is ahead by more was ahead before the system's clock was set back.
const AHEAD_MS: i64 = 1_000;

/// One message in an employee's chat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "from")]
pub(super) enum Entry<'a> {
    Bot { message: Cow<'a, Rendered> },
    Employee { text: String },
}

impl Entry<'_> {
    fn is_live(&self) -> bool {
        match self {
            Self::Bot { message } => !message.buttons.is_empty() || message.form.is_some(),
            Self::Employee { .. } => false,
        }
    }

    pub(super) fn into_owned(self) -> Entry<'static> {
        match self {
            Self::Bot { message } => Entry::Bot {
                message: Cow::Owned(message.into_owned()),
            },
            Self::Employee { text } => Entry::Employee { text },
        }
    }

    /// `None` for a row that cannot be read.
    pub(super) fn of(row: &Row) -> Option<Entry<'static>> {
        serde_json::from_str(&row.body)
            .inspect_err(
                |error| tracing::error!(id = row.id, %error, "a chat message is unreadable"),
            )
            .ok()
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum HistoryError {
    #[error(transparent)]
    Read(#[from] StoreError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("a chat message is not readable: {0}")]
    Body(#[from] serde_json::Error),
}

pub(super) struct History {
    store: Arc<dyn Store>,
    writer: Writer,
    retention: Duration,
    clocks: Clocks,
}

impl History {
    pub(super) fn new(store: Arc<dyn Store>, retention: Duration) -> Self {
        Self {
            writer: Writer::new(store.clone()),
            store,
            retention,
            clocks: Clocks::default(),
        }
    }

    /// The id of the message that is sent to `user` under `key`, for ever.
    pub(super) fn id(user: &str, key: &str) -> String {
        let mut id = digest(&["message", user, key]);
        id.truncate(32);
        id
    }

    /// The row now stands; `true` when this call made it, else the earlier one is returned.
    pub(super) async fn add(
        &self,
        user: &str,
        key: &str,
        entry: &Entry<'_>,
        at: Timestamp,
    ) -> Result<(Row, bool), HistoryError> {
        let row = self.new_row(user, key, entry, at)?;
        if self.write(user, row.clone(), true).await? > 0 {
            return Ok((row, true));
        }
        let stored = self.read(user, &row.id).await?;
        let ours = stored.as_ref() == Some(&row);
        Ok((stored.unwrap_or(row), ours))
    }

    /// Replaces the content; place and time stay. `None`: this employee has no such message.
    pub(super) async fn replace(
        &self,
        user: &str,
        id: &str,
        entry: &Entry<'_>,
    ) -> Result<Option<Row>, HistoryError> {
        let Some(stored) = self.get(user, id).await? else {
            return Ok(None);
        };
        let row = self.row(user, stored.id, entry, stored.at)?;
        self.write(user, row.clone(), false).await?;
        Ok(Some(row))
    }

    /// A message of this employee; anybody else's is as good as unknown.
    pub(super) async fn get(&self, user: &str, id: &str) -> Result<Option<Row>, HistoryError> {
        let row = self.read(user, id).await?;
        Ok(row.filter(|row| belongs(row, user)))
    }

    async fn read(&self, user: &str, id: &str) -> Result<Option<Row>, StoreError> {
        self.store
            .row_in(self.partition(user), Collection::ChatMessages, id)
            .await
    }

    /// Where the employee's conversation is: its commits write and change the same rows.
    fn partition(&self, user: &str) -> u16 {
        AggregateKey::employee(&user.into(), self.store.partitions()).partition
    }

    /// The newest, and what still has buttons or a form. Oldest first; without what cannot be read.
    pub(super) async fn shown(
        &self,
        user: &str,
    ) -> Result<Vec<(Row, Entry<'static>)>, HistoryError> {
        let newest = self.newest(EMPLOYEE, user).await?;
        let older = match newest.last() {
            Some(oldest) if newest.len() == SHOWN => {
                let mut live = self.newest(LIVE_FOR, user).await?;
                live.retain(|row| (row.at, &row.id) < (oldest.at, &oldest.id));
                live
            }
            _ => Vec::new(),
        };
        let rows = older.into_iter().rev().chain(newest.into_iter().rev());
        Ok(rows
            .filter(|row| belongs(row, user))
            .filter_map(|row| Entry::of(&row).map(|entry| (row, entry)))
            .collect())
    }

    /// Newest first.
    async fn newest(&self, field: &'static str, user: &str) -> Result<Vec<Row>, HistoryError> {
        let query = RowQuery {
            collection: Collection::ChatMessages,
            fields: vec![(field, user.to_owned())],
            since: None,
            until: None,
            limit: SHOWN,
            cursor: None,
        };
        let page = self.store.rows_in(self.partition(user), &query).await?;
        Ok(page.rows)
    }

    /// Whether one of this employee's messages is about the case.
    pub(super) async fn is_about(&self, user: &str, case: CaseId) -> Result<bool, HistoryError> {
        let about = |entry: &Entry| match entry {
            Entry::Bot { message } => message.case == Some(case),
            Entry::Employee { .. } => false,
        };
        let shown = self.shown(user).await?;
        Ok(shown.iter().any(|(_, entry)| about(entry)))
    }

    /// The row of a new message, to be committed by others: nobody was sent anything under this key yet.
    pub(super) fn new_row(
        &self,
        user: &str,
        key: &str,
        entry: &Entry<'_>,
        at: Timestamp,
    ) -> Result<Row, HistoryError> {
        let at = self.clocks.next(user, at);
        self.row(user, Self::id(user, key), entry, at)
    }

    pub(super) fn row(
        &self,
        user: &str,
        id: String,
        entry: &Entry<'_>,
        at: Timestamp,
    ) -> Result<Row, HistoryError> {
        let mut fields = vec![(EMPLOYEE, user.to_owned())];
        if entry.is_live() {
            fields.push((LIVE_FOR, user.to_owned()));
        }
        Ok(Row {
            collection: Collection::ChatMessages,
            id,
            at,
            fields,
            body: serde_json::to_string(entry)?,
            expires: Some(at.after(self.retention)),
        })
    }

    async fn write(&self, user: &str, row: Row, if_absent: bool) -> Result<usize, HistoryError> {
        match self.writer.put(self.partition(user), row, if_absent).await {
            // Written; only a producer of alerts needs the replicas.
            Err(WriteError::Unreplicated { .. }) => Ok(1),
            other => Ok(other?),
        }
    }
}

/// Messages stand in the order of their times: of two in one chat and one millisecond, the later is a millisecond late.
struct Clocks {
    last_ms: Vec<AtomicI64>,
    hasher: RandomState,
}

impl Default for Clocks {
    fn default() -> Self {
        Self {
            last_ms: (0..CLOCKS).map(|_| AtomicI64::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Clocks {
    fn next(&self, user: &str, now: Timestamp) -> Timestamp {
        let last = &self.last_ms[self.hasher.hash_one(user) as usize % CLOCKS];
        let now = now.as_millis();
        let after = |last: i64| match (now..now + AHEAD_MS).contains(&last) {
            true => last + 1,
            false => now,
        };
        let before = last.update(Ordering::SeqCst, Ordering::SeqCst, after);
        Timestamp::from_millis(after(before))
    }
}

fn belongs(row: &Row, user: &str) -> bool {
    row.fields
        .iter()
        .any(|(name, value)| *name == EMPLOYEE && value == user)
}
