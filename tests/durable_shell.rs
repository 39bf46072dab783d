//! The shell around durable machines when something is broken: a store that refuses, a plugin that
//! panics, a checkpoint that cannot be read. Nobody is paged twice for it, nothing is taken twice.
#![allow(clippy::unwrap_used)] // helpers of tests

mod escalation_support;
#[path = "durable_shell/loads.rs"]
mod loads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix::Actor;
use escalation_support::{START, ladder, level, world};
use futures_util::future::BoxFuture;
use securitybot::actors::checkpointer::{Checkpointer, Held, Persist};
use securitybot::actors::durable::{Env, Order, Perform, Performed, Within};
use securitybot::actors::keeper::Keeper;
use securitybot::actors::mailbox::{Mailbox, Slot, mailbox};
use securitybot::actors::messages::{Deliver, Escalate};
use securitybot::core::alert::{Alert, Severity};
use securitybot::core::case::CaseView;
use securitybot::core::conversation::{self, Conversation, Event};
use securitybot::core::employee::{Directory, Employee};
use securitybot::core::escalation::Escalation;
use securitybot::core::ids::{AggregateKey, CaseId, EmployeeId, SourceId};
use securitybot::core::machine::{
    Collection, Context, Machine, Receipt, Row, RowChange, Settlement,
};
use securitybot::core::page::{PageKind, Raise};
use securitybot::core::text::Untrusted;
use securitybot::core::world::World;
use securitybot::store::memory::{Fault, MemoryStore};
use securitybot::store::{Accept, Batch, Commit, QueuedAlert, RowQuery, Store, Write};

const PARTITIONS: u16 = 8;
const PATIENCE: Duration = Duration::from_secs(10);

type Script = Arc<dyn Fn(u32) -> Performed + Send + Sync>;

type ByCommit = Arc<dyn Fn() -> Option<Within> + Send + Sync>;

/// Answers the nth performing by the script, unless the commit performs it.
struct Performer {
    times: Arc<AtomicU32>,
    script: Script,
    by_commit: ByCommit,
}

impl<M: Machine> Perform<M> for Performer {
    fn within(&self, _: &Order<M::Effect>) -> Option<Within> {
        (self.by_commit)()
    }

    fn perform(&self, _: Order<M::Effect>) -> BoxFuture<'static, Performed> {
        let nth = self.times.fetch_add(1, Ordering::SeqCst) + 1;
        let script = self.script.clone();
        Box::pin(async move { script(nth) })
    }
}

fn done() -> Performed {
    Performed::Settled(Settlement::Done(Receipt::default()))
}

/// One kind of aggregate over a store in memory.
struct Shell<M: Machine> {
    store: Arc<MemoryStore>,
    keeper: actix::Addr<Keeper<M>>,
    times: Arc<AtomicU32>,
    _slots: Vec<Slot<Persist>>,
}

fn shell<M: Machine>(store: Arc<MemoryStore>, world: World, script: Script) -> Shell<M> {
    shell_with(store, world, script, Arc::new(|| None))
}

fn shell_with<M: Machine>(
    store: Arc<MemoryStore>,
    world: World,
    script: Script,
    by_commit: ByCommit,
) -> Shell<M> {
    let began = tokio::time::Instant::now();
    let now = || -> securitybot::actors::Now { Arc::new(move || START.after(began.elapsed())) };
    let mut slots = Vec::new();
    let mut doors: Vec<Mailbox<Persist>> = Vec::new();
    let held = Arc::new(Held::new(PARTITIONS));
    for partition in 0..PARTITIONS {
        let (slot, door) = mailbox("checkpointer");
        let (_, reporter) = mailbox("reporter");
        let node = "node".to_owned();
        let checkpointer = Checkpointer::new(
            partition,
            node,
            store.clone(),
            now(),
            reporter,
            held.clone(),
        );
        slot.install(&checkpointer.start());
        slots.push(slot);
        doors.push(door);
    }
    let times = Arc::new(AtomicU32::new(0));
    let (_, newborn) = mailbox("escalator");
    let env = Arc::new(Env::<M> {
        now: now(),
        store: store.clone(),
        checkpointers: Arc::new(doors),
        performer: Arc::new(Performer {
            times: times.clone(),
            script,
            by_commit,
        }),
        newborn,
    });
    Shell {
        store,
        keeper: Keeper::new("test", env, Arc::new(world)).start(),
        times,
        _slots: slots,
    }
}

fn test_page() -> Escalate {
    let id = CaseId::new(START, 1, 0);
    let raise = Raise {
        id,
        kind: PageKind::Test,
        round: 1,
        urgency: Severity::High,
        summary: "test".to_owned(),
        notes: Vec::new(),
        case: None,
        related: Vec::new(),
        ladder: ladder(vec![level(0, &["log"], 15)]),
        url: String::new(),
    };
    Escalate::raise(raise, PARTITIONS)
}

