//! Starts every actor with the doors it needs, in the order in which they depend on each other, and ends
//! them the other way round. Actors know traits only: who stands behind them is decided in `app.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{Actor, Addr, ArbiterHandle};
use tokio::sync::watch;

use crate::core::conversation::Conversation;
use crate::core::escalation::Escalation;
use crate::core::ids::SourceId;
use crate::core::world::World;
use crate::messages::Messages;
use crate::plugins::chat::Chat;
use crate::plugins::factors::{CodeFactor, PushFactor};
use crate::plugins::sinks::Sink;
use crate::plugins::sources::PolledSource;
use crate::store::Store;

use super::Now;
use super::caretaker::{Caretaker, Life, StopAll};
use super::checkpointer::{Checkpointer, Held, Persist, Written};
use super::dispatcher::Dispatcher;
use super::durable::Env;
use super::escalator::{EscalationEffects, Escalator, Pagers};
use super::intake::{Intake, IntakeEnv};
use super::intakes::Intakes;
use super::joined::Joined;
use super::mailbox::{Mailbox, Slot, mailbox};
use super::messages::{AcceptAlerts, CheckCode, Deliver, Escalate, Ports, Reconfigure, Wake};
use super::messenger::{ConversationEffects, Messenger, Post};
use super::poller::Poller;
use super::reporter::Reporter;
use super::reporter::retention::Keep;
use super::reporter::rollups::RollupPlan;
use super::snooze::{EndSnooze, Preview, Snooze};
use super::verifier::{Push, Verifier};
use super::waker::Waker;

/// Makes a polled source anew for each life of its Poller.
pub type MakeSource = Arc<dyn Fn() -> Box<dyn PolledSource> + Send + Sync>;

/// Everything the actors work with.
pub struct Parts {
    pub node: String,
    pub store: Arc<dyn Store>,
    pub now: Now,
    pub world: watch::Receiver<Arc<World>>,
    pub chat: Arc<dyn Chat>,
    pub messages: Arc<Messages>,
    pub factor: Arc<dyn CodeFactor>,
    pub push: Option<Arc<dyn PushFactor>>,
    pub pagers: watch::Receiver<Arc<Pagers>>,
    pub sinks: Vec<Arc<dyn Sink>>,
    pub rollups: RollupPlan,
    pub keep: Keep,
    /// Every source with an intake and the backlog at which it refuses, those that are no longer
    /// configured but still have a queue among them.
    pub sources: BTreeMap<SourceId, u64>,
    pub polled: Vec<(SourceId, MakeSource)>,
    /// Which partitions can be written now, for readyz.
    pub held: Arc<Held>,
    /// The thread of the Checkpointers: hashing and packing one batch must not hold up the steps of the next.
    pub writers: ArbiterHandle,
}

/// The running actors.
pub struct System {
    pub ports: Ports,
    pub end_snooze: Mailbox<EndSnooze>,
    pub preview_snooze: Mailbox<Preview>,
    pub caretaker: Addr<Caretaker>,
    reconfigure: Vec<Mailbox<Reconfigure>>,
}

impl System {
    /// Hands a validated new world to everybody who holds one.
    pub fn reconfigure(&self, world: &Arc<World>) {
        for door in &self.reconfigure {
            door.tell(Reconfigure {
                world: world.clone(),
            });
        }
    }

    /// For whoever changes the world on its own account (the chat's directory).
    pub fn reconfigure_doors(&self) -> Vec<Mailbox<Reconfigure>> {
        self.reconfigure.clone()
    }

    /// Ends all actors, those that depend on others first.
    pub async fn stop(&self) {
        let _ = self.caretaker.send(StopAll).await;
    }
}

/// The installing ends of the doors, shared by the closures that (re)start the actors.
struct Slots {
    conversations: Slot<Deliver>,
    wake_conversations: Slot<Wake>,
    escalations: Slot<Escalate>,
    wake_escalations: Slot<Wake>,
    messenger: Slot<Post>,
    verifier: Slot<CheckCode>,
    pushes: Slot<Push>,
    intakes: Slot<AcceptAlerts>,
    reporter: Slot<Written>,
    end_snooze: Slot<EndSnooze>,
    preview_snooze: Slot<Preview>,
}

