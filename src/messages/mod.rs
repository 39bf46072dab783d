//! From data to words: a [`Content`](crate::core::conversation::Content) becomes a [`Rendered`]
//! message, made when it is sent, from editable templates.

mod mask;
mod render;
mod samples;
mod templates;
mod variables;
mod when;

pub use mask::mask_codes;
pub use templates::Messages;
pub use when::Zone;

use serde::{Deserialize, Serialize};

use crate::core::conversation::Answer;
use crate::core::ids::CaseId;

/// A message ready for any chat. Every text is plain and clean (see `core/text.rs`): a chat plugin
/// escapes it for its own syntax and gives it no other meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rendered {
    pub case: Option<CaseId>,
    /// The revision the buttons and the form stand for.
    pub revision: u32,
    pub blocks: Vec<Block>,
    pub buttons: Vec<Button>,
    pub form: Option<RenderedForm>,
    /// For browser notifications and chats that show one: a line without evidence.
    pub notification: String,
    /// A critical or high question may be shown more loudly.
    pub loud: bool,
    /// Blocks that only repeat or edit nothing worth a sound.
    pub quiet: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Block {
    Heading {
        text: String,
    },
    Paragraph {
        text: String,
    },
    /// Evidence: shown verbatim, in a fixed pitch where the platform has one.
    Quote {
        text: String,
    },
    Facts {
        facts: Vec<Fact>,
    },
    /// Small print: reference code, deadline.
    Note {
        text: String,
    },
    Link {
        label: String,
        url: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    pub label: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Button {
    pub answer: Answer,
    pub label: String,
    pub primary: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenderedForm {
    pub case: CaseId,
    pub revision: u32,
    /// The label contains *Why*.
    pub explanation_label: String,
    pub explanation_required: bool,
    pub explanation: String,
    /// The label contains *code*.
    pub code_label: String,
    pub submit_label: String,
    /// A code is taken; kept messages of before know no other.
    #[serde(default = "yes")]
    pub takes_code: bool,
    /// The button that asks for a push instead; `None`: there is no push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_label: Option<String>,
    /// More than one only when several questions are open.
    pub ticks: Vec<RenderedTick>,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenderedTick {
    pub case: CaseId,
    pub revision: u32,
    pub label: String,
    pub ticked: bool,
}

impl Rendered {
    /// The whole message as plain lines, for the journal and for chats without blocks.
    pub fn to_plain(&self) -> String {
        let mut plain = String::with_capacity(512);
        let mut line = |parts: &[&str]| {
            if !plain.is_empty() {
                plain.push('\n');
            }
            plain.extend(parts.iter().copied());
        };
        for block in &self.blocks {
            match block {
                Block::Heading { text } | Block::Paragraph { text } | Block::Note { text } => {
                    line(&[text]);
                }
                Block::Quote { text } => text.lines().for_each(|quoted| line(&["> ", quoted])),
                Block::Facts { facts } => {
                    facts.iter().for_each(|f| line(&[&f.label, ": ", &f.value]));
                }
                Block::Link { label, url } => line(&[label, ": ", url]),
            }
        }
        if !self.buttons.is_empty() {
            let labels: Vec<_> = self.buttons.iter().map(|b| b.label.as_str()).collect();
            line(&["[", &labels.join("] ["), "]"]);
        }
        plain
    }
}
