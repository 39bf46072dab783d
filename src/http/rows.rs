//! Cases, escalations, snoozes and quarantine as the store lists them, read for API and pages alike.
//! Their bodies are written by the machines; only what is shown is read here, the rest is tolerated.

use std::collections::HashMap;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::actors::reporter::rollups::ANY;
use crate::core::alert::Severity;
use crate::core::case::{CaseView, EscalationState, EscalationView};
use crate::core::context::Words;
use crate::core::ids::{AggregateKey, CaseId, OperatorName};
use crate::core::machine::{Collection, Row};
use crate::core::record::Record;
use crate::core::time::Timestamp;
use crate::store::RowQuery;

use super::Http;
use super::error::ApiError;
use super::query::{MAX_LIMIT, Params, next_cursor};

/// The `escalations` row as far as HTTP needs it.
#[derive(Clone, Debug, Deserialize)]
pub struct EscalationRow {
    pub id: CaseId,
    pub kind: String,
    #[serde(default)]
    pub case: Value,
    pub state: EscalationState,
    pub level: u32,
    pub round: u32,
    pub urgency: Severity,
    #[serde(deserialize_with = "instant")]
    pub opened_at: Timestamp,
    pub partition: u16,
    #[serde(default)]
    pub acknowledged_by: Option<OperatorName>,
    #[serde(default)]
    pub resolved_by: Option<OperatorName>,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub summary: String,
    #[serde(default)]
    pub notes: Vec<String>,
    #[serde(default)]
    pub related: Vec<CaseId>,
}

impl EscalationRow {
    pub fn view(&self) -> EscalationView {
        EscalationView {
            state: self.state,
            level: self.level,
            acknowledged_by: self.acknowledged_by.clone(),
            resolved_by: self.resolved_by.clone(),
            reason: self.reason.clone(),
        }
    }

    /// The id of its case; what is no case has none.
    pub fn case_id(&self) -> Option<CaseId> {
        let id = match &self.case {
            Value::Object(case) => case.get("id")?.as_str()?,
            other => other.as_str()?,
        };
        CaseId::parse(id)
    }

    pub fn key(&self) -> AggregateKey {
        AggregateKey::escalation(self.id, self.partition)
    }

    /// CONTRACT, `GET /v1/escalations`.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id, "kind": self.kind, "case": self.case_id(), "state": self.state,
            "level": self.level, "round": self.round, "urgency": self.urgency,
            "opened_at": self.opened_at.to_rfc3339(), "summary": self.summary,
            "acknowledged_by": self.acknowledged_by, "resolved_by": self.resolved_by,
            "reason": self.reason, "notes": self.notes, "related": self.related,
        })
    }
}

/// The `snoozes` row.
#[derive(Clone, Debug, Deserialize)]
pub struct SnoozeRow {
    pub id: String,
    pub employee: String,
    pub rule: String,
    #[serde(default)]
    pub context: Words,
    pub severity: Severity,
    pub case: CaseId,
    #[serde(deserialize_with = "instant")]
    pub from: Timestamp,
    #[serde(deserialize_with = "instant")]
    pub until: Timestamp,
    #[serde(default)]
    pub suppressed: u64,
    #[serde(default, deserialize_with = "maybe_instant")]
    pub lengthened_at: Option<Timestamp>,
}

impl SnoozeRow {
    pub fn json(&self) -> Value {
        json!({
            "id": self.id, "employee": self.employee, "rule": self.rule, "context": self.context,
            "severity": self.severity, "case": self.case, "from": self.from.to_rfc3339(),
            "until": self.until.to_rfc3339(), "suppressed": self.suppressed,
            "lengthened_at": self.lengthened_at.map(Timestamp::to_rfc3339),
        })
    }
}

/// A kept rollup, in `documents`.
#[derive(Clone, Debug, Deserialize)]
pub struct RollupRow {
    /// CONTRACT, "Outgoing webhooks".
    pub rollup: Value,
}

pub const PERIODS: [&str; 2] = ["hour", "day"];

/// Rollups, newest first; of one period when `params` says so.
pub fn rollups(params: &Params) -> Result<RowQuery, ApiError> {
    let field = match params.word("period", &PERIODS)? {
        Some(period) => ("period", period.to_owned()),
        None => ("rollup", ANY.to_owned()),
    };
    params.rows(Collection::Documents, vec![field])
}