async fn outbox_empties(store: &MemoryStore, key: &AggregateKey) {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let stored = store.load(key).await.unwrap().unwrap();
        let checkpoint: serde_json::Value = serde_json::from_str(&stored.state).unwrap();
        if checkpoint["outbox"]["entries"]
            .as_array()
            .unwrap()
            .is_empty()
        {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "{}", stored.state);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[actix_web::test]
async fn a_store_that_refuses_for_a_while_pages_nobody_twice() {
    let store = Arc::new(MemoryStore::new(PARTITIONS));
    let faulty = store.clone();
    let script: Script = Arc::new(move |_| {
        faulty.inject(Fault::Fail);
        done()
    });
    let world = world(ladder(vec![level(0, &["log"], 15)]));
    let shell = shell::<Escalation>(store, world, script);
    let page = test_page();
    let key = page.to.clone();
    shell.keeper.send(page).await.unwrap().unwrap();
    outbox_empties(&shell.store, &key).await;
    assert_eq!(shell.times.load(Ordering::SeqCst), 1);
}

#[actix_web::test]
async fn a_plugin_that_panics_is_asked_again() {
    let store = Arc::new(MemoryStore::new(PARTITIONS));
    let script: Script = Arc::new(|nth| {
        assert!(nth > 1, "the plugin breaks at its first try");
        done()
    });
    let world = world(ladder(vec![level(0, &["log"], 15)]));
    let shell = shell::<Escalation>(store, world, script);
    let page = test_page();
    let key = page.to.clone();
    shell.keeper.send(page).await.unwrap().unwrap();
    outbox_empties(&shell.store, &key).await;
    assert_eq!(shell.times.load(Ordering::SeqCst), 2);
}

/// An effect that is nothing but a row; counts how often it stood.
fn a_row(stood: Arc<AtomicU32>) -> ByCommit {
    Arc::new(move || {
        let stood = stood.clone();
        Some(Within {
            row: RowChange::New(Row {
                collection: Collection::Documents,
                id: "told".to_owned(),
                at: START,
                fields: Vec::new(),
                body: "{}".to_owned(),
                expires: None,
            }),
            settlement: Settlement::Done(Receipt::default()),
            then: Box::new(move || {
                stood.fetch_add(1, Ordering::SeqCst);
            }),
        })
    })
}

#[actix_web::test]
async fn what_needs_only_the_store_is_done_by_the_commit_that_decides_it() {
    let store = Arc::new(MemoryStore::new(PARTITIONS));
    let stood = Arc::new(AtomicU32::new(0));
    let world = world(ladder(vec![level(0, &["log"], 15)]));
    let script: Script = Arc::new(|_| done());
    let shell = shell_with::<Escalation>(store.clone(), world, script, a_row(stood.clone()));
    let key = test_page().to;

    store.inject(Fault::Fail);
    assert!(shell.keeper.send(test_page()).await.unwrap().is_err());
    assert_eq!(stood.load(Ordering::SeqCst), 0, "nothing stands");
    assert!(rows(&store, Collection::Documents).await.is_empty());

    shell.keeper.send(test_page()).await.unwrap().unwrap();
    assert_eq!(stood.load(Ordering::SeqCst), 1);
    assert_eq!(rows(&store, Collection::Documents).await.len(), 1);
    let stored = store.load(&key).await.unwrap().unwrap();
    assert_eq!(stored.version, 1, "one commit");
    outbox_empties(&store, &key).await;
    assert_eq!(shell.times.load(Ordering::SeqCst), 0, "and no other call");
}

#[actix_web::test]
async fn what_a_commit_cannot_perform_is_performed_as_usual() {
    let store = Arc::new(MemoryStore::new(PARTITIONS));
    let world = world(ladder(vec![level(0, &["log"], 15)]));
    let script: Script = Arc::new(|_| done());
    let broken: ByCommit = Arc::new(|| panic!("it cannot be written"));
    let shell = shell_with::<Escalation>(store, world, script, broken);
    let page = test_page();
    let key = page.to.clone();
    shell.keeper.send(page).await.unwrap().unwrap();
    outbox_empties(&shell.store, &key).await;
    assert_eq!(shell.times.load(Ordering::SeqCst), 1);
}

fn alert(id: &str) -> Alert {
    Alert {
        source: SourceId::from("local"),
        id: id.into(),
        principal: Untrusted::from("alice"),
        rule: "sudo".into(),
        title: Untrusted::from("sudo on web-3"),
        description: Untrusted::default(),
        reason: Untrusted::default(),
        severity: Severity::Medium,
        occurred_at: None,
        url: None,
        context: [("host".to_owned(), Untrusted::from("web-3"))]
            .into_iter()
            .collect(),
        accepted_at: START,
        resolved: false,
    }
}

async fn write(store: &MemoryStore, partition: u16, write: Write) {
    let lease = Duration::from_secs(15);
    let claim = store.claim(partition, "node", START, lease).await.unwrap();
    let batch = Batch {
        partition,
        epoch: claim.epoch,
        head_before: claim.head,
        writes: vec![write],
        journal: Vec::new(),
        now: START,
    };
    store.write(&batch).await.unwrap();
}

async fn rows(store: &MemoryStore, collection: Collection) -> Vec<Row> {
    let query = RowQuery {
        collection,
        fields: Vec::new(),
        since: None,
        until: None,
        limit: 500,
        cursor: None,
    };
    store.rows(&query).await.unwrap().rows
}

/// Alice's conversation took `a1` and holds a snooze; then its bytes went bad, the guard's too.
async fn broken_conversation(store: &MemoryStore, world: &World) -> AggregateKey {
    let key = AggregateKey::employee(&EmployeeId::from("alice"), PARTITIONS);
    let event = Event::AlertsArrived {
        source: SourceId::from("local"),
        alerts: [(1, alert("a1"))].into(),
    };
    let cx = Context {
        now: START,
        entropy: 7,
        world,
    };
    let mut rows = Conversation::new(&key).step(&event, &cx).rows;
    rows.push(RowChange::Put(Row {
        collection: Collection::Snoozes,
        id: "s1".to_owned(),
        at: START,
        fields: vec![("employee", "alice".to_owned())],
        body: "{}".to_owned(),
        expires: None,
    }));
    let commit = Commit {
        key: key.clone(),
        expected: 0,
        state: "{\"schema\":1,\"sta".to_owned(),
        guard: "{\"tak".to_owned(),
        pieces: securitybot::store::PieceChanges::default(),
        due: None,
        due_stands: false,
        rows,
        births: Vec::new(),
    };
    write(store, key.partition, Write::Commit(commit)).await;
    let source = AggregateKey::source(&SourceId::from("local"), PARTITIONS);
    let queued = |number: u64, id: &str| QueuedAlert {
        number,
        receiver: key.name.clone(),
        body: serde_json::to_string(&alert(id)).unwrap(),
    };
    let accept = Accept {
        source: source.clone(),
        first: 1,
        alerts: vec![queued(1, "a1"), queued(2, "a2")],
        marks: Vec::new(),
        cursor: None,
        rows: Vec::new(),
    };
    write(store, source.partition, Write::Accept(accept)).await;
    key
}

fn world_of<'a>(employees: impl IntoIterator<Item = &'a str>) -> World {
    let mut world = world(ladder(vec![level(0, &["log"], 15)]));
    let employees = employees.into_iter().map(|name| Employee {
        id: EmployeeId::from(name),
        name: name.into(),
        email: None,
        aliases: Box::default(),
        time_zone: "UTC".into(),
        locale: None,
        manager: None,
        chat: None,
        opted_out: false,
    });
    world.directory = Directory::new(employees.collect::<Vec<_>>(), "web", &[]);
    world
}

