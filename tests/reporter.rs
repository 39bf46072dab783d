//! From the journal to the sinks: in passes over all partitions, whatever fails in one of them; nothing is left out,
//! nothing overtakes what stands before it, and what comes twice comes under the same id.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod escalation_support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Addr};
use async_trait::async_trait;
use escalation_support::{START, ladder, level, world};
use securitybot::actors::checkpointer::Written;
use securitybot::actors::mailbox::mailbox;
use securitybot::actors::reporter::Reporter;
use securitybot::actors::reporter::backlog::{Backlog, Place};
use securitybot::actors::reporter::delivery;
use securitybot::actors::reporter::retention::Keep;
use securitybot::actors::reporter::rollups::RollupPlan;
use securitybot::core::machine::{Collection, Row, RowChange};
use securitybot::core::record::{Record, Who};
use securitybot::plugins::sinks::{Report, Sink, SinkError};
use securitybot::store::journal::chain;
use securitybot::store::memory::MemoryStore;
use securitybot::store::{Batch, Head, Store};

const PARTITIONS: u16 = 4;
const PATIENCE: Duration = Duration::from_secs(10);

/// A sink that writes down what it is given, one entry per delivery.
struct Ear {
    at_once: usize,
    got: Mutex<Vec<Vec<String>>>,
    refusals: Mutex<u32>,
    /// Taken, and then this partition of the store breaks.
    breaks: Option<(Arc<MemoryStore>, u16)>,
}

impl Ear {
    fn new() -> Self {
        Self {
            at_once: 2_000,
            got: Mutex::default(),
            refusals: Mutex::default(),
            breaks: None,
        }
    }

    /// What came since the last look.
    fn got(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut self.got.lock().unwrap())
    }
}

#[async_trait]
impl Sink for Ear {
    fn name(&self) -> &str {
        "ear"
    }

    fn at_once(&self) -> usize {
        self.at_once
    }

    async fn deliver(&self, reports: &[Report]) -> Result<(), SinkError> {
        let ids = reports.iter().map(|report| report.id().to_owned());
        self.got.lock().unwrap().push(ids.collect());
        if let Some((store, partition)) = &self.breaks {
            store.set_broken(*partition, true);
        }
        let mut refusals = self.refusals.lock().unwrap();
        if *refusals > 0 {
            *refusals -= 1;
            return Err(SinkError::Unavailable("nobody listens".to_owned()));
        }
        Ok(())
    }
}

/// A partition's journal gets so many records more.
async fn append(store: &MemoryStore, partition: u16, records: usize) {
    let claim = store.claim(partition, "node", START, PATIENCE).await;
    let claim = claim.unwrap();
    let record = Record::new(START, "page_sent", Who::Bot);
    let body = serde_json::to_string(&record).unwrap();
    let records = (0..records).map(|_| (None, START, body.clone()));
    let batch = Batch {
        partition,
        epoch: claim.epoch,
        head_before: claim.head.clone(),
        writes: Vec::new(),
        journal: chain(&claim.head, records).0,
        now: START,
    };
    store.write(&batch).await.unwrap();
}

/// Moves the sink's place behind everybody's back.
async fn set_cursor(store: &MemoryStore, partition: u16, cursor: u64) {
    let row = Row {
        collection: Collection::Documents,
        id: format!("cursor/ear/{partition}"),
        at: START,
        fields: Vec::new(),
        body: cursor.to_string(),
        expires: None,
    };
    let row = [RowChange::Put(row)];
    store.put_rows(partition, &row, false).await.unwrap();
}

async fn cursors(store: &MemoryStore) -> Vec<u64> {
    let mut cursors = Vec::new();
    for partition in 0..PARTITIONS {
        cursors.push(delivery::cursor(store, "ear", partition).await.unwrap());
    }
    cursors
}

/// One pass over all partitions that knows no cursor.
async fn pass(store: &MemoryStore, ear: &Ear) -> Result<BTreeMap<u16, delivery::Outcome>, String> {
    let all: Vec<_> = (0..PARTITIONS).map(|partition| (partition, None)).collect();
    let outcomes = delivery::deliver(store, ear, &all, START).await;
    outcomes.map(|outcomes| outcomes.into_iter().collect())
}

