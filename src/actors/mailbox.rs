//! The only place that sends to an actor from outside its own context.
//!
//! A [`Mailbox`] outlives the actor behind it: whoever respawns the actor installs the new address, and
//! senders never notice but for an error of the message that died with the old one.

use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient, WeakRecipient};
use tokio::sync::watch;

/// Why a message got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nobody is there now; the watcher is bringing the actor back.
    #[error("the {0} is restarting")]
    Absent(&'static str),
    /// The actor ended with the message in its hands.
    #[error("the {0} ended while it worked on it")]
    Died(&'static str),
    #[error("the {0} did not answer within {1:?}")]
    TimedOut(&'static str, Duration),
}

/// A clonable door to the actor that plays a role now.
pub struct Mailbox<M: Message + Send + 'static>
where
    M::Result: Send,
{
    role: &'static str,
    current: watch::Receiver<Option<Recipient<M>>>,
}

/// The other end: whoever owns the actor's life installs its address.
pub struct Slot<M: Message + Send + 'static>
where
    M::Result: Send,
{
    current: watch::Sender<Option<Recipient<M>>>,
}

/// Posts to an actor whose life the caller owns: that it may be gone already is the owner's affair.
pub fn post<A, M>(addr: &Addr<A>, message: M)
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    #[allow(clippy::disallowed_methods)] // the one place
    addr.do_send(message);
}

/// Posts to whoever owns the sender, if it still lives; `false` when it does not.
pub fn post_to_owner<M>(owner: &WeakRecipient<M>, message: M) -> bool
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    match owner.upgrade() {
        Some(owner) => {
            owner.do_send(message);
            true
        }
        None => false,
    }
}

/// An empty door and its slot.
pub fn mailbox<M: Message + Send + 'static>(role: &'static str) -> (Slot<M>, Mailbox<M>)
where
    M::Result: Send,
{
    let (current, receiver) = watch::channel(None);
    (
        Slot { current },
        Mailbox {
            role,
            current: receiver,
        },
    )
}

impl<M: Message + Send + 'static> Slot<M>
where
    M::Result: Send,
{
    pub fn install<A>(&self, addr: &Addr<A>)
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        self.current.send_replace(Some(addr.clone().recipient()));
    }

    pub fn install_recipient(&self, recipient: Recipient<M>) {
        self.current.send_replace(Some(recipient));
    }

    pub fn clear(&self) {
        self.current.send_replace(None);
    }
}

impl<M: Message + Send + 'static> Clone for Mailbox<M>
where
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self {
            role: self.role,
            current: self.current.clone(),
        }
    }
}

impl<M: Message + Send + 'static> Mailbox<M>
where
    M::Result: Send,
{
    /// Sends and waits for the answer. After an error the message may or may not have been handled.
    pub async fn ask(&self, message: M, within: Duration) -> Result<M::Result, SendError> {
        let recipient = self
            .current
            .borrow()
            .clone()
            .ok_or(SendError::Absent(self.role))?;
        match tokio::time::timeout(within, recipient.send(message)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(SendError::Died(self.role)),
            Err(_) => Err(SendError::TimedOut(self.role, within)),
        }
    }

    /// Sends without waiting; `false` when nobody is there.
    pub fn tell(&self, message: M) -> bool {
        match self.current.borrow().as_ref() {
            Some(recipient) if recipient.connected() => {
                recipient.do_send(message);
                true
            }
            _ => false,
        }
    }
}
