//! A step that panics, in the real shell around a machine made for it: the aggregate starts anew, a page
//! is born with the same commit, the poison is not met twice, and its neighbour never notices.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context as Ctx, Handler, Message, ResponseFuture};
use futures_util::future::BoxFuture;
use securitybot::actors::Now;
use securitybot::actors::checkpointer::{Checkpointer, Held};
use securitybot::actors::durable::{Env, Order, Perform, Performed};
use securitybot::actors::keeper::Keeper;
use securitybot::actors::mailbox::mailbox;
use securitybot::actors::messages::DeliverError;
use securitybot::core::alert::Severity;
use securitybot::core::employee::Directory;
use securitybot::core::ids::{AggregateKey, CaseId, EmployeeId};
use securitybot::core::machine::{
    Collection, Context, Effect, Guard, Machine, Remains, Row, Settlement, Step,
};
use securitybot::core::page::{PageKind, Raise};
use securitybot::core::policy::{
    DEFAULT_LADDER, Ladder, Level, Policy, WorkingHours, default_times,
};
use securitybot::core::time::Timestamp;
use securitybot::core::world::World;
use securitybot::store::memory::MemoryStore;
use securitybot::store::{RowQuery, Store};
use serde::{Deserialize, Serialize};

const POISON: u32 = 13;

/// Adds up numbers; one of them it cannot bear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sum {
    total: u32,
    rebuilt: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Nothing;

impl Effect for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }
    fn lane(&self) -> Cow<'static, str> {
        Cow::Borrowed("")
    }
    fn case(&self) -> Option<CaseId> {
        None
    }
}

impl Machine for Sum {
    type Event = u32;
    type Effect = Nothing;
    type Reply = (u32, bool);
    const SCHEMA: u32 = 1;
    type Piece = securitybot::core::pieces::Whole;

    fn new(_: &AggregateKey) -> Self {
        Self {
            total: 0,
            rebuilt: false,
        }
    }

    fn step(&self, event: &u32, _: &Context<'_>) -> Step<Self> {
        assert_ne!(*event, POISON, "cannot bear it");
        let total = self.total + event;
        Step::to(
            Self {
                total,
                ..self.clone()
            },
            (total, self.rebuilt),
        )
    }

    fn due(&self) -> Option<Timestamp> {
        None
    }

    fn woken() -> u32 {
        0
    }

    fn settled(_: Nothing, _: Settlement) -> u32 {
        0
    }

    fn guard(&self) -> Guard {
        Guard::default()
    }

    fn rebuilt(
        _: &AggregateKey,
        _: Option<Guard>,
        _: Remains,
        poison: Option<&u32>,
        cx: &Context<'_>,
    ) -> Step<Self> {
        let fresh = Self {
            total: 0,
            rebuilt: true,
        };
        let mut step = Step::to(fresh, (0, true));
        step.births.push(Raise {
            id: CaseId::new(cx.now, cx.entropy, 0),
            kind: PageKind::Operations,
            round: 1,
            urgency: Severity::High,
            summary: format!("broken by {poison:?}"),
            notes: Vec::new(),
            case: None,
            related: Vec::new(),
            ladder: cx.world.policy.ladder(DEFAULT_LADDER).clone(),
            url: String::new(),
        });
        step
    }
}

struct Idle;

impl Perform<Sum> for Idle {
    fn perform(&self, _: Order<Nothing>) -> BoxFuture<'static, Performed> {
        Box::pin(async { Performed::Settled(Settlement::Done(Default::default())) })
    }
}

#[derive(Message)]
#[rtype(result = "Result<(u32, bool), DeliverError>")]
struct Give(AggregateKey, u32);

impl Handler<Give> for Keeper<Sum> {
    type Result = ResponseFuture<Result<(u32, bool), DeliverError>>;

    fn handle(&mut self, give: Give, ctx: &mut Ctx<Self>) -> Self::Result {
        self.deliver(give.0, give.1, ctx)
    }
}

fn world() -> World {
    let ladder = Ladder {
        name: DEFAULT_LADDER.to_owned(),
        levels: vec![Level {
            after: Duration::ZERO,
            pagers: vec!["log".into()],
            repeat: Duration::from_secs(900),
        }],
        ack_expires: Duration::from_secs(3_600),
    };
    World {
        policy: Policy {
            severities: Severity::ALL
                .into_iter()
                .map(|severity| (severity, default_times(severity)))
                .collect(),
            rules: Vec::new(),
            ladders: [(DEFAULT_LADDER.to_owned(), ladder)].into(),
            working_hours: WorkingHours::default(),
            pager_refresh: Default::default(),
            dedup: Duration::from_secs(30 * 24 * 3_600),
            public_url: "https://bot.example.com".to_owned(),
            pushes: None,
            shared: Default::default(),
        },
        directory: Directory::new(Vec::new(), "web", &[]),
        partitions: 1,
    }
}

#[actix_rt::test]
async fn a_panicking_step_starts_its_aggregate_anew_pages_and_disturbs_nobody() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(1));
    let now: Now = Arc::new(|| Timestamp::from_millis(1_800_000_000_000));
    let (_reporter, written) = mailbox("reporter");
    let held = Arc::new(Held::new(1));
    let (slot, persist) = mailbox("checkpointer");
    let checkpointer = Checkpointer::new(
        0,
        "node".to_owned(),
        store.clone(),
        now.clone(),
        written,
        held.clone(),
    );
    slot.install(&checkpointer.start());
    let (_newborn, wake) = mailbox("escalator");
    let env = Arc::new(Env {
        now,
        store: store.clone(),
        checkpointers: Arc::new(vec![persist]),
        performer: Arc::new(Idle),
        newborn: wake,
    });
    let keeper = Keeper::<Sum>::new("sum", env, Arc::new(world())).start();
    let who = |name: &str| AggregateKey::employee(&EmployeeId::new(name), 1);
    let give = async |name: &str, number: u32| {
        let key = who(name);
        // Until the lease is there, a commit is refused as "try again".
        loop {
            match keeper.send(Give(key.clone(), number)).await {
                Ok(Ok(reply)) => return reply,
                Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("the keeper is gone: {error}"),
            }
        }
    };

    assert_eq!(give("alice", 2).await, (2, false));
    assert_eq!(give("bob", 5).await, (5, false));
    assert_eq!(
        give("alice", POISON).await,
        (0, true),
        "taken, not met again"
    );
    assert_eq!(give("bob", 5).await, (10, false), "bob never noticed");
    assert_eq!(give("alice", 3).await, (3, true), "alice goes on");

    let rows = |collection| RowQuery {
        collection,
        fields: Vec::new(),
        since: None,
        until: None,
        limit: 10,
        cursor: None,
    };
    let aside = store
        .rows(&rows(Collection::Documents))
        .await
        .expect("rows");
    let aside: Vec<&Row> = aside
        .rows
        .iter()
        .filter(|row| row.id.starts_with("aside/"))
        .collect();
    assert_eq!(aside.len(), 1);
    assert!(aside[0].id.contains("alice"), "{}", aside[0].id);
    assert!(aside[0].body.contains("\"total\":2"), "{}", aside[0].body);
    let pages = store
        .rows(&rows(Collection::Escalations))
        .await
        .expect("rows");
    assert_eq!(pages.rows.len(), 1, "one page");
    assert!(pages.rows[0].body.contains("broken by Some(13)"));
}
