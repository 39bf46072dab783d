//! Retention, and health.

use super::{HOME, Owner, accept, at, commit, key, mark, row};
use crate::core::ids::CaseId;
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::time::Timestamp;
use crate::store::{Birth, Head, Health, Retention, Store, Write, journal};

/// Keeps everything; a case shortens what it is about.
fn keep_all(now: Timestamp) -> Retention {
    Retention {
        now,
        journal_before: at(-1_000_000),
        journal_through: 0,
        cases_before: at(-1_000_000),
    }
}

async fn trim(store: &dyn Store, keep: &Retention) {
    while store.trim(HOME, keep).await.unwrap() {}
}

fn case_row(case: CaseId, ms: i64, state: &'static str) -> Row {
    row(
        Collection::Cases,
        &case.to_string(),
        ms,
        &[("state", state)],
    )
}

pub(super) async fn expired_rows_and_marks_go_and_others_stay(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let mut taken = accept(1, 1);
    taken.marks.push(mark("a", "body"));
    owner.write(vec![Write::Accept(taken)]).await.unwrap();
    let expiring = |id: &str, ms| {
        let mut one = row(Collection::ChatMessages, id, 0, &[("employee", "alice")]);
        one.expires = Some(at(ms));
        RowChange::Put(one)
    };
    let kept = RowChange::Put(row(Collection::ChatMessages, "kept", 0, &[]));
    // A later version may expire later, or never.
    let changes = [
        expiring("old", 10),
        expiring("young", 12),
        kept,
        expiring("extended", 1),
        expiring("extended", 500),
    ];
    store.put_rows(HOME, &changes, false).await.unwrap();
    trim(store, &keep_all(at(11))).await;
    let exists = async |id| {
        let found = store.row(Collection::ChatMessages, id).await.unwrap();
        found.is_some()
    };
    assert!(!exists("old").await);
    assert!(exists("young").await && exists("kept").await && exists("extended").await);
    owner.now = at(11);
    let mut again = accept(2, 1);
    again.marks.push(mark("a", "body"));
    let duplicate = owner.write(vec![Write::Accept(again.clone())]).await;
    assert!(duplicate.is_err(), "the mark stands");
    trim(store, &keep_all(at(60_000))).await;
    // Gone from the store, so that even an earlier clock finds it new.
    owner.write(vec![Write::Accept(again)]).await.unwrap();
}

pub(super) async fn the_journal_is_trimmed_to_its_anchor_and_still_verifies(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    for n in 0..6 {
        let record = (None, at(n * 10), format!("{{\"n\":{n}}}"));
        owner.write_with(vec![], vec![record]).await.unwrap();
    }
    let all = store.journal(HOME, 0, 99).await.unwrap();
    let ends = async || store.journal_ends(HOME).await.unwrap();
    let mut keep = keep_all(at(1_000));
    keep.journal_before = at(40);
    keep.journal_through = 2;
    trim(store, &keep).await;
    let anchor = |n: usize| Head {
        seq: all[n - 1].seq,
        hash: all[n - 1].hash.clone(),
    };
    assert_eq!(ends().await, (owner.head.clone(), anchor(2)));
    keep.journal_through = u64::MAX;
    trim(store, &keep).await;
    assert_eq!(ends().await, (owner.head.clone(), anchor(4)));
    let rest = store.journal(HOME, 0, 99).await.unwrap();
    assert_eq!(rest, all[4..]);
    assert_eq!(journal::verify(&anchor(4), &rest), Ok(owner.head.clone()));
    assert_eq!(store.journal(HOME, 5, 99).await.unwrap(), all[5..]);

    keep.journal_before = at(1_000);
    trim(store, &keep).await;
    assert_eq!(ends().await, (owner.head.clone(), owner.head.clone()));
    let record = (None, at(2_000), "{}".to_owned());
    owner.write_with(vec![], vec![record]).await.unwrap();
    let rest = store.journal(HOME, 0, 99).await.unwrap();
    assert_eq!((rest.len(), rest[0].seq), (1, 7));
}

pub(super) async fn a_timeline_lives_as_long_as_its_case(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let (case, other) = (CaseId::new(at(0), 1, 1), CaseId::new(at(0), 1, 2));
    let mut one = commit("employee/alice", 0);
    one.rows.push(RowChange::Put(case_row(case, 0, "asked")));
    let record = |case, ms: i64| (Some(case), at(ms), format!("{{\"at\":{ms}}}"));
    let records = vec![record(case, 0), record(other, 1), record(case, 2)];
    owner
        .write_with(vec![Write::Commit(one)], records)
        .await
        .unwrap();
    let mut two = commit("employee/alice", 1);
    two.rows.push(RowChange::Put(case_row(case, 0, "closed")));
    owner
        .write_with(vec![Write::Commit(two)], vec![record(case, 50)])
        .await
        .unwrap();
    let whole = store.timeline(case).await.unwrap();
    assert_eq!(whole.len(), 3);

    let mut keep = keep_all(at(60));
    keep.journal_through = u64::MAX;
    for before in [at(1), at(10), at(100)] {
        keep.journal_before = before;
        trim(store, &keep).await;
        assert_eq!(store.timeline(case).await.unwrap(), whole);
    }
    assert!(store.journal(HOME, 0, 9).await.unwrap().is_empty());
    assert!(store.timeline(other).await.unwrap().is_empty());
    keep.cases_before = at(1);
    trim(store, &keep).await;
    assert!(store.timeline(case).await.unwrap().is_empty());
    let row = store.row(Collection::Cases, &case.to_string()).await;
    assert_eq!(row, Ok(None));
}

