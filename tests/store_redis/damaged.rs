//! A damaged value never stops what stands beside it, takes no memory it has not got, and is written over.
//! What there is of it goes to whoever decodes it; that ends in a page (`ends.rs`).

use securitybot::actors::checkpoint::{self, Unreadable};
use securitybot::core::ids::{AggregateKey, CaseId};
use securitybot::core::machine::{Collection, Row, RowChange};
use securitybot::store::redis::RedisStore;
use securitybot::store::{
    Accept, Batch, Claim, Commit, Mark, QueuedAlert, Retention, RowQuery, Store, StoreError, Write,
    WriteError, journal,
};

use super::common::redis::RedisServer;
use super::{TTL, alice, hash, now, open, options};

const QUEUE: &str = "source/http";

fn long(what: &str) -> String {
    format!("{{\"{what}\":\"{}\"}}", "as long as states are ".repeat(30))
}

fn case() -> CaseId {
    CaseId::new(now(), 7, 0)
}

fn row(id: &str, body: String) -> RowChange {
    RowChange::Put(Row {
        collection: Collection::Cases,
        id: id.to_owned(),
        at: now(),
        fields: vec![("employee", "alice".to_owned())],
        body,
        expires: None,
    })
}

fn source() -> AggregateKey {
    AggregateKey {
        partition: 0,
        name: QUEUE.to_owned(),
    }
}

/// Alice at `expected`, and two alerts behind `first`.
async fn write(store: &RedisStore, expected: u64, first: u64) -> Result<(), WriteError> {
    let claim = store.claim(0, "a", now(), TTL).await.unwrap();
    let records = [(Some(case()), now(), long("record"))];
    let (rows, _) = journal::chain(&claim.head, records);
    let commit = Commit {
        key: alice(),
        expected,
        state: long("state"),
        guard: "{\"guards\":1}".to_owned(),
        pieces: securitybot::store::PieceChanges::default(),
        due: None,
        due_stands: false,
        rows: vec![row("one", long("row")), row("two", long("row"))],
        births: Vec::new(),
    };
    let mark = Mark {
        identity: hash("the one"),
        body: hash("its body"),
        expires: now().after(TTL),
        renew: false,
        alert: "a".to_owned(),
    };
    let mut batch = accepting(claim, first, vec![mark]);
    batch.writes.insert(0, Write::Commit(commit));
    batch.journal = rows;
    store.write(&batch).await
}

/// Two alerts behind `first`.
fn accepting(claim: Claim, first: u64, marks: Vec<Mark>) -> Batch {
    let alerts = [first, first + 1].map(|number| QueuedAlert {
        number,
        receiver: alice().name,
        body: long("alert"),
    });
    let accept = Accept {
        source: source(),
        first,
        alerts: alerts.into(),
        marks,
        cursor: None,
        rows: Vec::new(),
    };
    Batch {
        partition: 0,
        epoch: claim.epoch,
        head_before: claim.head,
        writes: vec![Write::Accept(accept)],
        journal: Vec::new(),
        now: now(),
    }
}

async fn call<T: redis::FromRedisValue>(server: &RedisServer, words: &[&[u8]]) -> T {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut cmd = redis::Cmd::new();
    cmd.arg(words);
    cmd.query_async(&mut connection).await.unwrap()
}

/// Ways to be damaged: cut at several places, bytes changed, a length that nothing has, nothing at all.
fn damages(whole: &[u8]) -> Vec<Vec<u8>> {
    let mut damages: Vec<Vec<u8>> = [1, 3, whole.len() / 2, whole.len() - 1]
        .map(|end| whole[..end].to_vec())
        .into();
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    let packed = whole.windows(4).rposition(|at| at == magic);
    let frame = packed.expect("it is packed") + magic.len();
    // A frame header of one segment with a checksum and a length of eight bytes.
    let bomb = [&whole[..frame], &[0b1110_0100], &[0xff; 8], &whole[frame..]].concat();
    damages.push(bomb);
    let mut mangled = whole.to_vec();
    mangled[frame..].fill(0xff);
    damages.push(mangled);
    damages.push(b"\xff\x00\x01\n\x7f".to_vec());
    damages.push(Vec::new());
    damages
}

