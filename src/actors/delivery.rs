//! From the journal to one sink: in order per partition (and so per employee), at least once, each record
//! under a stable id. What is delivered is remembered as a cursor beside the journal.

use serde_json::{Value, json};

use crate::core::machine::{Collection, Row, RowChange};
use crate::core::record::Record;
use crate::core::time::Timestamp;
use crate::plugins::sinks::Sink;
use crate::store::{JournalRow, Store};

/// Records handed to a sink at once.
const BATCH: usize = 200;

/// Delivers what a partition's journal holds beyond the sink's cursor; `true`: there may be more.
pub async fn deliver(
    store: &dyn Store,
    sink: &dyn Sink,
    partition: u16,
    now: Timestamp,
) -> Result<bool, String> {
    let after = cursor(store, sink.name(), partition).await?;
    let rows = store
        .journal(partition, after, BATCH)
        .await
        .map_err(|error| error.to_string())?;
    let Some(last) = rows.last().map(|row| row.seq) else {
        return Ok(false);
    };
    let mut records = Vec::with_capacity(rows.len() + 1);
    if let Some(first) = rows.first().map(|row| row.seq)
        && first > after + 1
    {
        records.push(gap(partition, after + 1, first - 1, now));
    }
    records.extend(rows.iter().map(|row| record(partition, row)));
    sink.deliver(&records)
        .await
        .map_err(|error| error.to_string())?;
    let row = Row {
        collection: Collection::Documents,
        id: cursor_id(sink.name(), partition),
        at: now,
        fields: Vec::new(),
        body: last.to_string(),
        expires: None,
    };
    store
        .put_rows(partition, &[RowChange::Put(row)], false)
        .await
        .map_err(|error| error.to_string())?;
    Ok(rows.len() == BATCH)
}

/// The number of the last record the sink has.
pub async fn cursor(store: &dyn Store, sink: &str, partition: u16) -> Result<u64, String> {
    let row = store
        .row(Collection::Documents, &cursor_id(sink, partition))
        .await
        .map_err(|error| error.to_string())?;
    Ok(row.and_then(|row| row.body.parse().ok()).unwrap_or(0))
}

fn cursor_id(sink: &str, partition: u16) -> String {
    format!("cursor/{sink}/{partition}")
}

/// A journal record as sinks get it (CONTRACT, "Outgoing webhooks").
fn record(partition: u16, row: &JournalRow) -> Value {
    let id = format!("{partition}-{}", row.seq);
    match serde_json::from_str::<Record>(&row.body) {
        Ok(record) => json!({
            "type": "record",
            "id": id,
            "at": record.at.to_rfc3339(),
            "event": record.event,
            "who": record.who.label(),
            "detail": record.detail,
            "case_id": record.case_id,
            "case": record.case,
        }),
        Err(error) => json!({
            "type": "record",
            "id": id,
            "at": row.at.to_rfc3339(),
            "event": "unreadable",
            "detail": error.to_string(),
            "case": null,
        }),
    }
}

/// The sink was so far behind that retention passed it by.
fn gap(partition: u16, from: u64, through: u64, now: Timestamp) -> Value {
    json!({
        "type": "gap",
        "id": format!("{partition}-gap-{from}"),
        "at": now.to_rfc3339(),
        "partition": partition,
        "from": from,
        "through": through,
    })
}
