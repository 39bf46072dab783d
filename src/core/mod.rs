//! The rules of securitybot, pure: no I/O, no clock, no async, no randomness, no `HashMap` iteration.
//!
//! Everything here can be replayed: the same state, event and [`machine::Context`] give the same
//! [`machine::Step`]. The actors around it only load, commit and act.

pub mod alert;
pub mod answer;
pub mod case;
pub mod command;
pub mod context;
pub mod conversation;
pub mod employee;
pub mod escalation;
pub mod ids;
pub mod invariants;
pub mod machine;
pub mod page;
pub mod pieces;
pub mod policy;
pub mod record;
pub mod rollup;
pub mod routing;
pub mod text;
pub mod time;
pub mod working_hours;
pub mod world;
