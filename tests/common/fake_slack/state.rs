//! What this Slack knows: users, direct channels, messages, forms, and what it has told the app.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use securitybot::clock::Clock;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::TEAM;

/// How a call goes.
#[derive(Clone, Debug)]
pub enum Mode {
    /// 429 with this `Retry-After`.
    RateLimited(u64),
    Status(u16),
    /// `{"ok": false, "error": ...}`.
    Refused(String),
    /// Not taken, and the line is cut.
    CutBeforeApplying,
    /// Taken, and the answer is cut off.
    CutAfterApplying,
    /// Taken, and never answered.
    Hang,
}

/// How envelopes go out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    #[default]
    Once,
    /// Each to two connections, or twice to one.
    Twice,
    /// None, until they are let go in the wrong order.
    Held,
}

/// One call as it came in.
pub struct Seen<'a> {
    pub method: &'a str,
    pub arguments: &'a Value,
    /// Whose direct channel it is about, or who sees the form.
    pub user: Option<&'a str>,
    /// The channel it is about, by its id.
    pub channel: Option<&'a str>,
    /// What was answered, or would have been; `None`: it was not applied.
    pub applied: Option<&'a Value>,
    /// It was answered by 429 and this `Retry-After`.
    pub asked_to_wait: Option<u64>,
}

