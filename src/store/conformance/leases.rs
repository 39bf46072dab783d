//! Who owns a partition, and what an owner that lost it can still do: nothing.

use super::{HOME, NODE, Owner, PARTITIONS, TTL, at, commit};
use crate::store::{Store, StoreError, Write, WriteError};

const OTHER: &str = "node-b";

pub(super) async fn a_standing_lease_is_not_taken_by_another_node(store: &dyn Store) {
    assert_eq!(store.partitions(), PARTITIONS);
    let ours = store.claim(HOME, NODE, at(0), TTL).await.unwrap();
    let refused = store.claim(HOME, OTHER, at(29_999), TTL).await;
    let Err(StoreError::Mismatch(why)) = refused else {
        panic!("expected a mismatch, got {refused:?}");
    };
    let until = at(30_000).to_rfc3339();
    assert!(why.contains(NODE) && why.contains(&until), "{why}");
    // Another partition is free, and this one once the lease is over.
    store.claim(2, OTHER, at(0), TTL).await.unwrap();
    let theirs = store.claim(HOME, OTHER, at(30_000), TTL).await.unwrap();
    assert!(theirs.epoch > ours.epoch);
}

pub(super) async fn a_node_takes_its_own_lease_again_at_once(store: &dyn Store) {
    let mut before = Owner::new(store).await;
    let record = (None, at(0), "{}".to_owned());
    before.write_with(vec![], vec![record]).await.unwrap();
    let after = store.claim(HOME, NODE, at(1), TTL).await.unwrap();
    assert_eq!((after.epoch, after.head), (before.epoch + 1, before.head));
}

pub(super) async fn a_lease_is_renewed_by_its_owner_only(store: &dyn Store) {
    let ours = store.claim(HOME, NODE, at(0), TTL).await.unwrap();
    let renewed = async |node, epoch, now| store.renew(HOME, node, epoch, now, TTL).await.unwrap();
    assert!(renewed(NODE, ours.epoch, at(20_000)).await);
    assert!(!renewed(OTHER, ours.epoch, at(20_000)).await);
    assert!(!renewed(NODE, ours.epoch + 1, at(20_000)).await);
    let refused = store.claim(HOME, OTHER, at(49_999), TTL).await;
    assert!(matches!(refused, Err(StoreError::Mismatch(_))));
    store.claim(HOME, OTHER, at(50_000), TTL).await.unwrap();
    assert!(!renewed(NODE, ours.epoch, at(50_001)).await);
}

pub(super) async fn a_released_partition_is_free_and_its_old_owner_fenced(store: &dyn Store) {
    let mut old = Owner::new(store).await;
    store.release(HOME, OTHER, old.epoch).await.unwrap();
    let write = |name: &str| vec![Write::Commit(commit(name, 0))];
    old.write(write("employee/alice")).await.unwrap();
    store.release(HOME, NODE, old.epoch).await.unwrap();
    assert_eq!(
        old.write(write("employee/bob")).await,
        Err(WriteError::Fenced)
    );
    store.claim(HOME, OTHER, at(1), TTL).await.unwrap();
}
