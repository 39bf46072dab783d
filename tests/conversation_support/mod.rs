//! A world in one struct for scenario tests of the conversation: a clock that is set by hand, a chat
//! that takes what it is sent, and the whole history for the invariants. Every step's state goes
//! through JSON, as it does in life.
#![allow(dead_code)] // each test binary uses its own part
#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use securitybot::core::alert::{Alert, Severity};
use securitybot::core::case::{CaseView, Outcome};
use securitybot::core::conversation::event::Enroller;
use securitybot::core::conversation::{
    Answer, Content, Conversation, Effect, Event, Inbound, Outgoing, Proof, PushRequest,
    PushVerdict, Reply, SnoozeRow, Tick,
};
use securitybot::core::employee::{Directory, Employee};
use securitybot::core::ids::{AggregateKey, CaseId, ChatIdentity, EmployeeId, SourceId};
use securitybot::core::invariants::{self, Observed};
use securitybot::core::machine::{Collection, Context, Machine, Receipt, RowChange, Settlement};
use securitybot::core::page::Raise;
use securitybot::core::policy::{
    DEFAULT_LADDER, Ladder, Level, Policy, Rule, WorkingHours, default_times,
};
use securitybot::core::record::Record;
use securitybot::core::text::Untrusted;
use securitybot::core::time::Timestamp;
use securitybot::core::world::World;
use wildmatch::WildMatch;

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);

pub struct Bot {
    pub world: World,
    pub key: AggregateKey,
    pub state: Conversation,
    pub now: Timestamp,
    pub history: Vec<Observed>,
    /// Effects not settled yet, in order.
    pub outbox: VecDeque<Effect>,
    /// What every message shows now, by its id.
    pub screen: BTreeMap<String, Content>,
    /// Everything the chat took, in order.
    pub sent: Vec<Outgoing>,
    pub rows: BTreeMap<String, CaseView>,
    pub snooze_rows: BTreeMap<String, SnoozeRow>,
    /// What was sent to the phone, and what is still waited for.
    pub phone: Vec<PushRequest>,
    pub awaited: VecDeque<Effect>,
    /// The chat takes nothing while false.
    pub chat_up: bool,
    /// Whether the invariants are checked after every step, or by `all_ended` only.
    pub check_each: bool,
    number: u64,
    counter: u64,
}

