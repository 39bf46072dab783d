//! What an employee does: press, write, confirm. Each is delivered before it is answered; what was not taken is said
//! so and kept in the form. A code goes on as a secret and nowhere else.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::SecretString;
use serde_json::json;

use crate::core::conversation::{Reply, Tick};
use crate::core::ids::CaseId;
use crate::core::text::Untrusted;
use crate::messages::mask_codes;
use crate::plugins::chat::{ChatAction, ChatEvent, InboxError};

use super::WebChat;
use super::history::Entry;
use super::routes::{MOST_CHARS, chat_page, other_site, session_over, signed_out, unavailable};
use super::session::{Visitor, is_same_origin};
use super::tokens::digest;
use super::view::{Feedback, answer_word, parse_answer};
use super::web_page::{secured, see_other};

/// More ticks than a form can have.
const MOST_TICKS: usize = 100;
/// A code with spaces; anything longer is no code.
const MOST_CODE_CHARS: usize = 16;
const MOST_EVENT_ID_CHARS: usize = 64;

const NOT_SENT: &str = "Not sent, please try again. Nothing is lost.";
/// The same words for a case of somebody else and for none at all.
const NOT_OPEN: &str = "That question isn't open for you.";

/// A posted form of a signed-in visitor.
struct Post {
    visitor: Visitor,
    fields: Vec<(String, String)>,
    wants_json: bool,
}

/// What the visitor is told.
struct Said {
    status: StatusCode,
    text: String,
}

