//! Records as signed POSTs, one by one and in order (CONTRACT, "Outgoing webhooks"): a receiver never
//! sees a case's end before its beginning. Waiting and retrying are the caller's.

use async_trait::async_trait;
use reqwest::Client;

use crate::plugins::outgoing::{self, Clock};
use crate::plugins::standard_webhooks::Secret;

use super::{Report, Sink, SinkError};

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

    /// What was taken before a refusal comes again with the rest: this many at the most.
    fn at_once(&self) -> usize {
        200
    }

    /// Stops at the first record that is not taken. Those before it come again with it, under their
    /// ids: a receiver tells them apart by `webhook-id`.
    async fn deliver(&self, reports: &[Report]) -> Result<(), SinkError> {
        for report in reports {
            let body = report.json().into_owned().into_bytes();
            let mut request = self
                .client
                .post(&self.url)
                .header("content-type", "application/json");
            for (header, value) in self.secret.headers(report.id(), (self.clock)(), &body) {
                request = request.header(header, value);
            }
            outgoing::send(request.body(body))
                .await
                .map_err(|failure| SinkError::Unavailable(failure.text()))?;
        }
        Ok(())
    }
}
