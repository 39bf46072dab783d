//! The escalation as lists and the operator page see it: written by every commit that changes it, so
//! that a list can never show an escalation in a state it has left.

use serde::{Deserialize, Serialize};

use crate::core::alert::Severity;
use crate::core::case::{EscalationState, EscalationView};
use crate::core::ids::{CaseId, OperatorName};
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::page::PageKind;
use crate::core::time::{Timestamp, rfc3339};

use super::state::Life;

/// The body of a row of [`Collection::Escalations`]; its fields are `state` and `kind`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EscalationRow {
    pub id: CaseId,
    pub kind: PageKind,
    /// `None`: it is about no case.
    pub case: Option<CaseId>,
    pub state: EscalationState,
    pub level: u32,
    pub round: u32,
    pub urgency: Severity,
    #[serde(with = "rfc3339")]
    pub opened_at: Timestamp,
    pub partition: u16,
    pub acknowledged_by: Option<OperatorName>,
    pub resolved_by: Option<OperatorName>,
    pub reason: Option<String>,
    pub summary: String,
    pub notes: Vec<String>,
    pub related: Vec<CaseId>,
    pub url: String,
    #[serde(with = "rfc3339::option")]
    pub last_page_at: Option<Timestamp>,
}

impl EscalationRow {
    pub fn new(life: &Life, partition: u16) -> Self {
        let raise = life.round();
        let view = life.view();
        Self {
            id: life.id,
            kind: raise.kind,
            case: raise.case.as_ref().map(|case| case.id),
            state: view.state,
            level: view.level,
            round: raise.round,
            urgency: raise.urgency,
            opened_at: life.opened_at,
            partition,
            acknowledged_by: view.acknowledged_by,
            resolved_by: view.resolved_by,
            reason: view.reason,
            summary: raise.summary.clone(),
            notes: life.notes_of(raise),
            related: raise.related.clone(),
            url: raise.url.clone(),
            last_page_at: life.last_page_at,
        }
    }

    pub fn view(&self) -> EscalationView {
        EscalationView {
            state: self.state,
            level: self.level,
            acknowledged_by: self.acknowledged_by.clone(),
            resolved_by: self.resolved_by.clone(),
            reason: self.reason.clone(),
        }
    }

    pub fn put(&self) -> RowChange {
        RowChange::Put(Row {
            collection: Collection::Escalations,
            id: self.id.to_string(),
            at: self.opened_at,
            fields: vec![
                ("state", self.state.name().to_owned()),
                ("kind", kind_name(self.kind).to_owned()),
            ],
            body: serde_json::to_string(self).expect("a row of plain fields is JSON"),
            expires: None,
        })
    }
}

fn kind_name(kind: PageKind) -> &'static str {
    match kind {
        PageKind::Case => "case",
        PageKind::Flood => "flood",
        PageKind::Operations => "operations",
        PageKind::Test => "test",
    }
}
