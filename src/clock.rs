//! The only place that reads clocks. Deadlines are wall-clock instants, so a wall clock that jumps
//! would fire them early or move them; `now` therefore runs on the boot clock (which counts through
//! suspend) from an anchor, follows small corrections of the system clock slowly, and a large one only
//! after it has stood for a minute (DESIGN section 7).

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::core::time::Timestamp;

/// Differences below this are slewed; others are a step of the system clock.
const SLEW_BELOW_MS: i64 = 1_000;
/// A step must have lasted this long before it is believed: long enough for a wrong NTP answer to be
/// corrected, short enough that deadlines are right again soon.
const ADOPT_AFTER_MS: i64 = 60_000;
/// Slewing changes the clock by at most one part in this many (5 ms a second).
const SLEW_DIVISOR: i64 = 200;
/// No TOTP code is checked while `now` and the system clock are further apart than this.
pub const TOTP_MAX_SKEW: Duration = Duration::from_secs(5);

/// Cheap to clone; all clones are one clock.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System(Arc<System>),
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct System {
    /// Added to the boot clock this is `now`.
    offset_ms: AtomicI64,
    steps: AtomicI64,
    /// Only ever tried, never waited for: while somebody else is at it, the offset is good enough.
    discipline: Mutex<Discipline>,
}

/// For tests and simulations: time stands until it is advanced.
#[derive(Debug)]
struct Manual {
    now_ms: AtomicI64,
    skew_ms: AtomicI64,
}

impl Clock {
    /// Anchored to the system clock as it stands.
    pub fn system() -> Self {
        let discipline = Discipline::new(boot_ms(), system_ms());
        Self(Source::System(Arc::new(System {
            offset_ms: AtomicI64::new(discipline.offset_ms()),
            steps: AtomicI64::new(0),
            discipline: Mutex::new(discipline),
        })))
    }

    /// A clock that stands still at `now` until [`Clock::advance`].
    pub fn fixed(now: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Manual {
            now_ms: AtomicI64::new(now.as_millis()),
            skew_ms: AtomicI64::new(0),
        })))
    }

    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System(system) => Timestamp::from_millis(system.now_ms()),
            Source::Manual(manual) => Timestamp::from_millis(manual.now_ms.load(Ordering::SeqCst)),
        }
    }

    /// The system clock as it is, for TOTP: authenticator apps follow the same one.
    pub fn system_now(&self) -> Timestamp {
        match &self.0 {
            Source::System(_) => Timestamp::from_millis(system_ms()),
            Source::Manual(manual) => Timestamp::from_millis(
                manual.now_ms.load(Ordering::SeqCst) + manual.skew_ms.load(Ordering::SeqCst),
            ),
        }
    }

    /// How many milliseconds the system clock is ahead of `now`.
    pub fn skew(&self) -> i64 {
        match &self.0 {
            Source::System(system) => {
                let now = system.now_ms();
                system_ms() - now
            }
            Source::Manual(manual) => manual.skew_ms.load(Ordering::SeqCst),
        }
    }

    /// Whether the two clocks agree well enough to check codes.
    pub fn is_good_for_codes(&self) -> bool {
        u128::from(self.skew().unsigned_abs()) <= TOTP_MAX_SKEW.as_millis()
    }

    /// How many steps of the system clock were adopted since the start, for readyz.
    pub fn steps(&self) -> i64 {
        match &self.0 {
            Source::System(system) => system.steps.load(Ordering::Relaxed),
            Source::Manual(_) => 0,
        }
    }

    /// Moves a [`Clock::fixed`] on; the system's clock cannot be moved.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(manual) = &self.0 {
            let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            manual.now_ms.fetch_add(by, Ordering::SeqCst);
        }
    }

    /// Lets the system clock of a [`Clock::fixed`] differ from its `now`.
    pub fn set_skew(&self, skew_ms: i64) {
        if let Source::Manual(manual) = &self.0 {
            manual.skew_ms.store(skew_ms, Ordering::SeqCst);
        }
    }
}

impl System {
    fn now_ms(&self) -> i64 {
        let boot = boot_ms();
        if let Ok(mut discipline) = self.discipline.try_lock() {
            let step = discipline.feed(boot, system_ms());
            self.offset_ms
                .store(discipline.offset_ms(), Ordering::Release);
            if let Some(step_ms) = step {
                self.steps.fetch_add(1, Ordering::Relaxed);
                metrics::counter!("securitybot_clock_steps_total").increment(1);
                tracing::warn!(
                    step_ms,
                    "the system clock was set; deadlines follow it from now on"
                );
            }
        }
        boot + self.offset_ms.load(Ordering::Acquire)
    }
}

