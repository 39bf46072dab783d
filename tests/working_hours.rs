//! Deadlines in working time: never before their time, never on a Sunday, in every zone there is.

#![allow(clippy::unwrap_used, reason = "a test may fail that way")]

use std::time::{Duration, Instant};

use jiff::civil::{DateTime, date, time};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use proptest::prelude::*;
use securitybot::core::policy::WorkingHours;
use securitybot::core::time::Timestamp;
use securitybot::core::working_hours::{deadline, zone};

const HOUR: Duration = Duration::from_secs(3600);

fn at(zone: &TimeZone, local: DateTime) -> Timestamp {
    let zoned = zone
        .to_ambiguous_zoned_datetime(local)
        .compatible()
        .unwrap();
    Timestamp::from_millis(zoned.timestamp().as_millisecond())
}

fn local(zone: &TimeZone, at: Timestamp) -> DateTime {
    zone.to_datetime(jiff::Timestamp::from_millisecond(at.as_millis()).unwrap())
}

fn is_working(zone: &TimeZone, hours: &WorkingHours, at: Timestamp) -> bool {
    let local = local(zone, at);
    hours.days[usize::try_from(local.weekday().to_monday_zero_offset()).unwrap()]
        && !hours.holidays.contains(&local.date())
        && local.time() >= hours.start
        && local.time() < hours.end
}

fn inside_or_at_the_end(zone: &TimeZone, hours: &WorkingHours, at: Timestamp) -> bool {
    is_working(zone, hours, at) || is_working(zone, hours, at.before(Duration::from_millis(1)))
}

/// Working time between two instants, counted minute by minute: slow, and obviously right.
fn counted(zone: &TimeZone, hours: &WorkingHours, from: Timestamp, to: Timestamp) -> Duration {
    let minute = Duration::from_secs(60);
    let mut sum = Duration::ZERO;
    let mut at = from;
    while at < to {
        if is_working(zone, hours, at) {
            sum += minute;
        }
        at = at.after(minute);
    }
    sum
}

fn berlin(local: DateTime) -> Timestamp {
    at(&zone("Europe/Berlin"), local)
}

#[test]
fn a_question_of_friday_afternoon_comes_due_on_monday() {
    let due = deadline(
        berlin(date(2026, 11, 20).at(17, 0, 0, 0)),
        2 * HOUR,
        &zone("Europe/Berlin"),
        &WorkingHours::default(),
    );
    assert_eq!(due, berlin(date(2026, 11, 23).at(10, 0, 0, 0)));
}

#[test]
fn wait_that_fits_exactly_ends_with_the_window_and_not_the_next_morning() {
    let hours = WorkingHours::default();
    let due = deadline(
        berlin(date(2026, 11, 20).at(16, 0, 0, 0)),
        2 * HOUR,
        &zone("Europe/Berlin"),
        &hours,
    );
    assert_eq!(due, berlin(date(2026, 11, 20).at(18, 0, 0, 0)));
}

#[test]
fn holidays_and_weekends_do_not_count() {
    let hours = WorkingHours {
        holidays: vec![date(2026, 12, 25), date(2026, 12, 28)],
        ..WorkingHours::default()
    };
    let due = deadline(
        berlin(date(2026, 12, 24).at(20, 0, 0, 0)),
        Duration::from_secs(60),
        &zone("Europe/Berlin"),
        &hours,
    );
    assert_eq!(due, berlin(date(2026, 12, 29).at(9, 1, 0, 0)));
}

#[test]
fn a_night_shift_across_the_lost_hour_works_an_hour_less() {
    let hours = WorkingHours {
        start: time(1, 0, 0, 0),
        end: time(5, 0, 0, 0),
        days: [true; 7],
        holidays: Vec::new(),
    };
    // 29 March 2026: 02:00 to 03:00 does not exist in Berlin.
    let start = berlin(date(2026, 3, 29).at(1, 0, 0, 0));
    let due = deadline(start, 3 * HOUR, &zone("Europe/Berlin"), &hours);
    assert_eq!(due, berlin(date(2026, 3, 29).at(5, 0, 0, 0)));
    // 25 October 2026: 02:00 to 03:00 happens twice.
    let start = berlin(date(2026, 10, 25).at(1, 0, 0, 0));
    let due = deadline(start, 5 * HOUR, &zone("Europe/Berlin"), &hours);
    assert_eq!(due, berlin(date(2026, 10, 25).at(5, 0, 0, 0)));
}

#[test]
fn the_date_that_samoa_left_out_has_no_working_time() {
    let apia = zone("Pacific/Apia");
    // Thursday 29 December 2011 was followed by Saturday the 31st.
    let start = at(&apia, date(2011, 12, 29).at(17, 0, 0, 0));
    let due = deadline(start, 2 * HOUR, &apia, &WorkingHours::default());
    assert_eq!(local(&apia, due), date(2012, 1, 2).at(10, 0, 0, 0));
}

