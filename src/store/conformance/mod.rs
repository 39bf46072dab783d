//! What every store must do, as one suite: a behaviour that only one store has is a loss that shows
//! when somebody changes stores. Each case gets an empty store with [`PARTITIONS`] partitions.
//!
//! A case that fails panics with its name; the suite belongs to tests and is public for them only.
#![allow(clippy::unwrap_used, reason = "a failing case is a panic")]

mod keeping;
mod leases;
mod lists;
mod queues;
mod writes;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Accept, Batch, Claim, Commit, Head, Mark, PieceChanges, QueuedAlert, QueuedChunk, Store, Write,
    WriteError, journal,
};
use crate::core::ids::{AggregateKey, CaseId};
use crate::core::machine::{Collection, Row};
use crate::core::time::Timestamp;

/// How many partitions the suite's stores must have.
pub const PARTITIONS: u16 = 4;
/// The partition the cases work in; others must not notice.
const HOME: u16 = 1;
const NODE: &str = "node-a";
const TTL: Duration = Duration::from_secs(30);

macro_rules! cases {
    ($make:expr; $($module:ident :: $case:ident),+ $(,)?) => {
        $({
            println!("{}::{}", stringify!($module), stringify!($case));
            let store = $make().await;
            $module::$case(store.as_ref()).await;
            store.close().await;
        })+
    };
}

/// Runs every case, each on a store of its own from `make`.
pub async fn run<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    cases!(make;
        writes::a_commit_is_read_back_whole,
        writes::pieces_are_read_with_the_state_that_holds_them,
        writes::many_are_loaded_at_once_in_the_order_in_which_they_are_named,
        writes::a_commit_from_another_version_is_a_conflict_and_nothing_of_its_batch_is_written,
        writes::a_birth_of_what_exists_is_a_conflict,
        writes::writes_of_a_batch_see_each_other_but_no_refused_one,
        writes::an_older_epoch_another_head_and_an_unowned_partition_are_fenced,
        writes::a_batch_that_contradicts_itself_fails_and_leaves_nothing,
        writes::what_is_due_comes_earliest_first_and_only_when_due,
        writes::a_write_nobody_waited_for_is_found_by_reading_again,
        writes::any_text_comes_back_as_it_went_in,
        writes::a_large_batch_is_written_whole,
        queues::accepted_alerts_are_numbered_and_kept_in_order,
        queues::the_first_number_must_be_the_next_one,
        queues::a_standing_mark_is_a_duplicate_same_or_altered,
        queues::equal_identities_within_one_request_are_named,
        queues::a_mark_stands_until_it_expires_and_renewing_moves_that,
        queues::a_chunk_leaves_when_it_is_taken_and_numbers_never_restart,
        queues::a_queue_is_read_in_windows_of_whole_chunks,
        queues::an_accept_without_alerts_leaves_no_chunk,
        leases::a_standing_lease_is_not_taken_by_another_node,
        leases::a_node_takes_its_own_lease_again_at_once,
        leases::a_lease_is_renewed_by_its_owner_only,
        leases::a_released_partition_is_free_and_its_old_owner_fenced,
        lists::a_new_row_replaces_the_index_entries_of_the_old_one,
        lists::rows_that_replace_none_are_found_like_any_other,
        lists::pages_with_equal_times_neither_skip_nor_repeat,
        lists::all_filters_and_the_time_window_must_match,
        lists::lists_run_over_all_partitions,
        lists::a_list_is_whole_however_uneven_the_partitions_are,
        lists::if_absent_leaves_rows_alone,
        lists::a_strange_cursor_is_refused,
        keeping::expired_rows_and_marks_go_and_others_stay,
        keeping::the_journal_is_trimmed_to_its_anchor_and_still_verifies,
        keeping::a_timeline_lives_as_long_as_its_case,
        keeping::a_case_stays_while_open_or_its_escalation_unresolved,
        keeping::trimming_comes_in_pieces_until_all_is_done,
        keeping::a_store_at_rest_is_healthy,
    );
}

/// A node that owns [`HOME`] and writes.
struct Owner<'a> {
    store: &'a dyn Store,
    epoch: u64,
    head: Head,
    now: Timestamp,
}

impl<'a> Owner<'a> {
    async fn new(store: &'a dyn Store) -> Self {
        Self::of(store, HOME).await
    }

    async fn of(store: &'a dyn Store, partition: u16) -> Self {
        let claim = store.claim(partition, NODE, at(0), TTL).await.unwrap();
        let Claim { epoch, head } = claim;
        Self {
            store,
            epoch,
            head,
            now: at(0),
        }
    }

    fn batch(&self, writes: Vec<Write>) -> Batch {
        Batch {
            partition: HOME,
            epoch: self.epoch,
            head_before: self.head.clone(),
            writes,
            journal: Vec::new(),
            now: self.now,
        }
    }

    async fn write(&mut self, writes: Vec<Write>) -> Result<(), WriteError> {
        self.write_with(writes, Vec::new()).await
    }

    /// With journal records.
    async fn write_with(
        &mut self,
        writes: Vec<Write>,
        records: Vec<(Option<CaseId>, Timestamp, String)>,
    ) -> Result<(), WriteError> {
        let mut batch = self.batch(writes);
        let (rows, head) = journal::chain(&self.head, records);
        batch.journal = rows;
        self.store.write(&batch).await?;
        self.head = head;
        Ok(())
    }
}

/// `ms` after the suite's beginning.
fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + ms)
}

fn key(name: &str) -> AggregateKey {
    AggregateKey {
        partition: HOME,
        name: name.to_owned(),
    }
}

fn commit(name: &str, expected: u64) -> Commit {
    Commit {
        key: key(name),
        expected,
        state: format!("{{\"state of\":\"{name}\",\"after\":{expected}}}"),
        guard: format!("{{\"after\":{expected}}}"),
        pieces: PieceChanges::default(),
        due: None,
        due_stands: false,
        rows: Vec::new(),
        births: Vec::new(),
    }
}

/// Accepts `count` alerts of `source/local`, without marks.
fn accept(first: u64, count: u64) -> Accept {
    Accept {
        source: key("source/local"),
        first,
        alerts: (first..first + count)
            .map(|number| QueuedAlert {
                number,
                receiver: format!("employee/{number}"),
                body: format!("{{\"number\":{number}}}"),
            })
            .collect(),
        marks: Vec::new(),
        cursor: None,
        rows: Vec::new(),
    }
}

/// What it leaves in the queue.
fn chunk(accept: &Accept) -> QueuedChunk {
    QueuedChunk {
        first: accept.first,
        count: accept.alerts.len() as u64,
        alerts: Ok(accept.alerts.clone()),
    }
}

fn take(firsts: &[u64]) -> Write {
    Write::Take {
        source: key("source/local"),
        firsts: firsts.to_vec(),
    }
}

/// A new mark of a name, standing for a minute.
fn mark(identity: &str, body: &str) -> Mark {
    use sha2::{Digest, Sha256};
    let hash = |text: &str| Sha256::digest(text).into();
    Mark {
        identity: hash(identity),
        body: hash(body),
        expires: at(60_000),
        renew: false,
        alert: identity.to_owned(),
    }
}

fn row(collection: Collection, id: &str, ms: i64, fields: &[(&'static str, &str)]) -> Row {
    Row {
        collection,
        id: id.to_owned(),
        at: at(ms),
        fields: fields.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(),
        body: format!("{{\"id\":\"{id}\",\"at\":{ms}}}"),
        expires: None,
    }
}
