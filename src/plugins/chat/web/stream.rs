//! Server-sent events: an open page hears of every message at once. A page that connects (again) reads its whole
//! history, so nothing is missed across restarts.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::messages::Zone;

use super::WebChat;
use super::live::{Change, Ear};
use super::routes::{session_over, unavailable};
use super::session::Visitor;
use super::view::Fragment;
use super::web_page::secured;

/// Proxies drop silent connections; a dead page is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The page then connects again, and shows that its session still stands.
const LONGEST: Duration = Duration::from_secs(10 * 60);

struct Listener {
    changes: Ear,
    closing: watch::Receiver<bool>,
    visitor: Visitor,
    zone: Zone,
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
        zone: Zone::named(&visitor.time_zone),
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
            let beat = (Instant::now() + HEARTBEAT).min(self.ends);
            tokio::select! {
                _ = self.closing.wait_for(|closing| *closing) => return None,
                () = tokio::time::sleep_until(beat) => {
                    let over = beat == self.ends;
                    return (!over).then(|| Bytes::from_static(b": still here\n\n"));
                }
                change = self.changes.next() => match change {
                    Ok(change) => {
                        if let Some(event) = message(&change, &self.visitor, &self.zone) {
                            return Some(event);
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

fn message(change: &Change, visitor: &Visitor, zone: &Zone) -> Option<Bytes> {
    let fragment = Fragment::new((&change.row, &change.entry), visitor, zone, change.fresh)?;
    let mut event = b"event: message\ndata: ".to_vec();
    serde_json::to_writer(&mut event, &fragment).ok()?;
    event.extend_from_slice(b"\n\n");
    Some(Bytes::from(event))
}
