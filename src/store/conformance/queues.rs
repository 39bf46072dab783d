//! Accepting: numbers, order, cursor, dedup marks, and leaving the queue.

use super::{HOME, Owner, accept, at, chunk, key, mark, take};
use crate::core::machine::{Collection, RowChange};
use crate::store::{Accept, Mark, Queue, Refusal, Seen, Store, Write, WriteError};

fn marked(first: u64, marks: Vec<Mark>) -> Accept {
    let mut one = accept(first, 1);
    one.marks = marks;
    one
}

async fn refusal(owner: &mut Owner<'_>, one: Accept) -> Refusal {
    match owner.write(vec![Write::Accept(one)]).await {
        Err(WriteError::Refused(mut refused)) if refused.len() == 1 => refused.remove(0).1,
        other => panic!("expected one refusal, got {other:?}"),
    }
}

pub(super) async fn accepted_alerts_are_numbered_and_kept_in_order(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let local = key("source/local");
    let new = Queue {
        next: 1,
        backlog: 0,
        cursor: None,
    };
    assert_eq!(store.queue(&local).await.unwrap(), new);
    assert!(store.sources(HOME).await.unwrap().is_empty());

    let mut first = accept(1, 12);
    first.cursor = Some("page 2".to_owned());
    first.rows.push(RowChange::Put(super::row(
        Collection::Quarantine,
        "q1",
        0,
        &[("source", "local")],
    )));
    owner
        .write(vec![Write::Accept(first.clone())])
        .await
        .unwrap();
    let second = accept(13, 1);
    owner
        .write(vec![Write::Accept(second.clone())])
        .await
        .unwrap();

    let queue = store.queue(&local).await.unwrap();
    let expected = Queue {
        next: 14,
        backlog: 13,
        cursor: Some("page 2".to_owned()),
    };
    assert_eq!(queue, expected);
    assert_eq!(
        store.sources(HOME).await.unwrap(),
        std::slice::from_ref(&local)
    );
    assert!(store.sources(2).await.unwrap().is_empty());
    let all = store.queued(&local, 0, 99).await.unwrap();
    assert_eq!(all, [chunk(&first), chunk(&second)]);
    let kept = store.row(Collection::Quarantine, "q1").await.unwrap();
    assert!(kept.is_some());
}

pub(super) async fn the_first_number_must_be_the_next_one(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    assert_eq!(
        refusal(&mut owner, accept(2, 1)).await,
        Refusal::Conflict { found: 1 }
    );
    owner
        .write(vec![Write::Accept(accept(1, 2))])
        .await
        .unwrap();
    for wrong in [1, 2, 4] {
        assert_eq!(
            refusal(&mut owner, accept(wrong, 1)).await,
            Refusal::Conflict { found: 3 }
        );
    }
}

pub(super) async fn a_standing_mark_is_a_duplicate_same_or_altered(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let first = marked(1, vec![mark("a", "body a"), mark("b", "body b")]);
    owner.write(vec![Write::Accept(first)]).await.unwrap();
    let marks = vec![
        mark("new", "body"),
        mark("b", "another body"),
        mark("a", "body a"),
    ];
    assert_eq!(
        refusal(&mut owner, marked(2, marks)).await,
        Refusal::Duplicate(vec![(1, Seen::Altered), (2, Seen::Same)])
    );
    // It is the standing body that counts, not that of a refused one in the same request.
    let marks = vec![mark("a", "another"), mark("a", "body a")];
    assert_eq!(
        refusal(&mut owner, marked(2, marks)).await,
        Refusal::Duplicate(vec![(0, Seen::Altered), (1, Seen::Same)])
    );
    // The same identity from another source is another alert.
    let mut other = marked(1, vec![mark("a", "body a")]);
    other.source = key("source/other");
    owner.write(vec![Write::Accept(other)]).await.unwrap();
}

pub(super) async fn equal_identities_within_one_request_are_named(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let marks = vec![
        mark("a", "body"),
        mark("b", "body"),
        mark("a", "body"),
        mark("b", "other"),
    ];
    assert_eq!(
        refusal(&mut owner, marked(1, marks)).await,
        Refusal::Duplicate(vec![(2, Seen::Same), (3, Seen::Altered)])
    );
    // Renewing in the same request is none, also of a mark that was never there.
    let mut again = mark("a", "body");
    again.renew = true;
    let mut unseen = mark("c", "body");
    unseen.renew = true;
    let marks = vec![mark("a", "body"), again, unseen.clone(), unseen];
    owner
        .write(vec![Write::Accept(marked(1, marks))])
        .await
        .unwrap();
    let marks = vec![mark("a", "body"), mark("c", "body")];
    assert_eq!(
        refusal(&mut owner, marked(2, marks)).await,
        Refusal::Duplicate(vec![(0, Seen::Same), (1, Seen::Same)])
    );
}

