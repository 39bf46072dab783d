//! Where answers are written back: beside the alert, in the monitoring system's own words.

pub mod jsonl;
pub mod webhook;

use async_trait::async_trait;
use serde_json::Value;

#[async_trait]
pub trait Sink: Send + Sync + 'static {
    fn name(&self) -> &str;

    /// Delivers records (or one rollup) in order, at least once; each is a JSON object with a stable
    /// `id`. `Ok` means all are delivered; after an error all are sent again.
    async fn deliver(&self, records: &[Value]) -> Result<(), SinkError>;
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    #[error("the sink cannot be reached: {0}")]
    Unavailable(String),
}