#[tokio::test]
async fn a_damaged_state_is_one_that_cannot_be_decoded_and_is_written_over() {
    let server = RedisServer::start();
    let store = open(&server, options("state")).await;
    write(&store, 0, 1).await.unwrap();
    let (key, name) = (b"state:{p0}:agg", b"employee/alice");
    let whole: Vec<u8> = call(&server, &[b"HGET", key, name]).await;
    let mut guards = 0;
    for damaged in damages(&whole) {
        let _: i64 = call(&server, &[b"HSET", key, name, &damaged]).await;
        let found = store.load(&alice()).await.unwrap().unwrap();
        assert_eq!(found.version, 1);
        type Decoded = securitybot::core::conversation::Conversation;
        let decoded = checkpoint::decode::<Decoded>("employee/alice", &found.state);
        let Err(error @ Unreadable::Corrupt { .. }) = decoded else {
            panic!("{damaged:?} was decoded");
        };
        assert!(error.to_string().contains("employee/alice"), "{error}");
        guards += usize::from(found.guard == "{\"guards\":1}");
    }
    assert!(guards >= 4, "what is whole of it is kept: {guards}");
}

#[tokio::test]
async fn what_is_damaged_spoils_nothing_that_is_loaded_with_it() {
    let server = RedisServer::start();
    let store = open(&server, options("group")).await;
    write(&store, 0, 1).await.unwrap();
    let (agg, ver, pc) = (b"group:{p0}:agg", b"group:{p0}:ver", b"group:{p0}:pc");
    let whole: Vec<u8> = call(&server, &[b"HGET", agg, b"employee/alice"]).await;
    // The script finds three pieces in its first line; for us that line is none.
    let _: i64 = call(&server, &[b"HSET", agg, b"led", b"9999 1 2 3\n{}={}"]).await;
    let _: i64 = call(&server, &[b"HSET", pc, b"led\x002", b"=its own"]).await;
    let _: i64 = call(&server, &[b"HSET", agg, b"piece", b"2 5\n{}={}"]).await;
    let _: i64 = call(&server, &[b"HSET", pc, b"piece\x005", b"=its own"]).await;
    for name in [&b"no number"[..], b"no text"] {
        let _: i64 = call(&server, &[b"HSET", agg, name, &whole]).await;
    }
    let versions: &[&[u8]] = &[b"no number", b"x", b"no text", b"\xff", b"bare", b"4"];
    let _: i64 = call(&server, &[&[&b"HSET"[..], ver], versions].concat()).await;

    let names = [
        "no number",
        "employee/alice",
        "led",
        "nobody",
        "no text",
        "piece",
        "bare",
    ];
    let found = store.load_all(0, &names).await.unwrap();
    for (n, name) in [(0, "no number"), (4, "no text")] {
        let corrupt = |why: &str| why.contains(name) && why.contains("a version");
        assert!(matches!(&found[n], Err(StoreError::Corrupt(why)) if corrupt(why)));
    }
    assert_eq!(found[3], Ok(None));
    let read = |n: usize| found[n].clone().unwrap().unwrap();
    assert_eq!((read(1).version, read(1).state), (1, long("state")));
    assert_eq!((read(2).pieces, read(6).version), (vec![], 4));
    let bodies = read(5).pieces.into_iter().map(|piece| piece.body);
    assert_eq!(bodies.collect::<Vec<_>>(), ["its own"]);
}