fn maybe_instant<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(d)?;
    Ok(text.as_deref().and_then(Timestamp::parse_rfc3339))
}

/// Machines may store instants as milliseconds or as RFC 3339.
fn instant<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
    match Value::deserialize(d)? {
        Value::Number(millis) => millis.as_i64().map(Timestamp::from_millis),
        Value::String(text) => Timestamp::parse_rfc3339(&text),
        _ => None,
    }
    .ok_or_else(|| D::Error::custom("expected an instant"))
}

pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

pub fn read<T: DeserializeOwned>(row: &Row) -> Result<T, ApiError> {
    serde_json::from_str(&row.body).map_err(|error| {
        let what = format!("{} {}", row.collection.name(), row.id);
        tracing::error!(%error, what, "a row cannot be read");
        ApiError::broken(format!("{what} cannot be read: {error}"))
    })
}

pub async fn list<T: DeserializeOwned>(http: &Http, query: &RowQuery) -> Result<Page<T>, ApiError> {
    let page = http.store.rows(query).await?;
    Ok(Page {
        items: page.rows.iter().map(read).collect::<Result<_, _>>()?,
        next: next_cursor(query, &page),
    })
}

/// A list to its end, or to `cap` items; `true`: there is more.
pub async fn everything<T: DeserializeOwned>(
    http: &Http,
    collection: Collection,
    fields: Vec<(&'static str, String)>,
    since: Option<Timestamp>,
    cap: usize,
) -> Result<(Vec<T>, bool), ApiError> {
    let mut query = RowQuery {
        collection,
        fields,
        since,
        until: None,
        limit: MAX_LIMIT,
        cursor: None,
    };
    let mut items = Vec::new();
    loop {
        let page = http.store.rows(&query).await?;
        for row in &page.rows {
            items.push(read(row)?);
        }
        query.cursor = page.next;
        if query.cursor.is_none() || items.len() >= cap {
            return Ok((items, query.cursor.is_some()));
        }
    }
}

/// Cases with their escalations joined.
pub async fn cases(http: &Http, query: &RowQuery) -> Result<Page<CaseView>, ApiError> {
    let mut page: Page<CaseView> = list(http, query).await?;
    let ids = page.items.iter().map(|case| case.id);
    let escalations = named::<EscalationRow>(http, Collection::Escalations, ids).await?;
    for case in &mut page.items {
        case.escalation = escalations.get(&case.id).map(EscalationRow::view);
    }
    Ok(page)
}

/// Of these cases what the collection has.
pub async fn named<T: DeserializeOwned>(
    http: &Http,
    collection: Collection,
    cases: impl Iterator<Item = CaseId>,
) -> Result<HashMap<CaseId, T>, ApiError> {
    let ids: Vec<String> = cases.map(|case| case.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let found = http.store.named(collection, &ids).await?;
    let cases = found
        .iter()
        .filter_map(|row| Some((CaseId::parse(&row.id)?, row)));
    cases.map(|(case, row)| Ok((case, read(row)?))).collect()
}

pub async fn case(http: &Http, id: CaseId) -> Result<Option<CaseView>, ApiError> {
    let Some(row) = http.store.row(Collection::Cases, &id.to_string()).await? else {
        return Ok(None);
    };
    let mut case: CaseView = read(&row)?;
    case.escalation = escalation(http, id).await?.map(|row| row.view());
    Ok(Some(case))
}

pub async fn escalation(http: &Http, id: CaseId) -> Result<Option<EscalationRow>, ApiError> {
    let row = http
        .store
        .row(Collection::Escalations, &id.to_string())
        .await?;
    row.as_ref().map(read).transpose()
}

/// The records of a case, oldest first.
pub async fn timeline(http: &Http, id: CaseId) -> Result<Vec<Record>, ApiError> {
    let rows = http.store.timeline(id).await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            serde_json::from_str(&row.body)
                .inspect_err(|error| {
                    tracing::error!(%error, seq = row.seq, "a journal record cannot be read");
                })
                .ok()
        })
        .collect())
}

/// An id in a path; what is no id names nothing, so it is a 404.
pub fn case_id(text: &str, what: &str) -> Result<CaseId, ApiError> {
    CaseId::parse(text).ok_or_else(|| ApiError::not_found(what))
}
