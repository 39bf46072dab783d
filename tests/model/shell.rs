//! The actors' shell as a function: load, step, commit, start what may start. A commit is an instant here:
//! that the process dies just before, just after, or before anybody heard of it are steps of their own. What it
//! calls (steps, outbox, commit, checkpoint) is the product's own.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use securitybot::actors::checkpoint::{self, Outbox, Written as Held};
use securitybot::actors::durable::prepared;
use securitybot::core::conversation::open_case::Case;
use securitybot::core::conversation::{Conversation, Effect as Said};
use securitybot::core::escalation::{Effect as Paging, Escalation};
use securitybot::core::ids::AggregateKey;
use securitybot::core::machine::{Context, Machine, RowChange, Step};
use securitybot::core::pieces::Whole;
use securitybot::core::time::Timestamp;
use securitybot::store::{Commit, Piece};

use crate::judge;
use crate::people;
use crate::phone;
use crate::state::{Bot, Chat, Flight, Live, Loaded, State, Stored, Written};
use crate::within;

pub trait Kept: Machine {
    fn of(loaded: &Loaded) -> (&Self, &Outbox<Self::Effect>, &Held<Self::Piece>);
    fn keep(self, outbox: Outbox<Self::Effect>, held: Held<Self::Piece>) -> Loaded;
}

impl Kept for Conversation {
    fn of(loaded: &Loaded) -> (&Self, &Outbox<Said>, &Held<Case>) {
        match loaded {
            Loaded::Conversation(state, outbox, held) => (state, outbox, held),
            Loaded::Escalation(..) => unreachable!("no conversation"),
        }
    }
    fn keep(self, outbox: Outbox<Said>, held: Held<Case>) -> Loaded {
        Loaded::Conversation(self, outbox, held)
    }
}

impl Kept for Escalation {
    fn of(loaded: &Loaded) -> (&Self, &Outbox<Paging>, &Held<Whole>) {
        match loaded {
            Loaded::Escalation(state, outbox, held) => (state, outbox, held),
            Loaded::Conversation(..) => unreachable!("no escalation"),
        }
    }
    fn keep(self, outbox: Outbox<Paging>, held: Held<Whole>) -> Loaded {
        Loaded::Escalation(self, outbox, held)
    }
}

impl Loaded {
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Conversation(state, ..) => state.due(),
            Self::Escalation(state, ..) => state.due(),
        }
    }

    /// The first entry of each lane: sequence number and effect.
    fn heads(&self) -> Vec<u64> {
        match self {
            Self::Conversation(_, outbox, _) => outbox.heads().iter().map(|e| e.seq).collect(),
            Self::Escalation(_, outbox, _) => outbox.heads().iter().map(|e| e.seq).collect(),
        }
    }

    fn seqs(&self) -> BTreeSet<u64> {
        match self {
            Self::Conversation(_, outbox, _) => outbox.entries.iter().map(|e| e.seq).collect(),
            Self::Escalation(_, outbox, _) => outbox.entries.iter().map(|e| e.seq).collect(),
        }
    }

    /// An escalation's current round.
    pub fn round(&self) -> Option<u32> {
        match self {
            Self::Escalation(state, ..) => Some(state.life.as_ref()?.round().round),
            Self::Conversation(..) => None,
        }
    }

    pub fn is_done(&self) -> bool {
        self.seqs().is_empty()
    }

    pub fn said(&self, seq: u64) -> Option<&Said> {
        match self {
            Self::Conversation(_, outbox, _) => {
                let found = outbox.entries.iter().find(|entry| entry.seq == seq);
                found.map(|entry| entry.effect.as_ref())
            }
            Self::Escalation(..) => None,
        }
    }

    pub fn paging(&self, seq: u64) -> Option<&Paging> {
        match self {
            Self::Escalation(_, outbox, _) => {
                let found = outbox.entries.iter().find(|entry| entry.seq == seq);
                found.map(|entry| entry.effect.as_ref())
            }
            Self::Conversation(..) => None,
        }
    }
}

impl Stored {
    /// Read at once as after a restart. `held` are the pieces that belong to the state, in the order of their numbers.
    pub fn new(key: &AggregateKey, version: u64, state: String, held: Vec<Piece>) -> Self {
        let name = key.to_string();
        let whole = held
            .iter()
            .fold(state.clone(), |all, piece| all + &piece.body);
        let read = |_: &str| match key.kind() {
            "escalation" => {
                let (read, outbox, held) = checkpoint::restore(&name, &state, &held).unwrap();
                Escalation::keep(read, outbox, held)
            }
            _ => {
                let (read, outbox, held) = checkpoint::restore(&name, &state, &held).unwrap();
                Conversation::keep(read, outbox, held)
            }
        };
        let checkpoint = Written::new(whole, read);
        Self {
            version,
            checkpoint,
            pieces: held.into(),
        }
    }
}

pub fn effect_key(key: &AggregateKey, seq: u64) -> String {
    format!("{key}#{seq}")
}

impl State {
    /// As it is in memory, or as it would be loaded.
    pub fn seen(&self, key: &AggregateKey) -> &Loaded {
        match self.live.get(key) {
            Some(live) => &live.loaded,
            None => &self.store[key].checkpoint.read,
        }
    }

    pub fn load(&mut self, bot: &Bot, key: &AggregateKey) {
        if self.live.contains_key(key) {
            return;
        }
        let stored = &self.store[key];
        let (version, loaded) = (stored.version, stored.checkpoint.read.clone());
        // What an earlier life left in the outbox may have been performed already.
        let live = Live {
            version,
            started: loaded.seqs(),
            loaded,
        };
        self.live.insert(key.clone(), live);
        self.start(bot, key, true);
    }

