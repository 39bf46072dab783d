//! Keeps the live instances of one kind of aggregate: loads them when something is for them, hands
//! events over in order, lets idle ones go, and never has two instances of one aggregate.
//!
//! The Dispatcher keeps Conversations, the Escalator keeps Escalations. It holds no truth: what it loses
//! when it dies is in the store.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, ResponseFuture};
use metrics::{Gauge, gauge};
use tokio::sync::oneshot;

use crate::core::ids::AggregateKey;
use crate::core::machine::Machine;
use crate::core::world::World;

use super::beside::{Beside, Done};
use super::durable::{Durable, Env, Handle, Loaded, Notice, WakeUp};
use super::loads::{self, Found, Loads};
use super::mailbox::post;
use super::messages::{DeliverError, Reconfigure, Stop, Wake};

/// An event that met this many conflicts in a row goes back to its sender.
const MAX_CONFLICTS: u32 = 3;

enum Slot<M: Machine> {
    /// Nobody lives, and exactly one load (waiting, under way, or beginning it anew) will end this: with an instance,
    /// or with "try again" for all who wait. What an instance that is gone still had on its way to the store may land
    /// after it was read; then the first commit from here is a conflict, and it is read again.
    Loading(Vec<Queued<M>>),
    Live {
        addr: Addr<Durable<M>>,
        instance: u64,
        sent: u64,
    },
}

enum Queued<M: Machine> {
    Event(Handle<M>),
    Wake(u64),
}

pub struct Keeper<M: Machine> {
    env: Arc<Env<M>>,
    world: Arc<World>,
    slots: HashMap<String, Slot<M>>,
    instances: u64,
    loads: Loads,
    /// The groups that are being read, and those that begin anew.
    under_way: Beside,
    live: Gauge,
}

/// A group of this partition may be read.
#[derive(Message)]
#[rtype(result = "()")]
struct Load(u16);

impl<M: Machine> Keeper<M> {
    /// `kind` for metrics: `conversation` or `escalation`.
    pub fn new(kind: &'static str, env: Arc<Env<M>>, world: Arc<World>) -> Self {
        Self {
            env,
            world,
            slots: HashMap::new(),
            instances: 0,
            loads: Loads::default(),
            under_way: Beside::default(),
            live: gauge!("securitybot_live_actors", "kind" => kind),
        }
    }

    /// Hands an event over and gives the answer that comes after its commit.
    pub fn deliver(
        &mut self,
        to: AggregateKey,
        event: M::Event,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<Result<M::Reply, DeliverError>> {
        let (reply, answer) = oneshot::channel();
        let world = self.world.clone();
        self.hand_over(
            to,
            Queued::Event(Handle {
                event,
                reply,
                world,
                conflicts: 0,
            }),
            ctx,
        );
        Box::pin(async move {
            answer.await.unwrap_or_else(|_| {
                Err(DeliverError::TryAgain(
                    "the conversation is being loaded again".to_owned(),
                ))
            })
        })
    }

    fn hand_over(&mut self, to: AggregateKey, queued: Queued<M>, ctx: &mut Context<Self>) {
        match self.slots.get_mut(&to.name) {
            Some(Slot::Live { addr, sent, .. }) if addr.connected() => {
                *sent += 1;
                forward(addr, queued, &self.world);
            }
            Some(Slot::Loading(waiting)) => waiting.push(queued),
            // Also one that died without a word (a panic outside its step).
            _ => {
                let slot = Slot::Loading(vec![queued]);
                self.slots.insert(to.name.clone(), slot);
                let partition = to.partition;
                // Let those for whom something is in the mailbox already join the group.
                if self.loads.ask(to) {
                    ctx.notify(Load(partition));
                }
            }
        }
    }

    /// Reads the next group of a partition; none is under way.
    fn load(&mut self, partition: u16, ctx: &mut Context<Self>) {
        let names = self.loads.take(partition);
        if names.is_empty() {
            return;
        }
        let store = self.env.store.clone();
        let read = async move { loads::read(store.as_ref(), partition, names).await };
        self.under_way
            .run(ctx, read, move |group, actor: &mut Self, ctx| {
                actor.load(partition, ctx);
                for found in group {
                    actor.go_on(found, ctx);
                }
            });
    }

    fn go_on(&mut self, found: Found<M>, ctx: &mut Context<Self>) {
        match found {
            Found::Whole(loaded) => self.live(loaded, ctx),
            Found::Unreadable(key, stored) => {
                let (env, world) = (self.env.clone(), self.world.clone());
                let rebuild = async move { loads::rebuild(&env, key, stored, &world).await };
                self.under_way
                    .run(ctx, rebuild, |found, actor: &mut Self, ctx| {
                        actor.go_on(found, ctx);
                    });
            }
            Found::Not(key, why) => {
                tracing::warn!(%key, %why, "cannot load");
                let Some(Slot::Loading(waiting)) = self.slots.remove(&key.name) else {
                    return;
                };
                for queued in waiting {
                    if let Queued::Event(handle) = queued {
                        let _ = handle.reply.send(Err(DeliverError::TryAgain(why.clone())));
                    }
                }
            }
        }
    }

    /// An instance with all that waited for it, in order.
    fn live(&mut self, loaded: Loaded<M>, ctx: &mut Context<Self>) {
        let Some(slot) = self.slots.get_mut(&loaded.key.name) else {
            return;
        };
        let Slot::Loading(waiting) = slot else {
            return;
        };
        let waiting = std::mem::take(waiting);
        self.instances += 1;
        let instance = self.instances;
        let owner = ctx.address().downgrade().recipient();
        let (env, world) = (self.env.clone(), self.world.clone());
        let addr = Durable::new(loaded, instance, env, owner, world).start();
        let sent = waiting.len() as u64;
        for queued in waiting {
            forward(&addr, queued, &self.world);
        }
        *slot = Slot::Live {
            addr,
            instance,
            sent,
        };
    }

    fn measure(&self) {
        self.live.set(self.slots.len() as f64);
    }
}

fn forward<M: Machine>(addr: &Addr<Durable<M>>, queued: Queued<M>, world: &Arc<World>) {
    match queued {
        Queued::Event(handle) => post(addr, handle),
        Queued::Wake(version) => post(
            addr,
            WakeUp {
                version,
                world: world.clone(),
            },
        ),
    }
}

impl<M: Machine> Actor for Keeper<M> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Producers are bounded (intake windows, HTTP connections, the Waker's batch); this bound is
        // only for their sum.
        ctx.set_mailbox_capacity(16_384);
    }
}

