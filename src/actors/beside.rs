//! Work of which an actor has much under way at once. What is spawned into an actor's own context is polled, all of
//! it, at each of its wakes: with two thousand deliveries under way every message would cost two thousand polls.
//! Here each piece is a task of its own, and its end comes back through the mailbox.

use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};

use actix::{Actor, AsyncContext, Context, Handler, Message};
use futures_util::FutureExt;
use tokio::task::JoinSet;

use super::mailbox::post;

/// What an actor has under way; it ends with the actor.
#[derive(Debug, Default)]
pub struct Beside(JoinSet<()>);

/// One piece of work is done: goes on in the actor.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Done<A: Actor>(Then<A>);

type Then<A> = Box<dyn FnOnce(&mut A, &mut <A as Actor>::Context) + Send>;

impl Beside {
    /// Runs `work` beside the actor and `then` in it. A panic in `work` ends the actor, as one of its own would.
    pub fn run<A, T>(
        &mut self,
        ctx: &Context<A>,
        work: impl Future<Output = T> + 'static,
        then: impl FnOnce(T, &mut A, &mut Context<A>) + Send + 'static,
    ) where
        A: Actor<Context = Context<A>> + Handler<Done<A>>,
        T: Send + 'static,
    {
        while self.0.try_join_next().is_some() {}
        let actor = ctx.address();
        self.0.spawn_local(async move {
            let done = AssertUnwindSafe(work).catch_unwind().await;
            let then = Box::new(move |actor: &mut A, ctx: &mut Context<A>| match done {
                Ok(done) => then(done, actor, ctx),
                Err(panic) => resume_unwind(panic),
            });
            post(&actor, Done(then));
        });
    }
}

impl<A: Actor> Done<A> {
    /// What an actor's handler does with it.
    pub fn go_on(self, actor: &mut A, ctx: &mut A::Context) {
        (self.0)(actor, ctx);
    }
}
