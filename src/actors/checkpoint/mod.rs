//! The stored form of a durable machine: its state and its outbox in one JSON document with a schema
//! number, so that an effect can never be lost from or left behind by the state that decided it. A state of several
//! cases keeps these beside the document, each as a piece that is written when it changes; the document says which
//! pieces it is made of.

mod outbox;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::machine::Machine;
use crate::core::pieces::{Piece, Pieces};
use crate::core::time::{Timestamp, earliest};
use crate::store::{self as stored, PieceChanges, Stored};

pub use outbox::{Entry, Outbox};

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

/// A state of so many pieces and more is stored in pieces; one with fewer costs less as a whole.
const APART_FROM: usize = 2;

/// What the store has of an aggregate beside its document.
#[derive(Clone, Debug)]
pub struct Written<P> {
    /// When it is due; `None`: as long as nobody wrote it in this life, that is not known.
    due: Option<Option<Timestamp>>,
    /// The highest number given so far.
    last: u64,
    /// With their numbers, in the order of their ids; shared with the state in memory.
    held: Vec<(u64, Arc<P>)>,
    /// Freed by the last commit, to be dropped by the next.
    freed: Vec<u64>,
}

impl<P> Default for Written<P> {
    fn default() -> Self {
        Self {
            due: None,
            last: 0,
            held: Vec::new(),
            freed: Vec::new(),
        }
    }
}

impl<P> Written<P> {
    /// Of a state that cannot be read: what there is of it goes.
    pub fn unreadable(stored: &Stored) -> Self {
        let numbers: Vec<u64> = stored.pieces.iter().map(|piece| piece.number).collect();
        Self {
            last: numbers.iter().copied().max().unwrap_or(0),
            freed: numbers,
            ..Self::default()
        }
    }
}

/// [`Written`] as the checkpoint tells it.
#[derive(Serialize, Deserialize)]
struct Numbers {
    last: u64,
    held: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    freed: Vec<u64>,
}

impl<P> Written<P> {
    fn numbers(&self) -> Option<Numbers> {
        (self.last > 0).then(|| {
            let mut held: Vec<u64> = self.held.iter().map(|(number, _)| *number).collect();
            held.sort_unstable();
            Numbers {
                last: self.last,
                held,
                freed: self.freed.clone(),
            }
        })
    }
}

/// A piece tells whose it is and under which number, so that one in another's place is found.
#[derive(Serialize, Deserialize)]
struct Labelled<P> {
    of: String,
    number: u64,
    piece: P,
}

#[derive(Serialize)]
struct Document<'a, M: Machine> {
    schema: u32,
    state: &'a M,
    #[serde(skip_serializing_if = "Option::is_none")]
    pieces: Option<Numbers>,
    outbox: &'a Outbox<M::Effect>,
}

#[derive(Deserialize)]
struct Header {
    schema: u32,
    state: serde_json::Value,
    #[serde(default)]
    pieces: Option<Numbers>,
    outbox: serde_json::Value,
}

#[derive(Deserialize)]
struct Current<M: Machine> {
    schema: u32,
    #[serde(bound(deserialize = "M: Machine"))]
    state: M,
    #[serde(default)]
    pieces: Option<Numbers>,
    #[serde(bound(deserialize = "M: Machine"))]
    outbox: Outbox<M::Effect>,
}

/// The whole state in one.
pub fn encode<M: Machine>(state: &M, outbox: &Outbox<M::Effect>) -> String {
    document(state, None, outbox)
}

fn document<M: Machine>(state: &M, pieces: Option<Numbers>, outbox: &Outbox<M::Effect>) -> String {
    serde_json::to_string(&Document {
        schema: M::SCHEMA,
        state,
        pieces,
        outbox,
    })
    .expect("states and effects are plain data with string keys")
}

/// What a commit stores of a state.
pub struct Encoded<P> {
    pub state: String,
    pub pieces: PieceChanges,
    pub due: Option<Timestamp>,
    pub due_stands: bool,
    /// As it is once the commit stands.
    pub written: Written<P>,
}

