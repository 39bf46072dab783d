//! What `commit.lua` found where a batch assumed something else, as the contract says it: each write is
//! judged with what the accepted ones before it would leave.

use std::collections::HashMap;

use redis::Value;

use super::expected::Expected;
use super::format::{self, Short};
use crate::store::{Accept, Batch, Commit, Refusal, Seen, Write, WriteError};

/// The store's side of what a batch depends on.
#[derive(Default)]
pub(super) struct Facts<'a> {
    pub versions: HashMap<&'a str, u64>,
    pub nexts: HashMap<&'a str, u64>,
    /// Bodies of the marks that stand, by source and identity.
    pub marks: HashMap<(&'a str, Short), Short>,
}

type Found = (
    Vec<Option<String>>,
    Vec<Option<String>>,
    Vec<Vec<Option<Vec<u8>>>>,
);

/// What `commit.lua` answered.
pub(super) fn read(batch: &Batch, expected: &Expected<'_>, reply: Value) -> Result<(), WriteError> {
    match &reply {
        Value::BulkString(word) if word == b"ok" => return Ok(()),
        Value::BulkString(word) if word == b"fenced" => return Err(WriteError::Fenced),
        _ => {}
    }
    // The script has answered, so it has written nothing; but what it said is not known.
    let strange = || WriteError::Unknown("an unreadable verdict".to_owned());
    let found: Found = redis::from_redis_value(reply).map_err(|_| strange())?;
    let mut facts = facts(batch, expected, &found).ok_or_else(strange)?;
    let refused = facts.refusals(batch);
    if refused.is_empty() {
        return Err(strange());
    }
    Err(WriteError::Refused(refused))
}

fn facts<'a>(batch: &Batch, expected: &Expected<'a>, found: &Found) -> Option<Facts<'a>> {
    let number = |text: &Option<String>, otherwise| match text {
        Some(text) => text.parse().ok(),
        None => Some(otherwise),
    };
    let mut facts = Facts::default();
    for ((name, _), version) in expected.versions.iter().zip(&found.0) {
        facts.versions.insert(name, number(version, 0)?);
    }
    for ((name, _), next) in expected.nexts.iter().zip(&found.1) {
        facts.nexts.insert(name, number(next, 1)?);
    }
    for (source, found) in expected.marks.iter().zip(&found.2) {
        for (mark, value) in source.in_order().zip(found) {
            // A damaged one does not stand, as in the script.
            let standing = value.as_deref().and_then(format::read_mark);
            if let Some((expires, body)) = standing
                && expires > batch.now
            {
                facts.marks.insert((source.name, mark.id), body);
            }
        }
    }
    Some(facts)
}

impl<'a> Facts<'a> {
    /// The writes that cannot be made, and why.
    pub fn refusals(&mut self, batch: &'a Batch) -> Vec<(usize, Refusal)> {
        let writes = batch.writes.iter().enumerate();
        writes
            .filter_map(|(index, write)| {
                let why = match write {
                    Write::Commit(one) => self.judge_commit(one),
                    Write::Accept(one) => self.judge_accept(one),
                    Write::Take { .. } => None,
                };
                Some((index, why?))
            })
            .collect()
    }

    fn judge_commit(&mut self, one: &'a Commit) -> Option<Refusal> {
        let own = std::iter::once((one.key.name.as_str(), one.expected));
        let births = one.births.iter().map(|birth| (birth.key.name.as_str(), 0));
        let mut next: HashMap<&str, u64> = HashMap::new();
        for (name, expected) in own.chain(births) {
            let found = next.get(name).or_else(|| self.versions.get(name));
            let found = found.copied().unwrap_or(0);
            if found != expected {
                return Some(Refusal::Conflict { found });
            }
            next.insert(name, expected + 1);
        }
        self.versions.extend(next);
        None
    }

    fn judge_accept(&mut self, one: &'a Accept) -> Option<Refusal> {
        let source = one.source.name.as_str();
        let found = self.nexts.get(source).copied().unwrap_or(1);
        if found != one.first {
            return Some(Refusal::Conflict { found });
        }
        let mut added: HashMap<(&str, Short), Short> = HashMap::new();
        let mut duplicates = Vec::new();
        for (index, mark) in one.marks.iter().enumerate() {
            let place = (source, format::short(&mark.identity));
            let body = format::short(&mark.body);
            let standing = added.get(&place).or_else(|| self.marks.get(&place));
            match standing.copied() {
                Some(standing) if !mark.renew => {
                    let seen = if standing == body {
                        Seen::Same
                    } else {
                        Seen::Altered
                    };
                    duplicates.push((index, seen));
                }
                standing => {
                    added.insert(place, standing.unwrap_or(body));
                }
            }
        }
        if !duplicates.is_empty() {
            return Some(Refusal::Duplicate(duplicates));
        }
        self.marks.extend(added);
        self.nexts.insert(source, found + one.alerts.len() as u64);
        None
    }
}
