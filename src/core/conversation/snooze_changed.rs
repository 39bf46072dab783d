//! How snoozes begin and end: a proved yes makes one, a denial takes it back in the same commit and
//! lists what it had hidden, an operator ends it (promise P7).

use std::time::Duration;

use crate::core::case::Outcome;
use crate::core::ids::{CaseId, OperatorName};
use crate::core::record::Who;

use super::event::Reply;
use super::pages::End;
use super::push_requested::PUSH;
use super::snooze::Snooze;
use super::turn::Turn;

/// A denial lists what was verified in its context within this time.
const LOOK_BACK: Duration = Duration::from_secs(24 * 60 * 60);

/// What a denial took back, for its page.
#[derive(Default)]
pub struct TakenBack {
    pub notes: Vec<String>,
    pub related: Vec<CaseId>,
}

impl Turn<'_> {
    /// A denial in this context: its snoozes end in the same commit, and the page lists what they
    /// had let pass (promise P7).
    pub fn take_back(&mut self, id: CaseId) -> TakenBack {
        let now = self.now();
        let Some(key) = self.next.cases.get(&id).map(|case| case.key.clone()) else {
            return TakenBack::default();
        };
        let mut taken_back = TakenBack::default();
        let mut revoked = Vec::new();
        for snooze in self.next.snoozes.iter_mut().filter(|s| s.key == key) {
            if snooze.stands(now) {
                snooze.revoked = true;
                self.rows.push(snooze.row_deleted());
                revoked.push(snooze.case);
            }
            if snooze.suppressed > 0 {
                taken_back.notes.push(format!(
                    "{} alerts were suppressed by the snooze of {}",
                    snooze.suppressed,
                    snooze.case.reference()
                ));
                taken_back.related.extend(&snooze.suppressed_cases);
            }
        }
        for case in revoked {
            let detail = format!("revoked by the denial of {}", id.reference());
            taken_back
                .notes
                .push(format!("The snooze of {} was revoked", case.reference()));
            self.record(case, "snooze_revoked", self.employee_did(), detail);
        }
        let verified = self.next.cases.values().filter(|case| {
            case.id != id
                && case.key == key
                && case.outcome() == Some(Outcome::Verified)
                && case
                    .closed_at()
                    .is_some_and(|at| now.since(at) <= LOOK_BACK)
        });
        for case in verified {
            taken_back.notes.push(format!(
                "{} was answered yes and proved in this context at {}",
                case.reference(),
                case.closed_at().unwrap_or(now)
            ));
            taken_back.related.push(case.id);
        }
        taken_back
    }

    /// Proved: the only place where a snooze begins.
    pub fn verified(&mut self, id: CaseId, factor: &str) {
        let now = self.now();
        let who = self.employee_did();
        let Some(case) = self.next.cases.get_mut(&id) else {
            return;
        };
        case.factor = Some(factor.to_owned());
        case.answered_at.get_or_insert(now);
        let snooze = Snooze::after_verified(case, now);
        let until = snooze.as_ref().map(|s| s.until);
        let event = match factor {
            PUSH => "push_approved",
            _ => "code_accepted",
        };
        self.record(id, event, who.clone(), format!("proved by {factor}"));
        let end = End::because(Outcome::Verified, "said yes, and proved it");
        self.end(
            id,
            End {
                snoozed_until: until,
                ..end.by(who)
            },
        );
        if let (Some(snooze), Some(employee)) = (snooze, self.next.employee().cloned()) {
            self.rows.extend(snooze.row(&employee));
            let detail = format!("until {}", snooze.until);
            self.next.snoozes.push(snooze);
            self.record(id, "snooze_created", Who::Bot, detail);
        }
    }

    /// An operator ends a snooze.
    pub fn snooze_ended(&mut self, operator: &OperatorName, snooze: &str) -> Reply {
        let now = self.now();
        let Some(found) = self
            .next
            .snoozes
            .iter_mut()
            .find(|s| s.case.to_string() == snooze)
        else {
            return Reply::NotFound;
        };
        if !found.stands(now) {
            return Reply::NoLongerApplies {
                why: "the snooze is already over".to_owned(),
            };
        }
        found.revoked = true;
        let (row, case) = (found.row_deleted(), found.case);
        self.rows.push(row);
        let detail = "ended by an operator";
        self.record(
            case,
            "snooze_revoked",
            Who::Operator(operator.clone()),
            detail,
        );
        Reply::Taken
    }
}
