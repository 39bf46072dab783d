//! The form as a modal. All it needs travels in the button that opens it, so that it opens within Slack's three seconds
//! and after any restart; who submits it is Slack's word alone.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::core::conversation::Tick;
use crate::core::ids::CaseId;
use crate::core::text::Untrusted;
use crate::messages::{RenderedForm, RenderedTick, mask_codes};
use crate::plugins::chat::ChatAction;

use super::blocks::{parse_case, plain};
use super::text::{BUTTON, LABEL, MODAL_TITLE, OPTION, VALUE, choice, escape, literal};

const CONFIRM: &str = "confirm";
/// The form whose only proof is the phone.
const CONFIRM_BY_PUSH: &str = "confirm_by_push";
const WHY: &str = "why";
const CODE: &str = "code";
const TICKS: &str = "ticks";
/// How it is proved, where there is a choice.
const FACTOR: &str = "factor";
const BY_CODE: &str = "code";
const BY_PUSH: &str = "push";
/// A group of checkboxes holds ten; a question beyond them stays open and has its own form.
const MOST_TICKS: usize = 10;
/// As much of a reason as anybody types; Slack takes 3000.
const WHY_CHARS: usize = 1_000;
/// A code with spaces; anything longer is no code.
const MOST_CODE_CHARS: usize = 16;

/// A form in a button's value: short names, because Slack takes 2000 characters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Seed {
    #[serde(rename = "c")]
    pub case: CaseId,
    #[serde(rename = "r")]
    pub revision: u32,
    #[serde(rename = "q")]
    required: bool,
    #[serde(rename = "w", default, skip_serializing_if = "String::is_empty")]
    why_label: String,
    #[serde(rename = "d", default, skip_serializing_if = "String::is_empty")]
    code_label: String,
    #[serde(rename = "s", default, skip_serializing_if = "String::is_empty")]
    submit_label: String,
    #[serde(rename = "e", default, skip_serializing_if = "String::is_empty")]
    explanation: String,
    /// Only the phone can prove it.
    #[serde(rename = "n", default, skip_serializing_if = "std::ops::Not::not")]
    no_code: bool,
    /// The phone can prove it; empty: it cannot.
    #[serde(rename = "p", default, skip_serializing_if = "String::is_empty")]
    push_label: String,
    /// `{case}:{revision}`, label, ticked.
    #[serde(rename = "t", default, skip_serializing_if = "Vec::is_empty")]
    ticks: Vec<(String, String, bool)>,
}

impl Seed {
    pub fn of(form: &RenderedForm) -> Self {
        let mut seed = Self {
            case: form.case,
            revision: form.revision,
            required: form.explanation_required,
            why_label: literal(&form.explanation_label, 100),
            code_label: literal(&form.code_label, 100),
            submit_label: literal(&form.submit_label, MODAL_TITLE),
            explanation: literal(&form.explanation, WHY_CHARS),
            no_code: !form.takes_code,
            push_label: literal(form.push_label.as_deref().unwrap_or_default(), OPTION),
            ticks: form.ticks.iter().take(MOST_TICKS).map(tick).collect(),
        };
        // The answered question comes first: what does not fit is its company, and words already typed.
        while seed.to_value().encode_utf16().count() > VALUE {
            match (seed.explanation.is_empty(), seed.ticks.len()) {
                (false, _) => seed.explanation = shorter(&seed.explanation),
                (true, 2..) => drop(seed.ticks.pop()),
                (true, _) => break,
            }
        }
        seed
    }

