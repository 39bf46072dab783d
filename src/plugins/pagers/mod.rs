//! Who wakes the security team. Every call is idempotent under the page's key: a retry is harmless.

pub mod alertmanager;
pub mod log;
pub mod pagerduty;
pub mod text;
pub mod webhook;

use std::time::Duration;

use async_trait::async_trait;

use crate::core::ids::OperatorName;
use crate::core::page::Page;

use super::Health;

/// The label and field that marks our own pages, so that no alert about a page is taken in again.
pub const PAGE_LABEL: &str = "securitybot_page";

#[async_trait]
pub trait Pager: Send + Sync + 'static {
    fn name(&self) -> &str;

    /// How often an unresolved page must be sent again to stay alive; `None`: once is enough.
    fn refresh_every(&self) -> Option<Duration> {
        None
    }

    /// Sends a page. The same key and repeat again is a retry or a refresh, never a second call.
    async fn page(&self, page: &Page) -> Result<(), PagerError>;

    /// Somebody is on it. Pagers without that notion do nothing.
    async fn acknowledge(&self, page: &Page, by: &OperatorName) -> Result<(), PagerError>;

    /// What the page says has changed (it was assigned to somebody). Pagers whose pages stay as they were sent do
    /// nothing. `acknowledged_by`: who is on it.
    async fn change(
        &self,
        _page: &Page,
        _acknowledged_by: Option<&OperatorName>,
    ) -> Result<(), PagerError> {
        Ok(())
    }

    async fn resolve(&self, page: &Page, by: &OperatorName, reason: &str)
    -> Result<(), PagerError>;

    async fn health(&self) -> Health;
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PagerError {
    #[error("the pager asks to wait {0:?}")]
    RateLimited(Duration),
    /// Not known to be delivered: it is sent again under the same key.
    #[error("the pager cannot be reached: {0}")]
    Unavailable(String),
    /// This page will never be taken (bad key, bad payload): the next level is not waited for.
    #[error("the pager refused the page: {0}")]
    Refused(String),
}
