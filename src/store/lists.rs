//! What the lists of all stores share: cursors, limits, field names and their order of use. A list
//! that paged differently per store would skip or repeat rows on one of them only.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::{RowQuery, StoreError};
use crate::core::machine::Row;
use crate::core::time::Timestamp;

const LONGEST_PAGE: usize = 500;

/// Known field names, the most selective first: the first of a query that appears here leads.
const FIELDS: [&str; 6] = ["alert", "employee", "source", "rule", "outcome", "state"];

pub(super) fn page_size(query: &RowQuery) -> usize {
    query.limit.clamp(1, LONGEST_PAGE)
}

/// The query's filters, the one most likely to match few rows first.
pub(super) fn by_selectivity(query: &RowQuery) -> Vec<&(&'static str, String)> {
    let mut fields: Vec<_> = query.fields.iter().collect();
    fields.sort_by_key(|(name, _)| FIELDS.iter().position(|known| known == name));
    fields
}

/// The place of a row in its list: what comes after it is strictly below `(at, id)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub at: Timestamp,
    pub id: String,
}

impl Place {
    pub fn of(row: &Row) -> Self {
        Self {
            at: row.at,
            id: row.id.clone(),
        }
    }

    pub fn encode(&self) -> String {
        format!("{}.{}", self.at.as_millis(), self.id)
    }

    /// The place an earlier page ended at.
    pub fn of_query(query: &RowQuery) -> Result<Option<Self>, StoreError> {
        let Some(cursor) = &query.cursor else {
            return Ok(None);
        };
        cursor
            .split_once('.')
            .and_then(|(at, id)| {
                Some(Self {
                    at: Timestamp::from_millis(at.parse().ok()?),
                    id: id.to_owned(),
                })
            })
            .map(Some)
            .ok_or_else(|| {
                StoreError::Mismatch(
                    "the cursor of a list is malformed, expected one from an earlier answer"
                        .to_owned(),
                )
            })
    }
}

/// A page out of one row more than asked for, if there was one.
pub(super) fn page(mut rows: Vec<Row>, size: usize) -> super::RowPage {
    let more = rows.len() > size;
    rows.truncate(size);
    let next = rows
        .last()
        .filter(|_| more)
        .map(|last| Place::of(last).encode());
    super::RowPage { rows, next }
}

/// Fields as stored: a JSON array of pairs.
pub(super) fn encode_fields(fields: &[(&'static str, String)]) -> String {
    serde_json::to_string(fields).unwrap_or_else(|_| "[]".to_owned())
}

pub(super) fn decode_fields(text: &str) -> Option<Vec<(&'static str, String)>> {
    serde_json::from_str(text).ok().map(named)
}

pub(super) fn named(pairs: Vec<(String, String)>) -> Vec<(&'static str, String)> {
    pairs
        .into_iter()
        .map(|(name, value)| (static_name(&name), value))
        .collect()
}

/// Rows name their fields by `&'static str`; a name read back that is not in [`FIELDS`] is kept for
/// the life of the process. Names come from our own code only, so there are few.
fn static_name(name: &str) -> &'static str {
    static OTHERS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    if let Some(known) = FIELDS.iter().find(|known| **known == name) {
        return known;
    }
    let mut others = OTHERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = others.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    others.insert(kept);
    kept
}
