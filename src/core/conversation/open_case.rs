//! One case as the conversation keeps it, open or closed within the last day. It copies the policy it
//! lives by, so that a reload never moves a running question's deadline.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::alert::{Alert, Severity};
use crate::core::case::{AlertRef, CaseState, CaseView, Evidence, Outcome};
use crate::core::context::{self, ContextKey, Words};
use crate::core::ids::{CaseId, ChatIdentity, EmployeeId, RuleName};
use crate::core::policy::CasePolicy;
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;

use super::effect::{Ended, OpenQuestion, Question};

/// Alerts listed in a case's JSON; later ones are counted only.
pub const MAX_ALERT_REFS: usize = 1000;
/// Evidence kept of a case: this many of its first and of its latest alerts.
const EVIDENCE_AT_EACH_END: usize = 10;
/// Evidence is stored with every checkpoint of an open case, so each text of it is bounded.
const EVIDENCE_FIELD_BYTES: usize = 4 * 1024;
/// What a closed case keeps of its evidence, for the message that takes its buttons away.
const CLOSED_FIELD_BYTES: usize = 512;
/// Versions of the question that the chat is known to have shown; older ones cannot be answered.
const MAX_SHOWN: usize = 20;

/// Rule names come from producers.
pub const RULE_CHARS: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waits for its turn: nothing was sent.
    Waiting,
    /// Handed to the chat, which has not accepted it yet.
    Sending,
    Asked,
    /// A yes waits for its proof.
    Verifying,
    Closed,
}

/// One accepted version of the question in the chat.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    pub revision: u32,
    /// The chat's own time.
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    pub id: CaseId,
    pub phase: Phase,
    /// Who is asked; an answer must come from there. `None`: nobody can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<ChatIdentity>,
    pub policy: Arc<CasePolicy>,
    pub key: ContextKey,
    pub principal: Untrusted,
    pub rule: RuleName,
    pub title: Untrusted,
    pub context: Words,
    pub alerts: Vec<AlertRef>,
    pub evidence: Vec<Evidence>,
    pub count: u64,
    pub revision: u32,
    /// Alerts of it that the producer has called over.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub over: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub opened_at: Timestamp,
    /// Its place among all cases of the employee: many open in one instant.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub order: u64,
    /// From admission; it always holds.
    pub ceiling: Timestamp,
    /// After the first answer later alerts open a follow-up case.
    #[serde(default, skip_serializing_if = "is_false")]
    pub folding_over: bool,
    /// An outdated yes was answered with the fresh question already.
    #[serde(default, skip_serializing_if = "is_false")]
    pub freshened: bool,
    /// The question was handed to the chat.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<Shown>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Set while a reminder is still to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminder: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Untrusted>,
    /// The next free text is the explanation.
    #[serde(default, skip_serializing_if = "is_false")]
    pub why_asked: bool,
    /// The next free text is the name of who it was.
    #[serde(default, skip_serializing_if = "is_false")]
    pub who_asked: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// Rounds its escalation was raised; zero: it has none.
    #[serde(default, skip_serializing_if = "is_zero_u32")]
    pub rounds: u32,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
fn is_zero_u32(n: &u32) -> bool {
    *n == 0
}
fn is_false(b: &bool) -> bool {
    !*b
}

impl Case {
    /// `key` is the alert's under that policy.
    pub fn open(
        id: CaseId,
        alert: &Alert,
        key: ContextKey,
        policy: Arc<CasePolicy>,
        now: Timestamp,
    ) -> Self {
        let at = alert.occurred_at.unwrap_or(alert.accepted_at);
        let mut case = Self {
            id,
            phase: Phase::Waiting,
            identity: None,
            key,
            principal: alert.principal.clone(),
            rule: alert.rule.clone(),
            title: alert.title.clone(),
            context: alert.context.clone(),
            // Most have one: what is pushed to nothing makes room for four.
            alerts: Vec::with_capacity(1),
            evidence: Vec::with_capacity(1),
            count: 0,
            revision: 0,
            over: 0,
            first_at: at,
            last_at: at,
            opened_at: now,
            order: 0,
            ceiling: alert.accepted_at.after(policy.times.ceiling),
            policy,
            folding_over: false,
            freshened: false,
            sent: false,
            message_id: None,
            message_at: None,
            shown: Vec::new(),
            asked_at: None,
            deadline: None,
            reminder: None,
            answered_at: None,
            explanation: None,
            why_asked: false,
            who_asked: false,
            factor: None,
            ended: None,
            rounds: 0,
        };
        case.fold(alert);
        case
    }

    /// Takes one more alert: the revision rises, the evidence keeps both ends.
    pub fn fold(&mut self, alert: &Alert) {
        let alert_ref = AlertRef {
            source: alert.source.clone(),
            id: alert.id.clone(),
            occurred_at: alert.occurred_at,
        };
        let short = |text: &Untrusted| text.clone().bounded(EVIDENCE_FIELD_BYTES);
        self.evidence.push(Evidence {
            alert: alert_ref.clone(),
            title: short(&alert.title),
            description: short(&alert.description),
            reason: short(&alert.reason),
            url: alert.url.as_ref().map(short),
        });
        if self.evidence.len() > 2 * EVIDENCE_AT_EACH_END {
            self.evidence.remove(EVIDENCE_AT_EACH_END);
        }
        if self.alerts.len() < MAX_ALERT_REFS {
            self.alerts.push(alert_ref);
        }
        let at = alert.occurred_at.unwrap_or(alert.accepted_at);
        self.first_at = self.first_at.min(at);
        self.last_at = self.last_at.max(at);
        self.count += 1;
        self.revision += 1;
    }

