//! Lists over all partitions: each gives some of its newest, the newest of all are the page, and who has given all it was
//! asked for is asked again.

use std::ops::Range;

use redis::Cmd;

use super::answer::CallError;
use super::format::Packed;
use super::{RedisStore, format, scripts};
use crate::core::machine::Collection;
use crate::core::time::Timestamp;
use crate::store::lists::{self, Place};
use crate::store::{RowPage, RowQuery, StoreError};

/// Rows that a partition is asked for at first, at least.
const LEAST: usize = 8;

/// What `rows.lua` answers: rows by id, newest first; a time and an id if it looked no further.
type Found = (Vec<(String, Vec<u8>)>, String, String);

/// What one partition has given of a list so far.
struct Part {
    partition: u16,
    /// Oldest first: the next one of the page is the last.
    rows: Vec<Packed>,
    /// Where it goes on; at first from its newest.
    place: Option<Place>,
    has_more: bool,
}

impl Part {
    fn is_awaited(&self) -> bool {
        self.rows.is_empty() && self.has_more
    }

    /// Takes what was found, and where the search ended if it was not at the end.
    fn answered(
        &mut self,
        query: &RowQuery,
        most: usize,
        (found, at, id): Found,
    ) -> Result<(), StoreError> {
        let is_full = found.len() == most;
        let mut last = None;
        for (id, value) in found {
            let found = format::packed(query.collection, &id, value)?;
            let row = found.row();
            last = Some(Place::of(row));
            // Half a commit can leave an index that says what the row does not say any more, or not yet.
            if query.fields.iter().all(|field| row.fields.contains(field)) {
                self.rows.push(found);
            }
        }
        self.rows.reverse();
        self.place = match at.parse::<i64>() {
            Ok(at) => Some(Place {
                at: Timestamp::from_millis(at),
                id,
            }),
            Err(_) => last.filter(|_| is_full),
        };
        self.has_more = self.place.is_some();
        Ok(())
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
            let mut asked: Vec<&mut Part> =
                parts.iter_mut().filter(|part| part.is_awaited()).collect();
            let calls: Vec<Cmd> = asked
                .iter()
                .map(|part| self.ask(part, query, most))
                .collect();
            let found = self.reads.each(Some(&scripts::ROWS), &calls).await;
            for (part, found) in asked.iter_mut().zip(found.map_err(CallError::on_read)?) {
                part.answered(query, most, found)?;
            }
            most = (2 * most).min(size + 1);
            if !take_newest(&mut parts, &mut page, size + 1) {
                break;
            }
        }
        let rows = page.into_iter().map(Packed::unpacked).collect();
        Ok(lists::page(rows, size))
    }

    pub(super) async fn count_everywhere(
        &self,
        collection: Collection,
        field: &'static str,
        value: &str,
    ) -> Result<u64, StoreError> {
        let entry = format::entry(field, value);
        let cmds: Vec<Cmd> = (0..self.partitions)
            .map(|partition| {
                let mut cmd = scripts::COUNT.call(&self.prefix(partition));
                cmd.arg(collection.name()).arg(&entry);
                cmd
            })
            .collect();
        let counted = self.reads.each(Some(&scripts::COUNT), &cmds).await;
        let counted: Vec<u64> = counted.map_err(CallError::on_read)?;
        Ok(counted.into_iter().sum())
    }

    /// For the newest of one partition below where it stands.
    fn ask(&self, part: &Part, query: &RowQuery, most: usize) -> Cmd {
        let mut cmd = scripts::ROWS.call(&self.prefix(part.partition));
        let bound = |at: Option<Timestamp>, otherwise: &str, open: &str| {
            at.map_or_else(
                || otherwise.to_owned(),
                |at| format!("{open}{}", at.as_millis()),
            )
        };
        let place = part.place.as_ref();
        cmd.arg(query.collection.name())
            .arg(most)
            .arg(bound(query.since, "-inf", ""))
            .arg(bound(query.until, "+inf", "("))
            .arg(bound(place.map(|place| place.at), "", ""))
            .arg(place.map_or("", |place| &place.id))
            .arg(query.fields.len());
        for (field, value) in &query.fields {
            cmd.arg(format::entry(field, value));
        }
        cmd
    }
}

/// Moves the newest of all parts to the page, as long as it is known which that is. Whether more is to be read for it.
fn take_newest(parts: &mut [Part], page: &mut Vec<Packed>, most: usize) -> bool {
    while page.len() < most {
        if parts.iter().any(Part::is_awaited) {
            return true;
        }
        let heads = parts.iter_mut().filter(|part| !part.rows.is_empty());
        let newest = heads.max_by_key(|part| part.rows.last().map(|found| Place::of(found.row())));
        match newest.and_then(|part| part.rows.pop()) {
            Some(row) => page.push(row),
            None => return false,
        }
    }
    false
}
