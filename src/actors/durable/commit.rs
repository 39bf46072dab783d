//! From a step to a verdict: what one event decided becomes one atomic write of the aggregate's partition.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::actors::Now;
use crate::actors::checkpoint::{self, Encoded, Outbox, Written};
use crate::actors::checkpointer::{Persist, Verdict};
use crate::actors::mailbox::Mailbox;
use crate::actors::messages::Wake;
use crate::core::escalation::Escalation;
use crate::core::ids::AggregateKey;
use crate::core::machine::{Context, Machine, Step};
use crate::core::page::Raise;
use crate::core::record::Record;
use crate::core::time::earliest;
use crate::core::world::World;
use crate::store::{Birth, Commit, Store, Write};

use super::perform::{Perform, Then};

/// Longer than the store's own deadline: a Checkpointer that died answers by dropping the sender.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);

/// What every instance of a machine's shell shares.
pub struct Env<M: Machine> {
    pub now: Now,
    pub store: Arc<dyn Store>,
    /// By partition.
    pub checkpointers: Arc<Vec<Mailbox<Persist>>>,
    pub performer: Arc<dyn Perform<M>>,
    /// Newborn escalations are woken at once.
    pub newborn: Mailbox<Wake>,
}

impl<M: Machine> Env<M> {
    pub async fn persist(&self, partition: u16, write: Write, records: Vec<Record>) -> Verdict {
        persist(&self.checkpointers, partition, write, records).await
    }
}

/// Hands one write to the partition's Checkpointer and waits for the verdict.
pub async fn persist(
    checkpointers: &[Mailbox<Persist>],
    partition: u16,
    write: Write,
    records: Vec<Record>,
) -> Verdict {
    let (verdict, answer) = oneshot::channel();
    let Some(checkpointer) = checkpointers.get(usize::from(partition)) else {
        return Verdict::Failed(format!("there is no partition {partition}"));
    };
    if !checkpointer.tell(Persist {
        write,
        records,
        verdict,
    }) {
        return Verdict::Failed("the checkpointer is restarting".to_owned());
    }
    match tokio::time::timeout(COMMIT_TIMEOUT, answer).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(_)) => Verdict::Unknown("the checkpointer ended with the commit".to_owned()),
        Err(_) => Verdict::Unknown("the commit timed out".to_owned()),
    }
}

/// A loaded aggregate, ready to live.
pub struct Loaded<M: Machine> {
    pub key: AggregateKey,
    pub version: u64,
    pub state: M,
    pub outbox: Outbox<M::Effect>,
    pub written: Written<M::Piece>,
}

/// A step that has been encoded and waits for its verdict.
pub struct Prepared<M: Machine> {
    pub next: M,
    pub outbox: Outbox<M::Effect>,
    pub written: Written<M::Piece>,
    /// Taken when it is handed to the Checkpointer.
    pub commit: Option<Commit>,
    pub records: Vec<Record>,
    pub reply: Option<M::Reply>,
    pub births: Vec<AggregateKey>,
    /// What the commit performed, to be followed up when it stands.
    pub then: Vec<Then>,
}

/// Commits a rebuilt state in place of an unreadable one, before anybody lives in it.
pub async fn adopt<M: Machine>(
    env: &Env<M>,
    key: &AggregateKey,
    version: u64,
    written: &Written<M::Piece>,
    step: Step<M>,
    world: &World,
) -> Result<Loaded<M>, String> {
    let now = (env.now)();
    let cx = Context {
        now,
        entropy: rand::random(),
        world,
    };
    let outbox = Outbox::anew(now).after(None, &[], &BTreeSet::new(), step.effects.clone(), now);
    let mut prepared = prepared(key, version, written, step, outbox, &cx);
    let commit = prepared.commit.take().expect("a new step holds its commit");
    let write = Write::Commit(commit);
    match env.persist(key.partition, write, prepared.records).await {
        Verdict::Committed | Verdict::Unreplicated(_) => {
            for key in prepared.births {
                env.newborn.tell(Wake {
                    to: key,
                    version: 1,
                });
            }
            Ok(Loaded {
                key: key.clone(),
                version: version + 1,
                state: prepared.next,
                outbox: prepared.outbox,
                written: prepared.written,
            })
        }
        verdict => Err(format!(
            "the fresh start could not be committed: {verdict:?}"
        )),
    }
}

/// Encodes a step as the commit that makes it true. Pure: the model in `tests/model` takes it as it is.
pub fn prepared<M: Machine>(
    key: &AggregateKey,
    version: u64,
    written: &Written<M::Piece>,
    mut step: Step<M>,
    outbox: Outbox<M::Effect>,
    cx: &Context<'_>,
) -> Prepared<M> {
    let mut records = step.records;
    let births: Vec<Birth> = step
        .births
        .into_iter()
        .map(|raise| born(raise, key.partition, &mut records, cx))
        .collect();
    let born_keys = births.iter().map(|birth| birth.key.clone()).collect();
    let Encoded {
        state,
        pieces,
        due,
        due_stands,
        written,
    } = checkpoint::encode_after(&key.name, written, &mut step.next, &outbox);
    let commit = Commit {
        key: key.clone(),
        expected: version,
        state,
        pieces,
        guard: serde_json::to_string(&step.next.guard()).expect("a guard is plain data"),
        due,
        due_stands,
        rows: step.rows,
        births,
    };
    let reply = Some(step.reply);
    Prepared {
        next: step.next,
        outbox,
        written,
        commit: Some(commit),
        records,
        reply,
        births: born_keys,
        then: Vec::new(),
    }
}

/// The first state of an escalation, as part of the commit that decided to page.
fn born(raise: Raise, partition: u16, records: &mut Vec<Record>, cx: &Context<'_>) -> Birth {
    let key = AggregateKey::escalation(raise.id, partition);
    let event = crate::core::escalation::Event::Raised(Box::new(raise));
    let step = Escalation::new(&key).step(&event, cx);
    let outbox = Outbox::new().after(None, &[], &BTreeSet::new(), step.effects, cx.now);
    records.extend(step.records);
    Birth {
        state: checkpoint::encode(&step.next, &outbox),
        due: earliest(step.next.due(), outbox.due()),
        rows: step.rows,
        key,
    }
}
