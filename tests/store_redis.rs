//! The Redis store against the contract, on a real server, and against what servers do at the worst
//! moment.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod common;
#[path = "store_redis/damaged.rs"]
mod damaged;
#[path = "store_redis/ends.rs"]
mod ends;
#[path = "store_redis/halves.rs"]
mod halves;
#[path = "store_redis/sizes.rs"]
mod sizes;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::redis::RedisServer;
use securitybot::core::ids::AggregateKey;
use securitybot::core::machine::{Collection, Row, RowChange};
use securitybot::core::time::Timestamp;
use securitybot::store::redis::{RedisOptions, RedisStore};
use securitybot::store::{
    Accept, Batch, Commit, Hash, Head, QueuedAlert, QueuedChunk, RowQuery, Store, StoreError,
    Write, WriteError, conformance, journal,
};

const TTL: Duration = Duration::from_secs(30);

fn options(prefix: &str) -> RedisOptions {
    RedisOptions {
        prefix: prefix.to_owned(),
        deadline: Duration::from_secs(20),
        ..RedisOptions::default()
    }
}

/// Short, for tests that wait for it; the suite's is long, for a machine that is busy.
fn hasty() -> RedisOptions {
    RedisOptions {
        deadline: Duration::from_secs(1),
        ..RedisOptions::default()
    }
}

async fn open(server: &RedisServer, options: RedisOptions) -> RedisStore {
    RedisStore::open(&server.url(), 4, options).await.unwrap()
}

/// What a mark keeps of a text.
fn hash(text: &str) -> Hash {
    use sha2::{Digest, Sha256};
    Sha256::digest(text).into()
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000)
}

fn alice() -> AggregateKey {
    AggregateKey {
        partition: 0,
        name: "employee/alice".to_owned(),
    }
}

/// The next commit of alice after `head`.
fn batch(epoch: u64, head: &Head) -> (Batch, Head) {
    let (rows, after) = journal::chain(head, [(None, now(), "{}".to_owned())]);
    let batch = Batch {
        partition: 0,
        epoch,
        head_before: head.clone(),
        writes: vec![Write::Commit(Commit {
            key: alice(),
            expected: head.seq,
            state: "{}".to_owned(),
            guard: "{}".to_owned(),
            pieces: securitybot::store::PieceChanges::default(),
            due: None,
            due_stands: false,
            rows: Vec::new(),
            births: Vec::new(),
        })],
        journal: rows,
        now: now(),
    };
    (batch, after)
}

