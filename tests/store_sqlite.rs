//! The embedded store against the contract, and against damaged, foreign and full files.

#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use securitybot::core::ids::AggregateKey;
use securitybot::core::machine::{Collection, Row, RowChange};
use securitybot::core::time::Timestamp;
use securitybot::store::memory::MemoryStore;
use securitybot::store::sqlite::SqliteStore;
use securitybot::store::{
    Accept, Batch, Commit, Piece, QueuedAlert, QueuedChunk, Store, StoreError, Write, WriteError,
    conformance,
};

const TTL: Duration = Duration::from_secs(30);

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let count = AtomicU32::new(0);
    conformance::run(async || {
        let n = count.fetch_add(1, Ordering::Relaxed);
        let path = dir.path().join(format!("{n}.db"));
        let store = SqliteStore::open(&path, conformance::PARTITIONS).unwrap();
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test]
async fn the_model_in_memory_keeps_the_contract() {
    conformance::run(async || {
        Arc::new(MemoryStore::new(conformance::PARTITIONS)) as Arc<dyn Store>
    })
    .await;
}

fn refused(path: &Path, partitions: u16) -> StoreError {
    match SqliteStore::open(path, partitions) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => {
            assert!(error.to_string().contains("store.db"), "{error}");
            error
        }
    }
}

/// A store with a few hundred rows, closed.
async fn filled(path: &Path) {
    let store = SqliteStore::open(path, 4).unwrap();
    let rows: Vec<_> = (0..400)
        .map(|n| {
            RowChange::Put(Row {
                collection: Collection::Cases,
                id: format!("case {n}"),
                at: Timestamp::from_millis(n),
                fields: vec![("employee", "alice".to_owned())],
                body: "x".repeat(500),
                expires: None,
            })
        })
        .collect();
    store.put_rows(1, &rows, false).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_store_is_opened_again_with_all_it_held_and_by_its_partition_count_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    filled(&path).await;
    let error = refused(&path, 8).to_string();
    assert!(
        error.contains("4 partitions") && error.contains('8'),
        "{error}"
    );
    let store = SqliteStore::open(&path, 4).unwrap();
    let row = store.row(Collection::Cases, "case 399").await.unwrap();
    assert!(row.is_some());
    store.close().await;
    let after = store.write(&batch(1, "employee/alice")).await;
    assert!(matches!(after, Err(WriteError::Failed(_))), "{after:?}");
}

#[tokio::test]
async fn a_cut_off_an_empty_and_a_foreign_file_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    filled(&path).await;
    let whole = fs::read(&path).unwrap();

    for cut in [whole.len() / 2, whole.len() - 1, 4096, 50, 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        let error = refused(&path, 4);
        assert!(matches!(error, StoreError::Corrupt(_)), "{cut}: {error}");
    }
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = refused(&path, 4).to_string();
    assert!(error.contains(&whole.len().to_string()), "{error}");

    fs::write(&path, b"").unwrap();
    assert!(matches!(refused(&path, 4), StoreError::Corrupt(_)));
    fs::write(&path, "not a database at all\n".repeat(500)).unwrap();
    let error = refused(&path, 4).to_string();
    assert!(error.contains("not a database"), "{error}");

    fs::remove_file(&path).unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE things(a)").unwrap();
    drop(conn);
    assert!(matches!(refused(&path, 4), StoreError::Mismatch(_)));

    fs::write(&path, &whole).unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let error = refused(&path, 4).to_string();
    assert!(error.contains("99") && error.contains("newer"), "{error}");
}

/// What an earlier securitybot made is read as it is, and has room for pieces then.
#[tokio::test]
async fn a_file_of_schema_1_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    alice_as_of(
        &path,
        "DROP TABLE pieces; DROP TABLE queue;
         CREATE TABLE queue(
           source INTEGER NOT NULL, number INTEGER NOT NULL, receiver TEXT NOT NULL,
           body TEXT NOT NULL, PRIMARY KEY(source, number)) STRICT, WITHOUT ROWID;
         INSERT INTO sources VALUES(7, 0, 'source/http', 6, 2, NULL);
         INSERT INTO queue VALUES(7, 5, 'employee/bob', '{\"n\": \"ü\n\"}');
         INSERT INTO queue VALUES(7, 2, 'employee/alice', '{\"n\":2}');
         PRAGMA user_version = 1;",
    )
    .await;

    let store = SqliteStore::open(&path, 4).unwrap();
    let epoch = claimed(&store).await;
    let mut next = batch(epoch, "employee/alice");
    let piece = Piece {
        number: 1,
        body: "a piece".to_owned(),
    };
    let commit = commit(&mut next.writes[0]);
    let key = commit.key.clone();
    commit.expected = 1;
    commit.pieces.held = vec![1];
    commit.pieces.written = vec![piece.clone()];
    store.write(&next).await.unwrap();
    let found = store.load(&key).await.unwrap().unwrap();
    assert_eq!((found.version, found.pieces), (2, vec![piece]));

    // Each alert had a row of its own.
    let chunk = |number: u64, receiver: &str, body: &str| QueuedChunk {
        first: number,
        count: 1,
        alerts: Ok(vec![QueuedAlert {
            number,
            receiver: receiver.to_owned(),
            body: body.to_owned(),
        }]),
    };
    let (alice, bob) = (
        chunk(2, "employee/alice", "{\"n\":2}"),
        chunk(5, "employee/bob", "{\"n\": \"ü\n\"}"),
    );
    let queued = store.queued(&source(), 0, 9).await.unwrap();
    assert_eq!(queued, [alice, bob.clone()]);
    next.writes = vec![take(&[2])];
    store.write(&next).await.unwrap();
    assert_eq!(store.queued(&source(), 0, 9).await.unwrap(), [bob]);
    let queue = store.queue(&source()).await.unwrap();
    assert_eq!((queue.next, queue.backlog), (6, 1));
}

