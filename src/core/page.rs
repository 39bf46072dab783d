//! A page as pagers get it, and the request that raises one.

use serde::{Deserialize, Serialize};

use super::alert::Severity;
use super::case::CaseView;
use super::ids::CaseId;
use super::policy::Ladder;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageKind {
    Case,
    /// Too many open cases of one employee.
    Flood,
    /// Something about the bot itself needs a human.
    Operations,
    Test,
}

/// What raises an escalation, or raises it again. Round 1 is written by the commit that decides it;
/// later rounds (a late no, a lock) travel as an effect and are idempotent by `round`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Raise {
    /// The case's id; a UUIDv7 of its own for what is no case.
    pub id: CaseId,
    pub kind: PageKind,
    pub round: u32,
    pub urgency: Severity,
    /// One line for a phone's lock screen: reference, who, what, answer. Plain text, already clean.
    pub summary: String,
    /// More lines for people: explanation, what a denial revoked and had suppressed, what to do.
    pub notes: Vec<String>,
    pub case: Option<Box<CaseView>>,
    pub related: Vec<CaseId>,
    /// Copied when raised: a reload does not change a running escalation.
    pub ladder: Ladder,
    pub url: String,
}

/// The JSON a pager sends (CONTRACT, "Outgoing webhooks"); `type` is always `page`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    #[serde(rename = "type")]
    pub record_type: PageTag,
    pub kind: PageKind,
    /// `{id}:{round}:{level}`: one notification however often it is retried.
    pub key: String,
    pub id: CaseId,
    pub level: u32,
    pub round: u32,
    pub repeat: u32,
    pub urgency: Severity,
    pub summary: String,
    pub notes: Vec<String>,
    pub case: Option<Box<CaseView>>,
    pub related: Vec<CaseId>,
    pub url: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageTag {
    Page,
}
