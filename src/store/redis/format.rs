//! How values look in Redis: a short head in text, then the body, packed (see `pack.rs`). Lengths, or
//! escaped separators, divide what others have written, so that no text can pretend to be two.
//!
//! Of a damaged value what there is left is handed over as the body: whoever decodes that finds it
//! unreadable, pages, and goes on. An error here would stop all that is read together with it for ever.

use std::borrow::Cow;

use super::pack;
use crate::core::machine::{Collection, Row};
use crate::core::time::Timestamp;
use crate::store::{Found, Hash, Head, Mark, Piece, QueuedAlert, StoreError, Stored, lists};

pub(super) fn head(head: &Head) -> String {
    format!("{} {}", head.seq, head.hash)
}

pub(super) fn read_head(text: &str) -> Result<Head, StoreError> {
    text.split_once(' ')
        .and_then(|(seq, hash)| {
            Some(Head {
                seq: seq.parse().ok()?,
                hash: hash.to_owned(),
            })
        })
        .ok_or_else(|| unreadable("a journal's head", "a number and a hash"))
}

pub(super) fn unreadable(what: &str, expected: &str) -> StoreError {
    StoreError::Corrupt(format!("{what}: expected {expected}"))
}

/// A text of others in front of what is packed: its length in bytes, `\n`, the text.
fn led(head: &str, text: &str, body: &str) -> Vec<u8> {
    let mut value = format!("{}{head}\n{text}", text.len()).into_bytes();
    pack::pack(body.as_bytes(), &mut value);
    value
}

/// What stands in the first line after the length, the text, the body.
fn read_led(value: &[u8]) -> (&str, String, String) {
    let parts = || {
        let (first, rest) = line(value)?;
        let end = first.find(' ').unwrap_or(first.len());
        let (length, head) = first.split_at(end);
        let (text, packed) = rest.split_at_checked(length.parse().ok()?)?;
        let text = String::from_utf8(text.to_vec()).ok()?;
        Some((head, text, pack::text(packed)))
    };
    parts().unwrap_or_else(|| ("", String::new(), pack::remains(value)))
}

/// The state behind its guard; in the first line, for `load.lua`, the numbers of its pieces, each after a space.
pub(super) fn aggregate(guard: &str, held: &[u64], state: &str) -> Vec<u8> {
    let numbers: String = held.iter().map(|number| format!(" {number}")).collect();
    led(&numbers, guard, state)
}

/// A hash's values; `None`: it has no such field.
type Values = Vec<Option<Vec<u8>>>;

/// What `load.lua` answers for some names: their versions, their values, how many pieces each has, these.
pub(super) fn read_aggregates(
    names: &[&str],
    (versions, values, counts, pieces): (Values, Values, Vec<usize>, Values),
) -> Vec<Found> {
    let mut pieces = pieces.into_iter();
    let found = names.iter().zip(versions).zip(values).zip(counts);
    found
        .map(|(((name, version), value), count)| {
            let pieces: Values = pieces.by_ref().take(count).collect();
            let (version, value) = (version.unwrap_or_default(), value.unwrap_or_default());
            read_aggregate(name, &version, &value, &pieces)
        })
        .collect()
}

/// `version` is the one that commits compare. A Redis that lost the end of its append-only file twice can
/// have applied half a commit, so that the two differ; following the other one would conflict for ever.
/// `pieces` as `load.lua` found them: one by one those of the first line.
fn read_aggregate(name: &str, version: &[u8], value: &[u8], pieces: &[Option<Vec<u8>>]) -> Found {
    let version = match version {
        b"" if value.is_empty() => return Ok(None),
        b"" => 0,
        digits => std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| unreadable(name, "a version"))?,
    };
    let (numbers, guard, state) = read_led(value);
    let numbers = numbers.split_ascii_whitespace().zip(pieces);
    let pieces = numbers.filter_map(|(number, packed)| {
        Some(Piece {
            number: number.parse().ok()?,
            body: pack::text(packed.as_ref()?),
        })
    });
    Ok(Some(Stored {
        version,
        pieces: pieces.collect(),
        state,
        guard,
    }))
}

/// The field of a piece in `pc`.
pub(super) fn piece(name: &str, number: u64) -> String {
    format!("{name}\0{number}")
}

/// The first line and what comes after it.
pub(super) fn line(value: &[u8]) -> Option<(&str, &[u8])> {
    let end = value.iter().position(|byte| *byte == b'\n')?;
    let head = std::str::from_utf8(&value[..end]).ok()?;
    Some((head, &value[end + 1..]))
}

/// An alert by itself, behind its receiver: until schema 3.
pub(super) fn read_queued(number: u64, value: &[u8]) -> QueuedAlert {
    let (_, receiver, body) = read_led(value);
    QueuedAlert {
        number,
        receiver,
        body,
    }
}

pub(super) fn row(row: &Row) -> Vec<u8> {
    row_of(row, &entries(row))
}

/// One line of parts divided by \1: time, expiry or `-`, entries; then the body.
pub(super) fn row_of(row: &Row, entries: &[String]) -> Vec<u8> {
    let mut value = row.at.as_millis().to_string().into_bytes();
    value.push(1);
    match row.expires {
        Some(at) => value.extend_from_slice(at.as_millis().to_string().as_bytes()),
        None => value.push(b'-'),
    }
    for entry in entries {
        value.push(1);
        value.extend_from_slice(entry.as_bytes());
    }
    value.push(b'\n');
    pack::pack(row.body.as_bytes(), &mut value);
    value
}

