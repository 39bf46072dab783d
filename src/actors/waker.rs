//! Once a second: `Wake` to whatever is due, live or not. Deadlines are data in the store; this is how
//! they fire after any restart (promise P6).

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, WrapFuture, fut::ActorFutureExt};
use metrics::gauge;

use crate::store::Store;

use super::Now;
use super::mailbox::Mailbox;
use super::messages::{Stop, Wake};

const EVERY: Duration = Duration::from_secs(1);
/// Woken per partition and second; what is due longest comes first.
const BATCH: usize = 1_000;

pub struct Waker {
    pub store: Arc<dyn Store>,
    pub now: Now,
    pub conversations: Mailbox<Wake>,
    pub escalations: Mailbox<Wake>,
}

impl Waker {
    fn look(&mut self, ctx: &mut Context<Self>) {
        let (store, now) = (self.store.clone(), (self.now)());
        let look = async move {
            let mut found = Vec::new();
            for partition in 0..store.partitions() {
                match store.due(partition, now, BATCH).await {
                    Ok(due) => found.extend(due),
                    Err(error) => tracing::warn!(partition, %error, "cannot read what is due"),
                }
            }
            found
        };
        // The next look waits for this one: `wait` also keeps a slow store from piling them up.
        ctx.wait(look.into_actor(self).map(move |found, actor, ctx| {
            let oldest = found.iter().map(|due| due.at).min();
            let late = oldest.map_or(0.0, |at| now.since(at).as_secs_f64());
            gauge!("securitybot_oldest_due_seconds").set(late);
            for due in found {
                let mailbox = match due.key.kind() {
                    "escalation" => &actor.escalations,
                    _ => &actor.conversations,
                };
                mailbox.tell(Wake {
                    to: due.key,
                    version: due.version,
                });
            }
            ctx.run_later(EVERY, Self::look);
        }));
    }
}

impl Actor for Waker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

impl Handler<Stop> for Waker {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
