//! What employees do in a chat becomes an event for their own conversation, and no one else's: the
//! platform's user id alone decides who acts (promise P5).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::core::conversation::{Event, Inbound, Reply};
use crate::core::ids::AggregateKey;
use crate::core::world::World;
use crate::plugins::chat::{ChatAction, ChatEvent, Inbox, InboxError};

use super::mailbox::Mailbox;
use super::messages::{CheckCode, Deliver};

/// Within it the conversation has committed, or the person is asked to try again.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Delivering again is harmless: the event id is the same.
const ATTEMPTS: u32 = 3;

pub struct ChatInbox {
    pub world: watch::Receiver<Arc<World>>,
    pub conversations: Mailbox<Deliver>,
    pub verifier: Mailbox<CheckCode>,
}

#[async_trait]
impl Inbox for ChatInbox {
    async fn deliver(&self, event: ChatEvent) -> Result<Reply, InboxError> {
        let world = self.world.borrow().clone();
        let Some(employee) = world.directory.by_chat(&event.from) else {
            return Ok(Reply::NotYours);
        };
        let to = AggregateKey::employee(&employee.id, world.partitions);
        let inbound = Inbound {
            event_id: event.event_id,
            from: event.from,
            at: event.at,
        };
        let event = match event.action {
            ChatAction::Pressed {
                case,
                revision,
                answer,
                shown,
            } => Event::ButtonPressed {
                inbound,
                case,
                revision,
                answer,
                shown,
            },
            ChatAction::Typed { text } => Event::TextTyped { inbound, text },
            ChatAction::PushRequested {
                case,
                ticks,
                explanation,
            } => Event::PushRequested {
                inbound,
                case,
                ticks,
                explanation,
            },
            ChatAction::Submitted {
                case,
                ticks,
                explanation,
                code,
            } => {
                let proof = match code {
                    Some(code) => {
                        let check = CheckCode {
                            employee: employee.id.clone(),
                            code,
                        };
                        Some(self.verifier.ask(check, TIMEOUT).await.map_err(try_again)?)
                    }
                    None => None,
                };
                Event::FormSubmitted {
                    inbound,
                    case,
                    ticks,
                    explanation,
                    proof,
                }
            }
        };
        let mut attempt = 1;
        loop {
            let deliver = Deliver {
                to: to.clone(),
                event: event.clone(),
            };
            let why = match self.conversations.ask(deliver, TIMEOUT).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            if attempt == ATTEMPTS {
                return Err(InboxError::TryAgain(why));
            }
            attempt += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn try_again(error: super::mailbox::SendError) -> InboxError {
    InboxError::TryAgain(error.to_string())
}