/// Must be called on a running actix system; returns at once.
pub fn start(parts: Parts) -> System {
    let (conversations_slot, conversations) = mailbox("dispatcher");
    let (wake_conversations_slot, wake_conversations) = mailbox("dispatcher");
    let (escalations_slot, escalations) = mailbox("escalator");
    let (wake_escalations_slot, wake_escalations) = mailbox("escalator");
    let (messenger_slot, messenger) = mailbox("messenger");
    let (verifier_slot, verifier) = mailbox("verifier");
    let (pushes_slot, pushes) = mailbox("verifier");
    let (intakes_slot, intake) = mailbox("intake");
    let (reporter_slot, reporter) = mailbox("reporter");
    let (end_snooze_slot, end_snooze) = mailbox("snooze");
    let (preview_snooze_slot, preview_snooze) = mailbox("snooze");
    let slots = Arc::new(Slots {
        conversations: conversations_slot,
        wake_conversations: wake_conversations_slot,
        escalations: escalations_slot,
        wake_escalations: wake_escalations_slot,
        messenger: messenger_slot,
        verifier: verifier_slot,
        pushes: pushes_slot,
        intakes: intakes_slot,
        reporter: reporter_slot,
        end_snooze: end_snooze_slot,
        preview_snooze: preview_snooze_slot,
    });
    let ports = Ports {
        intake,
        conversations,
        escalations,
        verifier,
    };
    let parts = Arc::new(parts);
    let mut caretaker = Caretaker::new(parts.store.clone());
    let mut reconfigure = Vec::new();

    let checkpointers = keep_checkpointers(&mut caretaker, &parts, &reporter);

    {
        let (parts, slots) = (parts.clone(), slots.clone());
        caretaker.keep("messenger", move || {
            let (chat, messages) = (parts.chat.clone(), parts.messages.clone());
            let addr = Messenger::new(chat, messages, parts.now.clone()).start();
            slots.messenger.install(&addr);
            Life::of(addr)
        });
    }
    {
        let (parts, slots) = (parts.clone(), slots.clone());
        caretaker.keep("verifier", move || {
            let (store, factor) = (parts.store.clone(), parts.factor.clone());
            let addr = Verifier::new(store, factor, parts.push.clone(), parts.now.clone()).start();
            slots.verifier.install(&addr);
            slots.pushes.install(&addr);
            Life::of(addr)
        });
    }
    {
        let (slot, joined) = mailbox("joined");
        caretaker.keep("joined", move || {
            let addr = Joined::default().start();
            slot.install(&addr);
            Life::of(addr)
        });
        let (slot, door) = mailbox("escalator");
        reconfigure.push(door);
        let env = Arc::new(Env::<Escalation> {
            now: parts.now.clone(),
            store: parts.store.clone(),
            checkpointers: checkpointers.clone(),
            performer: Arc::new(EscalationEffects::new(parts.pagers.clone(), joined)),
            newborn: wake_escalations.clone(),
        });
        let (parts, slots) = (parts.clone(), slots.clone());
        caretaker.keep("escalator", move || {
            let world = parts.world.borrow().clone();
            let addr = Escalator::new("escalation", env.clone(), world).start();
            slots.escalations.install(&addr);
            slots.wake_escalations.install(&addr);
            slot.install(&addr);
            Life::of(addr)
        });
    }
    {
        let (slot, door) = mailbox("dispatcher");
        reconfigure.push(door);
        let performer = ConversationEffects {
            chat: parts.chat.clone(),
            messages: parts.messages.clone(),
            now: parts.now.clone(),
            messenger,
            verifier: pushes,
            escalations: ports.escalations.clone(),
        };
        let env = Arc::new(Env::<Conversation> {
            now: parts.now.clone(),
            store: parts.store.clone(),
            checkpointers: checkpointers.clone(),
            performer: Arc::new(performer),
            newborn: wake_escalations.clone(),
        });
        let (parts, slots) = (parts.clone(), slots.clone());
        caretaker.keep("dispatcher", move || {
            let world = parts.world.borrow().clone();
            let addr = Dispatcher::new("conversation", env.clone(), world).start();
            slots.conversations.install(&addr);
            slots.wake_conversations.install(&addr);
            slot.install(&addr);
            Life::of(addr)
        });
    }
    {
        let (slot, door) = mailbox("reporter");
        reconfigure.push(door);
        let (parts, slots) = (parts.clone(), slots.clone());
        let escalations = ports.escalations.clone();
        caretaker.keep("reporter", move || {
            let addr = Reporter::new(
                parts.store.clone(),
                parts.now.clone(),
                parts.world.borrow().clone(),
                escalations.clone(),
                parts.sinks.clone(),
                parts.rollups.clone(),
                parts.keep.clone(),
            )
            .start();
            slots.reporter.install(&addr);
            slot.install(&addr);
            Life::of(addr)
        });
    }
    {
        let (parts, slots) = (parts.clone(), slots.clone());
        let conversations = ports.conversations.clone();
        caretaker.keep("snooze", move || {
            let (store, now) = (parts.store.clone(), parts.now.clone());
            let addr = Snooze::new(store, now, conversations.clone()).start();
            slots.end_snooze.install(&addr);
            slots.preview_snooze.install(&addr);
            Life::of(addr)
        });
    }
    {
        let parts = parts.clone();
        caretaker.keep("waker", move || {
            let waker = Waker {
                store: parts.store.clone(),
                now: parts.now.clone(),
                conversations: wake_conversations.clone(),
                escalations: wake_escalations.clone(),
            };
            Life::of(waker.start())
        });
    }

    keep_intakes(
        &mut caretaker,
        &parts,
        &ports,
        &checkpointers,
        &slots,
        &mut reconfigure,
    );

    for (id, make) in parts.polled.clone() {
        let (parts, intake) = (parts.clone(), ports.intake.clone());
        caretaker.keep(format!("poller/{id}"), move || {
            let (store, now) = (parts.store.clone(), parts.now.clone());
            Life::of(Poller::new(make(), store, intake.clone(), now).start())
        });
    }

    System {
        ports,
        end_snooze,
        preview_snooze,
        caretaker: caretaker.start(),
        reconfigure,
    }
}

