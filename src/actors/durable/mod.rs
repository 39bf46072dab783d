//! The one shell around every durable machine: step, commit, and only then act.
//!
//! It holds one aggregate. An event is stepped under `catch_unwind`; the next state, its outbox, journal
//! records and rows go to the Checkpointer as one commit; while that is under way the mailbox stands
//! still. Only a commit that stands changes the state in memory, answers the sender and starts effects. What
//! needs no other system than the store is part of that commit itself.

mod commit;
mod perform;
mod within;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture,
    fut::ActorFutureExt,
};
use metrics::counter;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::core::ids::AggregateKey;
use crate::core::machine::{Machine, Step, retry_delay};
use crate::core::time::{Timestamp, earliest};
use crate::core::world::World;
use crate::store::Write;

use super::checkpoint::{self, Outbox, Written};
use super::checkpointer::Verdict;
use super::mailbox::post_to_owner;
use super::measure::OutboxDepth;
use super::messages::{DeliverError, Stop, Wake};
use super::recovery;

use perform::Performance;

pub use commit::{Env, Loaded, Prepared, adopt, persist, prepared};
pub(crate) use perform::panic_text;
pub use perform::{Order, Perform, Performed, Within};

/// An actor with nothing to do for this long gives its memory back.
const IDLE: Duration = Duration::from_secs(5);
/// OS timers are armed no further ahead than an actor may sit idle; the Waker does the rest.
const LONGEST_TIMER: Duration = Duration::from_secs(60);

/// Who waits for an event's answer, and how often the event already met a conflict.
type Caller<M> = (
    oneshot::Sender<Result<<M as Machine>::Reply, DeliverError>>,
    u32,
);

/// An event for the machine, with whom to answer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Handle<M: Machine> {
    pub event: M::Event,
    pub reply: oneshot::Sender<Result<M::Reply, DeliverError>>,
    pub world: Arc<World>,
    /// How often the event already met a conflict.
    pub conflicts: u32,
}

/// Says to the owner that an instance is no more, or wants to be no more.
#[derive(Message)]
#[rtype(result = "()")]
pub enum Notice<M: Machine> {
    /// Idle after that many messages: may it go?
    Idle {
        key: AggregateKey,
        instance: u64,
        handled: u64,
    },
    /// It ended by itself; what it had in its hands and did not take comes back.
    Ended {
        key: AggregateKey,
        instance: u64,
        again: Option<Handle<M>>,
    },
}

pub struct Durable<M: Machine> {
    key: AggregateKey,
    instance: u64,
    version: u64,
    state: M,
    outbox: Outbox<M::Effect>,
    written: Written<M::Piece>,
    depth: OutboxDepth,
    /// Performing now.
    in_flight: BTreeSet<u64>,
    /// Tried before, by this or an earlier instance: cannot be withdrawn any more.
    started: BTreeSet<u64>,
    env: Arc<Env<M>>,
    owner: actix::WeakRecipient<Notice<M>>,
    world: Arc<World>,
    handled: u64,
    /// What is being committed now, when that is an effect's end.
    settling: Option<Performance>,
    /// Commits refused in a row by a store that cannot write.
    refused: u32,
    timer: Option<(SpawnHandle, Timestamp)>,
    /// When the last event ended, and whether it is looked after.
    active: Instant,
    resting: bool,
}

impl<M: Machine> Durable<M> {
    pub fn new(
        loaded: Loaded<M>,
        instance: u64,
        env: Arc<Env<M>>,
        owner: actix::WeakRecipient<Notice<M>>,
        world: Arc<World>,
    ) -> Self {
        // What an earlier life left in the outbox may have been performed already.
        let started = loaded
            .outbox
            .entries
            .iter()
            .map(|entry| entry.seq)
            .collect();
        Self {
            depth: OutboxDepth::of(loaded.key.kind()),
            key: loaded.key,
            instance,
            version: loaded.version,
            state: loaded.state,
            outbox: loaded.outbox,
            written: loaded.written,
            in_flight: BTreeSet::new(),
            started,
            env,
            owner,
            world,
            handled: 0,
            settling: None,
            refused: 0,
            timer: None,
            active: Instant::now(),
            resting: false,
        }
    }

    /// Steps and commits `event`; `settled` is the outbox entry it settles.
    fn take(
        &mut self,
        event: M::Event,
        settled: Option<u64>,
        handle: Option<Caller<M>>,
        ctx: &mut Context<Self>,
    ) {
        let now = (self.env.now)();
        let entropy = rand::random();
        let world = self.world.clone();
        let cx = crate::core::machine::Context {
            now,
            entropy,
            world: &world,
        };
        match catch_unwind(AssertUnwindSafe(|| self.state.step(&event, &cx))) {
            Ok(step) if settled.is_none() && self.is_unchanged(&step) => {
                if let Some((reply, _)) = handle {
                    let _ = reply.send(Ok(step.reply));
                }
                self.rest(ctx);
            }
            Ok(step) if self.is_unchanged(&step) && self.settles_with_the_next(settled) => {
                self.settling = None;
                self.outbox
                    .entries
                    .retain(|entry| Some(entry.seq) != settled);
                self.rest(ctx);
            }
            Ok(step) => {
                let prepared = self.prepare(step, settled, &cx);
                self.commit(prepared, event, handle, ctx);
            }
            Err(panic) => self.recover(&panic_text(panic.as_ref()), event, settled, handle, ctx),
        }
    }

