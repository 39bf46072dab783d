//! The Escalator: the keeper of Escalations, and how their pages reach the pagers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Context, Handler, ResponseFuture};
use futures_util::future::BoxFuture;
use metrics::counter;
use tokio::sync::watch;

use crate::core::escalation::{Effect, Escalation, Reply};
use crate::core::ids::PagerName;
use crate::core::machine::{Receipt, Settlement};
use crate::core::page::Page;
use crate::plugins::pagers::{Pager, PagerError};

use super::Now;
use super::durable::{Order, Perform, Performed};
use super::joined::Join;
use super::keeper::Keeper;
use super::mailbox::Mailbox;
use super::messages::{DeliverError, Escalate};

/// A page goes out without the names of others rather than wait longer.
const JOINED_WITHIN: Duration = Duration::from_millis(250);

pub type Escalator = Keeper<Escalation>;

impl Handler<Escalate> for Escalator {
    type Result = ResponseFuture<Result<Reply, DeliverError>>;

    fn handle(&mut self, message: Escalate, ctx: &mut Context<Self>) -> Self::Result {
        self.deliver(message.to, message.event, ctx)
    }
}

/// Calls the pagers. Replaced as a whole by a reload.
pub struct Pagers {
    pub by_name: BTreeMap<PagerName, Arc<dyn Pager>>,
    pub now: Now,
}

/// Performs what Escalations decide.
pub struct EscalationEffects {
    pagers: watch::Receiver<Arc<Pagers>>,
    joined: Mailbox<Join>,
}

impl EscalationEffects {
    pub fn new(pagers: watch::Receiver<Arc<Pagers>>, joined: Mailbox<Join>) -> Self {
        Self { pagers, joined }
    }
}

impl Perform<Escalation> for EscalationEffects {
    fn perform(&self, order: Order<Effect>) -> BoxFuture<'static, Performed> {
        let pagers = self.pagers.borrow().clone();
        let (joined, mut effect) = (self.joined.clone(), Arc::unwrap_or_clone(order.effect));
        Box::pin(async move {
            if let Effect::Page { page, .. } = &mut effect {
                let join = Join {
                    page: Page::clone(page),
                    now: (pagers.now)(),
                };
                if let Ok(with_others) = joined.ask(join, JOINED_WITHIN).await {
                    **page = with_others;
                }
            }
            call(&pagers, &effect).await
        })
    }
}

async fn call(pagers: &Pagers, effect: &Effect) -> Performed {
    let name = effect.pager();
    let Some(pager) = pagers.by_name.get(name) else {
        let reason = format!("no pager is named {name}");
        return Performed::Settled(Settlement::Impossible { reason });
    };
    let called = match effect {
        Effect::Page { page, .. } => pager.page(page).await,
        Effect::Acknowledge { page, by, .. } => pager.acknowledge(page, by).await,
        Effect::Change {
            page,
            acknowledged_by,
            ..
        } => pager.change(page, acknowledged_by.as_ref()).await,
        Effect::Resolve {
            page, by, reason, ..
        } => pager.resolve(page, by, reason).await,
    };
    let result = match &called {
        Ok(()) => "delivered",
        Err(PagerError::Refused(_)) => "refused",
        Err(_) => "retried",
    };
    counter!("securitybot_pages_total", "pager" => name.to_string(), "result" => result,
        "level" => effect.page().level.to_string())
    .increment(1);
    match called {
        Ok(()) => {
            let receipt = Receipt {
                at: (pagers.now)(),
                ..Receipt::default()
            };
            Performed::Settled(Settlement::Done(receipt))
        }
        Err(PagerError::Refused(reason)) => {
            tracing::error!(pager = %name, %reason, "a page was refused");
            Performed::Settled(Settlement::Impossible { reason })
        }
        Err(PagerError::RateLimited(wait)) => Performed::Retry {
            why: format!("pager {name} asks to wait"),
            after: Some(wait),
        },
        Err(PagerError::Unavailable(why)) => Performed::Retry { why, after: None },
    }
}
