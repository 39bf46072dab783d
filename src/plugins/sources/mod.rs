//! Where alerts come from: pushed over HTTP (`http/ingest.rs` with a format) or polled.

pub mod alertmanager_api;
pub mod jsonl;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::core::alert::Alert;
use crate::core::ids::SourceId;
use crate::core::time::Timestamp;

/// An alert as a format read it, before it is accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// `accepted_at` is set by the intake. An empty `id` means the producer gave none.
    pub alert: Alert,
    /// The producer's JSON of this one alert, canonical (sorted keys) and before defaults: what the
    /// body hash and an id made of it cover.
    pub canonical: String,
    /// What is odd but harmless (an unknown severity word), for the journal.
    pub noted: Option<String>,
    /// How long its dedup mark lives, not renewed, when that is not the policy's: an alert without an
    /// id and without a time is a duplicate for ten minutes only. `None`: as the policy says.
    pub mark_for: Option<Duration>,
}

impl Incoming {
    /// The name its dedup mark has. "It is over" comes under the same identity as the alert itself and
    /// must not be taken for a repeat of it, so it is marked apart.
    pub fn mark_id(&self) -> String {
        if self.alert.resolved {
            format!("{}:resolved", self.alert.id)
        } else {
            self.alert.id.to_string()
        }
    }
}

/// Something that came in and can never be an alert: kept, listed, replayable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quarantined {
    pub id: String,
    pub source: SourceId,
    pub at: Timestamp,
    pub error: String,
    /// The payload as it came, cut at 64 KiB.
    pub payload: String,
}

/// A source that must be asked.
#[async_trait]
pub trait PolledSource: Send + 'static {
    fn id(&self) -> &SourceId;

    /// Between two polls that found nothing.
    fn every(&self) -> Duration;

    /// Reads on from `cursor` (`None`: never read before). The batch's cursor is committed together with
    /// its alerts; a poll from an old cursor yields the same alerts with the same ids.
    async fn poll(&mut self, cursor: Option<&str>) -> Result<Polled, SourceError>;
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Polled {
    pub alerts: Vec<Incoming>,
    /// Payload and why it cannot be read.
    pub quarantined: Vec<(String, String)>,
    pub cursor: String,
    /// Ask again at once.
    pub more: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("the source cannot be read: {0}")]
    Unavailable(String),
}
