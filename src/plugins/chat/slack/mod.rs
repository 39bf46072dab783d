//! Slack. Ids exist only after sending and nothing is idempotent, so every message carries its effect's key in its
//! metadata and a send whose result was lost is looked up by it (promise P4). What people do comes in by Socket Mode
//! or the Events API and counts as Slack's word about who did it (promise P5).

mod api;
mod awaited;
mod blocks;
mod chart;
mod desk;
mod directory;
mod form;
mod home;
mod http;
mod inbound;
mod pace;
mod pages;
mod rollups;
mod signature;
mod socket;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use url::Url;

use crate::core::ids::{CaseId, ChatIdentity};
use crate::core::machine::Receipt;
use crate::core::time::Timestamp;
use crate::messages::Rendered;
use crate::plugins::Health;
use crate::store::Store;

use super::web::tokens::Tokens;
use super::{Chat, ChatError, Person, SharedInbox, SharedShelf};

use api::{Api, ApiError, Arguments};
use awaited::Awaited;
use pace::Limit;

pub use blocks::message;
pub use desk::{Desk, DeskError};
pub use http::configure;
pub use pages::SlackPager;
pub use rollups::SlackSink;
pub use signature::is_genuine;

/// The `chat` part of its identities.
pub const NAME: &str = "slack";
/// Marks our messages, with the effect's key in the payload.
const EVENT_TYPE: &str = "securitybot";
/// Slack takes about one message a second to a channel; a little slower is never refused.
const PER_PERSON_MS: u64 = 1_050;
/// "Several hundred" messages a minute for a workspace.
const WORKSPACE_MS: u64 = 200;
const WORKSPACE_BURST: u32 = 10;
/// Tier 3: 50 calls a minute and method.
const TIER_3_MS: u64 = 1_200;
const TIER_3_BURST: u32 = 10;
/// How many messages one page of a channel's history has, and how many pages are read.
const PAGE: usize = 200;
const MOST_PAGES: usize = 25;
/// How far back what was sent to a channel is looked for.
const READ_BACK: Duration = Duration::from_secs(14 * 24 * 3600);
/// Slack delivers an event again for up to some hours.
const NOTES_REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Pages whose messages are remembered; the others are looked up.
const MOST_REMEMBERED: usize = 1_000;
/// How often Slack is asked how it is while something is wrong.
const PROBE: Duration = Duration::from_secs(30);

/// The clock, as a part that can be replaced.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

pub struct Settings {
    pub api_url: Url,
    pub bot_token: SecretString,
    /// Present: Socket Mode.
    pub app_token: Option<SecretString>,
    /// Present: `/slack/events` and `/slack/interactions` are served.
    pub signing_secret: Option<SecretString>,
}

/// The Slack chat: the [`Chat`] that the Messenger sends through, its sockets, and the routes under `/slack`.
pub struct Slack {
    api: Api,
    clock: Clock,
    signing_secret: Option<SecretString>,
    uses_socket: bool,
    /// Requests that came in by HTTP: each signature once.
    seen: Tokens,
    /// The direct channel of each user. Only a cache.
    channels: Mutex<HashMap<String, String>>,
    awaited: Awaited,
    /// Which message pages for which escalation. Only a cache.
    pages: Mutex<BTreeMap<String, CaseId>>,
    desk: OnceLock<Arc<dyn Desk>>,
    shelf: OnceLock<SharedShelf>,
    homes: home::Homes,
    /// Built after the chat, because the conversations need the chat.
    inbox: OnceLock<SharedInbox>,
    sockets: watch::Sender<socket::State>,
    closing: watch::Sender<bool>,
    probed: Mutex<Option<Instant>>,
}

impl Slack {
    pub fn new(settings: Settings, store: Arc<dyn Store>, clock: Clock) -> Self {
        Self {
            uses_socket: settings.app_token.is_some(),
            api: Api::new(&settings.api_url, settings.bot_token, settings.app_token),
            signing_secret: settings.signing_secret,
            clock,
            seen: Tokens::new(store, "slack"),
            channels: Mutex::default(),
            awaited: Awaited::default(),
            pages: Mutex::default(),
            desk: OnceLock::new(),
            shelf: OnceLock::new(),
            homes: home::Homes::default(),
            inbox: OnceLock::new(),
            sockets: watch::Sender::new(socket::State::default()),
            closing: watch::Sender::new(false),
            probed: Mutex::default(),
        }
    }

    /// Where events go, and only now do they come: Socket Mode connects. Only the first call counts.
    pub fn start(self: &Arc<Self>, inbox: SharedInbox) {
        if self.inbox.set(inbox).is_err() {
            tracing::warn!("Slack has its inbox already");
            return;
        }
        home::keep(self);
        if self.uses_socket {
            socket::keep(self);
        }
    }

    /// Where operators' clicks go. Only the first call counts.
    pub fn set_desk(&self, desk: Arc<dyn Desk>) {
        if self.desk.set(desk).is_err() {
            tracing::warn!("Slack has its desk already");
        }
    }

