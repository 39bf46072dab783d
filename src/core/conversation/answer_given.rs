//! What an answer does to an open case, by whatever road it came (button, text, form). A no counts at
//! once; a yes only opens the way to its proof, and by itself quiets nothing.

use crate::core::case::Outcome;
use crate::core::ids::CaseId;
use crate::core::record::Who;
use crate::core::text::Untrusted;

use super::effect::Content;
use super::event::{Inbound, Reply};
use super::open_case::{Case, Phase};
use super::pages::End;
use super::push_requested::NO_FACTOR;
use super::snooze_changed::TakenBack;
use super::turn::Turn;

impl Turn<'_> {
    /// The platform's own id decides (promise P5): it must be the one asked, and still be theirs.
    pub fn may_answer(&self, inbound: &Inbound, case: Option<&Case>) -> bool {
        let theirs = self
            .cx
            .world
            .directory
            .by_chat(&inbound.from)
            .is_some_and(|person| Some(&person.id) == self.next.employee());
        theirs && case.is_none_or(|case| case.identity.as_ref() == Some(&inbound.from))
    }

    pub fn refuse_stranger(&mut self, case: Option<CaseId>) -> Reply {
        let detail = "somebody else tried to answer";
        match case {
            Some(id) => self.record(id, "answer_refused", Who::Bot, detail),
            None => self.record_person("answer_refused", Who::Bot, detail),
        }
        Reply::NotYours
    }

    /// The question already has this answer: nothing changes, it is recorded.
    pub fn already_answered(&mut self, id: CaseId, detail: &str) -> Reply {
        self.record(id, "answer_refused", self.employee_did(), detail);
        Reply::AlreadyAnswered
    }

    /// A yes to `revision`. `typed`: there was no form before the person's eyes.
    pub fn yes(&mut self, id: CaseId, revision: u32, given: &Untrusted, typed: bool) -> Reply {
        let now = self.now();
        let who = self.employee_did();
        let Some(case) = self.next.cases.get_mut(&id) else {
            return Reply::NotFound;
        };
        if case.phase == Phase::Verifying {
            return self.yes_again(id, given, typed);
        }
        if revision > case.revision {
            return self.already_answered(id, "yes to a revision that does not exist");
        }
        if revision < case.revision {
            return self.yes_to_old(id, revision, typed);
        }
        case.folding_over = true;
        case.answered_at = Some(now);
        if !given.is_empty() {
            case.explanation = Some(given.clone());
        }
        let reference = case.reference();
        self.record(id, "answer_given", who.clone(), "yes");
        self.touched.insert(id);
        if !self.can_prove(id) {
            let end = End::because(Outcome::Unverifiable, NO_FACTOR);
            self.end(id, end.by(who));
            return Reply::Taken;
        }
        if self.next.is_locked(now) {
            let end = End::because(
                Outcome::VerificationFailed,
                "said yes while locked after wrong codes",
            );
            self.end(id, end.by(who));
            return Reply::Taken;
        }
        if let Some(case) = self.next.cases.get_mut(&id) {
            case.phase = Phase::Verifying;
            // One reminder is left for the proof, even when the question's own is spent.
            if let (None, Some(deadline)) = (case.reminder, case.deadline) {
                case.reminder = Some(now.after(deadline.since(now) / 2));
            }
        }
        self.refresh(id);
        if typed {
            self.ask_for_the_rest(id, reference);
        }
        Reply::Taken
    }

    /// After a typed yes: what for, or where the form is.
    fn ask_for_the_rest(&mut self, id: CaseId, reference: String) {
        let Some(case) = self.next.cases.get_mut(&id) else {
            return;
        };
        let needs_why = case.policy.explanation == crate::core::policy::Explanation::Required
            && case.explanation.is_none();
        case.why_asked = needs_why;
        let content = if needs_why {
            Content::AskWhy { reference }
        } else {
            Content::AskProof { reference }
        };
        self.say(Some(id), content);
    }

    /// A second yes; typed, it may bring the explanation that was missing.
    fn yes_again(&mut self, id: CaseId, given: &Untrusted, typed: bool) -> Reply {
        if typed && !given.is_empty() {
            return self.explained(id, given);
        }
        if typed {
            self.say(
                Some(id),
                Content::AskProof {
                    reference: id.reference(),
                },
            );
        }
        self.already_answered(id, "yes again, still unproved")
    }

    /// The explanation, typed after a yes.
    pub fn explained(&mut self, id: CaseId, given: &Untrusted) -> Reply {
        if let Some(case) = self.next.cases.get_mut(&id) {
            case.explanation = Some(given.clone());
            case.why_asked = false;
        }
        self.record(
            id,
            "explanation_given",
            self.employee_did(),
            given.line(500),
        );
        self.touched.insert(id);
        self.refresh(id);
        self.say(
            Some(id),
            Content::AskProof {
                reference: id.reference(),
            },
        );
        Reply::Taken
    }

    /// A yes to what the question was before more alerts came: folding stops, it is shown afresh once.
    fn yes_to_old(&mut self, id: CaseId, revision: u32, typed: bool) -> Reply {
        let detail = format!("yes to revision {revision}, which has changed since");
        self.record(id, "answer_outdated", self.employee_did(), detail);
        let Some(case) = self.next.cases.get_mut(&id) else {
            return Reply::NotFound;
        };
        case.folding_over = true;
        if std::mem::replace(&mut case.freshened, true) {
            return Reply::NoLongerApplies {
                why: "the question has changed, please look at it again".to_owned(),
            };
        }
        let open = vec![case.as_open_question()];
        self.refresh(id);
        if typed {
            self.say(
                Some(id),
                Content::Clarification {
                    reason: super::effect::Unclear::Changed,
                    open,
                },
            );
        }
        Reply::Taken
    }

    /// *No*: at once, on any revision, also after a yes that was not proved.
    pub fn no(&mut self, id: CaseId, words: &Untrusted) -> Reply {
        let who = self.employee_did();
        let taken_back = self.answered(id, "no", words);
        let end = End::because(Outcome::Denied, "answered NO: it was not them");
        self.end(
            id,
            End {
                notes: taken_back.notes,
                related: taken_back.related,
                ..end.by(who)
            },
        );
        Reply::Taken
    }

    pub fn not_sure(&mut self, id: CaseId, words: &Untrusted) -> Reply {
        let who = self.employee_did();
        self.note_answer(id, "not sure", words);
        self.end(
            id,
            End::because(Outcome::Unsure, "is not sure whether it was them").by(who),
        );
        Reply::Taken
    }

    /// *Someone else*: counts at once; the name may come with it or be asked for.
    pub fn someone_else(&mut self, id: CaseId, name: &Untrusted) -> Reply {
        let who = self.employee_did();
        self.note_answer(id, "someone else", name);
        let because = if name.is_empty() {
            "says it was someone else".to_owned()
        } else {
            format!("says it was someone else: {}", name.line(200))
        };
        if let Some(case) = self.next.cases.get_mut(&id) {
            case.who_asked = name.is_empty();
        }
        self.end(id, End::because(Outcome::Unsure, because).by(who));
        if name.is_empty() {
            let reference = id.reference();
            self.say(Some(id), Content::AskWho { reference });
        }
        Reply::Taken
    }

    /// The name asked for, typed after *Someone else*.
    pub fn named(&mut self, id: CaseId, name: &Untrusted) -> Reply {
        if let Some(case) = self.next.cases.get_mut(&id) {
            case.who_asked = false;
            case.explanation = Some(name.clone());
            if let Some(ended) = &mut case.ended {
                ended.explanation = Some(name.clone());
            }
        }
        let detail = format!("it was: {}", name.line(200));
        self.record(id, "note_added", self.employee_did(), detail);
        self.put_row(id);
        self.refresh(id);
        if let Some(case) = self.next.cases.get_mut(&id) {
            case.compact();
        }
        self.clarified_thanks(id);
        Reply::Taken
    }

    fn clarified_thanks(&mut self, id: CaseId) {
        if let Some(case) = self.next.cases.get(&id)
            && let Some(ended) = case.ended.clone()
        {
            let question = Box::new(case.question(self.zone_name()));
            self.say(Some(id), Content::Told { question, ended });
        }
    }

    fn note_answer(&mut self, id: CaseId, answer: &str, words: &Untrusted) {
        let now = self.now();
        if let Some(case) = self.next.cases.get_mut(&id) {
            case.folding_over = true;
            case.answered_at = Some(now);
            if !words.is_empty() {
                case.explanation = Some(words.clone());
            }
        }
        self.record(id, "answer_given", self.employee_did(), answer);
    }

    fn answered(&mut self, id: CaseId, answer: &str, words: &Untrusted) -> TakenBack {
        self.note_answer(id, answer, words);
        self.take_back(id)
    }
}
