//! The real stores step by step beside the model in memory: any sequence of batches, leases and
//! trimming must get the same answers and leave the same to read. It finds what nobody thought of
//! writing a case for.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::redis::RedisServer;
use proptest::prelude::*;
use securitybot::core::ids::{AggregateKey, CaseId};
use securitybot::core::machine::{Collection, Row, RowChange};
use securitybot::core::time::Timestamp;
use securitybot::store::memory::MemoryStore;
use securitybot::store::redis::{RedisOptions, RedisStore};
use securitybot::store::sqlite::SqliteStore;
use securitybot::store::{
    Accept, Batch, Birth, Commit, Hash, Head, Mark, Piece, PieceChanges, QueuedAlert, Retention,
    RowQuery, Store, Write, journal,
};

const PARTITIONS: u16 = 2;
const HOME: u16 = 1;
const AWAY: u16 = 0;

/// What is done, in small worlds: few names, ids and instants, so that they meet.
#[derive(Clone, Debug)]
enum Step {
    Write {
        writes: Vec<Draft>,
        records: Vec<Option<u8>>,
        stale: Option<bool>,
    },
    /// By us or another node.
    Claim(bool),
    /// With our epoch, or the one before.
    Renew(bool, bool),
    Release(bool, bool),
    Put(Vec<RowDraft>, bool),
    Trim {
        journal_before: i64,
        through: u64,
        cases_before: i64,
    },
}

#[derive(Clone, Debug)]
enum Draft {
    /// Name, how far the expected version is off, due, rows, births, pieces written and freed.
    Commit(u8, u64, Option<i64>, Vec<RowDraft>, Vec<u8>, (u64, usize)),
    /// How far the first number is off, how many, marks, cursor.
    Accept(u64, u64, Vec<MarkDraft>, Option<u8>),
    Take(Vec<u64>),
}

/// Id, instant, escalation or case, state (`None`: deleted), expiry.
type RowDraft = (u8, i64, bool, Option<u8>, Option<i64>);
/// Identity, body, life, renewed.
type MarkDraft = (u8, u8, i64, bool);

fn hash(of: u8) -> Hash {
    std::array::from_fn(|at| if at == 0 { of } else { 0 })
}

fn row_drafts() -> impl Strategy<Value = Vec<RowDraft>> {
    let one = (
        0..4u8,
        0..4i64,
        any::<bool>(),
        prop::option::weighted(0.8, 0..3u8),
        prop::option::weighted(0.2, 0..40i64),
    );
    prop::collection::vec(one, 0..3)
}

fn off() -> impl Strategy<Value = u64> {
    prop_oneof![8 => Just(0u64), 1 => 1..3u64]
}

fn drafts() -> impl Strategy<Value = Draft> {
    let marks = prop::collection::vec((0..5u8, 0..2u8, 1..30i64, any::<bool>()), 0..4);
    prop_oneof![
        4 => (
            0..3u8,
            off(),
            prop::option::of(0..40i64),
            row_drafts(),
            prop::collection::vec(0..4u8, 0..2),
            (0..3u64, 0..3usize),
        )
            .prop_map(|(name, off, due, rows, births, pieces)| {
                Draft::Commit(name, off, due, rows, births, pieces)
            }),
        3 => (off(), 0..4u64, marks, prop::option::of(0..3u8))
            .prop_map(|(off, count, marks, cursor)| Draft::Accept(off, count, marks, cursor)),
        1 => prop::collection::vec(1..12u64, 0..5).prop_map(Draft::Take),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (
        prop::collection::vec(drafts(), 0..5),
        prop::collection::vec(prop::option::of(0..4u8), 0..3),
        prop::option::weighted(0.05, any::<bool>()),
    )
        .prop_map(|(writes, records, stale)| Step::Write {
            writes,
            records,
            stale,
        });
    let trim = (0..45i64, 0..30u64, 0..5i64).prop_map(|(journal_before, through, cases_before)| {
        Step::Trim {
            journal_before,
            through,
            cases_before,
        }
    });
    let one = prop_oneof![
        12 => write,
        1 => any::<bool>().prop_map(Step::Claim),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(ours, stale)| Step::Renew(ours, stale)),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(ours, stale)| Step::Release(ours, stale)),
        2 => (row_drafts(), any::<bool>()).prop_map(|(rows, absent)| Step::Put(rows, absent)),
        2 => trim,
    ];
    prop::collection::vec(one, 1..40)
}

fn at(n: i64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + n)
}

fn key(name: String) -> AggregateKey {
    AggregateKey {
        partition: HOME,
        name,
    }
}

fn case(n: u8) -> CaseId {
    CaseId::new(at(0), 5, n.into())
}

fn change(&(id, ms, escalation, state, expires): &RowDraft) -> RowChange {
    let collection = if escalation {
        Collection::Escalations
    } else {
        Collection::Cases
    };
    let id = case(id).to_string();
    let Some(state) = state else {
        return RowChange::Delete { collection, id };
    };
    let words = if escalation {
        ["open", "acknowledged", "resolved"]
    } else {
        ["asked", "closed", "closed"]
    };
    let state = words[usize::from(state)];
    RowChange::Put(Row {
        collection,
        body: format!("{{\"state\":\"{state}\"}}"),
        id,
        at: at(ms),
        fields: vec![
            ("state", state.to_owned()),
            ("employee", format!("e{}", ms % 2)),
        ],
        expires: expires.map(at),
    })
}

