//! Times that contradict each other: an answer due after the end, a snooze where none may be, a repeat
//! that outlives the memory of its first.

use std::time::Duration;

use crate::config::Problems;
use crate::config::build::{dedup, times, working_hours};
use crate::config::raw::{RawConfig, RawRule};
use crate::core::alert::Severity;

/// DESIGN section 2: a dedup mark must outlive the longest case by a week.
const DEDUP_MARGIN: Duration = Duration::from_secs(7 * 24 * 3600);
const NO_CRITICAL_SNOOZE: &str = r#"expected "0s": a critical alert is never snoozed"#;

pub fn severities(raw: &RawConfig, problems: &mut Problems<'_>) {
    let mut longest = Duration::ZERO;
    for severity in Severity::ALL {
        let times = times(raw, severity);
        let table = format!("severity.{}", severity.name());
        longest = longest.max(times.ceiling);
        answer_in_time(
            problems,
            &table,
            Some(times.answer_within),
            Some(times.ceiling),
        );
        if severity == Severity::Critical && !times.snooze.is_zero() {
            problems.add(format!("{table}.snooze"), NO_CRITICAL_SNOOZE);
        }
    }
    for rule in &raw.rules {
        longest = longest.max(rule.ceiling.as_ref().map_or(Duration::ZERO, |c| c.0));
    }
    let wanted = longest.saturating_add(DEDUP_MARGIN);
    if dedup(raw) < wanted {
        let message = format!(
            "expected at least {} (the longest ceiling and 7 days), or a producer's repeat would be asked again",
            days(wanted)
        );
        problems.add("retention.dedup", message);
    }
}

pub fn rules(raw: &RawConfig, problems: &mut Problems<'_>) {
    for (nth, rule) in raw.rules.iter().enumerate() {
        let table = format!("rules[{nth}]");
        rule_times(raw, rule, &table, problems);
        if rule
            .severity
            .as_ref()
            .is_some_and(|s| s.0 == Severity::Critical)
            && rule.snooze.as_ref().is_some_and(|wait| !wait.0.is_zero())
        {
            problems.add(format!("{table}.snooze"), NO_CRITICAL_SNOOZE);
        }
        if let (Some(snooze), Some(max)) = (&rule.snooze, &rule.snooze_max)
            && snooze.0 > max.0
        {
            problems.add(
                format!("{table}.snooze"),
                "longer than snooze_max, expected at most that",
            );
        }
        if rule.withdraw_on_resolve
            && rule
                .severity
                .as_ref()
                .is_some_and(|s| s.0 >= Severity::High)
        {
            let message =
                "never for high or critical: an intruder only has to stop for five minutes";
            problems.add(format!("{table}.withdraw_on_resolve"), message);
        }
    }
}

/// A rule's own times among each other, and with its severity's when it fixes one.
fn rule_times(raw: &RawConfig, rule: &RawRule, table: &str, problems: &mut Problems<'_>) {
    let base = rule
        .severity
        .as_ref()
        .map(|severity| times(raw, severity.0));
    let answer = rule.answer_within.as_ref().map(|wait| wait.0);
    let ceiling = rule.ceiling.as_ref().map(|wait| wait.0);
    if answer.is_some() || ceiling.is_some() {
        let answer = answer.or(base.as_ref().map(|times| times.answer_within));
        let ceiling = ceiling.or(base.as_ref().map(|times| times.ceiling));
        answer_in_time(problems, table, answer, ceiling);
    }
}

/// Rounded up, so that what it says is enough.
fn days(wait: Duration) -> String {
    format!("\"{}d\"", wait.as_secs().div_ceil(24 * 3600))
}

fn answer_in_time(
    problems: &mut Problems<'_>,
    table: &str,
    answer: Option<Duration>,
    ceiling: Option<Duration>,
) {
    if answer.is_some_and(|wait| wait.is_zero()) {
        problems.add(
            format!("{table}.answer_within"),
            "expected more than no time to answer",
        );
    }
    if ceiling.is_some_and(|wait| wait.is_zero()) {
        problems.add(
            format!("{table}.ceiling"),
            "expected more than no time to answer",
        );
    }
    if let (Some(answer), Some(ceiling)) = (answer, ceiling)
        && answer > ceiling
    {
        let message = "longer than the ceiling, expected at most the ceiling";
        problems.add(format!("{table}.answer_within"), message);
    }
}

pub fn hours(raw: &RawConfig, problems: &mut Problems<'_>) {
    let hours = working_hours(raw);
    if hours.start >= hours.end {
        let message = "expected a time before the end of working hours";
        problems.add("working_hours.start", message);
    }
    if !hours.days.contains(&true) {
        problems.add(
            "working_hours.days",
            "expected at least one of mon, tue, wed, thu, fri, sat, sun",
        );
    }
}
