//! A case as the outside sees it: the JSON of the API, of pages, records and the `cases` rows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::alert::Severity;
use super::context::Words;
use super::ids::{CaseId, EmployeeId, OperatorName, RuleName, SourceId};
use super::machine::{Collection, Row};
use super::text::{Untrusted, shared};
use super::time::{Timestamp, rfc3339};

/// How a case ended. It is reached once and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Verified,
    Denied,
    Unsure,
    NoAnswer,
    VerificationFailed,
    Unverifiable,
    UnknownEmployee,
    Unreachable,
    OptedOut,
    Snoozed,
    /// By a named human.
    Closed,
    /// A rule that pages without asking.
    Paged,
    /// A rule that an operator put in shadow.
    Shadow,
    /// A fault of the bot itself.
    Failed,
}

impl Outcome {
    pub const ALL: [Outcome; 14] = [
        Self::Verified,
        Self::Denied,
        Self::Unsure,
        Self::NoAnswer,
        Self::VerificationFailed,
        Self::Unverifiable,
        Self::UnknownEmployee,
        Self::Unreachable,
        Self::OptedOut,
        Self::Snoozed,
        Self::Closed,
        Self::Paged,
        Self::Shadow,
        Self::Failed,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Denied => "denied",
            Self::Unsure => "unsure",
            Self::NoAnswer => "no_answer",
            Self::VerificationFailed => "verification_failed",
            Self::Unverifiable => "unverifiable",
            Self::UnknownEmployee => "unknown_employee",
            Self::Unreachable => "unreachable",
            Self::OptedOut => "opted_out",
            Self::Snoozed => "snoozed",
            Self::Closed => "closed",
            Self::Paged => "paged",
            Self::Shadow => "shadow",
            Self::Failed => "failed",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.name() == word)
    }

    /// Promise P3: every other end must have a page.
    pub fn needs_page(self) -> bool {
        !matches!(
            self,
            Self::Verified | Self::Snoozed | Self::Closed | Self::Shadow
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseState {
    /// Opened; the chat has not accepted the question yet.
    Queued,
    Asked,
    /// A yes waits for its proof.
    Verifying,
    Closed,
}

impl CaseState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Asked => "asked",
            Self::Verifying => "verifying",
            Self::Closed => "closed",
        }
    }
}

/// One alert of a case, in a case's JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRef {
    pub source: SourceId,
    #[serde(deserialize_with = "shared")]
    pub id: Arc<str>,
    #[serde(with = "rfc3339::option")]
    pub occurred_at: Option<Timestamp>,
}

/// What one alert said, kept with the case for operators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub alert: AlertRef,
    pub title: Untrusted,
    pub description: Untrusted,
    pub reason: Untrusted,
    pub url: Option<Untrusted>,
}

/// The JSON of `GET /v1/cases/{id}` without the timeline (CONTRACT, "Cases"). `escalation` is joined
/// when read, `evidence` is shown only for a single case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseView {
    pub id: CaseId,
    pub reference: String,
    pub employee: Option<EmployeeId>,
    pub principal: Untrusted,
    pub rule: RuleName,
    pub title: Untrusted,
    pub severity: Severity,
    pub context: Words,
    pub state: CaseState,
    pub outcome: Option<Outcome>,
    pub alerts: Vec<AlertRef>,
    pub count: u64,
    pub revision: u32,
    pub snoozed_by: Option<CaseId>,
    pub explanation: Option<Untrusted>,
    pub factor: Option<String>,
    #[serde(with = "rfc3339")]
    pub opened_at: Timestamp,
    #[serde(with = "rfc3339::option")]
    pub asked_at: Option<Timestamp>,
    #[serde(with = "rfc3339::option")]
    pub deadline: Option<Timestamp>,
    #[serde(with = "rfc3339::option")]
    pub answered_at: Option<Timestamp>,
    #[serde(with = "rfc3339::option")]
    pub closed_at: Option<Timestamp>,
    #[serde(default)]
    pub escalation: Option<EscalationView>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
}

impl CaseView {
    /// Its row. `None` does not happen: all of it is plain data.
    pub fn row(&self) -> Option<Row> {
        let mut fields = Vec::with_capacity(4 + self.alerts.len());
        fields.push(match &self.employee {
            Some(employee) => ("employee", employee.to_string()),
            None => ("principal", self.principal.line(200)),
        });
        fields.push(("rule", self.rule.to_string()));
        fields.push(("state", self.state.name().to_owned()));
        if let Some(outcome) = self.outcome {
            fields.push(("outcome", outcome.name().to_owned()));
        }
        fields.extend(
            self.alerts
                .iter()
                .map(|alert| ("alert", alert.id.to_string())),
        );
        Some(Row {
            collection: Collection::Cases,
            id: self.id.to_string(),
            at: self.opened_at,
            fields,
            body: serde_json::to_string(self).ok()?,
            expires: None,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalationState {
    Open,
    Acknowledged,
    Resolved,
}

impl EscalationState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

/// The escalation of a case, in a case's JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EscalationView {
    pub state: EscalationState,
    pub level: u32,
    pub acknowledged_by: Option<OperatorName>,
    pub resolved_by: Option<OperatorName>,
    pub reason: Option<String>,
}
