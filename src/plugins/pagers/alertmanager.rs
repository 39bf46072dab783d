//! Pages as alerts of a Prometheus Alertmanager, which then routes, groups and notifies.
//!
//! Alertmanager forgets an alert at its `endsAt`. Each is sent with an end twice the refresh interval
//! ahead and again in time: a bot that dies lets its pages lapse instead of ringing for ever, and a lost
//! refresh does no harm. An alert's identity is its labels, and `level` and `repeat` are among them (a
//! new repeat must notify again), so a new one ends its forerunner in the same request; otherwise each
//! repeat would leave a page standing beside it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Client;
use serde_json::{Value, json};

use crate::core::ids::{CaseId, OperatorName};
use crate::core::page::Page;
use crate::core::time::Timestamp;
use crate::plugins::Health;
use crate::plugins::outgoing::{self, Clock, Failure};

use super::{PAGE_LABEL, Pager, PagerError, text};

/// Well above what a busy Alertmanager needs, well below what a human waits for.
pub const DEFAULT_REFRESH: Duration = Duration::from_secs(60);
const ALERT_NAME: &str = "SecuritybotPage";

pub struct AlertmanagerPager {
    name: String,
    url: String,
    refresh: Duration,
    client: Client,
    clock: Clock,
    /// What stands in Alertmanager, by escalation: the newest page, what it replaced but may still
    /// stand, and since when. Lost at a restart: then forerunners lapse at their `endsAt` instead.
    standing: Mutex<BTreeMap<CaseId, Standing>>,
}

#[derive(Clone)]
struct Standing {
    page: Page,
    since: Timestamp,
    /// Labels whose end Alertmanager has not confirmed yet.
    replaced: Vec<(Value, Timestamp)>,
}

impl AlertmanagerPager {
    /// `url` is Alertmanager's own (`http://127.0.0.1:9093`), `clock` the system's: Alertmanager compares
    /// `endsAt` with its own.
    pub fn new(
        name: impl Into<String>,
        url: &str,
        refresh: Duration,
        client: Client,
        clock: Clock,
    ) -> Self {
        Self {
            name: name.into(),
            url: url.trim_end_matches('/').to_owned(),
            refresh,
            client,
            clock,
            standing: Mutex::default(),
        }
    }

    fn standing(&self) -> MutexGuard<'_, BTreeMap<CaseId, Standing>> {
        self.standing
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn post(&self, alerts: &[Value]) -> Result<(), PagerError> {
        let request = self.client.post(format!("{}/api/v2/alerts", self.url));
        match outgoing::send(request.json(alerts)).await {
            Ok(_) => Ok(()),
            Err(Failure::Status(400, said)) => Err(PagerError::Refused(said)),
            Err(other) => Err(other.into()),
        }
    }

    /// Ends the page and whatever else of its escalation stands.
    async fn end(&self, page: &Page) -> Result<(), PagerError> {
        let now = (self.clock)();
        let known = self.standing().get(&page.id).cloned();
        let mut alerts = vec![ended(&labels(page), now, now)];
        if let Some(known) = &known {
            alerts.push(ended(&labels(&known.page), known.since, now));
            alerts.extend(
                known
                    .replaced
                    .iter()
                    .map(|(labels, since)| ended(labels, *since, now)),
            );
        }
        self.post(&alerts).await?;
        self.standing().remove(&page.id);
        Ok(())
    }
}

#[async_trait]
impl Pager for AlertmanagerPager {
    fn name(&self) -> &str {
        &self.name
    }

    fn refresh_every(&self) -> Option<Duration> {
        Some(self.refresh)
    }

    /// A late refresh of a page that has been replaced refreshes its successor.
    async fn page(&self, page: &Page) -> Result<(), PagerError> {
        let now = (self.clock)();
        let next = match self.standing().get(&page.id).cloned() {
            Some(known) if rank(&known.page) > rank(page) => known,
            Some(known) if labels(&known.page) == labels(page) => Standing {
                page: page.clone(),
                ..known
            },
            Some(mut known) => {
                known.replaced.push((labels(&known.page), known.since));
                Standing {
                    page: page.clone(),
                    since: now,
                    replaced: known.replaced,
                }
            }
            None => Standing {
                page: page.clone(),
                since: now,
                replaced: Vec::new(),
            },
        };
        let mut alerts = vec![self.firing(&next, now)];
        alerts.extend(
            next.replaced
                .iter()
                .map(|(labels, since)| ended(labels, *since, now)),
        );
        // Before sending: if the answer is lost the alert may stand, and its end must not be forgotten.
        self.standing().insert(page.id, next);
        self.post(&alerts).await?;
        if let Some(standing) = self.standing().get_mut(&page.id) {
            standing.replaced.clear();
        }
        Ok(())
    }

    async fn acknowledge(&self, page: &Page, _: &OperatorName) -> Result<(), PagerError> {
        self.end(page).await
    }

    async fn resolve(&self, page: &Page, _: &OperatorName, _: &str) -> Result<(), PagerError> {
        self.end(page).await
    }

    async fn health(&self) -> Health {
        let request = self.client.get(format!("{}/-/ready", self.url));
        match outgoing::send(request).await {
            Ok(_) => Health::Good,
            Err(failure) => Health::Degraded(format!(
                "Alertmanager of pager {} is not ready: {}",
                self.name,
                failure.text()
            )),
        }
    }
}

impl AlertmanagerPager {
    fn firing(&self, standing: &Standing, now: Timestamp) -> Value {
        let page = &standing.page;
        json!({
            "labels": labels(page),
            "annotations": {
                "summary": text::line(&page.summary, 500),
                "description": text::description(page),
                "url": page.url,
            },
            "startsAt": standing.since.to_rfc3339(),
            "endsAt": now.after(self.refresh * 2).to_rfc3339(),
            "generatorURL": page.url,
        })
    }
}

fn rank(page: &Page) -> (u32, u32, u32) {
    (page.round, page.level, page.repeat)
}

fn ended(labels: &Value, since: Timestamp, now: Timestamp) -> Value {
    json!({
        "labels": labels,
        "startsAt": since.min(now).to_rfc3339(),
        "endsAt": now.to_rfc3339(),
    })
}

/// The identity in Alertmanager: only what does not change while a page is refreshed.
fn labels(page: &Page) -> Value {
    let mut labels = BTreeMap::from([
        ("alertname", ALERT_NAME.to_owned()),
        (PAGE_LABEL, page.key.clone()),
        ("kind", text::kind_name(page.kind).to_owned()),
        ("case", page.id.to_string()),
        ("reference", page.id.reference()),
        ("urgency", page.urgency.name().to_owned()),
        (
            "severity",
            text::prometheus_severity(page.urgency).to_owned(),
        ),
        ("level", page.level.to_string()),
        ("round", page.round.to_string()),
        ("repeat", page.repeat.to_string()),
    ]);
    if let Some(case) = page.case.as_deref() {
        labels.insert("rule", text::line(case.rule.as_str(), 200));
        let employee = case
            .employee
            .as_ref()
            .map(|id| text::line(id.as_str(), 200));
        labels.insert("employee", employee.unwrap_or_else(|| "unknown".to_owned()));
    }
    json!(labels)
}