    /// What Home tabs show. Only the first call counts.
    pub fn set_shelf(&self, shelf: SharedShelf) {
        if self.shelf.set(shelf).is_err() {
            tracing::warn!("Slack has its shelf already");
        }
    }

    /// No new events from here on; Slack delivers again what was not acknowledged.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The direct channel with a user.
    async fn channel(&self, user: &str) -> Result<String, ApiError> {
        if let Some(channel) = self.known_channel(user) {
            return Ok(channel);
        }
        let limits = [Limit::new("conversations.open", TIER_3_MS, TIER_3_BURST)];
        let arguments = Arguments::Json(json!({ "users": user, "prevent_creation": false }));
        let opened = self
            .api
            .call("conversations.open", arguments, &limits)
            .await;
        let opened = opened.map_err(|error| match error {
            // Opening twice is opening once.
            ApiError::Unclear(why) => ApiError::NotSent(why),
            other => other,
        })?;
        match opened["channel"]["id"].as_str() {
            Some(channel) => {
                self.remember_channel(user, channel);
                Ok(channel.to_owned())
            }
            None => Err(ApiError::NotSent("Slack named no channel".to_owned())),
        }
    }

    fn known_channel(&self, user: &str) -> Option<String> {
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.get(user).cloned()
    }

    fn remember_channel(&self, user: &str, channel: &str) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.insert(user.to_owned(), channel.to_owned());
    }

    fn forget_channel(&self, user: &str) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.remove(user);
    }

    fn remembered_page(&self, message: &str) -> Option<CaseId> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.get(message).copied()
    }

    fn remember_page(&self, message: &str, id: CaseId) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= MOST_REMEMBERED {
            pages.pop_first();
        }
        pages.insert(message.to_owned(), id);
    }

    /// One page of a channel's history.
    async fn history(&self, form: Vec<(&str, String)>) -> Result<Value, ApiError> {
        let limits = [Limit::new("conversations.history", TIER_3_MS, TIER_3_BURST)];
        let arguments = Arguments::Form(form);
        self.api
            .call("conversations.history", arguments, &limits)
            .await
    }

    /// Says something only `user` sees. Nothing hangs on it.
    async fn whisper(&self, channel: &str, user: &str, words: &str) {
        let arguments = Arguments::Json(json!({
            "channel": channel, "user": user, "text": text::escape(words, text::NOTIFICATION),
        }));
        if let Err(error) = self.api.call("chat.postEphemeral", arguments, &[]).await {
            tracing::info!(why = error.text(), "a hint could not be shown in Slack");
        }
    }
}

/// `{team}/{user}` as the directory has it.
fn user_of(to: &ChatIdentity) -> Result<&str, ChatError> {
    match to.user.split_once('/') {
        Some((_, user)) if !user.is_empty() => Ok(user),
        _ => Err(ChatError::Gone(
            "no Slack user is known for them: set `chat = \"T.../U...\"` or their e-mail"
                .to_owned(),
        )),
    }
}

/// Slack's `1700000000.000100`.
fn time_of(ts: &str) -> Option<Timestamp> {
    let (seconds, fraction) = ts.split_once('.').unwrap_or((ts, ""));
    let seconds: i64 = seconds.parse().ok()?;
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some(Timestamp::from_millis(
        seconds.checked_mul(1_000)?.checked_add(millis)?,
    ))
}

fn message_id(channel: &str, ts: &str) -> String {
    format!("{channel}/{ts}")
}

#[async_trait]
impl Chat for Slack {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_idempotent(&self) -> bool {
        false
    }

    async fn send(
        &self,
        to: &ChatIdentity,
        key: &str,
        message: &Rendered,
    ) -> Result<Receipt, ChatError> {
        let user = user_of(to)?;
        self.awaited.passes(message);
        let channel = match self.channel(user).await {
            Ok(channel) => channel,
            // Too many new channels at once: Slack also takes the user's id, and names the channel then.
            Err(ApiError::RateLimited(_)) => user.to_owned(),
            Err(error) => return Err(error.into_chat()),
        };
        let (text, blocks) = blocks::message(message);
        let mut body = unlinked(json!({
            "channel": channel,
            "text": text,
            "metadata": { "event_type": EVENT_TYPE, "event_payload": { "key": key } },
        }));
        body["blocks"] = Value::from(blocks);
        let limits = [
            Limit::new(format!("post/{user}"), PER_PERSON_MS, 1),
            Limit::new("post", WORKSPACE_MS, WORKSPACE_BURST),
        ];
        let sent = self
            .api
            .call("chat.postMessage", Arguments::Json(body), &limits)
            .await;
        let sent = sent.map_err(|error| {
            if error == ApiError::Said("channel_not_found".to_owned()) {
                self.forget_channel(user);
            }
            error.into_chat()
        })?;
        self.homes.touch(user);
        let channel = sent["channel"].as_str().unwrap_or(&channel);
        if channel != user {
            self.remember_channel(user, channel);
        }
        let ts = sent["ts"]
            .as_str()
            .ok_or_else(|| ChatError::Unclear("Slack named no message".to_owned()))?;
        Ok(Receipt {
            message_id: message_id(channel, ts),
            at: time_of(ts).unwrap_or_else(|| self.now()),
            text: message.to_plain(),
        })
    }

