//! What every store refuses before it touches anything: a batch that contradicts itself. Written, it
//! would leave a hole in a queue or a journal that nothing could ever fill.

use super::{Accept, Batch, Head, StoreError, Write, WriteError};

/// Far more than one node serves; below what the stores' keys hold.
const MOST_PARTITIONS: u16 = 4_096;

pub(super) fn check_partitions(partitions: u16) -> Result<(), StoreError> {
    if (1..=MOST_PARTITIONS).contains(&partitions) {
        return Ok(());
    }
    Err(StoreError::Mismatch(format!(
        "a store has 1 to {MOST_PARTITIONS} partitions, the configuration says {partitions}"
    )))
}

/// The head after the batch, or why it cannot be written anywhere.
pub(super) fn check(batch: &Batch, partitions: u16) -> Result<Head, WriteError> {
    let wrong = |what: String| Err(WriteError::Failed(what));
    if batch.partition >= partitions {
        return wrong(format!(
            "partition {} of a store with {partitions}",
            batch.partition
        ));
    }
    let mut head = &batch.head_before.hash;
    let mut seq = batch.head_before.seq;
    for row in &batch.journal {
        seq += 1;
        if row.seq != seq {
            return wrong(format!("journal record {} where {seq} comes", row.seq));
        }
        head = &row.hash;
    }
    for write in &batch.writes {
        let key = match write {
            Write::Commit(commit) => {
                if let Some(birth) = commit
                    .births
                    .iter()
                    .find(|birth| birth.key.partition != batch.partition)
                {
                    return wrong(format!("{} is born in another partition", birth.key));
                }
                &commit.key
            }
            Write::Accept(accept) => {
                if !in_order(accept) {
                    return wrong(format!(
                        "the alerts of {} are not numbered from {}",
                        accept.source, accept.first
                    ));
                }
                &accept.source
            }
            Write::Take { source, .. } => source,
        };
        if key.partition != batch.partition {
            return wrong(format!(
                "{key} of partition {} in a batch of partition {}",
                key.partition, batch.partition
            ));
        }
    }
    Ok(Head {
        seq,
        hash: head.clone(),
    })
}

fn in_order(accept: &Accept) -> bool {
    accept
        .alerts
        .iter()
        .zip(accept.first..)
        .all(|(alert, number)| alert.number == number)
}
