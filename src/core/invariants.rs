//! The promises as named predicates over what a conversation did: shared by property tests and
//! simulations. Each looks at what left the machine (rows, records, pages), never at its own word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::case::{CaseView, Outcome};
use super::context::ContextKey;
use super::conversation::{
    Conversation, Effect, Event, Inbound, Proof, PushVerdict, SnoozeRow, Tick,
};
use super::employee::Directory;
use super::ids::{CaseId, SourceId};
use super::machine::{Collection, RowChange, Settlement, Step};
use super::policy::Policy;
use super::record::{Record, Who};
use super::time::Timestamp;
use super::world::World;

/// One committed step: what happened, when, and what came of it.
#[derive(Clone, Debug)]
pub struct Observed {
    pub now: Timestamp,
    pub event: Event,
    pub step: Step<Conversation>,
}

/// What was broken, and at which step of the history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{promise} is broken at step {at}: {what}")]
pub struct Violation {
    pub promise: &'static str,
    pub at: usize,
    pub what: String,
}

type Verdict = Result<(), Violation>;

fn broken<T>(promise: &'static str, at: usize, what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation {
        promise,
        at,
        what: what.into(),
    })
}

/// The case rows that a step wrote.
fn cases(step: &Step<Conversation>) -> impl Iterator<Item = CaseView> {
    let rows = step.rows.iter().filter_map(RowChange::row);
    rows.filter(|row| row.collection == Collection::Cases)
        .filter_map(|row| serde_json::from_str(&row.body).ok())
}

fn snoozes(step: &Step<Conversation>) -> impl Iterator<Item = (SnoozeRow, String)> {
    let rows = step.rows.iter().filter_map(RowChange::row);
    rows.filter(|row| row.collection == Collection::Snoozes)
        .filter_map(|row| {
            let snooze = serde_json::from_str(&row.body).ok()?;
            let key = row.fields.iter().find(|(name, _)| *name == "context")?;
            Some((snooze, key.1.clone()))
        })
}

fn has_record(step: &Step<Conversation>, case: CaseId, event: &str) -> bool {
    step.records
        .iter()
        .any(|record| record.event == event && record.case_id == Some(case))
}

fn inbound(event: &Event) -> Option<&Inbound> {
    match event {
        Event::ButtonPressed { inbound, .. }
        | Event::TextTyped { inbound, .. }
        | Event::FormSubmitted { inbound, .. }
        | Event::PushRequested { inbound, .. } => Some(inbound),
        _ => None,
    }
}

/// P2: every alert taken is in exactly one case; an outcome, once reached, never changes. With
/// `finished` every case must have one.
pub fn every_alert_has_one_final_outcome(history: &[Observed], finished: bool) -> Verdict {
    const P2: &str = "P2";
    let mut case_of: BTreeMap<(SourceId, Arc<str>), CaseId> = BTreeMap::new();
    let mut outcome_of: BTreeMap<CaseId, Option<Outcome>> = BTreeMap::new();
    for (at, seen) in history.iter().enumerate() {
        for view in cases(&seen.step) {
            for alert in &view.alerts {
                let key = (alert.source.clone(), alert.id.clone());
                if *case_of.entry(key).or_insert(view.id) != view.id {
                    return broken(P2, at, format!("alert {} is in two cases", alert.id));
                }
            }
            let known = outcome_of.entry(view.id).or_default();
            if known.is_some() && *known != view.outcome {
                return broken(P2, at, format!("{} changed its outcome", view.reference));
            }
            *known = view.outcome;
        }
        if let Event::AlertsArrived { source, alerts } = &seen.event {
            let lost = alerts.iter().find(|(_, alert)| {
                let key = (source.clone(), alert.id.clone());
                !alert.resolved && !case_of.contains_key(&key)
            });
            if let Some((_, alert)) = lost {
                return broken(P2, at, format!("alert {} is in no case", alert.id));
            }
        }
    }
    match outcome_of.iter().find(|(_, outcome)| outcome.is_none()) {
        Some((case, None)) if finished => broken(
            P2,
            history.len(),
            format!("{} never ended", case.reference()),
        ),
        _ => Ok(()),
    }
}

