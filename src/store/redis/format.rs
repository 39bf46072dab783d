//! How values look in Redis: a short head in text, then the bytes as they came. Lengths, not
//! separators, divide what others have written, so that no text can pretend to be two.

use redis::Cmd;

use crate::core::ids::CaseId;
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::time::Timestamp;
use crate::store::{
    Accept, Batch, Commit, Head, JournalRow, QueuedAlert, StoreError, Stored, Write, lists,
};

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

fn unreadable(what: &str, expected: &str) -> StoreError {
    StoreError::Corrupt(format!("{what}: expected {expected}"))
}

fn aggregate(version: u64, guard: &str, state: &str) -> String {
    format!("{version} {}\n{guard}{state}", guard.len())
}

/// `version` is the one that commits compare. A Redis that lost the end of its append-only file twice can
/// have applied half a commit, so that the two differ; following the other one would conflict for ever.
/// A value that is missing or cut is handed over as what there is of it: whoever decodes it finds it
/// unreadable and begins anew.
pub(super) fn read_aggregate(name: &str, version: &str, value: &str) -> Result<Stored, StoreError> {
    let version = match version {
        "" => 0,
        digits => digits.parse().map_err(|_| unreadable(name, "a version"))?,
    };
    let parts = || {
        let (head, rest) = value.split_once('\n')?;
        let (_, length) = head.split_once(' ')?;
        rest.split_at_checked(length.parse().ok()?)
    };
    let (guard, state) = parts().unwrap_or(("", value));
    Ok(Stored {
        version,
        state: state.to_owned(),
        guard: guard.to_owned(),
    })
}

fn queued(alert: &QueuedAlert) -> String {
    let QueuedAlert {
        number,
        receiver,
        body,
    } = alert;
    format!("{number} {}\n{receiver}{body}", receiver.len())
}

pub(super) fn read_queued(source: &str, value: &str) -> Result<QueuedAlert, StoreError> {
    let parts = || {
        let (head, rest) = value.split_once('\n')?;
        let (number, length) = head.split_once(' ')?;
        let (receiver, body) = rest.split_at_checked(length.parse().ok()?)?;
        Some(QueuedAlert {
            number: number.parse().ok()?,
            receiver: receiver.to_owned(),
            body: body.to_owned(),
        })
    };
    parts().ok_or_else(|| unreadable(&format!("the queue of {source}"), "numbered alerts"))
}

pub(super) fn read_record(seq: &str, value: Option<&str>) -> Result<JournalRow, StoreError> {
    let parts = || {
        let (head, body) = value?.split_once('\n')?;
        let mut head = head.splitn(3, ' ');
        let (at, case, hash) = (head.next()?, head.next()?, head.next()?);
        let case = match case {
            "-" => None,
            id => Some(CaseId::parse(id)?),
        };
        Some(JournalRow {
            seq: seq.parse().ok()?,
            case,
            at: Timestamp::from_millis(at.parse().ok()?),
            body: body.to_owned(),
            hash: hash.to_owned(),
        })
    };
    parts().ok_or_else(|| {
        unreadable(
            &format!("journal record {seq}"),
            "a time, a case and a hash",
        )
    })
}

pub(super) fn read_row(collection: Collection, id: &str, value: &str) -> Result<Row, StoreError> {
    let parts = || {
        let (head, body) = value.split_once('\n')?;
        let (at, expires, fields): (String, String, Vec<(String, String)>) =
            serde_json::from_str(head).ok()?;
        let expires = match expires.as_str() {
            "" => None,
            millis => Some(Timestamp::from_millis(millis.parse().ok()?)),
        };
        Some(Row {
            collection,
            id: id.to_owned(),
            at: Timestamp::from_millis(at.parse().ok()?),
            fields: lists::named(fields),
            body: body.to_owned(),
            expires,
        })
    };
    let name = format!("row {id} of {}", collection.name());
    parts().ok_or_else(|| unreadable(&name, "a time, fields and a body"))
}

