//! What a source's intake does with a flood, and with a store that remembers less than it had acknowledged.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, ResponseFuture};
use securitybot::actors::checkpointer::{Persist, Verdict};
use securitybot::actors::intake::{Intake, IntakeEnv};
use securitybot::actors::mailbox::{Mailbox, Slot, mailbox};
use securitybot::actors::messages::{
    AcceptAlerts, AcceptError, Accepted, Deliver, DeliverError, Stop,
};
use securitybot::config::Config;
use securitybot::core::alert::{Alert, Severity};
use securitybot::core::conversation::{Event, Reply};
use securitybot::core::employee::Directory;
use securitybot::core::ids::{AggregateKey, SourceId};
use securitybot::core::text::Untrusted;
use securitybot::core::time::Timestamp;
use securitybot::core::world::World;
use securitybot::plugins::sources::Incoming;
use securitybot::store::memory::MemoryStore;
use securitybot::store::{Batch, Epoch, Head, Store, Write};
use tokio::sync::Semaphore;
use tokio::time::timeout;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// Writes as it is told, but forgets the first `forgets` takes that it acknowledges.
struct Forgetful {
    store: Arc<MemoryStore>,
    epoch: Epoch,
    head: Head,
    forgets: u32,
}

impl Actor for Forgetful {
    type Context = Context<Self>;
}

impl Handler<Persist> for Forgetful {
    type Result = ();

    fn handle(&mut self, message: Persist, _: &mut Self::Context) {
        if matches!(message.write, Write::Take { .. }) && self.forgets > 0 {
            self.forgets -= 1;
            let _ = message.verdict.send(Verdict::Committed);
            return;
        }
        let batch = Batch {
            partition: 0,
            epoch: self.epoch,
            head_before: self.head.clone(),
            writes: vec![message.write],
            journal: Vec::new(),
            now: NOW,
        };
        let store = self.store.clone();
        actix::spawn(async move {
            store.write(&batch).await.unwrap();
            let _ = message.verdict.send(Verdict::Committed);
        });
    }
}

/// Conversations that take what comes when they are let, but for one number.
struct Conversations {
    let_in: Rc<Semaphore>,
    refuses: Rc<Cell<u64>>,
    got: Rc<RefCell<Vec<u64>>>,
}

impl Actor for Conversations {
    type Context = Context<Self>;
}

impl Handler<Deliver> for Conversations {
    type Result = ResponseFuture<Result<Reply, DeliverError>>;

    fn handle(&mut self, message: Deliver, _: &mut Self::Context) -> Self::Result {
        let (let_in, got) = (self.let_in.clone(), self.got.clone());
        let refused = self.refuses.get();
        Box::pin(async move {
            let _turn = let_in.acquire().await.unwrap();
            if let Event::AlertsArrived { alerts, .. } = message.event {
                if alerts.iter().any(|(number, _)| *number == refused) {
                    return Err(DeliverError::TryAgain("not this one".to_owned()));
                }
                got.borrow_mut()
                    .extend(alerts.iter().map(|(number, _)| number));
            }
            Ok(Reply::Taken)
        })
    }
}

struct Bench {
    store: Arc<MemoryStore>,
    intake: Addr<Intake>,
    env: Arc<IntakeEnv>,
    world: Arc<World>,
    let_in: Rc<Semaphore>,
    refuses: Rc<Cell<u64>>,
    got: Rc<RefCell<Vec<u64>>>,
    _slots: (Slot<Persist>, Slot<Deliver>),
}

async fn start(forgets: u32, let_in: usize) -> Bench {
    let store = Arc::new(MemoryStore::new(1));
    let lease = Duration::from_secs(3600);
    let claim = store.claim(0, "node", NOW, lease).await.unwrap();
    let (persist_slot, persist): (_, Mailbox<Persist>) = mailbox("checkpointer");
    let forgetful = Forgetful {
        store: store.clone(),
        epoch: claim.epoch,
        head: claim.head,
        forgets,
    };
    persist_slot.install(&forgetful.start());
    let (deliver_slot, conversations) = mailbox("dispatcher");
    let (let_in, got) = (Rc::new(Semaphore::new(let_in)), Rc::default());
    let refuses = Rc::new(Cell::new(0));
    let people = Conversations {
        let_in: let_in.clone(),
        refuses: refuses.clone(),
        got: Rc::clone(&got),
    };
    deliver_slot.install(&people.start());
    let (_, escalations) = mailbox("escalator");
    let env = Arc::new(IntakeEnv {
        now: Arc::new(|| NOW),
        store: store.clone(),
        checkpointers: Arc::new(vec![persist]),
        conversations,
        escalations,
    });
    let text = "[store]\npartitions = 1\n".to_owned();
    let config = Config::parse("config.toml".as_ref(), text, std::iter::empty()).unwrap();
    let world = Arc::new(config.world(Directory::default(), BTreeMap::new()));
    let intake = intake(&env, &world);
    Bench {
        store,
        intake,
        env,
        world,
        let_in,
        refuses,
        got,
        _slots: (persist_slot, deliver_slot),
    }
}

