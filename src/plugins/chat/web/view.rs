//! A message as HTML. askama escapes every value, so text from an alert stays text (promise P8).

use askama::Template;

use crate::core::ids::CaseId;
use crate::core::machine::Row;
use crate::messages::{Block, RenderedForm, Zone};

use super::history::Entry;
use super::session::Visitor;
use super::tokens::{digest, event_id};

/// What a form is told after a post without JavaScript, with what was typed kept. Never the code.
#[derive(Clone, Debug, Default)]
pub(super) struct Feedback {
    /// The case whose form shows it; `None`: shown above the message box.
    pub(super) case: Option<CaseId>,
    pub(super) text: String,
    pub(super) typed: String,
    pub(super) ticks: Vec<String>,
    /// The same event again, after an answer that may have been taken.
    pub(super) event: Option<String>,
}

/// One message with its forms for one visitor.
#[derive(Template)]
#[template(path = "message.html", config = "src/plugins/chat/web/askama.toml")]
pub(super) struct MessageView {
    pub(super) id: String,
    pub(super) at: i64,
    pub(super) when: String,
    /// Changes with the content: a page replaces only what differs.
    pub(super) version: String,
    pub(super) own: Option<String>,
    pub(super) case: String,
    pub(super) revision: u32,
    pub(super) loud: bool,
    pub(super) notification: String,
    blocks: Vec<Block>,
    buttons: Vec<ButtonView>,
    form: Option<FormView>,
    csrf: String,
    event: String,
}

struct ButtonView {
    value: &'static str,
    label: String,
    primary: bool,
}

struct FormView {
    form: RenderedForm,
    explanation: String,
    ticks: Vec<TickView>,
    error: String,
    event: String,
}

struct TickView {
    value: String,
    label: String,
    ticked: bool,
}

/// The whole chat.
#[derive(Template)]
#[template(path = "chat.html", config = "src/plugins/chat/web/askama.toml")]
pub(super) struct ChatView {
    pub(super) name: String,
    pub(super) csrf: String,
    pub(super) event: String,
    pub(super) feedback: Feedback,
    pub(super) messages: Vec<MessageView>,
    pub(super) most_chars: usize,
}

impl MessageView {
    /// `None` for a row that cannot be read.
    pub(super) fn new(row: &Row, visitor: &Visitor, feedback: &Feedback) -> Option<Self> {
        let entry = serde_json::from_str(&row.body)
            .inspect_err(
                |error| tracing::error!(id = row.id, %error, "a chat message is unreadable"),
            )
            .ok()?;
        let mut version = digest(&[&row.body]);
        version.truncate(16);
        let mut view = Self {
            id: row.id.clone(),
            at: row.at.as_millis(),
            when: Zone::named(&visitor.time_zone).moment(row.at),
            version,
            own: None,
            case: String::new(),
            revision: 0,
            loud: false,
            notification: String::new(),
            blocks: Vec::new(),
            buttons: Vec::new(),
            form: None,
            csrf: visitor.csrf.clone(),
            event: event_id(),
        };
        match entry {
            Entry::Employee { text } => view.own = Some(text),
            Entry::Bot { message } => {
                let message = message.into_owned();
                view.case = message
                    .case
                    .map(|case| case.to_string())
                    .unwrap_or_default();
                view.revision = message.revision;
                view.loud = message.loud;
                view.notification = message.notification;
                view.blocks = message.blocks;
                view.buttons = message
                    .buttons
                    .into_iter()
                    .map(|button| ButtonView {
                        value: button.answer.name(),
                        label: button.label,
                        primary: button.primary,
                    })
                    .collect();
                view.form = message.form.map(|form| FormView::new(form, feedback));
            }
        }
        Some(view)
    }
}

impl FormView {
    fn new(form: RenderedForm, feedback: &Feedback) -> Self {
        let about_this = feedback.case == Some(form.case);
        let ticks = form
            .ticks
            .iter()
            .map(|tick| {
                let value = format!("{}:{}", tick.case, tick.revision);
                TickView {
                    ticked: match about_this {
                        true => feedback.ticks.contains(&value),
                        false => tick.ticked,
                    },
                    value,
                    label: tick.label.clone(),
                }
            })
            .collect();
        Self {
            explanation: match about_this {
                true => feedback.typed.clone(),
                false => form.explanation.clone(),
            },
            error: match about_this {
                true => feedback.text.clone(),
                false => String::new(),
            },
            event: feedback
                .event
                .clone()
                .filter(|_| about_this)
                .unwrap_or_else(event_id),
            ticks,
            form,
        }
    }
}

impl MessageView {
    pub(super) fn has_form(&self) -> bool {
        self.form.is_some()
    }
}