/// Told of each call before its answer leaves.
pub type Observer = Box<dyn Fn(&Seen<'_>) + Send>;

/// Any method, in [`State::modes`].
pub const ANY: &str = "*";

/// A file on its way: a place was given, its bytes came, it was shared.
#[derive(Clone, Debug, Default)]
pub struct File {
    pub name: String,
    pub length: usize,
    pub bytes: Option<Vec<u8>>,
    /// Channel and thread.
    pub shared: Option<(String, String)>,
}

pub struct State {
    pub socket_port: u16,
    /// Where connections are sent instead, to a door before that port.
    pub socket_url: Option<String>,
    pub users: Vec<Value>,
    /// Direct channel by user.
    pub channels: BTreeMap<String, String>,
    /// By channel, oldest first.
    pub messages: BTreeMap<String, Vec<Value>>,
    /// Every view that was opened, with its trigger.
    pub views: Vec<Value>,
    /// The Home tab of each user, as it was published last.
    pub homes: BTreeMap<String, Value>,
    /// Files by id.
    pub files: BTreeMap<String, File>,
    /// When each was made, whether it was used, and whose it is.
    pub triggers: HashMap<String, (Instant, bool, String)>,
    /// Method and arguments, in order.
    pub calls: Vec<(String, Value)>,
    /// By method, or [`ANY`].
    pub modes: HashMap<String, (Mode, usize)>,
    /// Until when a method, or a channel's messages, were asked to wait: whoever comes before is refused again.
    pub silent_until: HashMap<String, Instant>,
    pub observer: Option<Observer>,
    /// When each channel last took a message: more than one a second is refused as Slack does.
    pub last_post: HashMap<String, Instant>,
    /// When messages were taken within the last minute, in all channels.
    pub lately: VecDeque<Instant>,
    pub refused_429: usize,
    /// All envelopes, in order.
    pub envelopes: Vec<Value>,
    pub acknowledged: BTreeMap<String, Value>,
    /// How often each envelope went out.
    pub deliveries: BTreeMap<String, usize>,
    pub delivery: Delivery,
    held: Vec<String>,
    /// Connections that have said hello, newest last.
    pub sockets: Vec<(u64, mpsc::UnboundedSender<String>)>,
    /// Every connection that ever was.
    pub connections: u64,
    pub users_page: usize,
    counter: u64,
    clock: Clock,
}

impl Default for State {
    fn default() -> Self {
        Self {
            socket_port: 0,
            socket_url: None,
            users: Vec::new(),
            channels: BTreeMap::new(),
            messages: BTreeMap::new(),
            views: Vec::new(),
            homes: BTreeMap::new(),
            files: BTreeMap::new(),
            triggers: HashMap::new(),
            calls: Vec::new(),
            modes: HashMap::new(),
            silent_until: HashMap::new(),
            observer: None,
            last_post: HashMap::new(),
            lately: VecDeque::new(),
            refused_429: 0,
            envelopes: Vec::new(),
            acknowledged: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            delivery: Delivery::Once,
            held: Vec::new(),
            sockets: Vec::new(),
            connections: 0,
            users_page: 1_000,
            counter: 0,
            clock: Clock::system(),
        }
    }
}

impl State {
    pub fn next(&mut self, prefix: &str) -> String {
        self.counter += 1;
        format!("{prefix}{:06}", self.counter)
    }

    /// Unique and rising, with microseconds, as Slack's.
    pub fn ts(&mut self) -> String {
        self.counter += 1;
        let now = self.clock.now().as_millis();
        let micros = (now % 1_000) * 1_000 + i64::try_from(self.counter % 1_000).unwrap();
        format!("{}.{micros:06}", now / 1_000)
    }

    pub fn seconds(&self) -> i64 {
        self.clock.now().as_millis() / 1_000
    }

    pub fn trigger(&mut self, user: &str) -> String {
        let trigger = self.next("trigger.");
        let made = (Instant::now(), false, user.to_owned());
        self.triggers.insert(trigger.clone(), made);
        trigger
    }

    /// Once, and within three seconds.
    pub fn use_trigger(&mut self, trigger: &str) -> Result<(), &'static str> {
        match self.triggers.get_mut(trigger) {
            None => Err("invalid_trigger_id"),
            Some((_, true, _)) => Err("exchanged_trigger_id"),
            Some((made, _, _)) if made.elapsed() > Duration::from_secs(3) => {
                Err("expired_trigger_id")
            }
            Some((_, used, _)) => {
                *used = true;
                Ok(())
            }
        }
    }

    pub fn is_user(&self, id: &str) -> bool {
        self.users.iter().any(|user| user["id"] == id)
    }

    pub fn open_channel(&mut self, user: &str) -> String {
        if let Some(channel) = self.channels.get(user) {
            return channel.clone();
        }
        let channel = self.next("D");
        self.channels.insert(user.to_owned(), channel.clone());
        self.messages.entry(channel.clone()).or_default();
        channel
    }

    pub fn messages_to(&self, user: &str) -> Vec<Value> {
        let channel = self.channels.get(user);
        channel
            .and_then(|channel| self.messages.get(channel))
            .cloned()
            .unwrap_or_default()
    }

    pub fn message(&self, channel: &Value, ts: &Value) -> Option<&Value> {
        let messages = self.messages.get(channel.as_str()?)?;
        messages.iter().find(|message| message["ts"] == *ts)
    }

    /// Something for the app: sent to any one connection, again until it is acknowledged.
    pub fn envelope(&mut self, kind: &str, payload: Value) -> String {
        let id = self.next("envelope-");
        self.envelopes.push(json!({
            "envelope_id": id, "type": kind, "payload": payload,
            "accepts_response_payload": kind == "interactive",
        }));
        self.deliver(&id);
        id
    }

    pub fn deliver(&mut self, id: &str) {
        match self.delivery {
            Delivery::Once => self.hand_out(id),
            Delivery::Twice => {
                self.hand_out(id);
                self.hand_out(id);
            }
            Delivery::Held => self.held.push(id.to_owned()),
        }
    }

    /// What was held back goes out, the newest first.
    pub fn let_go(&mut self) {
        self.delivery = Delivery::Once;
        for id in std::mem::take(&mut self.held).into_iter().rev() {
            self.hand_out(&id);
        }
    }

    fn hand_out(&mut self, id: &str) {
        let envelope = self.envelopes.iter().find(|e| e["envelope_id"] == id);
        let Some(text) = envelope.map(Value::to_string) else {
            return;
        };
        let nth = self.deliveries.get(id).copied().unwrap_or(0);
        let count = self.sockets.len();
        if let Some((_, socket)) = self.sockets.get(nth % count.max(1))
            && socket.send(text).is_ok()
        {
            self.deliveries.insert(id.to_owned(), nth + 1);
        }
    }

    pub fn unacknowledged(&self) -> Vec<String> {
        let ids = self.envelopes.iter().map(|e| e["envelope_id"].as_str());
        ids.flatten()
            .filter(|id| !self.acknowledged.contains_key(*id))
            .map(str::to_owned)
            .collect()
    }

    pub fn summary(&self) -> String {
        let calls: Vec<&str> = self
            .calls
            .iter()
            .map(|(method, _)| method.as_str())
            .collect();
        format!(
            "team {TEAM}, calls {calls:?}, {} sockets, messages {:#?}, acknowledged {:?}",
            self.sockets.len(),
            self.messages,
            self.acknowledged
        )
    }
}
