//! The only wiring: arguments become a config, a config becomes stores, plugins, actors and doors. What
//! starts here in order is ended in the opposite order.

mod data_dir;
mod desk;
pub mod directory;
mod doors;
mod heartbeat;
mod main;
mod plugins;
pub mod readiness;
mod reload;
pub mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use actix_web::web;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::{oneshot, watch};

use crate::actors::Now;
use crate::actors::checkpointer::{Held, LEASE};
use crate::actors::escalator::Pagers;
use crate::actors::inbox::ChatInbox;
use crate::actors::reporter::retention::Keep;
use crate::actors::reporter::rollups::RollupPlan;
use crate::actors::system::{self, Parts, System};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::core::employee::Directory;
use crate::core::ids::{AggregateKey, PagerName, SourceId};
use crate::core::world::World;
use crate::http::enroll::Enroll;
use crate::http::{Access, Http};
use crate::messages::Messages;
use crate::plugins::chat::Chat;
use crate::plugins::chat::slack::{self, Slack};
use crate::plugins::chat::web::WebChat;
use crate::plugins::factors::CodeFactor;
use crate::store::{Store, StoreError};

use data_dir::DataDir;
use doors::EmployeeLinks;

/// Why the service could not start; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Exit code 2.
    #[error("{0}")]
    Config(String),
    #[error("{0}")]
    DataDir(String),
    #[error("store: {0}")]
    Store(String),
    #[error("seed key: {0}")]
    SeedKey(String),
    #[error("cannot listen on {address}: {error}")]
    Listen {
        address: String,
        error: std::io::Error,
    },
}

/// The process environment; what is not UTF-8 cannot be meant for us.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The metrics recorder is one per process.
pub fn metrics() -> PrometheusHandle {
    static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    HANDLE
        .get_or_init(|| {
            PrometheusBuilder::new()
                .install_recorder()
                .unwrap_or_else(|_| PrometheusBuilder::new().build_recorder().handle())
        })
        .clone()
}

/// Everything that lives between start and stop.
pub struct App {
    config: Config,
    data: DataDir,
    store: Arc<dyn Store>,
    /// The thread that writes: the store's connections and the Checkpointers.
    writers: Arbiter,
    system: System,
    web_chat: Option<Arc<WebChat>>,
    slack: Option<Arc<Slack>>,
    people: Arc<directory::People>,
    desk: Arc<desk::OperatorDesk>,
    world: watch::Sender<Arc<World>>,
    pagers: watch::Sender<Arc<Pagers>>,
    access: watch::Sender<Arc<Access>>,
    now: Now,
    http: web::Data<Http>,
    enroll: Arc<Enroll>,
}

impl App {
    /// Opens the store, starts the actors. The HTTP server comes after it, see [`server::serve`].
    pub async fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        let data = DataDir::open(&config.server.data_dir)?;
        let now = plugins::now_of(&clock);
        let messages =
            Arc::new(Messages::load(config.templates.as_deref()).map_err(StartError::Config)?);
        let factor: Arc<dyn CodeFactor> = Arc::new(plugins::totp(&config, &data, &clock)?);
        data.settle()?;
        let writers = Arbiter::new();
        let store = opened_by(&writers, &config).await?;
        #[cfg(feature = "fault-injection")]
        let store: Arc<dyn Store> = Arc::new(crate::store::faulty::FaultyStore(store));
        #[cfg(feature = "fault-injection")]
        let factor: Arc<dyn CodeFactor> = Arc::new(crate::plugins::faulty::FaultyFactor(factor));
        own_all_partitions(store.as_ref(), &data.node, &now).await?;

        let slack = slack(&config, &store, &now);
        let pager_set = Arc::new(plugins::pagers(&config, &now, slack.as_ref())?);
        let people = Arc::new(directory::People::new(&config));
        let (world, world_seen) = watch::channel(Arc::new(world(
            &config,
            &pager_set,
            people.with_config(&config),
        )));
        reload::check_ladders(store.as_ref(), &world_seen.borrow().clone(), &pager_set)
            .await
            .map_err(StartError::Config)?;
        let (pagers, pagers_seen) = watch::channel(pager_set);
        let (access, access_seen) = watch::channel(Arc::new(doors::access(&config, &data.token)));

