//! Free text in the chat: a command, an answer, or what was asked for (why, who). A text counts only
//! for a question the chat had shown before it was written; with more than one it needs a reference.

use crate::core::answer::{Typed, Verdict, parse};
use crate::core::command::Command;
use crate::core::ids::CaseId;
use crate::core::text::Untrusted;

use super::effect::{Content, Unclear};
use super::event::{Inbound, Reply};
use super::open_case::Phase;
use super::turn::Turn;

/// How much of a late answer's words the journal keeps.
const LATE_WORDS: usize = 300;

/// Which question a text means.
enum Target {
    One(CaseId),
    /// Several, or a reference that is none.
    WhichOne,
    /// There are questions, but the text was written before they were shown.
    TooEarly,
    None,
}

impl Turn<'_> {
    pub fn text_typed(&mut self, inbound: &Inbound, text: &Untrusted) -> Reply {
        if !self.may_answer(inbound, None) {
            return self.refuse_stranger(None);
        }
        if self.next.has_seen(&inbound.event_id) {
            return Reply::AlreadyAnswered;
        }
        self.next.remember_event(&inbound.event_id);
        let known: Vec<String> = self
            .next
            .cases
            .values()
            .filter(|case| case.sent && case.identity.as_ref() == Some(&inbound.from))
            .map(|case| case.reference())
            .collect();
        let typed = parse(text, &known);
        if let Some(command) = &typed.command {
            // "test" may well be what it was for.
            let said = match command {
                Command::Test => self.asked_for(inbound, &typed),
                _ => None,
            };
            return said.unwrap_or_else(|| self.command(inbound, command, &typed));
        }
        if let Some(reply) = self.asked_for(inbound, &typed) {
            return reply;
        }
        match self.target(inbound, &typed) {
            Target::One(id) => self.answer_typed(inbound, id, &typed),
            Target::WhichOne => {
                let open = self.open_questions();
                self.clarify(Unclear::WhichOne, open);
                Reply::Taken
            }
            Target::TooEarly => {
                let open = self.open_questions();
                self.clarify(Unclear::Changed, open);
                Reply::Taken
            }
            Target::None => match self.practice_typed(inbound, &typed) {
                Some(reply) => reply,
                None => self.nothing_open(&typed),
            },
        }
    }

    /// The name after *Someone else*, the reason after a yes: taken when the text is no answer to
    /// another question.
    fn asked_for(&mut self, inbound: &Inbound, typed: &Typed) -> Option<Reply> {
        if typed.stray_reference || typed.rest.is_empty() || typed.verdict != Verdict::Nothing {
            return None;
        }
        let meant =
            |id: &CaseId| typed.references.is_empty() || typed.references == [id.reference()];
        let theirs = |case: &&super::open_case::Case| case.identity.as_ref() == Some(&inbound.from);
        let cases = || self.next.cases.values().filter(theirs);
        let who = cases()
            .filter(|c| c.who_asked)
            .max_by_key(|c| c.order)
            .map(|c| c.id);
        if let Some(id) = who.filter(meant) {
            return Some(self.named(id, &typed.rest));
        }
        let why: Vec<CaseId> = cases()
            .filter(|c| c.phase == Phase::Verifying && c.explanation.is_none())
            .map(|c| c.id)
            .filter(meant)
            .collect();
        match why.as_slice() {
            [only] => Some(self.explained(*only, &typed.rest)),
            _ => None,
        }
    }

    fn target(&self, inbound: &Inbound, typed: &Typed) -> Target {
        let theirs = self
            .next
            .cases
            .values()
            .filter(|case| case.identity.as_ref() == Some(&inbound.from));
        match typed.references.as_slice() {
            [] if typed.stray_reference => Target::WhichOne,
            [reference] if !typed.stray_reference => {
                let named = theirs
                    .into_iter()
                    .find(|case| case.reference() == *reference);
                match named {
                    Some(case) if case.is_open() && case.shown_before(inbound.at).is_none() => {
                        Target::TooEarly
                    }
                    Some(case) => Target::One(case.id),
                    None => Target::None,
                }
            }
            [] => {
                let live: Vec<_> = theirs.filter(|case| case.is_live()).collect();
                let in_time: Vec<_> = live
                    .iter()
                    .filter(|case| case.shown_before(inbound.at).is_some())
                    .collect();
                match in_time.as_slice() {
                    [only] => Target::One(only.id),
                    [] if live.is_empty() => Target::None,
                    [] => Target::TooEarly,
                    _ => Target::WhichOne,
                }
            }
            _ => Target::WhichOne,
        }
    }

    fn answer_typed(&mut self, inbound: &Inbound, id: CaseId, typed: &Typed) -> Reply {
        let Some(case) = self.next.cases.get(&id) else {
            return Reply::NotFound;
        };
        let open = case.is_open();
        let verifying = case.phase == Phase::Verifying;
        let revision = case.shown_before(inbound.at).unwrap_or_default();
        match (typed.verdict, open) {
            (Verdict::Yes, true) => self.yes(id, revision, &typed.rest, true),
            (Verdict::No, true) => self.no(id, &typed.rest),
            (Verdict::NotSure, true) => self.not_sure(id, &typed.rest),
            (Verdict::SomeoneElse, true) => self.someone_else(id, &typed.rest),
            (Verdict::No, false) => self.late_no(id, &typed.rest),
            (Verdict::Yes | Verdict::NotSure | Verdict::SomeoneElse, false) => {
                self.say_already_answered(id);
                self.late_note(id, &in_words(typed))
            }
            (Verdict::Nothing, true) if verifying && typed.had_code => {
                let reference = id.reference();
                self.say(Some(id), Content::AskProof { reference });
                Reply::Taken
            }
            (Verdict::Ambiguous | Verdict::Nothing, true) => {
                let open = self
                    .next
                    .cases
                    .get(&id)
                    .map(|case| vec![case.as_open_question()])
                    .unwrap_or_default();
                self.clarify(Unclear::Ambiguous, open);
                Reply::Taken
            }
            (Verdict::Ambiguous | Verdict::Nothing, false) => {
                self.say_already_answered(id);
                Reply::Taken
            }
        }
    }

    /// With nothing open a plain no still means something: the question that just ended.
    fn nothing_open(&mut self, typed: &Typed) -> Reply {
        let closed: Vec<CaseId> = self.deniable().iter().map(|case| case.id).collect();
        match (typed.verdict, closed.as_slice()) {
            (Verdict::No, [only]) => self.late_no(*only, &typed.rest),
            (Verdict::No, [_, _, ..]) => self.report(None),
            (Verdict::Yes | Verdict::NotSure | Verdict::SomeoneElse, [only]) => {
                self.say_already_answered(*only);
                self.late_note(*only, &in_words(typed))
            }
            _ => {
                self.clarify(Unclear::NothingOpen, Vec::new());
                Reply::Taken
            }
        }
    }

    fn command(&mut self, inbound: &Inbound, command: &Command, typed: &Typed) -> Reply {
        match command {
            Command::Test => self.practice(inbound),
            Command::Snooze(asked) => self.snooze_asked(inbound, asked),
            Command::Help | Command::Hi => {
                let name = self
                    .person()
                    .map(|p| p.name.to_string())
                    .unwrap_or_default();
                let enrolled = self.has_factor();
                self.say(None, Content::Help { name, enrolled });
                Reply::Taken
            }
            Command::Status => {
                let snoozes = self.standing_snoozes();
                let open = self.open_questions();
                let enrolled = self.has_factor();
                self.say(
                    None,
                    Content::Status {
                        open,
                        snoozes,
                        enrolled,
                    },
                );
                Reply::Taken
            }
            Command::Report if typed.stray_reference || typed.references.len() > 1 => {
                self.report_which()
            }
            Command::Report => {
                let named = typed.references.first().and_then(|reference| {
                    self.next
                        .cases
                        .values()
                        .find(|case| case.reference() == *reference)
                        .map(|case| case.id)
                });
                self.report(named)
            }
        }
    }

    pub fn open_questions(&self) -> Vec<super::effect::OpenQuestion> {
        self.next
            .cases
            .values()
            .filter(|case| matches!(case.phase, Phase::Asked | Phase::Verifying))
            .map(|case| case.as_open_question())
            .collect()
    }

    fn clarify(&mut self, reason: Unclear, open: Vec<super::effect::OpenQuestion>) {
        self.say(None, Content::Clarification { reason, open });
    }
}

/// A typed answer for the journal.
fn in_words(typed: &Typed) -> String {
    let answer = match typed.verdict {
        Verdict::Yes => "yes",
        Verdict::No => "no",
        Verdict::NotSure => "not sure",
        Verdict::SomeoneElse => "someone else",
        Verdict::Ambiguous | Verdict::Nothing => "unclear",
    };
    let words = typed.rest.line(LATE_WORDS);
    if words.is_empty() {
        answer.to_owned()
    } else {
        format!("{answer}, {words:?}")
    }
}