pub(super) async fn a_mark_stands_until_it_expires_and_renewing_moves_that(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let first = marked(1, vec![mark("a", "body"), mark("b", "body")]);
    owner.write(vec![Write::Accept(first)]).await.unwrap();
    // A renewal with another body moves the expiry and keeps the body.
    let mut renewed = mark("a", "altered");
    renewed.renew = true;
    renewed.expires = at(90_000);
    let mut renewal = accept(2, 0);
    renewal.marks.push(renewed);
    owner.write(vec![Write::Accept(renewal)]).await.unwrap();
    assert_eq!(store.queue(&key("source/local")).await.unwrap().next, 2);

    owner.now = at(60_000);
    assert_eq!(
        refusal(
            &mut owner,
            marked(2, vec![mark("a", "body"), mark("b", "body")])
        )
        .await,
        Refusal::Duplicate(vec![(0, Seen::Same)])
    );
    let mut fresh = mark("b", "new body");
    fresh.expires = at(200_000);
    owner
        .write(vec![Write::Accept(marked(2, vec![fresh]))])
        .await
        .unwrap();
    assert_eq!(
        refusal(&mut owner, marked(3, vec![mark("b", "new body")])).await,
        Refusal::Duplicate(vec![(0, Seen::Same)])
    );
}

pub(super) async fn a_chunk_leaves_when_it_is_taken_and_numbers_never_restart(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let local = key("source/local");
    owner.write(vec![take(&[1])]).await.unwrap();
    assert!(store.sources(HOME).await.unwrap().is_empty());
    let chunks = [accept(1, 3), accept(4, 1), accept(5, 2)];
    for one in &chunks {
        owner.write(vec![Write::Accept(one.clone())]).await.unwrap();
    }
    let left = async || {
        let queue = store.queue(&local).await.unwrap();
        assert_eq!(queue.next, 7);
        (queue.backlog, store.queued(&local, 0, 99).await.unwrap())
    };
    // Only what a chunk begins with names it.
    owner.write(vec![take(&[2, 3, 6, 7, 77])]).await.unwrap();
    let all = chunks.iter().map(chunk).collect::<Vec<_>>();
    assert_eq!(left().await, (6, all.clone()));
    owner.write(vec![take(&[4])]).await.unwrap();
    let others = vec![all[0].clone(), all[2].clone()];
    assert_eq!(left().await, (5, others.clone()));
    owner.write(vec![take(&[4, 4])]).await.unwrap();
    assert_eq!(left().await, (5, others));
    owner.write(vec![take(&[5, 4]), take(&[1])]).await.unwrap();
    assert_eq!(left().await, (0, Vec::new()));
    assert_eq!(store.sources(HOME).await.unwrap(), [local]);
}

pub(super) async fn a_queue_is_read_in_windows_of_whole_chunks(store: &dyn Store) {
    const SMALL: u64 = 250;
    let mut owner = Owner::new(store).await;
    let local = key("source/local");
    let mut chunks = vec![accept(1, 3), accept(4, 1), accept(5, 4)];
    chunks.extend((9..9 + SMALL).map(|first| accept(first, 1)));
    let accepts = chunks.iter().cloned().map(Write::Accept).collect();
    owner.write(accepts).await.unwrap();
    owner.write(vec![take(&[4, 20])]).await.unwrap();
    let mut all: Vec<_> = chunks.iter().map(chunk).collect();
    all.retain(|chunk| chunk.first != 4 && chunk.first != 20);
    let held = SMALL - 1 + 7;
    assert_eq!(store.queue(&local).await.unwrap().backlog, held);

    let read = async |after, limit| store.queued(&local, after, limit).await.unwrap();
    for (after, limit, wanted) in [
        (0, 0, 0..0),
        (0, 1, 0..1),
        (0, 3, 0..1),
        (0, 4, 0..2),
        // A chunk begins above `after` or is not read at all.
        (2, 4, 1..2),
        (3, 5, 1..3),
        (5, 2, 2..4),
        (8 + SMALL, 9, 0..0),
        (u64::MAX, 9, 0..0),
        (0, usize::MAX, 0..all.len()),
    ] {
        assert_eq!(read(after, limit).await, all[wanted], "{after}, {limit}");
    }
    let (mut windows, mut after) = (Vec::new(), 0);
    while let window = read(after, 40).await
        && let Some(last) = window.last()
    {
        after = last.last();
        windows.extend(window);
    }
    assert_eq!(windows, all);
}

pub(super) async fn an_accept_without_alerts_leaves_no_chunk(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let local = key("source/local");
    let (nothing, one) = (accept(1, 0), accept(1, 1));
    let writes = [&nothing, &one].map(|one| Write::Accept(one.clone()));
    owner.write(writes.to_vec()).await.unwrap();
    assert_eq!(store.queued(&local, 0, 9).await.unwrap(), [chunk(&one)]);
    assert_eq!(store.queue(&local).await.unwrap().backlog, 1);
}