/// Both stores and what the driver believes.
struct Pair<'a> {
    model: &'a MemoryStore,
    store: &'a dyn Store,
    epoch: u64,
    head: Head,
    now: i64,
    /// Of each aggregate, as its actor would remember them.
    pieces: BTreeMap<u8, Numbers>,
}

#[derive(Clone, Default)]
struct Numbers {
    last: u64,
    held: Vec<u64>,
    freed: Vec<u64>,
}

impl Numbers {
    /// A commit that writes so many and frees the first ones.
    fn change(&mut self, written: u64, freed: usize, now: i64) -> PieceChanges {
        let written = (self.last + 1..=self.last + written).map(|number| Piece {
            number,
            body: format!("{{\"piece\":{number},\"at\":{now}}}"),
        });
        let written: Vec<Piece> = written.collect();
        let dropped = std::mem::take(&mut self.freed);
        self.freed = self.held.drain(..freed.min(self.held.len())).collect();
        self.held.extend(written.iter().map(|piece| piece.number));
        self.last += written.len() as u64;
        PieceChanges {
            written,
            held: self.held.clone(),
            freed: self.freed.clone(),
            dropped,
        }
    }
}

macro_rules! both {
    ($pair:expr, $method:ident $args:tt) => {{
        let expected = $pair.model.$method $args.await;
        let found = $pair.store.$method $args.await;
        assert_eq!(found, expected, stringify!($method));
        expected
    }};
}

