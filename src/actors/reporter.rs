//! The Reporter: journal to sinks, hourly and daily rollups, and what retention drops.
//!
//! It reads what is committed and never holds up a conversation: a sink that is down only falls behind,
//! which is counted and, past a limit, paged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, WrapFuture, fut::ActorFutureExt};
use metrics::{counter, gauge};

use crate::core::time::Timestamp;
use crate::core::world::World;
use crate::plugins::sinks::Sink;
use crate::store::{Retention, Store};

use super::checkpointer::Written;
use super::mailbox::Mailbox;
use super::messages::{Escalate, Reconfigure, Stop};
use super::rollups::{self, RollupPlan};
use super::{Now, delivery, operations};

const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_LONGEST: Duration = Duration::from_secs(60);
/// Everything is looked through again this often, whatever was or was not announced.
const SWEEP: Duration = Duration::from_secs(30);
const ROLLUP_EVERY: Duration = Duration::from_secs(1);
const TRIM_EVERY: Duration = Duration::from_secs(60);
/// A sink further behind than this raises an operations page, at most one an hour.
const MAX_LAG: u64 = 10_000;
/// A sink further behind than this no longer holds the journal: it gets a `gap` record.
const MAX_HELD: u64 = 1_000_000;

/// How long things are kept.
#[derive(Clone, Debug)]
pub struct Keep {
    pub journal: Duration,
    pub cases: Duration,
}

pub struct Reporter {
    store: Arc<dyn Store>,
    now: Now,
    world: Arc<World>,
    escalations: Mailbox<Escalate>,
    keep: Keep,
    rollups: RollupPlan,
    sinks: Vec<SinkState>,
    rolling: bool,
}

struct SinkState {
    sink: Arc<dyn Sink>,
    /// Partitions with something new.
    dirty: BTreeSet<u16>,
    busy: bool,
    backoff: Duration,
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
                dirty: BTreeSet::new(),
                busy: false,
                backoff: BACKOFF_FIRST,
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
            rolling: false,
        }
    }

    fn sweep(&mut self, ctx: &mut Context<Self>) {
        for state in &mut self.sinks {
            state.dirty.extend(0..self.store.partitions());
        }
        self.run(ctx);
    }

    /// Starts a delivery for every sink that has something and is not at work.
    fn run(&mut self, ctx: &mut Context<Self>) {
        for index in 0..self.sinks.len() {
            let state = &mut self.sinks[index];
            if state.busy {
                continue;
            }
            let Some(partition) = state.dirty.pop_first() else {
                continue;
            };
            state.busy = true;
            let (store, sink, now) = (self.store.clone(), state.sink.clone(), (self.now)());
            let deliver = async move {
                delivery::deliver(store.as_ref(), sink.as_ref(), partition, now).await
            };
            ctx.spawn(deliver.into_actor(self).map(move |done, actor, ctx| {
                actor.delivered(index, partition, done, ctx);
            }));
        }
    }

    fn delivered(
        &mut self,
        index: usize,
        partition: u16,
        done: Result<bool, String>,
        ctx: &mut Context<Self>,
    ) {
        let state = &mut self.sinks[index];
        let sink = state.sink.name().to_owned();
        match done {
            Ok(more) => {
                state.busy = false;
                state.backoff = BACKOFF_FIRST;
                if more {
                    state.dirty.insert(partition);
                }
                gauge!("securitybot_sink_up", "sink" => sink).set(1.0);
                self.run(ctx);
            }
            Err(why) => {
                tracing::warn!(%sink, %why, after = ?state.backoff, "sink failed, will try again");
                counter!("securitybot_sink_errors_total", "sink" => sink.clone()).increment(1);
                gauge!("securitybot_sink_up", "sink" => sink).set(0.0);
                state.dirty.insert(partition);
                let wait = state.backoff;
                state.backoff = (wait * 2).min(BACKOFF_LONGEST);
                ctx.run_later(wait, move |actor, ctx| {
                    actor.sinks[index].busy = false;
                    actor.run(ctx);
                });
            }
        }
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
        let trim = async move { trim(store.as_ref(), &sinks, &keep, now).await };
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

/// Applies retention to every partition; answers how far behind each sink is.
async fn trim(
    store: &dyn Store,
    sinks: &[String],
    keep: &Keep,
    now: Timestamp,
) -> Result<Vec<(String, u64)>, String> {
    let mut lags: Vec<(String, u64)> = sinks.iter().map(|sink| (sink.clone(), 0)).collect();
    for partition in 0..store.partitions() {
        let (head, _) = store
            .journal_ends(partition)
            .await
            .map_err(|error| error.to_string())?;
        let mut through = head.seq;
        for (sink, lag) in &mut lags {
            let cursor = delivery::cursor(store, sink, partition).await?;
            let behind = head.seq.saturating_sub(cursor);
            *lag += behind;
            if behind <= MAX_HELD {
                through = through.min(cursor);
            }
        }
        let retention = Retention {
            now,
            journal_before: now.before(keep.journal),
            journal_through: through,
            cases_before: now.before(keep.cases),
        };
        // Bounded: the rest waits for the next minute.
        for _ in 0..20 {
            if !store
                .trim(partition, &retention)
                .await
                .map_err(|error| error.to_string())?
            {
                break;
            }
        }
    }
    Ok(lags)
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
            state.dirty.insert(written.partition);
        }
        self.run(ctx);
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
