//! Who owns a partition. SQLite has one process, but the lease is kept all the same: after a copy of
//! the folder or a changed node id a stale owner's epoch must not write.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::unreadable;
use crate::core::time::Timestamp;
use crate::store::{Claim, Epoch, Head, StoreError};

pub(super) fn claim(
    conn: &mut Connection,
    partition: u16,
    node: &str,
    now: Timestamp,
    ttl: Duration,
) -> Result<Claim, StoreError> {
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(unreadable)?;
    let found = tx
        .query_row(
            "SELECT node, until, epoch, head_seq, head_hash FROM leases WHERE partition = ?1",
            [partition],
            |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    Timestamp::from_millis(row.get(1)?),
                    row.get::<_, Epoch>(2)?,
                    Head {
                        seq: row.get(3)?,
                        hash: row.get(4)?,
                    },
                ))
            },
        )
        .optional()
        .map_err(unreadable)?;
    let (epoch, head) = match found {
        Some((owner, until, _, _)) if !owner.is_empty() && owner != node && until > now => {
            return Err(StoreError::Mismatch(format!(
                "partition {partition} is owned by node {owner} until {until}"
            )));
        }
        Some((_, _, epoch, head)) => (epoch + 1, head),
        None => (1, Head::default()),
    };
    tx.execute(
        "INSERT INTO leases(partition, node, until, epoch) VALUES(?1, ?2, ?3, ?4)
         ON CONFLICT(partition) DO UPDATE SET node = ?2, until = ?3, epoch = ?4",
        params![partition, node, now.after(ttl).as_millis(), epoch],
    )
    .map_err(unreadable)?;
    tx.commit().map_err(unreadable)?;
    Ok(Claim { epoch, head })
}

pub(super) fn renew(
    conn: &mut Connection,
    partition: u16,
    node: &str,
    epoch: Epoch,
    until: Timestamp,
) -> Result<bool, StoreError> {
    conn.execute(
        "UPDATE leases SET until = ?4 WHERE partition = ?1 AND node = ?2 AND epoch = ?3",
        params![partition, node, epoch, until.as_millis()],
    )
    .map(|changed| changed == 1)
    .map_err(unreadable)
}

/// Raises the epoch as well: what was on its way is fenced.
pub(super) fn release(
    conn: &mut Connection,
    partition: u16,
    node: &str,
    epoch: Epoch,
) -> Result<(), StoreError> {
    conn.execute(
        "UPDATE leases SET node = '', until = 0, epoch = epoch + 1
         WHERE partition = ?1 AND node = ?2 AND epoch = ?3",
        params![partition, node, epoch],
    )
    .map(|_| ())
    .map_err(unreadable)
}
