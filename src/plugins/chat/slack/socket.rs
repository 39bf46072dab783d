//! Socket Mode: events come over connections that we open. Two are kept, so that one may end without notice and nothing
//! waits; one that announces its end is replaced before it is dropped.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::core::text::Untrusted;

use super::Slack;
use super::inbound::{Kind, Verdict};

/// Slack allows ten.
const CONNECTIONS: usize = 2;
const CONNECT: Duration = Duration::from_secs(10);
/// Silence this long means that the connection is dead: we ask for a pong far more often.
const SILENCE: Duration = Duration::from_secs(40);
const PING: Duration = Duration::from_secs(15);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A connection that lived this long was a good one: the next is made at once.
const STEADY: Duration = Duration::from_secs(5);
/// A connection that announced its end is read for this long after its successor is up.
const LAST_WORDS: Duration = Duration::from_secs(15);
const MOST_BYTES: usize = 4 * 1024 * 1024;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How the connections are, for readyz.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub open: usize,
    /// Why the last one ended or was not made.
    pub why: String,
}

/// Keeps the connections until the chat is closed.
pub(super) fn keep(slack: &Arc<Slack>) {
    for _ in 0..CONNECTIONS {
        let slack = slack.clone();
        tokio::spawn(async move {
            let mut closing = slack.closing.subscribe();
            tokio::select! {
                () = keep_one(&slack) => {}
                () = closed(&mut closing) => {}
            }
        });
    }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that the chat itself is gone.
    let _ = closing.wait_for(|closing| *closing).await;
}

async fn keep_one(slack: &Arc<Slack>) {
    let mut wait = FIRST_WAIT;
    // Dropped once its successor is up: the old connection then has its last words.
    let mut predecessor: Option<oneshot::Sender<()>> = None;
    loop {
        match connect(slack).await {
            Ok(socket) => {
                let born = Instant::now();
                drop(predecessor.take());
                let (ending, ended) = oneshot::channel();
                let (successor, succeeded) = oneshot::channel();
                let theirs = slack.clone();
                tokio::spawn(async move { serve(theirs, socket, ending, succeeded).await });
                predecessor = Some(successor);
                // Announced or not: now another one is needed.
                let _ = ended.await;
                if born.elapsed() > STEADY {
                    wait = FIRST_WAIT;
                    continue;
                }
            }
            Err(why) => {
                tracing::warn!(why, "no Socket Mode connection to Slack");
                slack.sockets.send_modify(|state| state.why = why);
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// A connection that has said hello.
async fn connect(slack: &Slack) -> Result<Socket, String> {
    let url = slack
        .api
        .open_socket()
        .await
        .map_err(|error| error.text())?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MOST_BYTES))
        .max_frame_size(Some(MOST_BYTES));
    let connecting = async {
        let (mut socket, _) = connect_async_with_config(&url, Some(config), true)
            .await
            .map_err(|error| Untrusted::new(error.to_string()).line(200))?;
        while let Some(frame) = socket.next().await {
            match frame {
                Ok(Message::Text(text)) => {
                    let hello: Value = serde_json::from_str(&text).unwrap_or_default();
                    return match hello["type"] == "hello" {
                        true => Ok(socket),
                        false => Err("it did not say hello".to_owned()),
                    };
                }
                Ok(Message::Close(_)) => break,
                Ok(_) => {}
                Err(error) => return Err(Untrusted::new(error.to_string()).line(200)),
            }
        }
        Err("closed before hello".to_owned())
    };
    tokio::time::timeout(CONNECT, connecting)
        .await
        .unwrap_or_else(|_| Err("no hello in time".to_owned()))
}

/// Reads a connection to its end. `ending` is told as soon as a successor is needed; `succeeded` resolves when it is up.
async fn serve(
    slack: Arc<Slack>,
    mut socket: Socket,
    ending: oneshot::Sender<()>,
    succeeded: oneshot::Receiver<()>,
) {
    let _open = Open::count(&slack);
    let mut ending = Some(ending);
    let (acknowledge, mut acknowledged) = mpsc::unbounded_channel::<String>();
    let mut closing = slack.closing.subscribe();
    let mut ping = tokio::time::interval(PING);
    let last_words = async move {
        let _ = succeeded.await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::pin!(last_words);
    let mut heard = Instant::now();
    let why = loop {
        tokio::select! {
            frame = socket.next() => {
                heard = Instant::now();
                match frame {
                    Some(Ok(Message::Text(text))) => {
                        if let Some(reason) = hear(&slack, &text, &acknowledge) {
                            tracing::info!(reason, "Slack is about to end a connection");
                            drop(ending.take());
                            if reason == "link_disabled" {
                                break "Socket Mode was switched off for the app".to_owned();
                            }
                        }
                    }
                    Some(Ok(Message::Close(_))) | None => break "Slack ended it".to_owned(),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break Untrusted::new(error.to_string()).line(200),
                }
            }
            Some(answer) = acknowledged.recv() => {
                if let Err(error) = socket.send(Message::text(answer)).await {
                    break Untrusted::new(error.to_string()).line(200);
                }
            }
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE {
                    break "silent".to_owned();
                }
                if let Err(error) = socket.send(Message::Ping(Default::default())).await {
                    break Untrusted::new(error.to_string()).line(200);
                }
            }
            () = &mut last_words, if ending.is_none() => break "replaced".to_owned(),
            () = closed(&mut closing) => break "closing".to_owned(),
        }
    };
    tracing::info!(why, "a Socket Mode connection ended");
    slack.sockets.send_modify(|state| state.why = why);
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.close(None)).await;
}

/// One frame; `Some(reason)` when the connection announces its end.
fn hear(
    slack: &Arc<Slack>,
    text: &str,
    acknowledge: &mpsc::UnboundedSender<String>,
) -> Option<String> {
    let mut envelope: Value = serde_json::from_str(text)
        .inspect_err(|error| tracing::warn!(%error, "an unreadable frame from Slack"))
        .ok()?;
    if envelope["type"] == "disconnect" {
        let reason = envelope["reason"].as_str().unwrap_or("no reason");
        return Some(Untrusted::from(reason).line(60));
    }
    let id = envelope["envelope_id"].as_str()?.to_owned();
    let payload = envelope["payload"].take();
    let kind = match envelope["type"].as_str() {
        Some("events_api") => Some(Kind::EventsApi),
        Some("interactive") => Some(Kind::Interactive),
        _ => None,
    };
    let (slack, acknowledge) = (slack.clone(), acknowledge.clone());
    // Envelopes do not wait for each other; Slack promises no order either.
    tokio::spawn(async move {
        let verdict = match kind {
            Some(kind) => slack.take(kind, payload).await,
            None => Verdict::Taken(None),
        };
        let answer = match verdict {
            Verdict::Taken(None) => json!({ "envelope_id": id }),
            Verdict::Taken(Some(body)) => json!({ "envelope_id": id, "payload": body }),
            Verdict::NotTaken => return,
        };
        // A connection that is gone takes no acknowledgement: Slack delivers again.
        let _ = acknowledge.send(answer.to_string());
    });
    None
}

/// Counts a connection as open for as long as it lives.
struct Open<'a>(&'a Slack);

impl<'a> Open<'a> {
    fn count(slack: &'a Slack) -> Self {
        slack.sockets.send_modify(|state| state.open += 1);
        metrics::gauge!("securitybot_slack_connections").increment(1.0);
        Self(slack)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.sockets.send_modify(|state| state.open -= 1);
        metrics::gauge!("securitybot_slack_connections").decrement(1.0);
    }
}
