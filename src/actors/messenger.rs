//! One per chat: makes the words and sends them. Urgent before chatty, a bounded number at once, and
//! where a result was lost it reads back before it sends again (promise P4).

use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, ResponseFuture};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use metrics::{counter, gauge};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::core::alert::Severity;
use crate::core::conversation::{Conversation, Effect, Outgoing};
use crate::core::machine::{Receipt, RowChange, Settlement};
use crate::core::time::Timestamp;
use crate::messages::{Messages, Rendered};
use crate::plugins::chat::{Chat, ChatError, Place};

use super::Now;
use super::beside::{Beside, Done};
use super::durable::{Order, Perform, Performed, Within, panic_text};
use super::mailbox::Mailbox;
use super::messages::{Escalate, Stop};
use super::verifier::Push;

/// Sends under way at once: enough to hide a round trip, few enough to be polite.
const CONCURRENCY: usize = 64;
/// A chat that does not answer for this long has lost the message, perhaps.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// A wait up to this long is spent in the queue; a longer one is written down with the effect.
const LONGEST_HERE: Duration = Duration::from_secs(15);
/// Those whose wait is over at about the same moment are put in order before the first of them goes.
const GATHER: Duration = Duration::from_millis(25);
/// Less than the patience of who ordered it, long enough for 2,000 messages: what is written down instead may be passivated
/// meanwhile, and then costs a look into the chat's history before it is sent.
const LONGEST_IN_ALL: Duration = Duration::from_secs(500);
/// How far back a lost send is looked for.
const READ_BACK: Duration = Duration::from_secs(4 * 24 * 3600);
/// The escalation answers after its commit.
const RAISE_TIMEOUT: Duration = Duration::from_secs(30);

/// The Verifier waits for a phone no longer than the conversation does.
const PUSH_TIMEOUT: Duration = Duration::from_secs(300);

/// Perform one chat effect.
#[derive(Debug, Message)]
#[rtype(result = "Performed")]
pub struct Post {
    pub order: Order<Effect>,
}

struct Waiting {
    urgency: Severity,
    nth: u64,
    since: Instant,
    key: String,
    order: Arc<Order<Effect>>,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.nth == other.nth
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.urgency
            .cmp(&other.urgency)
            .then(other.nth.cmp(&self.nth))
    }
}

pub struct Messenger {
    chat: Arc<dyn Chat>,
    messages: Arc<Messages>,
    now: Now,
    waiting: BinaryHeap<Waiting>,
    /// Who wants to know, by effect key: waiting or under way. A conversation that was loaded anew asks
    /// for what its earlier life had handed over; one send answers both.
    asked: HashMap<String, Vec<oneshot::Sender<Performed>>>,
    under_way: usize,
    nth: u64,
    /// The chat asked to wait with these, and only these, until then: others may be told meanwhile.
    later: BTreeMap<u64, (Instant, Waiting)>,
    gathering: bool,
    sends: Beside,
}

impl Messenger {
    pub fn new(chat: Arc<dyn Chat>, messages: Arc<Messages>, now: Now) -> Self {
        let waiting = BinaryHeap::new();
        Self {
            chat,
            messages,
            now,
            waiting,
            asked: HashMap::new(),
            under_way: 0,
            nth: 0,
            later: BTreeMap::new(),
            gathering: false,
            sends: Beside::default(),
        }
    }

    fn start(&mut self, ctx: &mut Context<Self>) {
        while self.under_way < CONCURRENCY {
            let Some(next) = self.waiting.pop() else {
                break;
            };
            self.under_way += 1;
            let (chat, messages, now) = (self.chat.clone(), self.messages.clone(), (self.now)());
            let (key, order) = (next.key.clone(), next.order.clone());
            // One message that cannot be made must not end the Messenger for everybody.
            let post =
                AssertUnwindSafe(
                    async move { post(chat.as_ref(), &messages, &order, &key, now).await },
                );
            self.sends.run(
                ctx,
                post.catch_unwind(),
                move |performed, actor: &mut Self, ctx| {
                    actor.under_way -= 1;
                    let performed = performed.unwrap_or_else(|panic| Performed::Retry {
                        why: format!("it panicked: {}", panic_text(panic.as_ref())),
                        after: None,
                    });
                    match performed {
                        Performed::Retry {
                            after: Some(wait), ..
                        } if may_wait(&next, wait) => actor.wait(next, wait, ctx),
                        performed => {
                            for done in actor.asked.remove(&next.key).unwrap_or_default() {
                                let _ = done.send(performed.clone());
                            }
                        }
                    }
                    actor.start(ctx);
                },
            );
        }
        gauge!("securitybot_chat_waiting").set((self.waiting.len() + self.later.len()) as f64);
    }

