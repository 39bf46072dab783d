//! What can happen next.

use securitybot::core::conversation::PushVerdict;
use securitybot::core::ids::AggregateKey;

use crate::state::{Act, Flight};

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The next alert is made durable.
    Accept,
    /// The intake hands an alert over.
    Deliver(usize),
    /// It was handed over and committed, but the intake did not hear of it.
    DeliverUnheard(usize),
    /// Somebody acts, or sends again what was not confirmed.
    Do(Act),
    /// It was committed, but the person did not hear of it.
    DoUnheard(Act),
    /// Somebody answers on their phone.
    Phone(String, PushVerdict),
    /// Time came.
    Wake(AggregateKey),
    /// The Waker finds an aggregate with something to send that is not loaded.
    Load(AggregateKey),
    /// The other side takes what was sent.
    Arrive(Flight),
    /// It never will.
    Refuse(Flight),
    /// The answer comes back.
    Settle(Flight),
    /// The answer is lost: the bot will try again.
    Forget(Flight),
    /// Time goes on to the next instant at which something is due.
    Pass,
    /// The process dies. What the other side has not taken it never will.
    Crash,
    /// The process was frozen and another took over: what it sent may still arrive.
    Freeze,
}

impl Action {
    /// It counts against the bound.
    pub fn is_fault(&self) -> bool {
        use Action::*;
        matches!(
            self,
            DeliverUnheard(_) | DoUnheard(_) | Refuse(_) | Forget(_) | Crash | Freeze
        )
    }
}
