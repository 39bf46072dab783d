//! The shape of every durable machine: state and event in, [`Step`] out. No effect happens here; the
//! shell in `actors/durable.rs` commits the step first and performs its effects afterwards.

use std::borrow::Cow;
use std::time::Duration;

use litemap::LiteMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::case::CaseView;
use super::ids::{AggregateKey, CaseId};
use super::page::Raise;
use super::pieces::{Piece, Pieces};
use super::record::Record;
use super::time::Timestamp;
use super::world::World;

/// What a step may know besides its state and event; sampled once per event by the shell.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub now: Timestamp,
    /// Fresh randomness for ids: the same value gives the same step.
    pub entropy: u128,
    pub world: &'a World,
}

/// An effect is data: it is stored with the state and performed, in order per lane, once the commit
/// that holds it stands. After a crash it is performed again under the same key.
pub trait Effect:
    Clone + std::fmt::Debug + Serialize + DeserializeOwned + Send + Sync + Unpin + 'static
{
    /// For metrics and logs.
    fn name(&self) -> &'static str;
    /// Effects of one lane are performed one after the other, lanes independently.
    fn lane(&self) -> Cow<'static, str>;
    /// Closing this case withdraws the effect while it has not been started.
    fn case(&self) -> Option<CaseId>;
}

/// How performing an effect ended, told to the machine as an event. Retries are the shell's affair.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub enum Settlement {
    Done(Receipt),
    /// It will never succeed: the person is gone, the message was refused.
    Impossible {
        reason: String,
    },
}

/// What the other side said when it took an effect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, serde::Deserialize)]
pub struct Receipt {
    /// The platform's id of the message; empty where there is none.
    pub message_id: String,
    /// The platform's own time.
    pub at: Timestamp,
    /// The text as it was shown, for the journal.
    pub text: String,
}

/// Everything one event decided.
#[derive(Clone, Debug)]
pub struct Step<M: Machine> {
    pub next: M,
    pub reply: M::Reply,
    pub effects: Vec<M::Effect>,
    /// Cases whose effects that were not started before this step are withdrawn.
    pub withdraw: Vec<CaseId>,
    pub records: Vec<Record>,
    pub rows: Vec<RowChange>,
    /// Escalations whose first round this commit writes.
    pub births: Vec<Raise>,
}

impl<M: Machine> Step<M> {
    /// A step that changes nothing and answers `reply`.
    pub fn unchanged(state: &M, reply: M::Reply) -> Self {
        Self::to(state.clone(), reply)
    }

    pub fn to(next: M, reply: M::Reply) -> Self {
        Self {
            next,
            reply,
            effects: Vec::new(),
            withdraw: Vec::new(),
            records: Vec::new(),
            rows: Vec::new(),
            births: Vec::new(),
        }
    }

    /// Both as one step with the first one's reply; `later` began where this one ended. Their effects and
    /// what they withdrew must have been taken out before: the order of these matters.
    pub fn and_then(&mut self, later: Self) {
        self.next = later.next;
        self.records.extend(later.records);
        self.births.extend(later.births);
        for change in later.rows {
            self.rows.retain(|row| row.target() != change.target());
            self.rows.push(change);
        }
    }
}