        let (chat, web_chat) = chat(&config, &store, &now, &world_seen, slack.as_ref());
        #[cfg(feature = "fault-injection")]
        let chat: Arc<dyn Chat> = Arc::new(crate::plugins::faulty::FaultyChat(chat));
        people
            .load(chat.as_ref(), store.as_ref(), &now, &world)
            .await;
        let held = Arc::new(Held::new(store.partitions()));
        let push = plugins::push(&config, &now);
        let system = system::start(Parts {
            node: data.node.clone(),
            store: store.clone(),
            now: now.clone(),
            world: world_seen.clone(),
            chat: chat.clone(),
            messages: messages.clone(),
            factor: factor.clone(),
            push: push.clone(),
            pagers: pagers_seen.clone(),
            sinks: plugins::sinks(&config, &now, slack.as_ref())?,
            rollups: RollupPlan {
                hourly: config.rollups.hourly,
                daily_at: config.rollups.daily_at,
                time_zone: config.rollups.time_zone.clone(),
                sinks: config.rollups.sinks.clone(),
            },
            keep: Keep {
                journal: config.retention.journal,
                cases: config.retention.cases,
            },
            sources: sources(&config, store.as_ref()).await?,
            polled: plugins::polled(&config)?,
            held: held.clone(),
            writers: writers.handle(),
        });
        let inbox = Arc::new(ChatInbox {
            world: world_seen.clone(),
            conversations: system.ports.conversations.clone(),
            verifier: system.ports.verifier.clone(),
        });
        if let Some(web_chat) = &web_chat {
            web_chat.set_inbox(inbox.clone());
        }
        actix_rt::spawn(people.clone().keep_fresh(directory::Refresh {
            chat: chat.clone(),
            store: store.clone(),
            now: now.clone(),
            world: world.clone(),
            doors: system.reconfigure_doors(),
        }));

        let watched = readiness::Watched {
            store: store.clone(),
            chat,
            push,
            pagers: pagers_seen,
            clock: clock.clone(),
            held,
        };
        let (readiness, readiness_seen) = watch::channel(readiness::look(&watched).await);
        actix_rt::spawn(readiness::watch(watched, readiness));
        if let Some(beat) = config.heartbeat.clone() {
            actix_rt::spawn(heartbeat::beat(beat, readiness_seen.clone()));
        }

        let public_url = config.server.public_url.clone();
        let enroll = Arc::new(Enroll::new(
            store.clone(),
            system.ports.conversations.clone(),
            factor.clone(),
            now.clone(),
            store.partitions(),
            &public_url,
        ));
        let links = EmployeeLinks {
            web_chat: web_chat.clone(),
            enroll: enroll.clone(),
        };
        let http = web::Data::new(Http {
            ports: system.ports.clone(),
            end_snooze: system.end_snooze.clone(),
            preview_snooze: system.preview_snooze.clone(),
            store: store.clone(),
            world: world_seen,
            access: access_seen,
            clock: now.clone(),
            readiness: readiness_seen,
            links: Arc::new(links),
            factor,
            metrics: metrics(),
            formats: doors::FORMATS,
            question_text: doors::question_text(messages),
            max_body: config.server.max_body,
            public_url,
        });
        let desk = Arc::new(desk::OperatorDesk::new(http.clone(), &config));
        if let Some(slack) = &slack {
            slack.set_desk(desk.clone());
            slack.set_shelf(http.clone().into_inner());
            slack.start(inbox);
        }
        Ok(Self {
            config: Config {
                // The people have them; those of the start must not outlive a reload here.
                employees: Arc::default(),
                ..config
            },
            data,
            store,
            writers,
            system,
            web_chat,
            slack,
            people,
            desk,
            world,
            pagers,
            access,
            now,
            http,
            enroll,
        })
    }

    /// The running actors, for tests that end one of them.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// Ends what [`App::start`] started, newest first.
    pub async fn stop(self) {
        self.system.stop().await;
        self.store.close().await;
        self.writers.stop();
        tracing::info!("stopped");
    }
}