fn start(store: &Arc<MemoryStore>, ear: &Arc<Ear>) -> Addr<Reporter> {
    let (_, escalations) = mailbox("escalator");
    let keep = Keep {
        journal: PATIENCE,
        cases: PATIENCE,
    };
    Reporter::new(
        store.clone(),
        Arc::new(|| START),
        Arc::new(world(ladder(vec![level(0, &["log"], 15)]))),
        escalations,
        vec![ear.clone()],
        RollupPlan::default(),
        keep,
    )
    .start()
}

/// Waits until the sink was given so many reports since the last look.
async fn hears(ear: &Ear, reports: usize) -> Vec<Vec<String>> {
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut got = Vec::new();
    while got.iter().map(Vec::len).sum::<usize>() < reports {
        assert!(tokio::time::Instant::now() < until, "{got:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
        got.extend(ear.got());
    }
    got
}

#[tokio::test]
async fn one_pass_takes_all_partitions_each_in_its_order() {
    let (store, ear) = (MemoryStore::new(PARTITIONS), Ear::new());
    for (partition, records) in [(0, 2), (1, 250), (3, 1)] {
        append(&store, partition, records).await;
    }
    let outcomes = pass(&store, &ear).await.unwrap();
    let got = ear.got();
    let [ids] = &got[..] else {
        panic!("{} deliveries", got.len());
    };
    let of = |partition: u16, last: u64| (1..=last).map(move |seq| format!("{partition}-{seq}"));
    let expected = of(0, 2).chain(of(1, 200)).chain(of(3, 1));
    assert_eq!(*ids, expected.collect::<Vec<_>>());
    assert_eq!(cursors(&store).await, [2, 200, 0, 1]);
    let more = outcomes.values().map(|it| it.as_ref().unwrap().has_more);
    assert_eq!(more.collect::<Vec<_>>(), [false, true, false, false]);
    // What is left of the long one, and nothing else.
    pass(&store, &ear).await.unwrap();
    assert_eq!(ear.got().concat().len(), 50);
    pass(&store, &ear).await.unwrap();
    assert!(ear.got().is_empty(), "nothing is no delivery");
}

#[tokio::test]
async fn a_sink_that_takes_few_at_once_gets_a_share_of_each_partition() {
    let store = MemoryStore::new(PARTITIONS);
    let ear = Ear {
        at_once: 40,
        ..Ear::new()
    };
    for partition in 0..PARTITIONS {
        append(&store, partition, 25).await;
    }
    pass(&store, &ear).await.unwrap();
    assert_eq!(cursors(&store).await, [10; 4]);
    for _ in 0..2 {
        pass(&store, &ear).await.unwrap();
    }
    assert_eq!(cursors(&store).await, [25; 4]);
    assert!(ear.got().iter().all(|ids| ids.len() <= 40));
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_holds_up_no_other() {
    let (store, ear) = (MemoryStore::new(PARTITIONS), Ear::new());
    append(&store, 0, 1).await;
    append(&store, 1, 1).await;
    store.set_broken(0, true);
    let outcomes = pass(&store, &ear).await.unwrap();
    assert!(outcomes[&0].is_err() && outcomes[&1].is_ok());
    assert_eq!(ear.got(), [["1-1"]]);
    assert_eq!(cursors(&store).await, [0, 1, 0, 0]);
}

#[tokio::test]
async fn what_was_delivered_without_its_cursor_comes_again_under_the_same_ids() {
    let store = Arc::new(MemoryStore::new(PARTITIONS));
    append(&store, 0, 2).await;
    append(&store, 1, 1).await;
    let ear = Ear {
        breaks: Some((store.clone(), 0)),
        ..Ear::new()
    };
    let outcomes = pass(&store, &ear).await.unwrap();
    assert!(outcomes[&0].is_err() && outcomes[&1].is_ok());
    assert_eq!(cursors(&store).await, [0, 1, 0, 0]);
    store.set_broken(0, false);
    pass(&store, &ear).await.unwrap();
    assert_eq!(
        ear.got(),
        [vec!["0-1", "0-2", "1-1"], vec!["0-1", "0-2"]],
        "again, and only what had no cursor"
    );
}

#[tokio::test]
async fn what_a_sink_refuses_moves_no_cursor() {
    let (store, ear) = (MemoryStore::new(PARTITIONS), Ear::new());
    append(&store, 0, 1).await;
    append(&store, 1, 1).await;
    *ear.refusals.lock().unwrap() = 1;
    let refused = pass(&store, &ear).await.unwrap_err();
    assert!(refused.contains("nobody listens"), "{refused}");
    assert_eq!(cursors(&store).await, [0; 4]);
}

#[tokio::test]
async fn after_a_server_forgot_its_tail_the_place_in_it_is_forgotten_too() {
    let (store, ear) = (MemoryStore::new(1), Ear::new());
    append(&store, 0, 3).await;
    let (head, _) = store.journal_ends(0).await.unwrap();
    let lost = |seq| Head {
        seq,
        hash: "of a record that is gone".to_owned(),
    };
    for (known, expected) in [
        (head, vec![]),
        (lost(3), vec![vec!["0-2", "0-3"]]),
        (lost(9), vec![vec!["0-2", "0-3"]]),
    ] {
        set_cursor(&store, 0, 1).await;
        let all = [(0, Some(known))];
        delivery::deliver(&store, &ear, &all, START).await.unwrap();
        assert_eq!(ear.got(), expected);
    }
}

#[test]
fn a_partition_that_failed_rests_and_its_cursor_is_forgotten() {
    let mut backlog = Backlog::new(3);
    backlog.mark_all();
    assert_eq!(backlog.take(), [(0, None), (1, None), (2, None)]);
    let last = Some(Head {
        seq: 7,
        hash: "7".to_owned(),
    });
    let place = |has_more| Place {
        last: last.clone(),
        has_more,
    };
    backlog.delivered(0, place(true));
    backlog.delivered(1, place(false));
    let wait = backlog.failed(2);
    backlog.mark(2);
    assert!(!backlog.is_whole());
    assert_eq!(
        backlog.take(),
        [(0, last.clone())],
        "1 is clean and 2 rests"
    );
    backlog.rested(2);
    assert_eq!(backlog.take(), [(2, None)]);
    assert!(backlog.failed(2) > wait, "each wait is longer");
    backlog.rested(2);
    backlog.mark(0);
    assert_eq!(
        backlog.take(),
        [(0, None), (2, None)],
        "of a pass without an end nothing is believed"
    );
    backlog.delivered(2, place(false));
    assert_eq!(backlog.failed(2), wait, "a success ends the row");
}

#[actix_web::test]
async fn a_cursor_is_read_once_and_again_after_an_error() {
    let store = Arc::new(MemoryStore::new(PARTITIONS));
    let ear = Arc::new(Ear::new());
    append(&store, 0, 1).await;
    let reporter = start(&store, &ear);
    assert_eq!(hears(&ear, 1).await, [["0-1"]]);

    // Who asked the store again would begin from here.
    set_cursor(&store, 0, 0).await;
    append(&store, 0, 1).await;
    reporter.send(Written { partition: 0 }).await.unwrap();
    assert_eq!(hears(&ear, 1).await, [["0-2"]]);

    set_cursor(&store, 0, 0).await;
    append(&store, 0, 1).await;
    *ear.refusals.lock().unwrap() = 1;
    reporter.send(Written { partition: 0 }).await.unwrap();
    let got = hears(&ear, 4).await;
    assert_eq!(got, [vec!["0-3"], vec!["0-1", "0-2", "0-3"]]);
}

#[actix_web::test]
async fn what_many_commits_write_goes_out_in_few_deliveries() {
    let store = Arc::new(MemoryStore::new(PARTITIONS));
    let ear = Arc::new(Ear::new());
    let reporter = start(&store, &ear);
    for _ in 0..25 {
        for partition in 0..PARTITIONS {
            append(&store, partition, 1).await;
            reporter.send(Written { partition }).await.unwrap();
        }
    }
    let got = hears(&ear, 100).await;
    assert!(got.len() < 50, "{} deliveries", got.len());
    for partition in 0..PARTITIONS {
        let prefix = format!("{partition}-");
        let ids = got.iter().flatten().filter(|id| id.starts_with(&prefix));
        let expected = (1..=25).map(|seq| format!("{prefix}{seq}"));
        assert!(ids.eq(&expected.collect::<Vec<_>>()), "{got:?}");
    }
}

#[actix_web::test]
async fn a_broken_partition_catches_up_and_the_others_did_not_wait() {
    let store = Arc::new(MemoryStore::new(PARTITIONS));
    let ear = Arc::new(Ear::new());
    append(&store, 0, 1).await;
    store.set_broken(0, true);
    let reporter = start(&store, &ear);
    for nth in 1..=3 {
        append(&store, 1, 1).await;
        reporter.send(Written { partition: 1 }).await.unwrap();
        assert_eq!(hears(&ear, 1).await, [[format!("1-{nth}")]]);
    }
    store.set_broken(0, false);
    assert_eq!(hears(&ear, 1).await, [["0-1"]]);
}
