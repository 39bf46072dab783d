//! How fast we speak to Slack, so that it never has to refuse: one message a second to a person, a cap for the whole
//! workspace, the tier of each method, and the silence that a 429 asked for. Short waits are sat out here; for a long
//! one the caller is sent away, so that a flood of small questions cannot hold up an urgent one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Longer than this nobody waits inside: the Messenger keeps the order by urgency better than a sleeping call.
const LONGEST_INSIDE: Duration = Duration::from_secs(2);
/// Above this many, marks that no longer hold anybody up are forgotten.
const MANY: usize = 2_000;

/// One limit: `key` names what is limited.
pub(super) struct Limit {
    pub key: String,
    pub every: Duration,
    pub burst: u32,
}

impl Limit {
    pub fn new(key: impl Into<String>, every_ms: u64, burst: u32) -> Self {
        Self {
            key: key.into(),
            every: Duration::from_millis(every_ms),
            burst,
        }
    }
}

#[derive(Default)]
pub(super) struct Pace {
    marks: Mutex<HashMap<String, Mark>>,
}

struct Mark {
    /// When the bucket is whole again.
    full: Instant,
    blocked: Instant,
}

impl Pace {
    /// Takes a turn under every limit, waiting for it briefly. `Err`: no turn was taken, come back after this long.
    pub async fn turn(&self, limits: &[Limit]) -> Result<(), Duration> {
        let wait = self.take(limits, Instant::now())?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    fn take(&self, limits: &[Limit], now: Instant) -> Result<Duration, Duration> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() > MANY {
            marks.retain(|_, mark| mark.full > now || mark.blocked > now);
        }
        let wait = limits
            .iter()
            .filter_map(|limit| {
                let mark = marks.get(&limit.key)?;
                let spare = limit.every * limit.burst.saturating_sub(1);
                let turn = mark.full.checked_sub(spare).unwrap_or(now);
                Some(turn.max(mark.blocked).saturating_duration_since(now))
            })
            .max()
            .unwrap_or_default();
        if wait > LONGEST_INSIDE {
            return Err(wait);
        }
        for limit in limits {
            let mark = marks.entry(limit.key.clone()).or_insert(Mark {
                full: now,
                blocked: now,
            });
            mark.full = mark.full.max(now + wait) + limit.every;
        }
        Ok(wait)
    }

    /// An answer came: whatever time the call took on its way, the next under `limit` is a whole interval after it.
    pub fn answered(&self, limit: &Limit) {
        let next = Instant::now() + limit.every;
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mark) = marks.get_mut(&limit.key)
            && limit.burst == 1
        {
            mark.full = mark.full.max(next);
        }
    }

    /// Slack asked for silence under this key.
    pub fn block(&self, key: &str, wait: Duration) {
        let until = Instant::now() + wait;
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = marks.entry(key.to_owned()).or_insert(Mark {
            full: until,
            blocked: until,
        });
        mark.blocked = mark.blocked.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_message_to_one_person_waits_and_a_third_is_sent_away() {
        let (pace, now) = (Pace::default(), Instant::now());
        let limit = || [Limit::new("alice", 1_500, 1)];
        assert_eq!(pace.take(&limit(), now), Ok(Duration::ZERO));
        assert_eq!(pace.take(&limit(), now), Ok(Duration::from_millis(1_500)));
        assert_eq!(pace.take(&limit(), now), Err(Duration::from_secs(3)));
        let bob = [Limit::new("bob", 1_500, 1)];
        assert_eq!(pace.take(&bob, now), Ok(Duration::ZERO));
    }

    #[test]
    fn a_burst_is_spent_and_earned_again() {
        let (pace, now) = (Pace::default(), Instant::now());
        let limit = || [Limit::new("all", 1_000, 3)];
        for _ in 0..3 {
            assert_eq!(pace.take(&limit(), now), Ok(Duration::ZERO));
        }
        assert_eq!(pace.take(&limit(), now), Ok(Duration::from_secs(1)));
        let later = now + Duration::from_secs(10);
        for _ in 0..3 {
            assert_eq!(pace.take(&limit(), later), Ok(Duration::ZERO));
        }
    }

    #[test]
    fn silence_that_was_asked_for_is_kept_under_that_key_only() {
        let pace = Pace::default();
        pace.block("alice", Duration::from_secs(30));
        let now = Instant::now();
        assert!(pace.take(&[Limit::new("alice", 1, 1)], now).is_err());
        assert!(pace.take(&[Limit::new("bob", 1, 1)], now).is_ok());
    }
}
