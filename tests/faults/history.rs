//! What really happened, one JSON line an event, written by the harness and never by the product: the
//! checker reads nothing else, so a bot that lies to itself is still found out.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]
#![allow(
    clippy::disallowed_methods,
    reason = "the harness has its own clock, on purpose"
)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Monotonic microseconds since the run began.
    pub t: u64,
    /// The wall clock in milliseconds, to compare with instants that the product names.
    pub wall: i64,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The run's setting. `crashes_only`: nothing but processes died, so nobody may be asked twice.
    Began {
        seed: u64,
        store: String,
        crashes_only: bool,
        /// When each level of the ladder is due, in ms after it was opened; empty: there is one level.
        #[serde(default)]
        ladder_ms: Vec<i64>,
        /// How long an acknowledgement holds.
        #[serde(default)]
        ack_expires_ms: i64,
    },
    /// A producer begins a request; `body` is what it sends.
    AlertSent {
        request: u64,
        alert: String,
        body: Value,
    },
    /// Its end. `verdict`: accepted, duplicate, rejected, or nothing when no answer came.
    AlertAnswered {
        request: u64,
        alert: String,
        status: u16,
        verdict: Option<String>,
    },
    /// What an employee's chat shows of one message, whenever that changed.
    Shown {
        employee: String,
        message: String,
        case: String,
        revision: u32,
        /// A question, live or over: it has the alert's facts.
        question: bool,
        /// With live answer buttons or a form.
        live: bool,
    },
    /// A form about a case was opened before somebody's eyes.
    FormShown {
        employee: String,
        case: String,
    },
    /// A message is no longer among those that the page shows.
    ScrolledOff {
        message: String,
    },
    /// Somebody begins to act. `tick`s are (case, revision) of a form.
    Acted {
        act: u64,
        by: String,
        case: String,
        revision: u32,
        action: String,
        ticks: Vec<(String, u32)>,
        /// The code's time step, when a code of this person was given.
        step: Option<i64>,
    },
    /// Its end; 0: no answer came.
    ActAnswered {
        act: u64,
        status: u16,
        said: String,
    },
    /// An operator begins to act at the API; `may`: they are one, and allowed to. An escalation has its case's id.
    OperatorActed {
        act: u64,
        operator: String,
        may: bool,
        /// ack, resolve or close.
        action: String,
        id: String,
    },
    /// Its end; 0: no answer came. The escalation's level then.
    OperatorAnswered {
        act: u64,
        status: u16,
        level: Option<u64>,
    },
    /// A pager got a page. `applied`: it was taken (the sender may not know).
    Page {
        id: String,
        applied: bool,
        body: Value,
    },
    /// The chat got a call. `key`: the sender's mark on a message; `wait_s`: it was asked to wait so long.
    ChatCalled {
        method: String,
        channel: Option<String>,
        key: Option<String>,
        applied: bool,
        wait_s: Option<u64>,
    },
    /// A sink got a record.
    Record {
        id: String,
        applied: bool,
        body: Value,
    },
    /// A receiver asked to wait that many seconds before `id` comes again.
    AskedToWait {
        id: String,
        seconds: u64,
    },
    /// A node ended (how) and came back.
    Down {
        node: u32,
        how: String,
    },
    Up {
        node: u32,
    },
    /// A fault begins and ends. `blocks`: what cannot work meanwhile (store, pager, sink, chat, node),
    /// or `tail`: what the store says yes to meanwhile will be lost.
    FaultBegan {
        fault: String,
        blocks: String,
    },
    FaultEnded {
        fault: String,
    },
    /// A case as the API told it at that time.
    Case {
        case: Value,
    },
    /// Memory of a node in KiB.
    Memory {
        node: u32,
        kib: u64,
    },
    /// The end: everything has come to rest, or was given up waiting for.
    Rest {
        backlog: u64,
        outbox: u64,
        journal_whole: bool,
        journal_said: String,
    },
    /// How often a dangerous window was passed.
    Window {
        name: String,
        hits: u64,
    },
}

/// Cheap to clone; all write into one file.
#[derive(Clone)]
pub struct History(Arc<Inner>);

struct Inner {
    began: Instant,
    path: PathBuf,
    kept: Mutex<(BufWriter<File>, Vec<Event>)>,
}

impl History {
    pub fn create(path: &Path) -> Self {
        let file = File::create(path).expect("the history file can be made");
        Self(Arc::new(Inner {
            began: Instant::now(),
            path: path.to_owned(),
            kept: Mutex::new((BufWriter::new(file), Vec::new())),
        }))
    }

    pub fn note(&self, what: What) {
        let mut kept = self.0.kept.lock().unwrap();
        // Under the lock: the file's order is the order of its times.
        let event = Event {
            t: u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            wall: wall_ms(),
            what,
        };
        let line = serde_json::to_string(&event).expect("an event is plain data");
        writeln!(kept.0, "{line}").expect("the history can be written");
        kept.1.push(event);
    }

    pub fn events(&self) -> Vec<Event> {
        let mut kept = self.0.kept.lock().unwrap();
        kept.0.flush().expect("the history can be written");
        kept.1.clone()
    }

    pub fn count(&self, pass: impl Fn(&What) -> bool) -> usize {
        let kept = self.0.kept.lock().unwrap();
        kept.1.iter().filter(|event| pass(&event.what)).count()
    }

    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}

/// A history from its file.
pub fn read(path: &Path) -> Result<Vec<Event>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    text.lines()
        .enumerate()
        .map(|(n, line)| {
            serde_json::from_str(line).map_err(|e| format!("{}:{}: {e}", path.display(), n + 1))
        })
        .collect()
}
