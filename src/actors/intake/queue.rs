//! The store's queue as an intake sees it: reading on while there is room in memory, paging about what cannot be
//! read, and letting go of what has been taken.

use std::time::Duration;

use actix::{AsyncContext, Context, WrapFuture, fut::ActorFutureExt};

use super::{Intake, RETRY, WINDOW};
use crate::actors::checkpointer::Verdict;
use crate::actors::durable::persist;
use crate::actors::operations;
use crate::core::time::Timestamp;
use crate::store::{QueuedChunk, Write};

/// Chunks leave the queue together: so many of them, or after so long.
const TAKE_FROM: usize = 500;
const TAKE_AFTER: Duration = Duration::from_millis(100);

impl Intake {
    /// Reads on in the store's queue while there is room in memory.
    pub(super) fn refill(&mut self, ctx: &mut Context<Self>) {
        let Some(next) = self.next else { return };
        if self.reading || self.lanes.alerts() >= WINDOW || self.read_through + 1 >= next {
            return;
        }
        self.reading = true;
        let (store, key, after) = (self.env.store.clone(), self.key.clone(), self.read_through);
        let (limit, beginnings) = (WINDOW - self.lanes.alerts(), self.beginnings);
        let read = async move { store.queued(&key, after, limit).await };
        ctx.spawn(read.into_actor(self).map(move |queued, actor, ctx| {
            actor.reading = false;
            if actor.beginnings != beginnings {
                return actor.refill(ctx);
            }
            match queued {
                Ok(chunks) => {
                    if chunks.is_empty() {
                        // Nothing is left below the queue's end as it was when we asked.
                        actor.read_through = actor.read_through.max(next - 1);
                    }
                    for chunk in chunks {
                        actor.requeue(chunk, ctx);
                    }
                    actor.deliver(ctx);
                    actor.refill(ctx);
                }
                Err(error) => {
                    tracing::warn!(source = %actor.source, %error, "cannot read queued alerts");
                    ctx.run_later(RETRY, |actor, ctx| actor.refill(ctx));
                }
            }
        }));
    }

    fn requeue(&mut self, chunk: QueuedChunk, ctx: &mut Context<Self>) {
        self.read_through = chunk.last();
        let QueuedChunk { first, count, .. } = chunk;
        match chunk.alerts {
            Ok(alerts) => {
                let numbers = alerts.iter().map(|alert| alert.number);
                self.chunks.begin(first, count, numbers);
                for queued in alerts {
                    match serde_json::from_str(&queued.body) {
                        Ok(alert) => self.lanes.add(queued.receiver, queued.number, alert),
                        Err(error) => self.cannot_read(queued.number, 1, error.to_string(), ctx),
                    }
                }
            }
            Err(why) => {
                self.chunks.begin(first, count, [first]);
                self.cannot_read(first, count, why, ctx);
            }
        }
    }

    fn cannot_read(&mut self, number: u64, count: u64, error: String, ctx: &mut Context<Self>) {
        tracing::error!(source = %self.source, number, count, %error,
            "queued alerts cannot be read; paging");
        if self.unreadable.insert(number) {
            self.page_unreadable(number, count, error, ctx);
        }
    }

    /// They stay in the queue until their page is durable: an alert that was acknowledged ends in a page.
    fn page_unreadable(&mut self, number: u64, count: u64, error: String, ctx: &mut Context<Self>) {
        let source = &self.source;
        let summary = match count {
            0 | 1 => format!(
                "A queued alert of source {source} (number {number}) cannot be read: {error}"
            ),
            _ => format!(
                "{count} queued alerts of source {source} (from number {number} on) cannot be \
                 read: {error}"
            ),
        };
        let about = format!("queued/{source}/{number}");
        // Not by the clock: found again after a restart, it is the same page.
        let raise = operations::page(&self.world, &about, Timestamp::default(), summary);
        let (env, partitions) = (self.env.clone(), self.world.partitions);
        let page = async move { env.page(raise, partitions).await };
        ctx.spawn(page.into_actor(self).map(move |paged, actor, ctx| {
            if let Err(why) = paged {
                tracing::warn!(source = %actor.source, number, %why, "will page again");
                ctx.run_later(RETRY, move |actor, ctx| {
                    actor.page_unreadable(number, count, error, ctx);
                });
                return;
            }
            actor.unreadable.remove(&number);
            actor.chunks.finish(number);
            actor.take(ctx);
        }));
    }

    /// There is no hurry: a commit for each alert would cost as much as accepting it.
    pub(super) fn take_soon(&mut self, ctx: &mut Context<Self>) {
        if self.chunks.done.len() >= TAKE_FROM {
            return self.take(ctx);
        }
        if !self.takes_soon && !self.chunks.done.is_empty() {
            self.takes_soon = true;
            ctx.run_later(TAKE_AFTER, |actor, ctx| {
                actor.takes_soon = false;
                actor.take(ctx);
            });
        }
    }

    /// Removes taken chunks from the store's queue.
    fn take(&mut self, ctx: &mut Context<Self>) {
        if self.taking || self.chunks.done.is_empty() {
            return;
        }
        self.taking = true;
        let (done, beginnings) = (std::mem::take(&mut self.chunks.done), self.beginnings);
        let env = self.env.clone();
        let source = self.key.clone();
        let firsts = done.iter().map(|chunk| chunk.first).collect();
        let take = async move {
            let partition = source.partition;
            let write = Write::Take { source, firsts };
            persist(&env.checkpointers, partition, write, Vec::new()).await
        };
        ctx.spawn(take.into_actor(self).map(move |verdict, actor, ctx| {
            actor.taking = false;
            if actor.beginnings != beginnings {
                // What the store still has was read again since.
                return actor.take_soon(ctx);
            }
            if matches!(verdict, Verdict::Committed | Verdict::Unreplicated(_)) {
                let alerts = actor.chunks.left_the_queue(&done);
                actor.know_queued(actor.queued.saturating_sub(alerts));
                actor.take_soon(ctx);
            } else {
                // Taking twice is harmless.
                actor.chunks.done.extend(done);
                ctx.run_later(RETRY, |actor, ctx| actor.take(ctx));
            }
        }));
    }
}
