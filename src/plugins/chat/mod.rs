//! Where employees are asked. The trait is shaped by the hardest platform (Slack): ids exist only
//! after sending, nothing is idempotent, limits apply, a form must open within three seconds.

pub mod slack;
pub mod web;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::core::case::Outcome;
use crate::core::conversation::{Answer, Reply, Tick};
use crate::core::ids::{CaseId, ChatIdentity};
use crate::core::machine::{Receipt, Row};
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;
use crate::messages::Rendered;

use super::Health;

/// One chat platform.
#[async_trait]
pub trait Chat: Send + Sync + 'static {
    /// The `chat` part of its identities: `web`, `slack`.
    fn name(&self) -> &'static str;

    /// `true`: sending twice under one key yields the first message again, so a send whose result was
    /// lost is simply repeated. `false`: it is looked up with [`Chat::find`] first.
    fn is_idempotent(&self) -> bool;

    /// Sends a direct message. `key` names the effect, for ever; the platform keeps it with the message.
    async fn send(
        &self,
        to: &ChatIdentity,
        key: &str,
        message: &Rendered,
    ) -> Result<Receipt, ChatError>;

    /// Replaces a message in place. Repeating an edit is harmless.
    async fn edit(
        &self,
        to: &ChatIdentity,
        message_id: &str,
        message: &Rendered,
    ) -> Result<Receipt, ChatError>;

    /// Reads back what was sent under `key` since `since`; `None` is a certain no.
    async fn find(
        &self,
        to: &ChatIdentity,
        key: &str,
        since: Timestamp,
    ) -> Result<Option<Receipt>, ChatError>;

    /// `true`: its messages are rows of the store, so that they can be part of a commit ([`Chat::as_row`]).
    fn lives_in_the_store(&self) -> bool {
        false
    }

    /// The message as its row, and the receipt for when that row is committed.
    fn as_row(
        &self,
        _to: &ChatIdentity,
        _place: Place<'_>,
        _message: &Rendered,
        _now: Timestamp,
    ) -> Option<(Row, Receipt)> {
        None
    }

    /// The row of this message stands: whoever looks sees it. `fresh`: worth a notification.
    fn show(&self, _to: &ChatIdentity, _row: Row, _message: Rendered, _fresh: bool) {}

    /// Everybody the chat knows; `None`: it has no directory of its own. A list is whole or an error.
    async fn people(&self) -> Result<Option<Vec<Person>>, ChatError> {
        Ok(None)
    }

    async fn health(&self) -> Health;
}

/// Where a message stands in its chat.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// At the end, under this effect's key.
    New { key: &'a str },
    /// Where it was sent first.
    At {
        message_id: &'a str,
        sent_at: Timestamp,
    },
}

/// Somebody in a chat's own directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The platform's own user id, as [`ChatIdentity::user`] has it.
    pub user: String,
    pub name: String,
    pub email: Option<String>,
    /// An IANA zone that exists.
    pub time_zone: Option<String>,
    pub locale: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// Not taken; try again after this long.
    #[error("the chat asks to wait {0:?}")]
    RateLimited(Duration),
    /// Not taken, for certain; trying again may help.
    #[error("the chat cannot be reached: {0}")]
    Unavailable(String),
    /// It may have been taken: read back before sending again.
    #[error("the chat did not say whether it took the message: {0}")]
    Unclear(String),
    /// This person cannot be written to.
    #[error("the person cannot be reached: {0}")]
    Gone(String),
    /// This message will never be taken.
    #[error("the chat refused the message: {0}")]
    Refused(String),
}

/// Something an employee did in the chat. `from` is the platform's own user id (promise P5).
#[derive(Debug)]
pub struct ChatEvent {
    /// Unique per event; a redelivery carries the same one.
    pub event_id: String,
    pub from: ChatIdentity,
    pub at: Timestamp,
    pub action: ChatAction,
}

#[derive(Debug)]
pub enum ChatAction {
    Pressed {
        case: CaseId,
        revision: u32,
        answer: Answer,
        /// The chat is sure that it showed this person the case. `false`: it has not looked; one that the conversation
        /// does not keep is then [`Reply::NotFound`], and nothing has changed.
        shown: bool,
    },
    Typed {
        text: Untrusted,
    },
    Submitted {
        case: CaseId,
        ticks: Vec<Tick>,
        explanation: Untrusted,
        /// Goes to the Verifier and nowhere else. `None`: the field was left empty.
        code: Option<SecretString>,
    },
    /// The form, with *Approve on my phone* instead of a code.
    PushRequested {
        case: CaseId,
        ticks: Vec<Tick>,
        explanation: Untrusted,
    },
}

/// Where a chat plugin hands what employees do. `Ok` means the event is durable or harmless, so the
/// platform may be told so; after an error it must be delivered again.
#[async_trait]
pub trait Inbox: Send + Sync + 'static {
    async fn deliver(&self, event: ChatEvent) -> Result<Reply, InboxError>;
}

pub type SharedInbox = Arc<dyn Inbox>;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InboxError {
    /// Not taken (store down, shutting down): deliver it again.
    #[error("not taken, please try again: {0}")]
    TryAgain(String),
}

/// Where a chat with a page of a person's own asks what to show there.
#[async_trait]
pub trait Shelf: Send + Sync + 'static {
    /// `None`: the platform's user is nobody we know. The error is one line for the log.
    async fn about(&self, who: &ChatIdentity) -> Result<Option<About>, String>;
}

pub type SharedShelf = Arc<dyn Shelf>;

/// What there is about one person, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct About {
    /// An IANA zone, in which times are shown.
    pub time_zone: String,
    /// Questions that wait for an answer or its proof.
    pub open: Vec<Asked>,
    /// What is not asked again for now.
    pub snoozes: Vec<Quiet>,
    /// What was asked within the last 30 days and is over.
    pub settled: Vec<Asked>,
}

/// A question that the person was shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub reference: String,
    pub title: Untrusted,
    pub asked_at: Timestamp,
    pub deadline: Option<Timestamp>,
    /// `None` while it is open.
    pub outcome: Option<Outcome>,
}

/// A snooze that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Quiet {
    pub rule: String,
    pub context: Vec<(String, Untrusted)>,
    pub until: Timestamp,
}