/// The store, opened where it is written: its connections are served by the thread that opens them.
async fn opened_by(writers: &Arbiter, config: &Config) -> Result<Arc<dyn Store>, StartError> {
    let (reply, opened) = oneshot::channel();
    let config = config.clone();
    writers.spawn(async move {
        let _ = reply.send(plugins::store_when_there(&config).await);
    });
    let ended = |_| StartError::Store("the thread that opens it ended".to_owned());
    opened.await.map_err(ended)?
}

fn world(config: &Config, pagers: &Pagers, directory: Directory) -> World {
    let refresh: BTreeMap<PagerName, Duration> = pagers
        .by_name
        .iter()
        .filter_map(|(name, pager)| Some((name.clone(), pager.refresh_every()?)))
        .collect();
    config.world(directory, refresh)
}

/// Slack asks employees and may carry pages: it is made before either.
fn slack(config: &Config, store: &Arc<dyn Store>, now: &Now) -> Option<Arc<Slack>> {
    let config::Chat::Slack(slack) = &config.chat else {
        return None;
    };
    let socket = slack.mode == config::SlackMode::Socket;
    let settings = slack::Settings {
        api_url: slack.api_url.clone(),
        bot_token: slack.bot_token.clone(),
        app_token: slack.app_token.clone().filter(|_| socket),
        signing_secret: slack.signing_secret.clone().filter(|_| !socket),
    };
    Some(Arc::new(Slack::new(settings, store.clone(), now.clone())))
}

/// The chat as the actors know it, and the web chat as its own doors do.
fn chat(
    config: &Config,
    store: &Arc<dyn Store>,
    now: &Now,
    world: &watch::Receiver<Arc<World>>,
    slack: Option<&Arc<Slack>>,
) -> (Arc<dyn Chat>, Option<Arc<WebChat>>) {
    if let Some(slack) = slack {
        return (slack.clone(), None);
    }
    let chat = Arc::new(WebChat::new(
        store.clone(),
        now.clone(),
        &config.server.public_url,
        config.retention.chat,
        world.clone(),
    ));
    (chat.clone(), Some(chat))
}

/// Every configured source, and those that left the config with alerts still in their queue.
async fn sources(
    config: &Config,
    store: &dyn Store,
) -> Result<BTreeMap<SourceId, u64>, StartError> {
    let unreadable = |error: StoreError| StartError::Store(error.to_string());
    let mut sources: BTreeMap<SourceId, u64> = config
        .sources
        .iter()
        .map(|source| (source.name.clone(), source.max_backlog.unwrap_or(u64::MAX)))
        .collect();
    for partition in 0..store.partitions() {
        for key in store.sources(partition).await.map_err(unreadable)? {
            let id = SourceId::new(key.subject());
            let queue = store
                .queue(&AggregateKey::source(&id, store.partitions()))
                .await;
            if queue.map_err(unreadable)?.backlog > 0 && !sources.contains_key(&id) {
                tracing::warn!(source = %id, "is no longer configured; its queue is emptied");
                sources.insert(id, 0);
            }
        }
    }
    Ok(sources)
}

/// One node serves everything. A node that died elsewhere holds its leases for a while: wait for them.
async fn own_all_partitions(store: &dyn Store, node: &str, now: &Now) -> Result<(), StartError> {
    const LOOK_AGAIN: Duration = Duration::from_secs(1);
    let give_up = now().after(2 * LEASE);
    for partition in 0..store.partitions() {
        let mut told = false;
        while let Err(error) = store.claim(partition, node, now(), LEASE).await {
            if !matches!(error, StoreError::Mismatch(_)) || now() >= give_up {
                return Err(StartError::Store(error.to_string()));
            }
            if !told {
                tracing::warn!(partition, %error, "waiting for another node's lease to end");
                told = true;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
    Ok(())
}

pub use main::main;
