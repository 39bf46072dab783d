//! A Slack of the test's own, on loopback: it keeps what it took as Slack does, refuses what Slack refuses, and can fail
//! in Slack's ways. What a test claims about messages is read from here, never from what the product says. The vendor's
//! own client speaks to it in `slack_sdk.rs`.
#![allow(clippy::unwrap_used)] // a fake that fails fails its test

pub mod people;
pub mod rules;
pub mod sockets;
pub mod state;
pub mod web_api;

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use state::{Mode, State};

pub const TEAM: &str = "T0TEST";
pub const BOT_TOKEN: &str = "xoxb-test";
pub const APP_TOKEN: &str = "xapp-test";
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Shared {
    pub state: Mutex<State>,
    pub changed: Condvar,
}

#[derive(Clone)]
pub struct FakeSlack {
    pub shared: Arc<Shared>,
    port: u16,
}

impl FakeSlack {
    /// Serves from a thread of its own until the test ends.
    pub fn start() -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let theirs = shared.clone();
        let (told, port) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let socket_port = sockets::listen(theirs.clone()).await;
                theirs.state.lock().unwrap().socket_port = socket_port;
                let (server, port) = web_api::server(theirs);
                told.send(port).unwrap();
                server.await.unwrap();
            });
        });
        Self {
            shared,
            port: port.recv().unwrap(),
        }
    }

    pub fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}/api/", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// How the next `times` calls of a method go.
    pub fn mode(&self, method: &str, mode: Mode, times: usize) {
        self.state().modes.insert(method.to_owned(), (mode, times));
    }

    /// Waits until the truth has what is looked for.
    pub fn wait_for<T>(&self, what: &str, look: impl Fn(&State) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state();
        loop {
            if let Some(found) = look(&state) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "never happened: {what}; {}",
                state.summary()
            );
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    pub fn calls(&self, method: &str) -> Vec<Value> {
        let state = self.state();
        let calls = state.calls.iter().filter(|(m, _)| m == method);
        calls.map(|(_, arguments)| arguments.clone()).collect()
    }

    /// The message in the user's direct channel that contains this text.
    pub fn message_to(&self, user: &str, containing: &str) -> Value {
        self.wait_for(
            &format!("a message to {user} with {containing:?}"),
            |state| {
                let messages = state.messages_to(user);
                messages
                    .iter()
                    .rfind(|m| m.to_string().contains(containing))
                    .cloned()
            },
        )
    }

    /// The message of a channel that contains this text.
    pub fn message_in(&self, channel: &str, containing: &str) -> Value {
        self.wait_for(
            &format!("a message in {channel} with {containing:?}"),
            |state| {
                let mut messages = state.messages.get(channel)?.iter();
                messages
                    .rfind(|m| m.to_string().contains(containing))
                    .cloned()
            },
        )
    }

    /// The same message once it satisfies `wanted`.
    pub fn edited(&self, message: &Value, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(what, |state| {
            let found = state.message(&message["channel"], &message["ts"])?;
            wanted(found).then(|| found.clone())
        })
    }

    pub fn envelope(&self, kind: &str, payload: Value) -> String {
        let mut state = self.state();
        let id = state.envelope(kind, payload);
        drop(state);
        self.shared.changed.notify_all();
        id
    }

    /// The payload of the acknowledgement, `Null` for a plain one.
    pub fn acknowledged(&self, id: &str) -> Value {
        self.wait_for(&format!("the acknowledgement of {id}"), |state| {
            state.acknowledged.get(id).cloned()
        })
    }

    /// As many connections as that have said hello.
    pub fn wait_connected(&self, count: usize) {
        self.wait_for("Socket Mode connections", |state| {
            (state.sockets.len() >= count).then_some(())
        });
    }

    pub fn signed(&self, secret: &str, at: i64, body: &str) -> String {
        use hmac::Mac;
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("v0:{at}:{body}").as_bytes());
        format!("v0={}", hex::encode(mac.finalize().into_bytes()))
    }
}

pub fn ok(mut more: Value) -> Value {
    more["ok"] = json!(true);
    more
}

pub fn error(code: &str) -> Value {
    json!({ "ok": false, "error": code })
}
