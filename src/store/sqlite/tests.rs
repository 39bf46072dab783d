//! What needs the connection itself: a disk that is full in the middle of a batch.

use rusqlite::Connection;

use super::{lease, read, schema, write};
use crate::core::ids::AggregateKey;
use crate::core::time::Timestamp;
use crate::store::{Batch, Commit, Head, Write, WriteError, journal};

fn batch(epoch: u64, name: &str, size: usize) -> (Batch, Head) {
    let now = Timestamp::from_millis(0);
    let (rows, head) = journal::chain(&Head::default(), [(None, now, "{}".to_owned())]);
    let commits = (0..20).map(|n| {
        Write::Commit(Commit {
            key: AggregateKey {
                partition: 0,
                name: format!("{name}/{n}"),
            },
            expected: 0,
            state: "x".repeat(size),
            guard: String::new(),
            pieces: crate::store::PieceChanges::default(),
            due: None,
            due_stands: false,
            rows: Vec::new(),
            births: Vec::new(),
        })
    });
    let batch = Batch {
        partition: 0,
        epoch,
        head_before: Head::default(),
        writes: commits.collect(),
        journal: rows,
        now,
    };
    (batch, head)
}

#[test]
fn a_full_disk_fails_the_batch_for_certain_and_leaves_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut conn: Connection = schema::open_writer(&dir.path().join("store.db"), 4).unwrap();
    let now = Timestamp::from_millis(0);
    let ttl = std::time::Duration::from_secs(30);
    let epoch = lease::claim(&mut conn, 0, "a", now, ttl).unwrap().epoch;
    let pages: i64 = conn
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    conn.pragma_update(None, "max_page_count", pages + 20)
        .unwrap();

    let (large, head) = batch(epoch, "large", 20_000);
    let large = write::Prepared::new(large, head);
    let full = write::committed(&mut conn, |tx| write::write(tx, &large));
    assert!(matches!(full, Err(WriteError::Failed(_))), "{full:?}");
    let names: Vec<String> = (0..20).map(|n| format!("large/{n}")).collect();
    let found = read::load_all(&conn, 0, &names).unwrap();
    assert!(found.iter().all(|found| *found == Ok(None)), "{found:?}");
    assert_eq!(read::journal_ends(&conn, 0).unwrap().0, Head::default());
    // What fits is still taken.
    let (small, head) = batch(epoch, "small", 10);
    let small = write::Prepared::new(small, head.clone());
    write::committed(&mut conn, |tx| write::write(tx, &small)).unwrap();
    assert_eq!(read::journal_ends(&conn, 0).unwrap().0, head);
}
