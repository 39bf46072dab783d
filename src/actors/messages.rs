//! What actors say to each other, and what `http` and the plugins may say to them.

use std::sync::Arc;

use actix::Message;

use crate::core::conversation;
use crate::core::escalation;
use crate::core::ids::{AggregateKey, EmployeeId};
use crate::core::page::Raise;
use crate::core::world::World;
use crate::plugins::sources::Incoming;
use crate::store::Seen;

use super::mailbox::Mailbox;

/// The doors of the running system, for `http`, `plugins` and each other. Each survives the restart of
/// the actor behind it.
#[derive(Clone)]
pub struct Ports {
    pub intake: Mailbox<AcceptAlerts>,
    pub conversations: Mailbox<Deliver>,
    pub escalations: Mailbox<Escalate>,
    pub verifier: Mailbox<CheckCode>,
}

/// Make these durable: the whole request or nothing. Answered once it is.
#[derive(Debug, Message)]
#[rtype(result = "Result<Accepted, AcceptError>")]
pub struct AcceptAlerts {
    pub source: crate::core::ids::SourceId,
    pub alerts: Vec<Incoming>,
    /// Payload and error of what can never be accepted (webhook formats, polled files).
    pub quarantined: Vec<(String, String)>,
    /// The Poller's next place.
    pub cursor: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// One entry per alert of the request, in its order.
    pub alerts: Vec<AlertVerdict>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertVerdict {
    pub id: Arc<str>,
    /// `None`: accepted now. `Some`: seen before, with the same or with another body.
    pub seen: Option<Seen>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// 503 with `Retry-After`: nothing may be believed accepted.
    #[error("alerts cannot be made durable now: {0}")]
    Unavailable(String),
    #[error("the backlog of source {source_name} is full ({backlog} alerts)")]
    BacklogFull { source_name: String, backlog: u64 },
    #[error("no source is named {0}")]
    NoSuchSource(String),
}

/// An event for one conversation; answered when its step is committed.
#[derive(Debug, Message)]
#[rtype(result = "Result<conversation::Reply, DeliverError>")]
pub struct Deliver {
    /// `employee/{id}` or `unknown/{principal}`.
    pub to: AggregateKey,
    pub event: conversation::Event,
}

/// An event for one escalation; answered when its step is committed.
#[derive(Debug, Message)]
#[rtype(result = "Result<escalation::Reply, DeliverError>")]
pub struct Escalate {
    pub to: AggregateKey,
    pub event: escalation::Event,
}

impl Escalate {
    /// Raises what is no case of an employee: operations, test, flood.
    pub fn raise(raise: Raise, partitions: u16) -> Self {
        let name = format!("escalation/{}", raise.id);
        let partition = crate::core::ids::partition_of(&name, partitions);
        let to = AggregateKey::escalation(raise.id, partition);
        Self {
            to,
            event: escalation::Event::Raised(Box::new(raise)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// It may or may not have been taken: send it again, it is idempotent.
    #[error("not taken, please try again: {0}")]
    TryAgain(String),
}

/// Check a code now; the code goes no further.
#[derive(Debug, Message)]
#[rtype(result = "conversation::Proof")]
pub struct CheckCode {
    pub employee: EmployeeId,
    pub code: secrecy::SecretString,
}

/// A validated reload: everybody who holds the world replaces it.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Reconfigure {
    pub world: Arc<World>,
}

/// Time may have come for an aggregate; `version` is what the store holds.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Wake {
    pub to: AggregateKey,
    pub version: u64,
}

/// End now. Nothing that matters is only in an actor's memory.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;
