//! One per source: the accepting commit, the order of alerts, and their way to the conversations.
//!
//! Requests that wait while a commit is under way are accepted together by the next one. What it accepted is a
//! chunk of the store's queue until the receivers of all its alerts have committed them; what is read from there
//! again is delivered again, and conversations skip numbers they have taken.

mod acceptance;
mod chunks;
mod lanes;
mod queue;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture,
    fut::ActorFutureExt,
};
use metrics::{counter, gauge};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::core::conversation::Event;
use crate::core::ids::{AggregateKey, SourceId};
use crate::core::page::Raise;
use crate::core::world::World;
use crate::store::{Queue, Seen, Store};

use super::Now;
use super::beside::{Beside, Done};
use super::checkpointer::Persist;
use super::mailbox::Mailbox;
use super::messages::{
    AcceptAlerts, AcceptError, Accepted, AlertVerdict, Deliver, Escalate, Reconfigure, Stop,
};

use acceptance::Queued;
use chunks::Chunks;
use lanes::{Lanes, Numbered};

/// Alerts kept in memory for delivery, and the rest of a chunk that was begun; what else waits stays in the store.
const WINDOW: usize = 2_000;
/// Deliveries go in rounds, so that a flood is asked in large commits, each a call of the store: after a round to several
/// receivers the next one begins so much later. A lone alert, or a few, wait for nobody.
const ROUND: Duration = Duration::from_millis(10);
const SEVERAL: usize = 8;
/// Requests accepted by one commit, and about how many alerts.
const MAX_GROUP: usize = 256;
const MAX_GROUP_ALERTS: usize = 600;
/// With so many alerts waiting for their conversations the next commit gives way to them: what is accepted and not
/// asked helps nobody, and the rest of a flood waits at its producers.
const GIVE_WAY_FROM: usize = 1_000;
/// But never for longer: accepting must not depend on how asking goes.
const GIVE_WAY_FOR: Duration = Duration::from_millis(250);
/// How often an idle intake looks whether the store holds alerts that it does not know of: a Redis that was killed may
/// have forgotten that they were taken, and what their conversations made of them.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A conversation answers after its commit; longer means it was lost.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// An escalation answers after its commit.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(500);

/// What every intake shares.
pub struct IntakeEnv {
    pub now: Now,
    pub store: Arc<dyn Store>,
    pub checkpointers: Arc<Vec<Mailbox<Persist>>>,
    pub conversations: Mailbox<Deliver>,
    pub escalations: Mailbox<Escalate>,
}

