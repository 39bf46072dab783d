//! The Reporter: journal to sinks, hourly and daily rollups, and what retention drops.
//!
//! It reads what is committed and never holds up a conversation: a sink that is down only falls behind,
//! which is counted and, past a limit, paged.

pub mod backlog;
pub mod delivery;
pub mod reports;
pub mod retention;
pub mod rollups;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, WrapFuture, fut::ActorFutureExt};
use metrics::{counter, gauge};
use tokio::time::Instant;

use crate::core::time::Timestamp;
use crate::core::world::World;
use crate::plugins::sinks::Sink;
use crate::store::{Head, Store};

use super::beside::{Beside, Done};
use super::checkpointer::Written;
use super::mailbox::Mailbox;
use super::messages::{Escalate, Reconfigure, Stop};
use super::{Now, operations};

use backlog::{Backlog, Backoff};
use delivery::Outcome;
use retention::Keep;
use rollups::RollupPlan;

/// From the beginning of one pass to the next of the same sink at least this long, unless it is behind: under load one
/// then takes what many commits wrote, for the price of one. What comes after quiet goes at once.
const PACE: Duration = Duration::from_millis(100);
/// Everything is looked through again this often, whatever was or was not announced.
const SWEEP: Duration = Duration::from_secs(30);
const ROLLUP_EVERY: Duration = Duration::from_secs(5);
const TRIM_EVERY: Duration = Duration::from_secs(60);
/// A sink further behind than this raises an operations page, at most one an hour.
const MAX_LAG: u64 = 10_000;

pub struct Reporter {
    store: Arc<dyn Store>,
    now: Now,
    world: Arc<World>,
    escalations: Mailbox<Escalate>,
    keep: Keep,
    rollups: RollupPlan,
    sinks: Vec<SinkState>,
    passes: Beside,
    rolling: bool,
}

struct SinkState {
    sink: Arc<dyn Sink>,
    backlog: Backlog,
    /// A pass is under way, or the wait after it.
    busy: bool,
    backoff: Backoff,
}

impl Reporter {
    pub fn new(
        store: Arc<dyn Store>,
        now: Now,
        world: Arc<World>,
        escalations: Mailbox<Escalate>,
        sinks: Vec<Arc<dyn Sink>>,
        rollups: RollupPlan,
        keep: Keep,
    ) -> Self {
        let sinks = sinks
            .into_iter()
            .map(|sink| SinkState {
                sink,
                backlog: Backlog::new(store.partitions()),
                busy: false,
                backoff: Backoff::default(),
            })
            .collect();
        Self {
            store,
            now,
            world,
            escalations,
            keep,
            rollups,
            sinks,
            passes: Beside::default(),
            rolling: false,
        }
    }

    fn sweep(&mut self, ctx: &mut Context<Self>) {
        for state in &mut self.sinks {
            state.backlog.mark_all();
        }
        self.run(ctx);
    }

    /// Starts a pass for every sink that has something and is not at work.
    fn run(&mut self, ctx: &mut Context<Self>) {
        for (index, state) in self.sinks.iter_mut().enumerate() {
            if state.busy {
                continue;
            }
            let partitions = state.backlog.take();
            if partitions.is_empty() {
                continue;
            }
            state.busy = true;
            let (store, sink, now) = (self.store.clone(), state.sink.clone(), (self.now)());
            let pass = async move {
                let next = Instant::now() + PACE;
                let done = delivery::deliver(store.as_ref(), sink.as_ref(), &partitions, now).await;
                if !done.as_ref().is_ok_and(|outcomes| has_more(outcomes)) {
                    tokio::time::sleep_until(next).await;
                }
                (partitions, done)
            };
            self.passes.run(
                ctx,
                pass,
                move |(partitions, done), actor: &mut Self, ctx| match done {
                    Ok(outcomes) => actor.delivered(index, outcomes, ctx),
                    Err(why) => actor.refused(index, &partitions, why, ctx),
                },
            );
        }
    }

    /// The sink took all that could be read.
    fn delivered(&mut self, index: usize, outcomes: Vec<(u16, Outcome)>, ctx: &mut Context<Self>) {
        let state = &mut self.sinks[index];
        state.busy = false;
        state.backoff = Backoff::default();
        for (partition, outcome) in outcomes {
            match outcome {
                Ok(place) => state.backlog.delivered(partition, place),
                Err(why) => {
                    let after = state.backlog.failed(partition);
                    let sink = state.sink.name();
                    tracing::warn!(%sink, partition, %why, ?after, "the store failed a sink, will try again");
                    counter!("securitybot_sink_errors_total", "sink" => sink.to_owned())
                        .increment(1);
                    ctx.run_later(after, move |actor, ctx| {
                        actor.sinks[index].backlog.rested(partition);
                        actor.run(ctx);
                    });
                }
            }
        }
        state.say_whether_up(state.backlog.is_whole());
        self.run(ctx);
    }

