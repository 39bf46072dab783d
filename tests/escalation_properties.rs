//! Whatever happens in whatever order: no page is lost, none is early, none is sent under a number that
//! another one had, and what is resolved is quiet.
#![allow(clippy::unwrap_used, reason = "a test may fail that way")]

mod escalation_support;

use std::collections::BTreeMap;

use escalation_support::{MINUTE, Run, ladder, level, pages, short};
use proptest::prelude::*;
use securitybot::core::alert::Severity;
use securitybot::core::case::EscalationState;
use securitybot::core::escalation::Effect;
use securitybot::core::machine::{Machine, Receipt, Settlement};
use securitybot::core::policy::{Ladder, Level};
use securitybot::core::time::Timestamp;

#[derive(Clone, Debug)]
enum Op {
    Wait(u32),
    Ack(bool),
    Assign(bool),
    Resolve,
    Raise(u32),
    Start(usize),
    Done(usize),
    Impossible(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u32..12).prop_map(Op::Wait),
        1 => (100u32..400).prop_map(Op::Wait),
        2 => any::<bool>().prop_map(Op::Ack),
        1 => any::<bool>().prop_map(Op::Assign),
        1 => Just(Op::Resolve),
        1 => (0u32..3).prop_map(Op::Raise),
        3 => (0usize..8).prop_map(Op::Start),
        6 => (0usize..8).prop_map(Op::Done),
        3 => (0usize..8).prop_map(Op::Impossible),
    ]
}

fn one_level() -> impl Strategy<Value = Level> {
    let pagers = prop::sample::subsequence(vec!["log", "am", "duty"], 1..=3);
    (0u32..30, pagers, 0u32..20).prop_map(|(after, pagers, repeat)| level(after, &pagers, repeat))
}

fn any_ladder() -> impl Strategy<Value = Ladder> {
    prop::collection::vec(one_level(), 1..4).prop_map(ladder)
}

/// What the pagers and a watch have seen.
#[derive(Default)]
struct Seen {
    /// By (pager, key, repeat): when it was last sent.
    pages: BTreeMap<(String, String, u32), Timestamp>,
    /// By (round, level): when its last new page went out, and how many `page_failed` there were.
    levels: BTreeMap<(u32, u32), (Timestamp, usize)>,
    rounds: BTreeMap<u32, Timestamp>,
    /// How many records have been looked at.
    records: usize,
}

impl Seen {
    fn check(&mut self, run: &Run, effects: &[Effect]) -> Result<(), TestCaseError> {
        let new = &run.records[self.records..];
        self.records = run.records.len();
        let has = |event: &str| new.iter().any(|r| r.event == event);
        let failures = run
            .records
            .iter()
            .filter(|r| r.event == "page_failed")
            .count();
        let round = run.row.as_ref().unwrap().round;
        self.rounds.entry(round).or_insert(run.now);
        let mut levels_now = BTreeMap::new();
        for (effect, page) in effects
            .iter()
            .filter(|e| matches!(e, Effect::Page { .. }))
            .zip(pages(effects))
        {
            let said = format!("{:?} at {}", short(std::slice::from_ref(effect)), run.now);
            prop_assert_eq!(
                &page.key,
                &format!("{}:{}:{}", run.id, page.round, page.level)
            );
            let name = (effect.pager().to_string(), page.key.clone(), page.repeat);
            if let Some(before) = self.pages.insert(name, run.now) {
                prop_assert_eq!(effect.pager().as_str(), "am", "sent twice: {}", said);
                prop_assert!(
                    run.now >= before.after(MINUTE * 4),
                    "refreshed early: {}",
                    said
                );
                continue;
            }
            let place = (page.round, page.level);
            levels_now.insert(place, (run.now, failures));
            let plan = &run.ladder.levels[page.level as usize - 1];
            match self.levels.get(&place) {
                Some((before, failed)) => prop_assert!(
                    run.now >= before.after(plan.repeat) && !plan.repeat.is_zero()
                        || has("acknowledgement_expired")
                        || failures > *failed,
                    "repeated early: {}",
                    said
                ),
                None => prop_assert!(
                    page.level == 1
                        || run.now >= self.rounds[&page.round].after(plan.after)
                        || failures > 0,
                    "begun early: {}",
                    said
                ),
            }
        }
        self.levels.extend(levels_now);
        Ok(())
    }
}

