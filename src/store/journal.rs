//! The hash chain of the journal: without it an edited, deleted, swapped or inserted record of the
//! past would look like any other.
//!
//! `hash = hex(SHA-256(previous hash || seq as 8 bytes, big-endian || body))`, the previous hash as
//! its hex text, empty for the first record. A cut tail has an unbroken chain: it is found because
//! the verified end is not the stored [`Head`].

use sha2::{Digest, Sha256};

use super::{Head, JournalRow};
use crate::core::ids::CaseId;
use crate::core::time::Timestamp;

/// Where a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal is broken at record {seq}: {what}")]
pub struct Broken {
    pub seq: u64,
    pub what: String,
}

/// The hash of one record after `previous`.
pub fn hash(previous: &str, seq: u64, body: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(previous.as_bytes());
    digest.update(seq.to_be_bytes());
    digest.update(body.as_bytes());
    hex::encode(digest.finalize())
}

/// Numbers and chains records after `head`; gives the rows and the new head.
pub fn chain(
    head: &Head,
    records: impl IntoIterator<Item = (Option<CaseId>, Timestamp, String)>,
) -> (Vec<JournalRow>, Head) {
    let mut head = head.clone();
    let rows = records
        .into_iter()
        .map(|(case, at, body)| {
            head.seq += 1;
            head.hash = hash(&head.hash, head.seq, &body);
            JournalRow {
                seq: head.seq,
                case,
                at,
                hash: head.hash.clone(),
                body,
            }
        })
        .collect();
    (rows, head)
}

/// Follows the chain from `anchor`; gives its end, which must be the stored head (see [`is_whole`])
/// once all pages have been verified, each from the end of the one before.
pub fn verify<'a>(
    anchor: &Head,
    rows: impl IntoIterator<Item = &'a JournalRow>,
) -> Result<Head, Broken> {
    let mut end = anchor.clone();
    for row in rows {
        let expected = end.seq + 1;
        if row.seq != expected {
            return Err(Broken {
                seq: expected,
                what: format!("the next record has number {}", row.seq),
            });
        }
        let hash = hash(&end.hash, row.seq, &row.body);
        if row.hash != hash {
            return Err(Broken {
                seq: row.seq,
                what: format!("its hash is {}, expected {hash}", row.hash),
            });
        }
        end = Head { seq: row.seq, hash };
    }
    Ok(end)
}

/// A chain that ends before or after the stored head has lost its tail, or got one.
pub fn is_whole(end: &Head, stored: &Head) -> Result<(), Broken> {
    if end == stored {
        return Ok(());
    }
    Err(Broken {
        seq: end.seq + 1,
        what: format!(
            "the records end at {}, the stored head is {}",
            end.seq, stored.seq
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn five() -> (Vec<JournalRow>, Head) {
        let records = (1..=5).map(|n| (None, Timestamp::from_millis(n), format!("{{\"n\":{n}}}")));
        chain(&Head::default(), records)
    }

    fn broken_at(rows: &[JournalRow]) -> u64 {
        verify(&Head::default(), rows)
            .expect_err("must be found")
            .seq
    }

    #[test]
    fn an_untouched_chain_ends_at_its_head_in_one_piece_or_two() {
        let (rows, head) = five();
        let middle = verify(&Head::default(), &rows[..2]).expect("whole");
        let end = verify(&middle, &rows[2..]).expect("whole");
        assert_eq!(end, head);
        assert_eq!(is_whole(&end, &head), Ok(()));
    }

    #[test]
    fn an_edit_is_found() {
        let (mut rows, _) = five();
        rows[2].body = "{\"n\":33}".to_owned();
        assert_eq!(broken_at(&rows), 3);
    }

    #[test]
    fn an_edit_with_a_recomputed_hash_is_found_at_the_next_record() {
        let (mut rows, _) = five();
        rows[2].body = "{\"n\":33}".to_owned();
        rows[2].hash = hash(&rows[1].hash, 3, &rows[2].body);
        assert_eq!(broken_at(&rows), 4);
    }

    #[test]
    fn a_deletion_is_found_even_if_the_rest_is_renumbered() {
        let (mut rows, _) = five();
        rows.remove(1);
        assert_eq!(broken_at(&rows), 2);
        for (row, seq) in rows.iter_mut().zip(1..) {
            row.seq = seq;
        }
        assert_eq!(broken_at(&rows), 2);
    }

    #[test]
    fn a_swap_is_found_even_if_the_numbers_are_kept_in_order() {
        let (mut rows, _) = five();
        rows.swap(1, 3);
        (rows[1].seq, rows[3].seq) = (2, 4);
        assert_eq!(broken_at(&rows), 2);
    }

    #[test]
    fn an_insertion_is_found() {
        let (mut rows, _) = five();
        rows.insert(2, rows[1].clone());
        assert_eq!(broken_at(&rows), 3);
    }

    #[test]
    fn a_cut_tail_is_found_against_the_stored_head() {
        let (rows, head) = five();
        let end = verify(&Head::default(), &rows[..3]).expect("the rest is unbroken");
        assert_eq!(is_whole(&end, &head).expect_err("cut").seq, 4);
    }
}