    async fn edit(
        &self,
        to: &ChatIdentity,
        id: &str,
        message: &Rendered,
    ) -> Result<Receipt, ChatError> {
        self.awaited.passes(message);
        let (channel, ts) = id
            .split_once('/')
            .ok_or_else(|| ChatError::Refused(format!("{id} is no message of Slack's")))?;
        let (text, blocks) = blocks::message(message);
        let mut body = unlinked(json!({ "channel": channel, "ts": ts, "text": text }));
        body["blocks"] = Value::from(blocks);
        let limits = [Limit::new("chat.update", TIER_3_MS, TIER_3_BURST)];
        let edited = self
            .api
            .call("chat.update", Arguments::Json(body), &limits)
            .await
            .map_err(ApiError::into_chat)?;
        if let Ok(user) = user_of(to) {
            self.homes.touch(user);
        }
        // Slack tells the second only. The later end of it is the safe one: an answer typed within that second is
        // not taken for the new revision.
        let at = edited["message"]["edited"]["ts"]
            .as_str()
            .and_then(time_of)
            .map(|at| at.after(Duration::from_millis(999)));
        Ok(Receipt {
            message_id: id.to_owned(),
            at: at.unwrap_or_else(|| self.now()),
            text: message.to_plain(),
        })
    }

    async fn find(
        &self,
        to: &ChatIdentity,
        key: &str,
        since: Timestamp,
    ) -> Result<Option<Receipt>, ChatError> {
        let user = user_of(to)?;
        let channel = self.channel(user).await.map_err(ApiError::into_chat)?;
        let mut cursor = String::new();
        for _ in 0..MOST_PAGES {
            let mut form = vec![
                ("channel", channel.clone()),
                ("oldest", format!("{}.000000", since.as_millis() / 1_000)),
                ("inclusive", "true".to_owned()),
                ("include_all_metadata", "true".to_owned()),
                ("limit", PAGE.to_string()),
            ];
            if !cursor.is_empty() {
                form.push(("cursor", cursor));
            }
            let page = self.history(form).await.map_err(ApiError::into_chat)?;
            let messages = page["messages"].as_array();
            let ours = messages.into_iter().flatten().find(|message| {
                message["metadata"]["event_type"] == EVENT_TYPE
                    && message["metadata"]["event_payload"]["key"] == key
            });
            if let Some(message) = ours {
                let ts = message["ts"].as_str().unwrap_or_default();
                return Ok(Some(Receipt {
                    message_id: message_id(&channel, ts),
                    at: time_of(ts).unwrap_or_else(|| self.now()),
                    text: message["text"].as_str().unwrap_or_default().to_owned(),
                }));
            }
            cursor = page["response_metadata"]["next_cursor"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if cursor.is_empty() {
                return Ok(None);
            }
        }
        Err(ChatError::Unavailable(
            "the channel's history is too long to be sure".to_owned(),
        ))
    }

    async fn people(&self) -> Result<Option<Vec<Person>>, ChatError> {
        self.users().await.map(Some).map_err(ApiError::into_chat)
    }

    async fn health(&self) -> Health {
        self.probe().await;
        if let Some(trouble) = self.api.trouble() {
            return Health::Degraded(trouble);
        }
        if self.uses_socket && self.inbox.get().is_none() {
            // Not started (`check --live`): whether it could be.
            return match self.api.open_socket().await {
                Ok(_) => Health::Good,
                Err(error) => Health::Degraded(format!("Socket Mode: {}", error.text())),
            };
        }
        let sockets = self.sockets.borrow().clone();
        match (self.uses_socket, sockets.open) {
            (true, 0) => Health::Degraded(format!(
                "no Socket Mode connection, answers do not arrive: {}",
                sockets.why
            )),
            _ => Health::Good,
        }
    }
}

impl Slack {
    /// While nothing is sent nobody would notice that a token is no longer good, or good again.
    async fn probe(&self) {
        {
            let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
            if probed.is_some_and(|at| at.elapsed() < PROBE) {
                return;
            }
            *probed = Some(Instant::now());
        }
        // What is wrong is kept by the client.
        let nothing = Arguments::Form(Vec::new());
        let _ = self.api.call("auth.test", nothing, &[]).await;
    }
}

impl Slack {
    /// Posts to a channel of the security team. Only the channel's own limit: a page never waits behind questions.
    async fn post(&self, channel: &str, body: Value) -> Result<Value, ApiError> {
        let limits = [Limit::new(format!("post/{channel}"), PER_PERSON_MS, 1)];
        let body = Arguments::Json(body);
        self.api.call("chat.postMessage", body, &limits).await
    }
}

/// No previews, and no meaning of `@` or `#` in the notification's text.
fn unlinked(mut message: Value) -> Value {
    message["unfurl_links"] = json!(false);
    message["unfurl_media"] = json!(false);
    message["link_names"] = json!(false);
    message["parse"] = json!("none");
    message
}
