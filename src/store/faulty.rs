//! A store whose every call passes two dangerous windows. It keeps the contract: what fails before is
//! certainly not done, what fails after is done and unknown.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::core::ids::{AggregateKey, CaseId};
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::time::Timestamp;
use crate::fault::{Injected, When, window};

use super::*;

pub struct FaultyStore(pub Arc<dyn Store>);

fn lost(injected: Injected) -> StoreError {
    StoreError::Unavailable(injected.to_string())
}

/// Both windows around a read.
async fn around<T>(
    call: &str,
    inner: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    window(call, When::Before).await.map_err(lost)?;
    let found = inner.await?;
    window(call, When::After).await.map_err(lost)?;
    Ok(found)
}

/// Both windows around a write.
async fn around_write<T>(
    call: &str,
    inner: impl Future<Output = Result<T, WriteError>>,
) -> Result<T, WriteError> {
    let before = window(call, When::Before).await;
    before.map_err(|injected| WriteError::Failed(injected.to_string()))?;
    let done = inner.await?;
    let after = window(call, When::After).await;
    after.map_err(|injected| WriteError::Unknown(injected.to_string()))?;
    Ok(done)
}

/// The rarest thing in a batch names it.
fn kind_of(batch: &Batch) -> &'static str {
    let has = |pass: &dyn Fn(&Write) -> bool| batch.writes.iter().any(pass);
    if has(&|write| matches!(write, Write::Commit(commit) if !commit.births.is_empty())) {
        "store.write.birth"
    } else if has(&|write| matches!(write, Write::Accept(_))) {
        "store.write.accept"
    } else if has(&|write| matches!(write, Write::Commit(_))) {
        "store.write.commit"
    } else {
        "store.write.take"
    }
}

fn kind_of_rows(rows: &[RowChange]) -> &'static str {
    match rows.first().and_then(RowChange::row) {
        Some(row) if row.collection == Collection::ChatMessages => "store.put_rows.chat",
        Some(row) if row.id.starts_with("cursor/") => "store.put_rows.cursor",
        _ => "store.put_rows.other",
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn partitions(&self) -> u16 {
        self.0.partitions()
    }

    fn is_another(&self) -> bool {
        self.0.is_another()
    }

    async fn begin_anew(&self) {
        self.0.begin_anew().await;
    }

    async fn claim(
        &self,
        partition: u16,
        node: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Claim, StoreError> {
        around("store.claim", self.0.claim(partition, node, now, ttl)).await
    }

    async fn renew(
        &self,
        partition: u16,
        node: &str,
        epoch: Epoch,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let renew = self.0.renew(partition, node, epoch, now, ttl);
        around("store.renew", renew).await
    }

    async fn release(&self, partition: u16, node: &str, epoch: Epoch) -> Result<(), StoreError> {
        around("store.release", self.0.release(partition, node, epoch)).await
    }

    async fn write(&self, batch: &Batch) -> Result<(), WriteError> {
        around_write(kind_of(batch), self.0.write(batch)).await
    }

    async fn load_all(&self, partition: u16, names: &[&str]) -> Result<Vec<Found>, StoreError> {
        around("store.load", self.0.load_all(partition, names)).await
    }

    async fn due(
        &self,
        partition: u16,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        around("store.due", self.0.due(partition, now, limit)).await
    }

    async fn queue(&self, source: &AggregateKey) -> Result<Queue, StoreError> {
        around("store.queue", self.0.queue(source)).await
    }

    async fn queued(
        &self,
        source: &AggregateKey,
        after: u64,
        limit: usize,
    ) -> Result<Vec<QueuedChunk>, StoreError> {
        around("store.queued", self.0.queued(source, after, limit)).await
    }

    async fn sources(&self, partition: u16) -> Result<Vec<AggregateKey>, StoreError> {
        around("store.sources", self.0.sources(partition)).await
    }

    async fn journal(
        &self,
        partition: u16,
        after: u64,
        limit: usize,
    ) -> Result<Vec<JournalRow>, StoreError> {
        let read = self.0.journal(partition, after, limit);
        around("store.journal", read).await
    }

    async fn journal_ends(&self, partition: u16) -> Result<(Head, Head), StoreError> {
        around("store.journal_ends", self.0.journal_ends(partition)).await
    }

    async fn timeline(&self, case: CaseId) -> Result<Vec<JournalRow>, StoreError> {
        around("store.timeline", self.0.timeline(case)).await
    }

    async fn named(&self, collection: Collection, ids: &[&str]) -> Result<Vec<Row>, StoreError> {
        around("store.row", self.0.named(collection, ids)).await
    }

    async fn row_in(
        &self,
        partition: u16,
        collection: Collection,
        id: &str,
    ) -> Result<Option<Row>, StoreError> {
        around("store.row", self.0.row_in(partition, collection, id)).await
    }

    async fn rows_in(&self, partition: u16, query: &RowQuery) -> Result<RowPage, StoreError> {
        around("store.rows", self.0.rows_in(partition, query)).await
    }

    async fn rows(&self, query: &RowQuery) -> Result<RowPage, StoreError> {
        around("store.rows", self.0.rows(query)).await
    }

    async fn count(
        &self,
        collection: Collection,
        field: &'static str,
        value: &str,
    ) -> Result<u64, StoreError> {
        let count = self.0.count(collection, field, value);
        around("store.count", count).await
    }

    async fn put_rows(
        &self,
        partition: u16,
        rows: &[RowChange],
        if_absent: bool,
    ) -> Result<usize, WriteError> {
        let put = self.0.put_rows(partition, rows, if_absent);
        around_write(kind_of_rows(rows), put).await
    }

    async fn trim(&self, partition: u16, keep: &Retention) -> Result<bool, StoreError> {
        around("store.trim", self.0.trim(partition, keep)).await
    }

    async fn health(&self) -> Health {
        let _ = window("store.health", When::Before).await;
        let health = self.0.health().await;
        let _ = window("store.health", When::After).await;
        health
    }

    async fn close(&self) {
        let _ = window("store.close", When::Before).await;
        self.0.close().await;
        let _ = window("store.close", When::After).await;
    }
}
