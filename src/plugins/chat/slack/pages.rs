//! Pages as messages in a channel of the security team. A page carries its key like every message of ours, so a retry
//! finds the first one; its buttons act for the operator whose Slack account pressed them, and for nobody else.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::core::ids::{CaseId, OperatorName};
use crate::core::page::Page;
use crate::core::time::Timestamp;
use crate::plugins::Health;
use crate::plugins::chat::{Chat, ChatError};
use crate::plugins::pagers::{Pager, PagerError, text::description};

use super::api::{ApiError, Arguments};
use super::blocks::{OPEN_LINK, plain};
use super::desk::{ACKNOWLEDGE, ASSIGN, PAGE_BLOCK, RESOLVE};
use super::pace::Limit;
use super::text::{BUTTON, CONTEXT, HEADER, NOTIFICATION, SECTION, URL, escape};
use super::{PAGE, READ_BACK, Slack, TIER_3_BURST, TIER_3_MS, message_id, unlinked};

/// Marks our pages, with key and escalation in the payload.
pub(super) const PAGE_TYPE: &str = "securitybot_page";
/// After a start a page may be one that an earlier life has sent already.
const MAYBE_SENT: Duration = Duration::from_secs(600);
const MOST_PAGES: usize = 20;

pub struct SlackPager {
    slack: Arc<Slack>,
    name: String,
    channel: String,
    born: Instant,
    /// Sent, perhaps.
    unclear: Mutex<BTreeSet<String>>,
}

impl SlackPager {
    pub fn new(slack: Arc<Slack>, name: &str, channel: &str) -> Self {
        Self {
            slack,
            name: name.to_owned(),
            channel: channel.to_owned(),
            born: Instant::now(),
            unclear: Mutex::default(),
        }
    }

    fn is_unclear(&self, key: &str) -> bool {
        let unclear = self.unclear.lock().unwrap_or_else(PoisonError::into_inner);
        self.born.elapsed() < MAYBE_SENT || unclear.contains(key)
    }

    fn note_unclear(&self, key: &str, is_unclear: bool) {
        let mut unclear = self.unclear.lock().unwrap_or_else(PoisonError::into_inner);
        match is_unclear {
            true => drop(unclear.insert(key.to_owned())),
            false => drop(unclear.remove(key)),
        }
    }

