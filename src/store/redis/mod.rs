//! The store for production: Redis, alone, behind Sentinels or as a Cluster.
//!
//! All keys of a partition carry its hash tag (`securitybot:{p3}:...`), so one batch is one atomic
//! call of one script in one slot. How much an answer is worth follows from the server's
//! `appendfsync` and from [`RedisOptions::min_replicas`]; [`Store::health`] says what is weak.
//!
//! # Keys
//!
//! `{prefix}:meta` is the store's own: a hash of `partitions`, `schema` and `clean_run` (`restarted.rs`). All others follow a
//! partition's prefix. Times are milliseconds since 1970, numbers decimal text, "packed" is
//! `pack.rs`, the form of values `format.rs`. A script reads a value's head only; what is packed
//! only the bot reads.
//!
//! | key | what | written by | read by |
//! |---|---|---|---|
//! | `lease` | hash: `node`, `until`, `epoch`; `head` and `anchor` of the journal (`{seq} {hash}`); `cases_kept` | lease, commit, forget, trim | all of these, journal |
//! | `agg` | hash by name: the guard, the state packed; the numbers of its pieces | commit, trim | load |
//! | `pc` | hash by name, `\0`, number: a piece of a state, packed | commit | load |
//! | `ver` | hash by name: the version that commits compare | commit, trim | commit, load, due |
//! | `due` | sorted set of names by time | commit | due, trim |
//! | `next`, `cursor` | hashes by source: the next number, the Poller's place | commit | commit, lease, queue, queued |
//! | `q:{source}` | hash by its first alert's number: an accepting commit's alerts as a chunk (`queued.rs`), packed | commit, lease | queued, lease |
//! | `qf:{source}` | sorted set of these numbers by that of the chunk's last alert | commit, lease | queue, queued, lease |
//! | `m:{source}` | hash by 16 bytes of the identity's hash: when the mark expires (8 bytes), 16 bytes of the body's hash | commit, trim | commit, trim |
//! | `mx`, `mx:{span}` | sorted set of spans of 2^20 ms; of each a list: 16 bytes of an identity, its source | commit, trim | trim |
//! | `j`, `jf` | hash by its first record's number: a batch's records as a chunk (`chunk.rs`), packed; sorted set of these numbers | commit, forget | journal, timeline |
//! | `t` | hash by the case's 16 bytes: the numbers of its records in `j`, divided by spaces | commit, forget | timeline |
//! | `tl:{case}` | list of its records that `j` has let go, chunks of one | forget, trim | timeline |
//! | `r:{collection}` | hash by id: time, expiry, entries; the body packed | commit, put, trim | all of these, rows, forget |
//! | `ra:{collection}` | sorted set of ids by time | as `r:` | rows |
//! | `i:{collection}:{entry}` | sorted set by time of the ids with an entry (`!field=value`, `.field=value`) of many rows | as `r:` | rows, count, trim |
//! | `x:{collection}` | hash by entry of few rows: references (`index.lua`), or `Z`: there is an `i:` | as `r:` | rows, count |
//! | `rx` | sorted set by expiry: collection, `\0`, id | as `r:` | trim |
//!
//! # Half a commit
//!
//! An append-only file that ends within a commit is cut by Redis behind the last whole command, and the
//! commit counts for nothing. But what is there of it stays in the file, before all that comes later, and
//! counts when the file is loaded once more ("MULTI calls can not be nested" in Redis's log). So whatever
//! a commit writes must be right also if the beginning of one that never was comes before it, or after it:
//! nothing is appended under a number that must rise, what is written is written whole, and the order is
//! the journal first and its head last, the time a newborn wakes before its state, pieces before the state that
//! holds them, states before what they took leaves its queue, alerts before their marks. A queue's values come before
//! its index, and whoever claims the partition lets the index follow them. A piece is dropped by the
//! commit after the one that freed it: half a commit must not take away what the state before it holds. And a server that was started anew is asked to write
//! its file again (`restarted.rs`).

mod address;
mod answer;
mod batch;
mod changes;
mod chunk;
mod expected;
mod format;
mod health;
mod history;
mod link;
mod lists;
mod open;
mod pack;
mod queued;
mod restarted;
mod scripts;
mod verdict;

use std::time::Duration;

use async_trait::async_trait;
use redis::Cmd;

use super::{
    Batch, Claim, Due, Epoch, Found, Head, Health, JournalRow, Queue, QueuedChunk, Retention,
    RowPage, RowQuery, Store, StoreError, WriteError, shape,
};
use crate::core::ids::{AggregateKey, CaseId};
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::time::Timestamp;
use answer::CallError;
use expected::Expected;
use link::Link;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisOptions {
    /// What all keys begin with; two installations on one server differ in it.
    pub prefix: String,
    /// How long one call may take, connecting included.
    pub deadline: Duration,
    /// How many replicas must have a write before it counts as replicated; 0: nobody is asked.
    pub min_replicas: u32,
    /// PEM of the authority that signed the server's certificate, for `rediss`; `None`: the
    /// system's own.
    pub root_certificate: Option<Vec<u8>>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            prefix: "securitybot".to_owned(),
            deadline: Duration::from_secs(2),
            min_replicas: 0,
            root_certificate: None,
        }
    }
}

