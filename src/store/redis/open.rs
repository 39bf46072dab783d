//! Opening a store: whether the one that is there was made for this bot. A store read with another layout, or
//! with another number of partitions, would be taken for an empty one.

use super::address::Address;
use super::answer::CallError;
use super::link::{Link, UseFor};
use super::{RedisOptions, RedisStore};
use crate::store::{StoreError, shape};

/// Raised when keys or values change their form.
const SCHEMA: u64 = 4;
/// What it holds is read as it is, and its queues get their index when their partition is claimed; only an earlier
/// securitybot could not read what is written from now on.
const UPGRADED: [u64; 2] = [2, 3];

/// The store's own key.
fn meta(options: &RedisOptions) -> String {
    format!("{}:meta", options.prefix)
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
        let meta = meta(&options);
        let link = |use_for| Link::new(address.clone(), use_for, options.deadline, meta.clone());
        let store = Self {
            writes: link(UseFor::Writes),
            reads: link(UseFor::Reads),
            partitions,
            options,
        };
        store.check_made_for(partitions).await?;
        Ok(store)
    }

    async fn check_made_for(&self, partitions: u16) -> Result<(), StoreError> {
        let key = meta(&self.options);
        for (field, value) in [("partitions", u64::from(partitions)), ("schema", SCHEMA)] {
            let mut set = redis::cmd("HSETNX");
            set.arg(&key).arg(field).arg(value);
            let _: i64 = self.writes.call(&set).await.map_err(CallError::on_read)?;
        }
        let mut get = redis::cmd("HMGET");
        get.arg(&key).arg("partitions").arg("schema");
        let (found, schema): (String, u64) =
            self.writes.call(&get).await.map_err(CallError::on_read)?;
        if UPGRADED.contains(&schema) {
            let mut set = redis::cmd("HSET");
            set.arg(&key).arg("schema").arg(SCHEMA);
            let _: i64 = self.writes.call(&set).await.map_err(CallError::on_read)?;
        } else if schema != SCHEMA {
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
}
