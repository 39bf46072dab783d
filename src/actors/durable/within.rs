//! What needs no other system than the store is performed by the commit that decides it: one commit instead of a
//! commit, a call and the commit of its end, and no instant between them in which anything could be lost.

use std::panic::{AssertUnwindSafe, catch_unwind};

use metrics::counter;

use crate::actors::checkpoint::Outbox;
use crate::core::machine::{Context, Effect, Machine, Step};

use super::Durable;
use super::perform::{Order, Then, Within};

/// Of one commit; the rest is performed as usual.
const MOST: usize = 16;

impl<M: Machine> Durable<M> {
    /// The step and its outbox after all that the commit itself can perform.
    pub(super) fn perform_within(
        &self,
        mut step: Step<M>,
        mut outbox: Outbox<M::Effect>,
        cx: &Context<'_>,
    ) -> (Step<M>, Outbox<M::Effect>, Vec<Then>) {
        let mut then = Vec::new();
        while then.len() < MOST {
            let Some((order, within)) = self.next_within(&outbox, cx) else {
                break;
            };
            let event = M::settled(order.effect.as_ref().clone(), within.settlement);
            // Ids are made of it: a step of its own needs its own.
            let cx = &Context {
                entropy: rand::random(),
                ..*cx
            };
            // One that panics is met again when the effect is performed as usual, and the aggregate starts anew then.
            let Ok(mut settled) = catch_unwind(AssertUnwindSafe(|| step.next.step(&event, cx)))
            else {
                break;
            };
            let effects = std::mem::take(&mut settled.effects);
            outbox = outbox.after(
                Some(order.seq),
                &settled.withdraw,
                &self.started,
                effects,
                cx.now,
            );
            settled.rows.push(within.row);
            step.and_then(settled);
            then.push(within.then);
            counter!("securitybot_effects_started_total", "effect" => order.effect.name())
                .increment(1);
        }
        (step, outbox, then)
    }

    /// The first that nobody began to perform and nothing before it holds up.
    fn next_within(
        &self,
        outbox: &Outbox<M::Effect>,
        cx: &Context<'_>,
    ) -> Option<(Order<M::Effect>, Within)> {
        outbox
            .heads()
            .into_iter()
            .filter(|entry| !self.started.contains(&entry.seq) && entry.not_before <= cx.now)
            .find_map(|entry| {
                let order = Order {
                    key: self.key.clone(),
                    seq: entry.seq,
                    effect: entry.effect.clone(),
                    maybe_done: false,
                    world: self.world.clone(),
                };
                let performer = self.env.performer.as_ref();
                let within = catch_unwind(AssertUnwindSafe(|| performer.within(&order)));
                within.ok().flatten().map(|within| (order, within))
            })
    }
}
