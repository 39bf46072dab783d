//! Who answered, with what, and what came of it.

use std::collections::BTreeMap;

use super::operators;
use super::view::{Act, View, instant, name};

pub fn outcome_is_the_answer(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, case) in &view.cases {
        let employee = case.employee();
        let said = |action: &str| {
            view.acts_on(id)
                .any(|act| act.by == employee && act.action == action && act.maybe_taken())
        };
        let answered = match case.outcome() {
            Some("verified") => said("confirm"),
            Some("denied") => said("no"),
            Some("unsure") => said("not_sure") || said("someone_else"),
            // Silence: nothing that counts may have been taken in time.
            Some("no_answer") => {
                let counted = view.acts_on(id).any(|act| {
                    let first = act.answers.iter().find(|(_, status, _)| *status > 0);
                    let at_once =
                        first.is_some_and(|(_, status, said)| *status == 200 && said.is_empty());
                    act.by == employee
                        && matches!(act.action, "no" | "not_sure")
                        && at_once
                        && !late(view, id, act.t)
                });
                !counted
            }
            _ => true,
        };
        if !answered {
            wrong.push(format!(
                "case {id} is {}, which {employee} did not say",
                name(&case.outcome)
            ));
        }
    }
    wrong
}

/// The case was over (as the API told it) when that was said.
fn late(view: &View<'_>, case: &str, t: u64) -> bool {
    let closed = view
        .cases
        .get(case)
        .and_then(|case| instant(&case.closed_at));
    let (first_t, first_wall) = view.began;
    let began = first_wall - i64::try_from(first_t / 1000).unwrap_or(0);
    closed
        .is_some_and(|closed| closed <= began + i64::try_from(t / 1000).unwrap_or(i64::MAX) + 1000)
}

pub fn only_the_asked(view: &View<'_>) -> Vec<String> {
    let mut wrong = operators::only_operators(view);
    // A no is taken from anybody, as one to a question that is no longer kept: it pages under an id of
    // its own and touches no case (I6 would see it).
    let counts = |act: &&Act<'_>| act.taken() && act.action != "no";
    for act in view.acts.values().filter(counts) {
        let Some(case) = view.cases.get(act.case) else {
            continue;
        };
        if case.employee.as_deref() != Some(act.by) {
            wrong.push(format!(
                "{} answered case {} of {}",
                act.by,
                act.case,
                name(&case.employee)
            ));
        }
    }
    for (id, case) in view
        .cases
        .iter()
        .filter(|(_, case)| case.outcome() == Some("verified"))
    {
        let employee = case.employee();
        let proved = view.acts_on(id).any(|act| {
            act.by == employee
                && act.action == "confirm"
                && act.step.is_some()
                && act.maybe_taken()
                && act.ticks.iter().any(|(tick, revision)| {
                    tick == id && u64::from(*revision) == case.revision.unwrap_or(0)
                })
        });
        if !proved {
            wrong.push(format!(
                "case {id} is verified without a code of {employee} for its revision {}",
                case.revision.unwrap_or(0)
            ));
        }
    }
    wrong
}

pub fn steps_rise(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    let mut accepted: Vec<&Act<'_>> = view
        .acts
        .values()
        .filter(|act| act.action == "confirm" && took_now(act))
        .collect();
    accepted.sort_by_key(|act| act.answers.first().map(|a| a.0));
    for act in accepted {
        let step = act.step.unwrap_or(i64::MIN);
        if last.get(act.by).is_some_and(|last| step <= *last) {
            wrong.push(format!(
                "{}: the code of step {step} was taken a second time",
                act.by
            ));
        }
        let last = last.entry(act.by).or_insert(step);
        *last = step.max(*last);
    }
    wrong
}

/// Taken as something new: the bot says nothing when it takes a form.
fn took_now(act: &Act<'_>) -> bool {
    act.answers
        .iter()
        .any(|(_, status, said)| *status == 200 && said.is_empty())
}
