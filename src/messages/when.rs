//! Instants as people read them: in their own zone, with the day only where it is not obvious. Without it
//! a deadline in UTC would make somebody in Berlin answer an hour too late.

use jiff::ZonedDateTime;
use jiff::tz::TimeZone;

use crate::core::time::Timestamp;

/// A person's zone and how it is called in a sentence.
#[derive(Clone, Debug)]
pub struct Zone {
    zone: TimeZone,
    /// `Berlin time`, `UTC`.
    pub label: String,
}

impl Zone {
    /// An unknown name means UTC, and the label says so.
    pub fn named(name: &str) -> Self {
        match TimeZone::get(name) {
            Ok(zone) if name.contains('/') => {
                let city = name.rsplit('/').next().unwrap_or(name).replace('_', " ");
                let label = match name.starts_with("Etc/") {
                    true => city,
                    false => format!("{city} time"),
                };
                Self { zone, label }
            }
            Ok(zone) => Self {
                zone,
                label: name.to_owned(),
            },
            Err(_) => Self {
                zone: TimeZone::UTC,
                label: "UTC".to_owned(),
            },
        }
    }

    fn local(&self, at: Timestamp) -> ZonedDateTime {
        let instant =
            jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::MAX);
        instant.to_zoned_datetime(self.zone.clone())
    }

    /// `10:02`
    pub fn clock(&self, at: Timestamp) -> String {
        self.local(at).strftime("%H:%M").to_string()
    }

    /// `Tue 24 Nov, 10:02`
    pub fn moment(&self, at: Timestamp) -> String {
        self.local(at).strftime("%a %-d %b, %H:%M").to_string()
    }

    /// The clock when it is the same day as `other`, else with the day.
    pub fn near(&self, at: Timestamp, other: Timestamp) -> String {
        if self.local(at).date() == self.local(other).date() {
            self.clock(at)
        } else {
            self.moment(at)
        }
    }

    /// `10:02 to 10:40`; one reading when both are the same minute.
    pub fn span(&self, first: Timestamp, last: Timestamp) -> String {
        let (from, to) = (self.near(first, last), self.near(last, first));
        if from == to {
            return from;
        }
        format!("{from} to {to}")
    }

    /// `Tue 24 Nov, 10:02 to 10:40`
    pub fn dated_span(&self, first: Timestamp, last: Timestamp) -> String {
        let (from, to) = (self.moment(first), self.near(last, first));
        if from == self.moment(last) {
            return from;
        }
        format!("{from} to {to}")
    }
}
