//! What really arrived outside, and that it is honest: signed, in order, and nothing twice but the same
//! thing again under the same id.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use securitybot::core::time::Timestamp;
use serde_json::Value;
use sha2::Sha256;

use crate::common::fake_http::Recorded;
use crate::stage::{PAGER_SECRET, SINK_SECRET};

#[derive(Default)]
pub struct Evidence {
    /// Each page once, by its first arrival.
    pub pages: Vec<(Timestamp, Value)>,
    pub records: Vec<Value>,
    pub rollups: Vec<Value>,
    /// How often the most repeated `webhook-id` came.
    pub most_copies: usize,
}

impl Evidence {
    /// Checks every signature; a repeated id must repeat the content.
    pub fn read(requests: &[Recorded]) -> Self {
        let mut evidence = Self::default();
        let mut seen: BTreeMap<(String, String), (usize, Value)> = BTreeMap::new();
        for request in requests {
            check_signature(request);
            let body = request.json();
            let id = request.header("webhook-id").to_owned();
            let key = (request.path.clone(), id.clone());
            if let Some((copies, first)) = seen.get_mut(&key) {
                *copies += 1;
                evidence.most_copies = evidence.most_copies.max(*copies);
                // The case in a page is as it stands when sent; what is said must be the same.
                for field in ["type", "key", "repeat", "summary", "event", "at", "rules"] {
                    assert_eq!(first[field], body[field], "two things under one id {id}");
                }
                continue;
            }
            seen.insert(key, (1, body.clone()));
            match body["type"].as_str() {
                Some("page") => {
                    let named = format!(
                        "{}.{}",
                        body["key"].as_str().expect("a key"),
                        body["repeat"]
                    );
                    assert_eq!(id, named);
                    evidence.pages.push((request.at, body));
                }
                Some("record") => {
                    assert_eq!(body["id"], *id);
                    evidence.records.push(body);
                }
                Some("rollup") => evidence.rollups.push(body),
                other => panic!("nobody knows the type {other:?}: {body}"),
            }
        }
        evidence
    }

    /// The same from a JSON Lines sink.
    pub fn read_lines(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let mut evidence = Self::default();
        let mut seen = BTreeMap::new();
        for line in text.lines() {
            // A kill may have cut a line off; it comes again.
            let Ok(body) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let id = body["id"].as_str().expect("an id").to_owned();
            if let Some(first) = seen.insert(id.clone(), body.clone()) {
                assert_eq!(first, body, "two things under one id {id}");
                continue;
            }
            if body["type"] == "record" {
                evidence.records.push(body);
            } else {
                evidence.rollups.push(body);
            }
        }
        evidence
    }

    /// Every partition's records from the first on, none missing, in their order.
    pub fn assert_complete_and_in_order(&self) {
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for record in &self.records {
            let id = record["id"].as_str().expect("an id");
            let (partition, number) = id.split_once('-').expect("partition and number");
            let number: u64 = number.parse().expect("a number");
            let before = last.insert(partition, number).unwrap_or(0);
            assert_eq!(number, before + 1, "partition {partition}");
        }
    }

    /// Outcome of every closed case; each closes once.
    pub fn outcomes(&self) -> BTreeMap<String, String> {
        let mut outcomes = BTreeMap::new();
        for record in &self.records {
            if record["event"] != "case_closed" && record["event"] != "alert_snoozed" {
                continue;
            }
            let case = &record["case"];
            let (Some(id), Some(outcome)) = (case["id"].as_str(), case["outcome"].as_str()) else {
                continue;
            };
            let before = outcomes.insert(id.to_owned(), outcome.to_owned());
            assert!(
                before.is_none_or(|before| before == outcome),
                "an outcome changed: {record}"
            );
        }
        outcomes
    }

    /// Over all hours, for one rule: a test may begin in one hour and end in the next.
    pub fn rolled_up(&self, rule: &str, figure: &str) -> u64 {
        let hourly = self
            .rollups
            .iter()
            .filter(|rollup| rollup["period"] == "hour");
        hourly
            .flat_map(|rollup| rollup["rules"].as_array().cloned().unwrap_or_default())
            .filter(|entry| entry["rule"] == rule)
            .filter_map(|entry| entry[figure].as_u64())
            .sum()
    }

    pub fn events(&self) -> BTreeSet<String> {
        let events = self.records.iter().filter_map(|r| r["event"].as_str());
        events.map(str::to_owned).collect()
    }
}

/// Standard Webhooks, computed here and not with the product's own code.
fn check_signature(request: &Recorded) {
    let key = if request.path == "/answers" {
        SINK_SECRET.as_bytes().to_vec()
    } else {
        let encoded = PAGER_SECRET.strip_prefix("whsec_").expect("a prefix");
        STANDARD.decode(encoded).expect("base64")
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
    let (id, sent) = (
        request.header("webhook-id"),
        request.header("webhook-timestamp"),
    );
    mac.update(format!("{id}.{sent}.").as_bytes());
    mac.update(&request.body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(request.header("webhook-signature"), expected, "{id}");
}

pub fn millis(at: Timestamp) -> i64 {
    at.as_millis()
}

/// A time in a case's JSON.
pub fn time_of(case: &Value, field: &str) -> i64 {
    let text = case[field].as_str();
    let text = text.unwrap_or_else(|| panic!("{field} is not set: {case}"));
    millis(Timestamp::parse_rfc3339(text).expect("RFC 3339"))
}
