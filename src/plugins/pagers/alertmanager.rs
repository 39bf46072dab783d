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
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::core::ids::{CaseId, OperatorName};
use crate::core::page::Page;
use crate::core::time::Timestamp;
use crate::plugins::Health;
use crate::plugins::outgoing::{self, Clock, Failure};

use super::{PAGE_LABEL, Pager, PagerError, text};

/// Well above what a busy Alertmanager needs, well below what a human waits for.
pub const DEFAULT_REFRESH: Duration = Duration::from_secs(60);
/// More than two servers' clocks usually differ by.
const SURELY_OVER: Duration = Duration::from_secs(60);
const ALERT_NAME: &str = "SecuritybotPage";

pub struct AlertmanagerPager {
    name: String,
    url: String,
    refresh: Duration,
    client: Client,
    clock: Clock,
    /// What stands in Alertmanager, by escalation: the newest page, what it replaced but may still
    /// stand, and since when. Lost at a restart: then Alertmanager is asked.
    standing: Mutex<BTreeMap<CaseId, Standing>>,
}

#[derive(Clone)]
struct Standing {
    page: Page,
    since: Timestamp,
    /// Labels whose end Alertmanager has not confirmed yet.
    replaced: Vec<(Value, Timestamp)>,
    /// Nothing else can stand: this process began it, or has asked Alertmanager.
    complete: bool,
}

/// An alert as `GET /api/v2/alerts` lists it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    labels: Value,
    starts_at: String,
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

    /// The pages of this one's escalation, other than this one, that an earlier process left standing.
    async fn left_behind(&self, page: &Page) -> Result<Vec<(Value, Timestamp)>, PagerError> {
        let filters = [
            ("filter", format!("alertname=\"{ALERT_NAME}\"")),
            ("filter", format!("case=\"{}\"", page.id)),
        ];
        let address = Url::parse_with_params(&format!("{}/api/v2/alerts", self.url), filters)
            .map_err(|error| PagerError::Unavailable(format!("{}: {error}", self.url)))?;
        let answer = outgoing::send(self.client.get(address)).await?;
        let found: Vec<Found> = answer
            .json()
            .await
            .map_err(|error| PagerError::Unavailable(outgoing::describe(error)))?;
        let own = labels(page);
        let others = found.into_iter().filter(|found| found.labels != own);
        Ok(others
            .filter_map(|found| {
                let since = Timestamp::parse_rfc3339(&found.starts_at)?;
                Some((found.labels, since))
            })
            .collect())
    }

    /// What this process does not know because another began it. `false`: it could not be learned; what
    /// is left then lapses at its `endsAt`, which is no reason to hold back a page or an end.
    async fn learn(
        &self,
        page: &Page,
        known: Option<&Standing>,
    ) -> (Vec<(Value, Timestamp)>, bool) {
        if known.is_some_and(|known| known.complete) {
            return (Vec::new(), true);
        }
        match self.left_behind(page).await {
            Ok(left) => (left, true),
            Err(error) => {
                tracing::debug!(pager = self.name, %error, "what stands could not be read");
                (Vec::new(), false)
            }
        }
    }

    /// Ends the page and whatever else of its escalation stands.
    async fn end(&self, page: &Page) -> Result<(), PagerError> {
        let known = self.standing().get(&page.id).cloned();
        let (mut others, _) = self.learn(page, known.as_ref()).await;
        let now = (self.clock)();
        let mut alerts = vec![ended(&labels(page), now, now)];
        if let Some(known) = known {
            others.push((labels(&known.page), known.since));
            others.extend(known.replaced);
        }
        let others = others.iter();
        alerts.extend(others.map(|(labels, since)| ended(labels, *since, now)));
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
        let known = self.standing().get(&page.id).cloned();
        let (left, complete) = self.learn(page, known.as_ref()).await;
        let now = (self.clock)();
        let mut next = match known {
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
                    complete,
                }
            }
            None => Standing {
                page: page.clone(),
                since: now,
                replaced: Vec::new(),
                complete,
            },
        };
        // What outranks it is left alone: its own refresh comes, and then this one is replaced.
        let (own, newest) = (labels(&next.page), rank(&next.page));
        let (older, newer): (Vec<_>, Vec<_>) = left
            .into_iter()
            .filter(|(labels, _)| *labels != own)
            .partition(|(labels, _)| rank_of(labels) < newest);
        next.replaced.extend(older);
        next.complete = complete && newer.is_empty();
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

/// The same from the labels of a page that stands.
fn rank_of(labels: &Value) -> (u32, u32, u32) {
    let number = |name: &str| {
        let text = labels[name].as_str().unwrap_or_default();
        text.parse().unwrap_or(0)
    };
    (number("round"), number("level"), number("repeat"))
}

/// Over well before `now`: an end that is still to come by Alertmanager's clock, be it by a millisecond,
/// is none, and the later `endsAt` of the standing page is kept.
fn ended(labels: &Value, since: Timestamp, now: Timestamp) -> Value {
    let end = now.before(SURELY_OVER);
    json!({
        "labels": labels,
        "startsAt": since.min(end).to_rfc3339(),
        "endsAt": end.to_rfc3339(),
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
