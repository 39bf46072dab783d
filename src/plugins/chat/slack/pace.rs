//! How fast we speak to Slack, so that it never has to refuse: one message a second to a person, a cap for the whole
//! workspace, the tier of each method, and the silence that a 429 asked for. Short waits are sat out here; for a long
//! one the caller is sent away, so that a flood of small questions cannot hold up an urgent one: all who are sent away
//! come back at the same moment, the most urgent first, and until then nobody takes the place that they wait for.

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

    /// Only silence that is asked for holds it up.
    pub fn unpaced(method: &str) -> Self {
        Self::new(method, 0, 1)
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
    /// When those come back who were sent away.
    crowded: Instant,
}

impl Mark {
    fn new(at: Instant) -> Self {
        Self {
            full: at,
            blocked: at,
            crowded: at,
        }
    }

    fn wait(&self, limit: &Limit, now: Instant) -> Duration {
        let spare = limit.every * limit.burst.saturating_sub(1);
        let turn = self.full.checked_sub(spare).unwrap_or(now);
        turn.max(self.blocked).saturating_duration_since(now)
    }
}

impl Pace {
    /// Takes a turn under every limit, waiting for it briefly. `Err`: do not call, come back after this long.
    pub async fn turn(&self, limits: &[Limit]) -> Result<(), Duration> {
        let wait = self.take(limits, Instant::now())?;
        if wait.is_zero() {
            return Ok(());
        }
        tokio::time::sleep(wait).await;
        // Meanwhile Slack may have asked for silence.
        match self.silence(limits, Instant::now()) {
            left if left.is_zero() => Ok(()),
            left => Err(left),
        }
    }

    fn silence(&self, limits: &[Limit], now: Instant) -> Duration {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let blocked = limits.iter().filter_map(|limit| marks.get(&limit.key));
        let left = blocked.map(|mark| mark.blocked.saturating_duration_since(now));
        left.max().unwrap_or_default()
    }

    fn take(&self, limits: &[Limit], now: Instant) -> Result<Duration, Duration> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() > MANY {
            marks.retain(|_, mark| mark.full > now || mark.blocked > now);
        }
        let mut wait = Duration::ZERO;
        let mut away = Duration::ZERO;
        for limit in limits {
            let Some(mark) = marks.get_mut(&limit.key) else {
                continue;
            };
            let own = mark.wait(limit, now);
            if own > LONGEST_INSIDE && mark.crowded <= now {
                mark.crowded = now + (own - LONGEST_INSIDE).max(LONGEST_INSIDE);
            }
            if !own.is_zero() {
                away = away.max(mark.crowded.saturating_duration_since(now));
            }
            wait = wait.max(own);
        }
        if !away.is_zero() {
            return Err(away);
        }
        for limit in limits {
            let mark = marks.entry(limit.key.clone()).or_insert(Mark::new(now));
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
        let mark = marks
            .entry(key.to_owned())
            .or_insert_with(|| Mark::new(Instant::now()));
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
        assert_eq!(pace.take(&limit(), now), Err(Duration::from_secs(2)));
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
    fn who_was_sent_away_comes_back_before_anybody_new_is_let_in() {
        let (pace, now) = (Pace::default(), Instant::now());
        let limit = || [Limit::new("all", 1_000, 1)];
        let at = |ms: u64| now + Duration::from_millis(ms);
        for waits in [0, 1, 2] {
            assert_eq!(pace.take(&limit(), now), Ok(Duration::from_secs(waits)));
        }
        assert_eq!(pace.take(&limit(), now), Err(Duration::from_secs(2)));
        // There would be room within two seconds, but somebody waits for it.
        let newcomer = pace.take(&limit(), at(1_500));
        assert_eq!(newcomer, Err(Duration::from_millis(500)));
        assert!(pace.take(&limit(), at(2_000)).is_ok());
    }

    #[tokio::test]
    async fn silence_that_is_asked_for_is_kept_by_those_too_who_wait_inside() {
        let pace = Pace::default();
        let limit = || [Limit::new("all", 100, 1)];
        assert!(pace.turn(&limit()).await.is_ok());
        let inside = limit();
        let refused = async { pace.block("all", Duration::from_secs(5)) };
        let (turn, ()) = tokio::join!(pace.turn(&inside), refused);
        assert!(turn.is_err_and(|wait| wait > Duration::from_secs(4)));
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
