//! The outside systems. Each kind has its trait in `mod.rs` and one file (or folder) per system;
//! adding one is that file, one config variant and one line in `app.rs`.

pub mod chat;
pub mod factors;
pub mod formats;
pub mod pagers;
pub mod sinks;
pub mod sources;

/// How an outside system is, for readyz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Good,
    /// One line: what is wrong and what to do.
    Degraded(String),
}
