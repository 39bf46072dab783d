//! Batches: whole or not at all, by version, epoch and head.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use super::{HOME, Owner, accept, at, chunk, commit, key, mark, row, take};
use crate::core::ids::CaseId;
use crate::core::machine::{Collection, RowChange};
use crate::store::{
    Birth, Head, Piece, PieceChanges, Refusal, Seen, Store, Stored, Write, WriteError, journal,
};

fn refused(result: Result<(), WriteError>) -> Vec<(usize, Refusal)> {
    match result {
        Err(WriteError::Refused(refused)) => refused,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

pub(super) async fn a_commit_is_read_back_whole(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let case = CaseId::new(at(0), 7, 1);
    let mut one = commit("employee/alice", 0);
    one.due = Some(at(500));
    let shown = row(
        Collection::Cases,
        &case.to_string(),
        3,
        &[("employee", "alice"), ("state", "asked")],
    );
    one.rows.push(RowChange::Put(shown.clone()));
    one.births.push(Birth {
        key: key("escalation/e1"),
        state: "{\"round\":1}".to_owned(),
        due: Some(at(0)),
        rows: vec![RowChange::Put(row(
            Collection::Escalations,
            "e1",
            4,
            &[("state", "open")],
        ))],
    });
    let records = vec![
        (Some(case), at(1), "{\"event\":\"case_opened\"}".to_owned()),
        (None, at(1), "{\"event\":\"other\"}".to_owned()),
    ];
    owner
        .write_with(vec![Write::Commit(one.clone())], records)
        .await
        .unwrap();

    let stored = store.load(&one.key).await.unwrap().unwrap();
    let expected = Stored {
        version: 1,
        state: one.state.clone(),
        guard: one.guard.clone(),
        pieces: Vec::new(),
    };
    assert_eq!(stored, expected);
    let born = store.load(&key("escalation/e1")).await.unwrap().unwrap();
    assert_eq!((born.version, born.state.as_str()), (1, "{\"round\":1}"));
    let found = store.row(Collection::Cases, &shown.id).await.unwrap();
    assert_eq!(found, Some(shown));
    let raised = store.row(Collection::Escalations, "e1").await.unwrap();
    assert!(raised.is_some());
    let rows = store.journal(HOME, 0, 10).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].case, Some(case));
    assert_eq!(rows[0].at, at(1));
    let end = journal::verify(&Head::default(), &rows).unwrap();
    assert_eq!(
        store.journal_ends(HOME).await.unwrap(),
        (end, Head::default())
    );
    assert_eq!(store.journal(HOME, 1, 10).await.unwrap(), rows[1..]);
    assert_eq!(store.journal(HOME, 0, 1).await.unwrap(), rows[..1]);
    assert_eq!(store.timeline(case).await.unwrap(), rows[..1]);

    let mut next = commit("employee/alice", 1);
    next.rows.push(RowChange::Delete {
        collection: Collection::Escalations,
        id: "e1".to_owned(),
    });
    owner.write(vec![Write::Commit(next)]).await.unwrap();
    assert_eq!(store.load(&one.key).await.unwrap().unwrap().version, 2);
    let gone = store.row(Collection::Escalations, "e1").await.unwrap();
    assert_eq!(gone, None);
    assert_eq!(store.load(&key("employee/nobody")).await.unwrap(), None);
}

