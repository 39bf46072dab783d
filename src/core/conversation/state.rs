//! The conversation's state and its door, [`Machine`]: every event is handed to the file of its name.
//! What is kept here survives a restart; nothing that matters is kept anywhere else.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use litemap::LiteMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::core::ids::{AggregateKey, CaseId, EmployeeId};
use crate::core::machine::{Context, Guard, Machine, Remains, Settlement, Step};
use crate::core::pieces::{Piece, Pieces};
use crate::core::time::Timestamp;

use super::effect::Effect;
use super::event::{Event, Reply};
use super::open_case::Case;
use super::push_requested::Push;
use super::request::Request;
use super::snooze::Snooze;
use super::turn::Turn;

/// Chat events remembered, so that a redelivery answers nothing new.
const REMEMBERED_EVENTS: usize = 100;
/// How long a closed case is kept for a late no.
pub const LATE_NO_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a closed case waits for a question the chat never confirmed: a send that was started
/// may still appear, and must then lose its buttons.
const STRAY_WINDOW: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Whose conversation it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    Employee(EmployeeId),
    /// A principal nobody goes by; it has no chat.
    Unknown(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    pub(super) owner: Owner,
    /// The last number taken from each source's intake.
    #[serde(default, skip_serializing_if = "LiteMap::is_empty")]
    pub(super) taken: LiteMap<String, u64>,
    #[serde(default, skip_serializing_if = "Pieces::is_empty")]
    pub(super) cases: Pieces<Case>,
    /// Cases ever asked about; the place of the next one.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub(super) opened: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) snoozes: Vec<Snooze>,
    /// The heads of SHA-256 over the last chat events' ids.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub(super) events: VecDeque<u64>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) factors: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_step: Option<u64>,
    /// Codes refused since the last good one, over all cases.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) refused: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) locked_until: Option<Timestamp>,
    /// When the locks of the last day began: each doubles the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) locks: Vec<Timestamp>,
    /// The push that is on the phone, or on its way there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) push: Option<Push>,
    /// When the pushes of the last hour were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pushes: Vec<Timestamp>,
    /// What was asked for by a command and waits for its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<Request>,
    /// The day of the last greeting, in the employee's zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) greeted: Option<jiff::civil::Date>,
    /// A flood page stands for the open cases there are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) flooded: bool,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}
fn is_none_yet(n: &u64) -> bool {
    *n == 0
}

impl Conversation {
    pub fn employee(&self) -> Option<&EmployeeId> {
        match &self.owner {
            Owner::Employee(id) => Some(id),
            Owner::Unknown(_) => None,
        }
    }

    /// Cases in the state, open and lately closed.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.values()
    }

    pub fn open_cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.values().filter(|case| case.is_open())
    }

    pub fn is_enrolled(&self) -> bool {
        !self.factors.is_empty()
    }

    pub fn is_locked(&self, now: Timestamp) -> bool {
        self.locked_until.is_some_and(|until| now < until)
    }

    pub(super) fn has_seen(&self, event_id: &str) -> bool {
        self.events.contains(&event_hash(event_id))
    }

    pub(super) fn remember_event(&mut self, event_id: &str) {
        self.events.push_back(event_hash(event_id));
        while self.events.len() > REMEMBERED_EVENTS {
            self.events.pop_front();
        }
    }

    /// Drops what no answer can concern any more; an idle employee's state stays small.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.cases
            .retain(|case| forgotten_at(case, &self.snoozes).is_none_or(|at| now < at));
        self.snoozes.retain(|snooze| now < snooze.forgotten_at());
        if self.locked_until.is_some_and(|until| until <= now) {
            self.locked_until = None;
        }
        self.locks
            .retain(|began| now.since(*began) < LATE_NO_WINDOW);
        self.pushes
            .retain(|at| now.since(*at) < super::push_requested::CAP_WINDOW);
        self.request.take_if(|request| request.until <= now);
        if self.cases.is_empty() && self.request.is_none() {
            self.events.clear();
        }
    }
}

/// As long as its snooze stands, a yes can be taken back.
fn forgotten_at(case: &Case, snoozes: &[Snooze]) -> Option<Timestamp> {
    let closed_at = case.closed_at()?;
    let never_confirmed = case.message_id.is_none() && case.phase_before_end_was_sending();
    let window = closed_at.after(if never_confirmed {
        STRAY_WINDOW
    } else {
        LATE_NO_WINDOW
    });
    let snooze = snoozes.iter().find(|s| s.case == case.id && !s.revoked);
    Some(snooze.map_or(window, |snooze| window.max(snooze.until)))
}

