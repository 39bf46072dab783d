//! Alerts by hand: sent, or only explained.

use std::io::{Read, Write};
use std::path::Path;

use reqwest::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::api::Api;
use super::args::SendAlert;
use super::failure::Failure;
use super::line;
use super::lists::shown;
use crate::core::ids::CaseId;

/// It always carries an id, so that sending it again is not a second alert.
pub async fn send(api: &Api, alert: &SendAlert, out: &mut dyn Write) -> Result<(), Failure> {
    let id = alert
        .id
        .clone()
        .unwrap_or_else(|| Uuid::now_v7().to_string());
    let mut body = Map::new();
    let mut put = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            body.insert(key.to_owned(), json!(value));
        }
    };
    put("id", Some(&id));
    put("principal", Some(&alert.employee));
    put("rule", Some(&alert.rule));
    put("title", Some(&alert.title));
    put("description", alert.description.as_deref());
    put("reason", alert.reason.as_deref());
    put("severity", alert.severity.map(|severity| severity.name()));
    put("url", alert.url.as_deref());
    let context: Map<_, _> = alert
        .context
        .iter()
        .map(|(k, v)| (k.clone(), json!(v)))
        .collect();
    if !context.is_empty() {
        body.insert("context".to_owned(), Value::Object(context));
    }
    let (status, answer) = api
        .call(Method::POST, "/v1/alerts", Some(&Value::Object(body)))
        .await?;
    if let Some(error) = answer.pointer("/rejected/0/error").and_then(Value::as_str) {
        return Err(Failure::failed(format!(
            "alert {id} was refused: {}",
            shown(&json!(error))
        )));
    }
    api.succeeded(status, answer)?;
    line(out, &id)
}

/// What would happen, as people read it.
pub async fn explain(api: &Api, file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let name = file.display();
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|e| Failure::usage(format!("{name} cannot be read: {e}")))?;
    let alert: Value = serde_json::from_str(&text)
        .map_err(|e| Failure::usage(format!("{name}: expected one alert as JSON: {e}")))?;
    let answer = api.post("/v1/explain", &alert).await?;
    // Several names where the answer may hold the whole thing or only its name.
    let facts: [(&str, &[&str]); 10] = [
        ("outcome", &["/outcome"]),
        ("employee", &["/employee"]),
        ("rule", &["/rule"]),
        ("severity", &["/severity"]),
        ("mode", &["/mode"]),
        ("context", &["/context", "/context_key"]),
        ("snoozed", &["/snooze"]),
        (
            "answer within",
            &["/deadlines/answer_within_s", "/answer_within_s"],
        ),
        ("ceiling", &["/deadlines/ceiling_s", "/ceiling_s"]),
        ("ladder", &["/ladder/name", "/ladder"]),
    ];
    for (label, places) in facts {
        let found = places.iter().find_map(|place| answer.pointer(place));
        let text = match (label, found) {
            (_, None) => continue,
            ("employee", Some(Value::Null)) => "nobody goes by that name: unknown".to_owned(),
            ("snoozed", Some(snooze)) => snoozed(snooze),
            ("answer within" | "ceiling", Some(Value::Number(seconds))) => {
                span(seconds.as_u64().unwrap_or(0))
            }
            (_, Some(value)) => shown(value),
        };
        let text = match (label, answer.pointer("/deadlines/working_hours")) {
            ("answer within", Some(Value::Bool(true))) => format!("{text} of working time"),
            _ => text,
        };
        line(out, &format!("{label:<14} {text}"))?;
    }
    if let Some(question) = answer["question"].as_str() {
        line(out, "\nThe question:\n")?;
        for text in question.lines() {
            line(out, &format!("  {}", shown(&json!(text))))?;
        }
    }
    Ok(())
}

/// `no`, or until when and by which case.
fn snoozed(snooze: &Value) -> String {
    if snooze.is_null() {
        return "no".to_owned();
    }
    let case = snooze["case"].as_str().unwrap_or_default();
    let case = CaseId::parse(case).map_or_else(|| shown(&json!(case)), |id| id.reference());
    format!("until {} (case {case})", shown(&snooze["until"]))
}

/// Seconds as the configuration writes them (`24h`), mixed ones in parts (`1h 30m`). Hours are the
/// longest unit: a day is not always 24 of them.
fn span(seconds: u64) -> String {
    let parts = [
        (seconds / 3_600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let text: Vec<_> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text.join(" ")
    }
}
