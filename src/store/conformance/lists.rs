//! Rows and lists of rows.

use super::{HOME, Owner, at, commit, row};
use crate::core::machine::{Collection, Row, RowChange};
use crate::store::{RowQuery, Store, StoreError, Write};

fn all(collection: Collection) -> RowQuery {
    RowQuery {
        collection,
        fields: Vec::new(),
        since: None,
        until: None,
        limit: 500,
        cursor: None,
    }
}

fn by(fields: &[(&'static str, &str)]) -> RowQuery {
    RowQuery {
        fields: fields.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(),
        ..all(Collection::Cases)
    }
}

async fn ids(store: &dyn Store, query: RowQuery) -> Vec<String> {
    let page = store.rows(&query).await.unwrap();
    assert_eq!(page.next, None);
    page.rows.into_iter().map(|row| row.id).collect()
}

async fn put(store: &dyn Store, rows: &[Row]) {
    let changes: Vec<_> = rows.iter().cloned().map(RowChange::Put).collect();
    let written = store.put_rows(HOME, &changes, false).await.unwrap();
    assert_eq!(written, rows.len());
}

pub(super) async fn a_new_row_replaces_the_index_entries_of_the_old_one(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let fields = [("employee", "alice"), ("state", "asked"), ("alert", "a1")];
    let mut one = commit("employee/alice", 0);
    one.rows
        .push(RowChange::Put(row(Collection::Cases, "c1", 5, &fields)));
    owner.write(vec![Write::Commit(one)]).await.unwrap();
    let fields = [
        ("employee", "alice"),
        ("state", "closed"),
        ("alert", "a1"),
        ("alert", "a2"),
    ];
    let mut two = commit("employee/alice", 1);
    let closed = row(Collection::Cases, "c1", 5, &fields);
    two.rows.push(RowChange::Put(closed.clone()));
    owner.write(vec![Write::Commit(two)]).await.unwrap();

    assert!(ids(store, by(&[("state", "asked")])).await.is_empty());
    for field in fields {
        assert_eq!(ids(store, by(&[field])).await, ["c1"]);
        let counted = store.count(Collection::Cases, field.0, field.1).await;
        assert_eq!(counted, Ok(1), "{field:?}");
    }
    let counted = store.count(Collection::Cases, "state", "asked").await;
    assert_eq!(counted, Ok(0));
    let found = store.rows(&by(&[("alert", "a2")])).await.unwrap().rows;
    assert_eq!(found, [closed]);
    // At another time it has another place.
    put(store, &[row(Collection::Cases, "c1", 9, &fields[..2])]).await;
    put(store, &[row(Collection::Cases, "c2", 7, &fields[..1])]).await;
    assert_eq!(ids(store, by(&fields[..1])).await, ["c1", "c2"]);
    assert!(ids(store, by(&[("alert", "a1")])).await.is_empty());
    // Twice in one call: the last one counts.
    put(
        store,
        &[
            row(Collection::Cases, "c2", 11, &[("state", "queued")]),
            row(Collection::Cases, "c2", 12, &[("state", "asked")]),
        ],
    )
    .await;
    assert!(ids(store, by(&[("state", "queued")])).await.is_empty());
    assert_eq!(ids(store, all(Collection::Cases)).await, ["c2", "c1"]);
    let gone = RowChange::Delete {
        collection: Collection::Cases,
        id: "c2".to_owned(),
    };
    store.put_rows(HOME, &[gone], true).await.unwrap();
    assert!(ids(store, by(&[("state", "asked")])).await.is_empty());
    assert_eq!(ids(store, all(Collection::Cases)).await, ["c1"]);
}

/// So many of one employee that stores which keep short lists in one place move them to another on the way.
pub(super) async fn rows_that_replace_none_are_found_like_any_other(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let name = |n: i64| format!("case-{n:04}");
    let made = |n: i64, state: &str| {
        let alert = format!("a{n}");
        let fields = [
            ("employee", "alice"),
            ("state", state),
            ("alert", &alert),
            ("alert", &alert),
        ];
        row(Collection::Cases, &name(n), n, &fields)
    };
    let (of_a_commit, commits) = (7, 30);
    for version in 0..commits {
        let mut one = commit("employee/alice", version);
        let first = of_a_commit * version.cast_signed();
        for n in first..first + of_a_commit {
            one.rows.push(RowChange::New(made(n, "queued")));
        }
        // Within its own commit it may be changed, or go again.
        one.rows.push(RowChange::Put(made(first, "asked")));
        one.rows.push(RowChange::Delete {
            collection: Collection::Cases,
            id: name(first + 1),
        });
        owner.write(vec![Write::Commit(one)]).await.unwrap();
    }
    let mut two = commit("employee/alice", commits);
    two.rows.push(RowChange::Put(made(2, "closed")));
    owner.write(vec![Write::Commit(two)]).await.unwrap();

    let all_of_them: Vec<_> = (0..of_a_commit * commits.cast_signed())
        .rev()
        .filter(|n| n % of_a_commit != 1)
        .map(name)
        .collect();
    let in_state = |state: &'static str| by(&[("employee", "alice"), ("state", state)]);
    assert_eq!(ids(store, by(&[("employee", "alice")])).await, all_of_them);
    assert_eq!(ids(store, all(Collection::Cases)).await, all_of_them);
    assert_eq!(ids(store, in_state("closed")).await, [name(2)]);
    assert_eq!(ids(store, in_state("asked")).await.len(), 30);
    assert_eq!(ids(store, in_state("queued")).await.len(), 149);
    assert_eq!(ids(store, by(&[("alert", "a9")])).await, [name(9)]);
    assert!(ids(store, by(&[("alert", "a8")])).await.is_empty());
    let found = store.row(Collection::Cases, &name(2)).await.unwrap();
    assert_eq!(found, Some(made(2, "closed")));
}

pub(super) async fn pages_with_equal_times_neither_skip_nor_repeat(store: &dyn Store) {
    let rows: Vec<Row> = (0..23)
        .map(|n| {
            let id = format!("case.{n:02}");
            row(Collection::Cases, &id, n / 10, &[("employee", "alice")])
        })
        .collect();
    put(store, &rows).await;
    let mut expected: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    expected.reverse();
    for mut query in [all(Collection::Cases), by(&[("employee", "alice")])] {
        query.limit = 4;
        let mut seen = Vec::new();
        loop {
            let page = store.rows(&query).await.unwrap();
            assert!(page.rows.len() <= 4);
            seen.extend(page.rows.into_iter().map(|row| row.id));
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
            // What arrives meanwhile is newer and is not listed.
            let late = format!("late {}", seen.len());
            put(store, &[row(Collection::Cases, &late, 99, &[])]).await;
        }
        assert_eq!(seen, expected);
        for late in (4..23).step_by(4) {
            let id = format!("late {late}");
            let collection = Collection::Cases;
            let gone = RowChange::Delete { collection, id };
            store.put_rows(HOME, &[gone], false).await.unwrap();
        }
    }
    let mut exact = all(Collection::Cases);
    exact.limit = 23;
    assert_eq!(store.rows(&exact).await.unwrap().next, None);
}

pub(super) async fn all_filters_and_the_time_window_must_match(store: &dyn Store) {
    let rows: Vec<Row> = (0..40)
        .map(|n| {
            let employee = if n % 2 == 0 { "alice" } else { "bob" };
            let state = if n % 3 == 0 { "closed" } else { "asked" };
            let fields = [("employee", employee), ("state", state)];
            row(Collection::Cases, &format!("{n:02}"), n, &fields)
        })
        .collect();
    put(store, &rows).await;
    put(
        store,
        &[row(Collection::Snoozes, "00", 0, &[("employee", "alice")])],
    )
    .await;
    let mut query = by(&[("state", "closed"), ("employee", "alice")]);
    query.since = Some(at(6));
    query.until = Some(at(24));
    assert_eq!(ids(store, query.clone()).await, ["18", "12", "06"]);
    query.limit = 2;
    let page = store.rows(&query).await.unwrap();
    assert_eq!(page.rows.len(), 2);
    query.cursor = page.next;
    assert_eq!(ids(store, query).await, ["06"]);
    let nobody = by(&[("employee", "carol"), ("state", "closed")]);
    assert!(ids(store, nobody).await.is_empty());
    assert_eq!(ids(store, all(Collection::Snoozes)).await, ["00"]);
}

pub(super) async fn lists_run_over_all_partitions(store: &dyn Store) {
    for n in 0..12 {
        let one = row(
            Collection::Escalations,
            &format!("{n:02}"),
            n,
            &[("state", "open")],
        );
        let partition = u16::try_from(n % 4).unwrap();
        store
            .put_rows(partition, &[RowChange::Put(one)], false)
            .await
            .unwrap();
    }
    let mut query = all(Collection::Escalations);
    query.fields.push(("state", "open".to_owned()));
    query.limit = 7;
    let page = store.rows(&query).await.unwrap();
    let numbers: Vec<_> = page.rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(numbers, ["11", "10", "09", "08", "07", "06", "05"]);
    query.cursor = page.next;
    assert_eq!(ids(store, query).await, ["04", "03", "02", "01", "00"]);
    let found = store.row(Collection::Escalations, "03").await.unwrap();
    assert_eq!(found.unwrap().at, at(3));
    let some = ["07", "none", "10", "02"];
    let some = store.named(Collection::Escalations, &some).await.unwrap();
    let mut some: Vec<_> = some.iter().map(|row| (row.id.as_str(), row.at)).collect();
    some.sort_unstable();
    assert_eq!(some, [("02", at(2)), ("07", at(7)), ("10", at(10))]);
    assert_eq!(store.named(Collection::Cases, &["03"]).await, Ok(vec![]));
    let one = store
        .row_in(3, Collection::Escalations, "07")
        .await
        .unwrap();
    assert_eq!(one.unwrap().at, at(7));
    assert_eq!(store.row_in(3, Collection::Cases, "07").await, Ok(None));
    assert_eq!(store.named(Collection::Cases, &[]).await, Ok(vec![]));
}

/// Nearly all in one partition, with a few of the others between them.
pub(super) async fn a_list_is_whole_however_uneven_the_partitions_are(store: &dyn Store) {
    let name = |n: i64| format!("{n:03}");
    for n in 0..300 {
        let kind = if n % 3 == 0 { "third" } else { "other" };
        let (partition, who) = if n % 90 == 7 {
            (3, "eve")
        } else {
            (HOME, "bob")
        };
        let fields = [("state", "open"), ("rule", kind), ("employee", who)];
        let change = [RowChange::Put(row(Collection::Cases, &name(n), n, &fields))];
        store.put_rows(partition, &change, false).await.unwrap();
    }
    let hers = by(&[("employee", "eve")]);
    let page = store.rows_in(3, &hers).await.unwrap();
    let found: Vec<_> = page.rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!((found, page.next), (vec!["277", "187", "097", "007"], None));
    let filters = [
        by(&[]),
        by(&[("state", "open")]),
        by(&[("state", "open"), ("rule", "third")]),
    ];
    for (filter, step) in filters.into_iter().zip([1, 1, 3]) {
        let expected: Vec<_> = (0..300).rev().filter(|n| n % step == 0).map(name).collect();
        for limit in [1, 50, 149, 500] {
            let mut query = RowQuery {
                limit,
                ..filter.clone()
            };
            let mut seen = Vec::new();
            loop {
                let page = store.rows(&query).await.unwrap();
                assert!(page.rows.len() <= limit);
                seen.extend(page.rows.into_iter().map(|row| row.id));
                query.cursor = page.next;
                if query.cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, expected, "pages of {limit}");
        }
    }
}

pub(super) async fn if_absent_leaves_rows_alone(store: &dyn Store) {
    let first = row(Collection::Tokens, "t1", 1, &[]);
    put(store, std::slice::from_ref(&first)).await;
    let again = row(Collection::Tokens, "t1", 2, &[]);
    let new = row(Collection::Tokens, "t2", 2, &[]);
    let changes = [again, new.clone(), new].map(RowChange::Put);
    assert_eq!(store.put_rows(HOME, &changes, true).await, Ok(1));
    let kept = store.row(Collection::Tokens, "t1").await.unwrap();
    assert_eq!(kept, Some(first));
    assert_eq!(ids(store, all(Collection::Tokens)).await, ["t2", "t1"]);
    assert_eq!(store.row(Collection::Tokens, "t3").await.unwrap(), None);
    // Changes of one call see each other: what was deleted before is absent.
    let anew = row(Collection::Tokens, "t1", 3, &[]);
    let deleted = RowChange::Delete {
        collection: Collection::Tokens,
        id: "t1".to_owned(),
    };
    let changes = [deleted, RowChange::Put(anew.clone())];
    assert_eq!(store.put_rows(HOME, &changes, true).await, Ok(2));
    let kept = store.row(Collection::Tokens, "t1").await.unwrap();
    assert_eq!(kept, Some(anew));
}

pub(super) async fn a_strange_cursor_is_refused(store: &dyn Store) {
    for cursor in ["", "x", "x.y"] {
        let query = RowQuery {
            cursor: Some(cursor.to_owned()),
            ..all(Collection::Cases)
        };
        let refused = store.rows(&query).await;
        assert!(matches!(refused, Err(StoreError::Mismatch(_))), "{cursor}");
    }
}
