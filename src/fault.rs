//! Dangerous windows, for the fault harness: the instants just before and just after a call to the
//! store or to another system, at which a process dies, a call hangs, or a result is lost.
//!
//! Only a build with the feature `fault-injection` has this module; no shipped build can be told to fail.
//! `SECURITYBOT_FAULT="store.write.before:abort:3"` aborts at the third passing; `hang` lets the call
//! take longer than anybody waits for it, `fail` refuses it (before) or loses its result (after).
//! `SECURITYBOT_FAULT_HITS` names a file that gets a line for each passing.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Longer than every timeout in the actors: who called has given up when the call goes on.
const HANG: Duration = Duration::from_secs(20);

/// Every call that is wrapped. The harness asks for each to be passed, before and after.
pub const CALLS: [&str; 30] = [
    "store.claim",
    "store.renew",
    "store.release",
    "store.write.accept",
    "store.write.commit",
    "store.write.birth",
    "store.write.take",
    "store.load",
    "store.due",
    "store.queue",
    "store.queued",
    "store.sources",
    "store.journal",
    "store.journal_ends",
    "store.timeline",
    "store.row",
    "store.rows",
    "store.count",
    "store.put_rows.cursor",
    "store.put_rows.chat",
    "store.put_rows.other",
    "store.trim",
    "store.health",
    "store.close",
    "chat.send",
    "chat.edit",
    "chat.find",
    "factor.check",
    "pager.page",
    "sink.deliver",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

/// The harness asks for this call to fail.
#[derive(Debug, thiserror::Error)]
#[error("injected at {0}")]
pub struct Injected(pub String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Abort,
    Hang,
    Fail,
}

struct Plan {
    asked: Vec<(String, Action, u64)>,
    passed: Mutex<BTreeMap<String, u64>>,
    hits: Option<Mutex<File>>,
}

fn plan() -> &'static Plan {
    static PLAN: OnceLock<Plan> = OnceLock::new();
    PLAN.get_or_init(|| {
        let asked = std::env::var("SECURITYBOT_FAULT").unwrap_or_default();
        let hits = std::env::var_os("SECURITYBOT_FAULT_HITS")
            .and_then(|path| OpenOptions::new().create(true).append(true).open(path).ok());
        Plan {
            asked: asked.split(',').filter_map(parse).collect(),
            passed: Mutex::default(),
            hits: hits.map(Mutex::new),
        }
    })
}

/// `name:abort|hang|fail:nth`.
fn parse(word: &str) -> Option<(String, Action, u64)> {
    let mut parts = word.trim().split(':');
    let name = parts.next().filter(|name| !name.is_empty())?;
    let action = match parts.next()? {
        "abort" => Action::Abort,
        "hang" => Action::Hang,
        "fail" => Action::Fail,
        _ => return None,
    };
    let nth = parts.next().and_then(|nth| nth.parse().ok()).unwrap_or(1);
    Some((name.to_owned(), action, nth))
}

/// The name of a window.
pub fn name(call: &str, when: When) -> String {
    match when {
        When::Before => format!("{call}.before"),
        When::After => format!("{call}.after"),
    }
}

/// Every window there is.
pub fn windows() -> Vec<String> {
    let both = |call: &&str| [name(call, When::Before), name(call, When::After)];
    CALLS.iter().flat_map(both).collect()
}

/// Passes a window: usually nothing happens.
pub async fn window(call: &str, when: When) -> Result<(), Injected> {
    let name = name(call, when);
    let plan = plan();
    let nth = {
        let mut passed = plan.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let count = passed.entry(name.clone()).or_insert(0);
        *count += 1;
        *count
    };
    if let Some(hits) = &plan.hits {
        // One write: lines of an appended file stay whole, and an abort loses none.
        let mut hits = hits.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = hits.write_all(format!("{name}\n").as_bytes());
    }
    let asked = plan
        .asked
        .iter()
        .find(|(asked, _, at)| *asked == name && *at == nth);
    match asked.map(|(_, action, _)| action) {
        None => Ok(()),
        Some(Action::Abort) => std::process::abort(),
        Some(Action::Hang) => {
            tracing::warn!(name, "hangs, as the harness asks");
            tokio::time::sleep(HANG).await;
            Ok(())
        }
        Some(Action::Fail) => {
            tracing::warn!(name, "fails, as the harness asks");
            Err(Injected(name))
        }
    }
}