fn keep_checkpointers(
    caretaker: &mut Caretaker,
    parts: &Arc<Parts>,
    reporter: &Mailbox<Written>,
) -> Arc<Vec<Mailbox<Persist>>> {
    let mut doors = Vec::new();
    for partition in 0..parts.store.partitions() {
        let (slot, door) = mailbox("checkpointer");
        doors.push(door);
        let (parts, reporter) = (parts.clone(), reporter.clone());
        caretaker.keep(format!("checkpointer/{partition}"), move || {
            let checkpointer = Checkpointer::new(
                partition,
                parts.node.clone(),
                parts.store.clone(),
                parts.now.clone(),
                reporter.clone(),
                parts.held.clone(),
            );
            let addr = Checkpointer::start_in_arbiter(&parts.writers, |_| checkpointer);
            slot.install(&addr);
            Life::of(addr)
        });
    }
    Arc::new(doors)
}

fn keep_intakes(
    caretaker: &mut Caretaker,
    parts: &Arc<Parts>,
    ports: &Ports,
    checkpointers: &Arc<Vec<Mailbox<Persist>>>,
    slots: &Arc<Slots>,
    reconfigure: &mut Vec<Mailbox<Reconfigure>>,
) {
    let env = Arc::new(IntakeEnv {
        now: parts.now.clone(),
        store: parts.store.clone(),
        checkpointers: checkpointers.clone(),
        conversations: ports.conversations.clone(),
        escalations: ports.escalations.clone(),
    });
    let mut by_source = BTreeMap::new();
    for (source, max_backlog) in parts.sources.clone() {
        let (slot, door) = mailbox("intake");
        let (world_slot, world_door) = mailbox("intake");
        by_source.insert(source.clone(), door);
        reconfigure.push(world_door);
        let (env, world) = (env.clone(), parts.world.clone());
        caretaker.keep(format!("intake/{source}"), move || {
            let now_world = world.borrow().clone();
            let addr = Intake::new(source.clone(), env.clone(), now_world, max_backlog).start();
            slot.install(&addr);
            world_slot.install(&addr);
            Life::of(addr)
        });
    }
    let slots = slots.clone();
    caretaker.keep("intakes", move || {
        let addr = Intakes {
            by_source: by_source.clone(),
        }
        .start();
        slots.intakes.install(&addr);
        Life::of(addr)
    });
}
