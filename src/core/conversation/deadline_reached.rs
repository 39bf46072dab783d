//! Time passed. Deadline, ceiling and reminder are data in each case, so a wake-up that is early or
//! comes twice changes nothing, and one that is late is caught up by whatever event comes first.

use crate::core::case::Outcome;
use crate::core::ids::CaseId;
use crate::core::record::Who;

use super::effect::Content;
use super::open_case::{Case, Phase};
use super::pages::End;
use super::turn::Turn;

impl Turn<'_> {
    pub fn time_passed(&mut self) {
        let now = self.now();
        if self.next.request.as_ref().is_some_and(|r| r.until <= now) {
            self.end_request();
        }
        let due: Vec<CaseId> = self
            .next
            .open_cases()
            .filter(|case| case.due() <= now)
            .map(|case| case.id)
            .collect();
        for id in due {
            let Some(case) = self.next.cases.get(&id) else {
                continue;
            };
            let end = case.deadline.map_or(case.ceiling, |d| d.min(case.ceiling));
            if end <= now {
                let (outcome, because) = ran_out(case);
                self.end(id, End::because(outcome, because));
            } else {
                self.remind(id);
            }
        }
    }

    fn remind(&mut self, id: CaseId) {
        let zone = self.zone_name();
        let Some(case) = self.next.cases.get_mut(&id) else {
            return;
        };
        case.reminder = None;
        let question = Box::new(case.question(zone));
        let deadline = case.deadline.unwrap_or(case.ceiling);
        self.say(Some(id), Content::Reminder { question, deadline });
        self.record(
            id,
            "reminder_sent",
            Who::Bot,
            format!("to be answered by {deadline}"),
        );
    }
}

/// What the end of its time means for a case.
fn ran_out(case: &Case) -> (Outcome, &'static str) {
    match case.phase {
        Phase::Sending => (
            Outcome::Unreachable,
            "the chat did not take the question in time",
        ),
        Phase::Verifying => (
            Outcome::VerificationFailed,
            "said yes, but did not prove it in time",
        ),
        Phase::Waiting => (Outcome::NoAnswer, "its time ran out behind other questions"),
        Phase::Asked | Phase::Closed => (Outcome::NoAnswer, "did not answer in time"),
    }
}
