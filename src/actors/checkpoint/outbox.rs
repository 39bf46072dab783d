//! What a machine wants done and has not heard of yet: stored with the state that decided it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::ids::CaseId;
use crate::core::machine::Effect;
use crate::core::time::Timestamp;

/// An effect that has not been settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry<E> {
    /// With the aggregate's name it is the effect's key, for ever.
    pub seq: u64,
    /// Shared with whoever performs it.
    pub effect: Arc<E>,
    /// Not tried again before.
    pub not_before: Timestamp,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tries: u32,
}

fn is_zero(tries: &u32) -> bool {
    *tries == 0
}

/// What a machine wants done and has not heard of yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outbox<E> {
    pub next_seq: u64,
    pub entries: Vec<Entry<E>>,
}

impl<E: Effect> Outbox<E> {
    pub fn new() -> Self {
        Self {
            next_seq: 1,
            entries: Vec::new(),
        }
    }

    /// In place of one that is lost: its numbers lie above every one given before, so that no effect
    /// can be taken for an earlier one by a chat that remembers keys.
    pub fn anew(now: Timestamp) -> Self {
        Self {
            next_seq: u64::try_from(now.as_millis()).unwrap_or(1).max(1),
            entries: Vec::new(),
        }
    }

    /// The outbox after a step: `settled` leaves, unstarted effects of withdrawn cases leave, new
    /// effects join at the end.
    pub fn after(
        &self,
        settled: Option<u64>,
        withdraw: &[CaseId],
        started: &BTreeSet<u64>,
        effects: Vec<E>,
        now: Timestamp,
    ) -> Self {
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| Some(entry.seq) != settled)
            .filter(|entry| {
                started.contains(&entry.seq)
                    || !entry
                        .effect
                        .case()
                        .is_some_and(|case| withdraw.contains(&case))
            })
            .cloned()
            .collect();
        let mut next_seq = self.next_seq;
        for effect in effects {
            entries.push(Entry {
                seq: next_seq,
                effect: Arc::new(effect),
                not_before: now,
                tries: 0,
            });
            next_seq += 1;
        }
        Self { next_seq, entries }
    }

    /// The first entry of each lane: the only ones that may be performed now.
    pub fn heads(&self) -> Vec<&Entry<E>> {
        let mut lanes: Vec<Cow<'_, str>> = Vec::new();
        let mut heads = Vec::new();
        for entry in &self.entries {
            let lane = entry.effect.lane();
            if !lanes.contains(&lane) {
                lanes.push(lane);
                heads.push(entry);
            }
        }
        heads
    }

    /// When the next head may be tried.
    pub fn due(&self) -> Option<Timestamp> {
        self.heads().iter().map(|entry| entry.not_before).min()
    }
}

impl<E: Effect> Default for Outbox<E> {
    fn default() -> Self {
        Self::new()
    }
}
