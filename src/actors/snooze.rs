//! The Snooze actor: an index over all employees' snoozes. Their truth is in the Conversations; this one
//! counts them, previews what a new alert would meet, and carries operators' requests to the right one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture,
    fut::ActorFutureExt,
};
use metrics::gauge;

use crate::core::alert::Severity;
use crate::core::context::Words;
use crate::core::conversation::{Event, Reply, SnoozeRow};
use crate::core::ids::{AggregateKey, EmployeeId, OperatorName, RuleName};
use crate::core::machine::Collection;
use crate::store::{RowQuery, Store};

use super::Now;
use super::mailbox::Mailbox;
use super::measure::rule_label;
use super::messages::{Deliver, DeliverError, Stop};

/// The rows are read again this often; requests and previews always read the row itself.
const REBUILD: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);
const PAGE: usize = 500;

/// An operator ends a snooze early.
#[derive(Debug, Message)]
#[rtype(result = "Result<Reply, DeliverError>")]
pub struct EndSnooze {
    pub snooze: String,
    pub operator: OperatorName,
}

/// What would suppress an alert like this now?
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<SnoozeRow>, DeliverError>")]
pub struct Preview {
    pub employee: EmployeeId,
    pub rule: RuleName,
    /// The alert's words under the rule's context keys.
    pub context: Words,
    pub severity: Severity,
}

pub struct Snooze {
    store: Arc<dyn Store>,
    now: Now,
    conversations: Mailbox<Deliver>,
    by_rule: BTreeMap<String, u64>,
}

impl Snooze {
    pub fn new(store: Arc<dyn Store>, now: Now, conversations: Mailbox<Deliver>) -> Self {
        Self {
            store,
            now,
            conversations,
            by_rule: BTreeMap::new(),
        }
    }

    fn rebuild(&mut self, ctx: &mut Context<Self>) {
        let (store, now) = (self.store.clone(), (self.now)());
        let read = async move {
            let mut by_rule = BTreeMap::new();
            let mut cursor = None;
            loop {
                let page = store.rows(&query(Vec::new(), cursor)).await?;
                for row in page.rows {
                    if let Ok(snooze) = serde_json::from_str::<SnoozeRow>(&row.body)
                        && snooze.until > now
                    {
                        *by_rule.entry(rule_label(snooze.rule.as_str())).or_default() += 1;
                    }
                }
                cursor = page.next;
                if cursor.is_none() {
                    return Ok::<_, crate::store::StoreError>(by_rule);
                }
            }
        };
        ctx.spawn(read.into_actor(self).map(|read, actor, ctx| {
            match read {
                Ok(by_rule) => {
                    for rule in actor
                        .by_rule
                        .keys()
                        .filter(|rule| !by_rule.contains_key(*rule))
                    {
                        gauge!("securitybot_snoozes", "rule" => rule.clone()).set(0.0);
                    }
                    for (rule, count) in &by_rule {
                        gauge!("securitybot_snoozes", "rule" => rule.clone()).set(*count as f64);
                    }
                    actor.by_rule = by_rule;
                }
                Err(error) => tracing::warn!(%error, "cannot read the snoozes"),
            }
            ctx.run_later(REBUILD, Self::rebuild);
        }));
    }
}

fn query(fields: Vec<(&'static str, String)>, cursor: Option<String>) -> RowQuery {
    RowQuery {
        collection: Collection::Snoozes,
        fields,
        since: None,
        until: None,
        limit: PAGE,
        cursor,
    }
}

impl Actor for Snooze {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.rebuild(ctx);
    }
}

impl Handler<EndSnooze> for Snooze {
    type Result = ResponseFuture<Result<Reply, DeliverError>>;

    fn handle(&mut self, message: EndSnooze, _: &mut Self::Context) -> Self::Result {
        let (store, conversations) = (self.store.clone(), self.conversations.clone());
        Box::pin(async move {
            let again = |why: String| DeliverError::TryAgain(why);
            let row = store
                .row(Collection::Snoozes, &message.snooze)
                .await
                .map_err(|error| again(error.to_string()))?;
            let Some(snooze) =
                row.and_then(|row| serde_json::from_str::<SnoozeRow>(&row.body).ok())
            else {
                return Ok(Reply::NotFound);
            };
            let to = AggregateKey::employee(&snooze.employee, store.partitions());
            let event = Event::SnoozeEnded {
                operator: message.operator,
                snooze: message.snooze,
            };
            conversations
                .ask(Deliver { to, event }, TIMEOUT)
                .await
                .map_err(|error| again(error.to_string()))?
        })
    }
}

impl Handler<Preview> for Snooze {
    type Result = ResponseFuture<Result<Option<SnoozeRow>, DeliverError>>;

    fn handle(&mut self, wanted: Preview, _: &mut Self::Context) -> Self::Result {
        let (store, now) = (self.store.clone(), (self.now)());
        Box::pin(async move {
            let fields = vec![("employee", wanted.employee.to_string())];
            let page = store
                .rows(&query(fields, None))
                .await
                .map_err(|error| DeliverError::TryAgain(error.to_string()))?;
            Ok(page
                .rows
                .iter()
                .filter_map(|row| serde_json::from_str::<SnoozeRow>(&row.body).ok())
                .find(|snooze| {
                    snooze.until > now
                        && snooze.severity >= wanted.severity
                        && snooze.rule == wanted.rule
                        && snooze.context == wanted.context
                }))
        })
    }
}

impl Handler<Stop> for Snooze {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
