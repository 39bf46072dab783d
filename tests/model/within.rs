//! A chat whose messages are rows of the store: the commit that decides a message writes it too, and so there is no
//! instant between them. As `src/actors/durable/within.rs` does it, whose loop lives in an actor.

use std::any::Any;
use std::collections::BTreeSet;

use securitybot::actors::checkpoint::Outbox;
use securitybot::core::conversation::Effect as Said;
use securitybot::core::ids::AggregateKey;
use securitybot::core::machine::{Context, Machine, Receipt, Settlement, Step};

use crate::people;
use crate::shell::effect_key;
use crate::state::Message;

/// What the commit shows, by message id.
pub type Rows = Vec<(String, Message)>;

/// The step and its outbox after all that the commit itself performs.
pub struct Performed<M: Machine> {
    pub step: Step<M>,
    pub outbox: Outbox<M::Effect>,
    pub rows: Rows,
    /// What the steps within it decided.
    pub more: Vec<M::Effect>,
}

pub fn perform<M: Machine>(
    key: &AggregateKey,
    mut step: Step<M>,
    mut outbox: Outbox<M::Effect>,
    started: &BTreeSet<u64>,
    cx: &Context<'_>,
) -> Performed<M> {
    let (mut rows, mut more) = (Vec::new(), Vec::new());
    loop {
        let heads = outbox.heads();
        let mut ready = heads
            .iter()
            .filter(|entry| !started.contains(&entry.seq) && entry.not_before <= cx.now);
        let next = ready.find_map(|entry| {
            let (id, message) = row(key, entry.seq, entry.effect.as_ref())?;
            Some((entry.seq, entry.effect.as_ref().clone(), id, message))
        });
        let Some((seq, effect, id, message)) = next else {
            return Performed {
                step,
                outbox,
                rows,
                more,
            };
        };
        let cx = &Context {
            entropy: cx.entropy.rotate_left(64) ^ u128::from(seq),
            ..*cx
        };
        let receipt = Receipt {
            message_id: id.clone(),
            at: cx.now,
            text: String::new(),
        };
        let settled = M::settled(effect, Settlement::Done(receipt));
        let mut settled = step.next.step(&settled, cx);
        let effects = std::mem::take(&mut settled.effects);
        more.extend(effects.iter().cloned());
        outbox = outbox.after(Some(seq), &settled.withdraw, started, effects, cx.now);
        step.and_then(settled);
        rows.push((id, message));
    }
}

fn row(key: &AggregateKey, seq: u64, effect: &dyn Any) -> Option<(String, Message)> {
    match effect.downcast_ref::<Said>()? {
        Said::Send(message) => Some((effect_key(key, seq), people::shown(message))),
        Said::Edit {
            message_id,
            sent_at: Some(_),
            message,
        } => Some((message_id.clone(), people::shown(message))),
        _ => None,
    }
}
