//! Checks codes. The code comes in, the verdict goes out; nothing else leaves, nothing is kept.

use std::sync::Arc;

use actix::{Actor, ActorContext, Context, Handler, ResponseFuture};
use serde::Deserialize;

use crate::core::conversation::Proof;
use crate::core::machine::Collection;
use crate::plugins::factors::CodeFactor;
use crate::store::Store;

use super::messages::{CheckCode, Stop};

/// The body of a `factors` row.
#[derive(Deserialize)]
struct Enrolled {
    factor: String,
    sealed: String,
}

pub struct Verifier {
    store: Arc<dyn Store>,
    factor: Arc<dyn CodeFactor>,
}

impl Verifier {
    pub fn new(store: Arc<dyn Store>, factor: Arc<dyn CodeFactor>) -> Self {
        Self { store, factor }
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
            let row = match store
                .row(Collection::Factors, message.employee.as_str())
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

impl Handler<Stop> for Verifier {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
