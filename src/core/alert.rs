//! One finding of a monitoring system, as every source hands it over.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::context::Words;
use super::ids::{RuleName, SourceId};
use super::text::{Untrusted, shared};
use super::time::Timestamp;

/// The rule of the question people practise with: no alert may pass for it.
pub const PRACTICE_RULE: &str = "practice";

/// How bad it would be. Ordered: `Low < Medium < High < Critical`. Missing means medium.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Low,
    #[default]
    Medium,
    High,
    Critical,
}

impl Severity {
    pub const ALL: [Severity; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == word)
    }
}

/// The longest kept text of one alert field; the rest is cut with `…` (its hash covered it all).
pub const MAX_FIELD_BYTES: usize = 16 * 1024;

/// One alert. Its identity is `(source, id)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub source: SourceId,
    #[serde(deserialize_with = "shared")]
    pub id: Arc<str>,
    /// Who did it, in the producer's words.
    pub principal: Untrusted,
    pub rule: RuleName,
    pub title: Untrusted,
    #[serde(default)]
    pub description: Untrusted,
    /// The evidence.
    #[serde(default)]
    pub reason: Untrusted,
    #[serde(default)]
    pub severity: Severity,
    /// Data only: deadlines never depend on it.
    #[serde(default)]
    pub occurred_at: Option<Timestamp>,
    #[serde(default)]
    pub url: Option<Untrusted>,
    /// Host, source address, command ...: what the alert is about.
    #[serde(default)]
    pub context: Words,
    /// When the bot took responsibility for it. Admission time rules all deadlines.
    pub accepted_at: Timestamp,
    /// The producer says the condition is over. It is noted and changes nothing by itself.
    #[serde(default)]
    pub resolved: bool,
}

/// The words of a context that are its key by default, those present in the alert.
pub const DEFAULT_CONTEXT_KEYS: [&str; 2] = ["host", "source_address"];
