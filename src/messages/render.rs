//! One message from one [`Outgoing`]: texts from the template, facts, evidence and buttons from the data. Untrusted
//! text is made plain here, once, and is never a template itself.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::core::alert::Severity;
use crate::core::case::Outcome;
use crate::core::conversation::effect::{Ended, Form, OpenQuestion, Question};
use crate::core::conversation::{Answer, Content, Outgoing};
use crate::core::policy::Explanation;
use crate::core::text::Untrusted;

use super::templates::Sections;
use super::{Block, Button, Fact, Messages, Rendered, RenderedForm, RenderedTick, Zone};

/// What a template may use.
pub(super) type Variables = BTreeMap<&'static str, Value>;

/// The outside contract: the title is cut here in question, reminder and page.
const TITLE_CHARS: usize = 150;
/// Evidence beyond this is for operators: nobody reads more in a chat.
const EVIDENCE_CHARS: usize = 1_500;
const EVIDENCE_LINES: usize = 15;
const DESCRIPTION_CHARS: usize = 600;
const WORD_CHARS: usize = 80;
const VALUE_CHARS: usize = 200;
const EXPLANATION_CHARS: usize = 300;
/// A form field is given back whole, as far as the chat takes it.
const GIVEN_CHARS: usize = 1_000;
const URL_CHARS: usize = 2_000;
const MOST_FACTS: usize = 12;
/// Longer lists are cut; `status` is no report.
const MOST_LISTED: usize = 20;

impl Messages {
    /// The message in its question's zone; what has no question is shown in UTC.
    pub fn render(&self, outgoing: &Outgoing) -> Rendered {
        self.render_for(outgoing, "UTC")
    }

    /// The message for somebody who lives in `time_zone` (a question carries its own).
    pub fn render_for(&self, outgoing: &Outgoing, time_zone: &str) -> Rendered {
        let content = &outgoing.content;
        let zone = Zone::named(question_of(content).map_or(time_zone, |q| &q.time_zone));
        let name = content.name();
        let sections = self
            .sections(name, variables(content, &zone))
            .or_else(|error| {
                tracing::error!(template = name, line = error.line(), kind = %error.kind(),
                    "a message template failed, using the built-in one");
                Messages::embedded().sections(name, variables(content, &zone))
            })
            .unwrap_or_default();
        compose(outgoing, sections, &zone)
    }
}

fn compose(outgoing: &Outgoing, sections: Sections, zone: &Zone) -> Rendered {
    let content = &outgoing.content;
    let mut blocks = Vec::new();
    if !sections.heading.is_empty() {
        blocks.push(Block::Heading {
            text: sections.heading,
        });
    }
    paragraphs(&mut blocks, &sections.text);
    match content {
        Content::Question { question } | Content::ProofForm { question, .. } => {
            facts(&mut blocks, question, zone);
            evidence(&mut blocks, question);
        }
        Content::Ended { question, .. } => facts(&mut blocks, question, zone),
        _ => {}
    }
    paragraphs(&mut blocks, &sections.next);
    if !sections.note.is_empty() {
        blocks.push(Block::Note {
            text: sections.note,
        });
    }
    let first_sight = matches!(content, Content::Question { .. } | Content::Reminder { .. });
    Rendered {
        case: outgoing
            .case
            .or_else(|| question_of(content).map(|q| q.case)),
        revision: question_of(content).map_or(0, |q| q.revision),
        blocks,
        buttons: buttons(content),
        form: form(content),
        notification: sections.notification,
        loud: first_sight && outgoing.urgency >= Severity::High,
        quiet: matches!(content, Content::Ended { .. } | Content::ProofForm { .. }),
    }
}

