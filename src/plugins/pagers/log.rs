//! The pager that needs nothing: one readable line in the log. It is the default, so that a bot whose
//! operator has configured no pager still says aloud what it found.

use async_trait::async_trait;

use crate::core::alert::Severity;
use crate::core::ids::OperatorName;
use crate::core::page::Page;
use crate::core::text::Untrusted;
use crate::plugins::Health;

use super::{Pager, PagerError, text};

const MAX_LINE_CHARS: usize = 500;

pub struct LogPager {
    name: String,
}

impl LogPager {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

/// The one line: urgency, kind, level and repeat, what happened, where to go.
pub fn page_line(page: &Page) -> String {
    let line = format!(
        "PAGE [{}] {} level {} round {} repeat {}: {} -> {}",
        page.urgency.name(),
        text::kind_name(page.kind),
        page.level,
        page.round,
        page.repeat,
        Untrusted::new(page.summary.as_str()).line(MAX_LINE_CHARS),
        page.url,
    );
    Untrusted::new(line).line(2 * MAX_LINE_CHARS)
}

#[async_trait]
impl Pager for LogPager {
    fn name(&self) -> &str {
        &self.name
    }

    async fn page(&self, page: &Page) -> Result<(), PagerError> {
        let line = page_line(page);
        if page.urgency >= Severity::High {
            tracing::error!(pager = self.name, key = page.key, "{line}");
        } else {
            tracing::warn!(pager = self.name, key = page.key, "{line}");
        }
        Ok(())
    }

    async fn acknowledge(&self, page: &Page, by: &OperatorName) -> Result<(), PagerError> {
        tracing::info!(pager = self.name, key = page.key, %by, "page acknowledged");
        Ok(())
    }

    /// The reason is in the journal; here it would be free text of a person in the log.
    async fn resolve(&self, page: &Page, by: &OperatorName, _: &str) -> Result<(), PagerError> {
        tracing::info!(pager = self.name, key = page.key, %by, "page resolved");
        Ok(())
    }

    async fn health(&self) -> Health {
        Health::Good
    }
}
