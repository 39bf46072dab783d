//! The contract in its plainest form: ordered maps behind one lock. The real stores are compared with
//! it step by step, and tests of the actors use it where a disk or a server would only slow them down.
//! Nothing here is durable, so no configuration can choose it.

mod keep;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::lists::{self, Place};
use super::{
    Batch, Claim, Due, Epoch, Found, Hash, Head, Health, JournalRow, Mark, Queue, QueuedAlert,
    QueuedChunk, Retention, RowPage, RowQuery, Store, StoreError, Stored, WriteError, shape,
};
use crate::core::ids::{AggregateKey, CaseId};
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::time::Timestamp;

pub struct MemoryStore {
    partitions: u16,
    all: Mutex<All>,
}

/// What a test can make the next [`Store::write`] or [`Store::load_all`] do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `Failed`, nothing written.
    Fail,
    /// `Unknown`, nothing written.
    Lose,
    /// `Unknown`, but written.
    WriteUnknown,
    /// Written by too few replicas.
    Unreplicate,
    /// Of a load: `Unavailable`.
    FailLoad,
}

#[derive(Default)]
struct All {
    parts: BTreeMap<u16, Part>,
    /// With the partition each was written through.
    rows: BTreeMap<(Collection, String), (u16, Row)>,
    faults: Vec<Fault>,
    /// Partitions that a test has out of order.
    broken: BTreeSet<u16>,
    loads: u64,
}

impl All {
    /// The next fault, if it is one of these.
    fn fault(&mut self, of: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let next = self.faults.first().is_some_and(of);
        next.then(|| self.faults.remove(0))
    }
}

#[derive(Default)]
struct Part {
    lease: Option<Lease>,
    head: Head,
    anchor: Head,
    aggregates: BTreeMap<String, (Stored, Option<Timestamp>)>,
    sources: BTreeMap<String, Source>,
    journal: BTreeMap<u64, JournalRow>,
    timeline: BTreeMap<CaseId, Vec<JournalRow>>,
}

struct Lease {
    node: String,
    until: Timestamp,
    epoch: Epoch,
}

struct Source {
    next: u64,
    cursor: Option<String>,
    /// By their first numbers.
    queue: BTreeMap<u64, Vec<QueuedAlert>>,
    marks: BTreeMap<Hash, Mark>,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            next: 1,
            cursor: None,
            queue: BTreeMap::new(),
            marks: BTreeMap::new(),
        }
    }
}

impl MemoryStore {
    pub fn new(partitions: u16) -> Self {
        Self {
            partitions,
            all: Mutex::default(),
        }
    }

    /// The next call of its kind meets this fault; several are met one after the other.
    pub fn inject(&self, fault: Fault) {
        self.all().faults.push(fault);
    }

    /// While `is_broken` nobody can read this partition's journal or put rows into it.
    pub fn set_broken(&self, partition: u16, is_broken: bool) {
        let mut all = self.all();
        match is_broken {
            true => all.broken.insert(partition),
            false => all.broken.remove(&partition),
        };
    }

