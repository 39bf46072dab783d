//! A button was pressed. Who pressed it is the platform's word; which case and revision it stood for is
//! only believed as far as the state agrees.

use crate::core::ids::CaseId;
use crate::core::text::Untrusted;

use super::effect::Content;
use super::event::{Answer, Inbound, Reply};
use super::pages;
use super::turn::Turn;

impl Turn<'_> {
    pub fn button_pressed(
        &mut self,
        inbound: &Inbound,
        id: CaseId,
        revision: u32,
        answer: &Answer,
        shown: bool,
    ) -> Reply {
        let kept = self.next.cases.get(&id).is_some() || self.is_request(id);
        if !kept && !shown {
            return Reply::NotFound;
        }
        if let Some(reply) = self.request_pressed(inbound, id, revision, answer) {
            return reply;
        }
        let Some(case) = self.next.cases.get(&id) else {
            if !self.may_answer(inbound, None) {
                return self.refuse_stranger(None);
            }
            return self.answer_to_forgotten(id, answer);
        };
        if !self.may_answer(inbound, Some(case)) || !case.sent {
            return self.refuse_stranger(Some(id));
        }
        let open = case.is_open();
        if self.next.has_seen(&inbound.event_id) {
            return self.already_answered(id, "the same event again");
        }
        self.next.remember_event(&inbound.event_id);
        let nothing = Untrusted::default();
        match (answer, open) {
            (Answer::Yes, true) => self.yes(id, revision, &nothing, false),
            (Answer::No | Answer::NotMeAfterAll, true) => self.no(id, &nothing),
            (Answer::NotSure, true) => self.not_sure(id, &nothing),
            (Answer::SomeoneElse, true) => self.someone_else(id, &nothing),
            (Answer::No | Answer::NotMeAfterAll, false) => self.late_no(id, &nothing),
            (Answer::Yes, false) => self.late_note(id, "yes"),
            (Answer::NotSure, false) => self.late_note(id, "not sure"),
            (Answer::SomeoneElse, false) => self.late_note(id, "someone else"),
        }
    }

    /// The case is not kept any more (a day went by, or a fault took it). A no is still worth a page.
    fn answer_to_forgotten(&mut self, id: CaseId, answer: &Answer) -> Reply {
        let who = self.employee_did();
        let detail = "an answer to a question that is no longer kept";
        self.record(id, "answer_refused", who.clone(), detail);
        if !matches!(answer, Answer::No | Answer::NotMeAfterAll) {
            return Reply::NotFound;
        }
        let page = pages::forgotten_no(self.new_id(), id, &who.label(), &self.cx.world.policy);
        self.births.push(page);
        let reference = Some(id.reference());
        self.say(None, Content::ReportTaken { reference });
        Reply::Taken
    }
}
