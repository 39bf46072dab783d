//! What really happened, one JSON line an event, written by the harness and never by the product: the
//! checker reads nothing else, so a bot that lies to itself is still found out. A run of hours must not fill the
//! memory, so the file is the only copy.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]
#![allow(
    clippy::disallowed_methods,
    reason = "the harness has its own clock, on purpose"
)]

use std::fmt::Debug;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What becomes of the bodies that the sides sent each other: they are written whole, and whoever reads takes from
/// each what it needs.
pub trait Bodies {
    type Alert: Clone + Debug + PartialEq;
    type Case: Clone + Debug + PartialEq;
    type Page: Clone + Debug + PartialEq;
    type Record: Clone + Debug + PartialEq;
}

/// Whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Written;

impl Bodies for Written {
    type Alert = Value;
    type Case = Value;
    type Page = Value;
    type Record = Value;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "What<B>: Serialize",
    deserialize = "What<B>: DeserializeOwned"
))]
pub struct Event<B: Bodies = Written> {
    /// Monotonic microseconds since the run began.
    pub t: u64,
    /// The wall clock in milliseconds, to compare with instants that the product names.
    pub wall: i64,
    #[serde(flatten)]
    pub what: What<B>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[serde(bound(
    serialize = "B::Alert: Serialize, B::Case: Serialize, B::Page: Serialize, B::Record: Serialize",
    deserialize = "B::Alert: DeserializeOwned, B::Case: DeserializeOwned, B::Page: DeserializeOwned, B::Record: DeserializeOwned"
))]
pub enum What<B: Bodies = Written> {
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
        body: B::Alert,
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
        body: B::Page,
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
        body: B::Record,
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
    /// A case as the API told it at that time, whenever that changed.
    Case {
        case: B::Case,
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
    kept: Mutex<Kept>,
}

struct Kept {
    file: BufWriter<File>,
    last_t: u64,
    /// Everything but pages and records.
    stirs: usize,
}

impl History {
    pub fn create(path: &Path) -> Self {
        let file = File::create(path).expect("the history file can be made");
        Self(Arc::new(Inner {
            began: Instant::now(),
            path: path.to_owned(),
            kept: Mutex::new(Kept {
                file: BufWriter::new(file),
                last_t: 0,
                stirs: 0,
            }),
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
        writeln!(kept.file, "{line}").expect("the history can be written");
        kept.last_t = event.t;
        let goes_on_alone = matches!(event.what, What::Page { .. } | What::Record { .. });
        kept.stirs += usize::from(!goes_on_alone);
    }

    /// When the last event was.
    pub fn last_t(&self) -> u64 {
        self.0.kept.lock().unwrap().last_t
    }

    /// How much has happened, but for pages and records: the ladder goes on paging where no operator is.
    pub fn stirs(&self) -> usize {
        self.0.kept.lock().unwrap().stirs
    }

    /// Reads the file.
    pub fn count(&self, pass: impl Fn(&What) -> bool) -> usize {
        let mut count = 0;
        let each = |event: Event| count += usize::from(pass(&event.what));
        read(self.path(), each).expect("the history can be read back");
        count
    }

    /// With everything in it that has happened.
    pub fn path(&self) -> &Path {
        let mut kept = self.0.kept.lock().unwrap();
        kept.file.flush().expect("the history can be written");
        &self.0.path
    }
}

pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}

/// Hands over each event of a history's file, in their order.
pub fn read<B: Bodies>(path: &Path, mut each: impl FnMut(Event<B>)) -> Result<(), String>
where
    What<B>: DeserializeOwned,
{
    let of = |place: String, why: &dyn std::fmt::Display| format!("{place}: {why}");
    let file = File::open(path).map_err(|e| of(path.display().to_string(), &e))?;
    let (mut file, mut line, mut number) = (BufReader::new(file), String::new(), 0);
    loop {
        line.clear();
        number += 1;
        let place = || format!("{}:{number}", path.display());
        if file.read_line(&mut line).map_err(|e| of(place(), &e))? == 0 {
            return Ok(());
        }
        each(serde_json::from_str(&line).map_err(|e| of(place(), &e))?);
    }
}
