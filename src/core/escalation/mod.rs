//! The paging ladder as a machine: level by level, again and again, until a named operator
//! acknowledges, and in the end resolves it with a reason.

pub mod event;

pub use event::{Effect, Event, Reply};
