//! securitybot asks employees about alerts on what they did, has the answer proved by a second factor,
//! writes it back, and pages the security team when the answer is no, doubtful, unproved or missing.
//!
//! `core` holds the rules, pure; `actors` the life around them; `store` what is durable; `plugins` the
//! outside systems; `http` and `cli` the ways in; `app` wires them together.

pub mod actors;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
#[cfg(feature = "fault-injection")]
pub mod fault;
pub mod http;
pub mod messages;
pub mod plugins;
pub mod store;
