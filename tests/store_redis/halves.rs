//! Half a commit: a Redis that lost the end of its append-only file twice has applied the beginning of one.
//! Wherever it was cut, the bot goes on from it, and an alert stands in its queue or in its case.

use std::collections::BTreeSet;

use securitybot::core::ids::{AggregateKey, CaseId};
use securitybot::core::machine::{Collection, Row, RowChange};
use securitybot::core::time::Timestamp;
use securitybot::store::redis::RedisStore;
use securitybot::store::{
    Accept, Batch, Birth, Commit, Head, Mark, Piece, PieceChanges, QueuedAlert, Refusal, RowQuery,
    Store, Write, WriteError, journal,
};

use super::common::redis::RedisServer;
use super::{TTL, alice, batch, hash, now, open, options, raw};

#[tokio::test]
async fn half_a_commit_is_gone_on_from_and_not_refused_for_ever() {
    let server = RedisServer::start();
    let store = open(&server, options("half")).await;
    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    let (first, mut head) = batch(claim.epoch, &claim.head);
    store.write(&first).await.unwrap();
    let halves: [(&[&str], u64, &str); 3] = [
        (&["HSET", "half:{p0}:ver", "employee/alice", "7"], 7, "{}"),
        (&["HDEL", "half:{p0}:agg", "employee/alice"], 8, ""),
        (&["HDEL", "half:{p0}:ver", "employee/alice"], 0, "{}"),
    ];
    for (half, version, state) in halves {
        let _: i64 = raw(&server, half).await;
        let found = store.load(&alice()).await.unwrap().unwrap();
        assert_eq!((found.version, found.state.as_str()), (version, state));
        let (mut next, after) = batch(claim.epoch, &head);
        if let Write::Commit(commit) = &mut next.writes[0] {
            commit.expected = version;
        }
        store.write(&next).await.unwrap();
        let found = store.load(&alice()).await.unwrap().unwrap();
        assert_eq!((found.version, found.state.as_str()), (version + 1, "{}"));
        head = after;
    }
}

/// What the journal got of a commit that is not there otherwise was never answered for.
#[tokio::test]
async fn records_beyond_the_journals_head_give_way_to_the_next_commit() {
    let server = RedisServer::start();
    let store = open(&server, options("stray")).await;
    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    let (first, mut head) = batch(claim.epoch, &claim.head);
    store.write(&first).await.unwrap();
    for _ in 0..3 {
        let next = (head.seq + 1).to_string();
        let _: i64 = raw(&server, &["HSET", "stray:{p0}:j", &next, "stray"]).await;
        let _: i64 = raw(&server, &["ZADD", "stray:{p0}:jf", &next, &next]).await;
        let records = store.journal(0, 0, 9).await.unwrap();
        assert_eq!(
            journal::verify(&Head::default(), &records),
            Ok(head.clone())
        );
        let records = ["{\"a\":1}", "{\"b\":2}"].map(|body| (None, now(), body.to_owned()));
        let (rows, after) = journal::chain(&head, records);
        let (mut next, _) = batch(claim.epoch, &head);
        next.journal = rows;
        next.writes.clear();
        store.write(&next).await.unwrap();
        let records = store.journal(0, 0, 9).await.unwrap();
        assert_eq!(
            journal::verify(&Head::default(), &records),
            Ok(after.clone())
        );
        head = after;
    }
}

