//! A dead bot fails open: somebody outside must notice. The heartbeat calls a URL while alerts can be
//! made durable, and systemd's watchdog is fed while both threads that run actors do their work.

use actix::ArbiterHandle;
use secrecy::ExposeSecret;
use tokio::sync::{oneshot, watch};

use crate::config::Heartbeat;
use crate::http::Readiness;

/// Calls the outside URL until the end; a heartbeat that fails is logged and counted.
pub async fn beat(heartbeat: Heartbeat, readiness: watch::Receiver<Readiness>) {
    let client = crate::plugins::http_client();
    loop {
        if readiness.borrow().ready {
            let sent = client.get(heartbeat.url.expose_secret()).send().await;
            let result = match sent.and_then(reqwest::Response::error_for_status) {
                Ok(_) => "sent",
                Err(error) => {
                    // The URL may hold a token.
                    tracing::warn!(error = %error.without_url(), "the heartbeat was not taken");
                    "failed"
                }
            };
            metrics::counter!("securitybot_heartbeats_total", "result" => result).increment(1);
        }
        tokio::time::sleep(heartbeat.every).await;
    }
}

/// Feeds systemd's watchdog, where there is one. Runs on the thread that decides and asks the one that writes: if
/// either hangs or is gone, systemd restarts the service.
pub async fn feed_watchdog(writers: ArbiterHandle) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    loop {
        if turns(&writers).await {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
        tokio::time::sleep(limit / 3).await;
    }
}

/// Whether a thread takes work up; there is no answer while it hangs.
async fn turns(thread: &ArbiterHandle) -> bool {
    let (turn, turned) = oneshot::channel();
    thread.spawn_fn(move || {
        let _ = turn.send(());
    });
    turned.await.is_ok()
}

/// Tells systemd how far we are; harmless without it.
pub fn tell_systemd(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd was not told");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use actix::Arbiter;

    use super::*;

    #[actix_rt::test]
    async fn a_thread_that_hangs_does_not_answer_and_one_that_ended_does_not_turn() {
        let thread = Arbiter::new();
        let handle = thread.handle();
        assert!(turns(&handle).await);

        let (release, held) = mpsc::channel::<()>();
        thread.spawn_fn(move || {
            let _ = held.recv();
        });
        let mut asked = Box::pin(turns(&handle));
        let early = tokio::time::timeout(Duration::from_millis(100), &mut asked).await;
        assert!(early.is_err(), "it hangs");
        release.send(()).unwrap();
        assert!(asked.await, "it goes on");

        thread.stop();
        thread.join().unwrap();
        assert!(!turns(&handle).await);
    }
}