    /// The sink failed: it has what it had before.
    fn refused(
        &mut self,
        index: usize,
        partitions: &[(u16, Option<Head>)],
        why: String,
        ctx: &mut Context<Self>,
    ) {
        let state = &mut self.sinks[index];
        for (partition, _) in partitions {
            state.backlog.mark(*partition);
        }
        let (sink, after) = (state.sink.name(), state.backoff.wait());
        tracing::warn!(%sink, %why, ?after, "sink failed, will try again");
        counter!("securitybot_sink_errors_total", "sink" => sink.to_owned()).increment(1);
        state.say_whether_up(false);
        ctx.run_later(after, move |actor, ctx| {
            actor.sinks[index].busy = false;
            actor.run(ctx);
        });
    }

    fn roll(&mut self, ctx: &mut Context<Self>) {
        if self.rolling {
            return;
        }
        self.rolling = true;
        let (store, now, plan) = (self.store.clone(), (self.now)(), self.rollups.clone());
        let sinks: Vec<_> = self.sinks.iter().map(|state| state.sink.clone()).collect();
        let roll = async move { rollups::run(store.as_ref(), &plan, &sinks, now).await };
        ctx.spawn(roll.into_actor(self).map(|done, actor, _| {
            actor.rolling = false;
            if let Err(why) = done {
                tracing::warn!(%why, "a rollup could not be delivered, will try again");
            }
        }));
    }

    fn trim(&mut self, ctx: &mut Context<Self>) {
        let (store, now, keep) = (self.store.clone(), (self.now)(), self.keep.clone());
        let sinks: Vec<_> = self
            .sinks
            .iter()
            .map(|state| state.sink.name().to_owned())
            .collect();
        let trim = async move { retention::trim(store.as_ref(), &sinks, &keep, now).await };
        ctx.spawn(trim.into_actor(self).map(move |done, actor, ctx| {
            match done {
                Ok(lags) => actor.watch_lags(lags, now),
                Err(why) => tracing::warn!(%why, "retention could not be applied"),
            }
            ctx.run_later(TRIM_EVERY, Self::trim);
        }));
    }

    fn watch_lags(&self, lags: Vec<(String, u64)>, now: Timestamp) {
        for (sink, lag) in lags {
            gauge!("securitybot_sink_lag_records", "sink" => sink.clone()).set(lag as f64);
            if lag > MAX_LAG {
                let summary = format!(
                    "Sink {sink} is {lag} records behind: answers are kept here and not written \
                     back. Check that it can be reached."
                );
                let hour = operations::this_hour(now);
                // Found again each minute: a page that gets lost on the way is raised by the next look.
                let raise = operations::page(&self.world, &format!("lag/{sink}"), hour, summary);
                self.escalations
                    .tell(Escalate::raise(raise, self.world.partitions));
            }
        }
    }
}

/// Whether the sink is known to be behind still.
fn has_more(outcomes: &[(u16, Outcome)]) -> bool {
    let mut places = outcomes
        .iter()
        .filter_map(|(_, outcome)| outcome.as_ref().ok());
    places.any(|place| place.has_more)
}

impl SinkState {
    fn say_whether_up(&self, up: bool) {
        let sink = self.sink.name().to_owned();
        gauge!("securitybot_sink_up", "sink" => sink).set(if up { 1.0 } else { 0.0 });
    }
}

impl Actor for Reporter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.sweep(ctx);
        ctx.run_interval(SWEEP, Self::sweep);
        ctx.run_interval(ROLLUP_EVERY, Self::roll);
        ctx.run_later(TRIM_EVERY, Self::trim);
    }
}

impl Handler<Written> for Reporter {
    type Result = ();

    fn handle(&mut self, written: Written, ctx: &mut Self::Context) {
        for state in &mut self.sinks {
            state.backlog.mark(written.partition);
        }
        self.run(ctx);
    }
}

impl Handler<Done<Self>> for Reporter {
    type Result = ();

    fn handle(&mut self, done: Done<Self>, ctx: &mut Self::Context) {
        done.go_on(self, ctx);
    }
}

impl Handler<Reconfigure> for Reporter {
    type Result = ();

    fn handle(&mut self, message: Reconfigure, _: &mut Self::Context) {
        self.world = message.world;
    }
}

impl Handler<Stop> for Reporter {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
