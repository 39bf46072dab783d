//! The form asked for a push instead of a code. At most one is on the phone at a time, and only a few an
//! hour: somebody who is shown one after the other approves one in the end. It stands for the ticked
//! questions at their revisions (promise P5), and for nothing that is answered otherwise meanwhile.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::ids::CaseId;
use crate::core::policy::Factor;
use crate::core::record::Who;
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;

use super::effect::{Effect, PushRequest};
use super::event::{Inbound, Reply, Tick};
use super::form_submitted::refused;
use super::open_case::{Case, Phase};
use super::pages::TITLE_CHARS;
use super::turn::Turn;

/// The factor's name in cases and records.
pub const PUSH: &str = "duo";
/// This many within [`CAP_WINDOW`]; codes go on working.
const MOST_PUSHES: usize = 5;
pub const CAP_WINDOW: Duration = Duration::from_secs(60 * 60);
/// The push service gives up after a minute; this is for a service that never says so.
const WAITED_FOR: Duration = Duration::from_secs(120);
/// No push lives this long: an answer to it can have been lost only by a fault of ours.
const FORGOTTEN: Duration = Duration::from_secs(10 * 60);
const VALUE_CHARS: usize = 100;
/// Why a yes without a factor is `unverifiable`.
pub const NO_FACTOR: &str = "said yes, but has no second factor that this rule takes";

/// A push under way, and what it stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Push {
    pub challenge: CaseId,
    pub case: CaseId,
    pub ticks: Vec<Tick>,
    pub started_at: Timestamp,
    /// One of its questions was answered otherwise meanwhile: an approval is late.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub void: bool,
}

impl Push {
    /// What is still known of one that a newer one followed.
    pub fn given_up(challenge: CaseId, case: CaseId, now: Timestamp) -> Self {
        Self {
            challenge,
            case,
            ticks: vec![Tick { case, revision: 0 }],
            started_at: now,
            void: true,
        }
    }
}

impl Turn<'_> {
    /// Whether a code can prove this case: the employee has an authenticator, and the rule takes it.
    pub fn takes_code(&self, case: &Case) -> bool {
        self.next.is_enrolled() && case.policy.factor != Some(Factor::Duo)
    }

    /// Whether a push can.
    pub fn takes_push(&self, case: &Case) -> bool {
        self.push_user().is_some() && case.policy.factor != Some(Factor::Totp)
    }

    pub fn code_counts(&self, id: CaseId) -> bool {
        self.next.cases.get(&id).is_some_and(|c| self.takes_code(c))
    }

    pub fn can_prove(&self, id: CaseId) -> bool {
        let case = self.next.cases.get(&id);
        case.is_some_and(|case| self.takes_code(case) || self.takes_push(case))
    }

    /// Whether the employee has any factor at all.
    pub fn has_factor(&self) -> bool {
        self.next.is_enrolled() || self.push_user().is_some()
    }

    fn push_user(&self) -> Option<String> {
        self.cx.world.policy.push_user(self.person()?)
    }

    pub fn push_requested(
        &mut self,
        inbound: &Inbound,
        id: CaseId,
        ticks: &[Tick],
        explanation: &Untrusted,
    ) -> Reply {
        let (ticks, explanation) = match self.form_came(inbound, id, ticks, explanation) {
            Ok(came) => came,
            Err(reply) => return reply,
        };
        let takes = |tick: &Tick| {
            let case = self.next.cases.get(&tick.case);
            case.is_some_and(|case| self.takes_push(case))
        };
        let (true, Some(user)) = (ticks.iter().all(takes), self.push_user()) else {
            return refused("This needs the code from your authenticator app.");
        };
        let now = self.now();
        let is_live = |push: &Push| now < push.started_at.after(FORGOTTEN);
        if self.next.push.as_ref().is_some_and(is_live) {
            return refused(
                "A request is on your phone already. Please look there, or wait a minute.",
            );
        }
        let lately = self.next.pushes.iter();
        if lately.filter(|at| now.since(**at) < CAP_WINDOW).count() >= MOST_PUSHES {
            let detail = format!("more than {MOST_PUSHES} pushes within an hour");
            self.record(id, "push_refused", self.employee_did(), detail);
            return refused(
                "That were many requests within an hour. Please use a code, or try later.",
            );
        }
        let (current, old): (Vec<Tick>, Vec<Tick>) = ticks.into_iter().partition(|tick| {
            let case = self.next.cases.get(&tick.case);
            case.is_some_and(|case| case.revision == tick.revision)
        });
        for tick in &old {
            self.outdated(tick.case);
        }
        let Some(first) = current.first().map(|tick| tick.case) else {
            return refused("The question has changed, please look at it again.");
        };
        for tick in &current {
            self.begin(tick, &explanation);
            if let Some(case) = self.next.cases.get_mut(&tick.case)
                && case.phase != Phase::Verifying
            {
                case.phase = Phase::Verifying;
                self.refresh(tick.case);
            }
        }
        self.start_push(first, current, user);
        Reply::Taken
    }

    fn start_push(&mut self, case: CaseId, ticks: Vec<Tick>, user: String) {
        let (challenge, now) = (self.new_id(), self.now());
        self.next.pushes.push(now);
        let info = self.push_info(case, ticks.len());
        for tick in &ticks {
            self.record(tick.case, "push_requested", self.employee_did(), "");
        }
        self.next.push = Some(Push {
            challenge,
            case,
            ticks,
            started_at: now,
            void: false,
        });
        self.effects.push(Effect::StartPush(Box::new(PushRequest {
            challenge,
            case,
            user,
            info,
        })));
    }

    /// The alert in the words of the question: hidden fields stay hidden on the phone too.
    fn push_info(&self, id: CaseId, questions: usize) -> Vec<(String, String)> {
        let Some(case) = self.next.cases.get(&id) else {
            return Vec::new();
        };
        let question = case.question(self.zone_name());
        let mut info = vec![
            ("Alert".to_owned(), question.title.line(TITLE_CHARS)),
            ("Reference".to_owned(), question.reference),
        ];
        if questions > 1 {
            let more = format!("and {} more", questions - 1);
            info.push(("Questions".to_owned(), more));
        }
        for (name, value) in &question.context {
            let name = Untrusted::from(name.as_str()).line(VALUE_CHARS);
            info.push((name, value.line(VALUE_CHARS)));
        }
        info
    }

    /// The push was handed to the phone: from here on a restart goes on waiting for its answer.
    pub fn push_sent(&mut self, request: &PushRequest, transaction: &str) {
        let started_at = match &self.next.push {
            Some(push) if push.challenge == request.challenge => push.started_at,
            _ => self.now(),
        };
        self.record(request.case, "push_sent", Who::Bot, "");
        self.effects.push(Effect::AwaitPush {
            case: request.case,
            challenge: request.challenge,
            transaction: transaction.to_owned(),
            until: started_at.after(WAITED_FOR),
        });
    }

    /// An answer other than a proved yes makes a live challenge void.
    pub fn void_push(&mut self, id: CaseId) {
        if let Some(push) = &mut self.next.push
            && push.ticks.iter().any(|tick| tick.case == id)
        {
            push.void = true;
        }
    }
}
