//! The life around the core: every actor is an agent with one job, a mailbox and nothing shared.
//! See `actors.md` for who talks to whom, what is lost when one dies, and who brings it back.

pub mod mailbox;
pub mod messages;
