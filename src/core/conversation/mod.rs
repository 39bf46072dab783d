//! One employee's conversation (or one unknown principal's, which has no chat) as a machine.
//!
//! [`state`] is the state and the door; [`turn`] one step in the making; each event has a file of its
//! name; [`pages`] is how cases end; [`rebuilt`] what happens after a fault; [`request`] is what employees
//! ask for by commands.

mod alerts_arrived;
mod answer_given;
mod button_pressed;
mod deadline_reached;
pub mod effect;
mod effect_settled;
pub mod event;
mod form_submitted;
mod late_answer;
pub mod open_case;
mod operator_acted;
mod pages;
mod practice;
mod push_answered;
mod push_requested;
mod rebuilt;
mod request;
pub mod snooze;
mod snooze_asked;
mod snooze_changed;
pub mod state;
mod text_typed;
mod turn;

pub use effect::{Content, Effect, Outgoing, PushRequest, PushVerdict};
pub use event::{Answer, Event, Inbound, Proof, Reply, Tick};
pub use snooze::SnoozeRow;
pub use state::Conversation;
