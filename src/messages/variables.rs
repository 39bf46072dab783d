//! What a template may use: the data of a message as clean single lines. Untrusted text becomes plain here; it is
//! never a template itself.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::core::alert::Severity;
use crate::core::conversation::Content;
use crate::core::conversation::effect::{Ended, OpenQuestion, Question, StatusSnooze};
use crate::core::policy::Explanation;
use crate::core::text::Untrusted;

use super::Zone;

/// By name; every name of a kind of message is always there.
pub(super) type Variables = BTreeMap<&'static str, Value>;

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
    let mut known = Variables::new();
    if let Some(question) = question_of(content) {
        known.extend(about(question, zone));
    }
    match content {
        Content::Greeting { name } => known.extend([("name", word(name))]),
        Content::Question { .. } | Content::Unlocked => {}
        Content::ProofForm { form, .. } => known.extend([
            ("several", json!(form.ticks.len() > 1)),
            ("takes_code", json!(form.code)),
            ("takes_push", json!(form.push)),
            (
                "explanation_required",
                json!(form.explanation == Explanation::Required),
            ),
        ]),
        Content::Ended { question, ended } | Content::Told { question, ended } => {
            known.extend(end_of(question, ended, zone));
        }
        Content::Reminder { question, deadline } => {
            known.extend([("deadline", json!(zone.near(*deadline, question.first_at)))])
        }
        Content::Clarification { reason, open } => known.extend([
            ("reason", json!(reason)),
            ("open", listed(open, zone)),
            ("example", json!(open.first().map(|q| &q.reference))),
            ("zone", json!(zone.label)),
        ]),
        Content::AskWhy { reference }
        | Content::AskWho { reference }
        | Content::AskProof { reference } => known.extend([("reference", word(reference))]),
        Content::CodeRefused { why, locked_until } => known.extend([
            ("why", json!(why)),
            (
                "locked_until",
                json!(locked_until.map(|at| zone.moment(at))),
            ),
            ("zone", json!(zone.label)),
        ]),
        Content::AlreadyAnswered {
            reference,
            outcome,
            closed_by,
        } => known.extend([
            ("reference", word(reference)),
            ("outcome", json!(outcome)),
            ("closed_by", json!(closed_by.as_deref().map(word))),
        ]),
        Content::Help { name, enrolled } => {
            known.extend([("name", word(name)), ("enrolled", json!(enrolled))]);
        }
        Content::Status {
            open,
            snoozes,
            enrolled,
        } => {
            known.extend([
                ("open", listed(open, zone)),
                ("snoozes", snoozed(snoozes, zone)),
                ("enrolled", json!(enrolled)),
                ("zone", json!(zone.label)),
            ]);
        }
        Content::ReportWhich { recent } => known.extend([
            ("recent", listed(recent, zone)),
            ("example", json!(recent.first().map(|q| &q.reference))),
            ("zone", json!(zone.label)),
        ]),
        Content::ReportTaken { reference } => {
            known.extend([("reference", json!(reference.as_deref().map(word)))]);
        }
        Content::Snooze {
            step,
            snoozes,
            asked,
            until,
            capped,
        } => {
            let snoozes = snoozed(snoozes, zone);
            known.extend([
                ("step", json!(step)),
                ("one", json!(snoozes.get(0))),
                ("snoozes", snoozes),
                ("asked", json!(asked.as_deref().map(word))),
                ("until", json!(until.map(|at| zone.moment(at)))),
                ("capped", json!(capped)),
                ("zone", json!(zone.label)),
            ]);
        }
        Content::Practice { step, .. } => known.extend([("step", json!(step))]),
        Content::FactorEnrolled { by_operator } => {
            known.extend([("by_operator", json!(by_operator.as_deref().map(word)))]);
        }
    }
    known
}

fn about(question: &Question, zone: &Zone) -> Variables {
    let host = question
        .context
        .iter()
        .find(|(key, _)| key == "host")
        .map(|(_, host)| host.line(WORD_CHARS));
    let deadline = question.deadline.map(|at| zone.near(at, question.first_at));
    Variables::from([
        ("title", json!(question.title.line(TITLE_CHARS))),
        ("rule", word(&question.rule)),
        ("reference", word(&question.reference)),
        ("host", json!(host)),
        ("count", json!(question.count)),
        (
            "span",
            json!(zone.span(question.first_at, question.last_at)),
        ),
        (
            "when",
            json!(zone.dated_span(question.first_at, question.last_at)),
        ),
        ("deadline", json!(deadline)),
        ("zone", json!(zone.label)),
        ("severity", json!(question.severity)),
        ("urgent", json!(question.severity >= Severity::High)),
    ])
}

fn end_of(question: &Question, ended: &Ended, zone: &Zone) -> Variables {
    let near = |at| zone.near(at, ended.at);
    let explanation = ended.explanation.as_ref().filter(|text| !text.is_empty());
    Variables::from([
        ("outcome", json!(ended.outcome)),
        (
            "explanation",
            json!(explanation.map(|text| text.line(EXPLANATION_CHARS))),
        ),
        ("at", json!(zone.near(ended.at, question.first_at))),
        ("snoozed_until", json!(ended.snoozed_until.map(near))),
        ("not_me_until", json!(ended.not_me_until.map(near))),
        ("closed_by", json!(ended.closed_by.as_deref().map(word))),
        ("revoked", json!(ended.revoked)),
        ("paged", json!(ended.paged)),
    ])
}

/// Names, too, may come from outside (rules from producers, people from a directory).
fn word(text: &str) -> Value {
    json!(Untrusted::from(text).line(WORD_CHARS))
}

fn snoozed(snoozes: &[StatusSnooze], zone: &Zone) -> Value {
    let shown = |snooze: &StatusSnooze| {
        let place: Vec<_> = snooze
            .context
            .iter()
            .map(|(_, value)| value.line(WORD_CHARS))
            .collect();
        json!({
            "reference": word(&snooze.reference),
            "rule": word(&snooze.rule),
            "where": place.join(", "),
            "until": zone.moment(snooze.until),
        })
    };
    snoozes.iter().take(MOST_LISTED).map(shown).collect()
}

fn listed(questions: &[OpenQuestion], zone: &Zone) -> Value {
    questions
        .iter()
        .take(MOST_LISTED)
        .map(|question| {
            json!({
                "reference": word(&question.reference),
                "title": question.title.line(TITLE_CHARS),
                "deadline": question.deadline.map(|at| zone.moment(at)),
            })
        })
        .collect()
}
