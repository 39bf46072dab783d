//! Lists over all partitions: each gives its newest, the newest of those are the page.

use futures_util::future::try_join_all;

use super::link::CallError;
use super::{RedisStore, format, scripts};
use crate::core::machine::{Collection, Row};
use crate::core::time::Timestamp;
use crate::store::lists::{self, Place};
use crate::store::{RowPage, RowQuery, StoreError};

impl RedisStore {
    pub(super) async fn list(&self, query: &RowQuery) -> Result<RowPage, StoreError> {
        let size = lists::page_size(query);
        let place = Place::of_query(query)?;
        let parts = (0..self.partitions).map(|p| self.part(p, query, place.clone(), size + 1));
        let mut rows: Vec<Row> = try_join_all(parts).await?.into_iter().flatten().collect();
        rows.sort_by_cached_key(|row| std::cmp::Reverse(Place::of(row)));
        rows.truncate(size + 1);
        Ok(lists::page(rows, size))
    }

    pub(super) async fn count_everywhere(
        &self,
        collection: Collection,
        field: &'static str,
        value: &str,
    ) -> Result<u64, StoreError> {
        let entry = format::entry(field, value);
        let parts = (0..self.partitions).map(async |partition| {
            let mut cmd = scripts::COUNT.call(&self.prefix(partition));
            cmd.arg(collection.name()).arg(&entry);
            let counted: Result<u64, CallError> = self.reads.run(&scripts::COUNT, &cmd).await;
            counted.map_err(CallError::on_read)
        });
        Ok(try_join_all(parts).await?.into_iter().sum())
    }

    /// One partition's newest below `place`, in as many calls as its filters need.
    async fn part(
        &self,
        partition: u16,
        query: &RowQuery,
        mut place: Option<Place>,
        most: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        loop {
            let mut cmd = scripts::ROWS.call(&self.prefix(partition));
            let bound = |at: Option<Timestamp>, otherwise: &str, open: &str| {
                at.map_or_else(
                    || otherwise.to_owned(),
                    |at| format!("{open}{}", at.as_millis()),
                )
            };
            cmd.arg(query.collection.name())
                .arg(most - rows.len())
                .arg(bound(query.since, "-inf", ""))
                .arg(bound(query.until, "+inf", "("))
                .arg(bound(place.as_ref().map(|place| place.at), "", ""))
                .arg(place.as_ref().map_or("", |place| &place.id))
                .arg(query.fields.len());
            for (field, value) in &query.fields {
                cmd.arg(format::entry(field, value));
            }
            let (found, at, id): (Vec<(String, Vec<u8>)>, String, String) = self
                .reads
                .run(&scripts::ROWS, &cmd)
                .await
                .map_err(CallError::on_read)?;
            let full = found.len() == most - rows.len();
            let (mut last, mut stale) = (None, false);
            for (id, value) in &found {
                let row = format::read_row(query.collection, id, value)?;
                last = Some(Place::of(&row));
                // Half a commit can leave an index that says what the row does not say any more, or not yet.
                match query.fields.iter().all(|field| row.fields.contains(field)) {
                    true => rows.push(row),
                    false => stale = true,
                }
            }
            place = match at.parse::<i64>() {
                Ok(at) => Some(Place {
                    at: Timestamp::from_millis(at),
                    id,
                }),
                Err(_) if full && stale => last,
                Err(_) => return Ok(rows),
            };
        }
    }
}
