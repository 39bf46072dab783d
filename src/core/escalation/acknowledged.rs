//! A named operator takes the escalation: paging stops until the acknowledgement expires. The race
//! with the next level is described in `mod.rs`.

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
    cx: &Context<'_>,
) -> Step<Escalation> {
    let until = cx.now.after(life.round().ladder.ack_expires);
    let mut draft = Draft::new(escalation, life.clone(), cx);
    // A lapsed one whose waking is still on its way holds nobody off.
    draft.expire_acknowledgement();
    match &mut draft.life.standing {
        Standing::Resolved { by, .. } => {
            let why = format!("{by} has resolved it already");
            Step::unchanged(escalation, Reply::NoLongerApplies { why })
        }
        Standing::Acknowledged {
            by, until: held, ..
        } if by != operator => {
            let why = format!("{by} has acknowledged it until {held}");
            Step::unchanged(escalation, Reply::NoLongerApplies { why })
        }
        Standing::Acknowledged { until: held, .. } => {
            *held = until;
            let detail = format!("renewed until {until}");
            let who = Who::Operator(operator.clone());
            draft.record("escalation_acknowledged", who, detail);
            draft.finish(Reply::Taken)
        }
        Standing::Open => {
            draft.life.standing = Standing::Acknowledged {
                by: operator.clone(),
                since: cx.now,
                until,
            };
            draft.withdraw_pages();
            draft.tell_acknowledged(operator);
            let who = Who::Operator(operator.clone());
            draft.record("escalation_acknowledged", who, format!("until {until}"));
            draft.finish(Reply::Taken)
        }
    }
}
