//! A yes needs its form at once, but what stands in it is decided by the conversation, a moment later. Whoever clicked
//! waits here until the message's edit passes by with the form, while Slack's trigger still lives.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::core::ids::CaseId;
use crate::messages::Rendered;

use super::form::Seed;

/// Slack's trigger dies after three seconds; opening the form needs some of them.
const PATIENCE: Duration = Duration::from_millis(2_000);
/// Clicks that wait at once; beyond it people use the button on the message.
const MOST: usize = 1_000;

#[derive(Default)]
pub(super) struct Awaited {
    by_case: Mutex<HashMap<CaseId, Vec<oneshot::Sender<Seed>>>>,
}

pub(super) struct Coming(Option<oneshot::Receiver<Seed>>);

impl Awaited {
    /// Call it before the yes is delivered, else the form may pass by unseen.
    pub fn form_of(&self, case: CaseId) -> Coming {
        let mut waiting = self.by_case.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, clicks| {
            clicks.retain(|click| !click.is_closed());
            !clicks.is_empty()
        });
        if waiting.len() >= MOST {
            return Coming(None);
        }
        let (sender, receiver) = oneshot::channel();
        waiting.entry(case).or_default().push(sender);
        Coming(Some(receiver))
    }

    /// A message is on its way to Slack.
    pub fn passes(&self, message: &Rendered) {
        let Some(form) = &message.form else {
            return;
        };
        let mut waiting = self.by_case.lock().unwrap_or_else(PoisonError::into_inner);
        for click in waiting.remove(&form.case).unwrap_or_default() {
            // Whoever no longer waits uses the button.
            let _ = click.send(Seed::of(form));
        }
    }
}

impl Coming {
    /// `None`: it took too long, or there is no form (the case is over).
    pub async fn seed(self) -> Option<Seed> {
        tokio::time::timeout(PATIENCE, self.0?).await.ok()?.ok()
    }
}
