//! `journal verify`: asked of the running service, or read from the store itself when there is none,
//! or when the service is what one does not trust.

use std::io::Write;

use serde_json::Value;

use super::api::Api;
use super::failure::Failure;
use super::line;
use super::lists::{shown, table};
use crate::store::{Head, JournalRow, Store};

/// Records read at a time.
const CHUNK: usize = 1_000;

/// One row of what is printed.
struct Verified {
    partition: String,
    records: String,
    head: String,
    broken: Option<String>,
}

pub async fn verify(api: &Api, out: &mut dyn Write) -> Result<(), Failure> {
    let answer = api.get("/v1/journal/verify").await?;
    let mut partitions: Vec<_> = answer["partitions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .map(|partition| Verified {
            partition: shown(&partition["partition"]),
            records: shown(&partition["records"]),
            head: shown(
                partition
                    .pointer("/head/hash")
                    .unwrap_or(&partition["head"]),
            ),
            broken: fault(&partition["broken"]),
        })
        .collect();
    for broken in answer["broken"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
    {
        partitions.push(Verified {
            partition: shown(broken.get("partition").unwrap_or(&Value::Null)),
            records: "-".to_owned(),
            head: "-".to_owned(),
            broken: fault(broken).or_else(|| Some("broken".to_owned())),
        });
    }
    report(&partitions, out)
}

fn fault(broken: &Value) -> Option<String> {
    match (broken, &broken["seq"], broken["what"].as_str()) {
        (Value::Null, ..) => None,
        (_, Value::Number(seq), Some(what)) => {
            Some(format!("record {seq}: {}", shown(&what.into())))
        }
        (other, ..) => Some(shown(other)),
    }
}

/// Reads every partition's journal. `chain` follows the hash chain from a head over rows and gives its
/// end: `crate::store::journal::verify`.
pub async fn verify_offline<E: std::fmt::Display>(
    store: &dyn Store,
    chain: impl Fn(&Head, &[JournalRow]) -> Result<Head, E>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut partitions = Vec::new();
    for partition in 0..store.partitions() {
        let unreadable = |e| Failure::failed(format!("partition {partition} cannot be read: {e}"));
        let (head, anchor) = store.journal_ends(partition).await.map_err(unreadable)?;
        let mut end = anchor.clone();
        let mut broken = None;
        loop {
            let rows = store
                .journal(partition, end.seq, CHUNK)
                .await
                .map_err(unreadable)?;
            if rows.is_empty() {
                break;
            }
            match chain(&end, &rows) {
                Ok(next) if next.seq > end.seq => end = next,
                Ok(_) => break,
                Err(e) => {
                    broken = Some(e.to_string());
                    break;
                }
            }
        }
        if broken.is_none() && end != head {
            broken = Some(format!(
                "the records end at {}, the stored head is {}",
                end.seq, head.seq
            ));
        }
        partitions.push(Verified {
            partition: partition.to_string(),
            records: end.seq.saturating_sub(anchor.seq).to_string(),
            head: head.hash,
            broken,
        });
    }
    report(&partitions, out)
}

fn report(partitions: &[Verified], out: &mut dyn Write) -> Result<(), Failure> {
    let mut lines = vec![
        ["PARTITION", "RECORDS", "STATE", "HEAD"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for verified in partitions {
        let state = if verified.broken.is_some() {
            "BROKEN"
        } else {
            "whole"
        };
        // Enough of the hash to compare by eye.
        let head = verified.head.chars().take(16).collect();
        lines.push(vec![
            verified.partition.clone(),
            verified.records.clone(),
            state.to_owned(),
            head,
        ]);
    }
    table(&lines, out)?;
    let broken: Vec<_> = partitions
        .iter()
        .filter_map(|v| Some(format!("partition {}: {}", v.partition, v.broken.as_ref()?)))
        .collect();
    if broken.is_empty() {
        return line(out, "the journal is whole");
    }
    Err(Failure::failed(format!(
        "the journal was changed: {}; keep a copy of the store and compare it with the rollups' journal_heads",
        broken.join("; ")
    )))
}
