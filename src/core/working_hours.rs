//! Stand-in with the agreed signature: waits in calendar time.

use std::time::Duration;

use super::policy::WorkingHours;
use super::time::Timestamp;

pub fn deadline(
    start: Timestamp,
    wait: Duration,
    _zone: &jiff::tz::TimeZone,
    _hours: &WorkingHours,
) -> Timestamp {
    start.after(wait)
}