    /// An end that changes nothing else needs no commit of its own while a later effect, whose end will
    /// be committed, may start at once. Lost in a crash, the effect is performed again under its key.
    fn settles_with_the_next(&self, settled: Option<u64>) -> bool {
        let now = (self.env.now)();
        settled.is_some_and(|settled| {
            self.outbox
                .entries
                .iter()
                .any(|entry| entry.seq > settled && entry.not_before <= now)
        })
    }

    fn is_unchanged(&self, step: &Step<M>) -> bool {
        step.effects.is_empty()
            && step.records.is_empty()
            && step.rows.is_empty()
            && step.births.is_empty()
            && step.withdraw.is_empty()
            && step.next == self.state
    }

    fn prepare(
        &self,
        mut step: Step<M>,
        settled: Option<u64>,
        cx: &crate::core::machine::Context<'_>,
    ) -> Prepared<M> {
        let effects = std::mem::take(&mut step.effects);
        let outbox = self
            .outbox
            .after(settled, &step.withdraw, &self.started, effects, cx.now);
        let (step, outbox, then) = self.perform_within(step, outbox, cx);
        Prepared {
            then,
            ..prepared(&self.key, self.version, &self.written, step, outbox, cx)
        }
    }

    fn commit(
        &mut self,
        mut prepared: Prepared<M>,
        event: M::Event,
        handle: Option<Caller<M>>,
        ctx: &mut Context<Self>,
    ) {
        let env = self.env.clone();
        let Some(commit) = prepared.commit.take() else {
            return self.rest(ctx);
        };
        let write = Write::Commit(commit);
        let records = std::mem::take(&mut prepared.records);
        let partition = self.key.partition;
        let verdict = async move { env.persist(partition, write, records).await };
        ctx.wait(verdict.into_actor(self).map(move |verdict, actor, ctx| {
            actor.concluded(verdict, prepared, event, handle, ctx);
        }));
    }

    fn concluded(
        &mut self,
        verdict: Verdict,
        prepared: Prepared<M>,
        event: M::Event,
        handle: Option<Caller<M>>,
        ctx: &mut Context<Self>,
    ) {
        let settling = self.settling.take();
        match verdict {
            Verdict::Committed | Verdict::Unreplicated(_) => {
                self.refused = 0;
                self.version += 1;
                self.state = prepared.next;
                self.outbox = prepared.outbox;
                self.written = prepared.written;
                if let (Some((reply, _)), Some(said)) = (handle, prepared.reply) {
                    let _ = reply.send(Ok(said));
                }
                for then in prepared.then {
                    then();
                }
                for key in prepared.births {
                    self.env.newborn.tell(Wake {
                        to: key,
                        version: 1,
                    });
                }
                self.rest(ctx);
            }
            // The old state stands; whoever sent the event may send it again. How an effect ended is
            // kept and offered again: performing it anew would page somebody once more at each try.
            Verdict::Failed(why) => {
                self.refused = self.refused.saturating_add(1);
                if let Some((reply, _)) = handle {
                    let _ = reply.send(Err(DeliverError::TryAgain(why)));
                }
                if let Some(settling) = settling {
                    self.in_flight.insert(settling.seq);
                    ctx.notify_later(settling, retry_delay(self.refused));
                }
                self.rest(ctx);
            }
            Verdict::Conflict { found } => {
                tracing::info!(key = %self.key, ours = self.version, found, "stale, loading again");
                let again = handle.map(|(reply, conflicts)| Handle {
                    event,
                    reply,
                    world: self.world.clone(),
                    conflicts: conflicts + 1,
                });
                self.end(again, ctx);
            }
            Verdict::Unknown(why) => {
                if let Some((reply, _)) = handle {
                    let _ = reply.send(Err(DeliverError::TryAgain(why)));
                }
                self.end(None, ctx);
            }
            Verdict::Duplicate(_) => unreachable!("only an accepting commit has marks"),
        }
    }