#[tokio::test]
async fn a_damaged_chunk_of_a_queue_says_so_and_how_many_alerts_it_had_and_holds_up_no_other() {
    let server = RedisServer::start();
    let store = open(&server, options("queue")).await;
    write(&store, 0, 1).await.unwrap();
    let key = b"queue:{p0}:q:source/http";
    let whole: Vec<u8> = call(&server, &[b"HGET", key, b"1"]).await;
    let next = store.claim(0, "a", now(), TTL).await.unwrap();
    let next = accepting(next, 3, vec![]);
    store.write(&next).await.unwrap();
    for damaged in damages(&whole) {
        let _: i64 = call(&server, &[b"HSET", key, b"1", &damaged]).await;
        let found = store.queued(&source(), 0, 9).await.unwrap();
        let [hit, other] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!((hit.first, hit.count, other.first), (1, 2, 3));
        assert!(hit.alerts.is_err(), "{damaged:?}");
        assert_eq!(other.alerts.as_ref().unwrap()[1].body, long("alert"));
        assert_eq!(store.queue(&source()).await.unwrap().backlog, 4);
    }
    let mut take = next;
    take.writes = vec![Write::Take {
        source: source(),
        firsts: vec![1],
    }];
    store.write(&take).await.unwrap();
    let found = store.queued(&source(), 0, 9).await.unwrap();
    assert_eq!((found.len(), found[0].first), (1, 3));
    assert_eq!(store.queue(&source()).await.unwrap().backlog, 2);
}

/// What finds a queue's chunks is made anew from them, by whoever takes the partition.
#[tokio::test]
async fn a_queue_without_its_index_is_found_again() {
    let server = RedisServer::start();
    let store = open(&server, options("index")).await;
    write(&store, 0, 1).await.unwrap();
    let found = store.queued(&source(), 0, 9).await.unwrap();
    let index = b"index:{p0}:qf:source/http";
    let _: i64 = call(&server, &[b"DEL", index]).await;
    let _: i64 = call(&server, &[b"ZADD", index, b"7", b"6"]).await;
    let strays = b"index:{p0}:q:source/http";
    let _: i64 = call(&server, &[b"HSET", strays, b"3", b"stray", b"?", b"what"]).await;
    store.claim(0, "a", now(), TTL).await.unwrap();
    assert_eq!(store.queued(&source(), 0, 9).await.unwrap(), found);
    assert_eq!(store.queue(&source()).await.unwrap().backlog, 2);
    let indexed: Vec<String> = call(&server, &[b"ZRANGE", index, b"0", b"-1", b"WITHSCORES"]).await;
    assert_eq!(indexed, ["1", "2"]);
}

#[tokio::test]
async fn a_damaged_row_is_named_or_cannot_be_decoded_and_is_written_over() {
    let server = RedisServer::start();
    let store = open(&server, options("row")).await;
    write(&store, 0, 1).await.unwrap();
    let (key, name) = (b"row:{p0}:r:cases", b"one");
    let whole: Vec<u8> = call(&server, &[b"HGET", key, name]).await;
    let query = RowQuery {
        collection: Collection::Cases,
        fields: vec![("employee", "alice".to_owned())],
        since: None,
        until: None,
        limit: 9,
        cursor: None,
    };
    for damaged in damages(&whole) {
        let _: i64 = call(&server, &[b"HSET", key, name, &damaged]).await;
        match store.row(Collection::Cases, "one").await {
            Ok(row) => {
                let decoded = serde_json::from_str::<serde_json::Value>(&row.unwrap().body);
                assert!(decoded.is_err(), "{damaged:?}");
                assert_eq!(store.rows(&query).await.unwrap().rows.len(), 2);
            }
            Err(StoreError::Corrupt(why)) => assert!(why.contains("row one of cases"), "{why}"),
            other => panic!("{other:?}"),
        }
        store
            .put_rows(0, &[row("one", long("row"))], false)
            .await
            .unwrap();
        let rows = store.rows(&query).await.unwrap().rows;
        assert_eq!(rows.len(), 2, "{damaged:?}");
        assert!(rows.iter().all(|row| row.body == long("row")));
    }
}

#[tokio::test]
async fn damaged_references_are_begun_anew() {
    let server = RedisServer::start();
    let store = open(&server, options("refs")).await;
    for damaged in [
        &b"x"[..],
        b"9:",
        b"99999999:1 a",
        b"7:1 ",
        b"\xff\x00",
        b"12:no number",
    ] {
        let place = b"refs:{p0}:x:cases";
        let _: i64 = call(&server, &[b"HSET", place, b".employee=alice", damaged]).await;
        store
            .put_rows(0, &[row("one", long("row"))], false)
            .await
            .unwrap();
        let counted = store.count(Collection::Cases, "employee", "alice").await;
        assert!(counted.is_ok(), "{counted:?}");
        let _: i64 = call(&server, &[b"DEL", b"refs:{p0}:r:cases"]).await;
    }
}

