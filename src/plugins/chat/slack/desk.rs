//! What operators do in Slack: the buttons under a page, its reason form, and notes from its thread. Who they are is
//! decided behind [`Desk`] by Slack's user id; this file only carries it there.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::core::ids::{CaseId, ChatIdentity};
use crate::core::text::Untrusted;

use super::api::Arguments;
use super::blocks::plain;
use super::form::{over, refused};
use super::inbound::{Verdict, event_id, identity};
use super::text::{BUTTON, LABEL, MODAL_TITLE, escape, typed};
use super::{Slack, unlinked};

pub(super) const ACKNOWLEDGE: &str = "page_acknowledge";
pub(super) const ASSIGN: &str = "page_assign";
pub(super) const RESOLVE: &str = "page_resolve";
/// The block with a page's buttons; the escalation's id stands behind it, for what has no value of its own.
pub(super) const PAGE_BLOCK: &str = "page/";
const REASON: &str = "reason";
const REASON_CHARS: usize = 1_000;
const NOTE_CHARS: usize = 3_000;
const NO_DESK: &str = "Pages cannot be answered here.";
const STRANGER: &str =
    "That is for operators; I don't know your Slack account as one. Nothing has changed.";

/// Where operators' acts go. `Ok` means durable.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    async fn acknowledge(&self, who: &ChatIdentity, id: CaseId) -> Result<(), DeskError>;
    async fn resolve(
        &self,
        who: &ChatIdentity,
        id: CaseId,
        reason: Untrusted,
    ) -> Result<(), DeskError>;
    /// Gives it to somebody; answers the name of the operator who did.
    async fn assign(
        &self,
        who: &ChatIdentity,
        id: CaseId,
        to: &ChatIdentity,
    ) -> Result<String, DeskError>;
    async fn note(&self, who: &ChatIdentity, id: CaseId, text: Untrusted) -> Result<(), DeskError>;
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// Not an operator, or one who may only look.
    #[error("not an operator who may act")]
    Stranger,
    /// It does not apply any more; why, in words for people.
    #[error("{0}")]
    No(String),
    #[error("not taken, please try again: {0}")]
    TryAgain(String),
}

impl DeskError {
    fn words(&self) -> String {
        match self {
            Self::Stranger => STRANGER.to_owned(),
            Self::No(why) => format!("Nothing has changed: {why}"),
            Self::TryAgain(_) => "Not done, please try again.".to_owned(),
        }
    }
}

