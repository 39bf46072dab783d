//! The life around the core: every actor is an agent with one job, a mailbox and nothing shared.
//! See `actors.md` for who talks to whom, what is lost when one dies, and who brings it back.

use std::sync::Arc;

use crate::core::time::Timestamp;

pub mod beside;
pub mod caretaker;
pub mod checkpoint;
pub mod checkpointer;
pub mod dispatcher;
pub mod durable;
pub mod escalator;
pub mod inbox;
pub mod intake;
pub mod intakes;
mod joined;
pub mod keeper;
mod loads;
pub mod mailbox;
pub mod measure;
pub mod messages;
pub mod messenger;
pub mod operations;
pub mod poller;
pub mod recovery;
pub mod reporter;
pub mod snooze;
pub mod system;
pub mod verifier;
pub mod waker;

/// The clock as actors are given it: sampled once per event.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;
