//! A named operator acted: closed a case, left a note, lifted a lock. The first commit wins, so a close
//! after the answer says that it no longer applies.

use crate::core::case::Outcome;
use crate::core::ids::{CaseId, OperatorName};
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::record::Who;
use crate::core::text::Untrusted;

use super::effect::Content;
use super::event::{Enroller, Reply};
use super::pages::End;
use super::turn::Turn;

/// Operators' reasons and notes, as they stand in the journal.
const WORDS: usize = 2000;

impl Turn<'_> {
    pub fn case_closed(
        &mut self,
        operator: &OperatorName,
        id: CaseId,
        reason: &Untrusted,
    ) -> Reply {
        let Some(case) = self.next.cases.get(&id) else {
            // The caller found its row, so it was closed and is no longer kept here.
            return Reply::NoLongerApplies {
                why: "already closed".to_owned(),
            };
        };
        if let Some(ended) = &case.ended {
            let by = ended.closed_by.as_ref();
            return Reply::NoLongerApplies {
                why: by.map_or_else(
                    || format!("already closed: {}", ended.outcome.name()),
                    |by| format!("already closed by {by}"),
                ),
            };
        }
        let because = format!("closed by {operator}: {}", reason.line(WORDS));
        let end = End::because(Outcome::Closed, because).by(Who::Operator(operator.clone()));
        self.end(
            id,
            End {
                closed_by: Some(operator.to_string()),
                ..end
            },
        );
        Reply::Taken
    }

    /// Also for cases that are no longer in the state: the timeline is the journal's.
    pub fn note_added(&mut self, operator: &OperatorName, id: CaseId, text: &Untrusted) -> Reply {
        let who = Who::Operator(operator.clone());
        self.record(id, "note_added", who, text.plain(WORDS));
        Reply::Taken
    }

    pub fn unlocked(&mut self, operator: &OperatorName) -> Reply {
        let now = self.now();
        if !self.next.is_locked(now) && self.next.refused == 0 {
            return Reply::NoLongerApplies {
                why: "the employee is not locked".to_owned(),
            };
        }
        self.next.locked_until = None;
        self.next.refused = 0;
        let who = Who::Operator(operator.clone());
        self.record_person("employee_unlocked", who, "codes count again");
        self.say(None, Content::Unlocked);
        Reply::Taken
    }

    /// A factor was enrolled, or replaced one that was lost. The sealed seed is a row of this commit.
    pub fn factor_enrolled(&mut self, by: &Enroller, factor: &str, sealed: &str) -> Reply {
        let Some(employee) = self.next.employee().cloned() else {
            return Reply::NotFound;
        };
        let replaced = !self.next.factors.insert(factor.to_owned());
        self.rows.push(RowChange::Put(Row {
            collection: Collection::Factors,
            id: employee.to_string(),
            at: self.now(),
            fields: vec![("employee", employee.to_string())],
            body: serde_json::json!({ "factor": factor, "sealed": sealed }).to_string(),
            expires: None,
        }));
        let (who, by_operator, how) = match by {
            Enroller::Operator(name) => (
                Who::Operator(name.clone()),
                Some(name.to_string()),
                String::new(),
            ),
            Enroller::Link { made_by } => (
                Who::Employee(employee),
                None,
                format!(" through a link made by {made_by}"),
            ),
        };
        let what = if replaced { "replaced" } else { "enrolled" };
        self.record_person("factor_enrolled", who, format!("{factor} {what}{how}"));
        self.say(None, Content::FactorEnrolled { by_operator });
        Reply::Taken
    }
}
