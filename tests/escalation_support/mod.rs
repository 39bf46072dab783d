//! A world, a ladder and an escalation with its outbox, as the shell would run it.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "shared by several test binaries"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use securitybot::core::alert::Severity;
use securitybot::core::employee::Directory;
use securitybot::core::escalation::{Effect, Escalation, EscalationRow, Event, Reply};
use securitybot::core::ids::{AggregateKey, CaseId, OperatorName, PagerName};
use securitybot::core::machine::{
    Context, Effect as _, Machine, Receipt, RowChange, Settlement, Step,
};
use securitybot::core::page::{Page, PageKind, Raise};
use securitybot::core::policy::{Ladder, Level, Policy, WorkingHours};
use securitybot::core::record::Record;
use securitybot::core::time::Timestamp;
use securitybot::core::world::World;

pub const START: Timestamp = Timestamp::from_millis(1_795_000_000_000);
pub const MINUTE: Duration = Duration::from_secs(60);

pub fn level(after_min: u32, pagers: &[&str], repeat_min: u32) -> Level {
    Level {
        after: MINUTE * after_min,
        pagers: pagers.iter().copied().map(PagerName::from).collect(),
        repeat: MINUTE * repeat_min,
    }
}

pub fn ladder(levels: Vec<Level>) -> Ladder {
    Ladder {
        name: "default".to_owned(),
        levels,
        ack_expires: MINUTE * 240,
    }
}

/// `am` wants to be told again every 4 minutes.
pub fn world(default: Ladder) -> World {
    World {
        policy: Policy {
            severities: BTreeMap::new(),
            rules: Vec::new(),
            ladders: BTreeMap::from([("default".to_owned(), default)]),
            working_hours: WorkingHours::default(),
            pager_refresh: BTreeMap::from([(PagerName::from("am"), MINUTE * 4)]),
            dedup: Duration::ZERO,
            public_url: "http://127.0.0.1:8080".to_owned(),
            pushes: None,
            shared: Default::default(),
        },
        directory: Directory::default(),
        partitions: 8,
    }
}

pub fn raise(id: CaseId, round: u32, urgency: Severity, ladder: &Ladder) -> Raise {
    Raise {
        id,
        kind: PageKind::Case,
        round,
        urgency,
        summary: format!("round {round}"),
        notes: Vec::new(),
        case: None,
        related: Vec::new(),
        ladder: ladder.clone(),
        url: String::new(),
    }
}

/// One escalation and what it wants done, with the clock in the test's hand.
pub struct Run {
    pub world: World,
    pub ladder: Ladder,
    pub id: CaseId,
    pub state: Escalation,
    pub now: Timestamp,
    /// Effects not yet settled, and whether the shell has started them.
    pub outbox: Vec<(Effect, bool)>,
    pub records: Vec<Record>,
    pub row: Option<EscalationRow>,
}

impl Run {
    /// Born, with its first round raised.
    pub fn new(ladder: Ladder) -> Self {
        let id = CaseId::new(START, 7, 0);
        let mut run = Self {
            world: world(ladder.clone()),
            state: Escalation::new(&AggregateKey::escalation(id, 3)),
            ladder,
            id,
            now: START,
            outbox: Vec::new(),
            records: Vec::new(),
            row: None,
        };
        assert_eq!(run.raise(1, Severity::Medium), Reply::Taken);
        run
    }

    pub fn event(&mut self, event: &Event) -> (Reply, Vec<Effect>) {
        let cx = Context {
            now: self.now,
            entropy: 1,
            world: &self.world,
        };
        let step = self.state.step(event, &cx);
        self.apply(step)
    }

    /// What the shell does with a step: withdraw, then append; the state goes through its stored form.
    pub fn apply(&mut self, step: Step<Escalation>) -> (Reply, Vec<Effect>) {
        self.outbox.retain(|(effect, started)| {
            *started || !effect.case().is_some_and(|id| step.withdraw.contains(&id))
        });
        let added = step.effects.iter().map(|e| (e.clone(), false));
        self.outbox.extend(added);
        self.records.extend(step.records);
        for row in step.rows {
            let RowChange::Put(row) = row else {
                panic!("an escalation's row is never deleted")
            };
            self.row = Some(serde_json::from_str(&row.body).unwrap());
        }
        let stored = serde_json::to_string(&step.next).unwrap();
        self.state = serde_json::from_str(&stored).unwrap();
        assert_eq!(self.state, step.next, "the stored form is whole");
        (step.reply, step.effects)
    }

    pub fn raise(&mut self, round: u32, urgency: Severity) -> Reply {
        let raise = raise(self.id, round, urgency, &self.ladder);
        self.event(&Event::Raised(Box::new(raise))).0
    }

    pub fn ack(&mut self, operator: &str) -> Reply {
        let operator = OperatorName::from(operator);
        self.event(&Event::Acknowledged { operator }).0
    }

    pub fn resolve(&mut self, operator: &str, reason: &str) -> Reply {
        let operator = OperatorName::from(operator);
        let reason = reason.to_owned();
        self.event(&Event::Resolved { operator, reason }).0
    }

    pub fn assign(&mut self, operator: &str, to: &str) -> Reply {
        let operator = OperatorName::from(operator);
        let to = to.to_owned();
        self.event(&Event::Assigned { operator, to }).0
    }

    /// Lets time pass and wakes it then; what it decided.
    pub fn wake_after(&mut self, wait: Duration) -> Vec<Effect> {
        self.now = self.now.after(wait);
        self.event(&Escalation::woken()).1
    }

    pub fn settle(&mut self, index: usize, settlement: Settlement) -> Vec<Effect> {
        let (effect, _) = self.outbox.remove(index);
        self.event(&Escalation::settled(effect, settlement)).1
    }

    /// Everything that is on its way arrives.
    pub fn deliver_all(&mut self) {
        while !self.outbox.is_empty() {
            self.settle(0, Settlement::Done(Receipt::default()));
        }
    }

    /// Every page is refused, one after the other; what was decided on the way.
    pub fn refuse_all(&mut self) -> Vec<Effect> {
        let mut decided = Vec::new();
        for _ in 0..self.outbox.len() {
            let reason = "no such key".to_owned();
            decided.extend(self.settle(0, Settlement::Impossible { reason }));
        }
        decided
    }

    pub fn events(&self) -> Vec<&str> {
        self.records.iter().map(|r| r.event.as_str()).collect()
    }
}

/// `page log 1/0`: what, to whom, level and repeat.
pub fn short(effects: &[Effect]) -> Vec<String> {
    let short = |effect: &Effect| {
        let page = effect.page();
        let (level, repeat) = (page.level, page.repeat);
        format!("{} {} {level}/{repeat}", effect.name(), effect.pager())
    };
    effects.iter().map(short).collect()
}

pub fn pages(effects: &[Effect]) -> Vec<&Page> {
    let pages = effects.iter().filter_map(|effect| match effect {
        Effect::Page { page, .. } => Some(&**page),
        Effect::Acknowledge { .. } | Effect::Change { .. } | Effect::Resolve { .. } => None,
    });
    pages.collect()
}
