//! From the journal to one sink, many partitions in one pass: in order per partition (and so per employee), at least
//! once, each record under a stable id. What is delivered is remembered as a cursor beside the journal.

use futures_util::future::join_all;

use crate::core::machine::{Collection, Row, RowChange};
use crate::core::time::Timestamp;
use crate::plugins::sinks::{Report, Sink};
use crate::store::{Head, JournalRow, Store};

use super::backlog::Place;
use super::reports::{gap, record};

/// Records of one partition handed to a sink at once.
const BATCH: usize = 200;

/// Where a partition's sink stands after a pass, or why the store failed it.
pub type Outcome = Result<Place, String>;

/// What one partition has for the sink.
struct Part {
    partition: u16,
    /// The last record the sink will have, if there is anything new.
    through: Option<u64>,
    place: Place,
    reports: Vec<Report>,
}

/// Delivers what the journals of these partitions hold beyond where the sink stands; where the caller does not know
/// that, it is read. A partition that the store fails has an error as its outcome and holds up no other. When the
/// sink fails all partitions stay where they were, whatever it took.
pub async fn deliver(
    store: &dyn Store,
    sink: &dyn Sink,
    partitions: &[(u16, Option<Head>)],
    now: Timestamp,
) -> Result<Vec<(u16, Outcome)>, String> {
    let limit = (sink.at_once() / partitions.len().max(1)).clamp(1, BATCH);
    let name = sink.name();
    let reads = partitions
        .iter()
        .map(|(partition, known)| read(store, name, *partition, known.as_ref(), limit, now));
    let mut parts = join_all(reads).await;
    let mut reports = Vec::new();
    for part in parts.iter_mut().flatten() {
        reports.append(&mut part.reports);
    }
    if !reports.is_empty() {
        let delivered = sink.deliver(&reports).await;
        delivered.map_err(|error| error.to_string())?;
    }
    let ends = parts
        .into_iter()
        .map(async |part| remember(store, name, part?, now).await);
    let outcomes = join_all(ends).await;
    let partitions = partitions.iter().map(|(partition, _)| *partition);
    Ok(partitions.zip(outcomes).collect())
}

async fn read(
    store: &dyn Store,
    sink: &str,
    partition: u16,
    known: Option<&Head>,
    limit: usize,
    now: Timestamp,
) -> Result<Part, String> {
    let (after, stands, rows) = match since(store, partition, known, limit).await? {
        Some((known, rows)) => (known.seq, Some(known.clone()), rows),
        None => {
            let after = cursor(store, sink, partition).await?;
            let rows = journal(store, partition, after, limit).await?;
            (after, None, rows)
        }
    };
    let mut reports = Vec::with_capacity(rows.len() + 1);
    if let Some(first) = rows.first().map(|row| row.seq)
        && first > after + 1
    {
        reports.push(gap(partition, after + 1, first - 1, now));
    }
    reports.extend(rows.iter().map(|row| record(partition, row)));
    let has_more = rows.len() == limit;
    let last = rows.into_iter().next_back();
    Ok(Part {
        partition,
        through: last.as_ref().map(|row| row.seq),
        place: Place {
            last: last.map(head).or(stands),
            has_more,
        },
        reports,
    })
}

/// What follows a record that the sink is known to have, if that still stands as it was: a server that forgot its last
/// moments may hold another under the number by now, and those before it are new too.
async fn since<'a>(
    store: &dyn Store,
    partition: u16,
    known: Option<&'a Head>,
    limit: usize,
) -> Result<Option<(&'a Head, Vec<JournalRow>)>, String> {
    let Some(known) = known else {
        return Ok(None);
    };
    let before = known.seq.saturating_sub(1);
    let mut rows = journal(store, partition, before, limit + 1)
        .await?
        .into_iter();
    let stands = rows.next().map(head).as_ref() == Some(known);
    Ok(stands.then(|| (known, rows.collect())))
}

async fn journal(
    store: &dyn Store,
    partition: u16,
    after: u64,
    limit: usize,
) -> Result<Vec<JournalRow>, String> {
    let rows = store.journal(partition, after, limit).await;
    rows.map_err(|error| error.to_string())
}

fn head(row: JournalRow) -> Head {
    Head {
        seq: row.seq,
        hash: row.hash,
    }
}

/// Writes the cursor of what the sink has taken.
async fn remember(store: &dyn Store, sink: &str, part: Part, now: Timestamp) -> Outcome {
    if let Some(through) = part.through {
        let row = Row {
            collection: Collection::Documents,
            id: cursor_id(sink, part.partition),
            at: now,
            fields: Vec::new(),
            body: through.to_string(),
            expires: None,
        };
        store
            .put_rows(part.partition, &[RowChange::Put(row)], false)
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(part.place)
}

/// The number of the last record the sink has.
pub async fn cursor(store: &dyn Store, sink: &str, partition: u16) -> Result<u64, String> {
    let row = store
        .row_in(
            partition,
            Collection::Documents,
            &cursor_id(sink, partition),
        )
        .await
        .map_err(|error| error.to_string())?;
    Ok(row.and_then(|row| row.body.parse().ok()).unwrap_or(0))
}

fn cursor_id(sink: &str, partition: u16) -> String {
    format!("cursor/{sink}/{partition}")
}
