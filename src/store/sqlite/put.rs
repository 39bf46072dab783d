//! Writing rows and their index entries, so that a list can never find a row by a value it no longer
//! has.

use rusqlite::{OptionalExtension, Transaction, params};

use super::write::Stop;
use crate::core::machine::{Row, RowChange};
use crate::core::time::Timestamp;
use crate::store::lists;

/// The journal's rowids: partitions apart, each in order. A partition holds 2^48 records.
pub(super) fn journal_id(partition: u16, seq: u64) -> i64 {
    const SEQ: u64 = (1 << 48) - 1;
    ((u64::from(partition) << 48) | (seq & SEQ)).cast_signed()
}

pub(super) fn apply(
    tx: &Transaction<'_>,
    partition: u16,
    changes: &[RowChange],
) -> rusqlite::Result<()> {
    for change in changes {
        match change {
            RowChange::Put(row) => put(tx, partition, row)?,
            RowChange::New(row) => add(tx, partition, row)?,
            RowChange::Delete { collection, id } => {
                delete(tx, collection.name(), id)?;
            }
        }
    }
    Ok(())
}

/// How many were written.
pub(super) fn put_all(
    tx: &Transaction<'_>,
    partition: u16,
    changes: &[RowChange],
    if_absent: bool,
) -> Result<usize, Stop> {
    let mut written = 0;
    for change in changes {
        let left_alone = match change.row() {
            Some(row) if if_absent => tx
                .prepare_cached("SELECT 1 FROM rows WHERE collection = ?1 AND key = ?2")?
                .exists(params![row.collection.name(), row.id])?,
            _ => false,
        };
        if !left_alone {
            apply(tx, partition, std::slice::from_ref(change))?;
            written += 1;
        }
    }
    Ok(written)
}

fn put(tx: &Transaction<'_>, partition: u16, row: &Row) -> rusqlite::Result<()> {
    let collection = row.collection.name();
    let fields = lists::encode_fields(&row.fields);
    let at = row.at.as_millis();
    let found: Option<(i64, i64, String)> = tx
        .prepare_cached("SELECT id, at, fields FROM rows WHERE collection = ?1 AND key = ?2")?
        .query_row(params![collection, row.id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let expires = row.expires.map(Timestamp::as_millis);
    // Only index entries that differ are touched: most changes of a case change one field.
    let kept = match found {
        Some((id, old_at, old_fields)) => {
            tx.prepare_cached(
                "UPDATE rows SET partition = ?2, at = ?3, fields = ?4, body = ?5, expires = ?6
                 WHERE id = ?1",
            )?
            .execute(params![id, partition, at, fields, row.body, expires])?;
            let same_entries = old_at == at && old_fields == fields;
            if same_entries {
                return Ok(());
            }
            let old = lists::decode_fields(&old_fields).unwrap_or_default();
            let stays = |entry: &(&'static str, String)| old_at == at && row.fields.contains(entry);
            for entry in old.iter().filter(|entry| !stays(entry)) {
                unindex(tx, collection, entry, old_at, &row.id)?;
            }
            old.into_iter().filter(stays).collect()
        }
        None => {
            insert(tx, partition, row)?;
            Vec::new()
        }
    };
    index(tx, row, |entry| !kept.contains(entry))
}

/// A row that is new, as far as the caller knows: then nothing has to be looked up.
fn add(tx: &Transaction<'_>, partition: u16, row: &Row) -> rusqlite::Result<()> {
    match insert(tx, partition, row)? {
        0 => put(tx, partition, row),
        _ => index(tx, row, |_| true),
    }
}

/// How many were written: none when there is one of this id.
fn insert(tx: &Transaction<'_>, partition: u16, row: &Row) -> rusqlite::Result<usize> {
    tx.prepare_cached(
        "INSERT INTO rows(partition, collection, key, at, fields, body, expires)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
    )?
    .execute(params![
        partition,
        row.collection.name(),
        row.id,
        row.at.as_millis(),
        lists::encode_fields(&row.fields),
        row.body,
        row.expires.map(Timestamp::as_millis)
    ])
}

/// Enters the row where those of its fields find it that are `wanted`.
fn index(
    tx: &Transaction<'_>,
    row: &Row,
    wanted: impl Fn(&(&'static str, String)) -> bool,
) -> rusqlite::Result<()> {
    let mut entry = tx.prepare_cached(
        "INSERT INTO row_index(collection, field, value, at, key) VALUES(?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO NOTHING",
    )?;
    let (collection, at) = (row.collection.name(), row.at.as_millis());
    for (field, value) in row.fields.iter().filter(|entry| wanted(entry)) {
        entry.execute(params![collection, field, value, at, row.id])?;
    }
    Ok(())
}

/// Whether it was there.
pub(super) fn delete(tx: &Transaction<'_>, collection: &str, id: &str) -> rusqlite::Result<bool> {
    let found: Option<(i64, i64, String)> = tx
        .prepare_cached("SELECT id, at, fields FROM rows WHERE collection = ?1 AND key = ?2")?
        .query_row(params![collection, id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((rowid, at, fields)) = found else {
        return Ok(false);
    };
    for entry in lists::decode_fields(&fields).unwrap_or_default() {
        unindex(tx, collection, &entry, at, id)?;
    }
    tx.prepare_cached("DELETE FROM rows WHERE id = ?1")?
        .execute([rowid])?;
    Ok(true)
}

fn unindex(
    tx: &Transaction<'_>,
    collection: &str,
    (field, value): &(&'static str, String),
    at: i64,
    id: &str,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "DELETE FROM row_index
         WHERE collection = ?1 AND field = ?2 AND value = ?3 AND at = ?4 AND key = ?5",
    )?
    .execute(params![collection, field, value, at, id])
    .map(|_| ())
}