    /// It keeps its place by urgency: whatever is more urgent when the time comes goes first.
    fn wait(&mut self, waiting: Waiting, wait: Duration, ctx: &mut Context<Self>) {
        counter!("securitybot_chat_rate_limited_total").increment(1);
        self.later
            .insert(waiting.nth, (Instant::now() + wait, waiting));
        ctx.run_later(wait, |actor, ctx| actor.gather(ctx));
    }

    /// A chat that has too much sends many away at once: without this the order of their timers would decide.
    fn gather(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.gathering, true) {
            return;
        }
        ctx.run_later(GATHER, |actor, ctx| {
            actor.gathering = false;
            let now = Instant::now();
            let over = actor.later.extract_if(.., |_, (until, _)| *until <= now);
            actor.waiting.extend(over.map(|(_, (_, waiting))| waiting));
            actor.start(ctx);
        });
    }
}

/// Whoever ordered it does not wait for ever.
fn may_wait(waiting: &Waiting, wait: Duration) -> bool {
    wait <= LONGEST_HERE && waiting.since.elapsed() < LONGEST_IN_ALL
}

async fn post(
    chat: &dyn Chat,
    messages: &Messages,
    order: &Order<Effect>,
    key: &str,
    now: Timestamp,
) -> Performed {
    let zone = zone_of(order);
    let posted = match order.effect.as_ref() {
        Effect::Send(outgoing) => {
            let words = messages.render_for(outgoing, zone);
            let send = send(chat, outgoing, &words, key, order.maybe_done, now);
            tokio::time::timeout(SEND_TIMEOUT, send).await
        }
        Effect::Edit {
            message_id,
            message,
            ..
        } => {
            let rendered = messages.render_for(message, zone);
            let edit = chat.edit(&message.to, message_id, &rendered);
            tokio::time::timeout(SEND_TIMEOUT, edit).await
        }
        Effect::RaiseAgain(_) | Effect::StartPush(_) | Effect::AwaitPush { .. } => {
            let reason = "not a chat effect".to_owned();
            return Performed::Settled(Settlement::Impossible { reason });
        }
    };
    let result = posted.unwrap_or_else(|_| Err(ChatError::Unclear("timed out".to_owned())));
    match result {
        Ok(receipt) => Performed::Settled(Settlement::Done(receipt)),
        Err(ChatError::Gone(reason) | ChatError::Refused(reason)) => {
            Performed::Settled(Settlement::Impossible { reason })
        }
        Err(ChatError::RateLimited(wait)) => Performed::Retry {
            why: "the chat asks to wait".to_owned(),
            after: Some(wait),
        },
        Err(error @ (ChatError::Unavailable(_) | ChatError::Unclear(_))) => Performed::Retry {
            why: error.to_string(),
            after: None,
        },
    }
}

/// The person's own zone: not every message carries one.
fn zone_of(order: &Order<Effect>) -> &str {
    let employee = match order.effect.as_ref() {
        Effect::Send(outgoing)
        | Effect::Edit {
            message: outgoing, ..
        } => &outgoing.employee,
        _ => return "UTC",
    };
    let employee = order.world.directory.get(employee);
    employee.map_or("UTC", |employee| &employee.time_zone)
}

async fn send(
    chat: &dyn Chat,
    outgoing: &Outgoing,
    words: &Rendered,
    key: &str,
    maybe_sent: bool,
    now: Timestamp,
) -> Result<Receipt, ChatError> {
    if maybe_sent
        && !chat.is_idempotent()
        && let Some(receipt) = chat.find(&outgoing.to, key, now.before(READ_BACK)).await?
    {
        return Ok(receipt);
    }
    chat.send(&outgoing.to, key, words).await
}

impl Actor for Messenger {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // One entry per conversation with something to say; each waits for its answer.
        ctx.set_mailbox_capacity(16_384);
    }
}

impl Handler<Post> for Messenger {
    type Result = ResponseFuture<Performed>;

