//! A batch as `commit.lua` takes it: what it assumes, then what it leaves, as lists for a few calls of the
//! server. Each list is one call in the script and one line in the append-only file.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use redis::Cmd;

use super::expected::Expected;
use super::{changes, chunk, format, pack, queued};
use crate::core::ids::CaseId;
use crate::core::machine::{Collection, RowChange};
use crate::core::time::Timestamp;
use crate::store::{Accept, Batch, Birth, Head, JournalRow, QueuedAlert, Write};

/// Lua can hand at most some 8,000 values to a call; even, so that pairs stay together.
const MOST_VALUES: usize = 4_000;
/// Marks expire in spans of this many milliseconds, as `trim.lua` knows them.
const SPAN_MS: i64 = 1 << 20;

pub(super) type Values<'a> = Vec<Cow<'a, [u8]>>;

pub(super) fn text(text: &str) -> Cow<'_, [u8]> {
    Cow::Borrowed(text.as_bytes())
}

pub(super) fn number<'a>(number: impl ToString) -> Cow<'a, [u8]> {
    Cow::Owned(number.to_string().into_bytes())
}

/// About how many bytes it takes, so that a large one is not copied as it grows.
pub(super) fn size(batch: &Batch) -> usize {
    /// Names, numbers and what a row is found by.
    const AROUND: usize = 300;
    let writes = batch.writes.iter().map(|write| match write {
        Write::Commit(one) => {
            let pieces = one.pieces.written.iter().map(|piece| piece.body.len());
            let rows = one.rows.iter();
            let rows = rows.map(|change| change.row().map_or(0, |row| row.body.len()) + AROUND);
            one.state.len() + pieces.sum::<usize>() + rows.sum::<usize>() + AROUND
        }
        Write::Accept(one) => {
            let alerts = one.alerts.iter().map(|alert| alert.body.len() + AROUND);
            alerts.sum()
        }
        Write::Take { firsts, .. } => 20 * firsts.len(),
    });
    let records = batch.journal.iter().map(|row| row.body.len());
    // Packed it is a third or less.
    (writes.sum::<usize>() + records.sum::<usize>()) / 3 + AROUND
}

/// Appends `batch`; `after` is the journal's end after it.
pub(super) fn batch<'a>(cmd: &mut Cmd, batch: &'a Batch, expected: &Expected<'a>, after: &Head) {
    assumptions(cmd, batch, expected);
    if expected.contradictory {
        return;
    }
    match batch.journal.first() {
        Some(first) => {
            let chunk = chunk::encode(&batch.journal);
            cmd.arg(1).arg(first.seq).arg(chunk)
        }
        None => cmd.arg(0),
    };
    let rows: Vec<&RowChange> = rows(batch).collect();
    let mut calls = Calls::default();
    aggregates(&mut calls, batch);
    queues(&mut calls, batch);
    marks(&mut calls, expected);
    let (new, old) = cases(&batch.journal, &rows);
    calls.add("HSET", "t", new);
    calls.send(cmd);
    cmd.arg(old.len() / 2);
    for part in 0..2 {
        for value in old.iter().skip(part).step_by(2) {
            cmd.arg(value.as_ref());
        }
    }
    changes::send(cmd, rows);
    cmd.arg(format::head(after));
}

fn rows(batch: &Batch) -> impl Iterator<Item = &RowChange> {
    batch.writes.iter().flat_map(|write| {
        let (own, births): (&[RowChange], &[Birth]) = match write {
            Write::Commit(one) => (&one.rows, &one.births),
            Write::Accept(one) => (&one.rows, &[]),
            Write::Take { .. } => (&[], &[]),
        };
        own.iter()
            .chain(births.iter().flat_map(|birth| &birth.rows))
    })
}

fn assumptions(cmd: &mut Cmd, batch: &Batch, expected: &Expected<'_>) {
    cmd.arg(batch.epoch)
        .arg(format::head(&batch.head_before))
        .arg(batch.now.as_millis())
        .arg(i32::from(expected.contradictory));
    for numbers in [&expected.versions, &expected.nexts] {
        cmd.arg(numbers.len());
        for (name, _) in numbers {
            cmd.arg(name);
        }
        for (_, number) in numbers {
            cmd.arg(number);
        }
    }
    cmd.arg(expected.marks.len());
    for source in &expected.marks {
        cmd.arg(source.name)
            .arg(source.fresh.len())
            .arg(source.fresh.len() + source.renewed.len());
        for mark in source.in_order() {
            cmd.arg(&mark.id[..]);
        }
        for mark in &source.renewed {
            cmd.arg(&mark.expiry[..]).arg(&mark.body[..]);
        }
    }
}