#[test]
fn no_working_time_at_all_is_plain_time_and_a_wall_of_holidays_ends() {
    let start = berlin(date(2026, 11, 20).at(17, 0, 0, 0));
    let never = WorkingHours {
        days: [false; 7],
        ..WorkingHours::default()
    };
    let backwards = WorkingHours {
        start: time(18, 0, 0, 0),
        end: time(9, 0, 0, 0),
        ..WorkingHours::default()
    };
    for hours in [never, backwards] {
        let due = deadline(start, 2 * HOUR, &zone("Europe/Berlin"), &hours);
        assert_eq!(due, start.after(2 * HOUR));
    }
    let began = Instant::now();
    let absurd = Duration::from_millis(u64::MAX);
    let due = deadline(
        start,
        absurd,
        &zone("Europe/Berlin"),
        &WorkingHours::default(),
    );
    assert!(due > start);
    assert!(began.elapsed() < Duration::from_secs(5), "bounded work");
}

#[test]
fn an_unknown_zone_is_utc() {
    assert_eq!(zone("Mars/Olympus"), TimeZone::UTC);
}

fn hours() -> impl Strategy<Value = WorkingHours> {
    (0i8..23, 1i8..10, any::<[bool; 7]>(), 0i16..400).prop_map(|(start, length, days, holiday)| {
        let end = (start + length).min(23);
        WorkingHours {
            start: time(start, 0, 0, 0),
            end: time(end, 30, 0, 0),
            days,
            holidays: vec![
                date(2026, 1, 1).saturating_add(jiff::Span::new().days(i64::from(holiday))),
            ],
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every zone of the bundled database, at each of its changes since 2000 and at a random instant.
    #[test]
    fn deadlines_hold_in_every_zone(
        hours in hours(),
        random_minute in 0i64..(30 * 366 * 24 * 60),
        wait_minutes in 1u64..(40 * 60),
    ) {
        let database = TimeZoneDatabase::bundled();
        let names: Vec<String> = database.available().map(|n| n.to_string()).collect();
        prop_assert!(names.len() > 400, "the bundled database is there");
        let base = jiff::Timestamp::from_second(946_684_800).unwrap();
        for name in names {
            let zone = database.get(&name).unwrap();
            let pick = base + jiff::SignedDuration::from_mins(random_minute);
            let mut starts = vec![pick];
            // The change of clocks next to the random instant, from some hours before it.
            if let Some(change) = zone.following(pick).next() {
                let before = jiff::SignedDuration::from_mins(random_minute % (48 * 60));
                starts.push(change.timestamp() - before);
            }
            for start in starts {
                let millis = start.as_millisecond();
                let start = Timestamp::from_millis(millis - millis.rem_euclid(60_000));
                let wait = Duration::from_secs(60 * wait_minutes);
                let due = deadline(start, wait, &zone, &hours);
                let said = format!("{name}: {start} + {wait:?} = {due}");
                prop_assert!(due >= start.after(wait), "early: {}", said);
                let longer = deadline(start, wait + Duration::from_secs(60), &zone, &hours);
                prop_assert!(longer > due, "not monotone: {}", said);
                if !hours.days.contains(&true) {
                    prop_assert_eq!(due, start.after(wait), "{}", said);
                    continue;
                }
                prop_assert!(inside_or_at_the_end(&zone, &hours, due), "outside: {}", said);
            }
        }
    }

    /// Against the slow count, where changes of clocks are frequent and odd.
    #[test]
    fn exactly_the_wait_is_worked(
        hours in hours(),
        zone_name in prop::sample::select(vec![
            "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca",
            "America/Sao_Paulo", "Asia/Gaza", "Antarctica/Troll", "UTC", "Pacific/Apia",
        ]),
        minute in 0i64..(366 * 24 * 60),
        wait_minutes in 1u64..(20 * 60),
    ) {
        prop_assume!(hours.days.contains(&true));
        let zone = zone(zone_name);
        let start = Timestamp::from_millis(1_767_225_600_000 + minute * 60_000);
        let wait = Duration::from_secs(60 * wait_minutes);
        let due = deadline(start, wait, &zone, &hours);
        let worked = counted(&zone, &hours, start, due);
        prop_assert!(worked >= wait, "early: only {worked:?} of {wait:?} worked");
        // An edge of the window inside a repeated hour is given up: at most that hour, per change.
        prop_assert!(worked <= wait + 2 * HOUR, "late: {worked:?} for {wait:?}");
    }
}
