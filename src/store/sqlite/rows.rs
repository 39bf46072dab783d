//! Lists: one filter leads through its index, newest first, the others are looked up per row; so a
//! page costs what it shows and not what is stored.

use std::fmt::Write as _;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::read::limit;
use super::unreadable;
use crate::core::machine::{Collection, Row};
use crate::core::time::Timestamp;
use crate::store::lists::{self, Place};
use crate::store::{RowPage, RowQuery, StoreError};

const COLUMNS: &str = "r.key, r.at, r.fields, r.body, r.expires";

pub(super) fn named(
    conn: &Connection,
    collection: Collection,
    ids: &[String],
) -> Result<Vec<Row>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rows r WHERE r.collection = ?1 AND r.key = ?2");
    let mut find = conn.prepare_cached(&sql).map_err(unreadable)?;
    let mut rows = Vec::new();
    for id in ids {
        let found = find.query_row(params![collection.name(), id], raw);
        if let Some(raw) = found.optional().map_err(unreadable)? {
            rows.push(raw.read(collection)?);
        }
    }
    Ok(rows)
}

pub(super) fn rows(conn: &Connection, query: &RowQuery) -> Result<RowPage, StoreError> {
    let size = lists::page_size(query);
    let cursor = Place::of_query(query)?;
    let filters = lists::by_selectivity(query);
    let mut values: Vec<Value> = vec![query.collection.name().to_owned().into()];
    let mut bind = |value: Value| {
        values.push(value);
        values.len()
    };
    // The alias that leads: its (at, key) order the list and bound it.
    let (mut sql, lead) = match filters.first() {
        Some((field, value)) => {
            let (field, value) = (bind((*field).to_owned().into()), bind(value.clone().into()));
            (
                format!(
                    "SELECT {COLUMNS} FROM row_index i CROSS JOIN rows r
                     ON r.collection = i.collection AND r.key = i.key
                     WHERE i.collection = ?1 AND i.field = ?{field} AND i.value = ?{value}"
                ),
                "i",
            )
        }
        None => (
            format!("SELECT {COLUMNS} FROM rows r WHERE r.collection = ?1"),
            "r",
        ),
    };
    for (field, value) in filters.iter().skip(1) {
        let (field, value) = (bind((*field).to_owned().into()), bind(value.clone().into()));
        let _ = write!(
            sql,
            " AND EXISTS (SELECT 1 FROM row_index f WHERE f.collection = ?1 AND f.field = ?{field}
               AND f.value = ?{value} AND f.at = {lead}.at AND f.key = {lead}.key)"
        );
    }
    if let Some(since) = query.since {
        let n = bind(since.as_millis().into());
        let _ = write!(sql, " AND {lead}.at >= ?{n}");
    }
    if let Some(until) = query.until {
        let n = bind(until.as_millis().into());
        let _ = write!(sql, " AND {lead}.at < ?{n}");
    }
    if let Some(place) = cursor {
        let (at, id) = (bind(place.at.as_millis().into()), bind(place.id.into()));
        let _ = write!(sql, " AND ({lead}.at, {lead}.key) < (?{at}, ?{id})");
    }
    let most = bind(limit(size + 1).into());
    let _ = write!(
        sql,
        " ORDER BY {lead}.at DESC, {lead}.key DESC LIMIT ?{most}"
    );
    let found: Vec<Raw> = (|| {
        conn.prepare_cached(&sql)?
            .query_map(params_from_iter(values), raw)?
            .collect::<rusqlite::Result<Vec<_>>>()
    })()
    .map_err(unreadable)?;
    let rows = found
        .into_iter()
        .map(|raw| raw.read(query.collection))
        .collect::<Result<_, _>>()?;
    Ok(lists::page(rows, size))
}

pub(super) fn count(
    conn: &Connection,
    collection: Collection,
    field: &str,
    value: &str,
) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM row_index WHERE collection = ?1 AND field = ?2 AND value = ?3";
    (|| {
        conn.prepare_cached(sql)?
            .query_row(params![collection.name(), field, value], |row| row.get(0))
    })()
    .map_err(unreadable)
}

/// A row whose fields have not been read yet.
struct Raw {
    id: String,
    at: i64,
    fields: String,
    body: String,
    expires: Option<i64>,
}

fn raw(row: &rusqlite::Row<'_>) -> rusqlite::Result<Raw> {
    Ok(Raw {
        id: row.get(0)?,
        at: row.get(1)?,
        fields: row.get(2)?,
        body: row.get(3)?,
        expires: row.get(4)?,
    })
}

impl Raw {
    fn read(self, collection: Collection) -> Result<Row, StoreError> {
        let fields = lists::decode_fields(&self.fields).ok_or_else(|| {
            StoreError::Corrupt(format!(
                "fields of row {} in {}: expected an array of pairs, found {:?}",
                self.id,
                collection.name(),
                self.fields
            ))
        })?;
        Ok(Row {
            collection,
            id: self.id,
            at: Timestamp::from_millis(self.at),
            fields,
            body: self.body,
            expires: self.expires.map(Timestamp::from_millis),
        })
    }
}
