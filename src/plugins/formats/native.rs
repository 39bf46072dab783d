//! The bot's own JSON (CONTRACT, "Ingest"). Every refusal names the field and what was expected: a
//! producer that guesses wrong must see why at once, not find out that its alerts went nowhere.

use std::sync::Arc;
use std::time::Duration;

use litemap::LiteMap;
use serde_json::{Map, Value};

use crate::core::alert::{Alert, Severity};
use crate::core::context::Words;
use crate::core::ids::{RuleName, SourceId};
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;
use crate::plugins::canonical::{canonical, sha256_hex};
use crate::plugins::sources::Incoming;

use super::{
    MAX_ALERTS, MAX_NAME_CHARS, bounded, check_context, check_rule, is_blank, is_name, shown,
};

/// How long an alert without id and time is a duplicate: "the same again" a day later is news.
pub const NAMELESS_DUPLICATE_FOR: Duration = Duration::from_secs(600);
/// Leaves room for `:{index}` within the longest id.
const MAX_IDEMPOTENCY_KEY_CHARS: usize = MAX_NAME_CHARS - 5;

const FIELDS: [&str; 10] = [
    "id",
    "principal",
    "rule",
    "title",
    "description",
    "reason",
    "severity",
    "occurred_at",
    "url",
    "context",
];

/// The request as a whole is nothing that could hold alerts (400).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedError {
    #[error("malformed JSON at line {line} column {column}: {what}")]
    Json {
        line: usize,
        column: usize,
        what: String,
    },
    #[error("expected one alert (an object) or an array of alerts, got {0}")]
    Shape(&'static str),
    #[error("expected at most {MAX_ALERTS} alerts in one request, got {0}")]
    TooMany(usize),
    #[error("expected an Idempotency-Key of 1 to {MAX_IDEMPOTENCY_KEY_CHARS} visible characters")]
    IdempotencyKey,
}

/// Reads one alert or an array of them; the outer error means that nothing could be read, an inner one
/// that this alert can never be accepted. An alert without id gets one (DESIGN section 2, "alert").
pub fn parse(
    body: &[u8],
    source: &SourceId,
    idempotency_key: Option<&str>,
) -> Result<Vec<Result<Incoming, String>>, MalformedError> {
    if let Some(key) = idempotency_key
        && (!is_name(key) || key.chars().count() > MAX_IDEMPOTENCY_KEY_CHARS)
    {
        return Err(MalformedError::IdempotencyKey);
    }
    // serde_json stops at 128 levels of nesting: no input can exhaust the stack.
    let value: Value = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let items = match value {
        Value::Array(items) if items.len() > MAX_ALERTS => {
            return Err(MalformedError::TooMany(items.len()));
        }
        Value::Array(items) => items,
        one @ Value::Object(_) => vec![one],
        other => return Err(MalformedError::Shape(kind(&other))),
    };
    Ok(items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let given = idempotency_key.map(|key| format!("{key}:{index}"));
            read(item, source, given)
        })
        .collect())
}

fn malformed(error: &serde_json::Error) -> MalformedError {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    MalformedError::Json {
        line: error.line(),
        column: error.column(),
        what: Untrusted::new(text.strip_suffix(&place).unwrap_or(&text)).line(200),
    }
}

fn read(item: &Value, source: &SourceId, given_id: Option<String>) -> Result<Incoming, String> {
    let Value::Object(fields) = item else {
        return Err(format!("expected an alert (an object), got {}", kind(item)));
    };
    if let Some(unknown) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(format!(
            "unknown field {}, expected one of {}",
            shown(unknown),
            FIELDS.join(", ")
        ));
    }
    let principal = required(fields, "principal")?;
    let rule = required(fields, "rule")?;
    check_rule(rule)?;
    let title = required(fields, "title")?;
    let severity = match text(fields, "severity")? {
        None => Severity::default(),
        Some(word) => Severity::parse(word).ok_or_else(|| {
            format!(
                "severity: expected low, medium, high or critical, got {}",
                shown(word)
            )
        })?,
    };
    let occurred_at = match text(fields, "occurred_at")? {
        None => None,
        Some(word) => Some(Timestamp::parse_rfc3339(word).ok_or_else(|| {
            format!(
                "occurred_at: expected an RFC 3339 time such as 2026-11-24T02:14:00Z, got {}",
                shown(word)
            )
        })?),
    };
    let context = context(fields)?;
    let canonical = canonical(item);
    let (id, mark_for): (Arc<str>, _) = match (text(fields, "id")?, given_id) {
        (Some(id), _) if !is_name(id) => {
            return Err(format!(
                "id: expected 1 to {MAX_NAME_CHARS} visible characters, got {}",
                shown(id)
            ));
        }
        (Some(id), _) => (id.into(), None),
        (None, Some(id)) => (id.into(), None),
        (None, None) => (
            sha256_hex(&canonical).into(),
            occurred_at.is_none().then_some(NAMELESS_DUPLICATE_FOR),
        ),
    };
    let alert = Alert {
        source: source.clone(),
        id,
        principal: bounded(principal),
        rule: RuleName::new(rule),
        title: bounded(title),
        description: bounded(text(fields, "description")?.unwrap_or_default()),
        reason: bounded(text(fields, "reason")?.unwrap_or_default()),
        severity,
        occurred_at,
        url: text(fields, "url")?
            .filter(|url| !is_blank(url))
            .map(bounded),
        context,
        accepted_at: Timestamp::default(),
        resolved: false,
    };
    Ok(Incoming {
        alert,
        canonical,
        noted: None,
        mark_for,
    })
}

fn context(fields: &Map<String, Value>) -> Result<Words, String> {
    let entries = match fields.get("context") {
        None | Some(Value::Null) => return Ok(Words::default()),
        Some(Value::Object(entries)) => entries,
        Some(other) => {
            return Err(format!(
                "context: expected an object of strings, got {}",
                kind(other)
            ));
        }
    };
    let mut context = LiteMap::new();
    for (key, value) in entries {
        let Value::String(value) = value else {
            return Err(format!(
                "context.{}: expected a string, got {}",
                shown(key),
                kind(value)
            ));
        };
        context.insert(key.clone(), bounded(value));
    }
    let context = Words::from(context);
    check_context(&context)?;
    Ok(context)
}

/// A field's text; `null` counts as not given.
fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("{name}: expected a string, got {}", kind(other))),
    }
}

fn required<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    match text(fields, name)? {
        None => Err(format!("missing field `{name}`, expected a string")),
        Some(text) if is_blank(text) => Err(format!(
            "{name}: expected visible characters, got {}",
            shown(text)
        )),
        Some(text) => Ok(text),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
