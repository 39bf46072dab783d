//! The Dispatcher: the keeper of Conversations. Everything for an employee, or for a principal nobody
//! knows, goes through it; only it knows who is live.

use actix::{Context, Handler, ResponseFuture};

use crate::core::conversation::{Conversation, Reply};

use super::keeper::Keeper;
use super::messages::{Deliver, DeliverError};

pub type Dispatcher = Keeper<Conversation>;

impl Handler<Deliver> for Dispatcher {
    type Result = ResponseFuture<Result<Reply, DeliverError>>;

    fn handle(&mut self, message: Deliver, ctx: &mut Context<Self>) -> Self::Result {
        self.deliver(message.to, message.event, ctx)
    }
}
