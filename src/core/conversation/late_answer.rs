//! Answers after the end: a late yes is a note and nothing else; a late no pages as a denial however
//! the case ended, and takes its snooze back. The outcome itself never changes (promise P2).

use crate::core::alert::Severity;
use crate::core::case::Outcome;
use crate::core::ids::CaseId;
use crate::core::text::Untrusted;

use super::effect::{Content, Effect};
use super::event::Reply;
use super::open_case::Case;
use super::pages::{case_notes, raise};
use super::turn::Turn;

impl Turn<'_> {
    /// A yes, not sure or someone else after the end.
    pub fn late_note(&mut self, id: CaseId, answer: &str) -> Reply {
        let detail = format!("{answer}, after the end");
        self.record(id, "late_answer", self.employee_did(), detail);
        Reply::AlreadyAnswered
    }

    /// The same for typed text, which needs an answer to be seen.
    pub fn say_already_answered(&mut self, id: CaseId) {
        let Some(case) = self.next.cases.get(&id) else {
            return;
        };
        let content = Content::AlreadyAnswered {
            reference: case.reference(),
            outcome: case.outcome(),
            closed_by: case.ended.as_ref().and_then(|e| e.closed_by.clone()),
        };
        self.say(Some(id), content);
    }

    /// *That wasn't me after all*, the word `report`, or a no after the end.
    pub fn late_no(&mut self, id: CaseId, words: &Untrusted) -> Reply {
        self.late_no_at(id, words, Severity::High)
    }

    /// The same, paged as urgently as said.
    pub fn late_no_at(&mut self, id: CaseId, words: &Untrusted, urgency: Severity) -> Reply {
        let Some(case) = self.next.cases.get(&id) else {
            return Reply::NotFound;
        };
        let Some(ended) = &case.ended else {
            return self.no(id, words);
        };
        if ended.outcome == Outcome::Denied || ended.revoked {
            return self.already_answered(id, "no again");
        }
        let because = format!(
            "answered NO after all (the case had ended {})",
            ended.outcome.name()
        );
        let taken_back = self.take_back(id);
        let round = match self.next.cases.get_mut(&id) {
            Some(case) => {
                case.rounds += 1;
                if let Some(ended) = &mut case.ended {
                    ended.revoked = true;
                    ended.snoozed_until = None;
                    ended.not_me_until = None;
                    ended.paged = Some(urgency);
                }
                case.rounds
            }
            None => return Reply::NotFound,
        };
        self.record(id, "late_answer", self.employee_did(), because.clone());
        if let Some(case) = self.next.cases.get(&id).cloned() {
            let mut notes = taken_back.notes;
            if !words.is_empty() {
                notes.push(format!("They wrote: {}", words.line(500)));
            }
            notes.extend(case_notes(&case, Outcome::Denied));
            let view = self.view(&case);
            let page = raise(
                &view,
                round,
                urgency,
                &because,
                notes,
                taken_back.related,
                self,
            );
            self.raise_round(page);
        }
        self.refresh(id);
        let reference = Some(id.reference());
        self.say(Some(id), Content::ReportTaken { reference });
        Reply::Taken
    }

    /// Round 1 is written by this commit; later ones travel to the escalation there is.
    fn raise_round(&mut self, page: crate::core::page::Raise) {
        if page.round == 1 {
            self.births.push(page);
        } else {
            self.effects.push(Effect::RaiseAgain(Box::new(page)));
        }
    }

    /// Closed cases the person was asked about and has not denied: what a late no may mean.
    pub fn deniable(&self) -> Vec<&Case> {
        self.next
            .cases
            .values()
            .filter(|case| {
                case.asked_at.is_some()
                    && case
                        .ended
                        .as_ref()
                        .is_some_and(|ended| !ended.revoked && ended.outcome != Outcome::Denied)
            })
            .collect()
    }

    /// Which of the questions that ended lately was it?
    pub fn report_which(&mut self) -> Reply {
        let closed = self.deniable();
        let recent = closed.iter().map(|c| c.as_open_question()).collect();
        self.say(None, Content::ReportWhich { recent });
        Reply::Taken
    }

    /// The word `report`, with or without a reference code.
    pub fn report(&mut self, named: Option<CaseId>) -> Reply {
        let nothing = Untrusted::default();
        if let Some(id) = named {
            return self.late_no(id, &nothing);
        }
        let open = self.open_questions();
        let closed: Vec<_> = self
            .deniable()
            .iter()
            .map(|c| c.as_open_question())
            .collect();
        match (open.as_slice(), closed.as_slice()) {
            ([], [only]) => {
                let id = only.case;
                self.late_no(id, &nothing)
            }
            _ => {
                let recent = open.into_iter().chain(closed).collect();
                self.say(None, Content::ReportWhich { recent });
                Reply::Taken
            }
        }
    }
}
