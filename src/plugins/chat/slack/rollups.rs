//! Rollups in a channel of the security team: the figures as text, under their id, so that a rollup whose sending was cut
//! off is found and not sent again; and as a picture in the message's thread, which may be missing.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::core::rollup::to_text;
use crate::plugins::sinks::{Report, Sink, SinkError};

use super::api::{ApiError, Arguments};
use super::blocks::plain;
use super::text::{HEADER, NOTIFICATION, SECTION, escape};
use super::{READ_BACK, Slack, chart, unlinked};

/// Marks our rollups, with the id in the payload.
const ROLLUP_TYPE: &str = "securitybot_rollup";

/// Takes rollups; records of single answers are for other sinks.
pub struct SlackSink {
    slack: Arc<Slack>,
    name: String,
    channel: String,
}

impl SlackSink {
    pub fn new(slack: Arc<Slack>, name: &str, channel: &str) -> Self {
        Self {
            slack,
            name: name.to_owned(),
            channel: channel.to_owned(),
        }
    }

    async fn post(&self, rollup: &Value) -> Result<(), ApiError> {
        let rules = rollup["rules"].as_array().map_or(0, Vec::len);
        if rules == 0 && rollup["period"] == "hour" {
            return Ok(()); // every quiet hour would be a message that nobody reads
        }
        let id = rollup["id"].as_str().unwrap_or_default();
        let since = self.slack.now().before(READ_BACK);
        let same = |payload: &Value| payload["key"] == id;
        let sent = self
            .slack
            .ours_in(&self.channel, ROLLUP_TYPE, since, same)
            .await?;
        if !sent.is_empty() {
            return Ok(());
        }
        let text = to_text(rollup);
        let title = match rollup["period"].as_str() {
            Some("day") => "The last day",
            _ => "The last hour",
        };
        let body = unlinked(json!({
            "channel": self.channel,
            "text": escape(&text, NOTIFICATION),
            "blocks": [
                { "type": "header", "text": plain(title, HEADER) },
                { "type": "section", "text": plain(&text, SECTION) },
            ],
            "metadata": { "event_type": ROLLUP_TYPE, "event_payload": { "key": id } },
        }));
        let sent = self.slack.post(&self.channel, body).await?;
        let picture = chart::png(rollup).zip(sent["ts"].as_str());
        if let Some((picture, thread)) = picture
            && let Err(error) = self.picture(picture, title, thread).await
        {
            tracing::warn!(
                why = error.text(),
                "a rollup in Slack is without its picture"
            );
        }
        Ok(())
    }

    /// Into the thread of the text: a file's own message carries no metadata by which it could be found again.
    async fn picture(&self, png: Vec<u8>, title: &str, thread: &str) -> Result<(), ApiError> {
        let form = vec![
            ("filename", "rollup.png".to_owned()),
            ("length", png.len().to_string()),
            (
                "alt_txt",
                "The figures above, one bar for each rule".to_owned(),
            ),
        ];
        let api = &self.slack.api;
        let place = api
            .call("files.getUploadURLExternal", Arguments::Form(form), &[])
            .await?;
        let missing = || ApiError::Unclear("Slack named no place for a file".to_owned());
        let url = place["upload_url"].as_str().ok_or_else(missing)?;
        api.upload(url, png).await?;
        let done = Arguments::Json(json!({
            "files": [{ "id": place["file_id"], "title": title }],
            "channel_id": self.channel, "thread_ts": thread,
        }));
        api.call("files.completeUploadExternal", done, &[]).await?;
        Ok(())
    }
}

#[async_trait]
impl Sink for SlackSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, reports: &[Report]) -> Result<(), SinkError> {
        for report in reports {
            let Report::Rollup(rollup) = report else {
                continue;
            };
            let posted = self.post(rollup).await;
            posted.map_err(|error| SinkError::Unavailable(error.text()))?;
        }
        Ok(())
    }
}
