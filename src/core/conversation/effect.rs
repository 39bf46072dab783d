//! What a conversation wants done. Effects carry data; their text is made when they are sent
//! (`messages/`), in the language and zone of the person.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::core::alert::Severity;
use crate::core::case::Outcome;
use crate::core::ids::{CaseId, ChatIdentity, EmployeeId};
use crate::core::machine;
use crate::core::page::Raise;
use crate::core::policy::Explanation;
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// A new direct message.
    Send(Outgoing),
    /// Replaces a message that the chat accepted earlier.
    Edit {
        message_id: String,
        /// When the chat took it first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sent_at: Option<Timestamp>,
        message: Outgoing,
    },
    /// Raises an existing escalation's next round (a late no, a lock). Idempotent by round.
    RaiseAgain(Box<Raise>),
    /// Asks for approval on the phone; its receipt's message id is the transaction.
    StartPush(Box<PushRequest>),
    /// Waits for the answer on the phone; its receipt's message id is a [`PushVerdict`]'s name.
    AwaitPush {
        case: CaseId,
        challenge: CaseId,
        transaction: String,
        /// It is not waited for any longer than this.
        until: Timestamp,
    },
}

/// One push: what the phone shows, and for which challenge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PushRequest {
    pub challenge: CaseId,
    /// The question the form was opened for.
    pub case: CaseId,
    /// The name at the push service.
    pub user: String,
    /// Label and value, in the order in which the phone shows them.
    pub info: Vec<(String, String)>,
}

/// What was answered on the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushVerdict {
    Approved,
    Refused,
    /// Refused and reported as fraud.
    Fraud,
    /// Nobody answered, or the service gave up.
    Unanswered,
}

impl PushVerdict {
    pub fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Fraud => "fraud",
            Self::Unanswered => "unanswered",
        }
    }

    /// A word that is none approves nothing.
    pub fn parse(word: &str) -> Self {
        [Self::Approved, Self::Refused, Self::Fraud]
            .into_iter()
            .find(|verdict| verdict.name() == word)
            .unwrap_or(Self::Unanswered)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outgoing {
    /// The identity the case was opened for; an answer must come from the same one.
    pub to: ChatIdentity,
    pub employee: EmployeeId,
    /// The case it is about; `None` for greetings, help, status.
    pub case: Option<CaseId>,
    pub urgency: Severity,
    pub content: Content,
}

/// Every kind of message an employee can see. `messages/` has a template for each, by
/// [`Content::name`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Content {
    /// Once a day before the first question.
    Greeting {
        name: String,
    },
    /// The question with its live buttons.
    Question {
        question: Box<Question>,
    },
    /// The question after a yes: the same message with the form for explanation and code.
    ProofForm {
        question: Box<Question>,
        form: Form,
    },
    /// The question after its end: no live answer buttons.
    Ended {
        question: Box<Question>,
        ended: Ended,
    },
    /// Half of the answer time is over. No buttons of its own.
    Reminder {
        question: Box<Question>,
        deadline: Timestamp,
    },
    /// A typed answer could not be understood or matched. No buttons of its own.
    Clarification {
        reason: Unclear,
        open: Vec<OpenQuestion>,
    },
    /// A yes needs its explanation first (typed answers).
    AskWhy {
        reference: String,
    },
    /// "someone else" needs the name.
    AskWho {
        reference: String,
    },
    /// A yes counts once proved: points to the form.
    AskProof {
        reference: String,
    },
    /// The code was not accepted.
    CodeRefused {
        why: CodeRefusal,
        locked_until: Option<Timestamp>,
    },
    AlreadyAnswered {
        reference: String,
        outcome: Option<Outcome>,
        closed_by: Option<String>,
    },
    /// What came of a case, said in a line of its own (thanks, "the security team was paged" ...).
    Told {
        question: Box<Question>,
        ended: Ended,
    },
    /// `help` and `hi`.
    Help {
        name: String,
        enrolled: bool,
    },
    /// `status`.
    Status {
        open: Vec<OpenQuestion>,
        snoozes: Vec<StatusSnooze>,
        enrolled: bool,
    },
    /// `report`: which of these was not you?
    ReportWhich {
        recent: Vec<OpenQuestion>,
    },
    /// A report or late no was taken and paged.
    ReportTaken {
        reference: Option<String>,
    },
    /// `snooze 2h`: the form that lengthens one, what came of it, or why there is none.
    Snooze {
        step: SnoozeStep,
        /// The one it is about; all that stand while it is not clear which.
        snoozes: Vec<StatusSnooze>,
        /// As it was typed: `2h`.
        asked: Option<String>,
        /// Lengthened until then, once it is proved.
        until: Option<Timestamp>,
        /// The rule allows less than was asked for.
        capped: bool,
    },
    /// `test`: the practice question, in whatever state it is. It looks like a question and is no case.
    Practice {
        step: PracticeStep,
        question: Box<Question>,
        /// What was typed already.
        given: Option<Untrusted>,
    },
    FactorEnrolled {
        by_operator: Option<String>,
    },
    Unlocked,
}

