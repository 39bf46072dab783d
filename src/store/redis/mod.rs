//! The store for production: Redis, alone, behind Sentinels or as a Cluster.
//!
//! All keys of a partition carry its hash tag (`securitybot:{p3}:...`), so one batch is one atomic
//! call of one script in one slot. How much an answer is worth follows from the server's
//! `appendfsync` and from [`RedisOptions::min_replicas`]; [`Store::health`] says what is weak.
//!
//! Keys after the prefix: `lease` (owner, epoch, head, anchor), `agg` and `ver` (checkpoints and
//! their versions), `due`, `next`, `low`, `cursor` and `q:{source}` (queues), `m:{source}`, `mx` and
//! `mx:{span}` (marks, and which expire when), `j` (journal, a stream of chunks), `t` and `tl:{case}`
//! (cases' record numbers, and the records the journal has dropped), `r:`, `ra:`, `x:`, `i:` and `rx`
//! (rows, by time, by fields with many and with few values, by expiry).

mod address;
mod batch;
mod chunk;
mod expected;
mod format;
mod health;
mod history;
mod link;
mod lists;
mod pack;
mod scripts;
mod verdict;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use redis::Cmd;

use super::{
    Batch, Claim, Due, Epoch, Head, Health, JournalRow, Queue, QueuedAlert, Retention, RowPage,
    RowQuery, Store, StoreError, Stored, WriteError, shape,
};
use crate::core::ids::{AggregateKey, CaseId};
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::time::Timestamp;
use address::Address;
use expected::Expected;
use link::{CallError, Link, UseFor};

/// Raised when keys or values change their form.
const SCHEMA: u64 = 2;

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
    /// Connects and compares the store's partition count, or makes it. `url`: `redis://`, `rediss://`,
    /// `redis+sentinel://host:26379,.../service/0`, `redis+cluster://host:6379,...`. Must run on the
    /// runtime that lives as long as the store.
    pub async fn open(
        url: &str,
        partitions: u16,
        options: RedisOptions,
    ) -> Result<Self, StoreError> {
        shape::check_partitions(partitions)?;
        if options.prefix.contains(['{', '}']) {
            return Err(StoreError::Mismatch(format!(
                "the prefix of Redis keys is {:?}, expected one without braces: they would change \
                 where a partition lies",
                options.prefix
            )));
        }
        let address = Address::parse(url, &options)?;
        if address.is_cluster() && options.min_replicas > 0 {
            return Err(StoreError::Mismatch(
                "min_replicas cannot be asked of a Redis Cluster, expected 0".to_owned(),
            ));
        }
        let store = Self {
            writes: Link::new(address.clone(), UseFor::Writes, options.deadline),
            reads: Link::new(address, UseFor::Reads, options.deadline),
            partitions,
            options,
        };
        store.check_made_for(partitions).await?;
        Ok(store)
    }

    async fn check_made_for(&self, partitions: u16) -> Result<(), StoreError> {
        let key = format!("{}:meta", self.options.prefix);
        for (field, value) in [("partitions", u64::from(partitions)), ("schema", SCHEMA)] {
            let mut set = redis::cmd("HSETNX");
            set.arg(&key).arg(field).arg(value);
            let _: i64 = self.writes.call(&set).await.map_err(CallError::on_read)?;
        }
        let mut get = redis::cmd("HMGET");
        get.arg(&key).arg("partitions").arg("schema");
        let (found, schema): (String, u64) =
            self.writes.call(&get).await.map_err(CallError::on_read)?;
        if schema != SCHEMA {
            let whose = if schema > SCHEMA {
                "a newer"
            } else {
                "an earlier"
            };
            return Err(StoreError::Mismatch(format!(
                "{key} in Redis was made by {whose} securitybot (schema {schema}, this version \
                 reads {SCHEMA})"
            )));
        }
        if found != partitions.to_string() {
            return Err(StoreError::Mismatch(format!(
                "{key} in Redis was made with {found} partitions, the configuration says \
                 {partitions}; the number is fixed when a store is made"
            )));
        }
        Ok(())
    }

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
        try_join_all(cmds.iter().map(|cmd| self.reads.call(cmd)))
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
        let mut cmd = scripts::COMMIT.call(&self.prefix(batch.partition));
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

    async fn load(&self, key: &AggregateKey) -> Result<Option<Stored>, StoreError> {
        let mut cmd = scripts::LOAD.call(&self.prefix(key.partition));
        cmd.arg(&key.name);
        let (version, value): (String, Vec<u8>) = self
            .reads
            .run(&scripts::LOAD, &cmd)
            .await
            .map_err(CallError::on_read)?;
        if version.is_empty() && value.is_empty() {
            return Ok(None);
        }
        format::read_aggregate(&key.name, &version, &value).map(Some)
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
    ) -> Result<Vec<QueuedAlert>, StoreError> {
        let mut cmd = scripts::QUEUED.call(&self.prefix(source.partition));
        cmd.arg(&source.name).arg(after).arg(limit);
        let found: Vec<(u64, Vec<u8>)> = self
            .reads
            .run(&scripts::QUEUED, &cmd)
            .await
            .map_err(CallError::on_read)?;
        let found = found.iter();
        Ok(found
            .map(|(number, value)| format::read_queued(*number, value))
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

    async fn row(&self, collection: Collection, id: &str) -> Result<Option<Row>, StoreError> {
        let found: Vec<Option<Vec<u8>>> = self
            .everywhere(|prefix| {
                let mut cmd = redis::cmd("HGET");
                cmd.arg(format!("{prefix}r:{}", collection.name())).arg(id);
                cmd
            })
            .await?;
        let found = found.into_iter().flatten().next();
        found
            .map(|value| format::read_row(collection, id, &value))
            .transpose()
    }

    async fn rows(&self, query: &RowQuery) -> Result<RowPage, StoreError> {
        self.list(query).await
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
        // Cases before the journal: a dropped case's records need not be moved.
        Ok(self.forget(partition, keep).await? || more == 1)
    }

    async fn health(&self) -> Health {
        self.look_at_health().await
    }

    async fn close(&self) {
        self.writes.close().await;
        self.reads.close().await;
    }
}
