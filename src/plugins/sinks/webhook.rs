//! Records as signed POSTs, one by one and in order (CONTRACT, "Outgoing webhooks"): a receiver never
//! sees a case's end before its beginning. Waiting and retrying are the caller's.

use async_trait::async_trait;
use reqwest::Client;
use serde_json::Value;

use crate::plugins::canonical::{canonical, sha256_hex};
use crate::plugins::outgoing::{self, Clock};
use crate::plugins::standard_webhooks::Secret;

use super::{Sink, SinkError};

pub struct WebhookSink {
    name: String,
    url: String,
    secret: Secret,
    client: Client,
    clock: Clock,
}

impl WebhookSink {
    /// `clock` is the system's: the receiver compares the timestamp with its own.
    pub fn new(
        name: impl Into<String>,
        url: impl Into<String>,
        secret: Secret,
        client: Client,
        clock: Clock,
    ) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            secret,
            client,
            clock,
        }
    }
}

#[async_trait]
impl Sink for WebhookSink {
    fn name(&self) -> &str {
        &self.name
    }

    /// Stops at the first record that is not taken. Those before it come again with it, under their
    /// ids: a receiver tells them apart by `webhook-id`.
    async fn deliver(&self, records: &[Value]) -> Result<(), SinkError> {
        for record in records {
            let body = record.to_string().into_bytes();
            let id = match record["id"].as_str() {
                Some(id) => id.to_owned(),
                None => sha256_hex(&canonical(record)),
            };
            let mut request = self
                .client
                .post(&self.url)
                .header("content-type", "application/json");
            for (header, value) in self.secret.headers(&id, (self.clock)(), &body) {
                request = request.header(header, value);
            }
            outgoing::send(request.body(body))
                .await
                .map_err(|failure| SinkError::Unavailable(failure.text()))?;
        }
        Ok(())
    }
}
