//! Which way an alert goes. One place and one order, so that no alert falls between two reasons:
//! shadow, paged, unknown employee, opted out, snoozed, then ask.

use super::case::Outcome;
use super::ids::CaseId;
use super::policy::Mode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A question is put to the employee.
    Ask,
    /// The case is opened and ended at once; every outcome that needs one raises a page.
    End(Outcome),
    /// Suppressed by the snooze that this case's verified yes made.
    Snoozed(CaseId),
}

/// What is known about the receiver when the alert is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub mode: Mode,
    pub known: bool,
    pub opted_out: bool,
    /// A snooze that stands, began before the alert was accepted and covers its severity.
    pub snooze: Option<CaseId>,
}

pub fn route(facts: Facts) -> Route {
    match facts {
        Facts {
            mode: Mode::Shadow, ..
        } => Route::End(Outcome::Shadow),
        Facts {
            mode: Mode::Page, ..
        } => Route::End(Outcome::Paged),
        Facts { known: false, .. } => Route::End(Outcome::UnknownEmployee),
        Facts {
            opted_out: true, ..
        } => Route::End(Outcome::OptedOut),
        Facts {
            snooze: Some(case), ..
        } => Route::Snoozed(case),
        _ => Route::Ask,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::Timestamp;

    #[test]
    fn the_first_reason_in_the_fixed_order_decides() {
        let case = CaseId::new(Timestamp::from_millis(1), 1, 1);
        let mut facts = Facts {
            mode: Mode::Shadow,
            known: false,
            opted_out: true,
            snooze: Some(case),
        };
        assert_eq!(route(facts), Route::End(Outcome::Shadow));
        facts.mode = Mode::Page;
        assert_eq!(route(facts), Route::End(Outcome::Paged));
        facts.mode = Mode::Ask;
        assert_eq!(route(facts), Route::End(Outcome::UnknownEmployee));
        facts.known = true;
        assert_eq!(route(facts), Route::End(Outcome::OptedOut));
        facts.opted_out = false;
        assert_eq!(route(facts), Route::Snoozed(case));
        facts.snooze = None;
        assert_eq!(route(facts), Route::Ask);
    }
}
