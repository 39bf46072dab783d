//! Prometheus Alertmanager's alerts: webhook version 4 (pushed) and API version 2 (polled). Both give an
//! alert the same identity, so that one that comes by both roads is asked once.
//!
//! Nothing here is an error to the sender: Alertmanager repeats a refused notification for ever, so what
//! can never be accepted is quarantined instead. The webhook's shape:
//! <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::core::alert::{Alert, Severity};
use crate::core::context::Words;
use crate::core::ids::{RuleName, SourceId};
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;
use crate::plugins::canonical::canonical;
use crate::plugins::pagers::PAGE_LABEL;
use crate::plugins::sources::Incoming;

use super::{MAX_CONTEXT_KEYS, bounded, check_rule, is_blank, is_name, shown};

/// How one Alertmanager source is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The label that names the employee; `user` by default.
    pub principal_label: String,
    /// Part of the identity: two clusters may fire the same alert at the same instant.
    pub cluster: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            principal_label: "user".to_owned(),
            cluster: "default".to_owned(),
        }
    }
}

/// What a payload held. Every alert in it is in exactly one of the three.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    pub alerts: Vec<Incoming>,
    /// Payload (a webhook body again, so that it can be replayed) and why it cannot be taken.
    pub quarantined: Vec<(String, String)>,
    /// Our own pages coming back: dropped, or a page would raise a page.
    pub own_pages: usize,
}

/// Reads a webhook body.
pub fn parse_webhook(body: &[u8], source: &SourceId, options: &Options) -> Parsed {
    let whole = |error: String| Parsed {
        quarantined: vec![(String::from_utf8_lossy(body).into_owned(), error)],
        ..Parsed::default()
    };
    let payload: Value = match serde_json::from_slice(body) {
        Ok(payload) => payload,
        Err(error) => return whole(format!("malformed JSON: {error}")),
    };
    if payload["version"] != "4" {
        return whole(format!(
            "version: expected \"4\" (an Alertmanager webhook), got {}",
            shown(&payload["version"].to_string())
        ));
    }
    let Some(items) = payload["alerts"].as_array() else {
        return whole("alerts: expected an array".to_owned());
    };
    let mut parsed = parse_list(items, source, options);
    if let Some(cut) = payload["truncatedAlerts"].as_u64().filter(|cut| *cut > 0) {
        parsed.quarantined.push((
            String::from_utf8_lossy(body).into_owned(),
            format!(
                "Alertmanager left out {cut} alerts: set `max_alerts: 0` in its webhook_config"
            ),
        ));
    }
    parsed
}

/// Reads the elements of `GET /api/v2/alerts`, or of a webhook's `alerts`.
pub fn parse_list(items: &[Value], source: &SourceId, options: &Options) -> Parsed {
    let mut parsed = Parsed::default();
    for item in items {
        match convert(item, source, options) {
            Ok(Some(incoming)) => parsed.alerts.push(incoming),
            Ok(None) => parsed.own_pages += 1,
            Err(error) => {
                let replayable = json!({"version": "4", "alerts": [item]}).to_string();
                parsed.quarantined.push((replayable, error));
            }
        }
    }
    if parsed.own_pages > 0 {
        metrics::counter!("securitybot_source_own_pages_total", "source" => source.to_string())
            .increment(u64::try_from(parsed.own_pages).unwrap_or(u64::MAX));
    }
    parsed
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    starts_at: String,
    fingerprint: String,
    #[serde(default, rename = "generatorURL")]
    generator_url: Option<String>,
    /// `firing` or `resolved` in the webhook, an object in the API (which lists firing alerts only).
    #[serde(default)]
    status: Value,
}

/// `None` is one of our own pages.
fn convert(item: &Value, source: &SourceId, options: &Options) -> Result<Option<Incoming>, String> {
    if item["labels"].get(PAGE_LABEL).is_some() {
        return Ok(None);
    }
    let mut wire = Wire::deserialize(item)
        .map_err(|error| format!("no alert: {}", Untrusted::new(error.to_string()).line(200)))?;
    let started = Timestamp::parse_rfc3339(&wire.starts_at).ok_or_else(|| {
        format!(
            "startsAt: expected an RFC 3339 time, got {}",
            shown(&wire.starts_at)
        )
    })?;
    if !is_name(&wire.fingerprint) {
        return Err(format!(
            "fingerprint: expected a hash, got {}",
            shown(&wire.fingerprint)
        ));
    }
    let resolved = wire.status == "resolved";
    // What an identity stands for never changes. Annotations do while an alert fires (they often hold
    // the measured value), as do `endsAt` and `generatorURL`: that is no alteration by the producer.
    let canonical = canonical(&json!({
        "fingerprint": &wire.fingerprint,
        "labels": &wire.labels,
        "resolved": resolved,
        "startsAt": started.to_rfc3339(),
    }));
    let mut noted = Vec::new();
    let label = &options.principal_label;
    let principal = wire
        .labels
        .remove(label)
        .filter(|principal| !is_blank(principal))
        .ok_or_else(|| {
            format!("label `{label}`: missing, expected the employee (see `principal_label`)")
        })?;
    let rule = wire
        .labels
        .remove("alertname")
        .ok_or_else(|| "label `alertname`: missing, expected the rule".to_owned())?;
    check_rule(&rule)?;
    let severity = match wire.labels.remove("severity") {
        None => Severity::default(),
        Some(word) => severity_of(&word).unwrap_or_else(|| {
            noted.push(format!(
                "severity {} is not known, taken as medium",
                shown(&word)
            ));
            Severity::default()
        }),
    };
    let title = wire
        .annotations
        .remove("summary")
        .filter(|summary| !is_blank(summary))
        .unwrap_or_else(|| rule.clone());
    let description = wire.annotations.remove("description").unwrap_or_default();
    let reason: Vec<_> = wire
        .annotations
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let labels = wire.labels.len();
    if labels > MAX_CONTEXT_KEYS {
        noted.push(format!(
            "{labels} labels, the first {MAX_CONTEXT_KEYS} are kept"
        ));
    }
    let context: Words = wire
        .labels
        .iter()
        .filter(|(name, _)| is_name(name))
        .take(MAX_CONTEXT_KEYS)
        .map(|(name, value)| (name.clone(), bounded(value)))
        .collect();
    Ok(Some(Incoming {
        alert: Alert {
            source: source.clone(),
            id: identity(&options.cluster, &wire.fingerprint, started).into(),
            principal: bounded(&principal),
            rule: RuleName::new(rule),
            title: bounded(&title),
            description: bounded(&description),
            reason: bounded(&reason.join("\n")),
            severity,
            occurred_at: Some(started),
            url: wire
                .generator_url
                .filter(|url| !is_blank(url))
                .map(|url| bounded(&url)),
            context,
            accepted_at: Timestamp::default(),
            resolved,
        },
        canonical,
        noted: (!noted.is_empty()).then(|| noted.join("; ")),
        mark_for: None,
    }))
}

/// In milliseconds and UTC: the webhook writes nanoseconds and a zone, the API milliseconds.
fn identity(cluster: &str, fingerprint: &str, started: Timestamp) -> String {
    format!("am:{cluster}:{fingerprint}:{}", started.to_rfc3339())
}

fn severity_of(word: &str) -> Option<Severity> {
    match word.trim().to_ascii_lowercase().as_str() {
        "warning" | "warn" => Some(Severity::Medium),
        "info" | "none" => Some(Severity::Low),
        "page" | "error" => Some(Severity::High),
        word => Severity::parse(word),
    }
}
