//! What people do in Slack becomes an event. Slack is told "taken" only once the event is durable or harmless, and within
//! its three seconds; what was not taken Slack delivers again, and the event's id makes that harmless.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::core::conversation::{Answer, Reply};
use crate::core::ids::ChatIdentity;
use crate::plugins::chat::web::tokens::digest;
use crate::plugins::chat::{ChatAction, ChatEvent, InboxError};

use super::api::Arguments;
use super::awaited::Coming;
use super::blocks::{OPEN_FORM, parse_case};
use super::desk::{ACKNOWLEDGE, ASSIGN, RESOLVE};
use super::form::{Seed, Submitted, over, refused};
use super::text::typed;
use super::{NAME, Slack, time_of};

/// Slack gives three seconds; the rest is the way there.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// What a person types is kept up to here.
const MOST_CHARS: usize = 4_000;

const NOT_OPEN: &str = "That question isn't open for you.";
const ANSWERED: &str = "That one already has its answer, nothing has changed.";
const NOT_SENT: &str = "Not sent, please try again. Nothing is lost.";
const STRANGER: &str = "Sorry, I don't know who you are. Please tell your security team that securitybot cannot place you.";
const SLOW: &str = "That takes longer than usual. Please look at the message before you try again with the next code.";

/// What Slack is told.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Durable or harmless; with what goes into the acknowledgement.
    Taken(Option<Value>),
    /// Not acknowledged: it must come again, or the person be told that it did not work.
    NotTaken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    EventsApi,
    Interactive,
}