    /// How often something was loaded so far, whatever each call asked for.
    pub fn loads(&self) -> u64 {
        self.all().loads
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part<T>(&self, partition: u16, read: impl FnOnce(&Part) -> T) -> T {
        read(self.all().parts.entry(partition).or_default())
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn kind(&self) -> &'static str {
        "memory"
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
        let mut all = self.all();
        let part = all.parts.entry(partition).or_default();
        let epoch = match &part.lease {
            Some(lease) if !lease.node.is_empty() && lease.node != node && lease.until > now => {
                return Err(StoreError::Mismatch(format!(
                    "partition {partition} is owned by node {} until {}",
                    lease.node, lease.until
                )));
            }
            Some(lease) => lease.epoch + 1,
            None => 1,
        };
        part.lease = Some(Lease {
            node: node.to_owned(),
            until: now.after(ttl),
            epoch,
        });
        Ok(Claim {
            epoch,
            head: part.head.clone(),
        })
    }

    async fn renew(
        &self,
        partition: u16,
        node: &str,
        epoch: Epoch,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let mut all = self.all();
        let lease = all.parts.entry(partition).or_default().lease.as_mut();
        Ok(lease
            .filter(|lease| lease.node == node && lease.epoch == epoch)
            .map(|lease| lease.until = now.after(ttl))
            .is_some())
    }

    async fn release(&self, partition: u16, node: &str, epoch: Epoch) -> Result<(), StoreError> {
        let mut all = self.all();
        let lease = all.parts.entry(partition).or_default().lease.as_mut();
        if let Some(lease) = lease.filter(|lease| lease.node == node && lease.epoch == epoch) {
            lease.node.clear();
            lease.epoch += 1;
        }
        Ok(())
    }

    async fn write(&self, batch: &Batch) -> Result<(), WriteError> {
        let head = shape::check(batch, self.partitions)?;
        let mut all = self.all();
        let unknown = || WriteError::Unknown("a test wants it so".to_owned());
        let fault = all.fault(|fault| *fault != Fault::FailLoad);
        match fault {
            Some(Fault::Fail) => {
                return Err(WriteError::Failed("a test wants it so".to_owned()));
            }
            Some(Fault::Lose) => return Err(unknown()),
            _ => write::write(&mut all, batch, head)?,
        }
        match fault {
            Some(Fault::WriteUnknown) => Err(unknown()),
            Some(Fault::Unreplicate) => Err(WriteError::Unreplicated { got: 0, wanted: 1 }),
            _ => Ok(()),
        }
    }

    async fn load_all(&self, partition: u16, names: &[&str]) -> Result<Vec<Found>, StoreError> {
        let mut all = self.all();
        all.loads += 1;
        if all.fault(|fault| *fault == Fault::FailLoad).is_some() {
            return Err(StoreError::Unavailable("a test wants it so".to_owned()));
        }
        let aggregates = &all.parts.entry(partition).or_default().aggregates;
        let found = names.iter().map(|name| aggregates.get(*name));
        Ok(found
            .map(|found| Ok(found.map(|(stored, _)| stored.clone())))
            .collect())
    }

    async fn due(
        &self,
        partition: u16,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let mut due: Vec<Due> = self.part(partition, |part| {
            part.aggregates
                .iter()
                .filter_map(|(name, (stored, due))| {
                    due.filter(|at| *at <= now).map(|at| Due {
                        key: AggregateKey {
                            partition,
                            name: name.clone(),
                        },
                        version: stored.version,
                        at,
                    })
                })
                .collect()
        });
        due.sort_by(|a, b| (a.at, &a.key.name).cmp(&(b.at, &b.key.name)));
        due.truncate(limit);
        Ok(due)
    }

    async fn queue(&self, source: &AggregateKey) -> Result<Queue, StoreError> {
        Ok(self.part(source.partition, |part| {
            let new = Source::default();
            let source = part.sources.get(&source.name).unwrap_or(&new);
            Queue {
                next: source.next,
                backlog: source.queue.values().map(|chunk| chunk.len() as u64).sum(),
                cursor: source.cursor.clone(),
            }
        }))
    }

    async fn queued(
        &self,
        source: &AggregateKey,
        after: u64,
        limit: usize,
    ) -> Result<Vec<QueuedChunk>, StoreError> {
        Ok(self.part(source.partition, |part| {
            let queue = part.sources.get(&source.name).map(|source| &source.queue);
            let above = queue
                .into_iter()
                .flatten()
                .filter(|(first, _)| **first > after);
            let mut held = 0;
            let within = above.take_while(|(_, alerts)| {
                let room = held < limit;
                held += alerts.len();
                room
            });
            within
                .map(|(first, alerts)| QueuedChunk {
                    first: *first,
                    count: alerts.len() as u64,
                    alerts: Ok(alerts.clone()),
                })
                .collect()
        }))
    }

    async fn sources(&self, partition: u16) -> Result<Vec<AggregateKey>, StoreError> {
        Ok(self.part(partition, |part| {
            let names = part.sources.keys().cloned();
            names.map(|name| AggregateKey { partition, name }).collect()
        }))
    }

    async fn journal(
        &self,
        partition: u16,
        after: u64,
        limit: usize,
    ) -> Result<Vec<JournalRow>, StoreError> {
        if self.all().broken.contains(&partition) {
            return Err(StoreError::Unavailable("a test wants it so".to_owned()));
        }
        Ok(self.part(partition, |part| {
            let above = part.journal.values().filter(|row| row.seq > after);
            above.take(limit).cloned().collect()
        }))
    }

    async fn journal_ends(&self, partition: u16) -> Result<(Head, Head), StoreError> {
        Ok(self.part(partition, |part| (part.head.clone(), part.anchor.clone())))
    }

    async fn timeline(&self, case: CaseId) -> Result<Vec<JournalRow>, StoreError> {
        let all = self.all();
        Ok(all
            .parts
            .values()
            .flat_map(|part| {
                let moved = part.timeline.get(&case).into_iter().flatten();
                let standing = part.journal.values().filter(|row| row.case == Some(case));
                moved.chain(standing).cloned().collect::<Vec<_>>()
            })
            .collect())
    }

    async fn named(&self, collection: Collection, ids: &[&str]) -> Result<Vec<Row>, StoreError> {
        let all = self.all();
        let row = |id: &&str| all.rows.get(&(collection, (*id).to_owned()));
        Ok(ids
            .iter()
            .filter_map(row)
            .map(|(_, row)| row.clone())
            .collect())
    }

    async fn rows(&self, query: &RowQuery) -> Result<RowPage, StoreError> {
        let size = lists::page_size(query);
        let place = Place::of_query(query)?;
        let mut rows: Vec<Row> = self
            .all()
            .rows
            .values()
            .map(|(_, row)| row)
            .filter(|row| row.collection == query.collection)
            .filter(|row| query.fields.iter().all(|field| row.fields.contains(field)))
            .filter(|row| query.since.is_none_or(|since| row.at >= since))
            .filter(|row| query.until.is_none_or(|until| row.at < until))
            .filter(|row| place.as_ref().is_none_or(|place| Place::of(row) < *place))
            .cloned()
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(Place::of(row)));
        rows.truncate(size + 1);
        Ok(lists::page(rows, size))
    }

    async fn put_rows(
        &self,
        partition: u16,
        rows: &[RowChange],
        if_absent: bool,
    ) -> Result<usize, WriteError> {
        let mut all = self.all();
        if all.broken.contains(&partition) {
            return Err(WriteError::Failed("a test wants it so".to_owned()));
        }
        let mut written = 0;
        for change in rows {
            let left_alone = change.row().is_some_and(|row| {
                if_absent && all.rows.contains_key(&(row.collection, row.id.clone()))
            });
            if !left_alone {
                all.change_row(partition, change);
                written += 1;
            }
        }
        Ok(written)
    }

    async fn trim(&self, partition: u16, keep: &Retention) -> Result<bool, StoreError> {
        self.all().trim(partition, keep);
        Ok(false)
    }

    async fn health(&self) -> Health {
        Health::default()
    }

    async fn close(&self) {}
}