/// The state as the aggregate `key` stores it after `before`: pieces that are there already are not written again.
/// `state` is as it was when this returns.
pub fn encode_after<M: Machine>(
    key: &str,
    before: &Written<M::Piece>,
    state: &mut M,
    outbox: &Outbox<M::Effect>,
) -> Encoded<M::Piece> {
    let due = earliest(state.due(), outbox.due());
    let mut written = Written {
        due: Some(due),
        last: before.last,
        ..Written::default()
    };
    let mut changes = PieceChanges::default();
    let pieces = state.pieces().filter(|pieces| pieces.len() >= APART_FROM);
    let apart = pieces.map(std::mem::take);
    for piece in apart.iter().flat_map(Pieces::shared) {
        let number = before.number_of(piece).unwrap_or_else(|| {
            written.last += 1;
            changes.written.push(stored::Piece {
                number: written.last,
                body: label(key, written.last, piece),
            });
            written.last
        });
        written.held.push((number, piece.clone()));
    }
    let numbers = written.held.iter().map(|(number, _)| *number);
    let held: BTreeSet<u64> = numbers.collect();
    let standing = before.held.iter().map(|(number, _)| *number);
    written.freed = standing.filter(|number| !held.contains(number)).collect();
    changes.held = held.into_iter().collect();
    changes.freed.clone_from(&written.freed);
    changes.dropped.clone_from(&before.freed);
    let text = document(state, written.numbers(), outbox);
    if let (Some(pieces), Some(apart)) = (state.pieces(), apart) {
        *pieces = apart;
    }
    Encoded {
        state: text,
        pieces: changes,
        due,
        due_stands: before.due == Some(due),
        written,
    }
}

impl<P: Piece> Written<P> {
    fn number_of(&self, piece: &Arc<P>) -> Option<u64> {
        let place = self
            .held
            .binary_search_by(|(_, held)| held.id().cmp(&piece.id()));
        let (number, held) = &self.held[place.ok()?];
        (Arc::ptr_eq(held, piece) || held == piece).then_some(*number)
    }
}

fn label<P: Piece>(key: &str, number: u64, piece: &Arc<P>) -> String {
    serde_json::to_string(&Labelled {
        of: key.to_owned(),
        number,
        piece,
    })
    .expect("a piece is plain data")
}

/// A state and its outbox that were stored in one.
pub fn decode<M: Machine>(key: &str, bytes: &str) -> Result<(M, Outbox<M::Effect>), Unreadable> {
    restore(key, bytes, &[]).map(|(state, outbox, _)| (state, outbox))
}

/// State, outbox, and which pieces of it are in the store.
pub type Restored<M> = (
    M,
    Outbox<<M as Machine>::Effect>,
    Written<<M as Machine>::Piece>,
);

/// What is stored of the aggregate `key`, put together.
pub fn restore<M: Machine>(
    key: &str,
    bytes: &str,
    pieces: &[stored::Piece],
) -> Result<Restored<M>, Unreadable> {
    let corrupt = |why: String| Unreadable::Corrupt {
        key: key.to_owned(),
        why,
    };
    let (mut state, numbers, outbox) = head::<M>(key, bytes)?;
    let mut written = Written::default();
    if let Some(numbers) = numbers {
        let home = state
            .pieces()
            .ok_or_else(|| corrupt("it has no pieces".to_owned()))?;
        for number in numbers.held {
            let found = pieces.iter().find(|piece| piece.number == number);
            let body = found.ok_or_else(|| corrupt(format!("its piece {number} is missing")))?;
            let Labelled {
                of,
                number: own,
                piece,
            } = serde_json::from_str::<Labelled<M::Piece>>(&body.body)
                .map_err(|error| corrupt(format!("its piece {number}: {error}")))?;
            if of != key || own != number {
                return Err(corrupt(format!("its piece {number} is {own} of {of}")));
            }
            let piece = Arc::new(piece);
            home.insert(piece.clone());
            written.held.push((number, piece));
        }
        written.held.sort_by_key(|(_, piece)| piece.id());
        written.last = numbers.last;
        written.freed = numbers.freed;
    }
    Ok((state, outbox, written))
}

/// All that is stored of an aggregate, for a human: the document, then a line for each piece.
pub fn remains(stored: &Stored) -> String {
    let pieces = stored.pieces.iter().map(|piece| piece.body.as_str());
    let lines: Vec<&str> = std::iter::once(stored.state.as_str())
        .chain(pieces)
        .collect();
    lines.join("\n")
}

type Head<M> = (M, Option<Numbers>, Outbox<<M as Machine>::Effect>);

fn head<M: Machine>(key: &str, bytes: &str) -> Result<Head<M>, Unreadable> {
    let corrupt = |why: String| Unreadable::Corrupt {
        key: key.to_owned(),
        why,
    };
    match serde_json::from_str::<Current<M>>(bytes) {
        Ok(current) if current.schema == M::SCHEMA => {
            Ok((current.state, current.pieces, current.outbox))
        }
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
                .map(|state| (state, header.pieces, outbox))
                .ok_or_else(|| corrupt(format!("no migration from schema {}", header.schema)))
        }
    }
}
