//! One per partition: everything durable goes through it. What waits while a batch is in flight is the
//! next batch, so a lone commit is never delayed and a flood is written in groups.
//!
//! It owns the partition's lease and the head of its journal. After a write whose outcome is unknown it
//! claims the partition anew: the epoch rises, so the lost write can no longer land afterwards.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{
    Actor, ActorContext, AsyncContext, Context, Handler, Message, WrapFuture, fut::ActorFutureExt,
};
use metrics::{counter, histogram};
use tokio::sync::oneshot;

use crate::core::record::Record;
use crate::store::{
    Batch, Claim, Head, Refusal, Seen, Store, StoreError, Write, WriteError, journal,
};

use super::mailbox::Mailbox;
use super::messages::Stop;
use super::{Now, measure};

/// At most this many writes in one batch: beyond it Redis gains nothing more per commit.
const MAX_BATCH: usize = 256;
/// How long a lease stands without renewal; a frozen node loses its partitions after it.
pub const LEASE: Duration = Duration::from_secs(15);
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Between attempts to get the lease back.
const CLAIM_AGAIN: Duration = Duration::from_millis(500);

/// Make one write durable.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Persist {
    pub write: Write,
    pub records: Vec<Record>,
    pub verdict: oneshot::Sender<Verdict>,
}

/// What became of a [`Persist`]. A dropped sender means unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Committed,
    /// Committed, but on too few replicas: no producer may be told that it is safe.
    Unreplicated(String),
    Conflict {
        found: u64,
    },
    Duplicate(Vec<(usize, Seen)>),
    /// Certainly not written.
    Failed(String),
    /// It may be there, or may still come: forget what you believed and read again.
    Unknown(String),
}

/// The journal of a partition went on.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Written {
    pub partition: u16,
}

/// Which partitions this node may write, for readyz.
#[derive(Debug)]
pub struct Held(Vec<AtomicBool>);

impl Held {
    pub fn new(partitions: u16) -> Self {
        Self((0..partitions).map(|_| AtomicBool::new(false)).collect())
    }

    fn set(&self, partition: u16, held: bool) {
        if let Some(flag) = self.0.get(usize::from(partition)) {
            flag.store(held, Ordering::Relaxed);
        }
    }

    /// Partitions whose alerts cannot be made durable here now.
    pub fn missing(&self) -> Vec<usize> {
        let flags = self.0.iter().enumerate();
        flags
            .filter(|(_, flag)| !flag.load(Ordering::Relaxed))
            .map(|(at, _)| at)
            .collect()
    }
}

pub struct Checkpointer {
    partition: u16,
    node: String,
    store: Arc<dyn Store>,
    now: Now,
    /// `None` while the lease must be claimed (again).
    claim: Option<Claim>,
    claiming: bool,
    waiting: VecDeque<Persist>,
    in_flight: bool,
    reporter: Mailbox<Written>,
    held: Arc<Held>,
}

impl Checkpointer {
    pub fn new(
        partition: u16,
        node: String,
        store: Arc<dyn Store>,
        now: Now,
        reporter: Mailbox<Written>,
        held: Arc<Held>,
    ) -> Self {
        Self {
            partition,
            node,
            store,
            now,
            claim: None,
            claiming: false,
            waiting: VecDeque::new(),
            in_flight: false,
            reporter,
            held,
        }
    }

    fn claim(&mut self, ctx: &mut Context<Self>) {
        if self.claiming || self.in_flight {
            return;
        }
        self.claiming = true;
        let (store, node, partition) = (self.store.clone(), self.node.clone(), self.partition);
        let now = (self.now)();
        let claim = async move { store.claim(partition, &node, now, LEASE).await };
        ctx.spawn(claim.into_actor(self).map(|claimed, actor, ctx| {
            actor.claiming = false;
            match claimed {
                Ok(claim) => {
                    actor.claim = Some(claim);
                    actor.held.set(actor.partition, true);
                    actor.flush(ctx);
                }
                Err(error) => actor.unclaimed(&error, ctx),
            }
        }));
    }

