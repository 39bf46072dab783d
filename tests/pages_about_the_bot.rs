//! What can never be an alert, and what was accepted and can no longer be read, must reach a human: the
//! page is durable before the payload is acknowledged or leaves the queue, whatever dies in between.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler};
use securitybot::actors::Now;
use securitybot::actors::checkpointer::{Checkpointer, Held};
use securitybot::actors::intake::{Intake, IntakeEnv};
use securitybot::actors::mailbox::mailbox;
use securitybot::actors::messages::{AcceptAlerts, AcceptError, Accepted, DeliverError, Escalate};
use securitybot::config::Config;
use securitybot::core::employee::Directory;
use securitybot::core::escalation::{Event, Reply};
use securitybot::core::ids::{AggregateKey, SourceId};
use securitybot::core::machine::Collection;
use securitybot::core::page::Raise;
use securitybot::core::time::Timestamp;
use securitybot::store::memory::MemoryStore;
use securitybot::store::{Accept, Batch, QueuedAlert, RowQuery, Store, Write};

const NOON_MS: i64 = 1_800_000_000_000;

/// An escalator that commits nothing the first `refusals` times.
struct Duty {
    refusals: u32,
    asked: Rc<RefCell<Vec<Raise>>>,
}

impl Actor for Duty {
    type Context = Context<Self>;
}

impl Handler<Escalate> for Duty {
    type Result = Result<Reply, DeliverError>;

    fn handle(&mut self, message: Escalate, _: &mut Self::Context) -> Self::Result {
        let Event::Raised(raise) = message.event else {
            panic!("only raised here")
        };
        self.asked.borrow_mut().push(*raise);
        if self.refusals > 0 {
            self.refusals -= 1;
            return Err(DeliverError::TryAgain("restarting".to_owned()));
        }
        Ok(Reply::Taken)
    }
}

struct Bench {
    store: Arc<MemoryStore>,
    intake: Addr<Intake>,
    asked: Rc<RefCell<Vec<Raise>>>,
}

fn source() -> SourceId {
    SourceId::new("hook")
}

/// An intake on `store` beside an escalator that refuses at first.
fn start(store: Arc<MemoryStore>, refusals: u32) -> Bench {
    let now: Now = Arc::new(|| Timestamp::from_millis(NOON_MS));
    let shared: Arc<dyn Store> = store.clone();
    let (_reporter, written) = mailbox("reporter");
    let (slot, persist) = mailbox("checkpointer");
    let held = Arc::new(Held::new(1));
    let checkpointer = Checkpointer::new(
        0,
        "node".to_owned(),
        shared.clone(),
        now.clone(),
        written,
        held,
    );
    slot.install(&checkpointer.start());
    let asked = Rc::new(RefCell::new(Vec::new()));
    let (duty_slot, escalations) = mailbox("escalator");
    duty_slot.install(
        &Duty {
            refusals,
            asked: asked.clone(),
        }
        .start(),
    );
    let (_dispatcher, conversations) = mailbox("dispatcher");
    let env = IntakeEnv {
        now,
        store: shared,
        checkpointers: Arc::new(vec![persist]),
        conversations,
        escalations,
    };
    let text = "[store]\npartitions = 1\n".to_owned();
    let config = Config::parse("config.toml".as_ref(), text, std::iter::empty()).unwrap();
    let world = Arc::new(config.world(Directory::default(), BTreeMap::new()));
    let intake = Intake::new(source(), Arc::new(env), world, u64::MAX).start();
    Bench {
        store,
        intake,
        asked,
    }
}

impl Bench {
    async fn send_garbage(&self) -> Result<Accepted, AcceptError> {
        let message = AcceptAlerts {
            source: source(),
            alerts: Vec::new(),
            quarantined: vec![("{".to_owned(), "malformed JSON".to_owned())],
            cursor: Some("next".to_owned()),
        };
        self.intake.send(message).await.unwrap()
    }

    async fn quarantined(&self) -> usize {
        let query = RowQuery {
            collection: Collection::Quarantine,
            fields: Vec::new(),
            since: None,
            until: None,
            limit: 10,
            cursor: None,
        };
        self.store.rows(&query).await.unwrap().rows.len()
    }
}

#[actix_rt::test]
async fn nothing_is_quarantined_or_acknowledged_before_its_page_is_durable() {
    let bench = start(Arc::new(MemoryStore::new(1)), 1);

    assert!(
        bench.send_garbage().await.is_err(),
        "no page, no acknowledgement"
    );
    assert_eq!(bench.quarantined().await, 0);
    let key = AggregateKey::source(&source(), 1);
    assert_eq!(
        bench.store.queue(&key).await.unwrap().cursor,
        None,
        "it is read again"
    );

    while bench.send_garbage().await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await; // until the lease is there
    }
    assert_eq!(bench.quarantined().await, 1);
    let asked = bench.asked.borrow();
    assert!(asked.len() >= 2);
    for raise in asked.iter() {
        assert_eq!(raise.id, asked[0].id, "one page an hour and source");
        assert!(
            raise.url.ends_with(&format!("/cases/{}", raise.id)),
            "{}",
            raise.url
        );
    }
}

#[actix_rt::test]
async fn an_accepted_alert_that_cannot_be_read_leaves_the_queue_only_after_its_page() {
    let store = Arc::new(MemoryStore::new(1));
    let key = AggregateKey::source(&source(), 1);
    queue_garbage(&store, &key).await;

    let bench = start(store, 2);
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while bench.store.queue(&key).await.unwrap().backlog > 0 {
        assert!(
            tokio::time::Instant::now() < until,
            "it never left the queue"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let asked = bench.asked.borrow();
    assert_eq!(asked.len(), 3, "refused twice, then durable, then taken");
    assert!(
        asked.iter().all(|raise| raise.id == asked[0].id),
        "one page, however often"
    );
}

/// What a damaged disk leaves of an accepted alert.
async fn queue_garbage(store: &MemoryStore, key: &AggregateKey) {
    let now = Timestamp::from_millis(NOON_MS);
    let claim = store
        .claim(0, "node", now, Duration::from_secs(15))
        .await
        .unwrap();
    let alert = QueuedAlert {
        number: 1,
        receiver: "employee/alice".to_owned(),
        body: "{\"cut".to_owned(),
    };
    let accept = Accept {
        source: key.clone(),
        first: 1,
        alerts: vec![alert],
        marks: Vec::new(),
        cursor: None,
        rows: Vec::new(),
    };
    let batch = Batch {
        partition: 0,
        epoch: claim.epoch,
        head_before: claim.head,
        writes: vec![Write::Accept(accept)],
        journal: Vec::new(),
        now,
    };
    store.write(&batch).await.unwrap();
}