pub(super) async fn pieces_are_read_with_the_state_that_holds_them(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let piece = |number: u64, text: &str| Piece {
        number,
        body: text.to_owned(),
    };
    let long = "long ".repeat(99);
    let steps = [
        // Written, held, freed, dropped; what is read.
        (
            vec![piece(1, "one"), piece(2, &long)],
            vec![1, 2],
            vec![],
            vec![],
            vec![piece(1, "one"), piece(2, &long)],
        ),
        (
            vec![piece(3, "one more")],
            vec![2, 3],
            vec![1],
            vec![],
            vec![piece(2, &long), piece(3, "one more")],
        ),
        (
            vec![],
            vec![3],
            vec![2],
            vec![1],
            vec![piece(3, "one more")],
        ),
        // Held, but never written: it is for the reader to miss it.
        (
            vec![],
            vec![3, 9],
            vec![],
            vec![2],
            vec![piece(3, "one more")],
        ),
        (vec![], vec![], vec![3], vec![], vec![]),
    ];
    for (version, (written, held, freed, dropped, read)) in (0..).zip(steps) {
        let mut one = commit("employee/alice", version);
        one.pieces = PieceChanges {
            written,
            held,
            freed,
            dropped,
        };
        let mut other = commit("employee/alice ", version);
        other.pieces.written = vec![piece(1, "of somebody else")];
        other.pieces.held = vec![1];
        let batch = vec![Write::Commit(one.clone()), Write::Commit(other.clone())];
        owner.write(batch).await.unwrap();
        let found = store.load(&one.key).await.unwrap().unwrap();
        assert_eq!(found.pieces, read);
        assert_eq!((found.state, found.guard), (one.state, one.guard));
        let found = store.load(&other.key).await.unwrap().unwrap();
        assert_eq!(found.pieces, other.pieces.written);
    }
    let mut refused = commit("employee/alice", 77);
    refused.pieces.written = vec![piece(1, "refused")];
    refused.pieces.held = vec![1];
    assert!(owner.write(vec![Write::Commit(refused)]).await.is_err());
    let found = store.load(&key("employee/alice")).await.unwrap().unwrap();
    assert_eq!(found.pieces, []);
}

