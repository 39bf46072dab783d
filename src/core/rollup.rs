//! The hourly and daily summary, computed from journal records alone: whoever reads the same journal
//! gets the same figures, before or after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::case::{CaseView, Outcome};
use super::ids::{CaseId, RuleName};
use super::record::Record;
use super::text::Untrusted;
use super::time::Timestamp;

/// So many suppressed alerts are listed per rule; all are counted.
const SUPPRESSED_LISTED: usize = 100;
/// A question first asked longer than this before the period belongs to an earlier one, and its record
/// here is a repeat (the chat's own time may be a little before the commit's).
const ASKED_EARLIER: Duration = Duration::from_secs(60);
/// Characters of a rule's name in text for people.
const RULE_SHOWN: usize = 100;
const HOUR_MS: i64 = 3_600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    Hour,
    Day,
}

impl Period {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// The last complete hour, in UTC: `from <= t < to`.
pub fn hour_of(now: Timestamp) -> (Timestamp, Timestamp) {
    let to = now.as_millis().div_euclid(HOUR_MS) * HOUR_MS;
    (
        Timestamp::from_millis(to - HOUR_MS),
        Timestamp::from_millis(to),
    )
}

/// The last complete day, which runs from `daily_at` to `daily_at` on the clock of `zone`.
pub fn day_of(now: Timestamp, daily_at: Time, zone: &TimeZone) -> (Timestamp, Timestamp) {
    let starts = |date: jiff::civil::Date| {
        let at = zone.to_ambiguous_timestamp(date.to_datetime(daily_at));
        at.compatible()
            .map_or(now, |t| Timestamp::from_millis(t.as_millisecond()))
    };
    let today = jiff::Timestamp::from_millisecond(now.as_millis())
        .map(|t| zone.to_datetime(t).date())
        .unwrap_or_default();
    let back = |days: i64| today.saturating_sub(jiff::Span::new().days(days));
    let ends = if starts(today) <= now { 0 } else { 1 };
    (starts(back(ends + 1)), starts(back(ends)))
}

/// One period's figures while its records are read, in any number of batches.
#[derive(Clone, Debug)]
pub struct Rollup {
    period: Period,
    from: Timestamp,
    to: Timestamp,
    rules: BTreeMap<RuleName, Figures>,
}

#[derive(Clone, Debug, Default)]
struct Figures {
    asked: BTreeSet<CaseId>,
    outcomes: BTreeMap<Outcome, BTreeSet<CaseId>>,
    answer_ms: BTreeMap<CaseId, u128>,
    suppressed: BTreeSet<String>,
}

impl Rollup {
    pub fn new(period: Period, from: Timestamp, to: Timestamp) -> Self {
        Self {
            period,
            from,
            to,
            rules: BTreeMap::new(),
        }
    }

    /// Records outside the period, about no case or of no interest are passed over; one seen twice
    /// counts once.
    pub fn add(&mut self, record: &Record) {
        if record.at < self.from || record.at >= self.to {
            return;
        }
        let Some(case) = record.case.as_deref() else {
            return;
        };
        let figures = self.rules.entry(case.rule.clone()).or_default();
        match record.event.as_str() {
            "question_sent" => {
                let asked_earlier = case
                    .asked_at
                    .is_some_and(|at| at < self.from.before(ASKED_EARLIER));
                if !asked_earlier {
                    figures.asked.insert(case.id);
                }
            }
            "case_closed" => figures.close(case),
            "alert_snoozed" => figures.suppress(case),
            _ => {}
        }
    }

    /// The rollup as sinks get it (CONTRACT, "Outgoing webhooks").
    pub fn finish(self, journal_heads: BTreeMap<u16, String>) -> Value {
        let from = self.from.to_rfc3339();
        let rules = self.rules.into_iter().filter(|(_, f)| !f.is_empty());
        let rules: Vec<Value> = rules.map(|(rule, figures)| figures.json(&rule)).collect();
        json!({
            "type": "rollup",
            "id": format!("rollup/{}/{from}", self.period.name()),
            "period": self.period.name(),
            "from": from,
            "to": self.to.to_rfc3339(),
            "rules": rules,
            "journal_heads": journal_heads,
        })
    }
}

impl Figures {
    fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.outcomes.is_empty()
    }

    fn close(&mut self, case: &CaseView) {
        let Some(outcome) = case.outcome else {
            return;
        };
        if outcome == Outcome::Snoozed {
            return self.suppress(case);
        }
        self.outcomes.entry(outcome).or_default().insert(case.id);
        if let (Some(asked), Some(answered)) = (case.asked_at, case.answered_at) {
            let took = answered.since(asked).as_millis();
            self.answer_ms.insert(case.id, took);
        }
    }

    fn suppress(&mut self, case: &CaseView) {
        self.outcomes
            .entry(Outcome::Snoozed)
            .or_default()
            .insert(case.id);
        let ids = case.alerts.iter().map(|alert| alert.id.to_string());
        self.suppressed.extend(ids);
        while self.suppressed.len() > SUPPRESSED_LISTED {
            self.suppressed.pop_last();
        }
    }

    fn json(&self, rule: &RuleName) -> Value {
        let mut entry = json!({"rule": rule, "asked": self.asked.len()});
        for outcome in Outcome::ALL {
            let count = self.outcomes.get(&outcome).map_or(0, BTreeSet::len);
            entry[outcome.name()] = json!(count);
        }
        let mut took: Vec<u128> = self.answer_ms.values().copied().collect();
        took.sort_unstable();
        entry["median_answer_s"] = json!(percentile_s(&took, 50));
        entry["p95_answer_s"] = json!(percentile_s(&took, 95));
        entry["suppressed"] = json!(self.suppressed);
        entry
    }
}

/// The nearest-rank percentile in whole seconds, rounded; `None` without values.
fn percentile_s(sorted_ms: &[u128], percent: usize) -> Option<u64> {
    let rank = (sorted_ms.len() * percent).div_ceil(100);
    let value = sorted_ms.get(rank.checked_sub(1)?)?;
    u64::try_from((value + 500) / 1000).ok()
}

/// A rollup in a few lines for operators and logs. Rule names come from producers: whoever shows it
/// escapes it like any other text.
pub fn to_text(rollup: &Value) -> String {
    let text = |key: &str| rollup[key].as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!(
        "The {} from {} to {}:",
        text("period"),
        text("from"),
        text("to")
    )];
    let rules = rollup["rules"].as_array().map_or(&[][..], Vec::as_slice);
    if rules.is_empty() {
        lines.push("nothing was asked, nothing ended".to_owned());
    }
    for rule in rules {
        let mut parts = vec![format!("{} asked", rule["asked"])];
        for outcome in Outcome::ALL {
            if let Some(count) = rule[outcome.name()].as_u64().filter(|count| *count > 0) {
                parts.push(format!("{count} {}", outcome.name().replace('_', " ")));
            }
        }
        if let (Some(median), Some(p95)) = (
            rule["median_answer_s"].as_u64(),
            rule["p95_answer_s"].as_u64(),
        ) {
            parts.push(format!("answered in {median} s (95%: {p95} s)"));
        }
        let name = rule["rule"].as_str().unwrap_or_default();
        let name = Untrusted::new(name).line(RULE_SHOWN);
        lines.push(format!("{name}: {}", parts.join(", ")));
    }
    lines.join("\n")
}
