//! The Slack chat against a Slack of the test's own: what is sent, found and edited, what comes in and when it is
//! acknowledged, and that hostile text stays text.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod bot;
mod channel;
mod emulate;
mod events_api;
mod rendering;
mod sending;
mod socket_mode;