pub struct RedisStore {
    /// Apart, so that a long answer to a list never delays a commit's.
    writes: Link,
    reads: Link,
    partitions: u16,
    options: RedisOptions,
}

impl RedisStore {
    fn prefix(&self, partition: u16) -> String {
        format!("{}:{{p{partition}}}:", self.options.prefix)
    }

    async fn lease(&self, partition: u16, args: [&str; 5]) -> Result<Vec<String>, StoreError> {
        let mut cmd = scripts::LEASE.call(&self.prefix(partition));
        for arg in args {
            cmd.arg(arg);
        }
        self.writes
            .run(&scripts::LEASE, &cmd)
            .await
            .map_err(CallError::on_read)
    }

    /// The same read in every partition: who asks for a case or a row does not know its partition.
    async fn everywhere<T: redis::FromRedisValue>(
        &self,
        read: impl Fn(&str) -> Cmd,
    ) -> Result<Vec<T>, StoreError> {
        let cmds: Vec<Cmd> = (0..self.partitions)
            .map(|partition| read(&self.prefix(partition)))
            .collect();
        self.reads
            .each(None, &cmds)
            .await
            .map_err(CallError::on_read)
    }
}

#[async_trait]
impl Store for RedisStore {
    fn kind(&self) -> &'static str {
        "redis"
    }

    fn partitions(&self) -> u16 {
        self.partitions
    }

    fn is_another(&self) -> bool {
        self.writes.is_another()
    }

    async fn begin_anew(&self) {
        // What is read from now on comes from where is written.
        self.reads.close().await;
        self.writes.begin_anew().await;
    }

    async fn claim(
        &self,
        partition: u16,
        node: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Claim, StoreError> {
        let till = now.after(ttl).as_millis().to_string();
        let now = now.as_millis().to_string();
        let answer = self
            .lease(partition, ["claim", node, "", &now, &till])
            .await?;
        let strange = || StoreError::Corrupt(format!("the lease of partition {partition}"));
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["ok", epoch, head] => Ok(Claim {
                epoch: epoch.parse().map_err(|_| strange())?,
                head: format::read_head(head)?,
            }),
            ["held", owner, until] => {
                let until = Timestamp::from_millis(until.parse().map_err(|_| strange())?);
                Err(StoreError::Mismatch(format!(
                    "partition {partition} is owned by node {owner} until {until}"
                )))
            }
            _ => Err(strange()),
        }
    }

    async fn renew(
        &self,
        partition: u16,
        node: &str,
        epoch: Epoch,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let till = now.after(ttl).as_millis().to_string();
        let (epoch, now) = (epoch.to_string(), now.as_millis().to_string());
        let answer = self
            .lease(partition, ["renew", node, &epoch, &now, &till])
            .await?;
        Ok(answer.first().is_some_and(|word| word == "ok"))
    }

    async fn release(&self, partition: u16, node: &str, epoch: Epoch) -> Result<(), StoreError> {
        let epoch = epoch.to_string();
        self.lease(partition, ["release", node, &epoch, "0", "0"])
            .await
            .map(|_| ())
    }

    async fn write(&self, batch: &Batch) -> Result<(), WriteError> {
        let after = shape::check(batch, self.partitions)?;
        let expected = Expected::of(batch);
        let prefix = self.prefix(batch.partition);
        let mut cmd = scripts::COMMIT.call_of(&prefix, batch::size(batch));
        batch::batch(&mut cmd, batch, &expected, &after);
        let wanted = self.options.min_replicas;
        let (reply, got): (redis::Value, _) = self
            .writes
            .run_and_wait(&scripts::COMMIT, &cmd, (wanted > 0).then_some(wanted))
            .await
            .map_err(CallError::on_write)?;
        verdict::read(batch, &expected, reply)?;
        match got {
            Some(got) if got < wanted => Err(WriteError::Unreplicated { got, wanted }),
            _ => Ok(()),
        }
    }

    async fn load_all(&self, partition: u16, names: &[&str]) -> Result<Vec<Found>, StoreError> {
        let mut cmd = scripts::LOAD.call(&self.prefix(partition));
        cmd.arg(names);
        let found = self
            .reads
            .run(&scripts::LOAD, &cmd)
            .await
            .map_err(CallError::on_read)?;
        Ok(format::read_aggregates(names, found))
    }

    async fn due(
        &self,
        partition: u16,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let mut cmd = scripts::DUE.call(&self.prefix(partition));
        cmd.arg(now.as_millis()).arg(limit);
        let found: Vec<(String, f64, u64)> = self
            .reads
            .run(&scripts::DUE, &cmd)
            .await
            .map_err(CallError::on_read)?;
        let due = found.into_iter().map(|(name, at, version)| Due {
            key: AggregateKey { partition, name },
            version,
            // Scores are doubles; milliseconds stay whole in them for 285,000 years.
            at: Timestamp::from_millis(at as i64),
        });
        Ok(due.collect())
    }

    async fn queue(&self, source: &AggregateKey) -> Result<Queue, StoreError> {
        let mut cmd = scripts::QUEUE.call(&self.prefix(source.partition));
        cmd.arg(&source.name);
        let (next, backlog, cursor) = self
            .reads
            .run(&scripts::QUEUE, &cmd)
            .await
            .map_err(CallError::on_read)?;
        Ok(Queue {
            next,
            backlog,
            cursor,
        })
    }

    async fn queued(
        &self,
        source: &AggregateKey,
        after: u64,
        limit: usize,
    ) -> Result<Vec<QueuedChunk>, StoreError> {
        let mut cmd = scripts::QUEUED.call(&self.prefix(source.partition));
        cmd.arg(&source.name).arg(after).arg(limit);
        let found: Vec<(u64, u64, Vec<u8>)> = self
            .reads
            .run(&scripts::QUEUED, &cmd)
            .await
            .map_err(CallError::on_read)?;
        let chunks = found.iter();
        Ok(chunks
            .map(|(first, last, value)| queued::decode(*first, *last, value))
            .collect())
    }

    async fn sources(&self, partition: u16) -> Result<Vec<AggregateKey>, StoreError> {
        let mut cmd = redis::cmd("HKEYS");
        cmd.arg(format!("{}next", self.prefix(partition)));
        let mut names: Vec<String> = self.reads.call(&cmd).await.map_err(CallError::on_read)?;
        names.sort_unstable();
        let keys = names.into_iter();
        Ok(keys.map(|name| AggregateKey { partition, name }).collect())
    }

    async fn journal(
        &self,
        partition: u16,
        after: u64,
        limit: usize,
    ) -> Result<Vec<JournalRow>, StoreError> {
        self.records(partition, after, limit).await
    }

    async fn journal_ends(&self, partition: u16) -> Result<(Head, Head), StoreError> {
        self.ends(partition).await
    }

    async fn timeline(&self, case: CaseId) -> Result<Vec<JournalRow>, StoreError> {
        self.timeline_everywhere(case).await
    }

    async fn named(&self, collection: Collection, ids: &[&str]) -> Result<Vec<Row>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut found: Vec<Vec<Option<Vec<u8>>>> = self
            .everywhere(|prefix| {
                let mut cmd = redis::cmd("HMGET");
                cmd.arg(format!("{prefix}r:{}", collection.name())).arg(ids);
                cmd
            })
            .await?;
        let mut rows = Vec::new();
        for (n, id) in ids.iter().enumerate() {
            let value = found.iter_mut().find_map(|part| part.get_mut(n)?.take());
            if let Some(value) = value {
                rows.push(format::read_row(collection, id, value)?);
            }
        }
        Ok(rows)
    }

    async fn row_in(
        &self,
        partition: u16,
        collection: Collection,
        id: &str,
    ) -> Result<Option<Row>, StoreError> {
        let mut cmd = redis::cmd("HGET");
        cmd.arg(format!("{}r:{}", self.prefix(partition), collection.name()))
            .arg(id);
        let found: Option<Vec<u8>> = self.reads.call(&cmd).await.map_err(CallError::on_read)?;
        found
            .map(|value| format::read_row(collection, id, value))
            .transpose()
    }

    async fn rows(&self, query: &RowQuery) -> Result<RowPage, StoreError> {
        self.list(0..self.partitions, query).await
    }

    async fn rows_in(&self, partition: u16, query: &RowQuery) -> Result<RowPage, StoreError> {
        self.list(partition..partition + 1, query).await
    }

    async fn count(
        &self,
        collection: Collection,
        field: &'static str,
        value: &str,
    ) -> Result<u64, StoreError> {
        self.count_everywhere(collection, field, value).await
    }

    async fn put_rows(
        &self,
        partition: u16,
        rows: &[RowChange],
        if_absent: bool,
    ) -> Result<usize, WriteError> {
        let mut cmd = scripts::PUT.call(&self.prefix(partition));
        batch::puts(&mut cmd, rows, if_absent);
        self.writes
            .run(&scripts::PUT, &cmd)
            .await
            .map_err(CallError::on_write)
    }

    async fn trim(&self, partition: u16, keep: &Retention) -> Result<bool, StoreError> {
        let mut cmd = scripts::TRIM.call(&self.prefix(partition));
        cmd.arg(keep.now.as_millis())
            .arg(keep.cases_before.as_millis());
        let more: i64 = self
            .writes
            .run(&scripts::TRIM, &cmd)
            .await
            .map_err(CallError::on_read)?;
        if more == 1 {
            return Ok(true);
        }
        // The journal last: a dropped case's records need not be moved, and a damaged one keeps nothing else.
        self.forget(partition, keep).await
    }

    async fn health(&self) -> Health {
        self.look_at_health().await
    }

    async fn close(&self) {
        self.writes.close().await;
        self.reads.close().await;
    }
}
