//! A posted form on its way in, and what its sender is told: the checks that every post passes (session, origin, CSRF,
//! speed) live here once, so that no action can forget one.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use crate::core::conversation::Reply;
use crate::core::ids::CaseId;
use crate::core::text::Untrusted;
use crate::messages::mask_codes;
use crate::plugins::chat::{ChatAction, ChatEvent, InboxError};

use super::WebChat;
use super::routes::{MOST_CHARS, chat_page, other_site, session_over, signed_out, unavailable};
use super::session::{Visitor, is_same_origin};
use super::tokens::digest;
use super::view::Feedback;
use super::web_page::{secured, see_other};

const MOST_EVENT_ID_CHARS: usize = 64;

const NOT_SENT: &str = "Not sent, please try again. Nothing is lost.";
/// The same words for a case of somebody else and for none at all.
const NOT_OPEN: &str = "That question isn't open for you.";

/// A posted form of a signed-in visitor.
pub(super) struct Post {
    pub(super) visitor: Visitor,
    pub(super) fields: Vec<(String, String)>,
    pub(super) wants_json: bool,
}

/// What the visitor is told.
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

/// The same for the page's script.
#[derive(Serialize)]
struct Answered<'a> {
    message: &'a str,
    ok: bool,
}

impl Post {
    /// The checks that every post passes before it is looked at.
    pub(super) async fn accept(
        req: &HttpRequest,
        chat: &WebChat,
        body: &[u8],
    ) -> Result<Self, HttpResponse> {
        let accepts = req.headers().get(header::ACCEPT);
        let wants_json = accepts
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.contains("application/json"));
        let visitor = match chat.visitor(req).await {
            Ok(Some(visitor)) => visitor,
            Ok(None) if wants_json => return Err(session_over()),
            Ok(None) => return Err(signed_out()),
            Err(error) => return Err(unavailable(&error)),
        };
        let fields: Vec<_> = url::form_urlencoded::parse(body).into_owned().collect();
        let post = Self {
            visitor,
            fields,
            wants_json,
        };
        if !is_same_origin(req, &chat.public_url) || !post.visitor.owns_form(post.field("csrf")) {
            return Err(other_site());
        }
        if let Err(wait) = chat.limits.take(&post.visitor.csrf, chat.now()) {
            let said = Said {
                status: StatusCode::TOO_MANY_REQUESTS,
                text: "That was a bit fast, please try again in a moment.".to_owned(),
            };
            let mut response = post.answer(chat, said, Feedback::default()).await;
            response.headers_mut().insert(
                header::RETRY_AFTER,
                header::HeaderValue::from(wait.as_secs().max(1)),
            );
            return Err(response);
        }
        Ok(post)
    }

    pub(super) fn field(&self, name: &str) -> &str {
        self.fields
            .iter()
            .find(|(found, _)| found == name)
            .map_or("", |(_, value)| value)
    }

    /// Clean text without codes, or `None` when it is too long.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let raw = self.field(name).replace("\r\n", "\n");
        if raw.chars().count() > MOST_CHARS {
            return None;
        }
        // First plain, then masked: an invisible character must not split a code.
        let plain = Untrusted::new(raw).plain(MOST_CHARS);
        Some(mask_codes(plain.trim()))
    }

    /// The event's id: the form's own, told apart by what was done with it, so that a *No* after a *Yes* on the same
    /// form is an event of its own. Never made of a code.
    pub(super) fn event_id(&self, done: &str) -> Option<String> {
        let id = self.field("event");
        let fits = (8..=MOST_EVENT_ID_CHARS).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        fits.then(|| {
            let mut what = digest(&[done]);
            what.truncate(12);
            format!("web-{id}-{what}")
        })
    }

    pub(super) fn case(&self) -> Option<(CaseId, u32)> {
        let case = CaseId::parse(self.field("case"))?;
        Some((case, self.field("revision").parse().ok()?))
    }

    pub(super) async fn deliver(
        &self,
        chat: &WebChat,
        event_id: String,
        action: ChatAction,
    ) -> Result<Reply, InboxError> {
        let event = ChatEvent {
            event_id,
            from: self.visitor.identity.clone(),
            at: chat.now(),
            action,
        };
        chat.deliver(event).await
    }

    /// JSON for the page's script; without it the page again, with what was typed.
    pub(super) async fn answer(
        &self,
        chat: &WebChat,
        said: Said,
        mut feedback: Feedback,
    ) -> HttpResponse {
        if self.wants_json {
            return secured(said.status).json(Answered {
                message: &said.text,
                ok: said.status.is_success(),
            });
        }
        if said.status.is_success() && said.text.is_empty() {
            return see_other("/chat");
        }
        if said.status == StatusCode::SERVICE_UNAVAILABLE {
            // It may have been taken: the same event again, not a second one.
            feedback.event = Some(self.field("event").to_owned());
        }
        feedback.text = said.text;
        chat_page(chat, &self.visitor, said.status, feedback).await
    }
}

pub(super) fn say_what(reply: Result<Reply, InboxError>) -> Said {
    let (status, text) = match reply {
        Ok(Reply::Taken) => return taken(),
        Ok(Reply::AlreadyAnswered) => (
            StatusCode::OK,
            "That one already has its answer, nothing has changed.".to_owned(),
        ),
        Ok(Reply::ProofRefused { message }) => (StatusCode::UNPROCESSABLE_ENTITY, message),
        Ok(Reply::NotYours | Reply::NotFound) => return not_open(),
        Ok(Reply::NoLongerApplies { why }) => (StatusCode::CONFLICT, why),
        Err(InboxError::TryAgain(why)) => {
            tracing::info!(why, "a chat event was not taken");
            (StatusCode::SERVICE_UNAVAILABLE, NOT_SENT.to_owned())
        }
    };
    Said { status, text }
}

pub(super) fn taken() -> Said {
    Said {
        status: StatusCode::OK,
        text: String::new(),
    }
}

pub(super) fn not_open() -> Said {
    Said {
        status: StatusCode::NOT_FOUND,
        text: NOT_OPEN.to_owned(),
    }
}

pub(super) fn unreadable() -> Said {
    Said {
        status: StatusCode::BAD_REQUEST,
        text: "That form was not complete, please reload the page and try again.".to_owned(),
    }
}

pub(super) fn too_long() -> Said {
    Said {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        text: format!("That is too long for me, please keep it under {MOST_CHARS} characters."),
    }
}