/// P3: every end is a proved yes, a snooze that one made, a page in the same commit, a named human's
/// closure (or the withdrawal a rule's owner chose), or a shadow.
pub fn nothing_fails_open(history: &[Observed]) -> Verdict {
    const P3: &str = "P3";
    let mut ended = BTreeMap::new();
    for (at, seen) in history.iter().enumerate() {
        for view in cases(&seen.step) {
            let Some(outcome) = view.outcome else {
                continue;
            };
            if ended.insert(view.id, outcome).is_some() {
                continue;
            }
            let id = view.id;
            let fine = match outcome {
                Outcome::Verified => {
                    view.factor.is_some()
                        && ["code_accepted", "push_approved"]
                            .iter()
                            .any(|event| has_record(&seen.step, id, event))
                }
                Outcome::Snoozed => view
                    .snoozed_by
                    .is_some_and(|by| ended.get(&by) == Some(&Outcome::Verified)),
                Outcome::Closed => seen.step.records.iter().any(|record| {
                    record.case_id == Some(id)
                        && record.event == "case_closed"
                        && (matches!(record.who, Who::Operator(_))
                            || record.detail.contains("withdraw_on_resolve"))
                }),
                Outcome::Shadow => true,
                _ => seen.step.births.iter().any(|page| page.id == id),
            };
            if !fine {
                let what = format!("{} ended {} unseen", view.reference, outcome.name());
                return broken(P3, at, what);
            }
        }
    }
    Ok(())
}

/// P5: answers come from the identity that was asked; each verified yes has a code whose step is
/// higher than every one accepted before, or an approved push of its own, and stands for the revision
/// that was ticked.
pub fn nobody_answers_for_somebody_else(history: &[Observed], directory: &Directory) -> Verdict {
    const P5: &str = "P5";
    let answered = [
        Outcome::Denied,
        Outcome::Unsure,
        Outcome::Unverifiable,
        Outcome::Verified,
    ];
    let mut ended = BTreeSet::new();
    let mut last_step = None;
    let mut pushes: BTreeMap<CaseId, (Inbound, Vec<Tick>, CaseId)> = BTreeMap::new();
    for (at, seen) in history.iter().enumerate() {
        let mut proved = false;
        if let Event::PushRequested {
            inbound,
            ticks,
            case,
            ..
        } = &seen.event
        {
            for effect in &seen.step.effects {
                if let Effect::StartPush(push) = effect {
                    let asked = (inbound.clone(), ticks.clone(), *case);
                    pushes.insert(push.challenge, asked);
                }
            }
        }
        let push = pushed(&seen.event).and_then(|challenge| pushes.remove(&challenge));
        for view in cases(&seen.step) {
            let Some(outcome) = view.outcome else {
                continue;
            };
            if !ended.insert(view.id) || !answered.contains(&outcome) {
                continue;
            }
            let asked = seen
                .step
                .next
                .cases()
                .find(|case| case.id == view.id)
                .and_then(|case| case.identity.as_ref());
            let asked_by = push.as_ref().map(|(inbound, ..)| inbound);
            let from = inbound(&seen.event)
                .or(asked_by)
                .map(|inbound| &inbound.from);
            // Without a working factor it ends on the service's word, not on an answer.
            if from.is_none() && outcome == Outcome::Unverifiable {
                continue;
            }
            let owner = from.and_then(|from| directory.by_chat(from)).map(|p| &p.id);
            if from.is_none() || from != asked || owner != view.employee.as_ref() {
                let what = format!("{} was answered by somebody else", view.reference);
                return broken(P5, at, what);
            }
            if outcome == Outcome::Verified {
                if let Some((_, ticks, case)) = &push {
                    let ticked = ticks
                        .iter()
                        .any(|tick| tick.case == view.id && tick.revision == view.revision);
                    let is_own_form = ticks.is_empty() && *case == view.id;
                    if !ticked && !is_own_form {
                        return broken(P5, at, format!("{} was not ticked", view.reference));
                    }
                    continue;
                }
                proved = true;
                let Event::FormSubmitted {
                    ticks,
                    case,
                    proof: Some(Proof::Totp { step: Some(_) }),
                    ..
                } = &seen.event
                else {
                    return broken(P5, at, format!("{} has no proof", view.reference));
                };
                let ticked = ticks
                    .iter()
                    .any(|tick| tick.case == view.id && tick.revision == view.revision);
                let implied = ticks.is_empty() && *case == view.id;
                if !ticked && !implied {
                    return broken(P5, at, format!("{} was not ticked", view.reference));
                }
            }
        }
        if proved || by_command(&seen.step).is_some() {
            let Event::FormSubmitted {
                inbound,
                proof: Some(Proof::Totp { step: Some(step) }),
                ..
            } = &seen.event
            else {
                return broken(P5, at, "a command was proved by nothing");
            };
            let owner = directory.by_chat(&inbound.from).map(|person| &person.id);
            if owner.is_none() || owner != seen.step.next.employee() {
                return broken(P5, at, "a command was proved by somebody else");
            }
            if last_step.is_some_and(|last| *step <= last) {
                return broken(P5, at, format!("code step {step} was used twice"));
            }
            last_step = Some(*step);
        }
    }
    Ok(())
}