impl IntakeEnv {
    /// Pages and waits until the page is durable.
    pub(super) async fn page(&self, raise: Raise, partitions: u16) -> Result<(), String> {
        let escalate = Escalate::raise(raise, partitions);
        match self.escalations.ask(escalate, PAGE_TIMEOUT).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

pub(super) struct Request {
    pub message: AcceptAlerts,
    pub reply: oneshot::Sender<Result<Accepted, AcceptError>>,
}

pub struct Intake {
    source: SourceId,
    key: AggregateKey,
    env: Arc<IntakeEnv>,
    world: Arc<World>,
    /// 503 beyond this backlog.
    max_backlog: u64,
    /// `None` until the store's queue has been read (again).
    next: Option<u64>,
    /// Alerts in the store's queue.
    queued: u64,
    waiting: VecDeque<Request>,
    accepting: bool,
    /// Since when the next commit gives way.
    gives_way: Option<Instant>,
    reading: bool,
    /// How often the queue was begun anew: what was read for an earlier time is read again.
    beginnings: u64,
    /// Every number up to this one is in memory, delivered or taken.
    read_through: u64,
    lanes: Lanes,
    /// A timer will begin the next round of deliveries.
    next_round: bool,
    deliveries: Beside,
    /// Being paged about, by the number of the alert, or of a chunk's first one.
    unreadable: BTreeSet<u64>,
    /// What is in memory of the store's queue, and what can leave it.
    chunks: Chunks,
    taking: bool,
    /// A timer will take.
    takes_soon: bool,
}

impl Intake {
    pub fn new(source: SourceId, env: Arc<IntakeEnv>, world: Arc<World>, max_backlog: u64) -> Self {
        let key = AggregateKey::source(&source, world.partitions);
        Self {
            source,
            key,
            env,
            world,
            max_backlog,
            next: None,
            queued: 0,
            waiting: VecDeque::new(),
            accepting: false,
            gives_way: None,
            reading: false,
            beginnings: 0,
            read_through: 0,
            lanes: Lanes::default(),
            next_round: false,
            deliveries: Beside::default(),
            unreadable: BTreeSet::new(),
            chunks: Chunks::default(),
            taking: false,
            takes_soon: false,
        }
    }

    /// Reads the queue's numbers, at start and after a write whose outcome is unknown, and then the queue from its
    /// beginning: what is delivered twice is taken once.
    fn reread(&mut self, ctx: &mut Context<Self>) {
        self.next = None;
        let (store, key) = (self.env.store.clone(), self.key.clone());
        let read = async move { store.queue(&key).await };
        ctx.spawn(read.into_actor(self).map(|queue, actor, ctx| match queue {
            Ok(Queue { next, backlog, .. }) => {
                actor.next = Some(next);
                actor.forget_pending();
                actor.know_queued(backlog);
                if backlog == 0 {
                    actor.read_through = next.saturating_sub(1);
                }
                actor.accept(ctx);
                actor.refill(ctx);
            }
            Err(error) => {
                tracing::warn!(source = %actor.source, %error, "cannot read the intake's queue");
                actor.refuse_waiting(&error.to_string());
                ctx.run_later(RETRY, |actor, ctx| actor.reread(ctx));
            }
        }));
    }

    /// All but what is under way comes from the store again.
    fn forget_pending(&mut self) {
        self.lanes.forget_waiting();
        self.chunks.forget();
        self.read_through = 0;
        self.beginnings += 1;
    }

    /// What is in the store's queue.
    fn know_queued(&mut self, alerts: u64) {
        self.queued = alerts;
        self.show_backlog();
    }

    /// Accepted alerts that nobody has taken yet.
    fn backlog(&self) -> u64 {
        self.queued.saturating_sub(self.chunks.finished())
    }

    fn show_backlog(&self) {
        gauge!("securitybot_intake_backlog", "source" => self.source.to_string())
            .set(self.backlog() as f64);
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        self.show_backlog();
        let calls = self.accepting || self.reading || self.taking || self.next.is_none();
        let work =
            self.lanes.alerts() > 0 || !self.chunks.done.is_empty() || !self.waiting.is_empty();
        if !calls && !work && self.unreadable.is_empty() {
            self.reread(ctx);
        }
    }

    fn refuse_waiting(&mut self, why: &str) {
        for request in self.waiting.drain(..) {
            let _ = request
                .reply
                .send(Err(AcceptError::Unavailable(why.to_owned())));
        }
    }

    fn accept(&mut self, ctx: &mut Context<Self>) {
        let Some(next) = self.next else { return };
        if self.accepting || self.waiting.is_empty() || self.give_way(ctx) {
            return;
        }
        self.accepting = true;
        let mut alerts = 0;
        let size = self.waiting.iter().take(MAX_GROUP).take_while(|request| {
            let room = alerts < MAX_GROUP_ALERTS;
            alerts += request.message.alerts.len();
            room
        });
        let size = size.count();
        let group: Vec<Request> = self.waiting.drain(..size).collect();
        let (env, world) = (self.env.clone(), self.world.clone());
        let (source, key) = (self.source.clone(), self.key.clone());
        let accept =
            async move { acceptance::accept(&env, &world, &source, &key, next, group).await };
        ctx.spawn(accept.into_actor(self).map(|done, actor, ctx| {
            actor.accepting = false;
            match done {
                Some(done) => {
                    actor.next = Some(done.next);
                    actor.accepted(done.alerts, ctx);
                    actor.accept(ctx);
                }
                None => actor.reread(ctx),
            }
        }));
    }

    /// Whether the next commit waits for the conversations.
    fn give_way(&mut self, ctx: &mut Context<Self>) -> bool {
        if self.lanes.alerts() < GIVE_WAY_FROM {
            self.gives_way = None;
            return false;
        }
        let Some(since) = self.gives_way else {
            self.gives_way = Some(Instant::now());
            ctx.run_later(GIVE_WAY_FOR, |actor, ctx| actor.accept(ctx));
            return true;
        };
        let goes_on = since.elapsed() < GIVE_WAY_FOR;
        if !goes_on {
            self.gives_way = None;
        }
        goes_on
    }

    /// Newly accepted alerts go straight to delivery, unless older ones still wait in the store.
    fn accepted(&mut self, alerts: Vec<Queued>, ctx: &mut Context<Self>) {
        self.know_queued(self.queued + alerts.len() as u64);
        let Some(first) = alerts.first().map(|queued| queued.number) else {
            return;
        };
        if self.reading || self.read_through + 1 != first || self.lanes.alerts() >= WINDOW {
            return self.refill(ctx);
        }
        let count = alerts.len() as u64;
        self.chunks.begin(first, count, first..first + count);
        self.read_through = first + count - 1;
        for queued in alerts {
            self.lanes.add(queued.receiver, queued.number, queued.alert);
        }
        self.deliver(ctx);
    }

    fn deliver(&mut self, ctx: &mut Context<Self>) {
        if self.next_round {
            return;
        }
        if self.lanes.ready() >= SEVERAL {
            self.next_round = true;
            ctx.run_later(ROUND, |actor, ctx| {
                actor.next_round = false;
                actor.deliver(ctx);
            });
        }
        for (receiver, alerts) in self.lanes.start() {
            let partition = crate::core::ids::partition_of(&receiver, self.world.partitions);
            let to = AggregateKey {
                partition,
                name: receiver.clone(),
            };
            let event = Event::AlertsArrived {
                source: self.source.clone(),
                alerts: alerts.clone(),
            };
            let conversations = self.env.conversations.clone();
            let ask = async move {
                conversations
                    .ask(Deliver { to, event }, DELIVERY_TIMEOUT)
                    .await
            };
            self.deliveries
                .run(ctx, ask, move |answer, actor: &mut Self, ctx| {
                    let problem = match answer {
                        Ok(Ok(_)) => None,
                        Ok(Err(error)) => Some(error.to_string()),
                        Err(error) => Some(error.to_string()),
                    };
                    actor.delivered(receiver, alerts, problem, ctx);
                });
        }
    }

    fn delivered(
        &mut self,
        receiver: String,
        alerts: Numbered,
        problem: Option<String>,
        ctx: &mut Context<Self>,
    ) {
        if let Some(why) = problem {
            tracing::info!(source = %self.source, %receiver, %why, "will deliver again");
            self.lanes.give_back(&receiver, &alerts);
            ctx.run_later(RETRY, move |actor, ctx| {
                actor.lanes.free(receiver);
                actor.deliver(ctx);
            });
            return;
        }
        self.lanes.took(receiver, alerts.len());
        for (number, _) in alerts.iter() {
            self.chunks.finish(*number);
        }
        self.take_soon(ctx);
        self.deliver(ctx);
        self.refill(ctx);
        self.accept(ctx);
    }
}

impl Actor for Intake {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Callers wait for their answers: at most one entry per open HTTP request.
        ctx.set_mailbox_capacity(4_096);
        self.reread(ctx);
        ctx.run_interval(LOOK_EVERY, Self::look);
    }
}

impl Handler<AcceptAlerts> for Intake {
    type Result = ResponseFuture<Result<Accepted, AcceptError>>;