    pub fn to_value(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub fn parse(value: &str) -> Option<Self> {
        serde_json::from_str(value).ok()
    }

    /// The modal of `views.open`.
    pub fn view(&self) -> Value {
        let submit = match self.only_push() {
            true => &self.push_label,
            false => words(&self.submit_label, "Confirm"),
        };
        let mut blocks = Vec::new();
        if self.ticks.len() > 1 {
            let option = |(value, label, _): &(String, String, bool)| json!({ "text": { "type": "plain_text", "text": label, "emoji": false }, "value": value });
            let all: Vec<Value> = self.ticks.iter().map(option).collect();
            let ticked: Vec<Value> = self.ticks.iter().filter(|t| t.2).map(option).collect();
            let mut boxes = json!({ "type": "checkboxes", "action_id": TICKS, "options": all });
            if !ticked.is_empty() {
                boxes["initial_options"] = json!(ticked);
            }
            blocks.push(json!({
                "type": "input", "block_id": TICKS, "label": plain("These were all me", LABEL), "element": boxes,
            }));
        }
        let mut why = json!({
            "type": "plain_text_input", "action_id": WHY, "multiline": true, "max_length": WHY_CHARS,
        });
        if !self.explanation.is_empty() {
            why["initial_value"] = json!(self.explanation);
        }
        blocks.push(json!({
            "type": "input", "block_id": WHY, "optional": !self.required,
            "label": plain(words(&self.why_label, "Why did you do it?"), LABEL), "element": why,
        }));
        blocks.extend(self.proof());
        json!({
            "type": "modal",
            "callback_id": if self.only_push() { CONFIRM_BY_PUSH } else { CONFIRM },
            "private_metadata": format!("{}:{}", self.case, self.revision),
            "title": plain("Was that you?", MODAL_TITLE),
            "submit": plain(submit, MODAL_TITLE),
            "close": plain("Cancel", MODAL_TITLE),
            "blocks": blocks,
        })
    }

    fn only_push(&self) -> bool {
        self.no_code && !self.push_label.is_empty()
    }

    /// The field for the code, and before it the choice where there is one.
    fn proof(&self) -> Vec<Value> {
        if self.only_push() {
            return Vec::new();
        }
        let by_push = !self.push_label.is_empty();
        let code = json!({
            "type": "input", "block_id": CODE, "optional": by_push,
            "label": plain(words(&self.code_label, "The 6-digit code from your authenticator app"), LABEL),
            "element": {
                "type": "plain_text_input", "action_id": CODE, "min_length": 6, "max_length": MOST_CODE_CHARS,
            },
        });
        if !by_push {
            return vec![code];
        }
        let option =
            |label: &str, value: &str| json!({ "text": plain(label, OPTION), "value": value });
        let (push, typed) = (
            option(&self.push_label, BY_PUSH),
            option("Type a code", BY_CODE),
        );
        let choice = json!({
            "type": "input", "block_id": FACTOR, "label": plain("How do you confirm it?", LABEL),
            "element": {
                "type": "radio_buttons", "action_id": FACTOR, "options": [push.clone(), typed], "initial_option": push,
            },
        });
        vec![choice, code]
    }
}

fn tick(tick: &RenderedTick) -> (String, String, bool) {
    let value = format!("{}:{}", tick.case, tick.revision);
    (value, choice(&tick.label, OPTION), tick.ticked)
}

fn words<'a>(given: &'a str, otherwise: &'a str) -> &'a str {
    if given.is_empty() { otherwise } else { given }
}

fn shorter(text: &str) -> String {
    let half = text.chars().count() / 2;
    text.chars().take(half).collect()
}

/// A form that came back.
pub(super) struct Submitted {
    pub case: CaseId,
    pub ticks: Vec<Tick>,
    pub explanation: Untrusted,
    pub proof: Proof,
}

/// What the person wants to prove it with.
pub(super) enum Proof {
    /// `None`: the field was left empty.
    Code(Option<SecretString>),
    Push,
}

impl Submitted {
    /// As the conversation takes it.
    pub fn action(self) -> ChatAction {
        let (case, ticks, explanation) = (self.case, self.ticks, self.explanation);
        match self.proof {
            Proof::Code(code) => ChatAction::Submitted {
                case,
                ticks,
                explanation,
                code,
            },
            Proof::Push => ChatAction::PushRequested {
                case,
                ticks,
                explanation,
            },
        }
    }
}

impl Submitted {
    /// From the `view` of a `view_submission`; `None`: not a form of ours.
    pub fn read(view: &Value) -> Option<Self> {
        let only_push = view["callback_id"] == CONFIRM_BY_PUSH;
        if view["callback_id"] != CONFIRM && !only_push {
            return None;
        }
        let (case, revision) = parse_case(view["private_metadata"].as_str()?)?;
        let values = &view["state"]["values"];
        let text = |name: &str| values[name][name]["value"].as_str().unwrap_or_default();
        let ticks = match values[TICKS][TICKS]["selected_options"].as_array() {
            // Nothing ticked confirms nothing; Slack does not let it through either.
            Some(ticked) if ticked.is_empty() => return None,
            Some(ticked) => ticked
                .iter()
                .map(|option| {
                    let (case, revision) = parse_case(option["value"].as_str()?)?;
                    Some(Tick { case, revision })
                })
                .collect::<Option<Vec<_>>>()?,
            None => vec![Tick { case, revision }],
        };
        let code = code(text(CODE));
        let chosen = &values[FACTOR][FACTOR]["selected_option"]["value"];
        // Whoever typed a code means it, whatever is selected above it.
        let proof = match only_push || (chosen == BY_PUSH && code.is_none()) {
            true => Proof::Push,
            false => Proof::Code(code),
        };
        let why = Untrusted::new(text(WHY).replace("\r\n", "\n")).plain(WHY_CHARS);
        Some(Self {
            case,
            ticks,
            explanation: Untrusted::new(mask_codes(why.trim())),
            proof,
        })
    }
}

/// Digits as apps show them, without the gaps; `None` when the field was left empty.
fn code(field: &str) -> Option<SecretString> {
    let code: String = field
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .take(MOST_CODE_CHARS)
        .collect();
    (!code.is_empty()).then(|| SecretString::from(code))
}

/// The modal stays, with this under the code, or under the last field of a form without one: Slack shows
/// nothing at a field that is not there.
pub(super) fn refused(view: &Value, message: &str) -> Value {
    let blocks = view["blocks"].as_array().map_or(&[][..], Vec::as_slice);
    let fields = || blocks.iter().filter(|block| block["type"] == "input");
    let code = fields().find(|field| field["block_id"] == CODE);
    let field = code.or(fields().next_back());
    let field = field.and_then(|field| field["block_id"].as_str());
    json!({ "response_action": "errors", "errors": { field.unwrap_or(WHY): escape(message, 150) } })
}

/// The modal is over, and says why.
pub(super) fn over(message: &str) -> Value {
    json!({ "response_action": "update", "view": notice("Was that you?", message) })
}

pub(super) fn notice(title: &str, message: &str) -> Value {
    json!({
        "type": "modal",
        "title": plain(title, MODAL_TITLE),
        "close": plain("Close", BUTTON.min(MODAL_TITLE)),
        "blocks": [{ "type": "section", "text": plain(message, LABEL) }],
    })
}
