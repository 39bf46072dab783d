//! Checks codes, and runs and waits for pushes. The code comes in, the verdict goes out; nothing else
//! leaves, nothing is kept: which push is under way is the conversation's to know.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, Context, Handler, Message, ResponseFuture};
use serde::Deserialize;

use crate::core::conversation::{Effect, Proof, PushVerdict};
use crate::core::ids::AggregateKey;
use crate::core::machine::{Collection, Receipt, Settlement};
use crate::core::time::Timestamp;
use crate::plugins::factors::{CodeFactor, PushFactor, PushRefusal};
use crate::store::Store;

use super::Now;
use super::durable::{Order, Performed};
use super::messages::{CheckCode, Stop};

/// The body of a `factors` row.
#[derive(Deserialize)]
struct Enrolled {
    factor: String,
    sealed: String,
}

/// Between two looks at a push whose service answers at once.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Start a push, or wait for the answer to one.
#[derive(Debug, Message)]
#[rtype(result = "Performed")]
pub struct Push {
    pub order: Order<Effect>,
}

pub struct Verifier {
    store: Arc<dyn Store>,
    factor: Arc<dyn CodeFactor>,
    /// `None`: no push factor is configured.
    push: Option<Arc<dyn PushFactor>>,
    now: Now,
}

impl Verifier {
    pub fn new(
        store: Arc<dyn Store>,
        factor: Arc<dyn CodeFactor>,
        push: Option<Arc<dyn PushFactor>>,
        now: Now,
    ) -> Self {
        Self {
            store,
            factor,
            push,
            now,
        }
    }
}

impl Actor for Verifier {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // One entry per submitted form; the web chat limits those per person.
        ctx.set_mailbox_capacity(1_024);
    }
}

impl Handler<CheckCode> for Verifier {
    type Result = ResponseFuture<Proof>;

    fn handle(&mut self, message: CheckCode, _: &mut Self::Context) -> Self::Result {
        let (store, factor) = (self.store.clone(), self.factor.clone());
        Box::pin(async move {
            let unavailable = |reason: String| Proof::Unavailable { reason };
            // It was written by a commit of the employee's conversation.
            let home = AggregateKey::employee(&message.employee, store.partitions()).partition;
            let row = match store
                .row_in(home, Collection::Factors, message.employee.as_str())
                .await
            {
                Ok(Some(row)) => row,
                // The conversation knows who is enrolled; without a seed no code can be right.
                Ok(None) => return Proof::Totp { step: None },
                Err(error) => return unavailable(error.to_string()),
            };
            match serde_json::from_str::<Enrolled>(&row.body) {
                Ok(enrolled) if enrolled.factor == factor.name() => {
                    factor
                        .check(&message.employee, &enrolled.sealed, &message.code)
                        .await
                }
                Ok(enrolled) => unavailable(format!("factor {} is not set up", enrolled.factor)),
                Err(error) => {
                    tracing::error!(employee = %message.employee, %error, "unreadable factor row");
                    unavailable("the enrolled factor cannot be read".to_owned())
                }
            }
        })
    }
}

impl Handler<Push> for Verifier {
    type Result = ResponseFuture<Performed>;

    fn handle(&mut self, message: Push, _: &mut Self::Context) -> Self::Result {
        let (factor, now) = (self.push.clone(), self.now.clone());
        Box::pin(async move {
            let Some(factor) = factor else {
                return impossible("no push factor is configured any more");
            };
            match message.order.effect.as_ref() {
                // Sent perhaps, but its transaction is lost: a second one on the phone would be worse.
                Effect::StartPush(_) if message.order.maybe_done => {
                    impossible("the request was lost by a restart, please ask for a new one")
                }
                Effect::StartPush(request) => match factor.start(request).await {
                    Ok(transaction) => done(transaction, now()),
                    Err(PushRefusal::Never(why) | PushRefusal::Unavailable(why)) => impossible(why),
                },
                Effect::AwaitPush {
                    transaction, until, ..
                } => wait(factor.as_ref(), transaction, *until, &now).await,
                _ => impossible("not an effect of a factor"),
            }
        })
    }
}

/// Asks until there is an answer, or the time is over. An outage in between is sat out: the transaction
/// is still good.
async fn wait(
    factor: &dyn PushFactor,
    transaction: &str,
    until: Timestamp,
    now: &Now,
) -> Performed {
    loop {
        match factor.answer(transaction).await {
            Ok(Some(verdict)) => return done(verdict.name().to_owned(), now()),
            Ok(None) if now() >= until => {
                return done(PushVerdict::Unanswered.name().to_owned(), now());
            }
            Ok(None) => {}
            Err(PushRefusal::Never(why)) => return impossible(why),
            Err(PushRefusal::Unavailable(why)) if now() >= until => return impossible(why),
            Err(PushRefusal::Unavailable(why)) => tracing::info!(%why, "cannot ask for a push"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn done(word: String, at: Timestamp) -> Performed {
    Performed::Settled(Settlement::Done(Receipt {
        message_id: word,
        at,
        text: String::new(),
    }))
}

fn impossible(reason: impl Into<String>) -> Performed {
    Performed::Settled(Settlement::Impossible {
        reason: reason.into(),
    })
}

impl Handler<Stop> for Verifier {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