impl Post {
    /// The checks that every post passes before it is looked at.
    async fn accept(req: &HttpRequest, chat: &WebChat, body: &[u8]) -> Result<Self, HttpResponse> {
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
        if let Err(wait) = chat.limits.take(&post.visitor.session, chat.now()) {
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

    fn field(&self, name: &str) -> &str {
        self.fields
            .iter()
            .find(|(found, _)| found == name)
            .map_or("", |(_, value)| value)
    }

    /// Clean text without codes, or `None` when it is too long.
    fn text(&self, name: &str) -> Option<String> {
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
    fn event_id(&self, done: &str) -> Option<String> {
        let id = self.field("event");
        let fits = (8..=MOST_EVENT_ID_CHARS).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        fits.then(|| {
            let mut what = digest(&[done]);
            what.truncate(12);
            format!("web-{id}-{what}")
        })
    }

    fn case(&self) -> Option<(CaseId, u32)> {
        let case = CaseId::parse(self.field("case"))?;
        Some((case, self.field("revision").parse().ok()?))
    }

    async fn deliver(
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
    async fn answer(&self, chat: &WebChat, said: Said, mut feedback: Feedback) -> HttpResponse {
        if self.wants_json {
            return secured(said.status)
                .json(json!({ "ok": said.status.is_success(), "message": said.text }));
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

pub(super) async fn answer(
    req: HttpRequest,
    chat: web::Data<WebChat>,
    body: web::Bytes,
) -> HttpResponse {
    let post = match Post::accept(&req, &chat, &body).await {
        Ok(post) => post,
        Err(response) => return response,
    };
    let said = match (post.case(), parse_answer(post.field("answer"))) {
        (Some((case, revision)), Some(answer)) => {
            let done = format!("{case}/{revision}/{}", answer_word(&answer));
            match post.event_id(&done) {
                Some(id) => {
                    let action = ChatAction::Pressed {
                        case,
                        revision,
                        answer,
                    };
                    say_what(post.deliver(&chat, id, action).await)
                }
                None => unreadable(),
            }
        }
        _ => not_open(),
    };
    post.answer(&chat, said, Feedback::default()).await
}

pub(super) async fn say(
    req: HttpRequest,
    chat: web::Data<WebChat>,
    body: web::Bytes,
) -> HttpResponse {
    let post = match Post::accept(&req, &chat, &body).await {
        Ok(post) => post,
        Err(response) => return response,
    };
    let Some(text) = post.text("text") else {
        return post.answer(&chat, too_long(), Feedback::default()).await;
    };
    let feedback = Feedback {
        typed: text.clone(),
        ..Feedback::default()
    };
    let Some(id) = post.event_id("said") else {
        return post.answer(&chat, unreadable(), feedback).await;
    };
    if text.is_empty() {
        let said = Said {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            text: "Please write something first.".to_owned(),
        };
        return post.answer(&chat, said, feedback).await;
    }
    let at = chat.now();
    let action = ChatAction::Typed {
        text: Untrusted::new(text.as_str()),
    };
    let reply = post.deliver(&chat, id.clone(), action).await;
    if reply.is_ok() {
        keep(&chat, &post.visitor.identity.user, &id, text, at).await;
    }
    // What came of it is said in the chat.
    let said = match reply {
        Ok(_) => taken(),
        Err(error) => say_what(Err(error)),
    };
    let feedback = if said.status.is_success() {
        Feedback::default()
    } else {
        feedback
    };
    post.answer(&chat, said, feedback).await
}

/// The employee's own words in the history, once they are taken.
async fn keep(
    chat: &WebChat,
    user: &str,
    event_id: &str,
    text: String,
    at: crate::core::time::Timestamp,
) {
    let entry = Entry::Employee { text };
    match chat.history.add(user, event_id, &entry, at).await {
        Ok((row, true)) => chat.live.tell(user, row, false),
        Ok((_, false)) => {}
        Err(error) => tracing::warn!(%error, "an accepted message is missing in the chat history"),
    }
}

pub(super) async fn confirm(
    req: HttpRequest,
    chat: web::Data<WebChat>,
    body: web::Bytes,
) -> HttpResponse {
    let post = match Post::accept(&req, &chat, &body).await {
        Ok(post) => post,
        Err(response) => return response,
    };
    let Some((case, _)) = post.case() else {
        return post.answer(&chat, not_open(), Feedback::default()).await;
    };
    let ticked: Vec<_> = post
        .fields
        .iter()
        .filter(|(name, _)| name == "tick")
        .map(|(_, value)| value.clone())
        .take(MOST_TICKS)
        .collect();
    let Some(explanation) = post.text("why") else {
        return post.answer(&chat, too_long(), Feedback::default()).await;
    };
    let feedback = Feedback {
        case: Some(case),
        typed: explanation.clone(),
        ticks: ticked.clone(),
        ..Feedback::default()
    };
    let Some(ticks) = ticked
        .iter()
        .map(|t| parse_tick(t))
        .collect::<Option<Vec<_>>>()
    else {
        return post.answer(&chat, not_open(), feedback).await;
    };
    if ticks.is_empty() {
        let said = Said {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            text: "Please tick at least one, or use the buttons below.".to_owned(),
        };
        return post.answer(&chat, said, feedback).await;
    }
    let Some(id) = post.event_id("confirmed") else {
        return post.answer(&chat, unreadable(), feedback).await;
    };
    let action = ChatAction::Submitted {
        case,
        ticks,
        explanation: Untrusted::new(explanation),
        code: code(post.field("code")),
    };
    let said = say_what(post.deliver(&chat, id, action).await);
    post.answer(&chat, said, feedback).await
}

pub(super) async fn sign_out(
    req: HttpRequest,
    chat: web::Data<WebChat>,
    body: web::Bytes,
) -> HttpResponse {
    if let Err(response) = Post::accept(&req, &chat, &body).await {
        return response;
    }
    match chat.sign_out(&req).await {
        Ok(cookie) => {
            let mut response = see_other("/chat");
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        Err(error) => unavailable(&error),
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

fn parse_tick(value: &str) -> Option<Tick> {
    let (case, revision) = value.split_once(':')?;
    Some(Tick {
        case: CaseId::parse(case)?,
        revision: revision.parse().ok()?,
    })
}

fn say_what(reply: Result<Reply, InboxError>) -> Said {
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

fn taken() -> Said {
    Said {
        status: StatusCode::OK,
        text: String::new(),
    }
}

fn not_open() -> Said {
    Said {
        status: StatusCode::NOT_FOUND,
        text: NOT_OPEN.to_owned(),
    }
}

fn unreadable() -> Said {
    Said {
        status: StatusCode::BAD_REQUEST,
        text: "That form was not complete, please reload the page and try again.".to_owned(),
    }
}

fn too_long() -> Said {
    Said {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        text: format!("That is too long for me, please keep it under {MOST_CHARS} characters."),
    }
}