fn event_hash(event_id: &str) -> u64 {
    let digest = Sha256::digest(event_id.as_bytes());
    digest
        .first_chunk()
        .map_or(0, |head| u64::from_be_bytes(*head))
}

impl Machine for Conversation {
    type Event = Event;
    type Effect = Effect;
    type Reply = Reply;
    type Piece = Case;

    const SCHEMA: u32 = 1;

    fn new(key: &AggregateKey) -> Self {
        let subject = key.subject().to_owned();
        Self {
            owner: if key.kind() == "employee" {
                Owner::Employee(EmployeeId::new(subject))
            } else {
                Owner::Unknown(subject)
            },
            taken: LiteMap::new(),
            cases: Pieces::default(),
            opened: 0,
            snoozes: Vec::new(),
            events: VecDeque::new(),
            factors: BTreeSet::new(),
            last_step: None,
            refused: 0,
            locked_until: None,
            locks: Vec::new(),
            push: None,
            pushes: Vec::new(),
            request: None,
            greeted: None,
            flooded: false,
        }
    }

    fn is_of(&self, key: &AggregateKey) -> bool {
        self.owner == Self::new(key).owner
    }

    fn step(&self, event: &Event, cx: &Context<'_>) -> Step<Self> {
        let mut turn = Turn::new(self, cx);
        // Time first: an answer after the deadline is late however late the wake-up is. A settlement
        // goes before it: what the chat took in time was taken in time.
        if !matches!(event, Event::EffectSettled { .. }) {
            turn.time_passed();
        }
        let reply = match event {
            Event::AlertsArrived { source, alerts } => turn.alerts_arrived(source, alerts),
            Event::ButtonPressed {
                inbound,
                case,
                revision,
                answer,
                shown,
            } => turn.button_pressed(inbound, *case, *revision, answer, *shown),
            Event::TextTyped { inbound, text } => turn.text_typed(inbound, text),
            Event::FormSubmitted {
                inbound,
                case,
                ticks,
                explanation,
                proof,
            } => turn.form_submitted(inbound, *case, ticks, explanation, proof.as_ref()),
            Event::PushRequested {
                inbound,
                case,
                ticks,
                explanation,
            } => turn.push_requested(inbound, *case, ticks, explanation),
            Event::Woken => Reply::Taken,
            Event::EffectSettled { effect, settlement } => turn.effect_settled(effect, settlement),
            Event::CaseClosed {
                operator,
                case,
                reason,
            } => turn.case_closed(operator, *case, reason),
            Event::NoteAdded {
                operator,
                case,
                text,
            } => turn.note_added(operator, *case, text),
            Event::Unlocked { operator } => turn.unlocked(operator),
            Event::FactorEnrolled {
                by,
                factor,
                sealed_seed,
            } => turn.factor_enrolled(by, factor, sealed_seed),
            Event::SnoozeEnded { operator, snooze } => turn.snooze_ended(operator, snooze),
        };
        turn.finish(reply)
    }

    fn pieces(&mut self) -> Option<&mut Pieces<Case>> {
        Some(&mut self.cases)
    }

    fn due(&self) -> Option<Timestamp> {
        let open = self.open_cases().map(Case::due);
        let closed = self.cases.values();
        let closed = closed.filter_map(|case| forgotten_at(case, &self.snoozes));
        let snoozes = self.snoozes.iter().map(Snooze::forgotten_at);
        let request = self.request.iter().map(|request| request.until);
        open.chain(closed).chain(snoozes).chain(request).min()
    }

    fn woken() -> Event {
        Event::Woken
    }

    fn settled(effect: Effect, settlement: Settlement) -> Event {
        Event::EffectSettled { effect, settlement }
    }

    fn guard(&self) -> Guard {
        Guard {
            taken: self.taken.clone(),
            last_step: self.last_step,
            locked_until: self.locked_until,
            factors: self.factors.iter().cloned().collect(),
        }
    }

    fn rebuilt(
        key: &AggregateKey,
        guard: Option<Guard>,
        remains: Remains,
        poison: Option<&Event>,
        cx: &Context<'_>,
    ) -> Step<Self> {
        super::rebuilt::rebuilt(key, guard, remains, poison, cx)
    }
}

impl Piece for Case {
    fn id(&self) -> CaseId {
        self.id
    }
}

impl Case {
    /// It was handed to the chat, and the chat never said that it took it.
    fn phase_before_end_was_sending(&self) -> bool {
        self.sent && self.asked_at.is_none()
    }
}
