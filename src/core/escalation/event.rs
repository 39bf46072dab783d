//! What can happen to an escalation, and what it wants done.

use serde::{Deserialize, Serialize};

use crate::core::case::CaseView;
use crate::core::ids::{CaseId, OperatorName, PagerName};
use crate::core::machine::{self, Settlement};
use crate::core::page::{Page, Raise};

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Round 1 of what is no case, or a later round of anything. A round already known changes nothing.
    Raised(Box<Raise>),
    Woken,
    Acknowledged {
        operator: OperatorName,
    },
    Resolved {
        operator: OperatorName,
        reason: String,
    },
    /// An operator gave it to somebody: a name for people, already clean.
    Assigned {
        operator: OperatorName,
        to: String,
    },
    EffectSettled {
        effect: Effect,
        settlement: Settlement,
    },
}

impl Event {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Raised(_) => "raised",
            Self::Woken => "woken",
            Self::Acknowledged { .. } => "acknowledged",
            Self::Resolved { .. } => "resolved",
            Self::Assigned { .. } => "assigned",
            Self::EffectSettled { .. } => "effect_settled",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Taken,
    /// It is resolved already, or somebody else holds the acknowledgement.
    NoLongerApplies {
        why: String,
    },
    NotFound,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Send the page, or send it again to keep it alive (the pager sees the same `key` and `repeat`).
    Page { pager: PagerName, page: Box<Page> },
    /// Tell a pager that was paged under this key: somebody is on it.
    Acknowledge {
        pager: PagerName,
        page: Box<Page>,
        by: OperatorName,
    },
    /// Tell a pager that was paged under this key: the page's words have changed, nothing else has.
    Change {
        pager: PagerName,
        page: Box<Page>,
        /// Who is on it.
        acknowledged_by: Option<OperatorName>,
    },
    /// Tell a pager that was paged under this key: it is over.
    Resolve {
        pager: PagerName,
        page: Box<Page>,
        by: OperatorName,
        reason: String,
    },
}

impl Effect {
    pub fn pager(&self) -> &PagerName {
        match self {
            Self::Page { pager, .. }
            | Self::Acknowledge { pager, .. }
            | Self::Change { pager, .. }
            | Self::Resolve { pager, .. } => pager,
        }
    }

    pub fn page(&self) -> &Page {
        match self {
            Self::Page { page, .. }
            | Self::Acknowledge { page, .. }
            | Self::Change { page, .. }
            | Self::Resolve { page, .. } => page,
        }
    }

    pub fn case_view(&self) -> Option<&CaseView> {
        self.page().case.as_deref()
    }
}

impl machine::Effect for Effect {
    fn name(&self) -> &'static str {
        match self {
            Self::Page { .. } => "page",
            Self::Acknowledge { .. } => "acknowledge",
            Self::Change { .. } => "change",
            Self::Resolve { .. } => "resolve",
        }
    }

    /// One lane per pager: a pager that is down holds up nobody else.
    fn lane(&self) -> std::borrow::Cow<'static, str> {
        self.pager().to_string().into()
    }

    /// Only pages are withdrawn (by an acknowledgement or the end); what tells a pager of either never
    /// is, so it stands for no case.
    fn case(&self) -> Option<CaseId> {
        match self {
            Self::Page { page, .. } => Some(page.id),
            Self::Acknowledge { .. } | Self::Change { .. } | Self::Resolve { .. } => None,
        }
    }
}