    /// Nothing can be written now: whoever waits is told so, and the claim is tried again.
    fn unclaimed(&mut self, error: &StoreError, ctx: &mut Context<Self>) {
        self.held.set(self.partition, false);
        tracing::warn!(partition = self.partition, %error, "cannot claim the partition");
        for persist in self.waiting.drain(..) {
            let _ = persist.verdict.send(Verdict::Failed(error.to_string()));
        }
        ctx.run_later(CLAIM_AGAIN, |actor, ctx| actor.claim(ctx));
    }

    fn flush(&mut self, ctx: &mut Context<Self>) {
        if self.in_flight || self.waiting.is_empty() {
            return;
        }
        let Some(claim) = self.claim.clone() else {
            return self.claim(ctx);
        };
        self.in_flight = true;
        let size = self.waiting.len().min(MAX_BATCH);
        let group: Vec<_> = self.waiting.drain(..size).collect();
        let now = (self.now)();
        histogram!("securitybot_commit_batch_size").record(size as f64);
        let store = self.store.clone();
        let partition = self.partition;
        let head = claim.head.seq;
        let started = tokio::time::Instant::now();
        let write = async move { write_group(store.as_ref(), partition, claim, group, now).await };
        ctx.spawn(write.into_actor(self).map(move |claim, actor, ctx| {
            histogram!("securitybot_commit_seconds").record(started.elapsed().as_secs_f64());
            actor.in_flight = false;
            if claim.as_ref().is_some_and(|claim| claim.head.seq != head) {
                actor.reporter.tell(Written { partition });
            }
            actor.claim = claim;
            if actor.claim.is_none() {
                actor.claim(ctx);
            }
            actor.flush(ctx);
        }));
    }

    fn renew(&mut self, ctx: &mut Context<Self>) {
        let Some(claim) = self.claim.clone() else {
            return;
        };
        let (store, node, partition) = (self.store.clone(), self.node.clone(), self.partition);
        let now = (self.now)();
        let renew = async move { store.renew(partition, &node, claim.epoch, now, LEASE).await };
        ctx.spawn(renew.into_actor(self).map(move |renewed, actor, ctx| {
            let same = actor
                .claim
                .as_ref()
                .is_some_and(|held| held.epoch == claim.epoch);
            if same && matches!(renewed, Ok(false)) {
                tracing::error!(
                    partition = actor.partition,
                    "the partition's lease was lost"
                );
                if !actor.in_flight {
                    actor.claim = None;
                    actor.claim(ctx);
                }
            }
        }));
    }
}

/// Who waits for a write, and what the journal says of it.
struct Caller {
    records: Vec<Record>,
    verdict: oneshot::Sender<Verdict>,
}

/// Writes a group, taking refused writes out and sending the rest again. Answers each, and returns the
/// claim with the journal's new head, or `None` when the partition must be claimed anew.
async fn write_group(
    store: &dyn Store,
    partition: u16,
    claim: Claim,
    group: Vec<Persist>,
    now: crate::core::time::Timestamp,
) -> Option<Claim> {
    let (mut writes, mut group): (Vec<Write>, Vec<Caller>) = group
        .into_iter()
        .map(
            |Persist {
                 write,
                 records,
                 verdict,
             }| (write, Caller { records, verdict }),
        )
        .unzip();
    while !group.is_empty() {
        let (rows, head) = chained(&claim.head, &group);
        let batch = Batch {
            partition,
            epoch: claim.epoch,
            head_before: claim.head.clone(),
            writes: std::mem::take(&mut writes),
            journal: rows,
            now,
        };
        match store.write(&batch).await {
            Ok(()) => {
                answer(group, &Verdict::Committed);
                return Some(Claim { head, ..claim });
            }
            Err(WriteError::Unreplicated { got, wanted }) => {
                let why = format!("only {got} of {wanted} replicas have it");
                answer(group, &Verdict::Unreplicated(why));
                return Some(Claim { head, ..claim });
            }
            Err(WriteError::Refused(refusals)) => {
                counter!("securitybot_commits_refused_total").increment(refusals.len() as u64);
                (writes, group) = without(batch.writes, group, refusals);
            }
            Err(WriteError::Failed(why)) => {
                tracing::error!(partition, %why, "the store refused to write");
                counter!("securitybot_commits_failed_total").increment(group.len() as u64);
                answer(group, &Verdict::Failed(why));
                return Some(claim);
            }
            Err(WriteError::Fenced) => {
                tracing::error!(
                    partition,
                    "fenced: the partition has another owner or journal head"
                );
                answer(
                    group,
                    &Verdict::Unknown("the partition was taken over".to_owned()),
                );
                return None;
            }
            Err(WriteError::Unknown(why)) => {
                tracing::warn!(partition, %why, "the outcome of a commit is unknown");
                answer(group, &Verdict::Unknown(why));
                return None;
            }
        }
    }
    Some(claim)
}