fn intake(env: &Arc<IntakeEnv>, world: &Arc<World>) -> Addr<Intake> {
    let source = SourceId::new("hook");
    Intake::new(source, env.clone(), world.clone(), u64::MAX).start()
}

impl Bench {
    /// It dies, and another reads the queue.
    async fn restart(&mut self) {
        self.intake.send(Stop).await.unwrap();
        self.intake = intake(&self.env, &self.world);
    }

    fn send(
        &self,
        first: usize,
        count: usize,
    ) -> impl Future<Output = Result<Accepted, AcceptError>> {
        let alerts = (first..first + count).map(incoming).collect();
        let sent = self.intake.send(AcceptAlerts {
            source: SourceId::new("hook"),
            alerts,
            quarantined: Vec::new(),
            cursor: None,
        });
        async { sent.await.unwrap() }
    }

    async fn backlog(&self) -> u64 {
        let key = AggregateKey::source(&SourceId::new("hook"), 1);
        self.store.queue(&key).await.unwrap().backlog
    }
}

fn incoming(nth: usize) -> Incoming {
    Incoming {
        alert: Alert {
            source: SourceId::new("hook"),
            id: format!("a{nth}").into(),
            principal: Untrusted::from(format!("p{nth}").as_str()),
            rule: "sudo".into(),
            title: Untrusted::from("sudo on web-3"),
            description: Untrusted::default(),
            reason: Untrusted::default(),
            severity: Severity::Medium,
            occurred_at: None,
            url: None,
            context: Default::default(),
            accepted_at: NOW,
            resolved: false,
        },
        canonical: format!("{{\"id\":\"a{nth}\"}}"),
        noted: None,
        mark_for: None,
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[actix_rt::test]
async fn an_alert_whose_taking_the_store_forgot_is_delivered_and_taken_again() {
    let bench = start(1, 100).await;
    bench.send(0, 1).await.unwrap();
    until("delivered", async || bench.got.borrow().len() == 1).await;
    assert_eq!(bench.backlog().await, 1, "the take was forgotten");

    until("taken", async || bench.backlog().await == 0).await;
    assert_eq!(*bench.got.borrow(), [1, 1]);
}

#[actix_rt::test]
async fn what_was_accepted_together_leaves_the_queue_when_all_of_it_is_taken_and_comes_again_whole_until_then()
 {
    let mut bench = start(0, 100).await;
    bench.refuses.set(2);
    bench.send(0, 3).await.unwrap();
    until("delivered", async || bench.got.borrow().len() == 2).await;
    bench.send(3, 2).await.unwrap();
    until("the next ones are taken", async || {
        bench.backlog().await == 3
    })
    .await;

    bench.restart().await;
    until("delivered again", async || bench.got.borrow().len() == 6).await;
    assert_eq!(bench.backlog().await, 3);
    bench.refuses.set(0);
    until("taken", async || bench.backlog().await == 0).await;
    let mut got = bench.got.take();
    got.sort_unstable();
    assert_eq!(got, [1, 1, 2, 3, 3, 4, 5]);
}

#[actix_rt::test]
async fn a_flood_waits_at_its_producers_while_conversations_are_behind_but_not_for_long() {
    let bench = start(0, 0).await;
    bench.send(0, 1_000).await.unwrap();
    let next = bench.send(1_000, 10);
    tokio::pin!(next);
    let soon = timeout(Duration::from_millis(50), &mut next).await;
    assert!(soon.is_err(), "nobody was asked yet");
    let later = timeout(PATIENCE, next).await;
    later.expect("accepting never depends on asking").unwrap();

    bench.let_in.add_permits(2_000);
    until("asked", async || bench.got.borrow().len() == 1_010).await;
    let quick = bench.send(2_000, 10);
    timeout(PATIENCE, quick).await.unwrap().unwrap();
    until("taken", async || bench.backlog().await == 0).await;
}
