//! `snooze 2h`: lengthens what a verified yes made, never makes anything, and only once a code proves who asks.
//! How far it may reach is the rule's `snooze_max`, counted from the yes and read when it is asked and again
//! when it is proved; a snooze that ended meanwhile stays ended.

use std::sync::Arc;

use crate::core::answer::MAX_EXPLANATION_CHARS;
use crate::core::command::{Longer, spoken};
use crate::core::ids::CaseId;
use crate::core::policy::{CasePolicy, Factor};
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;

use super::effect::{CodeRefusal, Content, SnoozeStep, StatusSnooze};
use super::event::{Inbound, Proof, Reply};
use super::open_case::RULE_CHARS;
use super::request::Wish;
use super::snooze::Snooze;
use super::turn::Turn;

/// How much of the reason the journal's line keeps.
const WORDS: usize = 300;

impl Turn<'_> {
    /// The employee's snoozes that stand, as they are shown.
    pub fn standing_snoozes(&self) -> Vec<StatusSnooze> {
        let standing = self.next.snoozes.iter();
        standing
            .filter(|snooze| snooze.stands(self.now()))
            .map(|snooze| self.shown(snooze))
            .collect()
    }

    /// The command: a form for the one it means, or why there is none.
    pub fn snooze_asked(&mut self, inbound: &Inbound, asked: &Longer) -> Reply {
        let now = self.now();
        let standing: Vec<&Snooze> = self.next.snoozes.iter().filter(|s| s.stands(now)).collect();
        let named: Vec<&Snooze> = match &asked.reference {
            Some(reference) => {
                let named = |s: &&&Snooze| s.case.reference() == *reference;
                standing.iter().filter(named).copied().collect()
            }
            None => standing.clone(),
        };
        let (step, about, until) = match (standing.as_slice(), named.as_slice(), asked.by) {
            ([], ..) => (SnoozeStep::NoSnooze, Vec::new(), None),
            (all, _, None) => (SnoozeStep::HowLong, all.to_vec(), None),
            (_, [one], Some(by)) => {
                let longest = self.longest(one);
                if self.policy_of(one).factor == Some(Factor::Duo) {
                    (SnoozeStep::NoCode, vec![*one], None)
                } else if longest <= one.until {
                    (SnoozeStep::AtCap, vec![*one], None)
                } else {
                    let wanted = one.until.after(by);
                    let until = (wanted.min(longest), wanted > longest);
                    (SnoozeStep::Form, vec![*one], Some(until))
                }
            }
            (all, ..) => (SnoozeStep::WhichOne, all.to_vec(), None),
        };
        let case = about.first().map(|snooze| snooze.case);
        let shows = Content::Snooze {
            step,
            snoozes: about.into_iter().map(|s| self.shown(s)).collect(),
            asked: asked.by.map(spoken),
            until: until.map(|(until, _)| until),
            capped: until.is_some_and(|(_, capped)| capped),
        };
        let (Some((until, _)), Some(case)) = (until, case) else {
            self.say(None, shows);
            return Reply::Taken;
        };
        if let Some(why) = self.no_code_now() {
            let locked_until = self.next.locked_until;
            self.say(None, Content::CodeRefused { why, locked_until });
            return Reply::Taken;
        }
        let id = self.new_id();
        self.begin_request(id, &inbound.from, Wish::Snooze { case, until }, shows);
        let detail = format!("until {until}, waits for a code");
        self.record(case, "snooze_requested", self.employee_did(), detail);
        Reply::Taken
    }

    fn no_code_now(&self) -> Option<CodeRefusal> {
        if !self.next.is_enrolled() {
            return Some(CodeRefusal::NotEnrolled);
        }
        (self.next.is_locked(self.now())).then_some(CodeRefusal::Locked)
    }

    /// As the operators have it now: they may have become stricter since the case was opened.
    fn policy_of(&self, snooze: &Snooze) -> Arc<CasePolicy> {
        let policy = &self.cx.world.policy;
        policy.for_case(&snooze.rule, snooze.severity)
    }

    /// Without what its rule hides from employees.
    fn shown(&self, snooze: &Snooze) -> StatusSnooze {
        StatusSnooze {
            reference: snooze.case.reference(),
            rule: Untrusted::from(snooze.rule.as_str()).line(RULE_CHARS),
            context: self.policy_of(snooze).shown(snooze.context.iter()),
            until: snooze.until,
        }
    }

    fn longest(&self, snooze: &Snooze) -> Timestamp {
        let policy = self.policy_of(snooze);
        match policy.times.snooze.is_zero() {
            true => snooze.from,
            false => snooze.from.after(policy.snooze_max),
        }
    }

    /// The form came back. What was shown is what is proved: never later than that.
    pub fn lengthen(
        &mut self,
        case: CaseId,
        until: Timestamp,
        explanation: &Untrusted,
        proof: Option<&Proof>,
    ) -> Result<(), Reply> {
        let now = self.now();
        let standing = self
            .next
            .snoozes
            .iter()
            .find(|s| s.case == case && s.stands(now));
        let allowed = standing.map(|snooze| (snooze.until, until.min(self.longest(snooze))));
        let Some((before, until)) = allowed.filter(|(before, until)| until > before) else {
            self.end_request();
            return Err(Reply::NoLongerApplies {
                why: "That snooze is over, so there is nothing to lengthen. The code has not been used."
                    .to_owned(),
            });
        };
        self.use_code(None, &[], proof)?;
        let employee = self.next.employee().cloned();
        let Some(snooze) = self.next.snoozes.iter_mut().find(|s| s.case == case) else {
            return Err(Reply::NotFound);
        };
        snooze.until = until;
        snooze.lengthened_at = Some(now);
        self.rows.extend(employee.and_then(|who| snooze.row(&who)));
        let lengthened = snooze.clone();
        let shown = self.shown(&lengthened);
        let mut detail = format!(
            "the snooze of {} lasts until {until} (before: {before}), proved by a code",
            case.reference()
        );
        let words = explanation.plain(MAX_EXPLANATION_CHARS);
        let words = Untrusted::new(words).line(WORDS);
        if !words.is_empty() {
            detail = format!("{detail}: {words}");
        }
        self.record(case, "snooze_lengthened", self.employee_did(), detail);
        self.tell_lengthened(case, shown);
        Ok(())
    }

    /// On the form, and on the closed question that says how long it is not asked again.
    fn tell_lengthened(&mut self, case: CaseId, snooze: StatusSnooze) {
        let until = snooze.until;
        self.show_request(Content::Snooze {
            step: SnoozeStep::Lengthened,
            snoozes: vec![snooze],
            asked: None,
            until: Some(until),
            capped: false,
        });
        let ended = self
            .next
            .cases
            .get_mut(&case)
            .and_then(|c| c.ended.as_mut());
        if let Some(ended) = ended {
            ended.snoozed_until = Some(until);
            self.refresh(case);
        }
    }
}