fn chained(head: &Head, group: &[Caller]) -> (Vec<crate::store::JournalRow>, Head) {
    let records = group
        .iter()
        .flat_map(|persist| &persist.records)
        .map(|record| {
            let body = serde_json::to_string(record).expect("a record is plain data");
            (record.case_id, record.at, body)
        });
    journal::chain(head, records)
}

fn answer(group: Vec<Caller>, verdict: &Verdict) {
    let stands = matches!(verdict, Verdict::Committed | Verdict::Unreplicated(_));
    for persist in group {
        if stands {
            measure::count(&persist.records);
        }
        let _ = persist.verdict.send(verdict.clone());
    }
}

fn without(
    writes: Vec<Write>,
    group: Vec<Caller>,
    refusals: Vec<(usize, Refusal)>,
) -> (Vec<Write>, Vec<Caller>) {
    let mut refusals: std::collections::BTreeMap<_, _> = refusals.into_iter().collect();
    let mut rest = (
        Vec::with_capacity(group.len()),
        Vec::with_capacity(group.len()),
    );
    for (index, (write, caller)) in writes.into_iter().zip(group).enumerate() {
        let verdict = match refusals.remove(&index) {
            None => {
                rest.0.push(write);
                rest.1.push(caller);
                continue;
            }
            Some(Refusal::Conflict { found }) => Verdict::Conflict { found },
            Some(Refusal::Duplicate(seen)) => Verdict::Duplicate(seen),
        };
        let _ = caller.verdict.send(verdict);
    }
    rest
}

impl Actor for Checkpointer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Senders wait for their verdicts and are bounded themselves (see actors.md).
        ctx.set_mailbox_capacity(4 * MAX_BATCH);
        ctx.run_interval(RENEW_EVERY, Self::renew);
        self.claim(ctx);
    }
}

impl Handler<Persist> for Checkpointer {
    type Result = ();

    fn handle(&mut self, persist: Persist, ctx: &mut Self::Context) {
        self.waiting.push_back(persist);
        // Let what is already in the mailbox join the batch.
        if !self.in_flight {
            ctx.notify(Flush);
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Flush;

impl Handler<Flush> for Checkpointer {
    type Result = ();

    fn handle(&mut self, _: Flush, ctx: &mut Self::Context) {
        self.flush(ctx);
    }
}

impl Handler<Stop> for Checkpointer {
    type Result = ();

    /// Gives the lease up, so that another node need not wait for its end.
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        self.held.set(self.partition, false);
        let Some(claim) = self.claim.take() else {
            return ctx.stop();
        };
        let (store, node, partition) = (self.store.clone(), self.node.clone(), self.partition);
        let release = async move { store.release(partition, &node, claim.epoch).await };
        ctx.wait(release.into_actor(self).map(|released, actor, ctx| {
            if let Err(error) = released {
                tracing::info!(partition = actor.partition, %error, "the lease was not given up");
            }
            ctx.stop();
        }));
    }
}
