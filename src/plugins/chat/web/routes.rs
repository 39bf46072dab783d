//! The pages: sign-in, the chat, its history as fragments. A GET changes nothing; a link that a preview opens is still
//! good afterwards.

use std::collections::BTreeMap;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::messages::Zone;

use super::session::{Visitor, is_same_origin};
use super::view::{ChatView, Feedback, Fragment, MessageView};
use super::web_page::{Notice, page, script, secured, see_other, style_sheet};
use super::{WebChat, actions, stream, tokens};

/// The longest message, in characters: more is a document, not an answer.
pub(super) const MOST_CHARS: usize = 4_000;
/// A form of the longest message, each character four bytes in percent-encoding.
const MOST_BYTES: usize = 64 * 1024;

pub(super) fn configure(cfg: &mut web::ServiceConfig, chat: web::Data<WebChat>) {
    cfg.service(
        web::scope("/chat")
            .app_data(chat)
            .app_data(web::PayloadConfig::new(MOST_BYTES))
            .route("", web::get().to(show))
            .route("/", web::get().to(show))
            .route("/login/{token}", web::get().to(show_link))
            .route("/login/{token}", web::post().to(use_link))
            .route("/logout", web::post().to(actions::sign_out))
            .route("/messages", web::get().to(messages))
            .route("/stream", web::get().to(stream::stream))
            .route("/answer", web::post().to(actions::answer))
            .route("/say", web::post().to(actions::say))
            .route("/confirm", web::post().to(actions::confirm))
            .route("/static/chat.css", web::get().to(style_sheet))
            .route("/static/chat.js", web::get().to(script)),
    );
}

async fn show(req: HttpRequest, chat: web::Data<WebChat>) -> HttpResponse {
    match chat.visitor(&req).await {
        Ok(Some(visitor)) => chat_page(&chat, &visitor, StatusCode::OK, Feedback::default()).await,
        Ok(None) => signed_out(),
        Err(error) => unavailable(&error),
    }
}

/// The chat with what the last post has to say.
pub(super) async fn chat_page(
    chat: &WebChat,
    visitor: &Visitor,
    status: StatusCode,
    mut feedback: Feedback,
) -> HttpResponse {
    let shown = match chat.history.shown(&visitor.identity.user).await {
        Ok(shown) => shown,
        Err(error) => return unavailable(&error),
    };
    let zone = Zone::named(&visitor.time_zone);
    let messages: Vec<_> = shown
        .iter()
        .map(|(row, entry)| MessageView::new((row, entry), visitor, &zone, &feedback))
        .collect();
    let has_form = |case: &crate::core::ids::CaseId| {
        let case = case.to_string();
        messages.iter().any(|m| m.case == case && m.has_form())
    };
    // A form that is gone cannot show its message.
    if feedback.case.as_ref().is_some_and(|case| !has_form(case)) {
        feedback.case = None;
        feedback.typed.clear();
    }
    let event = feedback.event.clone().filter(|_| feedback.case.is_none());
    page(
        status,
        &ChatView {
            name: visitor.name.clone(),
            csrf: visitor.csrf.clone(),
            event: event.unwrap_or_else(tokens::event_id),
            feedback,
            messages,
            most_chars: MOST_CHARS,
        },
    )
}

/// All messages as fragments, for a page that connects again.
async fn messages(req: HttpRequest, chat: web::Data<WebChat>) -> HttpResponse {
    let visitor = match chat.visitor(&req).await {
        Ok(Some(visitor)) => visitor,
        Ok(None) => return session_over(),
        Err(error) => return unavailable(&error),
    };
    match chat.history.shown(&visitor.identity.user).await {
        Ok(shown) => {
            let zone = Zone::named(&visitor.time_zone);
            let fragments: Vec<_> = shown
                .iter()
                .filter_map(|(row, entry)| Fragment::new((row, entry), &visitor, &zone, false))
                .collect();
            secured(StatusCode::OK).json(BTreeMap::from([("messages", fragments)]))
        }
        Err(error) => unavailable(&error),
    }
}

async fn show_link(chat: web::Data<WebChat>, token: web::Path<String>) -> HttpResponse {
    match chat.look_at_link(&token).await {
        Ok(Some(name)) => page(
            StatusCode::OK,
            &notice(
                &format!("Hi {name}!"),
                &[
                    "This opens your security chat in this browser. Nobody else should use this link, and it works once.",
                ],
                Some((&format!("/chat/login/{token}"), "Open my chat")),
                None,
            ),
        ),
        Ok(None) => link_is_over(),
        Err(error) => unavailable(&error),
    }
}

async fn use_link(
    req: HttpRequest,
    chat: web::Data<WebChat>,
    token: web::Path<String>,
) -> HttpResponse {
    if !is_same_origin(&req, &chat.public_url) {
        return other_site();
    }
    match chat.sign_in(&token).await {
        Ok(Some(cookie)) => {
            let mut response = see_other("/chat");
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        Ok(None) => link_is_over(),
        Err(error) => unavailable(&error),
    }
}

fn notice<'a>(
    title: &'a str,
    paragraphs: &'a [&'a str],
    button: Option<(&'a str, &'a str)>,
    link: Option<(&'a str, &'a str)>,
) -> Notice<'a> {
    Notice {
        style_sheet: "/chat/static/chat.css",
        title,
        paragraphs,
        button,
        link,
    }
}

fn link_is_over() -> HttpResponse {
    page(
        StatusCode::GONE,
        &notice(
            "This link has done its work",
            &[
                "Sign-in links work once and for 15 minutes, so that nobody else can use yours.",
                "Please ask the security team for a new one (they run “securitybot chat-link” with your name). It takes them a few seconds.",
            ],
            None,
            Some(("/chat", "I'm signed in already, open my chat")),
        ),
    )
}

pub(super) fn signed_out() -> HttpResponse {
    page(
        StatusCode::UNAUTHORIZED,
        &notice(
            "You're signed out",
            &[
                "For your safety, sessions end after a while. Nothing is lost: your messages are waiting for you.",
                "Please ask the security team for a new link (they run “securitybot chat-link” with your name). It takes them a few seconds.",
            ],
            None,
            // Coming from another site, the cookie is held back once.
            Some(("/chat", "I'm signed in already, open my chat")),
        ),
    )
}

/// For the page's script.
pub(super) fn session_over() -> HttpResponse {
    secured(StatusCode::UNAUTHORIZED).json(json!({
        "ok": false,
        "message": "Your session has ended. Please ask the security team for a new chat link, nothing is lost.",
    }))
}

pub(super) fn other_site() -> HttpResponse {
    page(
        StatusCode::FORBIDDEN,
        &notice(
            "That didn't come from this page",
            &[
                "For your safety I only take answers from the chat itself. Please open it and try again.",
            ],
            None,
            Some(("/chat", "Open my chat")),
        ),
    )
}

pub(super) fn unavailable(error: &dyn std::fmt::Display) -> HttpResponse {
    tracing::warn!(%error, "the web chat cannot reach the store");
    let mut response = page(
        StatusCode::SERVICE_UNAVAILABLE,
        &notice(
            "One moment, please",
            &["Something is down on our side. Nothing is lost, please try again in a minute."],
            None,
            Some(("/chat", "Try again")),
        ),
    );
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
    response
}
