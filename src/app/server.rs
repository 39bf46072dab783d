//! The service from the first line it prints to its ordered end: HTTP server, signals, systemd.

use std::time::Duration;

use actix_web::{App as WebApp, HttpServer, web};
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::config::Config;
use crate::http;
use crate::plugins::chat::{slack, web as web_chat};

use super::{App, StartError, heartbeat};

/// HTTP threads: handlers only parse, wait and answer; the actors have a thread of their own.
const HTTP_WORKERS: usize = 2;
/// Open requests get this long at shutdown; the whole of it stays under ten seconds.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs the service until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), StartError> {
    let clock = Clock::system();
    super::metrics();
    let app = App::start(config, clock).await?;
    let server = match serve(&app) {
        Ok(server) => server,
        Err(error) => {
            app.stop().await;
            return Err(error);
        }
    };
    let handle = server.handle();
    actix_rt::spawn(server);
    actix_rt::spawn(heartbeat::feed_watchdog(app.writers.handle()));
    actix_rt::spawn(upkeep());
    welcome(&app);
    heartbeat::tell_systemd(sd_notify::NotifyState::Ready);

    let failed = |error: std::io::Error| StartError::Listen {
        address: "signals".to_owned(),
        error,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => app.reload().await,
        }
    }
    tracing::info!("stopping: no new requests, then the actors, then the store");
    heartbeat::tell_systemd(sd_notify::NotifyState::Stopping);
    if let Some(chat) = &app.web_chat {
        chat.close_streams();
    }
    if let Some(slack) = &app.slack {
        slack.close();
    }
    if tokio::time::timeout(DRAIN, handle.stop(true))
        .await
        .is_err()
    {
        tracing::warn!("some requests did not end in time");
    }
    app.stop().await;
    Ok(())
}

/// The HTTP side of a started app; it must be spawned, and ends through its handle.
pub fn serve(app: &App) -> Result<actix_web::dev::Server, StartError> {
    let address = app.config.server.listen;
    let api = app.http.clone();
    let enroll = web::Data::from(app.enroll.clone());
    let chat = app.web_chat.clone().map(web::Data::from);
    let slack = app.slack.clone().map(web::Data::from);
    let server = HttpServer::new(move || {
        let (api, enroll, chat) = (api.clone(), enroll.clone(), chat.clone());
        let slack = slack.clone();
        WebApp::new()
            .configure(|cfg| {
                if let Some(chat) = chat {
                    web_chat::configure(cfg, chat);
                }
                if let Some(slack) = slack {
                    slack::configure(cfg, slack);
                }
            })
            .configure(|cfg| http::enroll::configure(cfg, enroll))
            .configure(|cfg| http::configure(cfg, api))
    })
    .workers(HTTP_WORKERS)
    .disable_signals()
    .shutdown_timeout(DRAIN.as_secs().saturating_sub(1))
    .bind(address)
    .map_err(|error| StartError::Listen {
        address: address.to_string(),
        error,
    })?;
    Ok(server.run())
}

/// Where to go next, for whoever started it by hand.
fn welcome(app: &App) {
    let url = &app.config.server.public_url;
    let token = app.data.path.join("token");
    tracing::info!(
        listen = %app.config.server.listen,
        store = app.store.kind(),
        chat = app.config.chat.name(),
        "securitybot is up"
    );
    eprintln!(
        "\n  securitybot is up.\n\n  Operators   {url}/          sign in with the token in {}\n  \
         Employees   securitybot chat-link alice     prints a one-time link to the chat\n  Try it      \
         securitybot alert send --employee alice --rule sudo --title \"sudo -i on web-3\"\n",
        token.display()
    );
}

/// Old histogram buckets are dropped now and then.
async fn upkeep() {
    const EVERY: Duration = Duration::from_secs(5);
    let handle = super::metrics();
    loop {
        tokio::time::sleep(EVERY).await;
        handle.run_upkeep();
    }
}