fn never_silent(run: &Run) -> Result<(), TestCaseError> {
    let row = run.row.as_ref().unwrap();
    let under_way = run
        .outbox
        .iter()
        .any(|(e, _)| matches!(e, Effect::Page { .. }));
    match row.state {
        EscalationState::Resolved => prop_assert_eq!(run.state.due(), None),
        EscalationState::Acknowledged => prop_assert!(run.state.due().is_some()),
        EscalationState::Open => {
            let configured = run.ladder.levels.iter().all(|l| l.repeat.is_zero())
                && run.state.life.as_ref().unwrap().begun.len() == run.ladder.levels.len()
                && run.records.iter().any(|r| r.event == "page_sent");
            prop_assert!(
                run.state.due().is_some() || under_way || configured,
                "silent for ever: {:?}",
                run.state
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_page_is_lost_early_or_ambiguous(
        ladder in any_ladder(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut run = Run::new(ladder);
        let mut seen = Seen::default();
        let first: Vec<Effect> = run.outbox.iter().map(|(e, _)| e.clone()).collect();
        seen.check(&run, &first)?;
        for op in ops {
            let resolved = run.row.as_ref().unwrap().state == EscalationState::Resolved;
            let raised = matches!(op, Op::Raise(1..));
            let before = run.outbox.len();
            let effects = match op {
                Op::Wait(minutes) => {
                    let due = run.state.due();
                    let effects = run.wake_after(MINUTE * minutes);
                    if due.is_none_or(|due| run.now < due) {
                        prop_assert!(effects.is_empty(), "woken early");
                    }
                    prop_assert!(run.state.due().is_none_or(|due| due > run.now), "woken for ever");
                    effects
                }
                Op::Ack(sam) => {
                    run.ack(if sam { "sam" } else { "kim" });
                    Vec::new()
                }
                Op::Assign(sam) => {
                    let (next, row) = (run.state.due(), run.row.as_ref().unwrap().state);
                    run.assign("kim", if sam { "sam" } else { "kim" });
                    prop_assert_eq!(run.state.due(), next, "an assignment moved the ladder");
                    prop_assert_eq!(run.row.as_ref().unwrap().state, row);
                    Vec::new()
                }
                Op::Resolve => {
                    run.resolve("sam", "seen");
                    let left = run.outbox.iter();
                    let unstarted = left.filter(|(e, started)| !started && matches!(e, Effect::Page { .. }));
                    prop_assert_eq!(unstarted.count(), 0, "paged after the end");
                    Vec::new()
                }
                Op::Raise(by) => {
                    let round = run.row.as_ref().unwrap().round + by;
                    run.raise(round, Severity::High);
                    run.outbox[before..].iter().map(|(e, _)| e.clone()).collect()
                }
                Op::Start(n) => {
                    if let Some((_, started)) = run.outbox.get_mut(n) {
                        *started = true;
                    }
                    Vec::new()
                }
                Op::Done(n) if n < before => run.settle(n, Settlement::Done(Receipt::default())),
                Op::Impossible(n) if n < before => {
                    run.settle(n, Settlement::Impossible { reason: "bad key".to_owned() })
                }
                Op::Done(_) | Op::Impossible(_) => Vec::new(),
            };
            if resolved && !raised {
                prop_assert!(effects.is_empty(), "resolved is quiet: {:?}", short(&effects));
            }
            seen.check(&run, &effects)?;
            never_silent(&run)?;
        }
    }
}
