//! Journal records as sinks get them (CONTRACT, "Outgoing webhooks"). They are put together as text: at thousands a
//! second, taking the case apart and printing it again is most of what a record costs.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::core::ids::CaseId;
use crate::core::record::Who;
use crate::core::time::Timestamp;
use crate::plugins::sinks::Report;
use crate::store::JournalRow;

/// A [`crate::core::record::Record`] as far as a sink's differs from it.
#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    at: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    who: Who,
    #[serde(default, borrow)]
    detail: Cow<'a, str>,
    #[serde(default)]
    case_id: Option<CaseId>,
    #[serde(default, borrow)]
    case: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "record")]
struct Outgoing<'a> {
    id: &'a str,
    at: &'a str,
    event: &'a str,
    who: String,
    detail: &'a str,
    case_id: Option<CaseId>,
    case: Option<&'a RawValue>,
}

/// What is in the journal under this number. What cannot be read is told as such: a sink that never got it would
/// look as if it had all.
pub fn record(partition: u16, row: &JournalRow) -> Report {
    let id = format!("{partition}-{}", row.seq);
    let json = match serde_json::from_str::<Stored<'_>>(&row.body) {
        Ok(stored) => {
            let record = Outgoing {
                id: &id,
                at: &stored.at,
                event: &stored.event,
                who: stored.who.label(),
                detail: &stored.detail,
                case_id: stored.case_id,
                case: stored.case,
            };
            serde_json::to_string(&record).expect("plain data")
        }
        Err(error) => json!({
            "type": "record",
            "id": id,
            "at": row.at.to_rfc3339(),
            "event": "unreadable",
            "detail": error.to_string(),
            "case": null,
        })
        .to_string(),
    };
    Report::Record { id, json }
}

/// The sink was so far behind that retention passed it by.
pub fn gap(partition: u16, from: u64, through: u64, now: Timestamp) -> Report {
    let id = format!("{partition}-gap-{from}");
    let json = json!({
        "type": "gap",
        "id": id,
        "at": now.to_rfc3339(),
        "partition": partition,
        "from": from,
        "through": through,
    })
    .to_string();
    Report::Record { id, json }
}