impl Slack {
    /// Takes one payload, in time. What is late goes on by itself.
    pub(super) async fn take(self: &Arc<Self>, kind: Kind, payload: Value) -> Verdict {
        let form = (payload["type"] == "view_submission").then(|| payload["view"].clone());
        let slack = self.clone();
        let work = tokio::spawn(async move {
            match kind {
                Kind::EventsApi => slack.event(&payload).await,
                Kind::Interactive => slack.interaction(payload).await,
            }
        });
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => {
                tracing::error!(%error, "an event from Slack could not be handled");
                Verdict::NotTaken
            }
            Err(_) => match form {
                Some(view) => Verdict::Taken(Some(refused(&view, SLOW))),
                None => Verdict::NotTaken,
            },
        }
    }

    async fn deliver(&self, event: ChatEvent) -> Result<Reply, InboxError> {
        let reply = match self.inbox.get() {
            Some(inbox) => inbox.deliver(event).await,
            None => Err(InboxError::TryAgain("still starting".to_owned())),
        };
        if let Err(InboxError::TryAgain(why)) = &reply {
            tracing::info!(why, "an event from Slack was not taken");
        }
        reply
    }

    async fn event(self: &Arc<Self>, payload: &Value) -> Verdict {
        let event = &payload["event"];
        if event["type"] == "app_home_opened" {
            return self.home_event(payload);
        }
        // Edits, joins, files, other bots: a message counts only in its plainest form.
        let plain = event["type"] == "message"
            && ["subtype", "bot_id", "hidden", "bot_profile"]
                .into_iter()
                .all(|unexpected| event[unexpected].is_null());
        let text = |name: &str| event[name].as_str().filter(|text| !text.is_empty());
        let team = event["team"].as_str().or(payload["team_id"].as_str());
        let (true, Some(team), Some(user), Some(channel), Some(ts), Some(said)) = (
            plain,
            team,
            text("user"),
            text("channel"),
            text("ts"),
            text("text"),
        ) else {
            return Verdict::Taken(None);
        };
        let (Some(at), Some(from)) = (time_of(ts), identity(team, user)) else {
            return Verdict::Taken(None);
        };
        match event["channel_type"].as_str() {
            Some("im") => {}
            Some("channel" | "group") => {
                return self.thread_reply(from, event).await;
            }
            _ => return Verdict::Taken(None),
        }
        let event = ChatEvent {
            // A message is known by its place: every delivery of it, by any road, is the same one.
            event_id: event_id(&["message", channel, ts]),
            from,
            at,
            action: ChatAction::Typed {
                text: typed(said, MOST_CHARS),
            },
        };
        match self.deliver(event).await {
            Ok(Reply::NotYours) => {
                self.whisper(channel, user, STRANGER).await;
                Verdict::Taken(None)
            }
            Ok(_) => Verdict::Taken(None),
            Err(_) => Verdict::NotTaken,
        }
    }

    /// Somebody looks at their Home tab, or at the messages beside it.
    fn home_event(self: &Arc<Self>, payload: &Value) -> Verdict {
        let event = &payload["event"];
        let team = payload["team_id"].as_str();
        if let (Some(team), Some(user), true) =
            (team, event["user"].as_str(), event["tab"] == "home")
            && let Some(who) = identity(team, user)
        {
            let (slack, user) = (self.clone(), user.to_owned());
            tokio::spawn(async move { slack.home_opened(&user, &who).await });
        }
        Verdict::Taken(None)
    }

    async fn interaction(self: Arc<Self>, payload: Value) -> Verdict {
        let Some(from) = who(&payload) else {
            return Verdict::Taken(None);
        };
        match payload["type"].as_str() {
            Some("block_actions") => self.pressed(from, &payload).await,
            Some("view_submission") => self.submitted(from, &payload).await,
            _ => Verdict::Taken(None),
        }
    }

    async fn pressed(self: Arc<Self>, from: ChatIdentity, payload: &Value) -> Verdict {
        let action = &payload["actions"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (word, value) = (text(&action["action_id"]), text(&action["value"]));
        let trigger = text(&payload["trigger_id"]);
        if word == OPEN_FORM {
            if let Some(seed) = Seed::parse(&value) {
                tokio::spawn(async move { self.open(&trigger, &seed).await });
            }
            return Verdict::Taken(None);
        }
        if matches!(word.as_str(), ACKNOWLEDGE | ASSIGN | RESOLVE) {
            return self.page_pressed(&from, &word, payload).await;
        }
        let (Some(answer), Some((case, revision))) = (Answer::parse(&word), parse_case(&value))
        else {
            return Verdict::Taken(None);
        };
        // Before the yes is delivered: its form may pass by before the reply is here.
        let opens = answer == Answer::Yes && !trigger.is_empty();
        let coming = opens.then(|| self.awaited.form_of(case));
        let container = &payload["container"];
        let (channel, message) = (
            text(&container["channel_id"]),
            text(&container["message_ts"]),
        );
        let pressed_at = text(&action["action_ts"]);
        let event = ChatEvent {
            event_id: event_id(&["button", &channel, &message, &pressed_at, &from.user, &word]),
            at: time_of(&pressed_at).unwrap_or_else(|| self.now()),
            from,
            action: ChatAction::Pressed {
                case,
                revision,
                answer,
                // Slack signed it: this button stands in a message of ours.
                shown: true,
            },
        };
        let user = text(&payload["user"]["id"]);
        let hint = match self.deliver(event).await {
            Ok(Reply::Taken | Reply::ProofRefused { .. }) => {
                // Only to whom the question was put: the value of a button proves nothing.
                if let Some(coming) = coming {
                    tokio::spawn(async move { self.open_when_known(trigger, coming).await });
                }
                return Verdict::Taken(None);
            }
            Ok(Reply::AlreadyAnswered) => ANSWERED.to_owned(),
            Ok(Reply::NotYours | Reply::NotFound) => NOT_OPEN.to_owned(),
            Ok(Reply::NoLongerApplies { why }) => why,
            Err(_) => return Verdict::NotTaken,
        };
        tokio::spawn(async move { self.whisper(&channel, &user, &hint).await });
        Verdict::Taken(None)
    }

    async fn submitted(&self, from: ChatIdentity, payload: &Value) -> Verdict {
        let view = &payload["view"];
        if view["callback_id"] == RESOLVE {
            return self.page_resolved(&from, view).await;
        }
        let Some(form) = Submitted::read(view) else {
            return Verdict::Taken(None);
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        // Each press of the submit button has a trigger of its own; never made of what was typed.
        let ids = [
            text(&view["id"]),
            text(&view["hash"]),
            text(&payload["trigger_id"]),
        ];
        let event = ChatEvent {
            event_id: event_id(&["form", &from.user, &ids[0], &ids[1], &ids[2]]),
            from,
            at: self.now(),
            action: form.action(),
        };
        Verdict::Taken(match self.deliver(event).await {
            Ok(Reply::Taken) => None,
            Ok(Reply::ProofRefused { message }) => Some(refused(view, &message)),
            Ok(Reply::AlreadyAnswered) => Some(over(ANSWERED)),
            Ok(Reply::NotYours | Reply::NotFound) => Some(over(NOT_OPEN)),
            Ok(Reply::NoLongerApplies { why }) => Some(over(&why)),
            Err(_) => Some(refused(view, NOT_SENT)),
        })
    }

    async fn open_when_known(&self, trigger: String, coming: Coming) {
        if let Some(seed) = coming.seed().await {
            self.open(&trigger, &seed).await;
        }
    }

    /// The button on the message opens it again, so failing is harmless.
    async fn open(&self, trigger: &str, seed: &Seed) {
        let arguments = Arguments::Json(json!({ "trigger_id": trigger, "view": seed.view() }));
        if let Err(error) = self.api.call("views.open", arguments, &[]).await {
            tracing::warn!(why = error.text(), "a form could not be opened in Slack");
        }
    }
}

/// Who acted: Slack's own ids and nothing else (promise P5).
fn who(payload: &Value) -> Option<ChatIdentity> {
    let user = &payload["user"];
    let team = user["team_id"]
        .as_str()
        .or(payload["team"]["id"].as_str())?;
    identity(team, user["id"].as_str()?)
}

/// `None`: not two ids as Slack gives them. With a `/` in one of them two people could be written alike.
pub(super) fn identity(team: &str, user: &str) -> Option<ChatIdentity> {
    let is_id = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_id(team) && is_id(user)).then(|| ChatIdentity {
        chat: NAME.to_owned(),
        user: format!("{team}/{user}"),
    })
}

pub(super) fn event_id(parts: &[&str]) -> String {
    let mut id = digest(parts);
    id.truncate(32);
    format!("slack-{id}")
}
