//! Journal records as Redis keeps them: those of one batch together, packed. One entry of a stream costs
//! the server far less than a value and a number for each record, and records say nearly the same.

use super::{format, pack};
use crate::core::ids::CaseId;
use crate::core::time::Timestamp;
use crate::store::JournalRow;

/// A record's flags: it is about a case; its hash is a SHA-256 in hex, kept as its 32 bytes.
const HAS_CASE: u8 = 1;
const HAS_DIGEST: u8 = 2;

/// Records with consecutive numbers.
pub(super) fn encode<'a>(rows: impl IntoIterator<Item = &'a JournalRow>) -> Vec<u8> {
    let mut plain = Vec::new();
    for row in rows {
        plain.extend_from_slice(&row.seq.to_le_bytes());
        plain.extend_from_slice(&row.at.as_millis().to_le_bytes());
        let hash = format::digest(&row.hash);
        plain.push(u8::from(row.case.is_some()) * HAS_CASE + u8::from(hash.is_some()) * HAS_DIGEST);
        if let Some(case) = row.case {
            plain.extend_from_slice(&case.to_bytes());
        }
        match hash {
            Some(digest) => plain.extend_from_slice(&digest),
            None => part(&row.hash, &mut plain),
        }
        part(&row.body, &mut plain);
    }
    let mut packed = Vec::new();
    pack::pack(&plain, &mut packed);
    packed
}

/// A text behind its length.
pub(super) fn part(text: &str, into: &mut Vec<u8>) {
    let length = u32::try_from(text.len()).expect("a text is far shorter than 4 GB");
    into.extend_from_slice(&length.to_le_bytes());
    into.extend_from_slice(text.as_bytes());
}

/// `None`: this is no chunk, or a damaged one.
pub(super) fn decode(chunk: &[u8]) -> Option<Vec<JournalRow>> {
    let plain = pack::unpack(chunk)?;
    let mut rest = plain.as_slice();
    let mut rows = Vec::new();
    while !rest.is_empty() {
        rows.push(record(&mut rest)?);
    }
    Some(rows)
}

fn record(rest: &mut &[u8]) -> Option<JournalRow> {
    let seq = u64::from_le_bytes(*take(rest)?);
    let at = i64::from_le_bytes(*take(rest)?);
    let [flags] = *take(rest)?;
    let case = match flags & HAS_CASE {
        0 => None,
        _ => Some(CaseId::from_bytes(*take(rest)?)),
    };
    let hash = match flags & HAS_DIGEST {
        0 => take_text(rest)?,
        _ => hex::encode(take::<32>(rest)?),
    };
    Some(JournalRow {
        seq,
        case,
        at: Timestamp::from_millis(at),
        hash,
        body: take_text(rest)?,
    })
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(taken)
}

/// What [`part`] has written.
pub(super) fn take_text(rest: &mut &[u8]) -> Option<String> {
    let length = u32::from_le_bytes(*take(rest)?) as usize;
    let (text, left) = rest.split_at_checked(length)?;
    *rest = left;
    String::from_utf8(text.to_vec()).ok()
}