/// Calls of the server that need nothing but their values, one per command and key.
#[derive(Default)]
pub(super) struct Calls<'a> {
    list: Vec<(&'static str, Cow<'a, str>, Values<'a>)>,
}

impl<'a> Calls<'a> {
    pub(super) fn add(
        &mut self,
        command: &'static str,
        key: impl Into<Cow<'a, str>>,
        values: Values<'a>,
    ) {
        if !values.is_empty() {
            self.list.push((command, key.into(), values));
        }
    }

    pub(super) fn send(&self, cmd: &mut Cmd) {
        let calls = self.list.iter().flat_map(|(command, key, values)| {
            values
                .chunks(MOST_VALUES)
                .map(move |values| (command, key, values))
        });
        cmd.arg(calls.clone().count());
        for (command, key, values) in calls {
            cmd.arg(command).arg(key.as_ref()).arg(values.len());
            for value in values {
                cmd.arg(value.as_ref());
            }
        }
    }
}

fn field<'a>(name: &str, number: u64) -> Cow<'a, [u8]> {
    Cow::Owned(format::piece(name, number).into_bytes())
}

fn aggregates<'a>(calls: &mut Calls<'a>, batch: &'a Batch) {
    let (mut states, mut versions) = (Values::new(), Values::new());
    // The last one counts.
    let mut dues: BTreeMap<&str, Option<Timestamp>> = BTreeMap::new();
    let mut born = Values::new();
    let (mut pieces, mut dropped) = (Values::new(), Values::new());
    let mut set = |name: &'a str, version: u64, guard: &str, held: &[u64], state: &str| {
        states.push(text(name));
        states.push(Cow::Owned(format::aggregate(guard, held, state)));
        versions.push(text(name));
        versions.push(number(version));
    };
    for write in &batch.writes {
        let Write::Commit(one) = write else { continue };
        let next = one.expected + 1;
        let (name, changes) = (&one.key.name, &one.pieces);
        set(name, next, &one.guard, &changes.held, &one.state);
        if !one.due_stands {
            dues.insert(name, one.due);
        }
        for piece in &changes.written {
            let mut value = Vec::new();
            pack::pack(piece.body.as_bytes(), &mut value);
            pieces.extend([field(name, piece.number), Cow::Owned(value)]);
        }
        dropped.extend(changes.dropped.iter().map(|number| field(name, *number)));
        for birth in &one.births {
            set(&birth.key.name, 1, "", &[], &birth.state);
            dues.insert(&birth.key.name, birth.due);
            if let Some(at) = birth.due {
                born.extend([number(at.as_millis()), text(&birth.key.name)]);
            }
        }
    }
    let (mut timed, mut untimed) = (Values::new(), Values::new());
    for (name, due) in dues {
        match due {
            Some(at) => timed.extend([number(at.as_millis()), text(name)]),
            None => untimed.push(text(name)),
        }
    }
    // Of half a commit too whoever was born must wake: nothing else would ever find it.
    calls.add("ZADD", "due", born);
    calls.add("HDEL", "pc", dropped);
    calls.add("HSET", "pc", pieces);
    calls.add("HSET", "agg", states);
    calls.add("HSET", "ver", versions);
    calls.add("ZADD", "due", timed);
    calls.add("ZREM", "due", untimed);
}