impl<M: Machine> Drop for Keeper<M> {
    fn drop(&mut self) {
        for slot in self.slots.values() {
            if let Slot::Live { addr, .. } = slot {
                post(addr, Stop);
            }
        }
    }
}

impl<M: Machine> Handler<Wake> for Keeper<M> {
    type Result = ();

    fn handle(&mut self, wake: Wake, ctx: &mut Self::Context) {
        self.hand_over(wake.to, Queued::Wake(wake.version), ctx);
    }
}

impl<M: Machine> Handler<Notice<M>> for Keeper<M> {
    type Result = ();

    fn handle(&mut self, notice: Notice<M>, ctx: &mut Self::Context) {
        match notice {
            Notice::Idle {
                key,
                instance,
                handled,
            } => {
                if let Some(Slot::Live {
                    addr,
                    instance: live,
                    sent,
                }) = self.slots.get(&key.name)
                    && (*live, *sent) == (instance, handled)
                {
                    post(addr, Stop);
                    self.slots.remove(&key.name);
                }
            }
            Notice::Ended {
                key,
                instance,
                again,
            } => {
                if let Some(Slot::Live { instance: live, .. }) = self.slots.get(&key.name)
                    && *live == instance
                {
                    self.slots.remove(&key.name);
                }
                match again {
                    Some(handle) if handle.conflicts < MAX_CONFLICTS => {
                        self.hand_over(key, Queued::Event(handle), ctx);
                    }
                    Some(handle) => {
                        let why = "the conversation keeps changing elsewhere".to_owned();
                        let _ = handle.reply.send(Err(DeliverError::TryAgain(why)));
                    }
                    None => {}
                }
            }
        }
        self.measure();
    }
}

impl<M: Machine> Handler<Done<Self>> for Keeper<M> {
    type Result = ();

    fn handle(&mut self, done: Done<Self>, ctx: &mut Self::Context) {
        done.go_on(self, ctx);
        self.measure();
    }
}

impl<M: Machine> Handler<Load> for Keeper<M> {
    type Result = ();

    fn handle(&mut self, Load(partition): Load, ctx: &mut Self::Context) {
        self.load(partition, ctx);
    }
}

impl<M: Machine> Handler<Reconfigure> for Keeper<M> {
    type Result = ();

    fn handle(&mut self, message: Reconfigure, _: &mut Self::Context) {
        self.world = message.world;
    }
}

impl<M: Machine> Handler<Stop> for Keeper<M> {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        use actix::ActorContext;
        ctx.stop();
    }
}
