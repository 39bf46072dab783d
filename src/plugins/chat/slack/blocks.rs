//! A message as Block Kit. Everything that came from an alert is plain text or preformatted rich text, fields in which
//! Slack knows no mention and no link; what is too long for Slack is cut here, because Slack refuses instead of cutting.

use serde_json::{Value, json};

use crate::core::ids::CaseId;
use crate::messages::{Block, Button, Fact, Rendered};

use super::form::Seed;
use super::text::{
    BUTTON, CONTEXT, FIELD, HEADER, MOST_BLOCKS, MOST_FIELDS, NOTIFICATION, SECTION, URL, escape,
    literal,
};

/// The button that opens the form.
pub(super) const OPEN_FORM: &str = "form";
/// A link button also sends an event; it means nothing.
pub(super) const OPEN_LINK: &str = "link";

/// `text` (notifications and screen readers) and `blocks` of one message.
pub fn message(rendered: &Rendered) -> (String, Vec<Value>) {
    let mut blocks: Vec<Value> = rendered.blocks.iter().flat_map(block).collect();
    let mut actions = Vec::new();
    if let Some(form) = &rendered.form {
        actions.push(form_button(&Seed::of(form)));
    }
    if let Some(case) = rendered.case {
        let answers = rendered.buttons.iter();
        actions.extend(answers.map(|button| answer_button(button, case, rendered.revision)));
    }
    let room = MOST_BLOCKS - usize::from(!actions.is_empty());
    blocks.truncate(room);
    if !actions.is_empty() {
        blocks.push(json!({ "type": "actions", "block_id": "answer", "elements": actions }));
    }
    let notification = match rendered.notification.trim() {
        "" => rendered.to_plain(),
        line => line.to_owned(),
    };
    (escape(&notification, NOTIFICATION), blocks)
}

fn block(block: &Block) -> Vec<Value> {
    match block {
        Block::Heading { text } => shown(
            text,
            |text| json!({ "type": "header", "text": plain(text, HEADER) }),
        ),
        Block::Paragraph { text } => shown(
            text,
            |text| json!({ "type": "section", "text": plain(text, SECTION) }),
        ),
        Block::Quote { text } => shown(text, quote),
        Block::Facts { facts } => facts
            .chunks(MOST_FIELDS)
            .map(|facts| {
                let fields: Vec<Value> = facts.iter().map(fact).collect();
                json!({ "type": "section", "fields": fields })
            })
            .collect(),
        Block::Note { text } => shown(
            text,
            |text| json!({ "type": "context", "elements": [plain(text, CONTEXT)] }),
        ),
        Block::Link { label, url } => match url.encode_utf16().count() <= URL {
            true => vec![json!({ "type": "actions", "elements": [{
                "type": "button", "action_id": OPEN_LINK, "text": plain(label, BUTTON), "url": url,
            }] })],
            false => Vec::new(),
        },
    }
}

/// Slack refuses an empty text.
fn shown(text: &str, block: impl Fn(&str) -> Value) -> Vec<Value> {
    match escape(text, SECTION).trim().is_empty() {
        true => Vec::new(),
        false => vec![block(text)],
    }
}

/// Evidence: in rich text a text element is shown as it is, character for character.
fn quote(text: &str) -> Value {
    json!({ "type": "rich_text", "elements": [{
        "type": "rich_text_preformatted",
        "elements": [{ "type": "text", "text": literal(text, SECTION) }],
    }] })
}

fn fact(fact: &Fact) -> Value {
    plain(&format!("{}\n{}", fact.label, fact.value), FIELD)
}

pub(super) fn plain(text: &str, limit: usize) -> Value {
    json!({ "type": "plain_text", "text": escape(text, limit), "emoji": false })
}

fn answer_button(button: &Button, case: CaseId, revision: u32) -> Value {
    let mut made = json!({
        "type": "button",
        "action_id": button.answer.name(),
        "text": plain(&button.label, BUTTON),
        "value": format!("{case}:{revision}"),
    });
    if button.primary {
        made["style"] = json!("primary");
    }
    made
}

fn form_button(seed: &Seed) -> Value {
    json!({
        "type": "button",
        "action_id": OPEN_FORM,
        "style": "primary",
        "text": plain("Explain and confirm", BUTTON),
        "value": seed.to_value(),
    })
}

/// `{case}:{revision}`, as buttons and choices carry it.
pub(super) fn parse_case(value: &str) -> Option<(CaseId, u32)> {
    let (case, revision) = value.split_once(':')?;
    Some((CaseId::parse(case)?, revision.parse().ok()?))
}
