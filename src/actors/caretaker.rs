//! Brings actors back. actix's own supervisor does not restart after a panic and has no backoff, so this
//! one watches whether each actor is still connected, and starts it anew through the closure that made it.

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture,
    fut::ActorFutureExt,
};
use metrics::counter;
use tokio::time::Instant;

use super::mailbox::post;
use super::messages::Stop;
use crate::store::Store;

const LOOK_EVERY: Duration = Duration::from_millis(200);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LONGEST: Duration = Duration::from_secs(10);
/// An actor that lived this long starts its backoff anew.
const SETTLED: Duration = Duration::from_secs(60);
/// Longer than the store takes to give a lease up.
const DRAIN: Duration = Duration::from_secs(3);

/// One running actor, whatever its type.
pub struct Life {
    alive: Box<dyn Fn() -> bool>,
    stop: Box<dyn Fn()>,
}

impl Life {
    pub fn of<A: Actor<Context = Context<A>> + Handler<Stop>>(addr: Addr<A>) -> Self {
        let watched = addr.clone();
        Self {
            alive: Box::new(move || watched.connected()),
            stop: Box::new(move || post(&addr, Stop)),
        }
    }
}

struct Ward {
    role: String,
    spawn: Box<dyn Fn() -> Life>,
    life: Life,
    since: Instant,
    backoff: Duration,
    again_at: Option<Instant>,
}

/// Watches over every long-lived actor, in the order in which they were added, and over the server that the store
/// stands on: what the actors hold in memory may be more than another one has.
pub struct Caretaker {
    wards: Vec<Ward>,
    store: Arc<dyn Store>,
}

impl Caretaker {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            wards: Vec::new(),
            store,
        }
    }

    /// Starts an actor and keeps it alive. `spawn` also installs its address in its slot.
    pub fn keep(&mut self, role: impl Into<String>, spawn: impl Fn() -> Life + 'static) {
        let life = spawn();
        self.wards.push(Ward {
            role: role.into(),
            spawn: Box::new(spawn),
            life,
            since: Instant::now(),
            backoff: BACKOFF_FIRST,
            again_at: None,
        });
    }

    /// Everybody ends, as in a crash, and reads what the store has.
    fn begin_anew(&mut self, ctx: &mut Context<Self>) {
        tracing::warn!(
            "another server stands behind the store: all actors begin anew from what it has"
        );
        counter!("securitybot_store_changes_total").increment(1);
        let wards: Vec<Ward> = self.wards.drain(..).collect();
        let store = self.store.clone();
        let anew = async move {
            end(&wards).await;
            store.begin_anew().await;
            wards
        };
        ctx.wait(anew.into_actor(self).map(|wards, caretaker, _| {
            for ward in wards {
                caretaker.keep(ward.role, ward.spawn);
            }
        }));
    }

    fn look(&mut self) {
        let now = Instant::now();
        for ward in &mut self.wards {
            if (ward.life.alive)() {
                continue;
            }
            let again_at = *ward.again_at.get_or_insert_with(|| {
                if now.duration_since(ward.since) > SETTLED {
                    ward.backoff = BACKOFF_FIRST;
                }
                tracing::error!(actor = %ward.role, after = ?ward.backoff, "actor ended, restarting");
                now + ward.backoff
            });
            if now >= again_at {
                counter!("securitybot_actor_restarts_total", "actor" => ward.role.clone())
                    .increment(1);
                ward.life = (ward.spawn)();
                ward.since = now;
                ward.again_at = None;
                ward.backoff = (ward.backoff * 2).min(BACKOFF_LONGEST);
            }
        }
    }
}

impl Actor for Caretaker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(LOOK_EVERY, |caretaker, ctx| {
            match caretaker.store.is_another() {
                true => caretaker.begin_anew(ctx),
                false => caretaker.look(),
            }
        });
    }
}

/// Ends one actor as a crash would; it is brought back like after any other.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct StopOne {
    pub role: String,
}

impl Handler<StopOne> for Caretaker {
    type Result = bool;

    fn handle(&mut self, message: StopOne, _: &mut Self::Context) -> bool {
        let found: Vec<_> = self
            .wards
            .iter()
            .filter(|ward| ward.role == message.role)
            .collect();
        found.iter().for_each(|ward| (ward.life.stop)());
        !found.is_empty()
    }
}

/// The roles that are watched, in order.
#[derive(Debug, Message)]
#[rtype(result = "Vec<String>")]
pub struct Roles;

impl Handler<Roles> for Caretaker {
    type Result = Vec<String>;

    fn handle(&mut self, _: Roles, _: &mut Self::Context) -> Vec<String> {
        self.wards.iter().map(|ward| ward.role.clone()).collect()
    }
}

/// Ends every actor for good, newest first: the drain of an orderly shutdown. Answered when all have
/// ended, or did not in time.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StopAll;

impl Handler<StopAll> for Caretaker {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopAll, ctx: &mut Self::Context) -> Self::Result {
        let wards: Vec<Ward> = self.wards.drain(..).collect();
        ctx.stop();
        Box::pin(async move { end(&wards).await })
    }
}

/// Those first that were started last: they depend on what was started before.
async fn end(wards: &[Ward]) {
    let newest_first = || wards.iter().rev();
    for ward in newest_first() {
        (ward.life.stop)();
    }
    let until = Instant::now() + DRAIN;
    for ward in newest_first() {
        while (ward.life.alive)() {
            if Instant::now() > until {
                tracing::warn!(actor = %ward.role, "did not end in time");
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
