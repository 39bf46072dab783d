//! The form came back: explanation, ticks and the verdict on the code. Acceptance, single use of the
//! code and the outcome are one step, so that a code can never prove twice and a refused one never once.

use std::time::Duration;

use crate::core::alert::Severity;
use crate::core::answer::MAX_EXPLANATION_CHARS;
use crate::core::case::Outcome;
use crate::core::ids::CaseId;
use crate::core::policy::Explanation;
use crate::core::text::Untrusted;

use super::effect::{CodeRefusal, Content};
use super::event::{Inbound, Proof, Reply, Tick};
use super::open_case::{Case, Phase};
use super::pages::{self, End};
use super::push_requested::NO_FACTOR;
use super::turn::Turn;

/// This many refused codes without a good one between lock the employee.
const WRONG_CODES: u32 = 5;
const FIRST_LOCK: Duration = Duration::from_secs(60 * 60);
/// Doubling stops here: a lock ends by itself within a day.
const LONGEST_LOCK: Duration = Duration::from_secs(24 * 60 * 60);
pub const LOCKED: &str = "Codes are locked for now; the security team has been told.";
pub const EXPLAIN: &str = "Please say in a few words what it was for. The code has not been used.";
/// TOTP, RFC 6238.
const TOTP: &str = "totp";

