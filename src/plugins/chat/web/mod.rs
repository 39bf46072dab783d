//! The built-in chat: employees are asked and answer in their browser, under `/chat`, without any other system.
//!
//! Messages are rows of the store, ids are derived from the effect's key, so a send that is repeated after a crash
//! is the first message again (promise P4).

mod actions;
mod history;
mod limits;
mod live;
mod post;
mod routes;
mod session;
mod stream;
pub mod tokens;
mod view;
pub mod web_page;
mod writer;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::web;
use async_trait::async_trait;
use tokio::sync::watch;

use crate::core::ids::ChatIdentity;
use crate::core::machine::{Receipt, Row};
use crate::core::time::Timestamp;
use crate::core::world::World;
use crate::messages::Rendered;
use crate::plugins::Health;
use crate::store::{Store, WriteError};

use super::{Chat, ChatError, ChatEvent, InboxError, Place, SharedInbox};
use crate::core::conversation::Reply;

use history::{Entry, History, HistoryError};
use limits::Limits;
use live::Live;
use tokens::Tokens;

pub use session::{LINK_LIVES, LinkError, is_same_origin};

/// The `chat` part of its identities.
pub const NAME: &str = "web";

/// The clock, as a part that can be replaced.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The web chat: the [`Chat`] that the Messenger sends through, and the pages behind `/chat`.
pub struct WebChat {
    history: History,
    links: Tokens,
    sessions: Tokens,
    clock: Clock,
    /// Without a slash at its end.
    public_url: String,
    /// `public_url` is https, so cookies can be too.
    secure: bool,
    world: watch::Receiver<Arc<World>>,
    /// Built after the chat, because the conversations need the chat.
    inbox: OnceLock<SharedInbox>,
    live: Live,
    limits: Limits,
}

impl WebChat {
    /// `retention` is how long messages are kept.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Clock,
        public_url: &str,
        retention: Duration,
        world: watch::Receiver<Arc<World>>,
    ) -> Self {
        Self {
            links: Tokens::new(store.clone(), "link"),
            sessions: Tokens::new(store.clone(), "session"),
            history: History::new(store, retention),
            clock,
            public_url: public_url.trim_end_matches('/').to_owned(),
            secure: public_url.starts_with("https://"),
            world,
            inbox: OnceLock::new(),
            live: Live::default(),
            limits: Limits::default(),
        }
    }

    /// Where events go; until then people are asked to try again. Only the first call counts.
    pub fn set_inbox(&self, inbox: SharedInbox) {
        if self.inbox.set(inbox).is_err() {
            tracing::warn!("the web chat has its inbox already");
        }
    }

    /// Ends all open streams, so that the server can stop; pages reconnect by themselves.
    pub fn close_streams(&self) {
        self.live.close();
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    async fn deliver(&self, event: ChatEvent) -> Result<Reply, InboxError> {
        match self.inbox.get() {
            Some(inbox) => inbox.deliver(event).await,
            None => Err(InboxError::TryAgain("still starting".to_owned())),
        }
    }
}

/// The routes under `/chat`.
pub fn configure(cfg: &mut web::ServiceConfig, chat: web::Data<WebChat>) {
    routes::configure(cfg, chat);
}

#[async_trait]
impl Chat for WebChat {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_idempotent(&self) -> bool {
        true
    }

    async fn send(
        &self,
        to: &ChatIdentity,
        key: &str,
        message: &Rendered,
    ) -> Result<Receipt, ChatError> {
        let entry = Entry::Bot {
            message: Cow::Borrowed(message),
        };
        let sent = self.history.add(&to.user, key, &entry, self.now()).await;
        let (row, fresh) = sent.map_err(failed)?;
        if !fresh {
            return Ok(receipt(&row));
        }
        let receipt = Receipt {
            message_id: row.id.clone(),
            at: row.at,
            text: message.to_plain(),
        };
        self.live.tell(&to.user, row, entry, !message.quiet);
        Ok(receipt)
    }

    async fn edit(
        &self,
        to: &ChatIdentity,
        message_id: &str,
        message: &Rendered,
    ) -> Result<Receipt, ChatError> {
        let entry = Entry::Bot {
            message: Cow::Borrowed(message),
        };
        let edited = self.history.replace(&to.user, message_id, &entry).await;
        let row = edited
            .map_err(failed)?
            .ok_or_else(|| ChatError::Refused(format!("message {message_id} is not there")))?;
        let receipt = Receipt {
            message_id: row.id.clone(),
            at: self.now(),
            text: message.to_plain(),
        };
        self.live.tell(&to.user, row, entry, false);
        Ok(receipt)
    }

    async fn find(
        &self,
        to: &ChatIdentity,
        key: &str,
        since: Timestamp,
    ) -> Result<Option<Receipt>, ChatError> {
        let id = History::id(&to.user, key);
        let row = self.history.get(&to.user, &id).await.map_err(failed)?;
        Ok(row.filter(|row| row.at >= since).map(|row| receipt(&row)))
    }

    fn lives_in_the_store(&self) -> bool {
        true
    }

    fn as_row(
        &self,
        to: &ChatIdentity,
        place: Place<'_>,
        message: &Rendered,
        now: Timestamp,
    ) -> Option<(Row, Receipt)> {
        let entry = Entry::Bot {
            message: Cow::Borrowed(message),
        };
        let row = match place {
            Place::New { key } => self.history.new_row(&to.user, key, &entry, now),
            Place::At {
                message_id,
                sent_at,
            } => self
                .history
                .row(&to.user, message_id.to_owned(), &entry, sent_at),
        };
        let row = row.ok()?;
        let receipt = Receipt {
            message_id: row.id.clone(),
            at: match place {
                Place::New { .. } => row.at,
                Place::At { .. } => now,
            },
            text: message.to_plain(),
        };
        Some((row, receipt))
    }

    fn show(&self, to: &ChatIdentity, row: Row, message: Rendered, fresh: bool) {
        let entry = Entry::Bot {
            message: Cow::Owned(message),
        };
        self.live.tell(&to.user, row, entry, fresh);
    }

    async fn health(&self) -> Health {
        match self.inbox.get() {
            Some(_) => Health::Good,
            None => {
                Health::Degraded("the web chat takes no answers yet: still starting".to_owned())
            }
        }
    }
}

fn receipt(row: &Row) -> Receipt {
    let text = match serde_json::from_str(&row.body) {
        Ok(Entry::Bot { message }) => message.to_plain(),
        Ok(Entry::Employee { text }) => text,
        Err(_) => String::new(),
    };
    Receipt {
        message_id: row.id.clone(),
        at: row.at,
        text,
    }
}

fn failed(error: HistoryError) -> ChatError {
    match error {
        HistoryError::Write(WriteError::Unknown(why)) => ChatError::Unclear(why),
        HistoryError::Body(error) => ChatError::Refused(error.to_string()),
        other => ChatError::Unavailable(other.to_string()),
    }
}
