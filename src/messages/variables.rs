//! What a template may use: the data of a message as clean single lines. Untrusted text becomes plain here; it is
//! never a template itself.

use std::sync::Arc;

use minijinja::value::{Enumerator, Object};
use minijinja::{Value, context};
use serde::Serialize;

use crate::core::alert::Severity;
use crate::core::conversation::Content;
use crate::core::conversation::effect::{Ended, OpenQuestion, Question, StatusSnooze};
use crate::core::policy::Explanation;
use crate::core::text::Untrusted;

use super::Zone;

/// By name; every name of a kind of message is always there, and of two of one name the later counts. A template looks a
/// few of a dozen up: no map is worth its making.
#[derive(Debug, Default)]
pub(super) struct Variables(Vec<(&'static str, Value)>);

impl Variables {
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }

    fn add<const N: usize>(&mut self, more: [(&'static str, Value); N]) {
        self.0.extend(more);
    }
}

impl Object for Variables {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let found = self.0.iter().rfind(|(name, _)| *name == key);
        found.map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.names().map(Value::from).collect())
    }
}

/// The outside contract: the title is cut here in question, reminder and page.
pub(super) const TITLE_CHARS: usize = 150;
pub(super) const WORD_CHARS: usize = 80;
const EXPLANATION_CHARS: usize = 300;
/// Longer lists are cut; `status` is no report.
const MOST_LISTED: usize = 20;

pub(super) fn question_of(content: &Content) -> Option<&Question> {
    match content {
        Content::Question { question }
        | Content::ProofForm { question, .. }
        | Content::Ended { question, .. }
        | Content::Reminder { question, .. }
        | Content::Told { question, .. }
        | Content::Practice { question, .. } => Some(question),
        _ => None,
    }
}

/// Everything the template of this content may use; every name is always there.
pub(super) fn variables(content: &Content, zone: &Zone) -> Variables {
    let mut known = Variables::default();
    if let Some(question) = question_of(content) {
        about(&mut known, question, zone);
    }
    match content {
        Content::Greeting { name } => known.add([("name", word(name))]),
        Content::Question { .. } | Content::Unlocked => {}
        Content::ProofForm { form, .. } => known.add([
            ("several", Value::from(form.ticks.len() > 1)),
            ("takes_code", Value::from(form.code)),
            ("takes_push", Value::from(form.push)),
            (
                "explanation_required",
                Value::from(form.explanation == Explanation::Required),
            ),
        ]),
        Content::Ended { question, ended } | Content::Told { question, ended } => {
            end_of(&mut known, question, ended, zone);
        }
        Content::Reminder { question, deadline } => known.add([(
            "deadline",
            Value::from(zone.near(*deadline, question.first_at)),
        )]),
        Content::Clarification { reason, open } => known.add([
            ("reason", word_of(reason)),
            ("open", listed(open, zone)),
            ("example", Value::from(open.first().map(|q| &q.reference))),
            ("zone", Value::from(&zone.label)),
        ]),
        Content::AskWhy { reference }
        | Content::AskWho { reference }
        | Content::AskProof { reference } => known.add([("reference", word(reference))]),
        Content::CodeRefused { why, locked_until } => known.add([
            ("why", word_of(why)),
            (
                "locked_until",
                Value::from(locked_until.map(|at| zone.moment(at))),
            ),
            ("zone", Value::from(&zone.label)),
        ]),
        Content::AlreadyAnswered {
            reference,
            outcome,
            closed_by,
        } => known.add([
            ("reference", word(reference)),
            ("outcome", word_of(outcome)),
            ("closed_by", Value::from(closed_by.as_deref().map(word))),
        ]),
        Content::Help { name, enrolled } => {
            known.add([("name", word(name)), ("enrolled", Value::from(enrolled))]);
        }
        Content::Status {
            open,
            snoozes,
            enrolled,
        } => {
            known.add([
                ("open", listed(open, zone)),
                ("snoozes", Value::from(snoozed(snoozes, zone))),
                ("enrolled", Value::from(enrolled)),
                ("zone", Value::from(&zone.label)),
            ]);
        }
        Content::ReportWhich { recent } => known.add([
            ("recent", listed(recent, zone)),
            ("example", Value::from(recent.first().map(|q| &q.reference))),
            ("zone", Value::from(&zone.label)),
        ]),
        Content::ReportTaken { reference } => {
            known.add([("reference", Value::from(reference.as_deref().map(word)))]);
        }
        Content::Snooze {
            step,
            snoozes,
            asked,
            until,
            capped,
        } => {
            let snoozes = snoozed(snoozes, zone);
            known.add([
                ("step", word_of(step)),
                ("one", Value::from(snoozes.first())),
                ("snoozes", Value::from(snoozes)),
                ("asked", Value::from(asked.as_deref().map(word))),
                ("until", Value::from(until.map(|at| zone.moment(at)))),
                ("capped", Value::from(capped)),
                ("zone", Value::from(&zone.label)),
            ]);
        }
        Content::Practice { step, .. } => known.add([("step", word_of(step))]),
        Content::FactorEnrolled { by_operator } => {
            known.add([("by_operator", Value::from(by_operator.as_deref().map(word)))]);
        }
    }
    known
}

fn about(known: &mut Variables, question: &Question, zone: &Zone) {
    let host = question
        .context
        .iter()
        .find(|(key, _)| key == "host")
        .map(|(_, host)| host.line(WORD_CHARS));
    let deadline = question.deadline.map(|at| zone.near(at, question.first_at));
    known.add([
        ("title", Value::from(question.title.line(TITLE_CHARS))),
        ("rule", word(&question.rule)),
        ("reference", word(&question.reference)),
        ("host", Value::from(host)),
        ("count", Value::from(question.count)),
        (
            "span",
            Value::from(zone.span(question.first_at, question.last_at)),
        ),
        (
            "when",
            Value::from(zone.dated_span(question.first_at, question.last_at)),
        ),
        ("deadline", Value::from(deadline)),
        ("zone", Value::from(&zone.label)),
        ("severity", word_of(question.severity)),
        ("urgent", Value::from(question.severity >= Severity::High)),
    ]);
}

fn end_of(known: &mut Variables, question: &Question, ended: &Ended, zone: &Zone) {
    let near = |at| zone.near(at, ended.at);
    let explanation = ended.explanation.as_ref().filter(|text| !text.is_empty());
    known.add([
        ("outcome", word_of(ended.outcome)),
        (
            "explanation",
            Value::from(explanation.map(|text| text.line(EXPLANATION_CHARS))),
        ),
        ("at", Value::from(zone.near(ended.at, question.first_at))),
        ("snoozed_until", Value::from(ended.snoozed_until.map(near))),
        ("not_me_until", Value::from(ended.not_me_until.map(near))),
        (
            "closed_by",
            Value::from(ended.closed_by.as_deref().map(word)),
        ),
        ("revoked", Value::from(ended.revoked)),
        ("paged", word_of(ended.paged)),
    ]);
}

/// Names, too, may come from outside (rules from producers, people from a directory).
fn word(text: &str) -> Value {
    Untrusted::from(text).line(WORD_CHARS).into()
}

/// A choice without data, by its word; `none` when there is none.
fn word_of(choice: impl Serialize) -> Value {
    match serde_json::to_value(choice) {
        Ok(serde_json::Value::String(word)) => word.into(),
        _ => ().into(),
    }
}

fn snoozed(snoozes: &[StatusSnooze], zone: &Zone) -> Vec<Value> {
    let shown = |snooze: &StatusSnooze| {
        let place: Vec<_> = snooze
            .context
            .iter()
            .map(|(_, value)| value.line(WORD_CHARS))
            .collect();
        context! {
            reference => word(&snooze.reference),
            rule => word(&snooze.rule),
            where => place.join(", "),
            until => zone.moment(snooze.until),
        }
    };
    snoozes.iter().take(MOST_LISTED).map(shown).collect()
}

fn listed(questions: &[OpenQuestion], zone: &Zone) -> Value {
    questions
        .iter()
        .take(MOST_LISTED)
        .map(|question| {
            context! {
                reference => word(&question.reference),
                title => question.title.line(TITLE_CHARS),
                deadline => question.deadline.map(|at| zone.moment(at)),
            }
        })
        .collect()
}
