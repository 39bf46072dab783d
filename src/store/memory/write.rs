//! A batch against the maps: everything is checked first, with what the writes before it in the batch
//! would leave; then everything is done.

use std::collections::BTreeMap;

use super::{All, Part};
use crate::core::ids::AggregateKey;
use crate::core::machine::RowChange;
use crate::store::{
    Accept, Batch, Commit, Hash, Head, Piece, Refusal, Seen, Stored, Write, WriteError,
};

/// What the batch's writes so far leave, where it differs from what is stored.
#[derive(Default)]
struct Overlay<'a> {
    versions: BTreeMap<&'a AggregateKey, u64>,
    next: BTreeMap<&'a str, u64>,
    /// Bodies of marks by source and identity.
    marks: BTreeMap<(&'a str, Hash), Hash>,
}

pub(super) fn write(all: &mut All, batch: &Batch, head: Head) -> Result<(), WriteError> {
    let part = all.parts.entry(batch.partition).or_default();
    let ours = part
        .lease
        .as_ref()
        .is_some_and(|lease| lease.epoch == batch.epoch);
    if !ours || part.head != batch.head_before {
        return Err(WriteError::Fenced);
    }
    let mut overlay = Overlay::default();
    let mut refused = Vec::new();
    for (index, write) in batch.writes.iter().enumerate() {
        let refusal = match write {
            Write::Commit(one) => check_commit(part, &mut overlay, one),
            Write::Accept(one) => check_accept(part, &mut overlay, one, batch),
            Write::Take { .. } => None,
        };
        refused.extend(refusal.map(|why| (index, why)));
    }
    if !refused.is_empty() {
        return Err(WriteError::Refused(refused));
    }
    for write in &batch.writes {
        all.apply(batch, write);
    }
    let part = all.parts.entry(batch.partition).or_default();
    for row in &batch.journal {
        part.journal.insert(row.seq, row.clone());
    }
    part.head = head;
    Ok(())
}

fn check_commit<'a>(part: &Part, overlay: &mut Overlay<'a>, one: &'a Commit) -> Option<Refusal> {
    let mut next = BTreeMap::new();
    let own = std::iter::once((&one.key, one.expected));
    let births = one.births.iter().map(|birth| (&birth.key, 0));
    for (key, expected) in own.chain(births) {
        let stored = part.aggregates.get(&key.name);
        let found = next
            .get(key)
            .or_else(|| overlay.versions.get(key))
            .copied()
            .unwrap_or(stored.map_or(0, |(stored, _)| stored.version));
        if found != expected {
            return Some(Refusal::Conflict { found });
        }
        next.insert(key, expected + 1);
    }
    overlay.versions.extend(next);
    None
}

fn check_accept<'a>(
    part: &Part,
    overlay: &mut Overlay<'a>,
    one: &'a Accept,
    batch: &Batch,
) -> Option<Refusal> {
    let name = one.source.name.as_str();
    let stored = part.sources.get(name);
    let next = overlay
        .next
        .get(name)
        .copied()
        .unwrap_or(stored.map_or(1, |source| source.next));
    if next != one.first {
        return Some(Refusal::Conflict { found: next });
    }
    let mut added: BTreeMap<(&str, Hash), Hash> = BTreeMap::new();
    let mut duplicates = Vec::new();
    for (index, mark) in one.marks.iter().enumerate() {
        let place = (name, mark.identity);
        let standing = added
            .get(&place)
            .or_else(|| overlay.marks.get(&place))
            .or_else(|| {
                stored
                    .and_then(|source| source.marks.get(&mark.identity))
                    .filter(|found| found.expires > batch.now)
                    .map(|found| &found.body)
            })
            .copied();
        match standing {
            Some(body) if !mark.renew => {
                let same = body == mark.body;
                duplicates.push((index, if same { Seen::Same } else { Seen::Altered }));
            }
            Some(body) => {
                added.insert(place, body);
            }
            None => {
                added.insert(place, mark.body);
            }
        }
    }
    if !duplicates.is_empty() {
        return Some(Refusal::Duplicate(duplicates));
    }
    overlay.marks.extend(added);
    overlay.next.insert(name, next + one.alerts.len() as u64);
    None
}

impl All {
    fn apply(&mut self, batch: &Batch, write: &Write) {
        let part = self.parts.entry(batch.partition).or_default();
        match write {
            Write::Commit(one) => {
                let stored = |version, state: &String, guard: &str, pieces| Stored {
                    version,
                    state: state.clone(),
                    guard: guard.to_owned(),
                    pieces,
                };
                let before = part.aggregates.remove(&one.key.name);
                let mut pieces = before.map(|(stored, _)| stored.pieces).unwrap_or_default();
                let rewritten = |piece: &Piece| {
                    let mut written = one.pieces.written.iter();
                    written.any(|other| other.number == piece.number)
                };
                pieces.retain(|piece| one.pieces.held.contains(&piece.number) && !rewritten(piece));
                pieces.extend(one.pieces.written.iter().cloned());
                pieces.sort_by_key(|piece| piece.number);
                let next = stored(one.expected + 1, &one.state, &one.guard, pieces);
                part.aggregates
                    .insert(one.key.name.clone(), (next, one.due));
                for birth in &one.births {
                    let first = stored(1, &birth.state, "", Vec::new());
                    part.aggregates
                        .insert(birth.key.name.clone(), (first, birth.due));
                }
                let births = one.births.iter().flat_map(|birth| &birth.rows);
                for change in one.rows.iter().chain(births) {
                    self.change_row(batch.partition, change);
                }
            }
            Write::Accept(one) => {
                let source = part.sources.entry(one.source.name.clone()).or_default();
                source.next += one.alerts.len() as u64;
                if one.cursor.is_some() {
                    source.cursor.clone_from(&one.cursor);
                }
                if !one.alerts.is_empty() {
                    source.queue.insert(one.first, one.alerts.clone());
                }
                for mark in &one.marks {
                    match source.marks.get_mut(&mark.identity) {
                        Some(standing) if mark.renew && standing.expires > batch.now => {
                            standing.expires = mark.expires;
                        }
                        _ => {
                            source.marks.insert(mark.identity, mark.clone());
                        }
                    }
                }
                for change in &one.rows {
                    self.change_row(batch.partition, change);
                }
            }
            Write::Take { source, firsts } => {
                if let Some(source) = part.sources.get_mut(&source.name) {
                    source.queue.retain(|first, _| !firsts.contains(first));
                }
            }
        }
    }

    pub(super) fn change_row(&mut self, partition: u16, change: &RowChange) {
        match change {
            RowChange::Put(row) | RowChange::New(row) => {
                let key = (row.collection, row.id.clone());
                self.rows.insert(key, (partition, row.clone()));
            }
            RowChange::Delete { collection, id } => {
                self.rows.remove(&(*collection, id.clone()));
            }
        }
    }
}
