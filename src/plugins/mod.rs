//! The outside systems. Each kind has its trait in `mod.rs` and one file (or folder) per system;
//! adding one is that file, one config variant and one line in `app/`. `actors.md`, "How to add one", names
//! the variant and the line of each kind.

pub mod canonical;
pub mod chat;
pub mod factors;
#[cfg(feature = "fault-injection")]
pub mod faulty;
pub mod formats;
pub mod outgoing;
pub mod pagers;
pub mod sinks;
pub mod sources;
pub mod standard_webhooks;

pub use outgoing::http_client;

/// How an outside system is, for readyz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Good,
    /// One line: what is wrong and what to do.
    Degraded(String),
}
