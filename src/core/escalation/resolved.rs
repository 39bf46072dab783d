//! A named operator ends the escalation with a reason. Every pager that holds a key is told, in every
//! round, or an incident would stay open somewhere for ever.

use crate::core::ids::OperatorName;
use crate::core::machine::{Context, Step};
use crate::core::record::Who;

use super::draft::Draft;
use super::event::Reply;
use super::state::{Escalation, Life, Standing};

pub(super) fn step(
    escalation: &Escalation,
    life: &Life,
    operator: &OperatorName,
    reason: &str,
    cx: &Context<'_>,
) -> Step<Escalation> {
    let refused = |why: String| Step::unchanged(escalation, Reply::NoLongerApplies { why });
    if let Standing::Resolved { by, .. } = &life.standing {
        return refused(format!("{by} has resolved it already"));
    }
    let reason = reason.trim();
    if reason.is_empty() {
        return refused("a reason is needed to resolve an escalation".to_owned());
    }
    let mut draft = Draft::new(escalation, life.clone(), cx);
    draft.life.standing = Standing::Resolved {
        by: operator.clone(),
        reason: reason.to_owned(),
    };
    for level in &mut draft.life.begun {
        level.again_at = None;
    }
    draft.withdraw_pages();
    draft.tell_resolved(operator, reason);
    draft.record(
        "escalation_resolved",
        Who::Operator(operator.clone()),
        reason,
    );
    draft.finish(Reply::Taken)
}
