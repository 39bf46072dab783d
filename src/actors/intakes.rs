//! The door of all intakes: hands a request to the intake of its source.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::{Actor, ActorContext, Context, Handler, ResponseFuture};

use crate::core::ids::SourceId;

use super::mailbox::Mailbox;
use super::messages::{AcceptAlerts, AcceptError, Accepted, Stop};

/// Longer than any caller waits.
const TIMEOUT: Duration = Duration::from_secs(30);

pub struct Intakes {
    pub by_source: BTreeMap<SourceId, Mailbox<AcceptAlerts>>,
}

impl Actor for Intakes {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4_096);
    }
}

impl Handler<AcceptAlerts> for Intakes {
    type Result = ResponseFuture<Result<Accepted, AcceptError>>;

    fn handle(&mut self, message: AcceptAlerts, _: &mut Self::Context) -> Self::Result {
        let intake = self.by_source.get(&message.source).cloned();
        Box::pin(async move {
            let Some(intake) = intake else {
                return Err(AcceptError::NoSuchSource(message.source.to_string()));
            };
            intake
                .ask(message, TIMEOUT)
                .await
                .unwrap_or_else(|error| Err(AcceptError::Unavailable(error.to_string())))
        })
    }
}

impl Handler<Stop> for Intakes {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