impl Turn<'_> {
    pub fn form_submitted(
        &mut self,
        inbound: &Inbound,
        id: CaseId,
        ticks: &[Tick],
        explanation: &Untrusted,
        proof: Option<&Proof>,
    ) -> Reply {
        if let Some(reply) = self.request_submitted(inbound, id, explanation, proof) {
            return reply;
        }
        let (ticks, explanation) = match self.form_came(inbound, id, ticks, explanation) {
            Ok(came) => came,
            Err(reply) => return reply,
        };
        if ticks.iter().any(|tick| !self.code_counts(tick.case)) {
            return refused(
                "A code is not enough for this: please use the button that sends a request to your phone.",
            );
        }
        match self.use_code(Some(id), &ticks, proof) {
            Ok(()) => {
                self.code_accepted(&ticks, &explanation);
                Reply::Taken
            }
            Err(reply) => reply,
        }
    }

    /// The one way in which a code is used: `Ok`, and it never counts again; else it is counted as refused,
    /// and that is the answer. `case`: the question whose form it came in; `None`: the open request's.
    pub fn use_code(
        &mut self,
        case: Option<CaseId>,
        ticks: &[Tick],
        proof: Option<&Proof>,
    ) -> Result<(), Reply> {
        let step = match proof {
            None => {
                return Err(refused(
                    "Please enter the code from your authenticator app.",
                ));
            }
            Some(Proof::Unavailable { reason }) => {
                self.record_code(case, "code_unchecked", reason);
                return Err(refused(
                    "The code could not be checked right now. Please try again in a minute.",
                ));
            }
            Some(Proof::Totp { step }) => step,
        };
        let why = match step {
            None => CodeRefusal::Wrong,
            Some(step) if self.next.last_step.is_some_and(|last| *step <= last) => {
                CodeRefusal::AlreadyUsed
            }
            Some(step) => {
                self.next.last_step = Some(*step);
                self.next.refused = 0;
                return Ok(());
            }
        };
        Err(self.code_refused(case, ticks, why))
    }

    fn record_code(&mut self, case: Option<CaseId>, event: &str, detail: &str) {
        match case {
            Some(id) => self.record(id, event, self.employee_did(), detail),
            None => {
                let detail = format!("{detail} (for {})", self.requested());
                self.record_person(event, self.employee_did(), detail);
            }
        }
    }

    /// What the open request is for.
    fn requested(&self) -> &'static str {
        let request = self.next.request.as_ref();
        request.map_or("no question", |request| request.name())
    }

    /// What every use of the form begins with, by code or by push: whose it is, for which questions,
    /// and with which words. `Err`: that is the answer already.
    pub fn form_came(
        &mut self,
        inbound: &Inbound,
        id: CaseId,
        ticks: &[Tick],
        explanation: &Untrusted,
    ) -> Result<(Vec<Tick>, Untrusted), Reply> {
        let Some(case) = self.next.cases.get(&id) else {
            if !self.may_answer(inbound, None) {
                return Err(self.refuse_stranger(None));
            }
            return Err(Reply::NotFound);
        };
        if !self.may_answer(inbound, Some(case)) || !case.sent {
            return Err(self.refuse_stranger(Some(id)));
        }
        let (open, revision) = (case.is_open(), case.revision);
        if self.next.has_seen(&inbound.event_id) {
            return Err(self.already_answered(id, "the same event again"));
        }
        self.next.remember_event(&inbound.event_id);
        // Invisible characters explain nothing.
        let explanation = Untrusted::new(explanation.plain(MAX_EXPLANATION_CHARS));
        if !open && !self.any_open(ticks, inbound) {
            return Err(self.late_note(id, "yes with a proof"));
        }
        let ticks = if ticks.is_empty() && open {
            // A form with one question needs no tick; its case stopped folding at the yes.
            vec![Tick { case: id, revision }]
        } else {
            self.answerable(ticks, inbound)
        };
        if ticks.is_empty() {
            return Err(refused("Please tick the questions you answer with yes."));
        }
        let locked = self.next.is_locked(self.now());
        let (unproved, ticks): (Vec<Tick>, Vec<Tick>) = ticks
            .into_iter()
            .partition(|tick| locked || !self.can_prove(tick.case));
        for tick in &unproved {
            self.begin(tick, &explanation);
        }
        self.end_unproved(&unproved, locked);
        if ticks.is_empty() {
            return Err(if locked {
                refused(LOCKED)
            } else {
                Reply::Taken
            });
        }
        self.explain(&ticks, &explanation)?;
        Ok((ticks, explanation))
    }

    fn any_open(&self, ticks: &[Tick], inbound: &Inbound) -> bool {
        !self.answerable(ticks, inbound).is_empty()
    }

    /// Ticks of open questions of this person that were put to them, each once.
    fn answerable(&self, ticks: &[Tick], inbound: &Inbound) -> Vec<Tick> {
        let mut kept: Vec<Tick> = Vec::new();
        for tick in ticks {
            let answerable = self.next.cases.get(&tick.case).is_some_and(|case: &Case| {
                case.is_live()
                    && case.identity.as_ref() == Some(&inbound.from)
                    && tick.revision <= case.revision
            });
            if answerable && kept.iter().all(|t| t.case != tick.case) {
                kept.push(tick.clone());
            }
        }
        kept
    }

    /// A tick is a yes: from here on nothing is folded in.
    pub fn begin(&mut self, tick: &Tick, explanation: &Untrusted) {
        let now = self.now();
        let Some(case) = self.next.cases.get_mut(&tick.case) else {
            return;
        };
        if !explanation.is_empty() {
            case.explanation = Some(explanation.clone());
        }
        case.folding_over = true;
        if case.phase != Phase::Verifying {
            case.answered_at = Some(now);
            self.record(tick.case, "answer_given", self.employee_did(), "yes");
        }
        self.touched.insert(tick.case);
    }

    fn end_unproved(&mut self, ticks: &[Tick], locked: bool) {
        for tick in ticks {
            let (outcome, because) = if locked {
                (
                    Outcome::VerificationFailed,
                    "said yes while locked after wrong codes",
                )
            } else {
                (Outcome::Unverifiable, NO_FACTOR)
            };
            let end = End::because(outcome, because).by(self.employee_did());
            self.end(tick.case, end);
        }
    }

    /// Takes the explanation for every tick; a missing one is asked for before any code counts.
    fn explain(&mut self, ticks: &[Tick], explanation: &Untrusted) -> Result<(), Reply> {
        let missing = ticks.iter().any(|tick| {
            self.next.cases.get(&tick.case).is_some_and(|case| {
                case.policy.explanation == Explanation::Required
                    && case.explanation.is_none()
                    && explanation.is_empty()
            })
        });
        if missing {
            return Err(refused(EXPLAIN));
        }
        // Kept from here on: a wrong code does not cost the words.
        for tick in ticks {
            if let Some(case) = self.next.cases.get_mut(&tick.case)
                && case.phase == Phase::Verifying
                && !explanation.is_empty()
            {
                case.explanation = Some(explanation.clone());
                self.touched.insert(tick.case);
            }
        }
        Ok(())
    }

    fn code_accepted(&mut self, ticks: &[Tick], explanation: &Untrusted) {
        for tick in ticks {
            let current = self
                .next
                .cases
                .get(&tick.case)
                .is_some_and(|case| case.revision == tick.revision);
            if current {
                self.begin(tick, explanation);
                self.verified(tick.case, TOTP);
            } else {
                self.outdated(tick.case);
            }
        }
    }

    /// Its revision rose while the form was open: it stays open and is asked afresh.
    pub fn outdated(&mut self, id: CaseId) {
        if let Some(case) = self.next.cases.get_mut(&id) {
            case.folding_over = true;
            case.freshened = true;
            if case.phase == Phase::Verifying {
                case.phase = Phase::Asked;
            }
        }
        let detail = "yes to a revision which has changed since; asked afresh";
        self.record(id, "answer_outdated", self.employee_did(), detail);
        self.touched.insert(id);
        self.refresh(id);
    }

    /// Told, counted; the fifth ends the cases on the form and locks.
    fn code_refused(&mut self, id: Option<CaseId>, ticks: &[Tick], why: CodeRefusal) -> Reply {
        self.next.refused += 1;
        let left = WRONG_CODES.saturating_sub(self.next.refused);
        let detail = match why {
            CodeRefusal::AlreadyUsed => "the code, or a later one, was used already",
            _ => "wrong code",
        };
        self.record_code(id, "code_refused", detail);
        if left > 0 {
            let tries = if left == 1 { "try is" } else { "tries are" };
            return refused(&match why {
                CodeRefusal::AlreadyUsed => format!(
                    "That code was used already. Please wait for the next one; {left} {tries} left."
                ),
                _ => format!("That code is not right; {left} {tries} left."),
            });
        }
        self.lock();
        let mut on_form: Vec<CaseId> = ticks.iter().map(|tick| tick.case).collect();
        on_form.extend(id.filter(|id| ticks.iter().all(|tick| tick.case != *id)));
        if id.is_none() {
            self.raise_lock();
        }
        for case in on_form {
            let end = End::because(
                Outcome::VerificationFailed,
                format!("said yes, but gave {WRONG_CODES} wrong codes"),
            );
            self.end(
                case,
                End {
                    urgency: Some(Severity::Critical),
                    ..end.by(self.employee_did())
                },
            );
        }
        let locked_until = self.next.locked_until;
        self.say(
            None,
            Content::CodeRefused {
                why: CodeRefusal::Locked,
                locked_until,
            },
        );
        refused("That was one wrong code too many; the security team has been told.")
    }

    /// No case of theirs ends by this lock, so it is paged by itself: somebody may be guessing.
    fn raise_lock(&mut self) {
        let what = self.requested();
        let who = self.next.employee().map(ToString::to_string);
        let because = format!("gave {WRONG_CODES} wrong codes for {what}");
        let (id, who) = (self.new_id(), who.unwrap_or_default());
        self.births
            .push(pages::locked(id, &who, &because, &self.cx.world.policy));
        self.end_request();
    }

    fn lock(&mut self) {
        let now = self.now();
        let doubled = u32::try_from(self.next.locks.len()).unwrap_or(u32::MAX);
        let length = FIRST_LOCK
            .saturating_mul(2u32.saturating_pow(doubled))
            .min(LONGEST_LOCK);
        let until = now.after(length);
        self.next.locks.push(now);
        self.next.locked_until = Some(until);
        self.next.refused = 0;
        let detail = format!("no code counts until {until}");
        self.record_person("employee_locked", self.employee_did(), detail);
    }
}

pub fn refused(message: &str) -> Reply {
    Reply::ProofRefused {
        message: message.to_owned(),
    }
}
