//! The stored form of a durable machine: its state and its outbox in one JSON document with a schema
//! number, so that an effect can never be lost from or left behind by the state that decided it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::ids::CaseId;
use crate::core::machine::{Effect, Machine};
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

#[derive(Serialize)]
struct Written<'a, M: Machine> {
    schema: u32,
    state: &'a M,
    outbox: &'a Outbox<M::Effect>,
}

#[derive(Deserialize)]
struct Header {
    schema: u32,
    state: serde_json::Value,
    outbox: serde_json::Value,
}

#[derive(Deserialize)]
struct Current<M: Machine> {
    schema: u32,
    #[serde(bound(deserialize = "M: Machine"))]
    state: M,
    #[serde(bound(deserialize = "M: Machine"))]
    outbox: Outbox<M::Effect>,
}

/// Why a checkpoint cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error(
        "checkpoint of {key} has schema {found}, newer than {known}: run the newer securitybot"
    )]
    Newer { key: String, found: u32, known: u32 },
    #[error("checkpoint of {key} cannot be read: {why}")]
    Corrupt { key: String, why: String },
}

pub fn encode<M: Machine>(state: &M, outbox: &Outbox<M::Effect>) -> String {
    serde_json::to_string(&Written {
        schema: M::SCHEMA,
        state,
        outbox,
    })
    .expect("states and effects are plain data with string keys")
}

pub fn decode<M: Machine>(key: &str, bytes: &str) -> Result<(M, Outbox<M::Effect>), Unreadable> {
    let corrupt = |why: String| Unreadable::Corrupt {
        key: key.to_owned(),
        why,
    };
    match serde_json::from_str::<Current<M>>(bytes) {
        Ok(current) if current.schema == M::SCHEMA => Ok((current.state, current.outbox)),
        current => {
            let header: Header =
                serde_json::from_str(bytes).map_err(|error| corrupt(error.to_string()))?;
            if header.schema > M::SCHEMA {
                return Err(Unreadable::Newer {
                    key: key.to_owned(),
                    found: header.schema,
                    known: M::SCHEMA,
                });
            }
            if let Err(error) = current
                && header.schema == M::SCHEMA
            {
                return Err(corrupt(error.to_string()));
            }
            let outbox = serde_json::from_value(header.outbox)
                .map_err(|error| corrupt(format!("outbox: {error}")))?;
            M::migrate(header.schema, header.state)
                .map(|state| (state, outbox))
                .ok_or_else(|| corrupt(format!("no migration from schema {}", header.schema)))
        }
    }
}
