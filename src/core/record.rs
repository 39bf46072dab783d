//! The journal's entries: what happened, to which case, by whom. Append-only, hash-chained.

use serde::{Deserialize, Serialize};

use super::case::CaseView;
use super::ids::{CaseId, EmployeeId, OperatorName, SourceId};
use super::time::{Timestamp, rfc3339};

/// Who made something happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    Bot,
    Employee(EmployeeId),
    Operator(OperatorName),
    Source(SourceId),
}

impl Who {
    /// `bot`, `employee alice`, `operator sam`, `source local`.
    pub fn label(&self) -> String {
        match self {
            Self::Bot => "bot".to_owned(),
            Self::Employee(id) => format!("employee {id}"),
            Self::Operator(name) => format!("operator {name}"),
            Self::Source(id) => format!("source {id}"),
        }
    }
}

/// One transition. `event` is a stable snake_case past tense: `case_opened`, `alert_folded`,
/// `question_sent`, `answer_given`, `code_refused`, `case_closed`, `snooze_created`,
/// `snooze_lengthened`, `escalation_opened`, `page_sent`, `escalation_acknowledged` ...
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    pub event: String,
    pub who: Who,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub employee: Option<EmployeeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_id: Option<CaseId>,
    /// One line or the text sent, for people. Never a code, never a secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The case right after the transition, for sinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<Box<CaseView>>,
}

impl Record {
    pub fn new(at: Timestamp, event: &str, who: Who) -> Self {
        Self {
            at,
            event: event.to_owned(),
            who,
            employee: None,
            case_id: None,
            detail: String::new(),
            case: None,
        }
    }

    /// Ties the record to a case and keeps the case as it stands now.
    pub fn about(mut self, mut case: CaseView) -> Self {
        self.case_id = Some(case.id);
        self.employee.clone_from(&case.employee);
        case.evidence = Vec::new();
        self.case = Some(Box::new(case));
        self
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}