    /// Sends the first effect of each lane on its way. What nobody can answer arrives at once: it makes no
    /// difference to anybody when, and halves the number of states.
    pub fn start(&mut self, bot: &Bot, key: &AggregateKey, again: bool) {
        let Some(mut live) = self.live.remove(key) else {
            return;
        };
        for seq in live.loaded.heads() {
            let flies =
                |flight: &Flight| !flight.orphan && flight.from == *key && flight.seq == seq;
            if self.flights.iter().any(flies) {
                continue;
            }
            let maybe_done = !live.started.insert(seq) || again;
            let said = live.loaded.said(seq);
            let mut taken = None;
            if maybe_done && matches!(said, Some(Said::StartPush(_))) {
                taken = Some(phone::LOST.to_owned());
            }
            if maybe_done && bot.chat == Chat::ReadBack && matches!(said, Some(Said::Send(_))) {
                let sent = effect_key(key, seq);
                let found = self
                    .chat
                    .keys()
                    .find(|id| id.split('~').next() == Some(&sent));
                taken = found.cloned();
            }
            let at_once =
                matches!(said, Some(Said::Send(message)) if !people::shown(message).question);
            let flight = Flight {
                from: key.clone(),
                seq,
                taken,
                orphan: false,
                effect: String::new(),
            };
            self.flights.insert(flight.clone());
            if at_once && flight.taken.is_none() {
                self.live.insert(key.clone(), live.clone());
                bot.arrive(self, &flight);
            }
        }
        self.live.insert(key.clone(), live);
    }

    /// One event: step, commit, and what follows from it.
    pub fn take<M: Kept>(
        &mut self,
        bot: &Bot,
        key: &AggregateKey,
        event: &M::Event,
        settled: Option<u64>,
    ) -> M::Reply {
        self.load(bot, key);
        let live = self.live[key].clone();
        let (machine, outbox, held) = M::of(&live.loaded);
        let cx = Context {
            now: Timestamp::from_millis(self.now),
            entropy: entropy(key, live.version),
            world: &bot.world,
        };
        let step = machine.step(event, &cx);
        if settled.is_none() && is_unchanged(machine, &step) {
            return step.reply;
        }
        let mut effects = step.effects.clone();
        let after = effects.clone();
        let mut outbox = outbox.after(settled, &step.withdraw, &live.started, after, cx.now);
        let mut rows = Vec::new();
        let mut step = step;
        if bot.chat == Chat::InTheStore {
            let performed = within::perform(key, step, outbox, &live.started, &cx);
            (step, outbox, rows) = (performed.step, performed.outbox, performed.rows);
            effects.extend(performed.more);
        }
        let raised = step.births.clone();
        let said: Vec<&dyn Any> = effects.iter().map(|effect| effect as &dyn Any).collect();
        let fault = bot.read.find_fault(&said, &raised, &step.records);
        self.broken.extend(fault.map(|fault| ("P8", fault)));
        let said: Vec<&Said> = said.iter().filter_map(|e| e.downcast_ref()).collect();
        let mut prepared = prepared(key, live.version, held, step, outbox, &cx);
        let commit = prepared.commit.take().unwrap();
        judge::of_commit::<M>(self, bot, key, event, &commit, &raised, &said);
        self.land(commit);
        self.chat.extend(rows);
        let loaded = Arc::new(prepared.next.keep(prepared.outbox, prepared.written));
        let live = self.live.get_mut(key).unwrap();
        live.version += 1;
        let left = loaded.seqs();
        live.started.retain(|seq| left.contains(seq));
        live.loaded = loaded;
        self.flights
            .retain(|f| f.orphan || f.from != *key || left.contains(&f.seq));
        self.start(bot, key, false);
        for newborn in prepared.births {
            self.load(bot, &newborn);
        }
        prepared.reply.unwrap()
    }

    fn land(&mut self, commit: Commit) {
        let version = self
            .store
            .get(&commit.key)
            .map_or(0, |stored| stored.version);
        assert_eq!(version, commit.expected, "one writer at a time");
        let before = self.store.get(&commit.key);
        let mut held: Vec<Piece> = before.map_or(Vec::new(), |stored| stored.pieces.to_vec());
        held.retain(|piece| commit.pieces.held.contains(&piece.number));
        held.extend(commit.pieces.written);
        held.sort_by_key(|piece| piece.number);
        let stored = Stored::new(&commit.key, version + 1, commit.state, held);
        self.store.insert(commit.key, stored);
        let births = commit.births.into_iter().map(|birth| {
            let rows = birth.rows;
            let stored = Stored::new(&birth.key, 1, birth.state, Vec::new());
            self.store.insert(birth.key, stored);
            rows
        });
        let rows: Vec<RowChange> = births.flatten().chain(commit.rows).collect();
        for row in rows {
            judge::keep_row(self, row);
        }
    }
}

fn is_unchanged<M: Machine>(machine: &M, step: &Step<M>) -> bool {
    step.effects.is_empty()
        && step.records.is_empty()
        && step.rows.is_empty()
        && step.births.is_empty()
        && step.withdraw.is_empty()
        && step.next == *machine
}

/// The same step from the same state makes the same ids, so that equal states are equal.
fn entropy(key: &AggregateKey, version: u64) -> u128 {
    let name = key.name.bytes().fold(7u128, |hash, byte| {
        hash.wrapping_mul(131) + u128::from(byte)
    });
    name.wrapping_mul(1_000_003)
        .wrapping_add(u128::from(version))
}
