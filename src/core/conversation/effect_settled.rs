//! An effect ended. The question's answer time starts here, with the chat's own time; what settles
//! after its case was closed has one consequence: the edit that takes its buttons away.

use crate::core::alert::Severity;
use crate::core::case::Outcome;
use crate::core::ids::CaseId;
use crate::core::machine::{Receipt, Settlement};
use crate::core::record::Who;
use crate::core::time::Timestamp;
use crate::core::working_hours;

use super::effect::{Content, Effect, Outgoing, PushVerdict};
use super::event::Reply;
use super::open_case::{Case, Phase};
use super::pages::End;
use super::turn::Turn;

impl Turn<'_> {
    pub fn effect_settled(&mut self, effect: &Effect, settlement: &Settlement) -> Reply {
        match (effect, settlement) {
            (Effect::Send(sent), Settlement::Done(receipt)) => self.sent(sent, receipt),
            (Effect::Edit { message, .. }, Settlement::Done(receipt)) => {
                self.edited(message, receipt);
            }
            (Effect::Send(sent), Settlement::Impossible { reason }) => {
                self.never_sent(sent, reason);
            }
            (Effect::Edit { message, .. }, Settlement::Impossible { reason }) => {
                self.never_edited(message, reason);
            }
            (Effect::RaiseAgain(raise), Settlement::Impossible { reason }) => {
                self.record(raise.id, "page_failed", Who::Bot, reason.clone());
            }
            (Effect::RaiseAgain(_), Settlement::Done(_)) => {}
            (Effect::StartPush(push), Settlement::Done(receipt)) => {
                self.push_sent(push, &receipt.message_id);
            }
            (Effect::StartPush(push), Settlement::Impossible { reason }) => {
                self.push_failed(push.challenge, reason);
            }
            (
                Effect::AwaitPush {
                    challenge, case, ..
                },
                Settlement::Done(receipt),
            ) => {
                self.push_answered(*challenge, *case, PushVerdict::parse(&receipt.message_id));
            }
            (Effect::AwaitPush { challenge, .. }, Settlement::Impossible { reason }) => {
                self.push_failed(*challenge, reason);
            }
        }
        Reply::Taken
    }

    fn sent(&mut self, sent: &Outgoing, receipt: &Receipt) {
        let Some(id) = sent.case else {
            return;
        };
        match &sent.content {
            content if is_request(content) => self.request_sent(sent, receipt),
            Content::Question { question } => {
                self.question_sent(id, question.revision, false, receipt);
            }
            Content::ProofForm { question, .. } => {
                self.question_sent(id, question.revision, true, receipt);
            }
            other => {
                if !receipt.text.is_empty() {
                    let detail = format!("{}: {}", other.name(), receipt.text);
                    self.record(id, "message_sent", Who::Bot, detail);
                }
            }
        }
    }

    /// `with_form`: it was sent anew after a yes, already with the form.
    fn question_sent(&mut self, id: CaseId, revision: u32, with_form: bool, receipt: &Receipt) {
        let now = self.now();
        let Some(case) = self.next.cases.get_mut(&id) else {
            return;
        };
        if case.message_id.as_ref() == Some(&receipt.message_id) {
            return;
        }
        case.message_id = Some(receipt.message_id.clone());
        case.message_at = Some(receipt.at);
        if !case.is_open() {
            self.refresh(id);
            return;
        }
        case.remember_shown(revision, receipt.at);
        if case.asked_at.is_none() {
            // A chat with a wrong clock must neither end the question early nor stretch it.
            let asked_at = receipt.at.max(case.opened_at).min(now.max(case.opened_at));
            if case.phase == Phase::Sending && asked_at >= case.ceiling {
                // Too late: it was unreachable, and the message only loses its buttons.
                return;
            }
            case.asked_at = Some(asked_at);
            if case.phase == Phase::Sending {
                case.phase = Phase::Asked;
            }
            self.start_clock(id, asked_at);
        }
        self.touched.insert(id);
        self.record(id, "question_sent", Who::Bot, receipt.text.clone());
        let stale =
            self.next.cases.get(&id).is_some_and(|c| {
                c.revision != revision || (c.phase == Phase::Verifying) != with_form
            });
        // What was decided while the chat took its time is shown now. Only that: in a chat that cannot
        // edit, an edit too many would send the question anew, for ever.
        if stale {
            self.refresh(id);
        }
    }

    /// Deadline and reminder, once and for all: policy and zone may change, they do not.
    fn start_clock(&mut self, id: CaseId, asked_at: Timestamp) {
        let zone = self.zone();
        let hours = &self.cx.world.policy.working_hours;
        let Some(case) = self.next.cases.get_mut(&id) else {
            return;
        };
        let wait = case.policy.times.answer_within;
        let in_hours = case.policy.times.working_hours && case.severity() < Severity::High;
        let after = |wait| {
            if in_hours {
                working_hours::deadline(asked_at, wait, &zone, hours)
            } else {
                asked_at.after(wait)
            }
        };
        let deadline = after(wait).min(case.ceiling);
        let half = after(wait / 2);
        let reminder = if half < deadline {
            half
        } else {
            // The ceiling cut the answer time short: half of what is left.
            asked_at.after(deadline.since(asked_at) / 2)
        };
        case.deadline = Some(deadline);
        case.reminder = (reminder < deadline).then_some(reminder);
    }

    fn edited(&mut self, message: &Outgoing, receipt: &Receipt) {
        if let (Content::Question { question } | Content::ProofForm { question, .. }, Some(case)) = (
            &message.content,
            message.case.and_then(|id| self.next.cases.get_mut(&id)),
        ) && case.is_open()
        {
            case.remember_shown(question.revision, receipt.at);
        }
    }

    fn never_sent(&mut self, sent: &Outgoing, reason: &str) {
        let Some(id) = sent.case else {
            return;
        };
        if is_request(&sent.content) {
            return;
        }
        let waits = self
            .next
            .cases
            .get(&id)
            .is_some_and(|case: &Case| case.phase == Phase::Sending);
        if waits && matches!(sent.content, Content::Question { .. }) {
            let because = format!("the chat cannot reach them: {reason}");
            self.end(id, End::because(Outcome::Unreachable, because));
        } else {
            let detail = format!("{}: {reason}", sent.content.name());
            self.record(id, "message_failed", Who::Bot, detail);
        }
    }

    /// The message can no longer be replaced: an open question is sent anew, and only that copy counts.
    fn never_edited(&mut self, message: &Outgoing, reason: &str) {
        let Some(id) = message.case else {
            return;
        };
        if is_request(&message.content) {
            return self.request_not_edited(message);
        }
        let detail = format!("{}: {reason}", message.content.name());
        self.record(id, "message_failed", Who::Bot, detail);
        let Some(case) = self.next.cases.get(&id) else {
            return;
        };
        if case.is_open() {
            let content = self.current_content(case);
            self.say(Some(id), content);
        }
    }
}

/// It belongs to what was asked for by a command, and to no case.
fn is_request(content: &Content) -> bool {
    matches!(content, Content::Practice { .. } | Content::Snooze { .. })
}