/// The rule by which the clock follows the system clock; fed with readings, reads nothing itself.
#[derive(Debug)]
pub struct Discipline {
    offset_ms: i64,
    /// Up to where slewing has used up the time that passed.
    slewed_to: i64,
    /// A step that has not lasted long enough yet: since when, and how large.
    apart: Option<(i64, i64)>,
}

impl Discipline {
    /// `boot_ms`: milliseconds of a clock that only ever goes forward; `system_ms`: since the epoch.
    pub fn new(boot_ms: i64, system_ms: i64) -> Self {
        Self {
            offset_ms: system_ms - boot_ms,
            slewed_to: boot_ms,
            apart: None,
        }
    }

    pub fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// Takes one reading of both clocks. `Some(ms)`: a step of that size was adopted now.
    pub fn feed(&mut self, boot_ms: i64, system_ms: i64) -> Option<i64> {
        let difference = system_ms - (boot_ms + self.offset_ms);
        if difference.abs() < SLEW_BELOW_MS {
            self.apart = None;
            self.slew(boot_ms, difference);
            return None;
        }
        self.slewed_to = boot_ms;
        match self.apart {
            // Another jump is another difference: it starts anew.
            Some((since, size)) if (difference - size).abs() < SLEW_BELOW_MS => {
                if boot_ms - since < ADOPT_AFTER_MS {
                    return None;
                }
                self.offset_ms += difference;
                self.apart = None;
                Some(difference)
            }
            _ => {
                self.apart = Some((boot_ms, difference));
                None
            }
        }
    }

    fn slew(&mut self, boot_ms: i64, difference: i64) {
        let allowed = (boot_ms - self.slewed_to) / SLEW_DIVISOR;
        if allowed <= 0 {
            return;
        }
        self.offset_ms += difference.clamp(-allowed, allowed);
        self.slewed_to += allowed * SLEW_DIVISOR;
    }
}

fn boot_ms() -> i64 {
    let reading = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    reading.tv_sec * 1_000 + reading.tv_nsec / 1_000_000
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the clock: everybody else gets the time from here"
)]
fn system_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since_epoch.map_or_else(
        |before| -i128::try_from(before.duration().as_millis()).unwrap_or(0),
        |after| i128::try_from(after.as_millis()).unwrap_or(0),
    );
    i64::try_from(millis).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: i64 = 1_795_000_000_000;

    /// Feeds one reading a second for `seconds` with the system clock `ahead` of true time.
    fn run(discipline: &mut Discipline, from: i64, seconds: i64, ahead: i64) -> Vec<(i64, i64)> {
        let mut steps = Vec::new();
        for second in from..from + seconds {
            let boot = second * 1_000;
            if let Some(step) = discipline.feed(boot, EPOCH + boot + ahead) {
                steps.push((second, step));
            }
        }
        steps
    }

    #[test]
    fn a_small_correction_is_slewed_and_never_runs_backwards() {
        let mut discipline = Discipline::new(0, EPOCH);
        let mut last = EPOCH;
        for boot in (0..60_000).step_by(7) {
            assert_eq!(discipline.feed(boot, EPOCH + boot - 200), None);
            let now = boot + discipline.offset_ms();
            assert!(now >= last, "time ran backwards");
            last = now;
        }
        assert_eq!(discipline.offset_ms(), EPOCH - 200);
    }

    #[test]
    fn a_jump_is_adopted_once_it_has_lasted_a_minute_and_not_before() {
        let mut discipline = Discipline::new(0, EPOCH);
        assert_eq!(run(&mut discipline, 0, 10, 0), []);
        assert_eq!(run(&mut discipline, 10, 100, 3_600_000), [(70, 3_600_000)]);
        assert_eq!(discipline.offset_ms(), EPOCH + 3_600_000);
    }

    #[test]
    fn a_jump_that_is_taken_back_or_changes_leaves_no_trace() {
        let mut discipline = Discipline::new(0, EPOCH);
        assert_eq!(run(&mut discipline, 0, 50, -7_200_000), []);
        assert_eq!(run(&mut discipline, 50, 5, 0), []);
        assert_eq!(run(&mut discipline, 55, 50, -7_200_000), []);
        assert_eq!(run(&mut discipline, 105, 50, 90_000), []);
        assert_eq!(discipline.offset_ms(), EPOCH);
    }

    #[test]
    fn the_system_clock_agrees_with_itself_and_a_fixed_one_stands() {
        let clock = Clock::system();
        assert!(clock.is_good_for_codes());
        let first = clock.now();
        assert!(clock.clone().now() >= first);

        let fixed = Clock::fixed(Timestamp::from_millis(EPOCH));
        fixed.clone().advance(Duration::from_secs(90));
        assert_eq!(fixed.now(), Timestamp::from_millis(EPOCH + 90_000));
        fixed.set_skew(-5_001);
        assert!(!fixed.is_good_for_codes());
        assert_eq!(fixed.system_now(), Timestamp::from_millis(EPOCH + 84_999));
    }
}