impl Slack {
    /// A button under a page.
    pub(super) async fn page_pressed(
        self: &Arc<Self>,
        from: &ChatIdentity,
        action: &str,
        payload: &Value,
    ) -> Verdict {
        let pressed = &payload["actions"][0];
        let in_block = || pressed["block_id"].as_str()?.strip_prefix(PAGE_BLOCK);
        let id = pressed["value"].as_str().or_else(in_block);
        let Some(id) = id.and_then(CaseId::parse) else {
            return Verdict::Taken(None);
        };
        if action == RESOLVE {
            let trigger = payload["trigger_id"].clone();
            let slack = self.clone();
            tokio::spawn(async move {
                let arguments =
                    Arguments::Json(json!({ "trigger_id": trigger, "view": reason_form(id) }));
                if let Err(error) = slack.api.call("views.open", arguments, &[]).await {
                    tracing::warn!(why = error.text(), "a reason form could not be opened");
                }
            });
            return Verdict::Taken(None);
        }
        let done = match self.desk.get() {
            Some(desk) if action == ASSIGN => self.page_assigned(desk, from, id, payload).await,
            Some(desk) => desk.acknowledge(from, id).await,
            None => Err(DeskError::No(NO_DESK.to_owned())),
        };
        let Err(error) = done else {
            return Verdict::Taken(None);
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (channel, user) = (
            text(&payload["container"]["channel_id"]),
            text(&payload["user"]["id"]),
        );
        let slack = self.clone();
        tokio::spawn(async move { slack.whisper(&channel, &user, &error.words()).await });
        Verdict::Taken(None)
    }

    /// Somebody was picked. They are told in the page's thread, because an edit of the page rings nowhere.
    async fn page_assigned(
        self: &Arc<Self>,
        desk: &Arc<dyn Desk>,
        from: &ChatIdentity,
        id: CaseId,
        payload: &Value,
    ) -> Result<(), DeskError> {
        let user = payload["actions"][0]["selected_user"].as_str();
        let team = from.user.split_once('/').map(|(team, _)| team);
        let (Some(user), Some(team)) = (user, team) else {
            return Ok(());
        };
        // Slack's own id goes into a mention: nothing else may.
        let Some(to) = identity(team, user) else {
            return Ok(());
        };
        let by = desk.assign(from, id, &to).await?;
        let by = escape(&by, BUTTON);
        let container = &payload["container"];
        let told = unlinked(json!({
            "channel": container["channel_id"], "thread_ts": container["message_ts"],
            "text": format!("<@{user}>: {by} asks you to take this one."),
        }));
        let channel = container["channel_id"].as_str().unwrap_or_default();
        let (slack, channel) = (self.clone(), channel.to_owned());
        tokio::spawn(async move {
            if let Err(error) = slack.post(&channel, told).await {
                tracing::warn!(
                    why = error.text(),
                    "somebody was not told of their assignment"
                );
            }
        });
        Ok(())
    }

    /// The reason form came back.
    pub(super) async fn page_resolved(&self, from: &ChatIdentity, view: &Value) -> Verdict {
        let id = view["private_metadata"].as_str().and_then(CaseId::parse);
        let reason = view["state"]["values"][REASON][REASON]["value"].as_str();
        let (Some(id), Some(reason), Some(desk)) = (id, reason, self.desk.get()) else {
            return Verdict::Taken(Some(over(NO_DESK)));
        };
        let reason = Untrusted::new(Untrusted::from(reason).plain(REASON_CHARS));
        Verdict::Taken(match desk.resolve(from, id, reason).await {
            Ok(()) => None,
            Err(error @ DeskError::TryAgain(_)) => Some(refused(view, &error.words())),
            Err(error) => Some(over(&error.words())),
        })
    }

    /// A reply in a page's thread; anybody else's thread, and anybody else's reply, is not ours.
    pub(super) async fn thread_reply(&self, from: ChatIdentity, event: &Value) -> Verdict {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let (channel, thread, ts) = (text("channel"), text("thread_ts"), text("ts"));
        let (Some(desk), false) = (self.desk.get(), thread.is_empty() || thread == ts) else {
            return Verdict::Taken(None);
        };
        let id = match self.page_at(channel, thread).await {
            Ok(Some(id)) => id,
            Ok(None) => return Verdict::Taken(None),
            Err(error) => {
                tracing::warn!(why = error.text(), "a thread's page cannot be looked up");
                return Verdict::NotTaken;
            }
        };
        // A note has no id in the conversation: it is marked here, once it stands.
        let (mark, now) = (event_id(&["note", channel, ts]), self.now());
        if !matches!(self.seen.spent(&mark, now).await, Ok(None)) {
            return Verdict::Taken(None);
        }
        match desk.note(&from, id, typed(text("text"), NOTE_CHARS)).await {
            Ok(()) => {
                let until = now.after(super::NOTES_REMEMBERED);
                if let Err(error) = self.seen.spend(&mark, "noted", now, until).await {
                    tracing::warn!(%error, "a note may be taken twice");
                }
                Verdict::Taken(None)
            }
            Err(DeskError::TryAgain(_)) => Verdict::NotTaken,
            Err(DeskError::Stranger | DeskError::No(_)) => Verdict::Taken(None),
        }
    }
}

fn reason_form(id: CaseId) -> Value {
    json!({
        "type": "modal",
        "callback_id": RESOLVE,
        "private_metadata": id.to_string(),
        "title": plain("Resolve the page", MODAL_TITLE),
        "submit": plain("Resolve", MODAL_TITLE),
        "close": plain("Cancel", MODAL_TITLE),
        "blocks": [{
            "type": "input", "block_id": REASON, "label": plain("What was it?", LABEL),
            "element": {
                "type": "plain_text_input", "action_id": REASON, "multiline": true, "max_length": REASON_CHARS,
            },
        }],
    })
}
