//! Keeps the live instances of one kind of aggregate: loads them when something is for them, hands
//! events over in order, lets idle ones go, and never has two instances of one aggregate.
//!
//! The Dispatcher keeps Conversations, the Escalator keeps Escalations. It holds no truth: what it loses
//! when it dies is in the store.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor, Addr, AsyncContext, Context, Handler, ResponseFuture};
use metrics::{counter, gauge};
use tokio::sync::oneshot;

use crate::core::ids::AggregateKey;
use crate::core::machine::{Guard, Machine};
use crate::core::world::World;
use crate::store::StoreError;

use super::beside::{Beside, Done};
use super::checkpoint::{self, Outbox, Unreadable, Written};
use super::durable::{Durable, Env, Handle, Loaded, Notice, WakeUp};
use super::mailbox::post;
use super::messages::{DeliverError, Reconfigure, Stop, Wake};
use super::recovery;

/// An event that met this many conflicts in a row goes back to its sender.
const MAX_CONFLICTS: u32 = 3;

enum Slot<M: Machine> {
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
    /// `conversation` or `escalation`, for metrics and logs.
    kind: &'static str,
    env: Arc<Env<M>>,
    world: Arc<World>,
    slots: HashMap<String, Slot<M>>,
    instances: u64,
    loads: Beside,
}

impl<M: Machine> Keeper<M> {
    pub fn new(kind: &'static str, env: Arc<Env<M>>, world: Arc<World>) -> Self {
        Self {
            kind,
            env,
            world,
            slots: HashMap::new(),
            instances: 0,
            loads: Beside::default(),
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
        let world = self.world.clone();
        // One that died without a word (a panic outside its step) is loaded anew.
        if let Some(Slot::Live { addr, .. }) = self.slots.get(&to.name)
            && !addr.connected()
        {
            self.slots.remove(&to.name);
        }
        match self.slots.get_mut(&to.name) {
            Some(Slot::Live { addr, sent, .. }) => {
                *sent += 1;
                forward(addr, queued, &world);
            }
            Some(Slot::Loading(waiting)) => waiting.push(queued),
            None => {
                self.slots
                    .insert(to.name.clone(), Slot::Loading(vec![queued]));
                self.load(to, ctx);
            }
        }
    }

    fn load(&mut self, key: AggregateKey, ctx: &mut Context<Self>) {
        let (env, world) = (self.env.clone(), self.world.clone());
        let load = async move { (load(&env, &key, &world).await, key) };
        self.loads
            .run(ctx, load, |(loaded, key), actor: &mut Self, ctx| {
                actor.loaded(key, loaded, ctx);
            });
    }

    fn loaded(
        &mut self,
        key: AggregateKey,
        loaded: Result<Loaded<M>, String>,
        ctx: &mut Context<Self>,
    ) {
        let Some(Slot::Loading(waiting)) = self.slots.remove(&key.name) else {
            return;
        };
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(why) => {
                tracing::warn!(%key, %why, "cannot load");
                for queued in waiting {
                    if let Queued::Event(handle) = queued {
                        let _ = handle.reply.send(Err(DeliverError::TryAgain(why.clone())));
                    }
                }
                return;
            }
        };
        self.instances += 1;
        let instance = self.instances;
        let owner = ctx.address().downgrade().recipient();
        let addr = Durable::new(
            loaded,
            instance,
            self.env.clone(),
            owner,
            self.world.clone(),
        )
        .start();
        let sent = waiting.len() as u64;
        for queued in waiting {
            forward(&addr, queued, &self.world);
        }
        self.slots.insert(
            key.name,
            Slot::Live {
                addr,
                instance,
                sent,
            },
        );
        gauge!("securitybot_live_actors", "kind" => self.kind).set(self.slots.len() as f64);
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

async fn load<M: Machine>(
    env: &Arc<Env<M>>,
    key: &AggregateKey,
    world: &World,
) -> Result<Loaded<M>, String> {
    let stored = match env.store.load(key).await {
        Ok(stored) => stored,
        Err(StoreError::Corrupt(why)) => return Err(why),
        Err(error) => return Err(error.to_string()),
    };
    let Some(stored) = stored else {
        let state = M::new(key);
        return Ok(Loaded {
            key: key.clone(),
            version: 0,
            state,
            outbox: Outbox::new(),
            written: Written::default(),
        });
    };
    let restored = checkpoint::restore::<M>(&key.name, &stored.state, &stored.pieces);
    let own = restored.and_then(|restored| match restored.0.is_of(key) {
        true => Ok(restored),
        false => Err(Unreadable::Corrupt {
            key: key.name.clone(),
            why: "it is another aggregate's".to_owned(),
        }),
    });
    match own {
        Ok((state, outbox, written)) => Ok(Loaded {
            key: key.clone(),
            version: stored.version,
            state,
            outbox,
            written,
        }),
        // A newer bot's state is not ours to judge.
        Err(error @ Unreadable::Newer { .. }) => Err(error.to_string()),
        Err(error @ Unreadable::Corrupt { .. }) => {
            tracing::error!(%key, %error, "an unreadable checkpoint; the aggregate starts anew");
            counter!("securitybot_aggregates_rebuilt_total").increment(1);
            let guard = serde_json::from_str::<Guard>(&stored.guard).ok();
            let written = Written::unreadable(&stored);
            let step = recovery::rebuild::<M>(
                env,
                key.clone(),
                stored.version,
                checkpoint::remains(&stored),
                guard,
                None,
                world,
            )
            .await?;
            super::durable::adopt(env, key, stored.version, &written, step, world).await
        }
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
        gauge!("securitybot_live_actors", "kind" => self.kind).set(self.slots.len() as f64);
    }
}

impl<M: Machine> Handler<Done<Self>> for Keeper<M> {
    type Result = ();

    fn handle(&mut self, done: Done<Self>, ctx: &mut Self::Context) {
        done.go_on(self, ctx);
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