impl Pair<'_> {
    async fn step(&mut self, step: &Step) {
        self.now += 1;
        let now = at(self.now);
        let ttl = Duration::from_millis(10);
        let node = |ours: bool| if ours { "a" } else { "b" };
        match step {
            Step::Write {
                writes,
                records,
                stale,
            } => self.write(writes, records, *stale).await,
            Step::Claim(ours) => {
                let claim = both!(self, claim(HOME, node(*ours), now, ttl));
                if let Ok(claim) = claim {
                    (self.epoch, self.head) = (claim.epoch, claim.head);
                }
            }
            Step::Renew(ours, stale) => {
                let epoch = self.epoch.saturating_sub(u64::from(*stale));
                let _ = both!(self, renew(HOME, node(*ours), epoch, now, ttl));
            }
            Step::Release(ours, stale) => {
                let epoch = self.epoch.saturating_sub(u64::from(*stale));
                let _ = both!(self, release(HOME, node(*ours), epoch));
                // The next writes are fenced until somebody claims: usually at once.
                if self.now % 3 > 0 {
                    let claim = both!(self, claim(HOME, "a", at(self.now + 10), ttl));
                    self.epoch = claim.map_or(self.epoch, |claim| claim.epoch);
                }
            }
            Step::Put(rows, if_absent) => {
                let rows: Vec<RowChange> = rows.iter().map(change).collect();
                let _ = both!(self, put_rows(HOME, &rows, *if_absent));
            }
            Step::Trim {
                journal_before,
                through,
                cases_before,
            } => {
                let keep = Retention {
                    now,
                    journal_before: at(*journal_before),
                    journal_through: *through,
                    cases_before: at(*cases_before),
                };
                self.model.trim(HOME, &keep).await.unwrap();
                while self.store.trim(HOME, &keep).await.unwrap() {}
            }
        }
    }

    async fn write(&mut self, drafts: &[Draft], records: &[Option<u8>], stale: Option<bool>) {
        let mut writes = Vec::new();
        let mut pieces = self.pieces.clone();
        for draft in drafts {
            writes.push(self.draft(draft, &mut pieces).await);
        }
        let records = records
            .iter()
            .map(|n| (n.map(case), at(self.now), format!("{{\"case\":{n:?}}}")));
        let (rows, after) = journal::chain(&self.head, records);
        let mut batch = Batch {
            partition: HOME,
            epoch: self.epoch,
            head_before: self.head.clone(),
            writes,
            journal: rows,
            now: at(self.now),
        };
        match stale {
            Some(true) => batch.epoch = batch.epoch.saturating_sub(1),
            Some(false) if batch.journal.is_empty() => batch.head_before = Head::default(),
            _ => {}
        }
        if both!(self, write(&batch)).is_ok() {
            self.head = after;
            self.pieces = pieces;
        }
    }

    async fn draft(&self, draft: &Draft, pieces: &mut BTreeMap<u8, Numbers>) -> Write {
        match draft {
            Draft::Commit(name, off, due, rows, births, (written, freed)) => {
                let numbers = pieces.entry(*name).or_default();
                let key = key(format!("employee/{name}"));
                let stored = self.model.load(&key).await.unwrap();
                let expected = stored.map_or(0, |stored| stored.version) + off;
                let births = births.iter().map(|n| Birth {
                    key: AggregateKey::escalation(case(*n), HOME),
                    state: format!("born in {}", self.now),
                    due: (n % 2 == 0).then(|| at(self.now)),
                    rows: vec![change(&(*n, self.now % 4, true, Some(0), None))],
                });
                Write::Commit(Commit {
                    births: births.collect(),
                    expected,
                    state: format!("state {}", self.now),
                    guard: format!("guard {}", self.now),
                    pieces: numbers.change(*written, *freed, self.now),
                    due: due.map(at),
                    due_stands: false,
                    rows: rows.iter().map(change).collect(),
                    key,
                })
            }
            Draft::Accept(off, count, marks, cursor) => {
                let source = key("source/local".to_owned());
                let first = self.model.queue(&source).await.unwrap().next + off;
                let marks = marks.iter().map(|&(identity, body, life, renew)| Mark {
                    identity: hash(identity),
                    body: hash(body),
                    expires: at(self.now + life),
                    renew,
                    alert: format!("alert {identity}"),
                });
                Write::Accept(Accept {
                    first,
                    alerts: (first..first + count)
                        .map(|number| QueuedAlert {
                            number,
                            receiver: format!("employee/{}", number % 3),
                            body: format!("alert {number}"),
                        })
                        .collect(),
                    marks: marks.collect(),
                    cursor: cursor.map(|cursor| cursor.to_string()),
                    rows: Vec::new(),
                    source,
                })
            }
            Draft::Take(firsts) => Write::Take {
                source: key("source/local".to_owned()),
                firsts: firsts.clone(),
            },
        }
    }

    /// Everything there is to read is the same.
    async fn compare(&self) {
        for n in 0..3 {
            let _ = both!(self, load(&key(format!("employee/{n}"))));
        }
        for n in 0..4 {
            let _ = both!(self, load(&AggregateKey::escalation(case(n), HOME)));
            let _ = both!(self, timeline(case(n)));
            let _ = both!(self, row(Collection::Cases, &case(n).to_string()));
            let _ = both!(self, row(Collection::Escalations, &case(n).to_string()));
        }
        for collection in [Collection::Cases, Collection::Escalations] {
            for (field, value) in [("state", "closed"), ("state", "open"), ("employee", "e1")] {
                let _ = both!(self, count(collection, field, value));
            }
        }
        // The other partition is another world.
        let _ = both!(self, due(AWAY, at(99), 9));
        let _ = both!(self, journal(AWAY, 0, 9));
        let _ = both!(self, journal_ends(AWAY));
        let _ = both!(self, sources(AWAY));
        let _ = both!(self, due(HOME, at(20), 99));
        let _ = both!(self, due(HOME, at(99), 2));
        let source = key("source/local".to_owned());
        let _ = both!(self, queue(&source));
        let _ = both!(self, queued(&source, 2, 5));
        let _ = both!(self, queued(&source, 0, 99));
        let _ = both!(self, sources(HOME));
        let _ = both!(self, journal(HOME, 3, 99));
        let _ = both!(self, journal(HOME, 0, 3));
        let _ = both!(self, journal_ends(HOME));
        for collection in [Collection::Cases, Collection::Escalations] {
            for state in [None, Some("closed"), Some("open")] {
                let fields = state.map(|state| ("state", state.to_owned()));
                let employee = state.map(|_| ("employee", "e1".to_owned()));
                let mut query = RowQuery {
                    collection,
                    fields: fields.into_iter().chain(employee).collect(),
                    since: state.map(|_| at(1)),
                    until: Some(at(4)),
                    limit: 2,
                    cursor: None,
                };
                while let Ok(page) = both!(self, rows(&query)) {
                    query.cursor = page.next;
                    if query.cursor.is_none() {
                        break;
                    }
                }
            }
        }
    }
}

fn differs(store: &dyn Store, runtime: &tokio::runtime::Runtime, steps: &[Step]) {
    runtime.block_on(async {
        let model = MemoryStore::new(PARTITIONS);
        let mut pair = Pair {
            model: &model,
            store,
            epoch: 0,
            head: Head::default(),
            now: 0,
            pieces: BTreeMap::new(),
        };
        pair.step(&Step::Claim(true)).await;
        for step in steps {
            pair.step(step).await;
            pair.compare().await;
        }
        store.close().await;
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    }
}

#[test]
fn sqlite_does_what_the_model_does() {
    let runtime = runtime();
    proptest!(config(60), |(steps in steps())| {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("store.db"), PARTITIONS).unwrap();
        differs(&store, &runtime, &steps);
    });
}

#[test]
fn redis_does_what_the_model_does() {
    let server = RedisServer::start_with(&[("appendfsync", "no")]);
    let runtime = runtime();
    let count = AtomicU32::new(0);
    proptest!(config(30), |(steps in steps())| {
        let options = RedisOptions {
            prefix: format!("run{}", count.fetch_add(1, Ordering::Relaxed)),
            deadline: Duration::from_secs(20),
            ..RedisOptions::default()
        };
        let url = server.url();
        let store = runtime.block_on(RedisStore::open(&url, PARTITIONS, options)).unwrap();
        differs(&store, &runtime, &steps);
    });
}