/// The part of an index key that names a field and its value.
pub(super) fn entry((field, value): &(&'static str, String)) -> String {
    format!("{field}={value}")
}

fn instant(at: Option<Timestamp>) -> String {
    at.map_or_else(String::new, |at| at.as_millis().to_string())
}

/// Appends changes as `read_rows` in `common.lua` takes them.
pub(super) fn rows<'a>(cmd: &mut Cmd, changes: impl ExactSizeIterator<Item = &'a RowChange>) {
    cmd.arg(changes.len());
    for change in changes {
        match change {
            RowChange::Delete { collection, id } => {
                cmd.arg(collection.name()).arg(id).arg("D");
            }
            RowChange::Put(row) => {
                let (at, expires) = (row.at.as_millis().to_string(), instant(row.expires));
                let fields = lists::encode_fields(&row.fields);
                let value = format!("[\"{at}\",\"{expires}\",{fields}]\n{}", row.body);
                cmd.arg(row.collection.name())
                    .arg(&row.id)
                    .arg("P")
                    .arg(at)
                    .arg(expires)
                    .arg(value)
                    .arg(row.fields.len());
                for field in &row.fields {
                    cmd.arg(entry(field));
                }
            }
        }
    }
}

/// Appends a batch as `commit.lua` takes it; `after` is the journal's end after it.
pub(super) fn batch(cmd: &mut Cmd, batch: &Batch, after: &Head) {
    cmd.arg(batch.epoch)
        .arg(head(&batch.head_before))
        .arg(batch.now.as_millis())
        .arg(batch.writes.len());
    for write in &batch.writes {
        match write {
            Write::Commit(one) => commit(cmd, one),
            Write::Accept(one) => accept(cmd, one),
            Write::Take { source, numbers } => {
                cmd.arg("T").arg(&source.name);
                let runs = runs(numbers);
                cmd.arg(runs.len());
                for (first, last) in runs {
                    cmd.arg(first).arg(last);
                }
            }
        }
    }
    cmd.arg(head(after)).arg(batch.journal.len());
    for row in &batch.journal {
        let case = row.case.map_or_else(|| "-".to_owned(), |c| c.to_string());
        let value = format!("{} {case} {}\n{}", row.at.as_millis(), row.hash, row.body);
        cmd.arg(row.seq).arg(case).arg(value);
    }
}

fn commit(cmd: &mut Cmd, one: &Commit) {
    let next = one.expected + 1;
    cmd.arg("C")
        .arg(&one.key.name)
        .arg(one.expected)
        .arg(next)
        .arg(aggregate(next, &one.guard, &one.state))
        .arg(instant(one.due));
    rows(cmd, one.rows.iter());
    cmd.arg(one.births.len());
    for birth in &one.births {
        cmd.arg(&birth.key.name)
            .arg(aggregate(1, "", &birth.state))
            .arg(instant(birth.due));
        rows(cmd, birth.rows.iter());
    }
}

fn accept(cmd: &mut Cmd, one: &Accept) {
    cmd.arg("A")
        .arg(&one.source.name)
        .arg(one.first)
        .arg(one.first + one.alerts.len() as u64);
    match &one.cursor {
        Some(cursor) => cmd.arg("1").arg(cursor),
        None => cmd.arg("0"),
    };
    cmd.arg(one.alerts.len());
    for alert in &one.alerts {
        cmd.arg(alert.number).arg(queued(alert));
    }
    cmd.arg(one.marks.len());
    for mark in &one.marks {
        packed(cmd, &mark.identity);
        packed(cmd, &mark.body);
        cmd.arg(mark.expires.as_millis())
            .arg(i32::from(mark.renew))
            .arg(&mark.alert);
    }
    rows(cmd, one.rows.iter());
}

/// A hex SHA-256 as its 32 bytes: marks are most of what a month of alerts leaves in memory.
fn packed(cmd: &mut Cmd, text: &str) {
    let mut bytes = [0u8; 32];
    let canonical = !text.bytes().any(|b| b.is_ascii_uppercase());
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) if canonical => cmd.arg(&bytes[..]),
        _ => cmd.arg(text),
    };
}

/// Numbers as runs without gaps, each one command.
fn runs(numbers: &[u64]) -> Vec<(u64, u64)> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in sorted {
        match runs.last_mut() {
            Some((_, last)) if number <= last.saturating_add(1) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    runs
}