/// Pieces lay with their aggregates in schema 2 and 3; those that an earlier securitybot stored stay with their state.
#[tokio::test]
async fn a_file_of_schema_3_keeps_its_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    alice_as_of(
        &path,
        "DROP TABLE pieces;
         CREATE TABLE pieces(
           aggregate INTEGER NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL,
           PRIMARY KEY(aggregate, number)) STRICT, WITHOUT ROWID;
         INSERT INTO pieces SELECT id, 2, 'the second' FROM aggregates;
         INSERT INTO pieces SELECT id, 1, 'the first' FROM aggregates;
         PRAGMA user_version = 3;",
    )
    .await;

    let store = SqliteStore::open(&path, 4).unwrap();
    let mut next = batch(claimed(&store).await, "employee/alice");
    let commit = commit(&mut next.writes[0]);
    let key = commit.key.clone();
    let piece = |number, body: &str| Piece {
        number,
        body: body.to_owned(),
    };
    let found = store.load(&key).await.unwrap().unwrap();
    assert_eq!(
        found.pieces,
        [piece(1, "the first"), piece(2, "the second")]
    );
    commit.expected = 1;
    commit.pieces.held = vec![2, 3];
    commit.pieces.freed = vec![1];
    commit.pieces.written = vec![piece(2, "written anew"), piece(3, "the third")];
    store.write(&next).await.unwrap();
    let found = store.load(&key).await.unwrap().unwrap();
    assert_eq!(
        found.pieces,
        [piece(2, "written anew"), piece(3, "the third")]
    );
}

/// Writes that wait together share a transaction. One that is refused only after it has changed something is undone by
/// itself.
#[tokio::test]
async fn a_refused_write_takes_nothing_from_those_it_shares_a_transaction_with() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("store.db"), 4).unwrap();
    let epoch = claimed(&store).await;
    let good = |n: u32| batch(epoch, &format!("employee/{n}"));
    let bad = |n: u32| {
        let mut batch = batch(epoch, &format!("employee/changed {n}"));
        let mut refused = batch.writes[0].clone();
        let commit = commit(&mut refused);
        commit.key.name = format!("employee/refused {n}");
        commit.expected = 7;
        batch.writes.push(refused);
        batch
    };
    let batches: Vec<Batch> = (0..60)
        .map(|n| if n % 7 == 3 { bad(n) } else { good(n) })
        .collect();
    let ends = futures_util::future::join_all(batches.iter().map(|batch| store.write(batch))).await;
    for (n, end) in ends.into_iter().enumerate() {
        let name = |kind: &str| AggregateKey {
            partition: 0,
            name: format!("employee/{kind}{n}"),
        };
        if n % 7 == 3 {
            assert!(matches!(end, Err(WriteError::Refused(_))), "{n}: {end:?}");
            assert_eq!(store.load(&name("changed ")).await, Ok(None), "{n}");
        } else {
            assert_eq!(end, Ok(()), "{n}");
            let found = store.load(&name("")).await.unwrap().unwrap();
            assert_eq!(found.version, 1, "{n}");
        }
    }
}

/// The log is written back while the writer goes on, and begins at its start again: a long flood does not fill the
/// disk with it.
#[tokio::test]
async fn the_log_of_a_long_flood_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path, 4).unwrap();
    let (mut longest, mut written) = (0, 0);
    for turn in 0..60 {
        let rows: Vec<_> = (0..100)
            .map(|n| {
                RowChange::Put(Row {
                    collection: Collection::Documents,
                    id: format!("{turn} {n}"),
                    at: Timestamp::from_millis(n),
                    fields: Vec::new(),
                    body: "x".repeat(40_000),
                    expires: None,
                })
            })
            .collect();
        store.put_rows(1, &rows, false).await.unwrap();
        written += 100 * 40_000;
        let log = fs::metadata(dir.path().join("store.db-wal")).unwrap();
        longest = longest.max(log.len());
    }
    assert!(longest < written / 2, "{longest} of {written} bytes");
    let file = fs::metadata(&path).unwrap().len();
    assert!(file > written / 2, "{file} of {written} bytes");
    store.close().await;
    assert!(!dir.path().join("store.db-wal").exists());
}