fn question_of(content: &Content) -> Option<&Question> {
    match content {
        Content::Question { question }
        | Content::ProofForm { question, .. }
        | Content::Ended { question, .. }
        | Content::Reminder { question, .. }
        | Content::Told { question, .. } => Some(question),
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
            let snoozes: Vec<_> = snoozes
                .iter()
                .take(MOST_LISTED)
                .map(|snooze| {
                    let place: Vec<_> = snooze
                        .context
                        .iter()
                        .map(|(_, value)| value.line(WORD_CHARS))
                        .collect();
                    json!({
                        "rule": word(&snooze.rule),
                        "where": place.join(", "),
                        "until": zone.moment(snooze.until),
                    })
                })
                .collect();
            known.extend([
                ("open", listed(open, zone)),
                ("snoozes", json!(snoozes)),
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

/// Blank lines part paragraphs. Values cannot forge one: they are single lines.
fn paragraphs(blocks: &mut Vec<Block>, text: &str) {
    let paragraphs = text.split("\n\n").filter(|p| !p.is_empty());
    blocks.extend(paragraphs.map(|p| Block::Paragraph { text: p.to_owned() }));
}

fn facts(blocks: &mut Vec<Block>, question: &Question, zone: &Zone) {
    let fact = |label: &str, value: String| Fact {
        label: label.to_owned(),
        value,
    };
    let when = zone.dated_span(question.first_at, question.last_at);
    let mut facts = vec![fact("When", format!("{when} ({})", zone.label))];
    if question.count > 1 {
        facts.push(fact("How often", format!("{} times", question.count)));
    }
    for (key, value) in question.context.iter().take(MOST_FACTS) {
        facts.push(fact(&label(key), value.line(VALUE_CHARS)));
    }
    let hidden = question.context.len().saturating_sub(MOST_FACTS);
    if hidden > 0 {
        facts.push(fact("And", format!("{hidden} more details")));
    }
    facts.push(fact(
        "Noticed by",
        format!(
            "rule {}",
            Untrusted::from(question.rule.as_str()).line(WORD_CHARS)
        ),
    ));
    blocks.push(Block::Facts { facts });
}

/// `source_address` becomes `Source address`.
fn label(key: &str) -> String {
    let words = Untrusted::from(key).line(40).replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn evidence(blocks: &mut Vec<Block>, question: &Question) {
    if !question.description.is_empty() {
        let text = question.description.plain(DESCRIPTION_CHARS);
        blocks.push(Block::Quote {
            text: few_lines(text.trim()),
        });
    }
    if !question.reason.is_empty() {
        let text = question.reason.plain(EVIDENCE_CHARS);
        blocks.push(Block::Quote {
            text: few_lines(text.trim_matches('\n').trim_end()),
        });
    }
    if let Some((host, url)) = question.url.as_ref().and_then(web_link) {
        blocks.push(Block::Link {
            label: format!("Details on {host}"),
            url,
        });
    }
}

fn few_lines(text: &str) -> String {
    let mut lines: Vec<_> = text.lines().take(EVIDENCE_LINES).collect();
    if text.lines().nth(EVIDENCE_LINES).is_some() {
        lines.push("…");
    }
    lines.join("\n")
}

/// Only plain web addresses, and the label says where they lead: an alert must not hide a trap behind a friendly word.
fn web_link(url: &Untrusted) -> Option<(String, String)> {
    let parsed = url::Url::parse(url.raw().trim()).ok()?;
    let harmless = matches!(parsed.scheme(), "http" | "https")
        && parsed.username().is_empty()
        && parsed.password().is_none()
        && parsed.as_str().len() <= URL_CHARS;
    let host = parsed.host_str()?.to_owned();
    harmless.then(|| (host, parsed.into()))
}

fn buttons(content: &Content) -> Vec<Button> {
    let button = |answer, label: &str| Button {
        primary: answer == Answer::Yes,
        answer,
        label: label.to_owned(),
    };
    let not_yes = || {
        [
            button(Answer::No, "No, that wasn't me"),
            button(Answer::NotSure, "Not sure"),
            button(Answer::SomeoneElse, "Someone else did it"),
        ]
    };
    match content {
        Content::Question { .. } => {
            let mut all = vec![button(Answer::Yes, "Yes, that was me")];
            all.extend(not_yes());
            all
        }
        Content::ProofForm { .. } => not_yes().into(),
        Content::Ended { ended, .. }
            if ended.outcome == Outcome::Verified
                && ended.not_me_until.is_some()
                && !ended.revoked =>
        {
            vec![button(Answer::NotMeAfterAll, "That wasn't me after all")]
        }
        _ => Vec::new(),
    }
}

fn form(content: &Content) -> Option<RenderedForm> {
    let Content::ProofForm { question, form } = content else {
        return None;
    };
    let required = form.explanation == Explanation::Required;
    let explanation_label = match required {
        true => "Why did you do it? A few words are enough",
        false => "Why did you do it? (if you like)",
    };
    Some(RenderedForm {
        case: question.case,
        revision: question.revision,
        explanation_label: explanation_label.to_owned(),
        explanation_required: required,
        explanation: form
            .given
            .as_ref()
            .map_or_else(String::new, |given| given.plain(GIVEN_CHARS)),
        code_label: "The 6-digit code from your authenticator app".to_owned(),
        submit_label: "Confirm".to_owned(),
        ticks: ticks(form),
    })
}

fn ticks(form: &Form) -> Vec<RenderedTick> {
    form.ticks
        .iter()
        .map(|tick| RenderedTick {
            case: tick.case,
            revision: tick.revision,
            label: format!("{} ({})", tick.title.line(TITLE_CHARS), tick.reference),
            ticked: tick.ticked,
        })
        .collect()
}
