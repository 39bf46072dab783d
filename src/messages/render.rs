//! One message from one [`Outgoing`]: texts from the template, facts, evidence and buttons from the data. No text is
//! ever read back for meaning, so a hostile title cannot become a button.

use crate::core::alert::Severity;
use crate::core::case::Outcome;
use crate::core::conversation::effect::{Form, PracticeStep, Question, SnoozeStep};
use crate::core::conversation::{Answer, Content, Outgoing};
use crate::core::ids::CaseId;
use crate::core::policy::Explanation;
use crate::core::text::Untrusted;

use super::templates::Sections;
use super::variables::{TITLE_CHARS, WORD_CHARS, question_of, variables};
use super::{Block, Button, Fact, Messages, Rendered, RenderedForm, RenderedTick, Zone};

/// Evidence beyond this is for operators: nobody reads more in a chat.
const EVIDENCE_CHARS: usize = 1_500;
const EVIDENCE_LINES: usize = 15;
const DESCRIPTION_CHARS: usize = 600;
const VALUE_CHARS: usize = 200;
/// A form field is given back whole, as far as the chat takes it.
const GIVEN_CHARS: usize = 1_000;
const URL_CHARS: usize = 2_000;
const MOST_FACTS: usize = 12;

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
        Content::Question { question }
        | Content::ProofForm { question, .. }
        | Content::Practice {
            step: PracticeStep::Asked | PracticeStep::Proving,
            question,
            ..
        } => {
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
        form: form(outgoing),
        notification: sections.notification,
        loud: first_sight && outgoing.urgency >= Severity::High,
        quiet: matches!(content, Content::Ended { .. } | Content::ProofForm { .. }),
    }
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
    let often = match question.count {
        0 | 1 => String::new(),
        count => format!(", {count} times"),
    };
    let mut facts = vec![fact("When", format!("{when} ({}){often}", zone.label))];
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
            button(Answer::SomeoneElse, "Someone else"),
        ]
    };
    match content {
        Content::Question { .. }
        | Content::Practice {
            step: PracticeStep::Asked,
            ..
        } => {
            let mut all = vec![button(Answer::Yes, "Yes, that was me")];
            all.extend(not_yes());
            all
        }
        Content::ProofForm { .. }
        | Content::Practice {
            step: PracticeStep::Proving,
            ..
        } => not_yes().into(),
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

const WHY: &str = "Why did you do it? A few words are enough";
const WHY_IF_YOU_LIKE: &str = "Why did you do it? (if you like)";
const WHY_LONGER: &str = "Why do you need it longer? (if you like)";

fn form(outgoing: &Outgoing) -> Option<RenderedForm> {
    match &outgoing.content {
        Content::ProofForm { question, form } => {
            let required = form.explanation == Explanation::Required;
            let why = if required { WHY } else { WHY_IF_YOU_LIKE };
            Some(RenderedForm {
                revision: question.revision,
                explanation_required: required,
                takes_code: form.code,
                push_label: form.push.then(|| "Approve on my phone".to_owned()),
                ticks: ticks(form),
                ..code_form(question.case, why, form.given.as_ref())
            })
        }
        Content::Practice {
            step: PracticeStep::Proving,
            question,
            given,
        } => Some(RenderedForm {
            explanation_required: true,
            ..code_form(question.case, WHY, given.as_ref())
        }),
        Content::Snooze {
            step: SnoozeStep::Form,
            ..
        } => Some(code_form(outgoing.case?, WHY_LONGER, None)),
        _ => None,
    }
}

/// A form for one thing, which a code proves.
fn code_form(case: CaseId, why: &str, given: Option<&Untrusted>) -> RenderedForm {
    RenderedForm {
        case,
        revision: 0,
        explanation_label: why.to_owned(),
        explanation_required: false,
        explanation: given.map_or_else(String::new, |given| given.plain(GIVEN_CHARS)),
        code_label: "The 6-digit code from your authenticator app".to_owned(),
        submit_label: "Confirm".to_owned(),
        takes_code: true,
        push_label: None,
        ticks: vec![RenderedTick {
            case,
            revision: 0,
            label: String::new(),
            ticked: true,
        }],
    }
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
