//! Snoozes: what a verified yes keeps quiet, for how long, and how that ends. Only `verified` calls
//! [`Snooze::after_verified`]; a denied proof can therefore never mute anything.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::alert::Severity;
use crate::core::context::{ContextKey, Words};
use crate::core::ids::{CaseId, EmployeeId, RuleName};
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::time::{Timestamp, rfc3339};

use super::open_case::Case;

/// Suppressed cases remembered for a later denial; more are counted only.
const MAX_SUPPRESSED: usize = 200;
/// A late no within this time lists what was suppressed, even when the snooze is over.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// The JSON of `GET /v1/snoozes` (CONTRACT, "Cases, escalations, snoozes").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnoozeRow {
    pub id: String,
    pub employee: EmployeeId,
    pub rule: RuleName,
    pub context: Words,
    pub severity: Severity,
    pub case: CaseId,
    #[serde(with = "rfc3339")]
    pub from: Timestamp,
    #[serde(with = "rfc3339")]
    pub until: Timestamp,
    pub suppressed: u64,
    /// When the employee last lengthened it with a code (`snooze 2h`).
    #[serde(default, with = "rfc3339::option")]
    pub lengthened_at: Option<Timestamp>,
}

/// A snooze in the state; its id is that of the case whose verified yes made it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snooze {
    pub case: CaseId,
    pub key: ContextKey,
    pub rule: RuleName,
    pub context: Words,
    /// The severity proved; a graver alert is asked about.
    pub severity: Severity,
    pub from: Timestamp,
    pub until: Timestamp,
    /// When the employee last lengthened it, proved by a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengthened_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
    #[serde(default)]
    pub suppressed: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suppressed_cases: Vec<CaseId>,
}

impl Snooze {
    /// The snooze of a case that was just verified; `None` where policy or context allow none.
    pub fn after_verified(case: &Case, now: Timestamp) -> Option<Self> {
        let length = case.policy.times.snooze.min(case.policy.snooze_max);
        let context = case.snooze_words();
        if length.is_zero() || context.is_empty() {
            return None;
        }
        Some(Self {
            case: case.id,
            key: case.key.clone(),
            rule: case.rule.clone(),
            context,
            severity: case.severity(),
            from: now,
            until: now.after(length),
            lengthened_at: None,
            revoked: false,
            suppressed: 0,
            suppressed_cases: Vec::new(),
        })
    }

    pub fn stands(&self, now: Timestamp) -> bool {
        !self.revoked && now < self.until
    }

    /// It must stand at delivery and have begun before the alert was accepted: what came in before
    /// the yes was not covered by it.
    pub fn covers(
        &self,
        key: &ContextKey,
        severity: Severity,
        accepted_at: Timestamp,
        now: Timestamp,
    ) -> bool {
        self.stands(now) && self.from < accepted_at && &self.key == key && severity <= self.severity
    }

    pub fn count(&mut self, suppressed: CaseId) {
        self.suppressed += 1;
        if self.suppressed_cases.len() < MAX_SUPPRESSED {
            self.suppressed_cases.push(suppressed);
        }
    }

    /// When it can be forgotten.
    pub fn forgotten_at(&self) -> Timestamp {
        let remembered = self.from.after(REMEMBERED);
        if self.revoked {
            remembered
        } else {
            self.until.max(remembered)
        }
    }

    pub fn row(&self, employee: &EmployeeId) -> Option<RowChange> {
        let row = SnoozeRow {
            id: self.case.to_string(),
            employee: employee.clone(),
            rule: self.rule.clone(),
            context: self.context.clone(),
            severity: self.severity,
            case: self.case,
            from: self.from,
            until: self.until,
            suppressed: self.suppressed,
            lengthened_at: self.lengthened_at,
        };
        Some(RowChange::Put(Row {
            collection: Collection::Snoozes,
            id: row.id.clone(),
            at: self.from,
            fields: vec![
                ("employee", employee.to_string()),
                ("context", self.key.to_string()),
            ],
            body: serde_json::to_string(&row).ok()?,
            expires: Some(self.until),
        }))
    }

    pub fn row_deleted(&self) -> RowChange {
        RowChange::Delete {
            collection: Collection::Snoozes,
            id: self.case.to_string(),
        }
    }
}
