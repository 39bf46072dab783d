//! `test`: a question like any other, clearly marked, with the same buttons, form and code, and nothing behind
//! it: no case, no page, no snooze, no figure. Only the code is real: it counts once, and wrong ones count
//! towards the lock, so that practice is no place to guess codes.

use crate::core::alert::{PRACTICE_RULE, Severity};
use crate::core::answer::{MAX_EXPLANATION_CHARS, Typed, Verdict};
use crate::core::text::Untrusted;

use super::effect::{Content, PracticeStep, Question};
use super::event::{Answer, Inbound, Proof, Reply};
use super::request::{REVISION, Wish, needs_words};
use super::turn::Turn;

const TITLE: &str = "sudo -i on example-host";
const REASON: &str = "sudo -i";
const HOST: &str = "example-host";

impl Turn<'_> {
    /// The command `test`.
    pub fn practice(&mut self, inbound: &Inbound) -> Reply {
        let (id, now) = (self.new_id(), self.now());
        let question = Box::new(Question {
            case: id,
            reference: id.reference(),
            revision: REVISION,
            rule: PRACTICE_RULE.to_owned(),
            severity: Severity::Low,
            title: TITLE.into(),
            description: Untrusted::default(),
            reason: REASON.into(),
            url: None,
            context: vec![("host".to_owned(), HOST.into())],
            count: 1,
            first_at: now,
            last_at: now,
            time_zone: self.zone_name().to_owned(),
            deadline: None,
        });
        let shows = Content::Practice {
            step: PracticeStep::Asked,
            question,
            given: None,
        };
        self.begin_request(id, &inbound.from, Wish::Practice, shows);
        self.record_person("practice_begun", self.employee_did(), "");
        Reply::Taken
    }

    /// A button of the practice question, or a typed answer to it.
    pub fn practice_answered(&mut self, answer: &Answer, words: &Untrusted) -> Reply {
        let step = match answer {
            Answer::Yes if self.next.is_enrolled() => PracticeStep::Proving,
            Answer::Yes if self.has_factor() => PracticeStep::ByPush,
            Answer::Yes => PracticeStep::NoFactor,
            Answer::No | Answer::NotMeAfterAll => PracticeStep::Denied,
            Answer::NotSure => PracticeStep::NotSure,
            Answer::SomeoneElse => PracticeStep::SomeoneElse,
        };
        self.practice_goes_on(step, words);
        Reply::Taken
    }

    fn practice_goes_on(&mut self, to: PracticeStep, words: &Untrusted) {
        let Some(Content::Practice {
            question, given, ..
        }) = self.next.request.as_ref().map(|request| &request.shows)
        else {
            return;
        };
        let given = match words.is_empty() {
            true => given.clone(),
            false => Some(words.clone()),
        };
        self.show_request(Content::Practice {
            step: to,
            question: question.clone(),
            given,
        });
        let how = match to {
            PracticeStep::Asked | PracticeStep::Proving => return,
            PracticeStep::Verified => "yes, proved by a code",
            PracticeStep::Denied => "no",
            PracticeStep::NotSure => "not sure",
            PracticeStep::SomeoneElse => "someone else",
            PracticeStep::NoFactor => "yes, without a second factor",
            PracticeStep::ByPush => "yes, with a push only",
            PracticeStep::Over => "over",
        };
        self.record_person("practice_ended", self.employee_did(), how);
    }

    /// The form of the practice question: as with a real one, words first, then the code.
    pub fn practice_proved(
        &mut self,
        explanation: &Untrusted,
        proof: Option<&Proof>,
    ) -> Result<(), Reply> {
        let explanation = Untrusted::new(explanation.plain(MAX_EXPLANATION_CHARS));
        let shows = self.next.request.as_ref().map(|request| &request.shows);
        let Some(Content::Practice {
            step: PracticeStep::Proving,
            given,
            ..
        }) = shows
        else {
            return Err(Reply::NotFound);
        };
        if explanation.is_empty() && given.is_none() {
            return Err(needs_words());
        }
        self.use_code(None, &[], proof)?;
        self.practice_goes_on(PracticeStep::Verified, &explanation);
        Ok(())
    }

    /// Text typed while only the practice question is open; `None`: it is not about that.
    pub fn practice_typed(&mut self, inbound: &Inbound, typed: &Typed) -> Option<Reply> {
        let request = self.next.request.as_ref()?;
        let theirs = request.identity == inbound.from && request.message_id.is_some();
        let Content::Practice { step, question, .. } = &request.shows else {
            return None;
        };
        if !request.is_open() || !theirs || typed.stray_reference || !typed.references.is_empty() {
            return None;
        }
        let (step, reference) = (*step, question.reference.clone());
        let answer = match typed.verdict {
            // It may be meant for what was really asked lately: never guessed.
            Verdict::No if !self.deniable().is_empty() => return Some(self.report_which()),
            Verdict::No => Answer::No,
            Verdict::NotSure => Answer::NotSure,
            Verdict::SomeoneElse => Answer::SomeoneElse,
            Verdict::Yes => Answer::Yes,
            Verdict::Nothing if step == PracticeStep::Proving => Answer::Yes,
            Verdict::Ambiguous | Verdict::Nothing => return None,
        };
        let reply = self.practice_answered(&answer, &typed.rest);
        if answer == Answer::Yes && self.next.is_enrolled() {
            self.say(None, Content::AskProof { reference });
        }
        Some(reply)
    }
}
