//! What is dropped, and when: never a journal record that a sink still has to get, unless it is so far behind that
//! the disk would be what fails next.

use std::time::Duration;

use crate::core::time::Timestamp;
use crate::store::{Retention, Store};

use super::delivery;

/// A sink further behind than this no longer holds the journal: it gets a `gap` record.
const MAX_HELD: u64 = 1_000_000;

/// How long things are kept.
#[derive(Clone, Debug)]
pub struct Keep {
    pub journal: Duration,
    pub cases: Duration,
}

/// Applies retention to every partition; answers how far behind each sink is.
pub async fn trim(
    store: &dyn Store,
    sinks: &[String],
    keep: &Keep,
    now: Timestamp,
) -> Result<Vec<(String, u64)>, String> {
    let mut lags: Vec<(String, u64)> = sinks.iter().map(|sink| (sink.clone(), 0)).collect();
    for partition in 0..store.partitions() {
        let (head, _) = store
            .journal_ends(partition)
            .await
            .map_err(|error| error.to_string())?;
        let mut through = head.seq;
        for (sink, lag) in &mut lags {
            let cursor = delivery::cursor(store, sink, partition).await?;
            let behind = head.seq.saturating_sub(cursor);
            *lag += behind;
            if behind <= MAX_HELD {
                through = through.min(cursor);
            }
        }
        let retention = Retention {
            now,
            journal_before: now.before(keep.journal),
            journal_through: through,
            cases_before: now.before(keep.cases),
        };
        // Bounded: the rest waits for the next minute.
        for _ in 0..20 {
            if !store
                .trim(partition, &retention)
                .await
                .map_err(|error| error.to_string())?
            {
                break;
            }
        }
    }
    Ok(lags)
}