fn chat_is_down() -> Script {
    Arc::new(|_| Performed::Retry {
        why: "the chat is down".to_owned(),
        after: None,
    })
}

#[actix_web::test]
async fn with_an_unreadable_guard_no_alert_is_taken_twice_and_no_snooze_is_listed() {
    let world = world_of(["alice"]);
    let store = Arc::new(MemoryStore::new(PARTITIONS));
    let key = broken_conversation(&store, &world).await;
    let shell = shell::<Conversation>(store, world, chat_is_down());
    let reply = shell.keeper.send(Deliver {
        to: key,
        event: Event::AlertsArrived {
            source: SourceId::from("local"),
            alerts: [(1, alert("a1")), (2, alert("a2"))].into(),
        },
    });
    assert_eq!(reply.await.unwrap(), Ok(conversation::Reply::Taken));
    let cases = rows(&shell.store, Collection::Cases).await;
    let cases: Vec<CaseView> = cases
        .iter()
        .map(|row| serde_json::from_str(&row.body).unwrap())
        .collect();
    let of = |id: &str| -> Vec<&str> {
        let with = cases
            .iter()
            .filter(|c| c.alerts.iter().any(|a| *a.id == *id));
        with.map(|case| case.outcome.map_or("open", |o| o.name()))
            .collect()
    };
    assert_eq!((of("a1"), of("a2")), (vec!["failed"], vec!["open"]));
    assert!(rows(&shell.store, Collection::Snoozes).await.is_empty());
    let aside = rows(&shell.store, Collection::Documents).await;
    assert!(
        aside
            .iter()
            .any(|row| row.id.starts_with("aside/employee/alice"))
    );
}
