//! Everything that reads bytes from outside, under mutations of a corpus that stands beside this file:
//! nothing panics, nothing takes long, and what was read and written again reads the same.
//!
//! Bounded to seconds in the normal tests; `FUZZ_SECONDS=600 cargo test --test fuzz` gives each target
//! that long. A failing input is written to the temporary folder; moved into `corpus/TARGET/`, it is
//! tried first from then on. `FUZZ_SEED` repeats a run; with `FUZZ_KEEP=1` each input is written before it
//! is tried, for what ends the whole process (a stack that overflows).
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

#[macro_use]
#[path = "../web_chat/bot.rs"]
#[allow(dead_code, reason = "the web chat's tests use the rest")]
mod bot;
mod alerts;
mod answers;
mod engine;
#[path = "../web_chat/fakes.rs"]
#[allow(dead_code, reason = "the web chat's tests use the rest")]
mod fakes;
#[path = "../http_support/mod.rs"]
mod http_support;
mod signatures;
mod stored;