fn source() -> AggregateKey {
    AggregateKey {
        partition: 0,
        name: "source/http".to_owned(),
    }
}

fn take(firsts: &[u64]) -> Write {
    Write::Take {
        source: source(),
        firsts: firsts.to_vec(),
    }
}

#[tokio::test]
async fn a_damaged_chunk_of_a_queue_says_so_and_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path, 4).unwrap();
    let mut next = batch(claimed(&store).await, "employee/alice");
    let accept = |numbers: std::ops::Range<u64>| {
        let first = numbers.start;
        let alerts = numbers.map(|number| QueuedAlert {
            number,
            receiver: "employee/alice".to_owned(),
            body: "{}".to_owned(),
        });
        Write::Accept(Accept {
            source: source(),
            first,
            alerts: alerts.collect(),
            marks: Vec::new(),
            cursor: None,
            rows: Vec::new(),
        })
    };
    next.writes = vec![accept(1..4), accept(4..6)];
    store.write(&next).await.unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    for damaged in [
        "json_remove(alerts, '$[0]')",
        "'[{\"number\":1,'",
        "'[]'",
        "''",
    ] {
        let update = format!("UPDATE queue SET alerts = {damaged} WHERE first = 1");
        conn.execute(&update, []).unwrap();
        let found = store.queued(&source(), 0, 9).await.unwrap();
        let [hit, other] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!((hit.first, hit.count, other.first), (1, 3, 4));
        assert!(hit.alerts.is_err(), "{damaged}");
        assert_eq!(other.alerts.as_ref().map(Vec::len), Ok(2));
    }
    next.writes = vec![take(&[1])];
    store.write(&next).await.unwrap();
    assert_eq!(store.queue(&source()).await.unwrap().backlog, 2);
}

#[tokio::test]
async fn what_is_unreadable_spoils_nothing_that_is_loaded_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = with_alice(&path).await;
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch(
        "INSERT INTO aggregates (partition, name, version, state, guard)
         VALUES (0, 'no version', -1, '{}', '{}'), (0, 'no text', 1, CAST(x'ff' AS TEXT), '{}')",
    )
    .unwrap();
    let names = ["no version", "employee/alice", "no text", "nobody"];
    let found = store.load_all(0, &names).await.unwrap();
    assert!(matches!(found[0], Err(StoreError::Corrupt(_))), "{found:?}");
    assert!(matches!(&found[1], Ok(Some(alice)) if alice.version == 1));
    assert!(matches!(found[2], Err(StoreError::Corrupt(_))), "{found:?}");
    assert_eq!(found[3], Ok(None));
}

#[tokio::test]
async fn a_lost_file_with_its_log_still_there_is_not_replaced_by_an_empty_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    fs::write(dir.path().join("store.db-wal"), b"records").unwrap();
    assert!(matches!(refused(&path, 4), StoreError::Corrupt(_)));
}

fn batch(epoch: u64, name: &str) -> Batch {
    let commit = Commit {
        key: AggregateKey {
            partition: 0,
            name: name.to_owned(),
        },
        expected: 0,
        state: "x".repeat(1_000),
        guard: "{}".to_owned(),
        pieces: securitybot::store::PieceChanges::default(),
        due: None,
        due_stands: false,
        rows: Vec::new(),
        births: Vec::new(),
    };
    Batch {
        partition: 0,
        epoch,
        head_before: Default::default(),
        writes: vec![Write::Commit(commit)],
        journal: Vec::new(),
        now: Timestamp::from_millis(0),
    }
}

fn commit(write: &mut Write) -> &mut Commit {
    match write {
        Write::Commit(commit) => commit,
        other => panic!("{other:?}"),
    }
}

async fn claimed(store: &SqliteStore) -> u64 {
    let claim = store.claim(0, "a", Timestamp::from_millis(0), TTL).await;
    claim.unwrap().epoch
}

/// A file with Alice in it, made into what an earlier securitybot left.
async fn alice_as_of(path: &Path, earlier: &str) {
    let store = with_alice(path).await;
    store.close().await;
    drop(store);
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch(earlier).unwrap();
}

async fn with_alice(path: &Path) -> SqliteStore {
    let store = SqliteStore::open(path, 4).unwrap();
    let epoch = claimed(&store).await;
    store.write(&batch(epoch, "employee/alice")).await.unwrap();
    store
}

/// The writer dies without a word (a power cut): what was answered is there after the restart.
#[tokio::test]
async fn a_store_that_was_never_closed_has_every_answered_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let _never_closed = with_alice(&path).await;
    // The files as they are on the disk at this instant.
    let copy = dir.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    fs::copy(
        dir.path().join("store.db-wal"),
        dir.path().join("copy.db-wal"),
    )
    .unwrap();
    let after = SqliteStore::open(&copy, 4).unwrap();
    let key = AggregateKey {
        partition: 0,
        name: "employee/alice".to_owned(),
    };
    assert!(after.load(&key).await.unwrap().is_some());
}