pub trait Machine:
    Clone + std::fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Unpin + 'static
{
    type Event: Clone + std::fmt::Debug + Send + Unpin + 'static;
    type Effect: Effect;
    type Reply: Clone + std::fmt::Debug + Send + Unpin + 'static;
    type Piece: Piece;

    /// Raised when the stored form changes; older forms are migrated by `migrate`.
    const SCHEMA: u32;

    /// The state of an aggregate that the store does not know yet.
    fn new(key: &AggregateKey) -> Self;

    /// The state is this aggregate's own. Another's under its name (a botched repair of the store) is as
    /// good as unreadable: it would ask one employee about another's alerts.
    fn is_of(&self, _key: &AggregateKey) -> bool {
        true
    }

    fn step(&self, event: &Self::Event, cx: &Context<'_>) -> Step<Self>;

    /// What of the state is stored by itself.
    fn pieces(&mut self) -> Option<&mut Pieces<Self::Piece>> {
        None
    }

    /// The earliest instant at which time alone changes something (deadline, reminder, repeat).
    fn due(&self) -> Option<Timestamp>;

    /// The event that says time has come. Early or double firing must change nothing.
    fn woken() -> Self::Event;

    /// The event that tells the machine how its effect ended.
    fn settled(effect: Self::Effect, settlement: Settlement) -> Self::Event;

    /// The few facts that must survive an unreadable state, stored beside it.
    fn guard(&self) -> Guard;

    /// After a panic in `step` or an unreadable checkpoint: a fresh state, every open case ended as
    /// `failed` with a page, the `poison` event (if any) taken as a failed case of its own. Must
    /// not run any code of `step`. `guard` is `None` when that was unreadable too.
    fn rebuilt(
        key: &AggregateKey,
        guard: Option<Guard>,
        remains: Remains,
        poison: Option<&Self::Event>,
        cx: &Context<'_>,
    ) -> Step<Self>;

    /// A state of an older schema; `None` when it cannot be read.
    fn migrate(_schema: u32, _state: serde_json::Value) -> Option<Self> {
        None
    }
}

/// What the store's rows and queues still say about an aggregate whose state is lost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remains {
    /// The case rows that were not closed.
    pub open: Vec<CaseView>,
    /// By source, the highest queued number whose alert stands in a case already: it must not be taken
    /// again. Looked up only when the guard is unreadable.
    pub taken: LiteMap<String, u64>,
    /// The kinds of factors whose rows there are; likewise.
    pub factors: Vec<String>,
}

/// Beside the state: what replay protection needs even when the state is lost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, serde::Deserialize)]
pub struct Guard {
    /// The last number taken from each source's intake.
    pub taken: LiteMap<String, u64>,
    /// The last accepted TOTP step.
    pub last_step: Option<u64>,
    pub locked_until: Option<Timestamp>,
    /// The kinds of factors enrolled; their seeds are rows of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub factors: Vec<String>,
}

/// A row beside the states, for lists and look-ups: derived data, written by the same commit.
#[derive(Clone, Debug, PartialEq)]
pub enum RowChange {
    Put(Row),
    /// Of an id that no row had before: a store need not look for what it replaces.
    New(Row),
    Delete {
        collection: Collection,
        id: String,
    },
}

impl RowChange {
    /// Which row it changes.
    pub fn target(&self) -> (Collection, &str) {
        match self {
            Self::Put(row) | Self::New(row) => (row.collection, &row.id),
            Self::Delete { collection, id } => (*collection, id),
        }
    }

    /// The row as it stands afterwards.
    pub fn row(&self) -> Option<&Row> {
        match self {
            Self::Put(row) | Self::New(row) => Some(row),
            Self::Delete { .. } => None,
        }
    }
}

/// What kinds of rows there are. Each is listed newest first by `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    /// Body: [`CaseView`]. Fields: `employee`, or `principal` where nobody goes by it; `rule`, `outcome`, `state`, `alert`.
    Cases,
    /// Body: `escalation::EscalationRow`. Fields: `state`.
    Escalations,
    /// Body: `conversation::SnoozeRow`. Fields: `employee`.
    Snoozes,
    /// Body: `sources::Quarantined`. Fields: `source`.
    Quarantine,
    /// The web chat's messages. Fields: `employee`.
    ChatMessages,
    /// Sealed factor seeds by employee id.
    Factors,
    /// One-time links and sessions, by hash.
    Tokens,
    /// Cursors and small documents of the actors, by name.
    Documents,
}

impl Collection {
    pub const ALL: [Collection; 8] = [
        Self::Cases,
        Self::Escalations,
        Self::Snoozes,
        Self::Quarantine,
        Self::ChatMessages,
        Self::Factors,
        Self::Tokens,
        Self::Documents,
    ];

    /// The stable name in the stores.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cases => "cases",
            Self::Escalations => "escalations",
            Self::Snoozes => "snoozes",
            Self::Quarantine => "quarantine",
            Self::ChatMessages => "chat_messages",
            Self::Factors => "factors",
            Self::Tokens => "tokens",
            Self::Documents => "documents",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub collection: Collection,
    pub id: String,
    /// The sort key of lists.
    pub at: Timestamp,
    /// What it can be found by; a name may appear more than once.
    pub fields: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
    /// After this instant the store may drop it.
    pub expires: Option<Timestamp>,
}

/// How long the shell waits before it tries an effect again, by the number of tries so far.
pub fn retry_delay(tries: u32) -> Duration {
    const FIRST_MS: u64 = 500;
    const LONGEST_MS: u64 = 30_000;
    Duration::from_millis((FIRST_MS << tries.min(10)).min(LONGEST_MS))
}
