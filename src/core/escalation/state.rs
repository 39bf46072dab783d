//! What an escalation remembers. All of it is needed to page on after a restart as if nothing had
//! happened: rounds, levels begun, every key a pager holds, and when each of them acts next.

use serde::{Deserialize, Serialize};

use crate::core::case::{CaseView, EscalationState, EscalationView};
use crate::core::ids::{AggregateKey, CaseId, OperatorName, PagerName};
use crate::core::machine::{Context, Guard, Machine, Remains, Settlement, Step};
use crate::core::page::Raise;
use crate::core::pieces::Whole;
use crate::core::policy::Level;
use crate::core::time::Timestamp;

use super::event::{Effect, Event, Reply};
use super::{acknowledged, assigned, effect_settled, raised, rebuilt, resolved, woken};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Escalation {
    pub partition: u16,
    /// `None` until it is raised for the first time.
    pub life: Option<Life>,
}

impl Escalation {
    /// Every pager its current ladder names.
    pub fn pagers(&self) -> Vec<PagerName> {
        let ladder = self.life.as_ref().and_then(|life| life.rounds.last());
        ladder
            .into_iter()
            .flat_map(|round| &round.raise.ladder.levels)
            .flat_map(|level| level.pagers.iter().cloned())
            .collect()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Life {
    pub id: CaseId,
    pub opened_at: Timestamp,
    /// Never empty; the last one is current.
    pub rounds: Vec<Round>,
    pub standing: Standing,
    /// The levels begun in the current round, the first one first.
    pub begun: Vec<Begun>,
    /// What `after` of the levels counts from: the opening of the round, moved on by the time that an
    /// acknowledgement held.
    pub ladder_from: Timestamp,
    /// One entry per pager and key, over all rounds.
    pub sent: Vec<Sent>,
    pub last_page_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned: Option<Assignment>,
}

/// Who was asked to take it, and by whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub to: String,
    pub by: OperatorName,
}

impl Assignment {
    /// For people: on pages, on the timeline.
    pub fn words(&self) -> String {
        format!("Assigned to {} by {}", self.to, self.by)
    }
}

/// A round as it was raised; `raise.urgency` is the one that counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    pub raise: Raise,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Standing {
    Open,
    Acknowledged {
        by: OperatorName,
        since: Timestamp,
        until: Timestamp,
    },
    Resolved {
        by: OperatorName,
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// The counter of the last time it was paged.
    pub repeat: u32,
    pub again_at: Option<Timestamp>,
}

/// What one pager holds under one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    pub pager: PagerName,
    pub round: u32,
    pub level: u32,
    pub repeat: u32,
    pub fate: Fate,
    pub refresh_at: Option<Timestamp>,
    /// The pager was told that it is over.
    pub over: bool,
}

/// How the last page under a key went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// On its way; the shell retries it until it settles.
    Pending,
    /// Withdrawn by an acknowledgement, unless it had been started.
    Withdrawn,
    Delivered,
    /// It is sent again (a refresh); the first sending had been delivered.
    Refreshing,
    Failed,
}

impl Fate {
    /// A second page to a pager that has not taken the first would only pile up behind it.
    pub fn is_on_its_way(self) -> bool {
        matches!(self, Self::Pending | Self::Refreshing)
    }
}

impl Life {
    /// What a page of this round says beside its summary.
    pub fn notes_of(&self, raise: &Raise) -> Vec<String> {
        let assigned = self.assigned.as_ref().map(Assignment::words);
        assigned
            .into_iter()
            .chain(raise.notes.iter().cloned())
            .collect()
    }

    pub fn round(&self) -> &Raise {
        let last = self.rounds.last();
        &last.expect("a life starts with its first round").raise
    }

    pub fn raise_of(&self, round: u32) -> Option<&Raise> {
        let mut raises = self.rounds.iter().map(|r| &r.raise);
        raises.find(|raise| raise.round == round)
    }

    /// The highest level begun in this round; 0 for none.
    pub fn level(&self) -> u32 {
        u32::try_from(self.begun.len()).unwrap_or(u32::MAX)
    }

    /// The next level, and when its time comes.
    pub fn next_level(&self) -> Option<(Timestamp, &Level)> {
        let level = self.round().ladder.levels.get(self.begun.len())?;
        Some((self.ladder_from.after(level.after), level))
    }

