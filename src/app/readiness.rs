//! Whether alerts can be made durable now, and what is weaker than it should be. Looked at all the time,
//! so that `/readyz` answers from memory.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use tokio::sync::watch;

use crate::actors::checkpointer::Held;
use crate::actors::escalator::Pagers;
use crate::actors::measure;
use crate::clock::Clock;
use crate::http::Readiness;
use crate::plugins::Health;
use crate::plugins::chat::Chat;
use crate::plugins::factors::PushFactor;
use crate::store::Store;

const EVERY: Duration = Duration::from_secs(5);
/// While not ready: whoever waits for it should not wait longer than needed.
const AGAIN: Duration = Duration::from_millis(200);
/// A plugin that takes longer to say how it is, is not well.
const PATIENCE: Duration = Duration::from_secs(4);
/// Codes are not checked beyond this difference between our clock and the system's.
const MAX_SKEW_MS: u64 = 5_000;

pub struct Watched {
    pub store: Arc<dyn Store>,
    pub chat: Arc<dyn Chat>,
    pub push: Option<Arc<dyn PushFactor>>,
    pub pagers: watch::Receiver<Arc<Pagers>>,
    pub clock: Clock,
    pub held: Arc<Held>,
}

/// Looks until nobody listens any more.
pub async fn watch(watched: Watched, readiness: watch::Sender<Readiness>) {
    loop {
        let found = look(&watched).await;
        gauge!("securitybot_ready").set(if found.ready { 1.0 } else { 0.0 });
        let before = readiness.borrow().clone();
        if before != found {
            for reason in &found.failing {
                tracing::error!(%reason, "not ready");
            }
            for reason in found
                .degraded
                .iter()
                .filter(|reason| !before.degraded.contains(reason))
            {
                tracing::warn!(%reason, "degraded");
            }
            if found.ready && !before.ready {
                tracing::info!("ready: alerts are taken");
            }
        }
        if let Err(error) = measure::look(watched.store.as_ref(), watched.clock.now()).await {
            tracing::warn!(%error, "what is open could not be counted");
        }
        if readiness.send(found).is_err() {
            return;
        }
        let ready = readiness.borrow().ready;
        tokio::time::sleep(if ready { EVERY } else { AGAIN }).await;
    }
}

/// One look at everything.
pub async fn look(watched: &Watched) -> Readiness {
    let health = tokio::time::timeout(PATIENCE, watched.store.health()).await;
    let (mut failing, mut degraded) = match health {
        Ok(health) => (health.failing, health.degraded),
        Err(_) => (vec!["the store does not answer".to_owned()], Vec::new()),
    };
    let missing = watched.held.missing();
    if !missing.is_empty() {
        failing.push(format!(
            "this node does not hold the lease of partitions {missing:?}"
        ));
    }
    let chat = watched.chat.name();
    degraded.extend(complaint(&format!("chat {chat}"), watched.chat.health()).await);
    if let Some(push) = &watched.push {
        degraded.extend(complaint(&format!("factor {}", push.name()), push.health()).await);
    }
    let pagers = watched.pagers.borrow().clone();
    for (name, pager) in &pagers.by_name {
        degraded.extend(complaint(&format!("pager {name}"), pager.health()).await);
    }
    let skew = watched.clock.skew().unsigned_abs();
    if skew > MAX_SKEW_MS {
        degraded.push(format!(
            "the system clock is {} s away from ours: codes are not checked; check NTP",
            skew / 1000
        ));
    }
    Readiness {
        ready: failing.is_empty(),
        failing,
        degraded,
    }
}

async fn complaint(who: &str, health: impl Future<Output = Health>) -> Option<String> {
    match ask(health).await {
        Health::Good => None,
        Health::Degraded(why) => Some(format!("{who}: {why}")),
    }
}

/// Asks a plugin, for no longer than it may take.
pub async fn ask(health: impl Future<Output = Health>) -> Health {
    tokio::time::timeout(PATIENCE, health)
        .await
        .unwrap_or_else(|_| Health::Degraded("does not answer".to_owned()))
}
