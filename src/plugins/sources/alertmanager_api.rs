//! Alertmanager asked instead of asking us: for networks in which it cannot reach the bot. The alerts
//! have the identities of the webhook, so both roads at once ask nobody twice.
//!
//! It sees what fires at the moment of a poll. An alert that comes and goes between two polls, and the
//! end of one, are seen by the webhook only. Silenced and inhibited alerts are left out, as they are
//! from the webhook.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Client;
use serde_json::Value;

use crate::core::ids::SourceId;
use crate::plugins::formats::alertmanager::{Options, parse_list};
use crate::plugins::outgoing;

use super::{Polled, PolledSource, SourceError};

pub const DEFAULT_EVERY: Duration = Duration::from_secs(15);
/// As many alerts as one commit takes; the rest comes with the next poll, at once.
const MAX_BATCH: usize = 1_000;
/// Tens of thousands of alerts. More would be read into memory for no one to answer.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

const FIRING_ONLY: &str = "active=true&silenced=false&inhibited=false";

pub struct AlertmanagerApi {
    id: SourceId,
    url: String,
    every: Duration,
    options: Options,
    client: Client,
    /// What was quarantined and still fires: said once, not with every poll (and once more after a
    /// restart).
    reported: BTreeSet<String>,
}

impl AlertmanagerApi {
    /// `url` is Alertmanager's own (`http://127.0.0.1:9093`).
    pub fn new(id: SourceId, url: &str, every: Duration, options: Options, client: Client) -> Self {
        Self {
            id,
            url: url.trim_end_matches('/').to_owned(),
            every,
            options,
            client,
            reported: BTreeSet::new(),
        }
    }
}

#[async_trait]
impl PolledSource for AlertmanagerApi {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn every(&self) -> Duration {
        self.every
    }

    /// The list is walked in the order of fingerprints; the cursor is the last one handed over, empty
    /// when the list is through. Each walk hands over all that fires: what is known already is a
    /// duplicate whose dedup mark must be renewed for as long as the alert stands.
    async fn poll(&mut self, cursor: Option<&str>) -> Result<Polled, SourceError> {
        let request = self
            .client
            .get(format!("{}/api/v2/alerts?{FIRING_ONLY}", self.url));
        let unavailable = SourceError::Unavailable;
        let mut answer = outgoing::send(request)
            .await
            .map_err(|failure| unavailable(failure.text()))?;
        let mut body = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| unavailable(outgoing::describe(error)))?
        {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER_BYTES {
                return Err(unavailable(format!(
                    "Alertmanager's list is longer than {MAX_ANSWER_BYTES} bytes"
                )));
            }
        }
        let list: Vec<Value> = serde_json::from_slice(&body).map_err(|error| {
            unavailable(format!("expected Alertmanager's list of alerts: {error}"))
        })?;
        let standing: BTreeSet<String> = list.iter().map(mark).collect();
        self.reported.retain(|known| standing.contains(known));
        let after = cursor.unwrap_or_default();
        let mut rest: Vec<(&str, &Value)> = list
            .iter()
            .map(|item| (item["fingerprint"].as_str().unwrap_or_default(), item))
            .filter(|(fingerprint, _)| after.is_empty() || *fingerprint > after)
            .collect();
        rest.sort_by_key(|(fingerprint, _)| *fingerprint);
        let is_cut = rest.len() > MAX_BATCH;
        rest.truncate(MAX_BATCH);
        let last = rest.last().map_or("", |(fingerprint, _)| *fingerprint);
        let cursor = if is_cut { last } else { "" };
        let mut polled = Polled {
            cursor: cursor.to_owned(),
            more: !cursor.is_empty(),
            ..Polled::default()
        };
        for (_, item) in rest {
            let parsed = parse_list(std::slice::from_ref(item), &self.id, &self.options);
            polled.alerts.extend(parsed.alerts);
            if !parsed.quarantined.is_empty() && self.reported.insert(mark(item)) {
                polled.quarantined.extend(parsed.quarantined);
            }
        }
        Ok(polled)
    }
}

/// What stays the same of an alert while it stands.
fn mark(item: &Value) -> String {
    format!("{}:{}", item["fingerprint"], item["startsAt"])
}
