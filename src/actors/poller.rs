//! One per polled source: reads on from its cursor and hands the alerts, with the next cursor, to the
//! intake. The cursor is committed with the alerts, so a crash reads the same lines again under the same
//! ids and loses none.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, WrapFuture, fut::ActorFutureExt};
use metrics::{counter, gauge};

use crate::core::ids::{AggregateKey, SourceId};
use crate::plugins::sources::PolledSource;
use crate::store::Store;

use super::Now;
use super::mailbox::Mailbox;
use super::messages::{AcceptAlerts, Stop};

const ACCEPT_TIMEOUT: Duration = Duration::from_secs(20);
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_LONGEST: Duration = Duration::from_secs(60);

pub struct Poller {
    /// Away while a poll is under way.
    source: Option<Box<dyn PolledSource>>,
    id: SourceId,
    every: Duration,
    key: AggregateKey,
    store: Arc<dyn Store>,
    intake: Mailbox<AcceptAlerts>,
    now: Now,
    backoff: Duration,
}

enum Polling {
    More,
    Nothing,
    Problem(String),
}

impl Poller {
    pub fn new(
        source: Box<dyn PolledSource>,
        store: Arc<dyn Store>,
        intake: Mailbox<AcceptAlerts>,
        now: Now,
    ) -> Self {
        let (id, every) = (source.id().clone(), source.every());
        let key = AggregateKey::source(&id, store.partitions());
        Self {
            source: Some(source),
            id,
            every,
            key,
            store,
            intake,
            now,
            backoff: BACKOFF_FIRST,
        }
    }

    fn poll(&mut self, ctx: &mut Context<Self>) {
        let Some(mut source) = self.source.take() else {
            return;
        };
        let (id, key) = (self.id.clone(), self.key.clone());
        let (store, intake) = (self.store.clone(), self.intake.clone());
        let poll = async move {
            let polling = poll_once(source.as_mut(), id, &key, store.as_ref(), &intake).await;
            (source, polling)
        };
        ctx.wait(poll.into_actor(self).map(|(source, polling), actor, ctx| {
            actor.source = Some(source);
            let source = actor.id.to_string();
            let wait = match polling {
                Polling::More => Duration::from_millis(1),
                Polling::Nothing => actor.every,
                Polling::Problem(why) => {
                    tracing::warn!(%source, %why, "polling failed, will try again");
                    counter!("securitybot_source_errors_total", "source" => source.clone())
                        .increment(1);
                    let wait = actor.backoff;
                    actor.backoff = (wait * 2).min(BACKOFF_LONGEST);
                    gauge!("securitybot_source_up", "source" => source).set(0.0);
                    ctx.run_later(wait, Self::poll);
                    return;
                }
            };
            if matches!(polling, Polling::Nothing) {
                let now = (actor.now)().as_millis() as f64 / 1_000.0;
                gauge!("securitybot_source_caught_up_timestamp_seconds", "source" => source.clone())
                    .set(now);
            }
            gauge!("securitybot_source_up", "source" => source).set(1.0);
            actor.backoff = BACKOFF_FIRST;
            ctx.run_later(wait, Self::poll);
        }));
    }
}

async fn poll_once(
    source: &mut dyn PolledSource,
    id: SourceId,
    key: &AggregateKey,
    store: &dyn Store,
    intake: &Mailbox<AcceptAlerts>,
) -> Polling {
    let cursor = match store.queue(key).await {
        Ok(queue) => queue.cursor,
        Err(error) => return Polling::Problem(error.to_string()),
    };
    let polled = match source.poll(cursor.as_deref()).await {
        Ok(polled) => polled,
        Err(error) => return Polling::Problem(error.to_string()),
    };
    if cursor.as_deref() == Some(polled.cursor.as_str())
        && polled.alerts.is_empty()
        && polled.quarantined.is_empty()
    {
        return Polling::Nothing;
    }
    let more = polled.more;
    let accept = AcceptAlerts {
        source: id,
        alerts: polled.alerts,
        quarantined: polled.quarantined,
        cursor: Some(polled.cursor),
    };
    match intake.ask(accept, ACCEPT_TIMEOUT).await {
        Ok(Ok(_)) if more => Polling::More,
        Ok(Ok(_)) => Polling::Nothing,
        Ok(Err(error)) => Polling::Problem(error.to_string()),
        Err(error) => Polling::Problem(error.to_string()),
    }
}

impl Actor for Poller {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.poll(ctx);
    }
}

impl Handler<Stop> for Poller {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