#[tokio::test]
async fn a_list_shows_no_row_that_says_something_else_than_was_asked_for() {
    let server = RedisServer::start();
    let store = open(&server, options("stale")).await;
    let row = |nth: i64, state: &str| {
        RowChange::Put(Row {
            collection: Collection::Cases,
            id: format!("case-{nth}"),
            at: Timestamp::from_millis(now().as_millis() + nth),
            fields: vec![("state", state.to_owned())],
            body: "{}".to_owned(),
            expires: None,
        })
    };
    let mut rows: Vec<RowChange> = (0..8).map(|nth| row(nth, "asked")).collect();
    rows.push(row(8, "closed"));
    store.put_rows(0, &rows, false).await.unwrap();
    // The newest two were closed, as far as their values; the index does not know it.
    let closes = "for _, id in ipairs({'case-6', 'case-7'}) do \
        redis.call('HSET', KEYS[1], id, redis.call('HGET', KEYS[1], 'case-8')) end return 1";
    let _: i64 = raw(&server, &["EVAL", closes, "1", "stale:{p0}:r:cases"]).await;

    let mut query = RowQuery {
        collection: Collection::Cases,
        fields: vec![("state", "asked".to_owned())],
        since: None,
        until: None,
        limit: 2,
        cursor: None,
    };
    let mut listed = Vec::new();
    loop {
        let page = store.rows(&query).await.unwrap();
        listed.extend(page.rows.into_iter().map(|row| row.id));
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    let open: Vec<_> = (0..6).rev().map(|nth| format!("case-{nth}")).collect();
    assert_eq!(listed, open);
}

const SOURCE: &str = "source/http";

fn home(name: &str) -> AggregateKey {
    AggregateKey {
        partition: 0,
        name: name.to_owned(),
    }
}

fn case() -> CaseId {
    CaseId::new(now(), 7, 0)
}

/// One alert with its mark.
fn accept(first: u64, name: &str, renew: bool) -> Write {
    Write::Accept(Accept {
        source: home(SOURCE),
        first,
        alerts: vec![QueuedAlert {
            number: first,
            receiver: alice().name,
            body: name.to_owned(),
        }],
        marks: vec![Mark {
            identity: hash(&format!("identity of {name}")),
            body: hash(&format!("body of {name}")),
            expires: now().after(TTL),
            renew,
            alert: name.to_owned(),
        }],
        cursor: None,
        rows: Vec::new(),
    })
}

/// Alice takes the first alert into a case, which pages.
fn take(expected: u64, escalation: &str) -> [Write; 2] {
    taking(expected, escalation, PieceChanges::default())
}

fn taking(expected: u64, escalation: &str, pieces: PieceChanges) -> [Write; 2] {
    let due = Some(now());
    let rows = vec![RowChange::Put(Row {
        collection: Collection::Cases,
        id: case().to_string(),
        at: now(),
        fields: vec![
            ("employee", "alice".to_owned()),
            ("state", "asked".to_owned()),
        ],
        body: "{}".to_owned(),
        expires: None,
    })];
    let commit = Commit {
        key: alice(),
        expected,
        state: "has the first alert".to_owned(),
        guard: "{}".to_owned(),
        pieces,
        due,
        due_stands: false,
        rows,
        births: vec![Birth {
            key: home(escalation),
            state: "open".to_owned(),
            due,
            rows: Vec::new(),
        }],
    };
    let source = home(SOURCE);
    let firsts = vec![1];
    [Write::Commit(commit), Write::Take { source, firsts }]
}

/// What waits in the queue.
async fn waiting(store: &RedisStore) -> Vec<String> {
    let chunks = store.queued(&home(SOURCE), 0, 9).await.unwrap();
    let alerts = chunks.into_iter().flat_map(|chunk| chunk.alerts.unwrap());
    alerts.map(|alert| alert.body).collect()
}

/// With `records` of the case.
async fn write(
    store: &RedisStore,
    writes: impl IntoIterator<Item = Write>,
    records: usize,
) -> Result<(), WriteError> {
    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    let records = (0..records).map(|n| (Some(case()), now(), format!("{{\"n\":{n}}}")));
    let (rows, _) = journal::chain(&claim.head, records);
    let batch = Batch {
        partition: 0,
        epoch: claim.epoch,
        head_before: claim.head,
        writes: writes.into_iter().collect(),
        journal: rows,
        now: now(),
    };
    store.write(&batch).await
}

/// The commands in the server's append-only file, without what holds a script's together.
fn appended(server: &RedisServer) -> Vec<Vec<Vec<u8>>> {
    let folder = server.dir().join("appendonlydir");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .collect();
    assert_eq!(files.len(), 1);
    let text = std::fs::read(files.remove(0)).unwrap();
    let mut rest = text.as_slice();
    let mut commands = Vec::new();
    while !rest.is_empty() {
        let count = number(&mut rest, b'*');
        let mut words = Vec::new();
        for _ in 0..count {
            let length = number(&mut rest, b'$');
            words.push(rest[..length].to_vec());
            rest = &rest[length + 2..];
        }
        if !matches!(words[0].as_slice(), b"MULTI" | b"EXEC" | b"SELECT") {
            commands.push(words);
        }
    }
    commands
}

/// A number on a line of its own behind `mark`.
fn number(rest: &mut &[u8], mark: u8) -> usize {
    assert_eq!(rest[0], mark);
    let end = rest.iter().position(|byte| *byte == b'\r').unwrap();
    let number = std::str::from_utf8(&rest[1..end]).unwrap().parse().unwrap();
    *rest = &rest[end + 2..];
    number
}

/// Makes the server hold what these commands made, and nothing else.
async fn replay(server: &RedisServer, commands: &[Vec<Vec<u8>>]) {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut whole = redis::pipe();
    whole.cmd("FLUSHALL");
    for words in commands {
        whole.cmd(std::str::from_utf8(&words[0]).unwrap());
        for word in &words[1..] {
            whole.arg(word);
        }
    }
    let () = whole.exec_async(&mut connection).await.unwrap();
}

/// Redis keeps the whole commands of a commit that was cut in its file, and counts them when it loads the file
/// once more: before all that was done since, as if they had never been there.
#[tokio::test]
async fn a_beginning_of_a_lost_commit_that_comes_back_later_changes_nothing_done_since() {
    let server = RedisServer::start();
    let store = open(&server, options("back")).await;
    write(&store, [accept(1, "first", false)], 1).await.unwrap();
    let before = appended(&server);
    let accepts = [accept(2, "second", false), accept(3, "third", false)];
    let lost = take(0, "escalation/lost").into_iter().chain(accepts);
    write(&store, lost, 70).await.unwrap();
    let lost = appended(&server).split_off(before.len());

    replay(&server, &before).await;
    let from = appended(&server).len();
    write(&store, [accept(2, "third", false)], 1).await.unwrap();
    write(&store, take(0, "escalation/one"), 2).await.unwrap();
    write(&store, [accept(3, "fourth", false)], 1)
        .await
        .unwrap();
    let since = appended(&server).split_off(from);

    for cut in 0..=lost.len() {
        let file = [&before[..], &lost[..cut], &since].concat();
        replay(&server, &file).await;
        let claim = store.claim(0, "a", now(), TTL).await.unwrap();
        let records = store.journal(0, 0, 99).await.unwrap();
        assert_eq!(records.len(), 5, "{cut}");
        let verified = journal::verify(&Head::default(), &records);
        assert_eq!(verified, Ok(claim.head), "{cut}");
        assert_eq!(store.timeline(case()).await.unwrap(), records, "{cut}");

        let found = store.load(&alice()).await.unwrap().unwrap();
        let stands = (found.version, found.state.as_str());
        assert_eq!(stands, (1, "has the first alert"), "{cut}");
        let due = store.due(0, now(), 9).await.unwrap();
        assert!(
            due.iter().any(|due| due.key.name == "escalation/one"),
            "{cut}"
        );
        assert_eq!(waiting(&store).await, ["third", "fourth"], "{cut}");
        write(&store, take(1, "escalation/two"), 2).await.unwrap();
        let records = store.journal(0, 0, 99).await.unwrap();
        assert!(journal::verify(&Head::default(), &records).is_ok(), "{cut}");
    }
}

/// Nor does it take away, or write over, a piece that the state holds since.
#[tokio::test]
async fn a_lost_commit_that_comes_back_later_leaves_the_pieces_held_since() {
    let server = RedisServer::start();
    let store = open(&server, options("pieces")).await;
    let piece = |number: u64, text: &str| Piece {
        number,
        body: format!("{{\"piece\":\"{text}\"}}"),
    };
    let changes = |written: &[Piece], held: &[u64], freed: &[u64], dropped: &[u64]| PieceChanges {
        written: written.to_vec(),
        held: held.to_vec(),
        freed: freed.to_vec(),
        dropped: dropped.to_vec(),
    };
    let begin = changes(&[piece(1, "one"), piece(2, "two")], &[1, 2], &[], &[]);
    write(&store, taking(0, "escalation/a", begin), 1)
        .await
        .unwrap();
    let second = changes(&[piece(3, "three")], &[2, 3], &[1], &[]);
    write(&store, taking(1, "escalation/b", second), 1)
        .await
        .unwrap();
    let before = appended(&server);
    let lost = changes(
        &[piece(4, "lost"), piece(5, "lost")],
        &[4, 5],
        &[2, 3],
        &[1],
    );
    write(&store, taking(2, "escalation/lost", lost), 1)
        .await
        .unwrap();
    let lost = appended(&server).split_off(before.len());

    replay(&server, &before).await;
    let from = appended(&server).len();
    let other = changes(&[piece(4, "four")], &[2, 4], &[3], &[1]);
    write(&store, taking(2, "escalation/c", other), 1)
        .await
        .unwrap();
    let since = appended(&server).split_off(from);
    for cut in 0..=lost.len() {
        let file = [&before[..], &lost[..cut], &since].concat();
        replay(&server, &file).await;
        let found = store.load(&alice()).await.unwrap().unwrap();
        let held = vec![piece(2, "two"), piece(4, "four")];
        assert_eq!((found.version, found.pieces), (3, held), "{cut}");
    }
}

/// The same with a real file, cut in the middle of a command as a power loss can leave it.
#[tokio::test]
async fn after_a_cut_the_file_is_written_again_and_nothing_lost_comes_back() {
    let mut server = RedisServer::start();
    let store = open(&server, options("clean")).await;
    write(&store, [accept(1, "first", false)], 1).await.unwrap();
    write(&store, take(0, "escalation/lost"), 2).await.unwrap();
    server.kill9();
    let file = server.dir().join("appendonlydir/appendonly.aof.1.incr.aof");
    let length = std::fs::metadata(&file).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(length - 30).unwrap();

    server.restart();
    let until = tokio::time::Instant::now() + TTL;
    while store.claim(0, "a", now(), TTL).await.is_err() {
        assert!(tokio::time::Instant::now() < until, "it stays away");
        store.begin_anew().await;
    }
    write(&store, [accept(2, "second", false)], 1)
        .await
        .unwrap();
    let info = async || raw::<String>(&server, &["INFO", "persistence"]).await;
    while !info().await.contains("aof_rewrite_in_progress:0") {
        assert!(tokio::time::Instant::now() < until, "it never ends");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    server.kill9();
    server.restart();
    let log = std::fs::read_to_string(server.dir().join("log")).unwrap();
    assert!(log.contains("Truncating the AOF"), "{log}");
    assert!(!log.contains("can not be nested"), "{log}");
    let records = store.journal(0, 0, 9).await.unwrap();
    assert_eq!(records.len(), 2);
    assert!(store.load(&alice()).await.unwrap().is_none());
}

#[tokio::test]
async fn every_beginning_of_a_commit_is_gone_on_from_and_loses_no_alert() {
    let server = RedisServer::start();
    let store = open(&server, options("cut")).await;
    write(&store, [accept(1, "first", false)], 1).await.unwrap();
    let before = appended(&server).len();
    let accepts = [accept(2, "second", false), accept(3, "third", true)];
    let batch = take(0, "escalation/one").into_iter().chain(accepts);
    write(&store, batch, 1).await.unwrap();
    let all = appended(&server);
    let mut states = BTreeSet::new();
    for cut in before..=all.len() {
        replay(&server, &all[..cut]).await;
        let last = all[cut - 1].iter().take(2);
        let words: Vec<_> = last.map(|word| String::from_utf8_lossy(word)).collect();
        states.insert(goes_on(&store, &format!("cut after {}", words.join(" "))).await);
    }
    // Nothing of it, an alert in both places, all of it.
    assert_eq!(states.len(), 3, "{states:?}");
}

/// Whether Alice has the first alert, and whether the queue has it.
async fn goes_on(store: &RedisStore, cut: &str) -> (bool, bool) {
    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    let records = store.journal(0, 0, 99).await.unwrap();
    let verified = journal::verify(&Head::default(), &records);
    assert_eq!(verified, Ok(claim.head), "{cut}");

    let found = store.load(&alice()).await.unwrap();
    let version = found.as_ref().map_or(0, |found| found.version);
    let has = found.is_some_and(|found| found.state == "has the first alert");
    let waits = waiting(store).await.contains(&"first".to_owned());
    assert!(has || waits, "{cut}: the first alert is lost");
    if has {
        let due = store.due(0, now(), 9).await.unwrap();
        let wakes = due.iter().any(|due| due.key.name == "escalation/one");
        assert!(wakes, "{cut}: the page is lost");
        let born = store.load(&home("escalation/one")).await.unwrap();
        assert_eq!(born.map(|born| born.state).as_deref(), Some("open"));
    }

    // The producer was not answered and sends again: what is refused as known must be there.
    for name in ["second", "third"] {
        let next = store.queue(&home(SOURCE)).await.unwrap().next;
        let sent_again = write(store, [accept(next, name, false)], 2).await;
        match sent_again {
            Ok(()) => {}
            Err(WriteError::Refused(why)) if matches!(why[0].1, Refusal::Duplicate(_)) => {}
            other => panic!("{cut}: {other:?}"),
        }
        let there = waiting(store).await.contains(&name.to_owned());
        assert!(there, "{cut}: the {name} alert is lost");
    }

    write(store, take(version, "escalation/two"), 2)
        .await
        .unwrap();
    let found = store.load(&alice()).await.unwrap().unwrap();
    assert_eq!(found.version, version + 1, "{cut}");
    let left = waiting(store).await;
    assert!(!left.contains(&"first".to_owned()), "{cut}");
    let queue = store.queue(&home(SOURCE)).await.unwrap();
    assert_eq!(queue.backlog, left.len() as u64, "{cut}");

    let records = store.journal(0, 0, 99).await.unwrap();
    assert!(journal::verify(&Head::default(), &records).is_ok(), "{cut}");
    assert_eq!(store.timeline(case()).await.unwrap(), records, "{cut}");
    for (field, value) in [("employee", "alice"), ("state", "asked")] {
        let query = RowQuery {
            collection: Collection::Cases,
            fields: vec![(field, value.to_owned())],
            since: None,
            until: Some(Timestamp::from_millis(i64::MAX >> 12)),
            limit: 9,
            cursor: None,
        };
        let found = store.rows(&query).await.unwrap().rows.len();
        let counted = store.count(Collection::Cases, field, value).await.unwrap();
        assert_eq!((found, counted), (1, 1), "{cut}: {field}");
    }
    (has, waits)
}
