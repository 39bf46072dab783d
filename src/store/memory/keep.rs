//! Retention, without bounds on the work of one call.

use super::All;
use crate::core::ids::{AggregateKey, CaseId};
use crate::core::machine::Collection;
use crate::store::{Head, Retention};

impl All {
    pub(super) fn trim(&mut self, partition: u16, keep: &Retention) {
        let part = self.parts.entry(partition).or_default();
        for source in part.sources.values_mut() {
            source.marks.retain(|_, mark| mark.expires > keep.now);
        }
        self.rows.retain(|_, (home, row)| {
            *home != partition || row.expires.is_none_or(|expires| expires >= keep.now)
        });
        for id in self.closed_cases(partition, keep) {
            self.rows.remove(&(Collection::Cases, id.clone()));
            self.rows.remove(&(Collection::Escalations, id.clone()));
            let part = self.parts.entry(partition).or_default();
            if let Some(case) = CaseId::parse(&id) {
                part.timeline.remove(&case);
                let escalation = AggregateKey::escalation(case, partition);
                part.aggregates.remove(&escalation.name);
            }
        }
        self.trim_journal(partition, keep);
    }

    fn closed_cases(&self, partition: u16, keep: &Retention) -> Vec<String> {
        let field = |value: &str| ("state", value.to_owned());
        self.rows
            .values()
            .filter(|(home, row)| {
                *home == partition
                    && row.collection == Collection::Cases
                    && row.at < keep.cases_before
                    && row.fields.contains(&field("closed"))
            })
            .map(|(_, row)| row.id.clone())
            .filter(|id| {
                let escalation = self.rows.get(&(Collection::Escalations, id.clone()));
                let resolved =
                    escalation.is_none_or(|(_, row)| row.fields.contains(&field("resolved")));
                let waiting = self.parts.get(&partition).is_some_and(|part| {
                    part.aggregates
                        .get(&format!("escalation/{id}"))
                        .is_some_and(|(_, due)| due.is_some())
                });
                resolved && !waiting
            })
            .collect()
    }

    fn trim_journal(&mut self, partition: u16, keep: &Retention) {
        let part = self.parts.entry(partition).or_default();
        while let Some(oldest) = part.journal.first_entry() {
            let row = oldest.get();
            if row.seq > keep.journal_through || row.at >= keep.journal_before {
                break;
            }
            let row = oldest.remove();
            part.anchor = Head {
                seq: row.seq,
                hash: row.hash.clone(),
            };
            let kept = row.case.filter(|case| {
                self.rows
                    .contains_key(&(Collection::Cases, case.to_string()))
            });
            if let Some(case) = kept {
                part.timeline.entry(case).or_default().push(row);
            }
        }
    }
}
