//! A message as HTML. askama escapes every value, so text from an alert stays text (promise P8).

use askama::Template;
use serde::Serialize;

use crate::core::ids::CaseId;
use crate::core::machine::Row;
use crate::messages::{Block, Button, RenderedForm, Zone};

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
pub(super) struct MessageView<'a> {
    id: &'a str,
    at: i64,
    when: String,
    /// Changes with the content: a page replaces only what differs.
    version: String,
    own: Option<&'a str>,
    pub(super) case: String,
    revision: u32,
    loud: bool,
    notification: &'a str,
    blocks: &'a [Block],
    buttons: Vec<ButtonView<'a>>,
    form: Option<FormView<'a>>,
    csrf: &'a str,
    event: String,
}

struct ButtonView<'a> {
    value: &'static str,
    label: &'a str,
    primary: bool,
}

struct FormView<'a> {
    form: &'a RenderedForm,
    explanation: String,
    ticks: Vec<TickView<'a>>,
    error: String,
    event: String,
}

struct TickView<'a> {
    value: String,
    label: &'a str,
    ticked: bool,
}

/// The whole chat.
#[derive(Template)]
#[template(path = "chat.html", config = "src/plugins/chat/web/askama.toml")]
pub(super) struct ChatView<'a> {
    pub(super) name: String,
    pub(super) csrf: String,
    pub(super) event: String,
    pub(super) feedback: Feedback,
    pub(super) messages: Vec<MessageView<'a>>,
    pub(super) most_chars: usize,
}

/// What the page's script needs to show one message.
#[derive(Serialize)]
pub(super) struct Fragment<'a> {
    id: &'a str,
    at: i64,
    version: String,
    html: String,
    fresh: bool,
    loud: bool,
    notification: &'a str,
}

impl<'a> Fragment<'a> {
    pub(super) fn new(
        message: (&'a Row, &'a Entry<'_>),
        visitor: &'a Visitor,
        zone: &Zone,
        fresh: bool,
    ) -> Option<Self> {
        let view = MessageView::new(message, visitor, zone, &Feedback::default());
        Some(Self {
            html: view.render().ok()?,
            id: view.id,
            at: view.at,
            version: view.version,
            fresh,
            loud: view.loud,
            notification: view.notification,
        })
    }
}

impl<'a> MessageView<'a> {
    pub(super) fn new(
        (row, entry): (&'a Row, &'a Entry<'_>),
        visitor: &'a Visitor,
        zone: &Zone,
        feedback: &Feedback,
    ) -> Self {
        let mut version = digest(&[&row.body]);
        version.truncate(16);
        let mut view = Self {
            id: &row.id,
            at: row.at.as_millis(),
            when: zone.moment(row.at),
            version,
            own: None,
            case: String::new(),
            revision: 0,
            loud: false,
            notification: "",
            blocks: &[],
            buttons: Vec::new(),
            form: None,
            csrf: &visitor.csrf,
            event: event_id(),
        };
        match entry {
            Entry::Employee { text } => view.own = Some(text),
            Entry::Bot { message } => {
                view.case = message
                    .case
                    .map(|case| case.to_string())
                    .unwrap_or_default();
                view.revision = message.revision;
                view.loud = message.loud;
                view.notification = &message.notification;
                view.blocks = &message.blocks;
                let button = |button: &'a Button| ButtonView {
                    value: button.answer.name(),
                    label: &button.label,
                    primary: button.primary,
                };
                view.buttons = message.buttons.iter().map(button).collect();
                let form = message.form.as_ref();
                view.form = form.map(|form| FormView::new(form, feedback));
            }
        }
        view
    }
}

impl<'a> FormView<'a> {
    fn new(form: &'a RenderedForm, feedback: &Feedback) -> Self {
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
                    label: &tick.label,
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

impl MessageView<'_> {
    pub(super) fn has_form(&self) -> bool {
        self.form.is_some()
    }
}
