//! An escalation is raised, or raised again (a late no, a lock). A round already known changes
//! nothing, so a repeated hand-off pages nobody twice; a new one opens even what was resolved.

use crate::core::machine::{Context, Step};
use crate::core::page::Raise;
use crate::core::policy::DEFAULT_LADDER;
use crate::core::record::Who;

use super::draft::Draft;
use super::event::Reply;
use super::state::{Escalation, Life, Round, Standing};

pub(super) fn step(
    escalation: &Escalation,
    life: Option<&Life>,
    raise: &Raise,
    cx: &Context<'_>,
) -> Step<Escalation> {
    let mut raise = raise.clone();
    if raise.ladder.levels.iter().all(|l| l.pagers.is_empty())
        && let Some(ladder) = cx.world.policy.ladders.get(DEFAULT_LADDER)
    {
        raise.ladder = ladder.clone();
    }
    match life {
        None => open(escalation, raise, cx),
        Some(life) if raise.round <= life.round().round => {
            Step::unchanged(escalation, Reply::Taken)
        }
        Some(life) => open_again(escalation, life, raise, cx),
    }
}

fn open(escalation: &Escalation, raise: Raise, cx: &Context<'_>) -> Step<Escalation> {
    let detail = raise.summary.clone();
    let life = Life {
        id: raise.id,
        opened_at: cx.now,
        rounds: vec![Round { raise }],
        standing: Standing::Open,
        begun: Vec::new(),
        ladder_from: cx.now,
        sent: Vec::new(),
        last_page_at: None,
        assigned: None,
    };
    start(
        Draft::new(escalation, life, cx),
        "escalation_opened",
        detail,
    )
}

fn open_again(
    escalation: &Escalation,
    life: &Life,
    mut raise: Raise,
    cx: &Context<'_>,
) -> Step<Escalation> {
    let mut life = life.clone();
    // What nobody has resolved yet does not become less urgent because more was learned.
    if !matches!(life.standing, Standing::Resolved { .. }) {
        raise.urgency = raise.urgency.max(life.round().urgency);
    }
    if raise.case.is_none() {
        raise.case.clone_from(&life.round().case);
    }
    let detail = raise.summary.clone();
    life.rounds.push(Round { raise });
    life.standing = Standing::Open;
    life.begun.clear();
    life.ladder_from = cx.now;
    start(
        Draft::new(escalation, life, cx),
        "escalation_raised_again",
        detail,
    )
}

/// Level 1 is paged at once, whatever its `after`: a page that waits for its first level is none.
fn start(mut draft: Draft<'_>, event: &str, detail: String) -> Step<Escalation> {
    draft.begin_next_level();
    while draft
        .life
        .next_level()
        .is_some_and(|(at, _)| at <= draft.cx.now)
    {
        draft.begin_next_level();
    }
    draft.record(event, Who::Bot, detail);
    if draft.nobody_reached() {
        draft.retry_all_soon();
    }
    draft.finish(Reply::Taken)
}
