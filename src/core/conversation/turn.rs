//! One step in the making: the next state and everything that goes with it. The files of the events
//! add methods to [`Turn`]; what they share is here, so that no event can forget a row, a record or
//! the withdrawal of buttons.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use crate::core::alert::Severity;
use crate::core::case::{CaseView, Outcome};
use crate::core::employee::Employee;
use crate::core::ids::{CaseId, ChatIdentity};
use crate::core::machine::{Context, RowChange, Step};
use crate::core::page::Raise;
use crate::core::record::{Record, Who};
use crate::core::time::Timestamp;

use super::effect::{Content, Effect, Form, Outgoing, TickOption};
use super::event::Reply;
use super::open_case::{Case, Phase};
use super::pages;
use super::state::Conversation;

/// More open cases than this of one employee raise one flood page.
pub const FLOOD: usize = 20;
/// The flood page may be raised again once the open cases have gone down to this.
const FLOOD_OVER: usize = 10;

pub struct Turn<'a> {
    pub next: Conversation,
    pub cx: &'a Context<'a>,
    pub effects: Vec<Effect>,
    pub withdraw: Vec<CaseId>,
    pub records: Vec<Record>,
    pub rows: Vec<RowChange>,
    pub births: Vec<Raise>,
    /// Cases whose row is written at the end.
    pub touched: BTreeSet<CaseId>,
    /// After a question nobody answered, all waiting ones are asked at once.
    pub ask_all: bool,
    ids_made: u64,
    /// No row has these yet.
    made: Vec<CaseId>,
}

impl<'a> Turn<'a> {
    pub fn new(state: &Conversation, cx: &'a Context<'a>) -> Self {
        Self {
            next: state.clone(),
            cx,
            effects: Vec::new(),
            withdraw: Vec::new(),
            records: Vec::new(),
            rows: Vec::new(),
            births: Vec::new(),
            touched: BTreeSet::new(),
            ask_all: false,
            ids_made: 0,
            made: Vec::new(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.cx.now
    }

    pub fn finish(mut self, reply: Reply) -> Step<Conversation> {
        self.time_passed();
        self.raise_flood();
        self.ask_next();
        for id in std::mem::take(&mut self.touched) {
            self.put_row(id);
        }
        let now = self.now();
        self.next.forget(now);
        Step {
            next: self.next,
            reply,
            effects: self.effects,
            withdraw: self.withdraw,
            records: self.records,
            rows: self.rows,
            births: self.births,
        }
    }

    /// An id whose reference code no kept case has.
    pub fn new_id(&mut self) -> CaseId {
        loop {
            let id = CaseId::new(self.cx.now, self.cx.entropy, self.ids_made);
            self.ids_made += 1;
            let reference = id.reference();
            if self.next.cases.values().all(|c| c.reference() != reference) {
                self.made.push(id);
                return id;
            }
        }
    }

    pub fn person(&self) -> Option<&'a Employee> {
        self.cx.world.directory.get(self.next.employee()?)
    }

    pub fn identity(&self) -> Option<ChatIdentity> {
        self.cx.world.directory.identity_of(self.next.employee()?)
    }

    /// The employee's zone by name; `UTC` when nobody is known.
    pub fn zone_name(&self) -> &'a str {
        self.person().map_or("UTC", |person| &person.time_zone)
    }

    pub fn zone(&self) -> TimeZone {
        TimeZone::get(self.zone_name()).unwrap_or(TimeZone::UTC)
    }

    pub fn employee_did(&self) -> Who {
        self.next
            .employee()
            .map_or(Who::Bot, |id| Who::Employee(id.clone()))
    }

    pub fn view(&self, case: &Case) -> CaseView {
        case.view(self.next.employee(), None)
    }

    /// A record about a case, as it stands now.
    pub fn record(&mut self, id: CaseId, event: &str, who: Who, detail: impl Into<String>) {
        let record = Record::new(self.cx.now, event, who).detail(detail);
        let record = match self.next.cases.get(&id) {
            Some(case) => record.about(case.without_evidence(self.next.employee(), None)),
            None => Record {
                case_id: Some(id),
                employee: self.next.employee().cloned(),
                ..record
            },
        };
        self.records.push(record);
    }

    /// A record about the person and no case.
    pub fn record_person(&mut self, event: &str, who: Who, detail: impl Into<String>) {
        self.records.push(Record {
            employee: self.next.employee().cloned(),
            ..Record::new(self.cx.now, event, who).detail(detail)
        });
    }

    /// Writes a case's row as it stands now.
    pub fn put_row(&mut self, id: CaseId) {
        if let Some(case) = self.next.cases.get(&id) {
            let row = self.view(case).row();
            let change = match self.made.contains(&id) {
                true => RowChange::New,
                false => RowChange::Put,
            };
            self.rows.extend(row.map(change));
        }
    }

