//! Lists over all partitions: each gives some of its newest, the newest of all are the page, and who has given all it was
//! asked for is asked again.

use std::ops::Range;

use futures_util::future::try_join_all;

use super::link::CallError;
use super::{RedisStore, format, scripts};
use crate::core::machine::{Collection, Row};
use crate::core::time::Timestamp;
use crate::store::lists::{self, Place};
use crate::store::{RowPage, RowQuery, StoreError};

/// Rows that a partition is asked for at first, at least.
const LEAST: usize = 8;

/// What one partition has given of a list so far.
struct Part {
    partition: u16,
    /// Oldest first: the next one of the page is the last.
    rows: Vec<Row>,
    /// Where it goes on; at first from its newest.
    place: Option<Place>,
    has_more: bool,
}

impl Part {
    fn is_awaited(&self) -> bool {
        self.rows.is_empty() && self.has_more
    }
}

impl RedisStore {
    pub(super) async fn list(
        &self,
        partitions: Range<u16>,
        query: &RowQuery,
    ) -> Result<RowPage, StoreError> {
        let size = lists::page_size(query);
        let place = Place::of_query(query)?;
        let mut parts: Vec<Part> = partitions
            .map(|partition| Part {
                partition,
                rows: Vec::new(),
                place: place.clone(),
                has_more: true,
            })
            .collect();
        let mut page = Vec::new();
        // Usually all have about as many; one that has more is asked again, for twice as many.
        let mut most = (2 * size / parts.len()).max(LEAST).min(size + 1);
        while page.len() <= size {
            let asked = parts.iter_mut().filter(|part| part.is_awaited());
            try_join_all(asked.map(async |part| {
                let from = part.place.take();
                (part.rows, part.place) = self.part(part.partition, query, from, most).await?;
                part.has_more = part.place.is_some();
                Ok::<_, StoreError>(())
            }))
            .await?;
            most = (2 * most).min(size + 1);
            if !take_newest(&mut parts, &mut page, size + 1) {
                break;
            }
        }
        Ok(lists::page(page, size))
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

    /// One partition's newest below `place`, oldest first, in as many calls as its filters need; and where it goes on
    /// if there may be more.
    async fn part(
        &self,
        partition: u16,
        query: &RowQuery,
        mut place: Option<Place>,
        most: usize,
    ) -> Result<(Vec<Row>, Option<Place>), StoreError> {
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
            let is_full = found.len() == most - rows.len();
            let mut last = None;
            for (id, value) in &found {
                let row = format::read_row(query.collection, id, value)?;
                last = Some(Place::of(&row));
                // Half a commit can leave an index that says what the row does not say any more, or not yet.
                if query.fields.iter().all(|field| row.fields.contains(field)) {
                    rows.push(row);
                }
            }
            place = match at.parse::<i64>() {
                Ok(at) => Some(Place {
                    at: Timestamp::from_millis(at),
                    id,
                }),
                Err(_) => last.filter(|_| is_full),
            };
            if place.is_none() || rows.len() == most {
                rows.reverse();
                return Ok((rows, place));
            }
        }
    }
}

/// Moves the newest of all parts to the page, as long as it is known which that is. Whether more is to be read for it.
fn take_newest(parts: &mut [Part], page: &mut Vec<Row>, most: usize) -> bool {
    while page.len() < most {
        if parts.iter().any(Part::is_awaited) {
            return true;
        }
        let heads = parts.iter_mut().filter(|part| !part.rows.is_empty());
        let newest = heads.max_by_key(|part| part.rows.last().map(Place::of));
        match newest.and_then(|part| part.rows.pop()) {
            Some(row) => page.push(row),
            None => return false,
        }
    }
    false
}
