//! Lists as tables for people, as the API's JSON for scripts. What alerts and employees wrote is cleaned
//! first: a terminal obeys control characters.

use std::io::Write;

use clap::Subcommand;
use serde_json::Value;

use super::api::{Api, encoded};
use super::args::ListFilter;
use super::failure::Failure;
use super::line;
use crate::core::text::Untrusted;

/// The widest cell: a title is cut there.
const MAX_CELL: usize = 60;

#[derive(Clone, Debug, Subcommand)]
pub enum ListCommand {
    /// List them, newest first
    List(ListFilter),
}

/// One list of the API.
pub struct List {
    path: &'static str,
    /// The key of the answer that holds the rows.
    rows: &'static str,
    /// Title and key of each column.
    columns: &'static [(&'static str, &'static str)],
}

pub const CASES: List = List {
    path: "/v1/cases",
    rows: "cases",
    columns: &[
        ("OPENED", "opened_at"),
        ("CODE", "reference"),
        ("WHO", "principal"),
        ("RULE", "rule"),
        ("SEVERITY", "severity"),
        ("STATE", "state"),
        ("OUTCOME", "outcome"),
        ("ALERTS", "count"),
        ("TITLE", "title"),
    ],
};

pub const SNOOZES: List = List {
    path: "/v1/snoozes",
    rows: "snoozes",
    columns: &[
        ("ID", "id"),
        ("WHO", "employee"),
        ("RULE", "rule"),
        ("CONTEXT", "context"),
        ("SEVERITY", "severity"),
        ("UNTIL", "until"),
        ("SUPPRESSED", "suppressed"),
    ],
};

pub const ESCALATIONS: List = List {
    path: "/v1/escalations",
    rows: "escalations",
    columns: &[
        ("OPENED", "opened_at"),
        ("ID", "id"),
        ("KIND", "kind"),
        ("STATE", "state"),
        ("URGENCY", "urgency"),
        ("LEVEL", "level"),
        ("ROUND", "round"),
    ],
};

pub const QUARANTINE: List = List {
    path: "/v1/quarantine",
    rows: "quarantine",
    columns: &[
        ("AT", "at"),
        ("ID", "id"),
        ("SOURCE", "source"),
        ("ERROR", "error"),
    ],
};

pub async fn list(
    api: &Api,
    list: &List,
    filter: &ListFilter,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let answer = api.get(&format!("{}{}", list.path, query(filter))).await?;
    if filter.json {
        let text = serde_json::to_string_pretty(&answer)
            .map_err(|e| Failure::failed(format!("the answer cannot be printed: {e}")))?;
        return line(out, &text);
    }
    let rows = answer[list.rows]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if rows.is_empty() {
        return line(
            out,
            &format!(
                "no {}",
                if list.rows == "quarantine" {
                    "payloads in quarantine"
                } else {
                    list.rows
                }
            ),
        );
    }
    let mut lines = vec![
        list.columns
            .iter()
            .map(|(title, _)| (*title).to_owned())
            .collect(),
    ];
    lines.extend(rows.iter().map(|row| {
        list.columns
            .iter()
            .map(|(_, key)| shown(&row[key]))
            .collect::<Vec<_>>()
    }));
    table(&lines, out)?;
    if let Some(next) = answer["next"].as_str() {
        line(
            out,
            &format!("\nthere is more: --cursor {}", shown(&Value::from(next))),
        )?;
    }
    Ok(())
}

fn query(filter: &ListFilter) -> String {
    let limit = filter.limit.map(|limit| limit.to_string());
    let pairs = [
        ("limit", &limit),
        ("cursor", &filter.cursor),
        ("state", &filter.state),
        ("employee", &filter.employee),
        ("rule", &filter.rule),
        ("outcome", &filter.outcome),
    ];
    let pairs: Vec<_> = pairs
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", encoded(value.as_ref()?))))
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}

/// A JSON value as one clean cell: `host=web-3 user=root` for an object.
pub fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(pairs) if pairs.is_empty() => "-".to_owned(),
        Value::Object(pairs) => {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(k, v)| format!("{k}={}", shown(v)))
                .collect();
            pairs.join(" ")
        }
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    Untrusted::new(text).line(1_000)
}

/// Columns as wide as their widest cell, two spaces apart; the last one as it comes.
pub fn table(lines: &[Vec<String>], out: &mut dyn Write) -> Result<(), Failure> {
    let cut = |cell: &str| Untrusted::from(cell).line(MAX_CELL);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|cells| cells.get(column));
        cells
            .map(|cell| cut(cell).chars().count())
            .max()
            .unwrap_or(0)
    };
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    for cells in lines {
        let mut text = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let cell = cut(cell);
            text.push_str(&cell);
            let gap = widths[column] - cell.chars().count() + 2;
            text.extend(std::iter::repeat_n(' ', gap));
        }
        line(out, text.trim_end())?;
    }
    Ok(())
}