#[tokio::test]
async fn a_damaged_chunk_of_the_journal_is_named_and_commits_go_on() {
    let server = RedisServer::start();
    let store = open(&server, options("chunk")).await;
    write(&store, 0, 1).await.unwrap();
    let key = b"chunk:{p0}:j";
    let found: Vec<Vec<u8>> = call(&server, &[b"HVALS", key]).await;
    let damages = damages(&found[0]);
    for (n, damaged) in (1..).zip(&damages) {
        let _: i64 = call(&server, &[b"DEL", key]).await;
        let id = n.to_string();
        let _: i64 = call(&server, &[b"HSET", key, id.as_bytes(), damaged]).await;
        let why = store.journal(0, n - 1, 9).await.unwrap_err().to_string();
        assert!(why.contains("chunk:{p0}:j"), "{why}");
        let why = store.timeline(case()).await.unwrap_err().to_string();
        assert!(why.contains("chunk:{p0}:j"), "{why}");
        let claim = store.claim(0, "a", now(), TTL).await.unwrap();
        assert_eq!(claim.head.seq, n);
        let (rows, after) = journal::chain(&claim.head, [(None, now(), "{}".to_owned())]);
        let next = Batch {
            partition: 0,
            epoch: claim.epoch,
            head_before: claim.head.clone(),
            writes: Vec::new(),
            journal: rows,
            now: now(),
        };
        store.write(&next).await.unwrap();
        let records = store.journal(0, n, 9).await.unwrap();
        assert_eq!(journal::verify(&claim.head, &records), Ok(after));
    }
    // What is older than the retention goes all the same, but for the journal.
    let later = now().after(TTL * 100);
    let keep = Retention {
        now: later,
        journal_before: later,
        journal_through: u64::MAX,
        cases_before: now(),
    };
    let _: i64 = call(&server, &[b"DEL", key]).await;
    let _: i64 = call(&server, &[b"HSET", key, b"1", &damages[0]]).await;
    // More than one call lets go.
    let spans = b"chunk:{p0}:mx";
    for span in [b"1", b"2", b"3", b"4"] {
        let _: i64 = call(&server, &[b"ZADD", spans, span, span]).await;
    }
    let why = loop {
        match store.trim(0, &keep).await {
            Ok(more) => assert!(more, "it trimmed a journal that cannot be read"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(why.contains("chunk:{p0}:j"), "{why}");
    let left: i64 = call(&server, &[b"ZCARD", spans]).await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_damaged_mark_does_not_stand() {
    let server = RedisServer::start();
    let store = open(&server, options("mark")).await;
    write(&store, 0, 1).await.unwrap();
    let key = b"mark:{p0}:m:source/http";
    let refused = write(&store, 1, 3).await;
    assert!(
        matches!(refused, Err(WriteError::Refused(_))),
        "{refused:?}"
    );
    let names: Vec<Vec<u8>> = call(&server, &[b"HKEYS", key]).await;
    for (n, damaged) in (1..).zip([&b""[..], b"short", &[0xff; 23], &[0x7f; 25]]) {
        let _: i64 = call(&server, &[b"HSET", key, &names[0], damaged]).await;
        write(&store, n, 2 * n + 1).await.unwrap();
    }
    let _: i64 = call(&server, &[b"HSET", key, &names[0], b"short"]).await;
    let later = now().after(TTL * 100);
    let keep = Retention {
        now: later,
        journal_before: now(),
        journal_through: 0,
        cases_before: now(),
    };
    while store.trim(0, &keep).await.unwrap() {}
    let left: i64 = call(&server, &[b"HLEN", key]).await;
    assert_eq!(left, 0);
}
