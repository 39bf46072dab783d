//! Performing effects: started once the commit that holds them stands, in order per lane, and again under
//! the same key until they settle. How one ended is an event like any other.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, Context, Handler, Message, WrapFuture, fut::ActorFutureExt};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use metrics::counter;

use crate::actors::checkpoint::{self, Encoded, Entry};
use crate::core::ids::AggregateKey;
use crate::core::machine::{Effect, Machine, RowChange, Settlement, retry_delay};
use crate::core::world::World;
use crate::store::Commit;

use super::Durable;
use super::commit::Prepared;

/// How effects reach the world. Performing is repeated under the same key until it settles.
pub trait Perform<M: Machine>: Send + Sync + 'static {
    fn perform(&self, order: Order<M::Effect>) -> BoxFuture<'static, Performed>;

    /// What needs no other system than the store can be part of the commit that decides it. `None`: it is
    /// performed once that commit stands.
    fn within(&self, _order: &Order<M::Effect>) -> Option<Within> {
        None
    }
}

/// An effect that a commit performs.
pub struct Within {
    pub row: RowChange,
    pub settlement: Settlement,
    /// Called when the commit stands; losing it in a crash must lose nothing.
    pub then: Then,
}

pub type Then = Box<dyn FnOnce() + Send>;

/// One effect to be performed.
#[derive(Clone, Debug)]
pub struct Order<E> {
    pub key: AggregateKey,
    pub seq: u64,
    pub effect: Arc<E>,
    /// A try before this one may have reached the other side: read back where that is possible.
    pub maybe_done: bool,
    pub world: Arc<World>,
}

impl<E> Order<E> {
    /// The effect's key for the other side: the same for every try, for ever.
    pub fn effect_key(&self) -> String {
        format!("{}#{}", self.key, self.seq)
    }
}

#[derive(Clone, Debug)]
pub enum Performed {
    Settled(Settlement),
    Retry {
        why: String,
        after: Option<Duration>,
    },
}

impl<M: Machine> Durable<M> {
    pub(super) fn start_effects(&mut self, ctx: &mut Context<Self>) {
        let now = (self.env.now)();
        let ready: Vec<Entry<M::Effect>> = self
            .outbox
            .heads()
            .into_iter()
            .filter(|entry| entry.not_before <= now && !self.in_flight.contains(&entry.seq))
            .cloned()
            .collect();
        for entry in ready {
            let maybe_done = !self.started.insert(entry.seq);
            self.in_flight.insert(entry.seq);
            let order = Order {
                key: self.key.clone(),
                seq: entry.seq,
                effect: entry.effect,
                maybe_done,
                world: self.world.clone(),
            };
            let seq = order.seq;
            counter!("securitybot_effects_started_total", "effect" => order.effect.name())
                .increment(1);
            let performer = self.env.performer.clone();
            // A plugin that panics must not take the aggregate and its other effects with it.
            let performed = AssertUnwindSafe(async move { performer.perform(order).await });
            ctx.spawn(performed.catch_unwind().into_actor(self).map(
                move |performed, _, ctx: &mut Context<Self>| {
                    let performed = performed.unwrap_or_else(|panic| Performed::Retry {
                        why: format!("it panicked: {}", panic_text(panic.as_ref())),
                        after: None,
                    });
                    // Through the mailbox: a commit may be under way.
                    ctx.notify(Performance { seq, performed });
                },
            ));
        }
    }

    /// A try failed: when it may be tried again is durable, so that a restart does not hurry it.
    fn defer(&mut self, seq: u64, after: Duration, ctx: &mut Context<Self>) {
        let now = (self.env.now)();
        let mut outbox = self.outbox.clone();
        let Some(entry) = outbox.entries.iter_mut().find(|entry| entry.seq == seq) else {
            return;
        };
        entry.tries = entry.tries.saturating_add(1);
        entry.not_before = now.after(after);
        let mut next = self.state.clone();
        let Encoded {
            state,
            pieces,
            due,
            due_stands,
            written,
        } = checkpoint::encode_after(&self.key.name, &self.written, &mut next, &outbox);
        let commit = Commit {
            key: self.key.clone(),
            expected: self.version,
            state,
            pieces,
            guard: serde_json::to_string(&self.state.guard()).expect("a guard is plain data"),
            due,
            due_stands,
            rows: Vec::new(),
            births: Vec::new(),
        };
        let prepared = Prepared {
            next,
            outbox,
            written,
            commit: Some(commit),
            records: Vec::new(),
            reply: None,
            births: Vec::new(),
            then: Vec::new(),
        };
        self.commit(prepared, M::woken(), None, ctx);
    }
}

/// One performed effect comes back.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(super) struct Performance {
    pub seq: u64,
    performed: Performed,
}

impl<M: Machine> Handler<Performance> for Durable<M> {
    type Result = ();

    fn handle(&mut self, message: Performance, ctx: &mut Self::Context) {
        let seq = message.seq;
        self.in_flight.remove(&seq);
        let Some(entry) = self.outbox.entries.iter().find(|entry| entry.seq == seq) else {
            return self.rest(ctx);
        };
        let performed = message.performed.clone();
        self.settling = Some(message);
        match performed {
            Performed::Settled(settlement) => {
                let event = M::settled(entry.effect.as_ref().clone(), settlement);
                self.take(event, Some(seq), None, ctx);
            }
            Performed::Retry { why, after } => {
                let delay = after.unwrap_or_else(|| retry_delay(entry.tries));
                let effect = entry.effect.name();
                tracing::info!(key = %self.key, seq, effect, %why, ?delay, "will try again");
                counter!("securitybot_effects_retried_total", "effect" => effect).increment(1);
                self.defer(seq, delay, ctx);
            }
        }
    }
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
