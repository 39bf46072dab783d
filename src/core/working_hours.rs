//! Working time: a question of Friday afternoon must not come due while its employee is at the lake.
//!
//! [`deadline`] answers "when has this much working time passed?" in the employee's own zone. The
//! answer is the earliest such instant, so it may be exactly the end of a window. Where the zone's
//! clock jumps at the edge of a window, the smaller window is taken: late rather than early.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::policy::WorkingHours;
use super::time::Timestamp;

/// How far ahead windows are looked for. A wait that does not fit is no real one; it runs on as plain
/// time from there, so that nothing ever searches without end (every day a holiday, for instance).
const HORIZON_DAYS: usize = 20 * 366;

/// The zone of that IANA name, or UTC: names are validated when the config is read, but a directory may
/// bring any word, and a wrong word must not cost a deadline.
pub fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// The earliest instant at which `wait` of working time has passed since `start`. With no working time
/// configured at all, `wait` is plain time. Whether working hours apply is the caller's affair.
pub fn deadline(
    start: Timestamp,
    wait: Duration,
    zone: &TimeZone,
    hours: &WorkingHours,
) -> Timestamp {
    let local = jiff::Timestamp::from_millisecond(start.as_millis()).map(|t| zone.to_datetime(t));
    let Ok(local) = local else {
        return start.after(wait);
    };
    if wait.is_zero() || !hours.days.contains(&true) || hours.end <= hours.start {
        return start.after(wait);
    }
    let mut rest = wait;
    let mut reached = start;
    let mut date = local.date();
    for _ in 0..HORIZON_DAYS {
        if let Some((opens, closes)) = window(date, zone, hours) {
            let from = opens.max(reached);
            let room = closes.since(from);
            if rest <= room {
                return from.after(rest);
            }
            rest -= room;
            reached = reached.max(closes);
        }
        match date.tomorrow() {
            Ok(next) => date = next,
            Err(_) => break,
        }
    }
    reached.after(rest)
}

/// The working time of one date, if it has any.
fn window(date: Date, zone: &TimeZone, hours: &WorkingHours) -> Option<(Timestamp, Timestamp)> {
    let weekday = usize::try_from(date.weekday().to_monday_zero_offset()).ok()?;
    if !hours.days[weekday] || hours.holidays.contains(&date) {
        return None;
    }
    let opens = instant(date.to_datetime(hours.start), zone, Edge::Opens)?;
    let closes = instant(date.to_datetime(hours.end), zone, Edge::Closes)?;
    (opens < closes).then_some((opens, closes))
}

enum Edge {
    Opens,
    Closes,
}

/// When the zone's clock shows `local`. A time that happens twice opens late and closes early; one that
/// is jumped over becomes the jump itself, so that a date that a zone left out (Samoa, 30 December
/// 2011) has an empty window instead of its neighbour's.
fn instant(local: DateTime, zone: &TimeZone, edge: Edge) -> Option<Timestamp> {
    let at = match (zone.to_ambiguous_timestamp(local).offset(), edge) {
        (AmbiguousOffset::Unambiguous { offset }, _) => offset.to_timestamp(local).ok()?,
        (AmbiguousOffset::Fold { before, .. }, Edge::Closes) => before.to_timestamp(local).ok()?,
        (AmbiguousOffset::Fold { after, .. }, Edge::Opens) => after.to_timestamp(local).ok()?,
        (AmbiguousOffset::Gap { after, .. }, _) => {
            let just_before = after.to_timestamp(local).ok()?;
            zone.following(just_before).next()?.timestamp()
        }
    };
    Some(Timestamp::from_millis(at.as_millisecond()))
}