/// What a command did with a code: lengthened a snooze, finished practice.
fn by_command(step: &Step<Conversation>) -> Option<&Record> {
    step.records.iter().find(|record| {
        record.event == "snooze_lengthened"
            || (record.event == "practice_ended" && record.detail.contains("proved"))
    })
}

/// The challenge of a push that was approved by this event.
fn pushed(event: &Event) -> Option<CaseId> {
    match event {
        Event::EffectSettled {
            effect: Effect::AwaitPush { challenge, .. },
            settlement: Settlement::Done(receipt),
        } if PushVerdict::parse(&receipt.message_id) == PushVerdict::Approved => Some(*challenge),
        _ => None,
    }
}

/// P7: a snooze begins only with a verified yes of the same commit, for the same employee, rule and
/// context; it is lengthened only by a code, while it stands, and stays the same snooze; it ends; a denial in its context ends it in the same commit; it hides only what came after it.
pub fn only_a_verified_yes_snoozes(history: &[Observed], policy: &Policy) -> Verdict {
    const P7: &str = "P7";
    let mut standing: BTreeMap<String, (SnoozeRow, String)> = BTreeMap::new();
    let mut ended = BTreeSet::new();
    for (at, seen) in history.iter().enumerate() {
        let context = |view: CaseView| {
            let keys = &policy.for_case(&view.rule, view.severity).context_keys;
            let key = ContextKey::new(&view.rule, keys, &view.context);
            (view, key.as_str().to_owned())
        };
        let written: Vec<_> = cases(&seen.step).map(context).collect();
        for row in &seen.step.rows {
            if let RowChange::Delete { collection, id } = row
                && *collection == Collection::Snoozes
            {
                standing.remove(id);
            }
        }
        for (snooze, key) in snoozes(&seen.step) {
            if !standing.contains_key(&snooze.id) {
                let made = written.iter().any(|(view, context)| {
                    view.id == snooze.case
                        && view.outcome == Some(Outcome::Verified)
                        && view.rule == snooze.rule
                        && view.employee.as_ref() == Some(&snooze.employee)
                        && *context == key
                });
                let sound = snooze.from == seen.now && snooze.until > snooze.from;
                if !made || !sound || snooze.context.is_empty() {
                    return broken(P7, at, "a snooze without a verified yes");
                }
            }
            if let Some((before, known)) = standing.get(&snooze.id) {
                let same = SnoozeRow {
                    until: before.until,
                    suppressed: before.suppressed,
                    lengthened_at: before.lengthened_at,
                    ..snooze.clone()
                };
                let lengthened = before.until < snooze.until
                    && seen.now < before.until
                    && snooze.lengthened_at == Some(seen.now)
                    && has_record(&seen.step, snooze.case, "snooze_lengthened");
                if same != *before || *known != key || !(before.until == snooze.until || lengthened)
                {
                    return broken(P7, at, "a snooze became another, or longer without a code");
                }
            }
            standing.insert(snooze.id.clone(), (snooze, key));
        }
        for (view, key) in &written {
            if !ended.insert((view.id, view.outcome)) {
                continue;
            }
            let denied = view.outcome == Some(Outcome::Denied);
            if denied
                && standing
                    .values()
                    .any(|(s, k)| k == key && seen.now < s.until)
            {
                let what = format!("the denial of {} left a snooze", view.reference);
                return broken(P7, at, what);
            }
            if view.outcome == Some(Outcome::Snoozed) {
                let accepted = accepted_at(&seen.event, view);
                let covered = view.snoozed_by.is_some_and(|by| {
                    standing.get(&by.to_string()).is_some_and(|(s, k)| {
                        k == key
                            && seen.now < s.until
                            && view.severity <= s.severity
                            && accepted.is_some_and(|accepted| s.from < accepted)
                    })
                });
                if !covered {
                    let what = format!("{} was suppressed by no snooze", view.reference);
                    return broken(P7, at, what);
                }
            }
        }
    }
    Ok(())
}

fn accepted_at(event: &Event, view: &CaseView) -> Option<Timestamp> {
    let Event::AlertsArrived { alerts, .. } = event else {
        return None;
    };
    let id = &view.alerts.first()?.id;
    alerts
        .iter()
        .find(|(_, alert)| alert.id == *id)
        .map(|(_, alert)| alert.accepted_at)
}

/// All of them.
pub fn all(history: &[Observed], world: &World, finished: bool) -> Verdict {
    every_alert_has_one_final_outcome(history, finished)?;
    nothing_fails_open(history)?;
    nobody_answers_for_somebody_else(history, &world.directory)?;
    only_a_verified_yes_snoozes(history, &world.policy)
}
