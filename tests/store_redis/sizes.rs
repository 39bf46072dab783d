//! Batches beyond what Lua hands to one call of the server.

use securitybot::core::ids::{AggregateKey, CaseId};
use securitybot::core::machine::{Collection, Row, RowChange};
use securitybot::store::{Accept, Batch, Head, Mark, QueuedAlert, Store, Write, journal};

use super::common::redis::RedisServer;
use super::{TTL, alice, hash, now, open, options};

const MANY: u64 = 9_000;

#[tokio::test]
async fn a_batch_of_any_size_is_one_commit() {
    let server = RedisServer::start();
    let store = open(&server, options("sizes")).await;
    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    let source = AggregateKey {
        partition: 0,
        name: "source/http".to_owned(),
    };
    let alerts = (1..=MANY).map(|number| QueuedAlert {
        number,
        receiver: alice().name,
        body: format!("alert {number}"),
    });
    let marks = (1..=MANY).map(|number| Mark {
        identity: hash(&number.to_string()),
        body: hash("body"),
        expires: now().after(TTL),
        renew: number % 2 == 0,
        alert: String::new(),
    });
    let rows = (1..=MANY).map(|number| {
        RowChange::Put(Row {
            collection: Collection::Quarantine,
            id: number.to_string(),
            at: now(),
            fields: vec![("source", "http".to_owned()), ("alert", number.to_string())],
            body: "{}".to_owned(),
            expires: Some(now().after(TTL)),
        })
    });
    let accept = Accept {
        source: source.clone(),
        first: 1,
        alerts: alerts.clone().collect(),
        marks: marks.collect(),
        cursor: None,
        rows: rows.collect(),
    };
    let case = |n: u64| CaseId::new(now(), u128::from(n), 0);
    let records = (1..=MANY).map(|n| (Some(case(n)), now(), format!("{{\"n\":{n}}}")));
    let (rows, head) = journal::chain(&claim.head, records);
    let mut batch = Batch {
        partition: 0,
        epoch: claim.epoch,
        head_before: claim.head,
        writes: vec![Write::Accept(accept)],
        journal: rows,
        now: now(),
    };
    store.write(&batch).await.unwrap();

    let queued = store.queued(&source, 0, usize::MAX).await.unwrap();
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0].alerts, Ok(alerts.clone().collect()));
    let records = store.journal(0, 0, usize::MAX >> 8).await.unwrap();
    assert_eq!(
        journal::verify(&Head::default(), &records),
        Ok(head.clone())
    );
    assert_eq!(store.timeline(case(MANY)).await.unwrap().len(), 1);
    let counted = store.count(Collection::Quarantine, "source", "http").await;
    assert_eq!(counted, Ok(MANY));
    let counted = store.count(Collection::Quarantine, "alert", "777").await;
    assert_eq!(counted, Ok(1));

    let alone = alerts.map(|alert| QueuedAlert {
        number: alert.number + MANY,
        ..alert
    });
    let accepts = alone.map(|alert| {
        Write::Accept(Accept {
            source: source.clone(),
            first: alert.number,
            alerts: vec![alert],
            marks: Vec::new(),
            cursor: None,
            rows: Vec::new(),
        })
    });
    batch.head_before = head;
    batch.journal.clear();
    batch.writes = accepts.collect();
    store.write(&batch).await.unwrap();
    let queue = store.queue(&source).await.unwrap();
    assert_eq!((queue.next, queue.backlog), (2 * MANY + 1, 2 * MANY));
    batch.writes = vec![Write::Take {
        source: source.clone(),
        firsts: (1..2 * MANY).collect(),
    }];
    store.write(&batch).await.unwrap();
    let left = store.queued(&source, 0, usize::MAX).await.unwrap();
    assert_eq!((left.len(), left[0].first), (1, 2 * MANY));
}
