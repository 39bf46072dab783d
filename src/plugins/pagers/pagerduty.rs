//! PagerDuty, Events API v2 (<https://developer.pagerduty.com/docs/events-api-v2-overview>). The page's
//! key is the `dedup_key`: a retry or a repeat adds to the same incident instead of opening another.

use async_trait::async_trait;
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::core::alert::Severity;
use crate::core::ids::OperatorName;
use crate::core::page::Page;
use crate::plugins::Health;
use crate::plugins::outgoing::{self, Failure, LastResult};

use super::{Pager, PagerError, text};

pub const DEFAULT_API_URL: &str = "https://events.pagerduty.com";
const MAX_SUMMARY_CHARS: usize = 1_024;

pub struct PagerDutyPager {
    name: String,
    endpoint: String,
    routing_key: SecretString,
    client: Client,
    last: LastResult,
}

impl PagerDutyPager {
    pub fn new(
        name: impl Into<String>,
        api_url: &str,
        routing_key: SecretString,
        client: Client,
    ) -> Self {
        Self {
            name: name.into(),
            endpoint: format!("{}/v2/enqueue", api_url.trim_end_matches('/')),
            routing_key,
            client,
            last: LastResult::default(),
        }
    }

    async fn enqueue(&self, action: &str, page: &Page, more: Value) -> Result<(), PagerError> {
        let mut event = json!({
            "routing_key": self.routing_key.expose_secret(),
            "event_action": action,
            "dedup_key": page.key,
        });
        if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        let sent = outgoing::send(self.client.post(&self.endpoint).json(&event)).await;
        match self.last.note(sent.map(drop)) {
            Ok(()) => Ok(()),
            // PagerDuty: a 400 is a wrong event or key and must not be repeated.
            Err(Failure::Status(400, said)) => Err(PagerError::Refused(said)),
            Err(other) => Err(other.into()),
        }
    }
}

fn severity(urgency: Severity) -> &'static str {
    match urgency {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "info",
    }
}

#[async_trait]
impl Pager for PagerDutyPager {
    fn name(&self) -> &str {
        &self.name
    }

    async fn page(&self, page: &Page) -> Result<(), PagerError> {
        let case = page.case.as_deref();
        let more = json!({
            "payload": {
                "summary": text::line(&page.summary, MAX_SUMMARY_CHARS),
                "source": "securitybot",
                "severity": severity(page.urgency),
                "component": case.map(|case| text::line(case.rule.as_str(), 200)),
                "group": case.map(|case| match &case.employee {
                    Some(id) => id.to_string(),
                    None => "unknown employee".to_owned(),
                }),
                "class": text::kind_name(page.kind),
                "custom_details": {
                    "description": text::description(page),
                    "reference": case.map(|case| case.reference.clone()),
                    "level": page.level,
                    "round": page.round,
                    "repeat": page.repeat,
                },
            },
            "links": [{"href": page.url, "text": "Open in securitybot"}],
            "client": "securitybot",
            "client_url": page.url,
        });
        self.enqueue("trigger", page, more).await
    }

    async fn acknowledge(&self, page: &Page, _: &OperatorName) -> Result<(), PagerError> {
        self.enqueue("acknowledge", page, json!({})).await
    }

    async fn resolve(&self, page: &Page, _: &OperatorName, _: &str) -> Result<(), PagerError> {
        self.enqueue("resolve", page, json!({})).await
    }

    async fn health(&self) -> Health {
        self.last.health(&self.name)
    }
}
