//! Where answers are written back: beside the alert, in the monitoring system's own words.

pub mod jsonl;
pub mod webhook;

use std::borrow::Cow;

use async_trait::async_trait;
use serde_json::Value;

#[async_trait]
pub trait Sink: Send + Sync + 'static {
    fn name(&self) -> &str;

    /// About how many reports one delivery may hold. A delivery that fails comes again as a whole, so a sink whose
    /// deliveries can fail half-way says fewer.
    fn at_once(&self) -> usize {
        2_000
    }

    /// Delivers records (or one rollup) in order, at least once. `Ok` means all are delivered; after an
    /// error all are sent again.
    async fn deliver(&self, reports: &[Report]) -> Result<(), SinkError>;
}

/// What sinks are given: a JSON object with a stable id in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Something happened. As text, on one line: there are thousands a second, and most sinks pass them on as they are.
    Record { id: String, json: String },
    /// The figures of an hour or a day.
    Rollup(Value),
}

impl Report {
    /// The same whenever it is sent again: by it a receiver knows what it has already.
    pub fn id(&self) -> &str {
        match self {
            Self::Record { id, .. } => id,
            Self::Rollup(rollup) => rollup["id"].as_str().unwrap_or_default(),
        }
    }

    /// The object's text, on one line.
    pub fn json(&self) -> Cow<'_, str> {
        match self {
            Self::Record { json, .. } => Cow::Borrowed(json),
            Self::Rollup(rollup) => Cow::Owned(rollup.to_string()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    #[error("the sink cannot be reached: {0}")]
    Unavailable(String),
}
