//! A page was taken, or never will be. When nobody of a level can be paged the next one is not waited
//! for; when nobody of the last can, the whole ladder is tried again and again.

use crate::core::machine::{Context, Settlement, Step};
use crate::core::record::Who;

use super::draft::Draft;
use super::event::{Effect, Reply};
use super::state::{Escalation, Fate, Life, Standing};

pub(super) fn step(
    escalation: &Escalation,
    life: &Life,
    effect: &Effect,
    settlement: &Settlement,
    cx: &Context<'_>,
) -> Step<Escalation> {
    let Effect::Page { pager, page } = effect else {
        return told(escalation, life, effect, settlement, cx);
    };
    let mut draft = Draft::new(escalation, life.clone(), cx);
    let sent = draft.life.sent.iter_mut().find(|s| {
        s.pager == *pager
            && s.round == page.round
            && s.level == page.level
            && s.repeat == page.repeat
    });
    let before = sent.as_ref().map(|s| s.fate);
    let fate = match settlement {
        Settlement::Done(_) => Fate::Delivered,
        Settlement::Impossible { .. } => Fate::Failed,
    };
    if before == Some(fate) {
        return Step::unchanged(escalation, Reply::Taken);
    }
    if let Some(sent) = sent {
        sent.fate = fate;
    }
    let what = format!("{pager}, level {}, repeat {}", page.level, page.repeat);
    match settlement {
        // The same page kept alive is no news.
        Settlement::Done(_) if before == Some(Fate::Refreshing) => {}
        Settlement::Done(_) => draft.record("page_sent", Who::Bot, what),
        Settlement::Impossible { reason } => {
            draft.record("page_failed", Who::Bot, format!("{what}: {reason}"));
            go_on_without(&mut draft, page.round, page.level);
        }
    }
    draft.finish(Reply::Taken)
}

fn go_on_without(draft: &mut Draft<'_>, round: u32, level: u32) {
    let is_current = round == draft.life.round().round && level == draft.life.level();
    if draft.life.standing != Standing::Open || !is_current || !draft.life.has_failed(level) {
        return;
    }
    draft.begin_next_level();
    if draft.nobody_reached() {
        draft.retry_all_soon();
    }
}

/// A pager that could not be told of an acknowledgement or the end shows something untrue: say so.
fn told(
    escalation: &Escalation,
    life: &Life,
    effect: &Effect,
    settlement: &Settlement,
    cx: &Context<'_>,
) -> Step<Escalation> {
    let Settlement::Impossible { reason } = settlement else {
        return Step::unchanged(escalation, Reply::Taken);
    };
    let done = match effect {
        Effect::Acknowledge { .. } => "it is acknowledged",
        Effect::Change { .. } => "the page has changed",
        Effect::Page { .. } | Effect::Resolve { .. } => "it is resolved",
    };
    let detail = format!("{} was not told that {done}: {reason}", effect.pager());
    let mut draft = Draft::new(escalation, life.clone(), cx);
    draft.record("page_failed", Who::Bot, detail);
    draft.finish(Reply::Taken)
}