impl Content {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Greeting { .. } => "greeting",
            Self::Question { .. } => "question",
            Self::ProofForm { .. } => "proof_form",
            Self::Ended { .. } => "ended",
            Self::Reminder { .. } => "reminder",
            Self::Clarification { .. } => "clarification",
            Self::AskWhy { .. } => "ask_why",
            Self::AskWho { .. } => "ask_who",
            Self::AskProof { .. } => "ask_proof",
            Self::CodeRefused { .. } => "code_refused",
            Self::AlreadyAnswered { .. } => "already_answered",
            Self::Told { .. } => "told",
            Self::Help { .. } => "help",
            Self::Status { .. } => "status",
            Self::ReportWhich { .. } => "report_which",
            Self::ReportTaken { .. } => "report_taken",
            Self::Snooze { .. } => "snooze",
            Self::Practice { .. } => "practice",
            Self::FactorEnrolled { .. } => "factor_enrolled",
            Self::Unlocked => "unlocked",
        }
    }
}

/// What an employee may see of a case; hidden fields are already gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    pub case: CaseId,
    pub reference: String,
    pub revision: u32,
    pub rule: String,
    pub severity: Severity,
    pub title: Untrusted,
    pub description: Untrusted,
    pub reason: Untrusted,
    pub url: Option<Untrusted>,
    /// Host, source address, ...: in the alert's words.
    pub context: Vec<(String, Untrusted)>,
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// IANA zone for showing times.
    pub time_zone: String,
    pub deadline: Option<Timestamp>,
}

/// The form after a yes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Form {
    pub explanation: Explanation,
    /// What was already typed.
    pub given: Option<Untrusted>,
    /// Every asked, unanswered question, the one answered with yes first.
    pub ticks: Vec<TickOption>,
    /// A code can prove it.
    #[serde(default = "yes")]
    pub code: bool,
    /// A push to the phone can prove it.
    #[serde(default)]
    pub push: bool,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TickOption {
    pub case: CaseId,
    pub reference: String,
    pub revision: u32,
    pub title: Untrusted,
    pub ticked: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    pub outcome: Outcome,
    pub explanation: Option<Untrusted>,
    pub at: Timestamp,
    /// A verified yes made a snooze until then.
    pub snoozed_until: Option<Timestamp>,
    /// *That wasn't me after all* is offered until then.
    pub not_me_until: Option<Timestamp>,
    pub closed_by: Option<String>,
    /// It was called off after all (late no).
    pub revoked: bool,
    /// The page's urgency, if one went out.
    pub paged: Option<Severity>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenQuestion {
    pub case: CaseId,
    pub reference: String,
    pub title: Untrusted,
    pub deadline: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusSnooze {
    /// Of the case whose verified yes made it.
    #[serde(default)]
    pub reference: String,
    pub rule: String,
    pub context: Vec<(String, Untrusted)>,
    pub until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnoozeStep {
    /// Nothing of theirs is snoozed.
    NoSnooze,
    /// It was not said, or not plainly, how much longer.
    HowLong,
    WhichOne,
    /// It lasts as long as its rule allows already.
    AtCap,
    /// Its rule takes no code.
    NoCode,
    /// The form waits for the code.
    Form,
    Lengthened,
    /// The form is over: too late, replaced, or the snooze ended meanwhile.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PracticeStep {
    Asked,
    /// A yes waits for its code.
    Proving,
    Verified,
    Denied,
    NotSure,
    SomeoneElse,
    /// A yes without a second factor.
    NoFactor,
    /// A yes that only a push could prove.
    ByPush,
    /// Too late, replaced, or locked after wrong codes.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unclear {
    /// Yes and no at once, a question back, neither.
    Ambiguous,
    /// More than one live question and no reference code.
    WhichOne,
    /// The question changed after the answer was written.
    Changed,
    /// There is no open question.
    NothingOpen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeRefusal {
    Wrong,
    AlreadyUsed,
    Locked,
    Unavailable,
    ExplanationMissing,
    NotEnrolled,
    /// Nobody answered the push.
    PushUnanswered,
    /// No push could be sent or waited for.
    PushUnavailable,
}

impl machine::Effect for Effect {
    fn name(&self) -> &'static str {
        match self {
            Self::Send(_) => "send",
            Self::Edit { .. } => "edit",
            Self::RaiseAgain(_) => "raise_again",
            Self::StartPush(_) => "start_push",
            Self::AwaitPush { .. } => "await_push",
        }
    }

    fn lane(&self) -> Cow<'static, str> {
        match self {
            Self::Send(_) | Self::Edit { .. } => "chat".into(),
            Self::RaiseAgain(_) => "escalation".into(),
            // One that is still waited for holds up no other.
            Self::StartPush(push) => format!("factor/{}", push.challenge).into(),
            Self::AwaitPush { challenge, .. } => format!("factor/{challenge}").into(),
        }
    }

    fn case(&self) -> Option<CaseId> {
        match self {
            Self::Send(message) | Self::Edit { message, .. } => message.case,
            // What is on somebody's phone is waited for also after the case: it may be refused there.
            Self::RaiseAgain(_) | Self::StartPush(_) | Self::AwaitPush { .. } => None,
        }
    }
}