    fn handle(&mut self, message: AcceptAlerts, ctx: &mut Self::Context) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        let backlog = self.backlog();
        if backlog >= self.max_backlog {
            counter!("securitybot_alerts_refused_total", "source" => self.source.to_string(),
                "reason" => "backlog_full")
            .increment(message.alerts.len() as u64);
            let source_name = self.source.to_string();
            return Box::pin(async move {
                Err(AcceptError::BacklogFull {
                    source_name,
                    backlog,
                })
            });
        }
        self.waiting.push_back(Request { message, reply });
        ctx.notify(Accept);
        Box::pin(async move {
            answer.await.unwrap_or_else(|_| {
                Err(AcceptError::Unavailable(
                    "the intake is restarting".to_owned(),
                ))
            })
        })
    }
}

/// Posted to itself so that requests already in the mailbox join the same commit.
#[derive(Message)]
#[rtype(result = "()")]
struct Accept;

impl Handler<Accept> for Intake {
    type Result = ();

    fn handle(&mut self, _: Accept, ctx: &mut Self::Context) {
        self.accept(ctx);
    }
}

impl Handler<Done<Intake>> for Intake {
    type Result = ();

    fn handle(&mut self, done: Done<Self>, ctx: &mut Self::Context) {
        done.go_on(self, ctx);
    }
}

impl Handler<Reconfigure> for Intake {
    type Result = ();

    fn handle(&mut self, message: Reconfigure, _: &mut Self::Context) {
        self.world = message.world;
    }
}

impl Handler<Stop> for Intake {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// What the same request says about an alert that stands already.
pub(super) fn verdict(id: &Arc<str>, seen: Option<Seen>) -> AlertVerdict {
    AlertVerdict {
        id: id.clone(),
        seen,
    }
}
