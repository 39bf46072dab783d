//! What can happen to a conversation. Events are past tense; each has a file of its own beside this one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::alert::Alert;
use crate::core::ids::{CaseId, ChatIdentity, OperatorName, SourceId};
use crate::core::machine::{Receipt, Settlement};
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;

use super::effect::Effect;

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Numbered alerts from one source's intake, in order. Numbers already taken are skipped.
    AlertsArrived {
        source: SourceId,
        /// Shared with the intake, which delivers again what was not taken.
        alerts: Arc<[(u64, Alert)]>,
    },
    /// A button was pressed on a case's message.
    ButtonPressed {
        inbound: Inbound,
        case: CaseId,
        revision: u32,
        answer: Answer,
        /// The chat knows that it showed the case to this person. Else it may be one that somebody made up, and
        /// counts only if it is kept here; otherwise it is [`Reply::NotFound`] and nothing changes.
        shown: bool,
    },
    /// Free text in the direct chat. Six digits in a row are `[code]` before they get here.
    TextTyped { inbound: Inbound, text: Untrusted },
    /// The form came back: the explanation, and the verdict on the code that stood in it. The code
    /// itself never enters an event.
    FormSubmitted {
        inbound: Inbound,
        /// The question the form was opened for.
        case: CaseId,
        /// What the person ticked; a tick is a yes to that revision.
        ticks: Vec<Tick>,
        explanation: Untrusted,
        proof: Option<Proof>,
    },
    /// The form asked for a push to the phone instead of a code.
    PushRequested {
        inbound: Inbound,
        case: CaseId,
        ticks: Vec<Tick>,
        explanation: Untrusted,
    },
    /// Time came, or may have come.
    Woken,
    /// An effect of ours ended.
    EffectSettled {
        effect: Effect,
        settlement: Settlement,
    },
    CaseClosed {
        operator: OperatorName,
        case: CaseId,
        reason: Untrusted,
    },
    NoteAdded {
        operator: OperatorName,
        case: CaseId,
        text: Untrusted,
    },
    /// The code lock was lifted by an operator.
    Unlocked { operator: OperatorName },
    /// A factor was enrolled or replaced. `sealed_seed` goes into the `factors` row of the commit.
    FactorEnrolled {
        by: Enroller,
        factor: String,
        sealed_seed: String,
    },
    SnoozeEnded {
        operator: OperatorName,
        snooze: String,
    },
}

/// Facts about one inbound chat event, all from the platform and not from its payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inbound {
    /// Unique per event; a redelivery carries the same one.
    pub event_id: String,
    /// Who acted, as the platform says.
    pub from: ChatIdentity,
    /// When, by the platform's clock.
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Yes,
    No,
    NotSure,
    SomeoneElse,
    /// On a closed case, for 24 hours.
    NotMeAfterAll,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    pub case: CaseId,
    pub revision: u32,
}

impl Answer {
    pub const ALL: [Answer; 5] = [
        Self::Yes,
        Self::No,
        Self::NotSure,
        Self::SomeoneElse,
        Self::NotMeAfterAll,
    ];

    /// The word that stands for it in buttons, forms and checkpoints.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::NotSure => "not_sure",
            Self::SomeoneElse => "someone_else",
            Self::NotMeAfterAll => "not_me_after_all",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|answer| answer.name() == word)
    }
}

/// The Verifier's word on one use of a factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// A TOTP code: the time step it belongs to, `None` when it matches none in the window.
    /// Single use is the Conversation's affair: a step not above the last accepted one is refused.
    Totp { step: Option<u64> },
    /// The code could not be checked now (clocks differ, seed unreadable): nothing is counted.
    Unavailable { reason: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Enroller {
    Operator(OperatorName),
    /// The employee, through a one-time link that this operator made.
    Link {
        made_by: OperatorName,
    },
}

/// What the sender of an event is told once the step is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Taken; what follows is seen in the chat.
    Taken,
    /// A question that already has its answer, or a redelivered event: nothing changed.
    AlreadyAnswered,
    /// The person may not answer that (not theirs, or unknown): nothing changed.
    NotYours,
    /// The proof was not good; what to tell the person, ready to be shown in the form.
    ProofRefused { message: String },
    /// It no longer applies (the case is closed, the snooze is gone).
    NoLongerApplies { why: String },
    /// No such case, snooze or lock here.
    NotFound,
}

impl Event {
    pub fn name(&self) -> &'static str {
        match self {
            Self::AlertsArrived { .. } => "alerts_arrived",
            Self::ButtonPressed { .. } => "button_pressed",
            Self::TextTyped { .. } => "text_typed",
            Self::FormSubmitted { .. } => "form_submitted",
            Self::PushRequested { .. } => "push_requested",
            Self::Woken => "woken",
            Self::EffectSettled { .. } => "effect_settled",
            Self::CaseClosed { .. } => "case_closed",
            Self::NoteAdded { .. } => "note_added",
            Self::Unlocked { .. } => "unlocked",
            Self::FactorEnrolled { .. } => "factor_enrolled",
            Self::SnoozeEnded { .. } => "snooze_ended",
        }
    }

    /// The receipt of a settled send, for tests and simulators.
    pub fn sent(effect: Effect, message_id: &str, at: Timestamp) -> Self {
        let receipt = Receipt {
            message_id: message_id.to_owned(),
            at,
            text: String::new(),
        };
        Self::EffectSettled {
            effect,
            settlement: Settlement::Done(receipt),
        }
    }
}