    /// Whether nobody of this level took its latest page (also when it has no pager at all).
    pub fn has_failed(&self, level: u32) -> bool {
        let round = self.round().round;
        let mut here = self
            .sent
            .iter()
            .filter(|s| s.round == round && s.level == level);
        here.all(|s| s.fate == Fate::Failed)
    }

    /// Whether somebody of this begun level never got its page because of an acknowledgement.
    pub fn was_withdrawn(&self, index: usize) -> bool {
        let round = self.round().round;
        let mut all = self.sent.iter();
        all.any(|s| {
            s.round == round
                && usize::try_from(s.level).is_ok_and(|level| level == index + 1)
                && s.fate == Fate::Withdrawn
        })
    }

    pub fn state(&self) -> EscalationState {
        match self.standing {
            Standing::Open => EscalationState::Open,
            Standing::Acknowledged { .. } => EscalationState::Acknowledged,
            Standing::Resolved { .. } => EscalationState::Resolved,
        }
    }

    pub fn view(&self) -> EscalationView {
        let (acknowledged_by, resolved_by, reason) = match &self.standing {
            Standing::Open => (None, None, None),
            Standing::Acknowledged { by, .. } => (Some(by.clone()), None, None),
            Standing::Resolved { by, reason } => (None, Some(by.clone()), Some(reason.clone())),
        };
        EscalationView {
            state: self.state(),
            level: self.level(),
            acknowledged_by,
            resolved_by,
            reason,
        }
    }

    /// The case of the current round, with the escalation as it stands now.
    pub fn case(&self) -> Option<CaseView> {
        self.round().case.as_deref().map(|case| CaseView {
            escalation: Some(self.view()),
            ..case.clone()
        })
    }

    fn due(&self) -> Option<Timestamp> {
        match &self.standing {
            Standing::Resolved { .. } => None,
            Standing::Acknowledged { until, .. } => Some(*until),
            Standing::Open => {
                let next = self.next_level().map(|(at, _)| at);
                let again = self.begun.iter().filter_map(|level| level.again_at);
                let refresh = self.sent.iter().filter_map(|sent| sent.refresh_at);
                next.into_iter().chain(again).chain(refresh).min()
            }
        }
    }
}

impl Machine for Escalation {
    type Event = Event;
    type Effect = Effect;
    type Reply = Reply;
    type Piece = Whole;

    const SCHEMA: u32 = 1;

    fn new(key: &AggregateKey) -> Self {
        Self {
            partition: key.partition,
            life: None,
        }
    }

    fn is_of(&self, key: &AggregateKey) -> bool {
        let own = |life: &Life| life.id.to_string() == key.subject();
        self.life.as_ref().is_none_or(own)
    }

    fn step(&self, event: &Event, cx: &Context<'_>) -> Step<Self> {
        match (event, &self.life) {
            (Event::Raised(raise), life) => raised::step(self, life.as_ref(), raise, cx),
            (
                Event::Acknowledged { .. } | Event::Resolved { .. } | Event::Assigned { .. },
                None,
            ) => Step::unchanged(self, Reply::NotFound),
            (Event::Woken | Event::EffectSettled { .. }, None) => {
                Step::unchanged(self, Reply::Taken)
            }
            (Event::Woken, Some(life)) => woken::step(self, life, cx),
            (Event::Acknowledged { operator }, Some(life)) => {
                acknowledged::step(self, life, operator, cx)
            }
            (Event::Resolved { operator, reason }, Some(life)) => {
                resolved::step(self, life, operator, reason, cx)
            }
            (Event::Assigned { operator, to }, Some(life)) => {
                assigned::step(self, life, operator, to, cx)
            }
            (Event::EffectSettled { effect, settlement }, Some(life)) => {
                effect_settled::step(self, life, effect, settlement, cx)
            }
        }
    }

    fn due(&self) -> Option<Timestamp> {
        self.life.as_ref().and_then(Life::due)
    }

    fn woken() -> Event {
        Event::Woken
    }

    fn settled(effect: Effect, settlement: Settlement) -> Event {
        Event::EffectSettled { effect, settlement }
    }

    /// Nothing here guards against replays: every event is idempotent by itself.
    fn guard(&self) -> Guard {
        Guard::default()
    }

    fn rebuilt(
        key: &AggregateKey,
        _guard: Option<Guard>,
        _remains: Remains,
        _poison: Option<&Event>,
        cx: &Context<'_>,
    ) -> Step<Self> {
        rebuilt::step(key, cx)
    }
}