pub(super) async fn a_case_stays_while_open_or_its_escalation_unresolved(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let id = |n| CaseId::new(at(0), 2, n);
    let mut one = commit("employee/alice", 0);
    one.rows = vec![
        RowChange::Put(case_row(id(1), 0, "asked")),
        RowChange::Put(case_row(id(2), 0, "closed")),
        RowChange::Put(case_row(id(3), 0, "closed")),
        RowChange::Put(case_row(id(4), 5, "closed")),
    ];
    let escalation = |n, state: &'static str| {
        let name = id(n).to_string();
        RowChange::Put(row(Collection::Escalations, &name, 1, &[("state", state)]))
    };
    let name = format!("escalation/{}", id(2));
    one.births.push(Birth {
        key: key(&name),
        state: "{}".to_owned(),
        due: Some(at(0)),
        rows: vec![escalation(2, "open")],
    });
    owner.write(vec![Write::Commit(one)]).await.unwrap();
    let mut keep = keep_all(at(1_000));
    keep.cases_before = at(5);
    let exists = async |n| {
        let name = id(n).to_string();
        let found = store.row(Collection::Cases, &name).await.unwrap();
        found.is_some()
    };
    trim(store, &keep).await;
    assert!(exists(1).await, "it is open");
    assert!(exists(2).await, "its escalation is open");
    assert!(!exists(3).await);
    assert!(exists(4).await, "it is young");

    let mut acknowledged = commit(&name, 1);
    acknowledged.rows.push(escalation(2, "acknowledged"));
    owner
        .write(vec![Write::Commit(acknowledged)])
        .await
        .unwrap();
    trim(store, &keep).await;
    assert!(exists(2).await, "nobody has resolved its escalation");
    let mut resolved = commit(&name, 2);
    resolved.rows.push(escalation(2, "resolved"));
    resolved.due = Some(at(9_999));
    owner.write(vec![Write::Commit(resolved)]).await.unwrap();
    trim(store, &keep).await;
    assert!(exists(2).await, "its escalation has something left to do");
    owner
        .write(vec![Write::Commit(commit(&name, 3))])
        .await
        .unwrap();
    trim(store, &keep).await;
    assert!(!exists(2).await);
    let ended = store.row(Collection::Escalations, &id(2).to_string()).await;
    assert_eq!(ended, Ok(None));
    assert_eq!(store.load(&key(&name)).await, Ok(None));
}

pub(super) async fn trimming_comes_in_pieces_until_all_is_done(store: &dyn Store) {
    const MANY: u64 = 2_300;
    let mut owner = Owner::new(store).await;
    let id = |n| CaseId::new(at(0), 3, n);
    let open = |n: u64| n < 1_200 && n.is_multiple_of(2);
    let mut rows = Vec::new();
    for n in 0..MANY {
        rows.push(RowChange::Put(case_row(id(n), n.cast_signed(), "closed")));
        if open(n) {
            let name = id(n).to_string();
            let fields = [("state", "open")];
            rows.push(RowChange::Put(row(
                Collection::Escalations,
                &name,
                0,
                &fields,
            )));
        }
        let mut message = row(Collection::ChatMessages, &format!("m{n}"), 0, &[]);
        message.expires = Some(at(5));
        rows.push(RowChange::Put(message));
    }
    for piece in rows.chunks(1_000) {
        store.put_rows(HOME, piece, false).await.unwrap();
    }
    let records = (0..MANY).map(|n| (Some(id(n)), at(0), String::new()));
    owner.write_with(vec![], records.collect()).await.unwrap();
    let keep = Retention {
        now: at(6),
        journal_before: at(1),
        journal_through: MANY,
        cases_before: at(1_000_000),
    };
    trim(store, &keep).await;
    for n in 0..MANY {
        let found = store.row(Collection::Cases, &id(n).to_string()).await;
        assert_eq!(found.unwrap().is_some(), open(n), "case {n}");
    }
    let message = store.row(Collection::ChatMessages, "m2299").await.unwrap();
    assert_eq!(message, None);
    assert!(store.journal(HOME, 0, 1).await.unwrap().is_empty());
    assert_eq!(store.journal_ends(HOME).await.unwrap().1, owner.head);
    assert_eq!(store.timeline(id(0)).await.unwrap().len(), 1);
    assert!(store.timeline(id(2_299)).await.unwrap().is_empty());
}

pub(super) async fn a_store_at_rest_is_healthy(store: &dyn Store) {
    let Health { failing, .. } = store.health().await;
    assert!(failing.is_empty(), "{failing:?}");
}