    /// Edits every message of the page's escalation: what was done stands on each, and what can still be done.
    async fn update(
        &self,
        page: &Page,
        done: Option<&str>,
        buttons: &[&str],
    ) -> Result<(), PagerError> {
        let since = self.slack.now().before(READ_BACK);
        let wanted = page.id.to_string();
        let messages = self
            .slack
            .ours_in(&self.channel, PAGE_TYPE, since, |payload| {
                payload["id"] == wanted
            })
            .await
            .map_err(failed)?;
        for ts in messages {
            let mut body = message(page, done, buttons);
            body["channel"] = json!(self.channel);
            body["ts"] = json!(ts);
            let limits = [Limit::new("chat.update", TIER_3_MS, TIER_3_BURST)];
            let edited = self
                .slack
                .api
                .call("chat.update", Arguments::Json(body), &limits)
                .await;
            match edited {
                // Somebody deleted it: nothing is left to say there.
                Err(ApiError::Said(code)) if code == "message_not_found" => {}
                other => drop(other.map_err(failed)?),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Pager for SlackPager {
    fn name(&self) -> &str {
        &self.name
    }

    async fn page(&self, page: &Page) -> Result<(), PagerError> {
        let key = format!("{}.{}", page.key, page.repeat);
        if self.is_unclear(&key) {
            let since = self.slack.now().before(READ_BACK);
            let found = self
                .slack
                .ours_in(&self.channel, PAGE_TYPE, since, |payload| {
                    payload["key"] == key
                })
                .await
                .map_err(failed)?;
            if !found.is_empty() {
                self.note_unclear(&key, false);
                return Ok(());
            }
        }
        let mut body = message(page, None, &[ACKNOWLEDGE, RESOLVE, ASSIGN]);
        body["channel"] = json!(self.channel);
        body["metadata"] = json!({
            "event_type": PAGE_TYPE, "event_payload": { "key": key, "id": page.id.to_string() },
        });
        let sent = self.slack.post(&self.channel, body).await;
        self.note_unclear(&key, matches!(sent, Err(ApiError::Unclear(_))));
        let sent = sent.map_err(failed)?;
        if let Some(ts) = sent["ts"].as_str() {
            self.slack
                .remember_page(&message_id(&self.channel, ts), page.id);
        }
        Ok(())
    }

    async fn acknowledge(&self, page: &Page, by: &OperatorName) -> Result<(), PagerError> {
        self.change(page, Some(by)).await
    }

    async fn change(
        &self,
        page: &Page,
        acknowledged_by: Option<&OperatorName>,
    ) -> Result<(), PagerError> {
        match acknowledged_by {
            Some(by) => {
                let done = format!("Acknowledged by {by}");
                self.update(page, Some(&done), &[RESOLVE, ASSIGN]).await
            }
            None => {
                let buttons = [ACKNOWLEDGE, RESOLVE, ASSIGN];
                self.update(page, None, &buttons).await
            }
        }
    }

    async fn resolve(
        &self,
        page: &Page,
        by: &OperatorName,
        reason: &str,
    ) -> Result<(), PagerError> {
        let done = format!("Resolved by {by}: {reason}");
        self.update(page, Some(&done), &[]).await
    }

    async fn health(&self) -> Health {
        self.slack.health().await
    }
}

fn failed(error: ApiError) -> PagerError {
    match error.into_chat() {
        ChatError::RateLimited(wait) => PagerError::RateLimited(wait),
        ChatError::Unavailable(why) | ChatError::Unclear(why) => PagerError::Unavailable(why),
        ChatError::Gone(why) | ChatError::Refused(why) => PagerError::Refused(why),
    }
}

fn message(page: &Page, done: Option<&str>, buttons: &[&str]) -> Value {
    let urgency = page.urgency.name();
    let title = match page.repeat {
        0 => format!("[{urgency}] {}", page.summary),
        repeat => format!("[{urgency}, again {repeat}] {}", page.summary),
    };
    let mut blocks = vec![
        json!({ "type": "header", "text": plain(&title, HEADER) }),
        json!({ "type": "section", "text": plain(&description(page), SECTION) }),
    ];
    if let Some(done) = done {
        blocks.push(json!({ "type": "context", "elements": [plain(done, CONTEXT)] }));
    }
    let mut elements: Vec<Value> = buttons
        .iter()
        .map(|action| {
            let label = match *action {
                ACKNOWLEDGE => "Acknowledge",
                ASSIGN => {
                    return json!({
                        "type": "users_select", "action_id": ASSIGN, "placeholder": plain("Assign to…", BUTTON),
                    });
                }
                _ => "Resolve…",
            };
            json!({
                "type": "button", "action_id": action, "text": plain(label, BUTTON),
                "value": page.id.to_string(),
            })
        })
        .collect();
    let is_web = page.url.starts_with("https://") || page.url.starts_with("http://");
    if is_web && page.url.len() <= URL {
        elements.push(json!({
            "type": "button", "action_id": OPEN_LINK, "text": plain("Open", BUTTON), "url": page.url,
        }));
    }
    if !elements.is_empty() {
        blocks.push(json!({ "type": "actions", "block_id": format!("{PAGE_BLOCK}{}", page.id), "elements": elements }));
    }
    unlinked(json!({ "text": escape(&title, NOTIFICATION), "blocks": blocks }))
}

impl Slack {
    /// The time stamps of our messages of one kind in a channel whose metadata is wanted.
    pub(super) async fn ours_in(
        &self,
        channel: &str,
        kind: &str,
        since: Timestamp,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Vec<String>, ApiError> {
        let mut found = Vec::new();
        let mut cursor = String::new();
        for _ in 0..MOST_PAGES {
            let mut form = vec![
                ("channel", channel.to_owned()),
                ("oldest", format!("{}.000000", since.as_millis() / 1_000)),
                ("include_all_metadata", "true".to_owned()),
                ("limit", PAGE.to_string()),
            ];
            if !cursor.is_empty() {
                form.push(("cursor", cursor));
            }
            let page = self.history(form).await?;
            for message in page["messages"].as_array().into_iter().flatten() {
                let metadata = &message["metadata"];
                if metadata["event_type"] == kind
                    && wanted(&metadata["event_payload"])
                    && let Some(ts) = message["ts"].as_str()
                {
                    found.push(ts.to_owned());
                }
            }
            cursor = page["response_metadata"]["next_cursor"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if cursor.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// The escalation that a message in a channel pages for.
    pub(super) async fn page_at(
        &self,
        channel: &str,
        ts: &str,
    ) -> Result<Option<CaseId>, ApiError> {
        if let Some(id) = self.remembered_page(&message_id(channel, ts)) {
            return Ok(Some(id));
        }
        let form = vec![
            ("channel", channel.to_owned()),
            ("oldest", ts.to_owned()),
            ("latest", ts.to_owned()),
            ("inclusive", "true".to_owned()),
            ("include_all_metadata", "true".to_owned()),
            ("limit", "1".to_owned()),
        ];
        let page = self.history(form).await?;
        let message = &page["messages"][0];
        let ours = message["ts"] == ts && message["metadata"]["event_type"] == PAGE_TYPE;
        let id = message["metadata"]["event_payload"]["id"].as_str();
        let id = id.filter(|_| ours).and_then(CaseId::parse);
        if let Some(id) = id {
            self.remember_page(&message_id(channel, ts), id);
        }
        Ok(id)
    }
}