async fn raw<T: redis::FromRedisValue>(server: &RedisServer, words: &[&str]) -> T {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut cmd = redis::cmd(words[0]);
    cmd.arg(&words[1..]);
    cmd.query_async(&mut connection).await.unwrap()
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let server = RedisServer::start();
    let count = AtomicU32::new(0);
    conformance::run(async || {
        let n = count.fetch_add(1, Ordering::Relaxed);
        let options = options(&format!("run{n}"));
        Arc::new(open(&server, options).await) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test]
async fn a_store_made_for_another_partition_count_is_refused_with_both_numbers() {
    let server = RedisServer::start();
    open(&server, hasty()).await;
    let Err(StoreError::Mismatch(why)) = RedisStore::open(&server.url(), 8, hasty()).await else {
        panic!("it was opened");
    };
    assert!(why.contains("4 partitions") && why.contains('8'), "{why}");
    for url in [
        "redis:/x",
        "http://h/",
        "redis+sentinel://h:1",
        "redis+sentinel://h:x/m",
    ] {
        let refused = RedisStore::open(url, 4, hasty()).await;
        assert!(matches!(refused, Err(StoreError::Mismatch(_))), "{url}");
    }
}

/// The caller is told that nothing is known; then it turns out that the write has landed.
#[tokio::test]
async fn a_write_that_times_out_is_unknown_and_lands_later() {
    let server = RedisServer::start();
    let store = open(&server, hasty()).await;
    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    // The server knows the script after one write; before, a late call of it would do nothing.
    let (first, head) = batch(claim.epoch, &claim.head);
    store.write(&first).await.unwrap();
    let (second, after) = batch(claim.epoch, &head);
    server.freeze();
    let result = store.write(&second).await;
    assert!(matches!(result, Err(WriteError::Unknown(_))), "{result:?}");
    server.thaw();

    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while store.journal_ends(0).await.unwrap().0 != after {
        assert!(tokio::time::Instant::now() < until, "it never landed");
        tokio::task::yield_now().await;
    }
    // Reading again under a new epoch shows it.
    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    assert_eq!(claim.head, after);
    assert_eq!(store.load(&alice()).await.unwrap().unwrap().version, 2);
    let (third, _) = batch(claim.epoch, &claim.head);
    store.write(&third).await.unwrap();
}

/// A late write that was overtaken finds another head and is not done.
#[tokio::test]
async fn an_overtaken_write_is_fenced() {
    let server = RedisServer::start();
    let store = open(&server, hasty()).await;
    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    let (first, head) = batch(claim.epoch, &claim.head);
    store.write(&first).await.unwrap();
    assert_eq!(store.write(&first).await, Err(WriteError::Fenced));
    assert_eq!(store.journal_ends(0).await.unwrap().0, head);
}

#[tokio::test]
async fn a_server_that_is_gone_fails_writes_for_certain_and_is_found_again_with_all_it_answered() {
    let mut server = RedisServer::start();
    let store = open(&server, hasty()).await;
    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    let (first, head) = batch(claim.epoch, &claim.head);
    store.write(&first).await.unwrap();
    server.kill9();
    let (second, _) = batch(claim.epoch, &head);
    // The first write may find the old connection's end; those after it cannot connect.
    let _ = store.write(&second).await;
    let failed = store.write(&second).await;
    assert!(matches!(failed, Err(WriteError::Failed(_))), "{failed:?}");
    let read = store.load(&alice()).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    assert!(!store.health().await.failing.is_empty());

    server.restart();
    assert_eq!(store.load(&alice()).await.unwrap().unwrap().version, 1);
    // It might have forgotten something: nothing is written by who remembers what it was before.
    let failed = store.write(&second).await;
    assert!(matches!(failed, Err(WriteError::Failed(_))), "{failed:?}");
    assert!(store.is_another());
    store.begin_anew().await;
    store.write(&second).await.unwrap();
    assert!(!store.is_another());
}

#[tokio::test]
async fn a_store_of_an_earlier_version_is_refused_by_name() {
    let server = RedisServer::start();
    let meta = "securitybot:meta";
    let _: i64 = raw(&server, &["HSET", meta, "partitions", "4", "schema", "1"]).await;
    let Err(StoreError::Mismatch(why)) = RedisStore::open(&server.url(), 4, hasty()).await else {
        panic!("it was opened");
    };
    assert!(
        why.contains("an earlier") && why.contains("schema 1"),
        "{why}"
    );
}

/// What schema 2 stored is read as it is; from then on an earlier securitybot refuses the store.
#[tokio::test]
async fn a_store_of_schema_2_is_taken_over() {
    let server = RedisServer::start();
    let (meta, agg) = ("securitybot:meta", "securitybot:{p0}:agg");
    let _: i64 = raw(&server, &["HSET", meta, "partitions", "4", "schema", "2"]).await;
    let _: i64 = raw(
        &server,
        &["HSET", agg, "employee/alice", "2\n{}={\"old\":1}"],
    )
    .await;
    let _: i64 = raw(
        &server,
        &["HSET", "securitybot:{p0}:ver", "employee/alice", "6"],
    )
    .await;
    // Each alert was a value of its own.
    let (next, queue) = ("securitybot:{p0}:next", "securitybot:{p0}:q:source/http");
    let _: i64 = raw(&server, &["HSET", next, "source/http", "6"]).await;
    for (number, alert) in [
        ("2", "14\nemployee/alice={\"n\":2}"),
        ("5", "12\nemployee/bob={\"n\":5}"),
    ] {
        let _: i64 = raw(&server, &["HSET", queue, number, alert]).await;
    }
    let store = RedisStore::open(&server.url(), 4, hasty()).await.unwrap();
    let found = store.load(&alice()).await.unwrap().unwrap();
    assert_eq!((found.version, found.state.as_str()), (6, "{\"old\":1}"));
    assert_eq!((found.guard.as_str(), found.pieces), ("{}", vec![]));
    let schema: String = raw(&server, &["HGET", meta, "schema"]).await;
    assert_eq!(schema, "4");

    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    let source = AggregateKey {
        partition: 0,
        name: "source/http".to_owned(),
    };
    let alert = |number: u64, receiver: &str| QueuedAlert {
        number,
        receiver: receiver.to_owned(),
        body: format!("{{\"n\":{number}}}"),
    };
    let chunk = |alerts: Vec<QueuedAlert>| QueuedChunk {
        first: alerts[0].number,
        count: alerts.len() as u64,
        alerts: Ok(alerts),
    };
    let old = [alert(2, "employee/alice"), alert(5, "employee/bob")];
    let old = old.map(|alert| chunk(vec![alert]));
    assert_eq!(store.queued(&source, 0, 9).await.unwrap(), old);
    assert_eq!(store.queue(&source).await.unwrap().backlog, 2);
    let (mut next, _) = batch(claim.epoch, &claim.head);
    let new = vec![alert(6, "employee/alice"), alert(7, "employee/bob")];
    next.journal.clear();
    next.writes = vec![
        Write::Take {
            source: source.clone(),
            firsts: vec![2],
        },
        Write::Accept(Accept {
            source: source.clone(),
            first: 6,
            alerts: new.clone(),
            marks: Vec::new(),
            cursor: None,
            rows: Vec::new(),
        }),
    ];
    store.write(&next).await.unwrap();
    let left = store.queued(&source, 0, 9).await.unwrap();
    assert_eq!(left, [old[1].clone(), chunk(new)]);
    assert_eq!(store.queue(&source).await.unwrap().backlog, 3);
}

#[tokio::test]
async fn a_field_of_many_rows_is_listed_and_counted_like_one_of_few() {
    let server = RedisServer::start();
    let store = open(&server, hasty()).await;
    let row = |n: i64| {
        RowChange::Put(Row {
            collection: Collection::Cases,
            id: format!("case-{n:03}"),
            at: Timestamp::from_millis(n / 3),
            fields: vec![
                ("employee", "alice".to_owned()),
                ("state", "asked".to_owned()),
            ],
            body: "{}".to_owned(),
            expires: None,
        })
    };
    let query = RowQuery {
        collection: Collection::Cases,
        fields: vec![("employee", "alice".to_owned())],
        since: None,
        until: None,
        limit: 500,
        cursor: None,
    };
    let names = async || {
        let page = store.rows(&query).await.unwrap();
        page.rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let mut wanted = Vec::new();
    for n in 0..150 {
        store.put_rows(0, &[row(n)], true).await.unwrap();
        wanted.insert(0, format!("case-{n:03}"));
        assert_eq!(names().await, wanted);
        let counted = store.count(Collection::Cases, "employee", "alice").await;
        assert_eq!(counted, Ok(wanted.len() as u64));
    }
    let gone = |n: i64| RowChange::Delete {
        collection: Collection::Cases,
        id: format!("case-{n:03}"),
    };
    let all: Vec<_> = (0..150).map(gone).collect();
    store.put_rows(0, &all, false).await.unwrap();
    assert!(names().await.is_empty());
    // Nothing is left behind that the next row would be taken for.
    store.put_rows(0, &[row(7)], true).await.unwrap();
    assert_eq!(names().await, ["case-007"]);
    let kept: Vec<String> = raw(&server, &["KEYS", "securitybot:{p0}:i:*employee*"]).await;
    assert!(kept.is_empty(), "{kept:?}");
}

#[tokio::test]
async fn forgotten_scripts_are_sent_again() {
    let server = RedisServer::start();
    let store = open(&server, hasty()).await;
    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    let (first, head) = batch(claim.epoch, &claim.head);
    store.write(&first).await.unwrap();
    let _: String = raw(&server, &["SCRIPT", "FLUSH"]).await;
    let (second, _) = batch(claim.epoch, &head);
    store.write(&second).await.unwrap();
}

#[tokio::test]
async fn a_full_server_and_a_replica_refuse_for_certain_and_recover() {
    let server = RedisServer::start();
    let store = open(&server, hasty()).await;
    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    let (first, _) = batch(claim.epoch, &claim.head);
    let certain = async |word: &str| {
        let result = store.write(&first).await;
        let Err(WriteError::Failed(why)) = result else {
            panic!("expected {word}, got {result:?}");
        };
        assert!(why.contains(word), "{why}");
        let failing = store.health().await.failing;
        assert!(!failing.is_empty(), "{word}");
        assert_eq!(store.load(&alice()).await, Ok(None));
    };
    let _: String = raw(&server, &["CONFIG", "SET", "maxmemory", "100000"]).await;
    certain("OOM").await;
    let _: String = raw(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;
    let _: String = raw(&server, &["REPLICAOF", "127.0.0.1", "1"]).await;
    certain("READONLY").await;
    let _: String = raw(&server, &["REPLICAOF", "NO", "ONE"]).await;
    store.write(&first).await.unwrap();
    assert!(store.health().await.failing.is_empty());
}

#[tokio::test]
async fn a_changed_password_is_certain_and_does_not_stick() {
    let server = RedisServer::start();
    let store = open(&server, hasty()).await;
    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    let (first, _) = batch(claim.epoch, &claim.head);
    let client = redis::Client::open(server.url()).unwrap();
    let admin = client.get_multiplexed_async_connection().await.unwrap();
    let set = async |password: &str| {
        let mut cmd = redis::cmd("CONFIG");
        cmd.arg("SET").arg("requirepass").arg(password);
        let _: String = cmd.query_async(&mut admin.clone()).await.unwrap();
    };
    set("secret").await;
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL")
        .arg("TYPE")
        .arg("normal")
        .arg("SKIPME")
        .arg("yes");
    let _: i64 = kill.query_async(&mut admin.clone()).await.unwrap();
    let _ = store.write(&first).await;
    let refused = store.write(&first).await;
    assert!(matches!(refused, Err(WriteError::Failed(_))), "{refused:?}");
    set("").await;
    store.write(&first).await.unwrap();
}

#[tokio::test]
async fn too_few_replicas_are_reported_and_the_write_stands() {
    let server = RedisServer::start();
    let asking = RedisOptions {
        min_replicas: 1,
        ..hasty()
    };
    let store = open(&server, asking).await;
    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    let (first, head) = batch(claim.epoch, &claim.head);
    assert_eq!(
        store.write(&first).await,
        Err(WriteError::Unreplicated { got: 0, wanted: 1 })
    );
    assert_eq!(store.load(&alice()).await.unwrap().unwrap().version, 1);

    let port = server.port.to_string();
    let replica = RedisServer::start_with(&[("replicaof", &format!("127.0.0.1 {port}"))]);
    let connected = async || {
        let roles: Vec<redis::Value> = raw(&replica, &["ROLE"]).await;
        format!("{roles:?}").contains("connected")
    };
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    while !connected().await {
        assert!(tokio::time::Instant::now() < until, "no replication");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A replica on a busy machine may take longer than a hasty store waits.
    let patient = RedisOptions {
        min_replicas: 1,
        ..options(&hasty().prefix)
    };
    let store = open(&server, patient).await;
    let (second, _) = batch(claim.epoch, &head);
    store.write(&second).await.unwrap();
}

#[tokio::test]
async fn weak_settings_are_named() {
    let server = RedisServer::start();
    let store = open(&server, hasty()).await;
    assert_eq!(store.health().await, securitybot::store::Health::default());
    let set = async |name: &str, value: &str| {
        let _: String = raw(&server, &["CONFIG", "SET", name, value]).await;
        store.health().await
    };
    let health = set("appendfsync", "everysec").await;
    assert!(health.failing.is_empty());
    assert!(health.degraded[0].contains("2 s"), "{health:?}");
    let health = set("maxmemory-policy", "allkeys-lru").await;
    assert!(health.failing[0].contains("allkeys-lru"), "{health:?}");
    set("maxmemory-policy", "noeviction").await;
    let health = set("appendonly", "no").await;
    assert!(health.failing[0].contains("append-only"), "{health:?}");

    // A managed server that does not tell.
    let hidden = RedisServer::start_with(&[("rename-command", "CONFIG HIDDEN")]);
    let store = open(&hidden, hasty()).await;
    let health = store.health().await;
    assert!(health.failing.is_empty());
    assert!(health.degraded[0].contains("CONFIG"), "{health:?}");
}
