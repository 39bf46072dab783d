//! A guard against slipping back: what a step, a checkpoint, a parsed alert and a commit may allocate. Allocations
//! are the same on a quiet and on a noisy machine, and they were where most of the bot's time went.
#![allow(
    unsafe_code,
    reason = "an allocator that counts is unsafe by its trait"
)]
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod budget_support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use budget_support::{Samples, body, parse, step};
use securitybot::actors::checkpoint;
use securitybot::core::conversation::Conversation;
use securitybot::store::sqlite::SqliteStore;
use securitybot::store::{Head, Store, journal};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Whoever makes something cheaper lowers its figure; whoever needs more says why in the commit.
const BUDGET: [(&str, u64); 9] = [
    ("step: an alert arrives", 59),
    ("step: a yes", 55),
    ("step: a right code", 117),
    ("encode a checkpoint", 5),
    ("decode a checkpoint", 63),
    ("chain 100 journal records", 201),
    ("parse one alert", 38),
    ("parse 100 alerts", 3508),
    ("a commit on SQLite, in a batch of 32", 16),
];
/// In percent: maps and buffers grow a little differently from run to run.
const MARGIN: u64 = 20;

fn allocations<T>(work: impl FnOnce() -> T) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    black_box(work());
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

// One test only: others would allocate at the same time.
#[tokio::test]
async fn no_step_and_no_commit_allocates_more_than_its_budget() {
    let samples = Samples::new();
    let encoded = checkpoint::encode(&samples.asked, &samples.outbox);
    let records: Vec<_> = samples.records.iter().cycle().take(100).cloned().collect();
    let (one, hundred) = (body(1), body(100));
    let decode = || checkpoint::decode::<Conversation>("employee/alice", &encoded).unwrap();
    // Lazily made tables (time zones, names) are made by the first call.
    step(&samples.alert, &samples.world);
    assert_eq!((parse(&one), parse(&hundred)), (1, 100));

    let found = [
        allocations(|| step(&samples.alert, &samples.world)),
        allocations(|| step(&samples.yes, &samples.world)),
        allocations(|| step(&samples.code, &samples.world)),
        allocations(|| checkpoint::encode(&samples.asked, &samples.outbox)),
        allocations(decode),
        allocations(|| journal::chain(&Head::default(), records)),
        allocations(|| parse(&one)),
        allocations(|| parse(&hundred)),
        sqlite_commit(&samples).await,
    ];
    // Seen with `--nocapture`, and whenever it fails.
    println!("{found:?}");
    let over: Vec<_> = BUDGET
        .iter()
        .zip(found)
        .filter(|((_, budget), found)| *found > budget + budget * MARGIN / 100)
        .map(|((what, budget), found)| format!("{what}: {found} allocations, budget {budget}"))
        .collect();
    assert!(over.is_empty(), "{}", over.join("\n"));
    // A figure far below its budget guards nothing.
    for ((what, budget), found) in BUDGET.iter().zip(found) {
        let least = budget - budget * 2 * MARGIN / 100;
        assert!(
            found >= least,
            "{what}: only {found} allocations, lower its budget of {budget}"
        );
    }
}

async fn sqlite_commit(samples: &Samples) -> u64 {
    const SIZE: u64 = 32;
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("store.db"), 1).unwrap();
    let claim = store
        .claim(0, "node", samples.alert.now, Duration::from_secs(60))
        .await
        .unwrap();
    let mut head = claim.head;
    let mut last = 0;
    // The first batches prepare the statements.
    for nth in 0..4 {
        let (batch, after) = samples.batch(claim.epoch, &head, nth, SIZE);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        store.write(&batch).await.unwrap();
        last = ALLOCATIONS.load(Ordering::Relaxed) - before;
        head = after;
    }
    last / SIZE
}