pub(super) async fn many_are_loaded_at_once_in_the_order_in_which_they_are_named(
    store: &dyn Store,
) {
    const MANY: u64 = 300;
    // All together more than a script can name in one call.
    const PIECES: u64 = 50;
    const NEVER_WRITTEN: u64 = 7;
    let mut owner = Owner::new(store).await;
    let commit_of = |n: u64| {
        let mut one = commit(&format!("employee/{n}"), 0);
        if n.is_multiple_of(2) {
            one.pieces.held = (1..=PIECES).collect();
            let written = one.pieces.held.iter().filter(|at| **at != NEVER_WRITTEN);
            one.pieces.written = written
                .map(|number| Piece {
                    number: *number,
                    body: format!("piece {number} of {n}"),
                })
                .collect();
        }
        one
    };
    let known = |n: &u64| !n.is_multiple_of(3);
    let writes = (0..MANY).filter(known).map(commit_of).map(Write::Commit);
    owner.write(writes.collect()).await.unwrap();

    let order: Vec<u64> = (0..MANY).rev().chain([4, 4, 6]).collect();
    let expected = order.iter().map(|n| {
        let one = known(n).then(|| commit_of(*n));
        Ok(one.map(|one| Stored {
            version: 1,
            state: one.state,
            guard: one.guard,
            pieces: one.pieces.written,
        }))
    });
    let names: Vec<String> = order.iter().map(|n| format!("employee/{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = store.load_all(HOME, &names).await.unwrap();
    assert_eq!(found, expected.collect::<Vec<_>>());
    let elsewhere = store.load_all(HOME + 1, &names).await.unwrap();
    assert_eq!(elsewhere, vec![Ok(None); names.len()]);
    assert_eq!(store.load_all(HOME, &[]).await, Ok(Vec::new()));
}

pub(super) async fn a_commit_from_another_version_is_a_conflict_and_nothing_of_its_batch_is_written(
    store: &dyn Store,
) {
    let mut owner = Owner::new(store).await;
    let alice = || Write::Commit(commit("employee/alice", 0));
    owner.write(vec![alice()]).await.unwrap();
    let head = owner.head.clone();

    let mut bob = commit("employee/bob", 0);
    bob.due = Some(at(0));
    bob.rows
        .push(RowChange::Put(row(Collection::Cases, "c", 0, &[])));
    let mut taken = accept(1, 1);
    taken.marks.push(mark("id", "body"));
    let batch = vec![
        Write::Commit(bob.clone()),
        alice(),
        Write::Accept(taken.clone()),
        Write::Commit(commit("employee/carol", 3)),
    ];
    let records = vec![(None, at(0), "{}".to_owned())];
    let refusals = refused(owner.write_with(batch, records).await);
    assert_eq!(
        refusals,
        [
            (1, Refusal::Conflict { found: 1 }),
            (3, Refusal::Conflict { found: 0 })
        ]
    );
    assert_eq!(store.load(&bob.key).await.unwrap(), None);
    assert_eq!(store.row(Collection::Cases, "c").await.unwrap(), None);
    assert!(store.due(HOME, at(1), 9).await.unwrap().is_empty());
    assert!(store.sources(HOME).await.unwrap().is_empty());
    assert!(store.journal(HOME, 0, 9).await.unwrap().is_empty());
    assert_eq!(store.journal_ends(HOME).await.unwrap().0, head);
    let kept = store.load(&key("employee/alice")).await.unwrap().unwrap();
    assert_eq!(kept.version, 1);
    // Without the refused ones the rest goes through, its mark as new.
    let rest = vec![Write::Commit(bob), Write::Accept(taken)];
    owner.write(rest).await.unwrap();
}

pub(super) async fn a_birth_of_what_exists_is_a_conflict(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let mut one = commit("employee/alice", 0);
    one.births.push(Birth {
        key: key("escalation/e1"),
        state: "{}".to_owned(),
        due: None,
        rows: Vec::new(),
    });
    owner.write(vec![Write::Commit(one.clone())]).await.unwrap();
    one.expected = 1;
    let refusals = refused(owner.write(vec![Write::Commit(one)]).await);
    assert_eq!(refusals, [(0, Refusal::Conflict { found: 1 })]);
    let kept = store.load(&key("employee/alice")).await.unwrap().unwrap();
    assert_eq!(kept.version, 1);
}

pub(super) async fn writes_of_a_batch_see_each_other_but_no_refused_one(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let step = |expected| Write::Commit(commit("employee/alice", expected));
    let mut late = commit("employee/alice", 1);
    late.due = Some(at(9));
    let batch = vec![
        step(0),
        Write::Commit(late),
        Write::Accept(accept(1, 2)),
        take(&[1]),
        Write::Accept(accept(3, 1)),
    ];
    owner.write(batch).await.unwrap();
    let stored = store.load(&key("employee/alice")).await.unwrap().unwrap();
    assert_eq!(stored.version, 2);
    assert_eq!(store.due(HOME, at(9), 9).await.unwrap()[0].version, 2);
    let left = store.queued(&key("source/local"), 0, 9).await.unwrap();
    assert_eq!(left, [chunk(&accept(3, 1))]);

    // The first is refused: its mark must not make a duplicate of the second.
    let mut ahead = accept(9, 1);
    ahead.marks.push(mark("id", "body"));
    let mut right = accept(4, 1);
    right.marks.push(mark("id", "body"));
    let mut again = accept(5, 1);
    again.marks.clone_from(&right.marks);
    let batch = [ahead, right, again].map(Write::Accept).to_vec();
    let refusals = refused(owner.write(batch).await);
    assert_eq!(
        refusals,
        [
            (0, Refusal::Conflict { found: 4 }),
            (2, Refusal::Duplicate(vec![(0, Seen::Same)]))
        ]
    );
}

pub(super) async fn an_older_epoch_another_head_and_an_unowned_partition_are_fenced(
    store: &dyn Store,
) {
    let mut old = Owner::new(store).await;
    old.write_with(vec![], vec![(None, at(0), "{}".to_owned())])
        .await
        .unwrap();
    let mut owner = Owner::new(store).await;
    assert_eq!(owner.head, old.head);
    let write = || vec![Write::Commit(commit("employee/alice", 0))];
    assert_eq!(old.write(write()).await, Err(WriteError::Fenced));

    let mut batch = owner.batch(write());
    batch.head_before = Head::default();
    assert_eq!(store.write(&batch).await, Err(WriteError::Fenced));
    batch.head_before = owner.head.clone();
    batch.head_before.hash = "0".repeat(64);
    assert_eq!(store.write(&batch).await, Err(WriteError::Fenced));
    assert_eq!(store.load(&key("employee/alice")).await.unwrap(), None);

    let mut elsewhere = owner.batch(vec![]);
    elsewhere.partition = 2;
    elsewhere.epoch = 0;
    elsewhere.head_before = Head::default();
    assert_eq!(store.write(&elsewhere).await, Err(WriteError::Fenced));
    owner.write(write()).await.unwrap();
}

pub(super) async fn a_batch_that_contradicts_itself_fails_and_leaves_nothing(store: &dyn Store) {
    let owner = Owner::new(store).await;
    let failed = |result| assert!(matches!(result, Err(WriteError::Failed(_))), "{result:?}");
    let mut holes = accept(1, 3);
    holes.alerts.remove(1);
    let mut elsewhere = commit("employee/alice", 0);
    elsewhere.key.partition = 2;
    for write in [Write::Accept(holes), Write::Commit(elsewhere)] {
        failed(store.write(&owner.batch(vec![write])).await);
    }
    let mut gap = owner.batch(vec![]);
    gap.journal = journal::chain(&owner.head, [(None, at(0), "{}".to_owned())]).0;
    gap.journal[0].seq = 2;
    failed(store.write(&gap).await);
    let mut beyond = owner.batch(vec![]);
    beyond.partition = super::PARTITIONS;
    failed(store.write(&beyond).await);
    assert!(store.sources(HOME).await.unwrap().is_empty());
}

pub(super) async fn what_is_due_comes_earliest_first_and_only_when_due(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let dated = |name: &str, expected, due| {
        let mut one = commit(name, expected);
        one.due = due;
        Write::Commit(one)
    };
    let batch = vec![
        dated("employee/late", 0, Some(at(300))),
        dated("employee/b", 0, Some(at(100))),
        dated("employee/a", 0, Some(at(100))),
        dated("employee/first", 0, Some(at(50))),
        dated("employee/never", 0, None),
    ];
    owner.write(batch).await.unwrap();
    let names = async |now, limit| {
        let due = store.due(HOME, now, limit).await.unwrap();
        due.into_iter().map(|d| d.key.name).collect::<Vec<_>>()
    };
    assert!(names(at(49), 9).await.is_empty());
    let three = ["employee/first", "employee/a", "employee/b"];
    assert_eq!(names(at(100), 9).await, three);
    assert_eq!(names(at(100), 2).await, three[..2]);
    assert!(store.due(2, at(999), 9).await.unwrap().is_empty());

    let batch = vec![
        dated("employee/first", 1, None),
        dated("employee/a", 1, Some(at(400))),
    ];
    owner.write(batch).await.unwrap();
    assert_eq!(names(at(399), 9).await, ["employee/b", "employee/late"]);
    let last = store.due(HOME, at(400), 9).await.unwrap().pop().unwrap();
    assert_eq!(
        (last.key.name.as_str(), last.version, last.at),
        ("employee/a", 2, at(400))
    );

    let mut as_before = commit("employee/b", 1);
    (as_before.due, as_before.due_stands) = (Some(at(100)), true);
    owner.write(vec![Write::Commit(as_before)]).await.unwrap();
    let first = store.due(HOME, at(399), 9).await.unwrap().remove(0);
    assert_eq!(
        (first.key.name.as_str(), first.version, first.at),
        ("employee/b", 2, at(100))
    );
}

/// The caller gives up after handing the batch over: for it the outcome is unknown. Claiming again
/// tells, and if it landed, the head has moved.
pub(super) async fn a_write_nobody_waited_for_is_found_by_reading_again(store: &dyn Store) {
    let owner = Owner::new(store).await;
    let mut batch = owner.batch(vec![Write::Commit(commit("employee/alice", 0))]);
    let (rows, head) = journal::chain(&owner.head, [(None, at(0), "{}".to_owned())]);
    batch.journal = rows;
    {
        let mut write = pin!(store.write(&batch));
        let mut cx = Context::from_waker(Waker::noop());
        let _ = write.as_mut().poll(&mut cx);
    }
    let mut owner = Owner::new(store).await;
    let stored = store.load(&key("employee/alice")).await.unwrap();
    if owner.head == head {
        assert_eq!(stored.map(|stored| stored.version), Some(1));
    } else {
        assert_eq!((owner.head.seq, stored), (0, None));
    }
    // Sent again as it was, it is fenced: nothing can be done twice.
    assert_eq!(store.write(&batch).await, Err(WriteError::Fenced));
    let expected = owner.head.seq;
    let next = vec![Write::Commit(commit("employee/alice", expected))];
    owner.write(next).await.unwrap();
}

pub(super) async fn any_text_comes_back_as_it_went_in(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    for text in [
        "",
        "a\nb\r\n\tc",
        "nul \0 in it",
        "{\"ü\": \"😀\u{202e}\"}",
        "5 7\n8 9",
    ] {
        let name = format!("unknown/{text}");
        let mut one = commit(&name, 0);
        one.state = text.to_owned();
        one.guard = text.to_owned();
        let mut shown = row(Collection::Documents, &format!("id {text}"), 0, &[]);
        shown.body = text.to_owned();
        shown.fields = vec![("employee", text.to_owned()), ("made up", text.to_owned())];
        one.rows.push(RowChange::Put(shown.clone()));
        let mut taken = accept(1, 1);
        taken.source = key(&format!("source/{text}"));
        taken.alerts[0].receiver = name.clone();
        taken.alerts[0].body = text.to_owned();
        taken.cursor = Some(text.to_owned());
        let writes = vec![Write::Commit(one.clone()), Write::Accept(taken.clone())];
        let record = (None, at(0), text.to_owned());
        owner.write_with(writes, vec![record]).await.unwrap();

        let stored = store.load(&one.key).await.unwrap().unwrap();
        assert_eq!((stored.state.as_str(), stored.guard.as_str()), (text, text));
        let found = store.row(Collection::Documents, &shown.id).await.unwrap();
        assert_eq!(found, Some(shown));
        let queued = store.queued(&taken.source, 0, 9).await.unwrap();
        assert_eq!(queued, [chunk(&taken)]);
        let queue = store.queue(&taken.source).await.unwrap();
        assert_eq!(queue.cursor.as_deref(), Some(text));
        let last = store.journal(HOME, owner.head.seq - 1, 9).await.unwrap();
        assert_eq!(last[0].body, text);
    }
}

pub(super) async fn a_large_batch_is_written_whole(store: &dyn Store) {
    const MANY: usize = 3_000;
    let mut owner = Owner::new(store).await;
    let mut taken = accept(1, MANY as u64);
    taken.marks = (0..MANY)
        .map(|n| mark(&format!("id {n}"), "body"))
        .collect();
    let mut writes = vec![Write::Accept(taken)];
    for n in 0..MANY {
        let mut one = commit(&format!("employee/{n}"), 0);
        one.due = Some(at(0));
        one.rows.push(RowChange::Put(row(
            Collection::Cases,
            &format!("case-{n}"),
            0,
            &[("employee", &n.to_string()), ("state", "asked")],
        )));
        writes.push(Write::Commit(one));
    }
    let records = (0..MANY).map(|n| (None, at(0), n.to_string())).collect();
    owner.write_with(writes, records).await.unwrap();
    assert_eq!(store.due(HOME, at(0), MANY + 1).await.unwrap().len(), MANY);
    let journal = store.journal(HOME, 0, MANY + 1).await.unwrap();
    assert_eq!(journal::verify(&Head::default(), &journal), Ok(owner.head));
    let backlog = store.queue(&key("source/local")).await.unwrap().backlog;
    assert_eq!(backlog, MANY as u64);
}
