//! What an employee does: press, write, confirm. Each is delivered before it is answered; what was not taken is said
//! so and kept in the form. A code goes on as a secret and nowhere else.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::SecretString;

use crate::core::conversation::{Answer, Reply, Tick};
use crate::core::ids::CaseId;
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;
use crate::plugins::chat::{ChatAction, InboxError};

use super::WebChat;
use super::history::{Entry, HistoryError};
use super::post::{Post, Said, not_open, say_what, taken, too_long, unreadable};
use super::routes::unavailable;
use super::view::Feedback;
use super::web_page::see_other;

/// More ticks than a form can have.
const MOST_TICKS: usize = 100;
/// A code with spaces; anything longer is no code.
const MOST_CODE_CHARS: usize = 16;

pub(super) async fn answer(
    req: HttpRequest,
    chat: web::Data<WebChat>,
    body: web::Bytes,
) -> HttpResponse {
    let post = match Post::accept(&req, &chat, &body).await {
        Ok(post) => post,
        Err(response) => return response,
    };
    let said = match (post.case(), Answer::parse(post.field("answer"))) {
        (Some((case, revision)), Some(answer)) => {
            let done = format!("{case}/{revision}/{}", answer.name());
            match post.event_id(&done) {
                Some(id) => match pressed(&chat, &post, id, (case, revision), answer).await {
                    Ok(reply) => say_what(reply),
                    Err(error) => return unavailable(&error),
                },
                None => unreadable(),
            }
        }
        _ => not_open(),
    };
    post.answer(&chat, said, Feedback::default()).await
}

/// The conversation knows its own cases. For one it does not keep the history is asked: a no to an old question is
/// worth a page, an id from elsewhere answers nothing, and nobody is paged about it.
async fn pressed(
    chat: &WebChat,
    post: &Post,
    event_id: String,
    (case, revision): (CaseId, u32),
    answer: Answer,
) -> Result<Result<Reply, InboxError>, HistoryError> {
    let action = |shown| ChatAction::Pressed {
        case,
        revision,
        answer: answer.clone(),
        shown,
    };
    let reply = post.deliver(chat, event_id.clone(), action(false)).await;
    if reply != Ok(Reply::NotFound) {
        return Ok(reply);
    }
    let employee = &post.visitor.identity.user;
    if chat.history.is_about(employee, case).await? {
        return Ok(post.deliver(chat, event_id, action(true)).await);
    }
    tracing::warn!(employee, %case, "an answer to a question of somebody else was refused");
    Ok(reply)
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
async fn keep(chat: &WebChat, user: &str, event_id: &str, text: String, at: Timestamp) {
    let entry = Entry::Employee { text };
    match chat.history.add(user, event_id, &entry, at).await {
        Ok((row, true)) => chat.live.tell(user, row, entry, false),
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
    let pushed = !post.field("push").is_empty();
    let Some(id) = post.event_id(if pushed { "pushed" } else { "confirmed" }) else {
        return post.answer(&chat, unreadable(), feedback).await;
    };
    let explanation = Untrusted::new(explanation);
    let action = if pushed {
        ChatAction::PushRequested {
            case,
            ticks,
            explanation,
        }
    } else {
        ChatAction::Submitted {
            case,
            ticks,
            explanation,
            code: code(post.field("code")),
        }
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