pub fn time(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

pub fn identity(user: &str) -> ChatIdentity {
    ChatIdentity {
        chat: "web".to_owned(),
        user: user.to_owned(),
    }
}

fn employee(id: &str) -> Employee {
    Employee {
        id: EmployeeId::from(id),
        name: id.to_uppercase().into(),
        email: None,
        aliases: Box::default(),
        time_zone: "Europe/Berlin".into(),
        locale: None,
        manager: None,
        chat: None,
        opted_out: id == "olga",
    }
}

pub fn rule(matches: &str) -> Rule {
    Rule {
        matches: WildMatch::new(matches),
        mode: Default::default(),
        severity: None,
        answer_within: None,
        ceiling: None,
        snooze: None,
        snooze_max: None,
        context_keys: None,
        explanation: None,
        ladder: None,
        hide: Vec::new(),
        withdraw_on_resolve: false,
        factor: None,
    }
}

pub fn world(rules: Vec<Rule>) -> World {
    let ladder = Ladder {
        name: DEFAULT_LADDER.to_owned(),
        levels: vec![Level {
            after: Duration::ZERO,
            pagers: vec!["log".into()],
            repeat: 15 * MINUTE,
        }],
        ack_expires: 4 * HOUR,
    };
    World {
        policy: Policy {
            severities: Severity::ALL
                .into_iter()
                .map(|severity| (severity, default_times(severity)))
                .collect(),
            rules,
            ladders: [(DEFAULT_LADDER.to_owned(), ladder)].into(),
            working_hours: WorkingHours::default(),
            pager_refresh: BTreeMap::new(),
            dedup: 720 * HOUR,
            public_url: "https://bot.example.com".to_owned(),
            pushes: None,
            shared: Default::default(),
        },
        directory: Directory::new(["alice", "bob", "olga"].map(employee).to_vec(), "web", &[]),
        partitions: 8,
    }
}

impl Bot {
    /// Alice, enrolled, on a Tuesday at ten in Berlin.
    pub fn new() -> Self {
        Self::with(Vec::new())
    }

    pub fn with(rules: Vec<Rule>) -> Self {
        let mut bot = Self::unenrolled("employee/alice", rules);
        bot.enroll();
        bot
    }

    pub fn unenrolled(name: &str, rules: Vec<Rule>) -> Self {
        let key = AggregateKey {
            partition: 0,
            name: name.to_owned(),
        };
        Self {
            world: world(rules),
            state: Conversation::new(&key),
            key,
            now: time("2026-11-24T09:00:00Z"),
            history: Vec::new(),
            outbox: VecDeque::new(),
            screen: BTreeMap::new(),
            sent: Vec::new(),
            rows: BTreeMap::new(),
            snooze_rows: BTreeMap::new(),
            phone: Vec::new(),
            awaited: VecDeque::new(),
            chat_up: true,
            check_each: true,
            number: 0,
            counter: 0,
        }
    }

    pub fn enroll(&mut self) {
        self.step(Event::FactorEnrolled {
            by: Enroller::Operator("sam".into()),
            factor: "totp".to_owned(),
            sealed_seed: "sealed".to_owned(),
        });
        self.settle();
    }

    /// One committed step; the state goes through JSON as in a restart.
    pub fn step(&mut self, event: Event) -> Reply {
        self.counter += 1;
        let cx = Context {
            now: self.now,
            entropy: u128::from(self.counter),
            world: &self.world,
        };
        let step = self.state.step(&event, &cx);
        let json = serde_json::to_string(&step.next).unwrap();
        self.state = serde_json::from_str(&json).unwrap();
        assert_eq!(self.state, step.next, "the state survives a restart");
        self.outbox.retain(|effect| {
            use securitybot::core::machine::Effect as _;
            effect
                .case()
                .is_none_or(|case| !step.withdraw.contains(&case))
        });
        self.outbox.extend(step.effects.iter().cloned());
        for row in &step.rows {
            match row {
                RowChange::Put(row) | RowChange::New(row)
                    if row.collection == Collection::Cases =>
                {
                    let view = serde_json::from_str(&row.body).unwrap();
                    self.rows.insert(row.id.clone(), view);
                }
                RowChange::Put(row) | RowChange::New(row)
                    if row.collection == Collection::Snoozes =>
                {
                    let snooze = serde_json::from_str(&row.body).unwrap();
                    self.snooze_rows.insert(row.id.clone(), snooze);
                }
                RowChange::Delete { id, .. } => {
                    self.snooze_rows.remove(id);
                }
                RowChange::Put(_) | RowChange::New(_) => {}
            }
        }
        let reply = step.reply.clone();
        self.history.push(Observed {
            now: self.now,
            event,
            step,
        });
        if self.check_each {
            let checked = invariants::all(&self.history, &self.world, false);
            assert_eq!(checked, Ok(()));
        }
        reply
    }

    /// The chat takes the oldest effect.
    pub fn settle_one(&mut self) -> bool {
        if !self.chat_up {
            return false;
        }
        let Some(effect) = self.outbox.pop_front() else {
            return false;
        };
        let (id, message) = match &effect {
            Effect::Send(message) => {
                self.counter += 1;
                (format!("m{}", self.counter), Some(message))
            }
            Effect::Edit {
                message_id,
                message,
                ..
            } => (message_id.clone(), Some(message)),
            Effect::RaiseAgain(_) => (String::new(), None),
            Effect::StartPush(push) => {
                self.phone.push(*push.clone());
                (format!("tx{}", self.phone.len()), None)
            }
            Effect::AwaitPush { .. } => {
                self.awaited.push_back(effect);
                return true;
            }
        };
        if let Some(message) = message {
            self.screen.insert(id.clone(), message.content.clone());
            self.sent.push(message.clone());
        }
        let text = message.map_or(String::new(), |m| m.content.name().to_owned());
        let receipt = Receipt {
            message_id: id,
            at: self.now,
            text,
        };
        self.step(Event::EffectSettled {
            effect,
            settlement: Settlement::Done(receipt),
        });
        true
    }

    pub fn settle(&mut self) {
        while self.settle_one() {}
    }

    /// Time goes on to the instant, waking whenever something is due.
    pub fn until(&mut self, instant: Timestamp) {
        while let Some(due) = self.state.due().filter(|due| *due <= instant) {
            self.now = self.now.max(due);
            self.step(Event::Woken);
            assert!(
                self.state.due().is_none_or(|next| next > self.now),
                "no wake-up loop"
            );
            self.settle();
        }
        self.now = instant;
        self.settle();
    }

    pub fn wait(&mut self, how_long: Duration) {
        self.until(self.now.after(how_long));
    }

    pub fn alert(&self, rule: &str, host: &str) -> Alert {
        Alert {
            source: SourceId::from("local"),
            id: "".into(),
            principal: Untrusted::from("alice"),
            rule: rule.into(),
            title: Untrusted::new(format!("{rule} on {host}")),
            description: Untrusted::default(),
            reason: Untrusted::from("ran it"),
            severity: Severity::Medium,
            occurred_at: None,
            url: None,
            context: [("host".to_owned(), Untrusted::from(host))]
                .into_iter()
                .collect(),
            accepted_at: self.now,
            resolved: false,
        }
    }

    /// A policy of its own takes the place of the one before: what is shared of that stays as it was.
    pub fn reload(&mut self, change: impl FnOnce(&mut Policy)) {
        let mut policy = self.world.policy.clone();
        change(&mut policy);
        self.world.policy = policy;
    }

    /// Hands over one alert and lets the chat take what follows.
    pub fn arrive(&mut self, alert: Alert) {
        self.arrive_all(vec![alert]);
    }

    pub fn arrive_all(&mut self, alerts: Vec<Alert>) {
        let numbered = alerts
            .into_iter()
            .map(|mut alert| {
                self.number += 1;
                if alert.id.is_empty() {
                    alert.id = format!("a{}", self.number).into();
                }
                (self.number, alert)
            })
            .collect();
        self.step(Event::AlertsArrived {
            source: SourceId::from("local"),
            alerts: numbered,
        });
        self.settle();
    }

    /// `rule` on `host`, at medium; the id of the case it went to.
    pub fn ask(&mut self, rule: &str, host: &str) -> CaseId {
        self.ask_at(rule, host, Severity::Medium)
    }

    pub fn ask_at(&mut self, rule: &str, host: &str, severity: Severity) -> CaseId {
        let mut alert = self.alert(rule, host);
        alert.severity = severity;
        self.arrive(alert);
        self.case_of(&format!("a{}", self.number))
    }

    pub fn case_of(&self, alert: &str) -> CaseId {
        self.rows
            .values()
            .find(|view| view.alerts.iter().any(|a| *a.id == *alert))
            .map(|view| view.id)
            .unwrap()
    }

    pub fn inbound(&mut self, user: &str) -> Inbound {
        self.counter += 1;
        Inbound {
            event_id: format!("e{}", self.counter),
            from: identity(user),
            at: self.now,
        }
    }

    pub fn press_as(&mut self, user: &str, case: CaseId, answer: Answer) -> Reply {
        self.now = self.now.after(Duration::from_secs(1));
        let revision = self.view(case).revision;
        let inbound = self.inbound(user);
        let reply = self.step(Event::ButtonPressed {
            inbound,
            case,
            revision,
            answer,
            shown: true,
        });
        self.settle();
        reply
    }

    pub fn press(&mut self, case: CaseId, answer: Answer) -> Reply {
        self.press_as("alice", case, answer)
    }

    pub fn press_revision(&mut self, case: CaseId, revision: u32, answer: Answer) -> Reply {
        let inbound = self.inbound("alice");
        let reply = self.step(Event::ButtonPressed {
            inbound,
            case,
            revision,
            answer,
            shown: true,
        });
        self.settle();
        reply
    }

    pub fn type_text(&mut self, text: &str) -> Reply {
        self.now = self.now.after(Duration::from_secs(1));
        let inbound = self.inbound("alice");
        let reply = self.step(Event::TextTyped {
            inbound,
            text: Untrusted::from(text),
        });
        self.settle();
        reply
    }

    /// The form of a case with its current revision ticked.
    pub fn submit(&mut self, case: CaseId, why: &str, step: Option<u64>) -> Reply {
        let revision = self.view(case).revision;
        self.submit_ticks(case, &[(case, revision)], why, Some(Proof::Totp { step }))
    }

    pub fn submit_ticks(
        &mut self,
        case: CaseId,
        ticks: &[(CaseId, u32)],
        why: &str,
        proof: Option<Proof>,
    ) -> Reply {
        self.now = self.now.after(Duration::from_secs(1));
        let inbound = self.inbound("alice");
        let reply = self.step(Event::FormSubmitted {
            inbound,
            case,
            ticks: ticks
                .iter()
                .map(|(case, revision)| Tick {
                    case: *case,
                    revision: *revision,
                })
                .collect(),
            explanation: Untrusted::from(why),
            proof,
        });
        self.settle();
        reply
    }

    /// The practice question or the longer snooze that was shown last.
    pub fn request(&self) -> Option<CaseId> {
        let is_request =
            |c: &Content| matches!(c, Content::Practice { .. } | Content::Snooze { .. });
        let shown = self.sent.iter().rev().find(|m| is_request(&m.content))?;
        shown.case
    }

    /// Its form.
    pub fn submit_request(&mut self, why: &str, step: Option<u64>) -> Reply {
        let case = self.request().unwrap();
        self.submit_ticks(case, &[(case, 0)], why, Some(Proof::Totp { step }))
    }

    /// One of its buttons.
    pub fn press_request(&mut self, answer: Answer) -> Reply {
        self.now = self.now.after(Duration::from_secs(1));
        let case = self.request().unwrap();
        self.press_revision(case, 0, answer)
    }

    /// What was said last.
    pub fn last_said(&self) -> &Content {
        &self.sent.last().unwrap().content
    }

    /// *Approve on my phone*, with these ticks.
    pub fn ask_push(&mut self, case: CaseId, ticks: &[CaseId]) -> Reply {
        self.now = self.now.after(Duration::from_secs(1));
        let inbound = self.inbound("alice");
        let ticks = ticks
            .iter()
            .map(|case| Tick {
                case: *case,
                revision: self.view(*case).revision,
            })
            .collect();
        let reply = self.step(Event::PushRequested {
            inbound,
            case,
            ticks,
            explanation: Untrusted::from("deploying"),
        });
        self.settle();
        reply
    }

    /// The oldest push that is waited for is answered.
    pub fn answer_push(&mut self, verdict: PushVerdict) {
        self.settle_push(Settlement::Done(Receipt {
            message_id: verdict.name().to_owned(),
            ..Receipt::default()
        }));
    }

    pub fn settle_push(&mut self, settlement: Settlement) {
        self.now = self.now.after(Duration::from_secs(1));
        let effect = self.awaited.pop_front().unwrap();
        self.step(Event::EffectSettled { effect, settlement });
        self.settle();
    }

    /// Asked, yes, explained, proved with the next unused step.
    pub fn verify(&mut self, case: CaseId) {
        self.press(case, Answer::Yes);
        let step = self.next_step();
        assert_eq!(self.submit(case, "deploying", Some(step)), Reply::Taken);
        assert_eq!(self.outcome(case), Some(Outcome::Verified));
    }

    pub fn next_step(&mut self) -> u64 {
        self.counter += 1;
        1_000_000 + self.counter
    }

    pub fn view(&self, case: CaseId) -> &CaseView {
        &self.rows[&case.to_string()]
    }

    pub fn outcome(&self, case: CaseId) -> Option<Outcome> {
        self.view(case).outcome
    }

    /// Every page, first rounds and later ones.
    pub fn pages(&self) -> Vec<&Raise> {
        self.history
            .iter()
            .flat_map(|seen| {
                let again = seen.step.effects.iter().filter_map(|effect| match effect {
                    Effect::RaiseAgain(page) => Some(&**page),
                    _ => None,
                });
                seen.step.births.iter().chain(again)
            })
            .collect()
    }

    pub fn pages_of(&self, case: CaseId) -> Vec<&Raise> {
        let mut pages = self.pages();
        pages.retain(|page| page.id == case);
        pages
    }

    pub fn records(&self) -> Vec<&Record> {
        self.history
            .iter()
            .flat_map(|seen| &seen.step.records)
            .collect()
    }

    pub fn events_of(&self, case: CaseId) -> Vec<&str> {
        self.records()
            .into_iter()
            .filter(|record| record.case_id == Some(case))
            .map(|record| record.event.as_str())
            .collect()
    }

    /// Names of what the chat took since `from`.
    pub fn said(&self, from: usize) -> Vec<&'static str> {
        self.sent[from..]
            .iter()
            .map(|message| message.content.name())
            .collect()
    }

    /// What the case's own message shows now.
    pub fn shows(&self, case: CaseId) -> &Content {
        let id = self
            .state
            .cases()
            .find(|c| c.id == case)
            .and_then(|c| c.message_id.clone())
            .unwrap();
        &self.screen[&id]
    }

    /// At the end of a test: every case has one final outcome.
    pub fn all_ended(&self) {
        let checked = invariants::all(&self.history, &self.world, true);
        assert_eq!(checked, Ok(()));
    }
}
