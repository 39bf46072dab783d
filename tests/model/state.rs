//! One instant of the world: what is durable, what lives in memory, what is on its way, what the other
//! sides have seen.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use securitybot::actors::checkpoint::{Outbox, Written as Held};
use securitybot::core::case::CaseView;
use securitybot::core::conversation::open_case::Case;
use securitybot::core::conversation::{Conversation, Effect as Said, SnoozeRow};
use securitybot::core::escalation::{Effect as Paging, Escalation};
use securitybot::core::ids::AggregateKey;
use securitybot::core::pieces::Whole;
use securitybot::core::policy::Pushes;
use securitybot::core::world::World;
use securitybot::store::Piece;

use crate::conversation_support;
use crate::phone::Phone;
use crate::text::Reader;

/// 2026-11-24T10:00:00Z, a Tuesday.
pub const START: i64 = 1_795_514_400_000;
/// Time does not go on beyond: every question has ended long before.
pub const END: i64 = START + 2 * 3_600_000;

pub const PEOPLE: [&str; 2] = ["alice", "bob"];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Chat {
    /// One message per key, whatever comes twice.
    Idempotent,
    /// A message per send; it can be asked what it has under a key.
    ReadBack,
    /// Its messages are rows of the commit that decides them.
    InTheStore,
}

/// Which faults there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The process dies, or is frozen and another takes over.
    Deaths,
    /// Answers get lost, so that everything comes again; the chat or the pager refuses for good.
    Losses,
}

pub struct Alert {
    pub who: usize,
    pub host: &'static str,
}

/// The model: what is given.
pub struct Bot {
    pub chat: Chat,
    pub people: usize,
    pub alerts: Vec<Alert>,
    pub acts: u8,
    pub faults: u8,
    pub kind: Kind,
    /// Everybody has a phone, on which a yes can be proved.
    pub pushes: bool,
    /// 0: to the end of everything.
    pub depth: u8,
    pub world: World,
    pub read: Reader,
}

/// High severity (no working hours), an answer within 30 minutes; pages once.
pub fn world(pushes: bool) -> World {
    let mut rule = conversation_support::rule("*");
    rule.explanation = Some(securitybot::core::policy::Explanation::Optional);
    let mut world = conversation_support::world(vec![rule]);
    world.policy.pushes = pushes.then(Pushes::default);
    for ladder in world.policy.ladders.values_mut() {
        for level in &mut ladder.levels {
            level.repeat = Duration::ZERO;
        }
    }
    world
}

/// Something durable: what is written counts, what was read from it is only kept at hand.
#[derive(Clone)]
pub struct Written<T> {
    text: Arc<str>,
    /// Of the text: a state is hashed far more often than it is written.
    digest: u64,
    pub read: Arc<T>,
}

impl<T> Written<T> {
    pub fn new(text: String, read: impl FnOnce(&str) -> T) -> Self {
        let mut hasher = std::hash::DefaultHasher::new();
        text.hash(&mut hasher);
        Self {
            read: Arc::new(read(&text)),
            digest: hasher.finish(),
            text: text.into(),
        }
    }
}

impl<T> PartialEq for Written<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text) || self.text == other.text
    }
}
impl<T> Eq for Written<T> {}
impl<T> Hash for Written<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.digest.hash(hasher);
    }
}
impl<T> std::fmt::Debug for Written<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text.fmt(f)
    }
}

/// A checkpoint as the store has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stored {
    pub version: u64,
    pub checkpoint: Written<Loaded>,
    /// Part of what is written.
    pub pieces: Arc<[Piece]>,
}

/// What a loaded aggregate consists of.
#[derive(Clone)]
pub enum Loaded {
    Conversation(Conversation, Outbox<Said>, Held<Case>),
    Escalation(Escalation, Outbox<Paging>, Held<Whole>),
}

/// An instance in memory. Its state is the one stored under its version, so it does not count as a part
/// of the state of its own.
#[derive(Clone)]
pub struct Live {
    pub version: u64,
    pub started: BTreeSet<u64>,
    pub loaded: Arc<Loaded>,
}

impl PartialEq for Live {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.started == other.started
    }
}
impl Eq for Live {}
impl Hash for Live {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.version, &self.started).hash(hasher);
    }
}
impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "version {}", self.version)
    }
}

/// An effect on its way to the other side or back. An orphan's sender is no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flight {
    pub from: AggregateKey,
    pub seq: u64,
    /// The message id, once the other side has taken it.
    pub taken: Option<String>,
    pub orphan: bool,
    /// Of an orphan: its effect, as JSON (its sender may have forgotten it).
    pub effect: String,
}

/// A message as the chat shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    pub to: String,
    pub case: Option<String>,
    pub revision: u32,
    pub question: bool,
    pub shows: Shows,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shows {
    /// Yes, no, ...
    Buttons,
    /// The field for a code.
    Form,
    /// *That wasn't me after all*, or nothing at all.
    Over,
}

/// What a person did and the bot has not confirmed yet; sent again under the same id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Act {
    pub by: usize,
    pub nth: u8,
    /// Whose conversation it goes to.
    pub to: usize,
    pub case: String,
    pub revision: u32,
    pub does: Does,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Does {
    Yes,
    No,
    /// With the code of this time step; `None`: a wrong one.
    Code(Option<u64>),
    /// Asks for a request on their phone.
    Push,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub now: i64,
    // Durable.
    pub store: BTreeMap<AggregateKey, Stored>,
    pub rows: BTreeMap<String, Written<CaseView>>,
    pub snoozes: BTreeMap<String, Written<SnoozeRow>>,
    /// When each accepted alert was accepted, and whether the intake has let it go.
    pub queue: Vec<(i64, bool)>,
    // In memory.
    pub live: BTreeMap<AggregateKey, Live>,
    // Under way.
    pub flights: BTreeSet<Flight>,
    pub pending: BTreeSet<Act>,
    // The other sides.
    pub chat: BTreeMap<String, Message>,
    /// By key: however often one comes, it is one.
    pub pages: BTreeSet<String>,
    pub proved: BTreeSet<(usize, u64)>,
    pub phone: Phone,
    /// Cases to which somebody said no, in the chat or on the phone.
    pub denied: BTreeSet<String>,
    // What is left of the bound.
    pub acts: Vec<u8>,
    pub faults: u8,
    /// A sender was frozen in the middle of a send: what it sends later is beyond promise P4's last half.
    pub frozen: bool,
    /// What was broken on the way here.
    pub broken: BTreeSet<(&'static str, String)>,
}