/// What a row is found by.
pub(super) fn entries(row: &Row) -> Vec<String> {
    let fields = row.fields.iter();
    fields.map(|(field, text)| entry(field, text)).collect()
}

/// A row as it is found: what it says is still packed.
pub(super) struct Packed {
    row: Row,
    value: Vec<u8>,
    /// Where in it the body begins.
    body: usize,
}

impl Packed {
    pub fn unpacked(mut self) -> Row {
        self.row.body = pack::text(&self.value[self.body..]);
        self.row
    }

    /// Without its body.
    pub fn row(&self) -> &Row {
        &self.row
    }
}

pub(super) fn read_row(
    collection: Collection,
    id: &str,
    value: Vec<u8>,
) -> Result<Row, StoreError> {
    packed(collection, id, value).map(Packed::unpacked)
}

pub(super) fn packed(
    collection: Collection,
    id: &str,
    value: Vec<u8>,
) -> Result<Packed, StoreError> {
    let row = || {
        let (head, body) = line(&value)?;
        let mut parts = head.split('\x01');
        let at = parts.next()?.parse().ok()?;
        let expires = match parts.next()? {
            "-" => None,
            millis => Some(Timestamp::from_millis(millis.parse().ok()?)),
        };
        let fields: Option<Vec<_>> = parts.map(read_entry).collect();
        let row = Row {
            collection,
            id: id.to_owned(),
            at: Timestamp::from_millis(at),
            fields: lists::named(fields?),
            body: String::new(),
            expires,
        };
        Some((row, value.len() - body.len()))
    };
    let Some((row, body)) = row() else {
        let name = format!("row {id} of {}", collection.name());
        return Err(unreadable(&name, "a time and fields"));
    };
    Ok(Packed { row, value, body })
}

/// Fields with few values, each of many rows: their entries are sorted sets from the first row on.
const FEW_VALUES: [&str; 5] = ["state", "outcome", "rule", "kind", "source"];

/// `!` or `.` (see `index.lua`), then `field=value`.
pub(super) fn entry(field: &str, value: &str) -> String {
    let kind = match FEW_VALUES.contains(&field) {
        true => "!",
        false => ".",
    };
    [kind, field, "=", &escaped(value)].concat()
}

/// Whether its rows stand in a sorted set of its own.
pub(super) fn is_direct(entry: &str) -> bool {
    entry.starts_with('!')
}

/// Appends a reference to a row, as `index.lua` reads it: its length, `:`, the row's time, a space, the row's id.
pub(super) fn refer(at: &str, id: &str, into: &mut String) {
    let length = (at.len() + 1 + id.len()).to_string();
    for part in [&length, ":", at, " ", id] {
        into.push_str(part);
    }
}

/// What would end a part or a head stands as \2 and a letter.
fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\x01', '\x02', '\n']) {
        return Cow::Borrowed(value);
    }
    let value = value.replace('\x02', "\x02b").replace('\x01', "\x02a");
    Cow::Owned(value.replace('\n', "\x02n"))
}

fn read_entry(entry: &str) -> Option<(String, String)> {
    let (field, value) = entry.get(1..)?.split_once('=')?;
    let value = value.replace("\x02n", "\n").replace("\x02a", "\x01");
    Some((field.to_owned(), value.replace("\x02b", "\x02")))
}

/// A SHA-256 in hex as its bytes.
pub(super) fn digest(text: &str) -> Option<Hash> {
    let mut bytes = [0u8; 32];
    let canonical = !text.bytes().any(|b| b.is_ascii_uppercase());
    hex::decode_to_slice(text, &mut bytes)
        .ok()
        .filter(|()| canonical)
        .map(|()| bytes)
}

/// 128 bits of a hash tell a month of alerts apart, and nobody finds another body for them. Marks are
/// most of what a month of alerts leaves in memory.
pub(super) type Short = [u8; 16];

pub(super) fn short(hash: &Hash) -> Short {
    // Both halves count.
    std::array::from_fn(|at| hash[at] ^ hash[at + 16])
}

/// When it expires, as eight bytes that Lua reads.
pub(super) fn expiry(mark: &Mark) -> [u8; 8] {
    mark.expires.as_millis().to_be_bytes()
}

/// A mark as stored: when it expires and its body; the latter is what a duplicate is compared with.
pub(super) fn read_mark(value: &[u8]) -> Option<(Timestamp, Short)> {
    let (expires, body) = value.split_first_chunk()?;
    let expires = Timestamp::from_millis(i64::from_be_bytes(*expires));
    Some((expires, body.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_cannot_end_their_head_or_pretend_to_be_two() {
        let fields = vec![
            ("state", "a=b\x01!state=c\n".to_owned()),
            ("alert", "\x02n\x02\x02a".to_owned()),
            ("alert", String::new()),
        ];
        let before = Row {
            collection: Collection::Cases,
            id: "one".to_owned(),
            at: Timestamp::from_millis(-5),
            fields,
            body: "{}\n".repeat(99),
            expires: None,
        };
        let read = read_row(Collection::Cases, "one", row(&before)).expect("readable");
        assert_eq!(read, before);
    }
}