    /// A panic in the step: the aggregate starts anew, its open cases end as `failed` and page.
    fn recover(
        &mut self,
        panic: &str,
        event: M::Event,
        settled: Option<u64>,
        handle: Option<Caller<M>>,
        ctx: &mut Context<Self>,
    ) {
        tracing::error!(key = %self.key, panic, "a step panicked; the aggregate starts anew");
        counter!("securitybot_aggregates_rebuilt_total").increment(1);
        let old = checkpoint::encode(&self.state, &self.outbox);
        let guard = catch_unwind(AssertUnwindSafe(|| self.state.guard())).ok();
        let (env, key, version) = (self.env.clone(), self.key.clone(), self.version);
        let (poison, world) = (event.clone(), self.world.clone());
        let rebuild = async move {
            recovery::rebuild(&env, key, version, old, guard, Some(&poison), &world).await
        };
        ctx.wait(
            rebuild
                .into_actor(self)
                .map(move |step, actor, ctx| match step {
                    Ok(step) => {
                        let now = (actor.env.now)();
                        let world = actor.world.clone();
                        let cx = crate::core::machine::Context {
                            now,
                            entropy: rand::random(),
                            world: &world,
                        };
                        let prepared = actor.prepare(step, settled, &cx);
                        actor.commit(prepared, event, handle, ctx);
                    }
                    Err(why) => {
                        if let Some((reply, _)) = handle {
                            let _ = reply.send(Err(DeliverError::TryAgain(why)));
                        }
                        actor.end(None, ctx);
                    }
                }),
        );
    }

    /// Between two events: start what may start, arm the timer, watch for idleness.
    fn rest(&mut self, ctx: &mut Context<Self>) {
        self.depth.set(self.outbox.entries.len());
        self.start_effects(ctx);
        self.arm(ctx);
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let now = (self.env.now)();
        let waiting = self
            .outbox
            .heads()
            .into_iter()
            .filter(|entry| !self.in_flight.contains(&entry.seq))
            .map(|entry| entry.not_before)
            .min();
        if let Some(due) = earliest(self.state.due(), waiting) {
            // What is due cannot be committed while the store refuses: that must not become a loop.
            let shortest = match self.refused {
                0 => Duration::from_millis(1),
                refused => retry_delay(refused),
            };
            let wait = due.since(now).min(LONGEST_TIMER).max(shortest);
            // One that fires early changes nothing and is armed anew then: cheaper than one for each event.
            let at = now.after(wait);
            if self.timer.is_none_or(|(_, armed)| at < armed) {
                if let Some((timer, _)) = self.timer.take() {
                    ctx.cancel_future(timer);
                }
                self.timer = Some((ctx.notify_later(Tick, wait), at));
            }
        }
        self.active = Instant::now();
        if !self.resting {
            self.resting = true;
            ctx.notify_later(Rest, IDLE);
        }
    }

    fn end(&mut self, again: Option<Handle<M>>, ctx: &mut Context<Self>) {
        let ended = Notice::Ended {
            key: self.key.clone(),
            instance: self.instance,
            again,
        };
        post_to_owner(&self.owner, ended);
        ctx.stop();
    }
}

impl<M: Machine> Actor for Durable<M> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.rest(ctx);
    }
}

impl<M: Machine> Handler<Handle<M>> for Durable<M> {
    type Result = ();

    fn handle(&mut self, message: Handle<M>, ctx: &mut Self::Context) {
        self.handled += 1;
        self.world = message.world;
        self.take(
            message.event,
            None,
            Some((message.reply, message.conflicts)),
            ctx,
        );
    }
}

/// The owner says that time may have come, and which version it saw.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WakeUp {
    pub version: u64,
    pub world: Arc<World>,
}

impl<M: Machine> Handler<WakeUp> for Durable<M> {
    type Result = ();

    fn handle(&mut self, wake: WakeUp, ctx: &mut Self::Context) {
        self.handled += 1;
        self.world = wake.world;
        if wake.version > self.version {
            tracing::warn!(key = %self.key, ours = self.version, stored = wake.version, "stale");
            return self.end(None, ctx);
        }
        self.tick(ctx);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Tick;

impl<M: Machine> Handler<Tick> for Durable<M> {
    type Result = ();

    fn handle(&mut self, _: Tick, ctx: &mut Self::Context) {
        self.timer = None;
        self.tick(ctx);
    }
}

impl<M: Machine> Durable<M> {
    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = (self.env.now)();
        if self.state.due().is_some_and(|due| due <= now) {
            self.take(M::woken(), None, None, ctx);
        } else {
            self.rest(ctx);
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Rest;

impl<M: Machine> Handler<Rest> for Durable<M> {
    type Result = ();

    fn handle(&mut self, _: Rest, ctx: &mut Self::Context) {
        let idle = self.active.elapsed();
        if !self.in_flight.is_empty() || idle < IDLE {
            let rest = IDLE.saturating_sub(idle).max(Duration::from_millis(1));
            let wait = if self.in_flight.is_empty() {
                rest
            } else {
                IDLE
            };
            ctx.notify_later(Rest, wait);
            return;
        }
        let notice = Notice::Idle {
            key: self.key.clone(),
            instance: self.instance,
            handled: self.handled,
        };
        if !post_to_owner(&self.owner, notice) {
            ctx.stop();
        }
        ctx.notify_later(Rest, IDLE);
    }
}

impl<M: Machine> Handler<Stop> for Durable<M> {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
