//! What a batch assumes of the store: worked out here, so that the script only compares. Redis has one
//! thread for everybody, we have several.

use std::collections::{HashMap, HashSet};

use super::format::{self, Short};
use super::verdict::Facts;
use crate::core::time::Timestamp;
use crate::store::{Accept, Batch, Mark, Write};

/// Each aggregate, source and identity once, as it is before the batch.
#[derive(Default)]
pub(super) struct Expected<'a> {
    pub versions: Vec<(&'a str, u64)>,
    pub nexts: Vec<(&'a str, u64)>,
    pub marks: Vec<SourceMarks<'a>>,
    /// The batch contradicts itself: nothing can be written, only looked at.
    pub contradictory: bool,
}

/// The marks of one source's accepts.
pub(super) struct SourceMarks<'a> {
    pub name: &'a str,
    /// Must not stand.
    pub fresh: Vec<PlannedMark>,
    /// Move their expiry if they stand.
    pub renewed: Vec<PlannedMark>,
    place: HashMap<Short, (bool, usize)>,
}

/// A mark as the batch leaves it.
#[derive(Clone, Copy)]
pub(super) struct PlannedMark {
    pub id: Short,
    pub body: Short,
    pub expiry: [u8; 8],
    pub expires: Timestamp,
}

impl SourceMarks<'_> {
    /// As they are sent.
    pub fn in_order(&self) -> impl Iterator<Item = &PlannedMark> {
        self.fresh.iter().chain(&self.renewed)
    }

    /// `false`: it was named before in the same batch.
    fn add(&mut self, mark: &Mark) -> bool {
        let planned = PlannedMark {
            id: format::short(&mark.identity),
            body: format::short(&mark.body),
            expiry: format::expiry(mark),
            expires: mark.expires,
        };
        if let Some((renewed, index)) = self.place.get(&planned.id) {
            let list = if *renewed {
                &mut self.renewed
            } else {
                &mut self.fresh
            };
            list[*index].expiry = planned.expiry;
            list[*index].expires = planned.expires;
            return false;
        }
        let list = if mark.renew {
            &mut self.renewed
        } else {
            &mut self.fresh
        };
        self.place.insert(planned.id, (mark.renew, list.len()));
        list.push(planned);
        true
    }
}

impl<'a> Expected<'a> {
    pub fn of(batch: &'a Batch) -> Self {
        let mut expected = Self::default();
        let mut seen = HashSet::new();
        let mut twice = false;
        for write in &batch.writes {
            match write {
                Write::Commit(one) => {
                    let births = one.births.iter().map(|birth| (birth.key.name.as_str(), 0));
                    for (name, version) in births.chain([(one.key.name.as_str(), one.expected)]) {
                        if seen.insert(name) {
                            expected.versions.push((name, version));
                        } else {
                            twice = true;
                        }
                    }
                }
                Write::Accept(one) => twice |= !expected.accept(one),
                Write::Take { .. } => {}
            }
        }
        expected.contradictory = twice && !expected.assumed().refusals(batch).is_empty();
        expected
    }

    /// `false`: something of it was named before.
    fn accept(&mut self, one: &'a Accept) -> bool {
        let name = one.source.name.as_str();
        let known = self.nexts.iter().any(|(other, _)| *other == name);
        if !known {
            self.nexts.push((name, one.first));
            self.marks.push(SourceMarks {
                name,
                fresh: Vec::with_capacity(one.marks.len()),
                renewed: Vec::new(),
                place: HashMap::with_capacity(one.marks.len()),
            });
        }
        let mut once = !known;
        if let Some(source) = self.marks.iter_mut().find(|source| source.name == name) {
            for mark in &one.marks {
                once &= source.add(mark);
            }
        }
        once
    }

    /// The store as the batch wants it.
    fn assumed(&self) -> Facts<'a> {
        Facts {
            versions: self.versions.iter().copied().collect(),
            nexts: self.nexts.iter().copied().collect(),
            marks: HashMap::new(),
        }
    }
}