/// A queue's index comes after its values: claiming a partition lets it follow what half a commit left of these.
fn queues<'a>(calls: &mut Calls<'a>, batch: &'a Batch) {
    let (mut next, mut cursors) = (Values::new(), Values::new());
    let mut added: BTreeMap<&str, BTreeMap<u64, &[QueuedAlert]>> = BTreeMap::new();
    let mut taken: BTreeMap<&str, Values<'a>> = BTreeMap::new();
    for write in &batch.writes {
        match write {
            Write::Commit(_) => {}
            Write::Accept(one) => {
                let name = one.source.name.as_str();
                next.extend([text(name), number(next_number(one))]);
                if let Some(cursor) = &one.cursor {
                    cursors.extend([text(name), text(cursor)]);
                }
                if !one.alerts.is_empty() {
                    let chunks = added.entry(name).or_default();
                    chunks.insert(one.first, &one.alerts);
                }
            }
            Write::Take { source, firsts } => {
                let name = source.name.as_str();
                for first in firsts {
                    let new = added.get_mut(name);
                    if new.and_then(|new| new.remove(first)).is_none() {
                        taken.entry(name).or_default().push(number(first));
                    }
                }
            }
        }
    }
    for (source, firsts) in taken {
        calls.add("HDEL", format!("q:{source}"), firsts.clone());
        calls.add("ZREM", format!("qf:{source}"), firsts);
    }
    for (source, chunks) in added {
        let (mut values, mut index) = (Values::new(), Values::new());
        for (first, alerts) in chunks {
            values.extend([number(first), Cow::Owned(queued::encode(alerts))]);
            let last = first + alerts.len() as u64 - 1;
            index.extend([number(last), number(first)]);
        }
        calls.add("HSET", format!("q:{source}"), values);
        calls.add("ZADD", format!("qf:{source}"), index);
    }
    calls.add("HSET", "next", next);
    calls.add("HSET", "cursor", cursors);
}

fn next_number(one: &Accept) -> u64 {
    one.first + one.alerts.len() as u64
}

fn marks<'a>(calls: &mut Calls<'a>, expected: &Expected<'a>) {
    let mut spans: BTreeMap<i64, Values<'a>> = BTreeMap::new();
    for source in &expected.marks {
        let fresh = source.fresh.iter().flat_map(|mark| {
            let value = [&mark.expiry[..], &mark.body[..]].concat();
            [Cow::Owned(mark.id.to_vec()), Cow::Owned(value)]
        });
        calls.add("HSET", format!("m:{}", source.name), fresh.collect());
        for mark in source.in_order() {
            let span = mark.expires.as_millis().div_euclid(SPAN_MS);
            let member = [&mark.id[..], source.name.as_bytes()].concat();
            spans.entry(span).or_default().push(Cow::Owned(member));
        }
    }
    for (span, members) in spans {
        calls.add("RPUSH", format!("mx:{span}"), members);
        calls.add("ZADD", "mx", vec![number(span), number(span)]);
    }
}

/// Each case and the numbers of its records in turn: of cases that are new, and of those that may have records already.
fn cases<'a>(journal: &[JournalRow], rows: &[&RowChange]) -> (Values<'a>, Values<'a>) {
    let mut numbers: BTreeMap<CaseId, String> = BTreeMap::new();
    for row in journal {
        let Some(case) = row.case else { continue };
        let numbers = numbers.entry(case).or_default();
        if !numbers.is_empty() {
            numbers.push(' ');
        }
        numbers.push_str(&row.seq.to_string());
    }
    let made = rows.iter().filter_map(|change| match change {
        RowChange::New(row) if row.collection == Collection::Cases => CaseId::parse(&row.id),
        _ => None,
    });
    let made: HashSet<CaseId> = made.collect();
    let (mut new, mut old) = (Values::new(), Values::new());
    for (case, numbers) in numbers {
        let values = match made.contains(&case) {
            true => &mut new,
            false => &mut old,
        };
        values.push(Cow::Owned(case.to_bytes().to_vec()));
        values.push(Cow::Owned(numbers.into_bytes()));
    }
    (new, old)
}

/// Changes outside any commit, for `put.lua`: they see each other in order.
pub(super) fn puts(cmd: &mut Cmd, changes: &[RowChange], if_absent: bool) {
    cmd.arg(changes.len());
    for change in changes {
        match change {
            RowChange::Put(row) | RowChange::New(row) => {
                let what = if if_absent { "A" } else { "P" };
                cmd.arg(what).arg(row.collection.name()).arg(&row.id);
                cmd.arg(format::row(row));
            }
            RowChange::Delete { collection, id } => {
                cmd.arg("D").arg(collection.name()).arg(id).arg("");
            }
        }
    }
}
