//! How fast one session may act: a stuck key or a script must not bury the conversation of an employee, or the store.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::core::time::Timestamp;

/// A person never needs more; a burst covers a form, some buttons and reconnects at once.
const PER_SECOND: f64 = 5.0;
const BURST: f64 = 20.0;
/// Above this many, sessions that have been still for long enough to be full again are forgotten.
const MANY_SESSIONS: usize = 1_000;

/// Token buckets by session.
#[derive(Debug, Default)]
pub(super) struct Limits {
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    by_session: HashMap<String, Bucket>,
    /// How many were left when they were last looked through: only twice as many are worth another look.
    kept: usize,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Timestamp,
}

impl Limits {
    /// `Err` says how long to wait.
    pub(super) fn take(&self, session: &str, now: Timestamp) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Buckets { by_session, kept } = &mut *buckets;
        if by_session.len() > MANY_SESSIONS.max(2 * *kept) {
            let full_again = Duration::from_secs_f64(BURST / PER_SECOND);
            by_session.retain(|_, bucket| now.since(bucket.at) < full_again);
            *kept = by_session.len();
        }
        let bucket = by_session.entry(session.to_owned()).or_insert(Bucket {
            left: BURST,
            at: now,
        });
        let earned = now.since(bucket.at).as_secs_f64() * PER_SECOND;
        bucket.left = (bucket.left + earned).min(BURST);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(Duration::from_secs(1));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}