    fn handle(&mut self, message: Post, ctx: &mut Self::Context) -> Self::Result {
        let (done, answer) = oneshot::channel();
        let key = message.order.effect_key();
        let asked = self.asked.entry(key.clone()).or_default();
        asked.push(done);
        let is_new = asked.len() == 1;
        let urgency = match message.order.effect.as_ref() {
            Effect::Send(outgoing)
            | Effect::Edit {
                message: outgoing, ..
            } => outgoing.urgency,
            _ => Severity::Critical,
        };
        if is_new {
            self.nth += 1;
            self.waiting.push(Waiting {
                urgency,
                nth: self.nth,
                since: Instant::now(),
                key,
                order: Arc::new(message.order),
            });
            self.start(ctx);
        }
        Box::pin(async move {
            answer.await.unwrap_or_else(|_| Performed::Retry {
                why: "the messenger is restarting".to_owned(),
                after: None,
            })
        })
    }
}

impl Handler<Done<Messenger>> for Messenger {
    type Result = ();

    fn handle(&mut self, done: Done<Self>, ctx: &mut Self::Context) {
        done.go_on(self, ctx);
    }
}

impl Handler<Stop> for Messenger {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// Performs what Conversations decide: words through the Messenger, unless the chat lives in the store, pages
/// through the Escalator, pushes through the Verifier.
pub struct ConversationEffects {
    pub chat: Arc<dyn Chat>,
    pub messages: Arc<Messages>,
    pub now: Now,
    pub messenger: Mailbox<Post>,
    pub verifier: Mailbox<Push>,
    pub escalations: Mailbox<Escalate>,
}

impl Perform<Conversation> for ConversationEffects {
    fn within(&self, order: &Order<Effect>) -> Option<Within> {
        let key = order.effect_key();
        let (outgoing, place) = match order.effect.as_ref() {
            Effect::Send(outgoing) => (outgoing, Place::New { key: &key }),
            Effect::Edit {
                message_id,
                sent_at: Some(sent_at),
                message,
            } => {
                let place = Place::At {
                    message_id,
                    sent_at: *sent_at,
                };
                (message, place)
            }
            _ => return None,
        };
        if !self.chat.lives_in_the_store() {
            return None;
        }
        let words = self.messages.render_for(outgoing, zone_of(order));
        let new = matches!(place, Place::New { .. });
        let (row, receipt) = self
            .chat
            .as_row(&outgoing.to, place, &words, (self.now)())?;
        let (chat, to, shown) = (self.chat.clone(), outgoing.to.clone(), row.clone());
        let fresh = new && !words.quiet;
        Some(Within {
            row: if new {
                RowChange::New(row)
            } else {
                RowChange::Put(row)
            },
            settlement: Settlement::Done(receipt),
            then: Box::new(move || chat.show(&to, shown, words, fresh)),
        })
    }

    fn perform(&self, order: Order<Effect>) -> BoxFuture<'static, Performed> {
        match order.effect.as_ref() {
            Effect::RaiseAgain(raise) => {
                let raise = raise.as_ref().clone();
                let to = crate::core::ids::AggregateKey::escalation(raise.id, order.key.partition);
                let event = crate::core::escalation::Event::Raised(Box::new(raise));
                let escalations = self.escalations.clone();
                Box::pin(async move {
                    match escalations.ask(Escalate { to, event }, RAISE_TIMEOUT).await {
                        Ok(Ok(_)) => Performed::Settled(Settlement::Done(Receipt::default())),
                        Ok(Err(error)) => Performed::Retry {
                            why: error.to_string(),
                            after: None,
                        },
                        Err(error) => Performed::Retry {
                            why: error.to_string(),
                            after: None,
                        },
                    }
                })
            }
            Effect::StartPush(_) | Effect::AwaitPush { .. } => {
                let verifier = self.verifier.clone();
                Box::pin(async move {
                    verifier
                        .ask(Push { order }, PUSH_TIMEOUT)
                        .await
                        .unwrap_or_else(|error| Performed::Retry {
                            why: error.to_string(),
                            after: None,
                        })
                })
            }
            Effect::Send(_) | Effect::Edit { .. } => {
                let messenger = self.messenger.clone();
                Box::pin(async move {
                    // The Messenger's queue may be long; it times out each send itself.
                    const PATIENCE: Duration = Duration::from_secs(600);
                    messenger
                        .ask(Post { order }, PATIENCE)
                        .await
                        .unwrap_or_else(|error| Performed::Retry {
                            why: error.to_string(),
                            after: None,
                        })
                })
            }
        }
    }
}
