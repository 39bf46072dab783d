//! Dropping what retention allows, a bounded piece per call so that a year of backlog never holds up
//! a commit. A case outlives the journal: its records move to `timeline` when the journal drops them.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::put;
use super::write::{Stop, committed};
use crate::core::ids::CaseId;
use crate::core::machine::Collection;
use crate::store::{Retention, StoreError, WriteError};

/// Items of each kind per call: a few milliseconds of the writer.
const PIECE: usize = 1_000;

pub(super) fn trim(
    conn: &mut Connection,
    partition: u16,
    keep: &Retention,
) -> Result<bool, StoreError> {
    committed(conn, |tx| {
        // Cases before the journal: a dropped case's records need not be moved.
        let more = [
            marks(tx, partition, keep)?,
            rows(tx, partition, keep)?,
            cases(tx, partition, keep)?,
            journal(tx, partition, keep)?,
        ];
        Ok::<_, Stop>(more.contains(&true))
    })
    .map_err(|error: WriteError| StoreError::Unavailable(error.to_string()))
}

fn marks(tx: &Transaction<'_>, partition: u16, keep: &Retention) -> rusqlite::Result<bool> {
    let dropped = tx
        .prepare_cached(
            "DELETE FROM marks WHERE id IN (SELECT id FROM marks
             WHERE partition = ?1 AND expires <= ?2 ORDER BY expires LIMIT ?3)",
        )?
        .execute(params![partition, keep.now.as_millis(), PIECE])?;
    Ok(dropped == PIECE)
}

fn rows(tx: &Transaction<'_>, partition: u16, keep: &Retention) -> rusqlite::Result<bool> {
    let expired: Vec<(String, String)> = tx
        .prepare_cached(
            "SELECT collection, key FROM rows WHERE partition = ?1 AND expires < ?2
             ORDER BY expires LIMIT ?3",
        )?
        .query_map(params![partition, keep.now.as_millis(), PIECE], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (collection, id) in &expired {
        put::delete(tx, collection, id)?;
    }
    Ok(expired.len() == PIECE)
}

/// Closed cases whose escalation, if there is one, is resolved and has nothing left to do. Cases that
/// must stay are stepped over; `cases_kept` is where the next call of the same pass goes on.
fn cases(tx: &Transaction<'_>, partition: u16, keep: &Retention) -> rusqlite::Result<bool> {
    let kept: Option<i64> = tx
        .prepare_cached("SELECT cases_kept FROM leases WHERE partition = ?1")?
        .query_row([partition], |row| row.get(0))
        .optional()?;
    let mut kept = kept.unwrap_or(0);
    let old: Vec<String> = tx
        .prepare_cached(
            "SELECT i.key FROM row_index i CROSS JOIN rows r
             ON r.collection = i.collection AND r.key = i.key
             WHERE i.collection = ?1 AND i.field = 'state' AND i.value = 'closed' AND i.at < ?2
               AND r.partition = ?3
             ORDER BY i.at, i.key LIMIT ?4 OFFSET ?5",
        )?
        .query_map(
            params![
                Collection::Cases.name(),
                keep.cases_before.as_millis(),
                partition,
                PIECE,
                kept
            ],
            |row| row.get(0),
        )?
        .collect::<rusqlite::Result<_>>()?;
    for id in &old {
        if escalation_over(tx, partition, id)? {
            drop_case(tx, partition, id)?;
        } else {
            kept += 1;
        }
    }
    let more = old.len() == PIECE;
    tx.prepare_cached("UPDATE leases SET cases_kept = ?2 WHERE partition = ?1")?
        .execute(params![partition, if more { kept } else { 0 }])?;
    Ok(more)
}

fn escalation_over(tx: &Transaction<'_>, partition: u16, id: &str) -> rusqlite::Result<bool> {
    let standing = tx
        .prepare_cached(
            "SELECT 1 FROM rows r WHERE r.collection = ?1 AND r.key = ?2 AND NOT EXISTS
               (SELECT 1 FROM row_index i WHERE i.collection = r.collection AND i.field = 'state'
                AND i.value = 'resolved' AND i.at = r.at AND i.key = r.key)",
        )?
        .exists(params![Collection::Escalations.name(), id])?;
    let waiting = tx
        .prepare_cached(
            "SELECT 1 FROM aggregates WHERE partition = ?1 AND name = ?2 AND due IS NOT NULL",
        )?
        .exists(params![partition, format!("escalation/{id}")])?;
    Ok(!standing && !waiting)
}

fn drop_case(tx: &Transaction<'_>, partition: u16, id: &str) -> rusqlite::Result<()> {
    put::delete(tx, Collection::Cases.name(), id)?;
    put::delete(tx, Collection::Escalations.name(), id)?;
    let escalation = tx
        .prepare_cached("DELETE FROM aggregates WHERE partition = ?1 AND name = ?2 RETURNING id")?
        .query_row(params![partition, format!("escalation/{id}")], |row| {
            row.get::<_, i64>(0)
        })
        .optional()?;
    tx.prepare_cached("DELETE FROM pieces WHERE aggregate = ?1")?
        .execute([escalation])?;
    // Stored case ids are canonical; a row's id might be written otherwise.
    let case = CaseId::parse(id).map_or_else(|| id.to_owned(), |case| case.to_string());
    tx.prepare_cached("DELETE FROM timeline WHERE case_id = ?1")?
        .execute([case])?;
    Ok(())
}

fn journal(tx: &Transaction<'_>, partition: u16, keep: &Retention) -> rusqlite::Result<bool> {
    let anchor: Option<u64> = tx
        .prepare_cached("SELECT anchor_seq FROM leases WHERE partition = ?1")?
        .query_row([partition], |row| row.get(0))
        .optional()?;
    let Some(anchor) = anchor else {
        return Ok(false);
    };
    const LAST: u64 = (1 << 48) - 1;
    let oldest: Vec<(i64, u64, Option<String>, i64, String)> = tx
        .prepare_cached(
            "SELECT id, seq, case_id, at, hash FROM journal WHERE id > ?1 AND id <= ?2
             ORDER BY id LIMIT ?3",
        )?
        .query_map(
            params![
                put::journal_id(partition, anchor),
                put::journal_id(partition, keep.journal_through.min(LAST)),
                PIECE
            ],
            |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                ))
            },
        )?
        .collect::<rusqlite::Result<_>>()?;
    let before = keep.journal_before.as_millis();
    let mut end = None;
    let mut dropped = 0;
    for (id, seq, case, at, hash) in oldest {
        if at >= before {
            break;
        }
        if let Some(case) = case {
            tx.prepare_cached(
                "INSERT INTO timeline SELECT case_id, seq, at, body, hash FROM journal
                 WHERE id = ?1 AND EXISTS
                   (SELECT 1 FROM rows WHERE collection = ?2 AND key = ?3)",
            )?
            .execute(params![id, Collection::Cases.name(), case])?;
        }
        dropped += 1;
        end = Some((id, seq, hash));
    }
    let Some((id, seq, hash)) = end else {
        return Ok(false);
    };
    tx.prepare_cached("DELETE FROM journal WHERE id > ?1 AND id <= ?2")?
        .execute(params![put::journal_id(partition, anchor), id])?;
    tx.prepare_cached("UPDATE leases SET anchor_seq = ?2, anchor_hash = ?3 WHERE partition = ?1")?
        .execute(params![partition, seq, hash])?;
    Ok(dropped == PIECE)
}
