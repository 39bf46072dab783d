//! A page as a signed POST (CONTRACT, "Outgoing webhooks"), for every system we have no pager for.
//!
//! The contract knows pages only: nothing is sent when one is acknowledged or resolved.

use async_trait::async_trait;
use reqwest::Client;

use crate::core::ids::OperatorName;
use crate::core::page::Page;
use crate::plugins::Health;
use crate::plugins::outgoing::{self, Clock, Failure, LastResult};
use crate::plugins::standard_webhooks::Secret;

use super::{Pager, PagerError};

pub struct WebhookPager {
    name: String,
    url: String,
    secret: Secret,
    client: Client,
    clock: Clock,
    last: LastResult,
}

impl WebhookPager {
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
            last: LastResult::default(),
        }
    }
}

impl From<Failure> for PagerError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::RateLimited(wait) => Self::RateLimited(wait),
            other => Self::Unavailable(other.text()),
        }
    }
}

#[async_trait]
impl Pager for WebhookPager {
    fn name(&self) -> &str {
        &self.name
    }

    /// Every refusal is retried: a page is not given up because a receiver is misconfigured right now.
    async fn page(&self, page: &Page) -> Result<(), PagerError> {
        let body = serde_json::to_vec(page)
            .map_err(|error| PagerError::Refused(format!("the page is no JSON: {error}")))?;
        let id = format!("{}.{}", page.key, page.repeat);
        let mut request = self
            .client
            .post(&self.url)
            .header("content-type", "application/json");
        for (header, value) in self.secret.headers(&id, (self.clock)(), &body) {
            request = request.header(header, value);
        }
        let sent = outgoing::send(request.body(body)).await;
        Ok(self.last.note(sent.map(drop))?)
    }

    async fn acknowledge(&self, _: &Page, _: &OperatorName) -> Result<(), PagerError> {
        Ok(())
    }

    async fn resolve(&self, _: &Page, _: &OperatorName, _: &str) -> Result<(), PagerError> {
        Ok(())
    }

    async fn health(&self) -> Health {
        self.last.health(&self.name)
    }
}
