//! Socket Mode: says hello, hands each envelope to any one connection, and again when it was not acknowledged or its
//! connection ended.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::{FakeSlack, Shared};

/// Slack waits three seconds before it delivers an event again.
const AGAIN: Duration = Duration::from_secs(3);
/// Told to a connection: end without a word.
const DROP: &str = "drop";

pub async fn listen(shared: Arc<Shared>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let theirs = shared.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, theirs.clone()));
        }
    });
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(AGAIN).await;
            let mut state = shared.state.lock().unwrap();
            for id in state.unacknowledged() {
                state.deliver(&id);
            }
        }
    });
    port
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
        return;
    };
    let (sender, mut outgoing) = mpsc::unbounded_channel::<String>();
    let hello = json!({
        "type": "hello", "num_connections": 1, "connection_info": { "app_id": "A0TEST" },
        "debug_info": { "host": "fake", "approximate_connection_time": 3600 },
    });
    if socket.send(Message::text(hello.to_string())).await.is_err() {
        return;
    }
    let me = {
        let mut state = shared.state.lock().unwrap();
        state.connections += 1;
        let me = state.connections;
        state.sockets.push((me, sender));
        for id in state.unacknowledged() {
            state.deliver(&id);
        }
        me
    };
    shared.changed.notify_all();
    loop {
        tokio::select! {
            text = outgoing.recv() => match text.as_deref() {
                None | Some(DROP) => break,
                Some(text) => {
                    if socket.send(Message::text(text.to_owned())).await.is_err() {
                        break;
                    }
                }
            },
            frame = socket.next() => match frame {
                Some(Ok(Message::Text(text))) => acknowledge(&shared, &text),
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
    }
    let mut state = shared.state.lock().unwrap();
    state.sockets.retain(|(id, _)| *id != me);
    drop(state);
    shared.changed.notify_all();
}

fn acknowledge(shared: &Shared, text: &str) {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    if let Some(id) = answer["envelope_id"].as_str() {
        let mut state = shared.state.lock().unwrap();
        let first = state.acknowledged.entry(id.to_owned());
        first.or_insert_with(|| answer["payload"].clone());
    }
    shared.changed.notify_all();
}

impl FakeSlack {
    /// Announces the end of every connection; it goes on serving them until the app leaves.
    pub fn announce_disconnect(&self, reason: &str) {
        let state = self.state();
        for (_, socket) in &state.sockets {
            let _ = socket.send(json!({ "type": "disconnect", "reason": reason }).to_string());
        }
    }

    /// Ends every connection without a word.
    pub fn drop_connections(&self) {
        let mut state = self.state();
        for (_, socket) in state.sockets.drain(..) {
            let _ = socket.send(DROP.to_owned());
        }
    }

    pub fn deliver_again(&self, envelope: &str) {
        self.state().deliver(envelope);
    }
}
