//! A named operator gives the escalation to somebody. It is a note: whoever it is given to has to acknowledge, the ladder
//! goes on until somebody does. Pagers whose pages can change say so.

use crate::core::ids::OperatorName;
use crate::core::machine::{Context, Step};
use crate::core::record::Who;

use super::draft::Draft;
use super::event::Reply;
use super::state::{Assignment, Escalation, Life, Standing};

pub(super) fn step(
    escalation: &Escalation,
    life: &Life,
    operator: &OperatorName,
    to: &str,
    cx: &Context<'_>,
) -> Step<Escalation> {
    if let Standing::Resolved { by, .. } = &life.standing {
        let why = format!("{by} has resolved it already");
        return Step::unchanged(escalation, Reply::NoLongerApplies { why });
    }
    let assignment = Assignment {
        to: to.to_owned(),
        by: operator.clone(),
    };
    if life.assigned.as_ref() == Some(&assignment) {
        return Step::unchanged(escalation, Reply::Taken);
    }
    let mut draft = Draft::new(escalation, life.clone(), cx);
    let detail = assignment.words();
    draft.life.assigned = Some(assignment);
    draft.tell_changed();
    draft.record(
        "escalation_assigned",
        Who::Operator(operator.clone()),
        detail,
    );
    draft.finish(Reply::Taken)
}
