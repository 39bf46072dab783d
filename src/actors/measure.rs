//! Metrics of what is committed, and of what stands in the store: counted where the truth is written, so
//! that a number never tells of something that was lost.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use metrics::{Gauge, counter, gauge, histogram};

use crate::core::machine::Collection;
use crate::core::record::Record;
use crate::core::time::Timestamp;
use crate::store::{RowQuery, Store, StoreError};

/// Open escalations looked at for the age of the oldest.
const MAX_LOOKED_AT: usize = 5_000;
/// Rules with a label of their own, for each thread that counts. A producer that makes up rule names must not
/// fill our memory and Prometheus's with series.
const MAX_RULES: usize = 200;

thread_local! {
    static RULES: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// The label of a rule: its name, or `other` when too many had one already.
pub fn rule_label(rule: &str) -> String {
    RULES.with_borrow_mut(|known| {
        if !known.contains(rule) {
            if known.len() >= MAX_RULES {
                return "other".to_owned();
            }
            known.insert(rule.to_owned());
        }
        rule.to_owned()
    })
}

/// What an aggregate in memory adds to the depth of all outboxes; leaves with it.
pub struct OutboxDepth {
    gauge: Gauge,
    counted: usize,
}

impl OutboxDepth {
    pub fn of(kind: &str) -> Self {
        Self {
            gauge: gauge!("securitybot_outbox_effects", "kind" => kind.to_owned()),
            counted: 0,
        }
    }

    pub fn set(&mut self, depth: usize) {
        if depth != self.counted {
            self.gauge.increment(depth as f64 - self.counted as f64);
            self.counted = depth;
        }
    }
}

impl Drop for OutboxDepth {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Counts the records of a commit that stands.
pub fn count(records: &[Record]) {
    for record in records {
        counter!("securitybot_records_total", "event" => record.event.clone()).increment(1);
        let Some(case) = &record.case else { continue };
        if record.event != "case_closed" {
            continue;
        }
        let outcome = case.outcome.map_or("none", |outcome| outcome.name());
        let rule = rule_label(case.rule.as_str());
        counter!("securitybot_cases_closed_total", "rule" => rule.clone(), "outcome" => outcome)
            .increment(1);
        if let (Some(asked), Some(answered)) = (case.asked_at, case.answered_at) {
            histogram!("securitybot_time_to_answer_seconds", "rule" => rule)
                .record(answered.since(asked).as_secs_f64());
        }
    }
}

/// Reads what stands: open cases by state, escalations by state, the oldest page nobody acknowledged.
pub async fn look(store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
    for state in ["queued", "asked", "verifying"] {
        let open = store.count(Collection::Cases, "state", state).await?;
        gauge!("securitybot_open_cases", "state" => state).set(open as f64);
    }
    for state in ["open", "acknowledged"] {
        let standing = store.count(Collection::Escalations, "state", state).await?;
        gauge!("securitybot_escalations", "state" => state).set(standing as f64);
    }
    let age = oldest_open(store, now).await?;
    gauge!("securitybot_oldest_unacknowledged_page_seconds").set(age.as_secs_f64());
    Ok(())
}

async fn oldest_open(store: &dyn Store, now: Timestamp) -> Result<Duration, StoreError> {
    let mut query = RowQuery {
        collection: Collection::Escalations,
        fields: vec![("state", "open".to_owned())],
        since: None,
        until: None,
        limit: 500,
        cursor: None,
    };
    let mut oldest = Duration::ZERO;
    for _ in 0..MAX_LOOKED_AT / query.limit {
        let page = store.rows(&query).await?;
        if let Some(last) = page.rows.last() {
            oldest = now.since(last.at);
        }
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    Ok(oldest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_rules_share_one_label() {
        assert_eq!(rule_label("sudo"), "sudo");
        let labels: BTreeSet<_> = (0..10_000).map(|n| rule_label(&format!("r{n}"))).collect();
        assert_eq!(labels.len(), MAX_RULES);
        assert_eq!(rule_label("sudo"), "sudo");
        assert_eq!(rule_label("new"), "other");
    }
}