    pub fn is_open(&self) -> bool {
        self.phase != Phase::Closed
    }

    /// The chat may have shown it: it counts as the live question.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Sending | Phase::Asked | Phase::Verifying)
    }

    pub fn severity(&self) -> Severity {
        self.policy.severity
    }

    pub fn reference(&self) -> String {
        self.id.reference()
    }

    pub fn outcome(&self) -> Option<Outcome> {
        self.ended.as_ref().map(|ended| ended.outcome)
    }

    pub fn closed_at(&self) -> Option<Timestamp> {
        self.ended.as_ref().map(|ended| ended.at)
    }

    /// The words of the context key that it has; empty: it must not snooze.
    pub fn snooze_words(&self) -> Words {
        context::present(&self.policy.context_keys, &self.context)
    }

    /// When time alone changes something next.
    pub fn due(&self) -> Timestamp {
        let end = self.deadline.map_or(self.ceiling, |d| d.min(self.ceiling));
        self.reminder.map_or(end, |reminder| reminder.min(end))
    }

    pub fn remember_shown(&mut self, revision: u32, at: Timestamp) {
        if self.shown.last().is_some_and(|s| s.revision == revision) {
            return;
        }
        self.shown.push(Shown { revision, at });
        if self.shown.len() > MAX_SHOWN {
            self.shown.remove(0);
        }
    }

    /// The newest revision the chat showed before `written`; `None`: it was not shown yet.
    pub fn shown_before(&self, written: Timestamp) -> Option<u32> {
        self.shown
            .iter()
            .rev()
            .find(|shown| shown.at < written)
            .map(|shown| shown.revision)
    }

    /// A closed case keeps what a late answer needs.
    pub fn compact(&mut self) {
        self.evidence.truncate(1);
        for evidence in &mut self.evidence {
            for text in [&mut evidence.description, &mut evidence.reason] {
                *text = std::mem::take(text).bounded(CLOSED_FIELD_BYTES);
            }
        }
        self.alerts.truncate(2 * EVIDENCE_AT_EACH_END);
        self.shown.clear();
    }

    pub fn view(&self, employee: Option<&EmployeeId>, snoozed_by: Option<CaseId>) -> CaseView {
        CaseView {
            evidence: self.evidence.clone(),
            ..self.without_evidence(employee, snoozed_by)
        }
    }

    /// As the journal keeps it.
    pub fn without_evidence(
        &self,
        employee: Option<&EmployeeId>,
        snoozed_by: Option<CaseId>,
    ) -> CaseView {
        CaseView {
            id: self.id,
            reference: self.reference(),
            employee: employee.cloned(),
            principal: self.principal.clone(),
            rule: self.rule.clone(),
            title: self.title.clone(),
            severity: self.severity(),
            context: self.context.clone(),
            state: match self.phase {
                Phase::Waiting | Phase::Sending => CaseState::Queued,
                Phase::Asked => CaseState::Asked,
                Phase::Verifying => CaseState::Verifying,
                Phase::Closed => CaseState::Closed,
            },
            outcome: self.outcome(),
            alerts: self.alerts.clone(),
            count: self.count,
            revision: self.revision,
            snoozed_by,
            explanation: self.explanation.clone(),
            factor: self.factor.clone(),
            opened_at: self.opened_at,
            asked_at: self.asked_at,
            deadline: self.deadline,
            answered_at: self.answered_at,
            closed_at: self.closed_at(),
            escalation: None,
            evidence: Vec::new(),
        }
    }

    /// What the employee may see of it: hidden fields are left out.
    pub fn question(&self, time_zone: &str) -> Question {
        let first = self.evidence.first();
        let text = |field: &str, pick: fn(&Evidence) -> &Untrusted| {
            first
                .filter(|_| self.policy.shows(field))
                .map(|evidence| pick(evidence).clone())
                .unwrap_or_default()
        };
        Question {
            case: self.id,
            reference: self.reference(),
            revision: self.revision,
            rule: Untrusted::from(self.rule.as_str()).line(RULE_CHARS),
            severity: self.severity(),
            title: self.title.clone(),
            description: text("description", |e| &e.description),
            reason: text("reason", |e| &e.reason),
            url: first
                .filter(|_| self.policy.shows("url"))
                .and_then(|evidence| evidence.url.clone()),
            context: self.policy.shown(self.context.iter()),
            count: self.count,
            first_at: self.first_at,
            last_at: self.last_at,
            time_zone: time_zone.to_owned(),
            deadline: self.deadline,
        }
    }

    pub fn as_open_question(&self) -> OpenQuestion {
        OpenQuestion {
            case: self.id,
            reference: self.reference(),
            title: self.title.clone(),
            deadline: self.deadline,
        }
    }
}
