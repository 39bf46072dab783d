//! What the crash test and the fault mix are made of: the history that the harness writes, the fakes and
//! people that act and watch from outside, and the checker that judges only what they saw.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]
#![allow(
    clippy::disallowed_methods,
    reason = "the harness has its own clock, on purpose"
)]
#![allow(dead_code, reason = "each test binary uses some of it")]

#[path = "checker/mod.rs"]
pub mod checker;
#[path = "crew.rs"]
pub mod crew;
#[path = "fakes.rs"]
pub mod fakes;
#[path = "history.rs"]
pub mod history;
#[path = "operators.rs"]
pub mod operators;
#[path = "people.rs"]
pub mod people;
#[path = "producers.rs"]
pub mod producers;
#[path = "setting.rs"]
pub mod setting;
#[path = "slack.rs"]
pub mod slack;
#[path = "slack_people.rs"]
pub mod slack_people;
#[path = "town.rs"]
pub mod town;
