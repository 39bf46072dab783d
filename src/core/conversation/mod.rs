//! One employee's conversation (or one unknown principal's, which has no chat) as a machine.

pub mod effect;
pub mod event;

pub use effect::{Content, Effect, Outgoing};
pub use event::{Answer, Event, Inbound, Proof, Reply, Tick};
