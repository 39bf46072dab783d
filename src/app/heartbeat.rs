//! A dead bot fails open: somebody outside must notice. The heartbeat calls a URL while alerts can be
//! made durable, and systemd's watchdog is fed by the same thread that runs the actors.

use secrecy::ExposeSecret;
use tokio::sync::watch;

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

/// Feeds systemd's watchdog, where there is one. Runs on the actors' own thread: if that hangs, systemd
/// restarts the service.
pub async fn feed_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    loop {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        tokio::time::sleep(limit / 3).await;
    }
}

/// Tells systemd how far we are; harmless without it.
pub fn tell_systemd(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd was not told");
    }
}