    /// A message to the employee. Nothing when nobody can be reached.
    pub fn say(&mut self, case: Option<CaseId>, content: Content) {
        let asked = case.and_then(|id| self.next.cases.get(&id));
        let urgency = asked.map_or(Severity::Low, Case::severity);
        let to = asked
            .and_then(|case| case.identity.clone())
            .or_else(|| self.identity());
        if let (Some(to), Some(employee)) = (to, self.next.employee().cloned()) {
            self.effects.push(Effect::Send(Outgoing {
                to,
                employee,
                case,
                urgency,
                content,
            }));
        }
    }

    /// Replaces the case's message; nothing while the chat has not said which one it is.
    pub fn edit(&mut self, id: CaseId, content: Content) {
        let Some(case) = self.next.cases.get(&id) else {
            return;
        };
        if let (Some(message_id), Some(to), Some(employee)) = (
            case.message_id.clone(),
            case.identity.clone(),
            self.next.employee().cloned(),
        ) {
            let message = Outgoing {
                to,
                employee,
                case: Some(id),
                urgency: case.severity(),
                content,
            };
            self.effects.push(Effect::Edit {
                message_id,
                sent_at: case.message_at,
                message,
            });
        }
    }

    /// What the case's message should show now.
    pub fn current_content(&self, case: &Case) -> Content {
        let question = Box::new(case.question(self.zone_name()));
        match (case.phase, &case.ended) {
            (Phase::Closed, Some(ended)) => Content::Ended {
                question,
                ended: ended.clone(),
            },
            (Phase::Verifying, _) => Content::ProofForm {
                question,
                form: self.form(case),
            },
            _ => Content::Question { question },
        }
    }

    pub fn refresh(&mut self, id: CaseId) {
        if let Some(content) = self.next.cases.get(&id).map(|c| self.current_content(c)) {
            self.edit(id, content);
        }
    }

    /// The code form: every asked, unanswered question, this one first and ticked.
    fn form(&self, case: &Case) -> Form {
        let others = self.next.cases.values().filter(|other| {
            other.id != case.id && matches!(other.phase, Phase::Asked | Phase::Verifying)
        });
        let mut others: Vec<&Case> = others.collect();
        others.sort_by_key(|other| other.order);
        let ticks = std::iter::once(case)
            .chain(others)
            .map(|c| TickOption {
                case: c.id,
                reference: c.reference(),
                revision: c.revision,
                title: c.title.clone(),
                ticked: c.id == case.id,
            })
            .collect();
        Form {
            explanation: case.policy.explanation,
            given: case.explanation.clone(),
            ticks,
            code: self.takes_code(case),
            push: self.takes_push(case),
        }
    }

    /// Critical and high questions at once, the others one at a time: by severity, then age.
    fn ask_next(&mut self) {
        let mut waiting: Vec<_> = self
            .next
            .cases
            .values()
            .filter(|case| case.phase == Phase::Waiting)
            .map(|case| (Reverse(case.severity()), case.order, case.id))
            .collect();
        waiting.sort();
        for (Reverse(severity), _, id) in waiting {
            let live = self.next.cases.values().any(Case::is_live);
            if self.ask_all || severity >= Severity::High || !live {
                self.ask(id);
            }
        }
    }

    fn ask(&mut self, id: CaseId) {
        let Some(identity) = self.identity() else {
            self.end(
                id,
                pages::End::because(
                    Outcome::Unreachable,
                    "nobody to ask: gone from the directory",
                ),
            );
            return;
        };
        let zone = self.zone_name();
        let Some(severity) = self.next.cases.get(&id).map(Case::severity) else {
            return;
        };
        self.greet(severity);
        let Some(case) = self.next.cases.get_mut(&id) else {
            return;
        };
        case.identity = Some(identity);
        case.phase = Phase::Sending;
        case.sent = true;
        let question = Box::new(case.question(zone));
        self.say(Some(id), Content::Question { question });
    }

    /// Once a day, by the employee's calendar; as urgent as the question that waits behind it.
    fn greet(&mut self, urgency: Severity) {
        let today = jiff::Timestamp::from_millisecond(self.cx.now.as_millis())
            .ok()
            .map(|now| now.to_zoned_datetime(self.zone()).date());
        if today.is_none() || self.next.greeted == today {
            return;
        }
        self.next.greeted = today;
        let name = self
            .person()
            .map(|p| p.name.to_string())
            .unwrap_or_default();
        self.say(None, Content::Greeting { name });
        if let Some(Effect::Send(greeting)) = self.effects.last_mut()
            && matches!(greeting.content, Content::Greeting { .. })
        {
            greeting.urgency = urgency;
        }
    }

    fn raise_flood(&mut self) {
        let open: Vec<CaseId> = self.next.open_cases().map(|case| case.id).collect();
        if open.len() <= FLOOD_OVER {
            self.next.flooded = false;
        }
        if open.len() <= FLOOD || self.next.flooded {
            return;
        }
        self.next.flooded = true;
        let id = self.new_id();
        let who = self
            .next
            .employee()
            .map(ToString::to_string)
            .unwrap_or_default();
        let detail = format!("{} open questions of {who}", open.len());
        self.record_person("flood_raised", Who::Bot, detail);
        self.births
            .push(pages::flood(id, &who, open, &self.cx.world.policy));
    }
}
