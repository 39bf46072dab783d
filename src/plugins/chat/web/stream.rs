//! Server-sent events: an open page hears of every message at once. A page that connects (again) reads its whole
//! history, so nothing is missed across restarts.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::Instant;

use super::WebChat;
use super::live::Change;
use super::routes::{fragment, session_over, unavailable};
use super::session::Visitor;
use super::web_page::secured;

/// Proxies drop silent connections; a dead page is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The page then connects again, and shows that its session still stands.
const LONGEST: Duration = Duration::from_secs(10 * 60);

struct Listener {
    changes: Receiver<Change>,
    closing: watch::Receiver<bool>,
    visitor: Visitor,
    ends: Instant,
    greeted: bool,
}

pub(super) async fn stream(req: HttpRequest, chat: web::Data<WebChat>) -> HttpResponse {
    let visitor = match chat.visitor(&req).await {
        Ok(Some(visitor)) => visitor,
        Ok(None) => return session_over(),
        Err(error) => return unavailable(&error),
    };
    let Some(changes) = chat.live.listen(&visitor.identity.user) else {
        return secured(StatusCode::TOO_MANY_REQUESTS).body("too many open pages");
    };
    let listener = Listener {
        changes,
        closing: chat.live.closing(),
        visitor,
        ends: Instant::now() + LONGEST,
        greeted: false,
    };
    let events = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok::<_, actix_web::Error>(event), listener))
    });
    secured(StatusCode::OK)
        .content_type("text/event-stream")
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(events)
}

impl Listener {
    /// `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.greeted {
            self.greeted = true;
            // Listening already, so what the page reads now and what it hears leave no gap.
            return Some(Bytes::from_static(
                b"retry: 2000\nevent: hello\ndata: {}\n\n",
            ));
        }
        loop {
            let beat = tokio::time::sleep(HEARTBEAT);
            tokio::select! {
                _ = self.closing.wait_for(|closing| *closing) => return None,
                () = tokio::time::sleep_until(self.ends) => return None,
                () = beat => return Some(Bytes::from_static(b": still here\n\n")),
                change = self.changes.recv() => match change {
                    Ok(change) => {
                        if let Some(data) = fragment(&change.row, &self.visitor, change.fresh) {
                            return Some(Bytes::from(format!("event: message\ndata: {data}\n\n")));
                        }
                    }
                    Err(RecvError::Lagged(_)) => {
                        return Some(Bytes::from_static(b"event: refresh\ndata: {}\n\n"));
                    }
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }
}
