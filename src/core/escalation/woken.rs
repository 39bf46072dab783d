//! Time came, or may have come: the next level, a repeat, a refresh, or the end of an acknowledgement.
//! What is not due stays as it is, so early and double waking change nothing; after a long sleep each
//! level is paged once, not once for every repeat it slept through.

use crate::core::machine::{Context, Machine, Step};

use super::draft::Draft;
use super::event::Reply;
use super::state::{Escalation, Life};

pub(super) fn step(escalation: &Escalation, life: &Life, cx: &Context<'_>) -> Step<Escalation> {
    if escalation.due().is_none_or(|at| cx.now < at) {
        return Step::unchanged(escalation, Reply::Taken);
    }
    let now = cx.now;
    let mut draft = Draft::new(escalation, life.clone(), cx);
    let expired = draft.expire_acknowledgement();
    for index in 0..draft.life.begun.len() {
        let is_current = index + 1 == draft.life.begun.len();
        let is_due = draft.life.begun[index].again_at.is_some_and(|at| at <= now);
        if is_due || (expired && (is_current || draft.life.was_withdrawn(index))) {
            draft.repeat_level(index);
        }
    }
    while draft.life.next_level().is_some_and(|(at, _)| at <= now) {
        draft.begin_next_level();
    }
    for place in 0..draft.life.sent.len() {
        if draft.life.sent[place]
            .refresh_at
            .is_some_and(|at| at <= now)
        {
            draft.refresh(place);
        }
    }
    if draft.nobody_reached() {
        draft.retry_all_soon();
    }
    draft.finish(Reply::Taken)
}
