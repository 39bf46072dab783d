//! What came of a push. Approved: it proves what it was asked for, if nothing has changed meanwhile.
//! Refused: somebody at the phone says it was not them, the most urgent page there is. No answer or no
//! service: told, and never taken for a yes.

use crate::core::alert::Severity;
use crate::core::case::Outcome;
use crate::core::ids::CaseId;
use crate::core::text::Untrusted;

use super::effect::{CodeRefusal, Content, PushVerdict};
use super::event::Tick;
use super::open_case::Phase;
use super::pages::End;
use super::push_requested::{PUSH, Push};
use super::turn::Turn;

impl Turn<'_> {
    /// `case`: the question whose form asked for it.
    pub fn push_answered(&mut self, challenge: CaseId, case: CaseId, verdict: PushVerdict) {
        // Time first: what was approved after the deadline is late.
        self.time_passed();
        let push = self.taken_push(challenge);
        let push = match verdict {
            // Given up on and followed by a newer one: it proves nothing, but a refusal is one.
            PushVerdict::Refused | PushVerdict::Fraud => {
                push.unwrap_or_else(|| Push::given_up(challenge, case, self.now()))
            }
            PushVerdict::Approved | PushVerdict::Unanswered => match push {
                Some(push) => push,
                None => return,
            },
        };
        match verdict {
            PushVerdict::Approved => self.push_approved(&push),
            PushVerdict::Refused => self.push_refused(&push, "REFUSED the request on their phone"),
            PushVerdict::Fraud => {
                self.push_refused(&push, "reported the request on their phone as FRAUD");
            }
            PushVerdict::Unanswered => {
                let open = self.still_open(&push);
                for tick in &open {
                    self.record(tick.case, "push_unanswered", self.employee_did(), "");
                }
                self.tell_push(&open, CodeRefusal::PushUnanswered);
            }
        }
    }

    /// It could not be sent or waited for. A code still can; without one nothing proves it.
    pub fn push_failed(&mut self, challenge: CaseId, reason: &str) {
        let Some(push) = self.taken_push(challenge) else {
            return;
        };
        let (with_code, without): (Vec<Tick>, Vec<Tick>) = self
            .still_open(&push)
            .into_iter()
            .partition(|tick| self.code_counts(tick.case));
        for tick in &with_code {
            self.record(tick.case, "push_failed", self.employee_did(), reason);
        }
        self.tell_push(&with_code, CodeRefusal::PushUnavailable);
        for tick in &without {
            let because = format!("said yes, but it could not be proved: {reason}");
            let end = End::because(Outcome::Unverifiable, because).by(self.employee_did());
            self.end(tick.case, end);
        }
    }

    fn taken_push(&mut self, challenge: CaseId) -> Option<Push> {
        self.next.push.take_if(|push| push.challenge == challenge)
    }

    fn still_open(&self, push: &Push) -> Vec<Tick> {
        let open = |tick: &&Tick| {
            let case = self.next.cases.get(&tick.case);
            case.is_some_and(|case| case.phase == Phase::Verifying)
        };
        push.ticks.iter().filter(open).cloned().collect()
    }

    fn push_approved(&mut self, push: &Push) {
        for tick in &push.ticks {
            let case = self.next.cases.get(&tick.case);
            let stands = case.is_some_and(|case| {
                case.phase == Phase::Verifying && case.revision == tick.revision
            });
            if stands && !push.void {
                self.verified(tick.case, PUSH);
            } else {
                let detail = "approved on the phone, after something else was answered";
                self.record(tick.case, "late_answer", self.employee_did(), detail);
            }
        }
    }

    fn push_refused(&mut self, push: &Push, what: &str) {
        for tick in &push.ticks {
            self.record(tick.case, "push_refused", self.employee_did(), what);
            let Some(case) = self.next.cases.get(&tick.case) else {
                continue;
            };
            if !case.is_open() {
                // Proved by a code meanwhile, or ended: a no after the end.
                self.late_no_at(tick.case, &Untrusted::new(what), Severity::Critical);
                continue;
            }
            let taken_back = self.take_back(tick.case);
            let end = End::because(
                Outcome::VerificationFailed,
                format!("said yes, then {what}"),
            );
            self.end(
                tick.case,
                End {
                    urgency: Some(Severity::Critical),
                    notes: taken_back.notes,
                    related: taken_back.related,
                    ..end.by(self.employee_did())
                },
            );
        }
    }

    fn tell_push(&mut self, ticks: &[Tick], why: CodeRefusal) {
        if let Some(tick) = ticks.first() {
            let content = Content::CodeRefused {
                why,
                locked_until: None,
            };
            self.say(Some(tick.case), content);
        }
    }
}
