//! From config to the outside systems: the one place that names concrete plugins and stores.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use secrecy::{ExposeSecret, SecretString};

use crate::actors::Now;
use crate::actors::escalator::Pagers;
use crate::actors::system::MakeSource;
use crate::clock::Clock;
use crate::config::{Config, PagerKind, SinkKind, SourceKind, StoreKind};
use crate::core::ids::{PagerName, SourceId};
use crate::core::time::Timestamp;
use crate::plugins::chat::slack::{Slack, SlackPager, SlackSink};
use crate::plugins::factors::PushFactor;
use crate::plugins::factors::duo::{DuoFactor, DuoKeys};
use crate::plugins::factors::seal::SealKey;
use crate::plugins::factors::totp::TotpFactor;
use crate::plugins::formats::alertmanager::Options;
use crate::plugins::formats::mapping::Mapping;
use crate::plugins::pagers::Pager;
use crate::plugins::pagers::alertmanager::{AlertmanagerPager, DEFAULT_REFRESH};
use crate::plugins::pagers::log::LogPager;
use crate::plugins::pagers::pagerduty::PagerDutyPager;
use crate::plugins::pagers::webhook::WebhookPager;
use crate::plugins::sinks::Sink;
use crate::plugins::sinks::jsonl::JsonlSink;
use crate::plugins::sinks::webhook::WebhookSink;
use crate::plugins::sources::alertmanager_api::AlertmanagerApi;
use crate::plugins::sources::jsonl::JsonlFollower;
use crate::plugins::standard_webhooks::Secret;
use crate::store::redis::{RedisOptions, RedisStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

use super::StartError;
use super::data_dir::DataDir;

/// How long a start waits for a Redis that does not answer: both may be starting, after a power cut.
const STORE_PATIENCE: Duration = Duration::from_secs(30);

/// The store, waited for a while when it cannot be reached. What waiting cannot mend is said at once.
pub async fn store_when_there(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    const LOOK_AGAIN: Duration = Duration::from_secs(1);
    let mut left = match config.store.kind {
        StoreKind::Redis { .. } => STORE_PATIENCE,
        StoreKind::Sqlite => Duration::ZERO,
    };
    loop {
        match open_store(config).await {
            Err(error @ StoreError::Unavailable(_)) if !left.is_zero() => {
                if left == STORE_PATIENCE {
                    tracing::warn!(%error, patience = ?STORE_PATIENCE, "waiting for the store");
                }
                left = left.saturating_sub(LOOK_AGAIN);
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            opened => return opened.map_err(|error| StartError::Store(error.to_string())),
        }
    }
}

/// The store, or at once why not.
pub async fn store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    open_store(config)
        .await
        .map_err(|error| StartError::Store(error.to_string()))
}

/// Where SQLite keeps everything.
pub fn database(config: &Config) -> PathBuf {
    config.server.data_dir.join("securitybot.db")
}

async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    let partitions = config.store.partitions;
    match &config.store.kind {
        StoreKind::Sqlite => {
            let path = database(config);
            Ok(Arc::new(SqliteStore::open(&path, partitions)?))
        }
        StoreKind::Redis {
            url,
            min_replicas,
            prefix,
        } => {
            let options = RedisOptions {
                prefix: prefix.clone(),
                min_replicas: *min_replicas,
                ..RedisOptions::default()
            };
            let store = RedisStore::open(url.expose_secret(), partitions, options).await?;
            Ok(Arc::new(store))
        }
    }
}

/// The seed key: from the config, or `data_dir/seed.key`, made at the first start only.
pub fn totp(config: &Config, data: &DataDir, clock: &Clock) -> Result<TotpFactor, StartError> {
    let key = match &config.factors.totp.seed_key {
        Some(key) => given_seed_key(key)?,
        None => SealKey::load_or_create(&data.path.join("seed.key"), data.is_new)
            .map_err(|error| StartError::SeedKey(error.to_string()))?,
    };
    let (system, skewed) = (clock.clone(), clock.clone());
    Ok(TotpFactor::new(
        key,
        Arc::new(move || system.system_now()),
        Arc::new(move || Duration::from_millis(skewed.skew().unsigned_abs())),
    ))
}

fn given_seed_key(key: &SecretString) -> Result<SealKey, StartError> {
    let bytes = BASE64
        .decode(key.expose_secret().trim().as_bytes())
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or_else(|| {
            StartError::SeedKey(
                "factors.totp.seed_key: expected 32 bytes in base64 (openssl rand -base64 32)"
                    .to_owned(),
            )
        })?;
    Ok(SealKey::from_bytes(&bytes))
}

/// The push factor; `None` without `[factors.duo]`.
pub fn push(config: &Config, now: &Now) -> Option<Arc<dyn PushFactor>> {
    let duo = config.factors.duo.as_ref()?;
    let keys = DuoKeys {
        integration_key: duo.integration_key.clone(),
        secret_key: duo.secret_key.clone(),
        host: duo.api_host.clone(),
    };
    let url = duo.api_url.as_ref().map(|url| url.as_str());
    Some(Arc::new(DuoFactor::new(keys, url, now.clone())))
}

pub fn pagers(
    config: &Config,
    now: &Now,
    slack: Option<&Arc<Slack>>,
) -> Result<Pagers, StartError> {
    let client = crate::plugins::http_client();
    let mut by_name: BTreeMap<PagerName, Arc<dyn Pager>> = BTreeMap::new();
    for pager in &config.pagers {
        let name = pager.name.as_str();
        let made: Arc<dyn Pager> = match &pager.kind {
            PagerKind::Log => Arc::new(LogPager::new(name)),
            PagerKind::Webhook { url, secret } => {
                let secret = signing_secret("pagers", name, secret)?;
                let (url, client) = (url.as_str(), client.clone());
                Arc::new(WebhookPager::new(name, url, secret, client, now.clone()))
            }
            PagerKind::Alertmanager { url } => Arc::new(AlertmanagerPager::new(
                name,
                url.as_str(),
                DEFAULT_REFRESH,
                client.clone(),
                now.clone(),
            )),
            PagerKind::Slack { channel } => {
                let slack = slack.ok_or_else(|| no_slack("pagers", name))?;
                Arc::new(SlackPager::new(slack.clone(), name, channel))
            }
            PagerKind::Pagerduty {
                routing_key,
                api_url,
                ..
            } => Arc::new(PagerDutyPager::new(
                name,
                api_url.as_str(),
                routing_key.clone(),
                client.clone(),
            )),
        };
        #[cfg(feature = "fault-injection")]
        let made: Arc<dyn Pager> = Arc::new(crate::plugins::faulty::FaultyPager(made));
        by_name.insert(pager.name.clone(), made);
    }
    Ok(Pagers {
        by_name,
        now: now.clone(),
    })
}

pub fn sinks(
    config: &Config,
    now: &Now,
    slack: Option<&Arc<Slack>>,
) -> Result<Vec<Arc<dyn Sink>>, StartError> {
    let client = crate::plugins::http_client();
    config
        .sinks
        .iter()
        .map(|sink| -> Result<Arc<dyn Sink>, StartError> {
            let name = sink.name.as_str();
            let made: Arc<dyn Sink> = match &sink.kind {
                SinkKind::Jsonl { path } => Arc::new(JsonlSink::new(name, path)),
                SinkKind::Webhook { url, secret } => {
                    let secret = signing_secret("sinks", name, secret)?;
                    let (url, client) = (url.as_str(), client.clone());
                    Arc::new(WebhookSink::new(name, url, secret, client, now.clone()))
                }
                SinkKind::Slack { channel } => {
                    let slack = slack.ok_or_else(|| no_slack("sinks", name))?;
                    Arc::new(SlackSink::new(slack.clone(), name, channel))
                }
            };
            #[cfg(feature = "fault-injection")]
            let made: Arc<dyn Sink> = Arc::new(crate::plugins::faulty::FaultySink(made));
            Ok(made)
        })
        .collect()
}

fn no_slack(section: &str, name: &str) -> StartError {
    let message = "it cannot go to Slack before a restart with chat.kind = \"slack\"";
    StartError::Config(format!("{section} {name}: {message}"))
}

fn signing_secret(section: &str, name: &str, secret: &SecretString) -> Result<Secret, StartError> {
    Secret::new(secret)
        .map_err(|error| StartError::Config(format!("{section} {name}: secret: {error}")))
}

/// Sources that are polled, each made anew for every life of its Poller.
pub fn polled(config: &Config) -> Result<Vec<(SourceId, MakeSource)>, StartError> {
    let client = crate::plugins::http_client();
    let mut polled: Vec<(SourceId, MakeSource)> = Vec::new();
    for source in &config.sources {
        let id = source.name.clone();
        let make: MakeSource = match source.kind.clone() {
            SourceKind::Http { .. } | SourceKind::AlertmanagerWebhook { .. } => continue,
            SourceKind::Alertmanager {
                url,
                every,
                principal_label,
                cluster,
            } => {
                let (id, client) = (id.clone(), client.clone());
                let options = Options {
                    principal_label,
                    cluster,
                };
                Arc::new(move || {
                    Box::new(AlertmanagerApi::new(
                        id.clone(),
                        url.as_str(),
                        every,
                        options.clone(),
                        client.clone(),
                    ))
                })
            }
            SourceKind::Jsonl { path, map, every } => {
                let id = id.clone();
                Mapping::compile(&map)
                    .map_err(|error| StartError::Config(format!("sources {id}: map: {error}")))?;
                Arc::new(move || {
                    let mapping = Mapping::compile(&map).expect("compiled before");
                    Box::new(JsonlFollower::new(
                        id.clone(),
                        Path::new(&path),
                        every,
                        mapping,
                    ))
                })
            }
        };
        polled.push((id, make));
    }
    Ok(polled)
}

/// The clock as actors and plugins are given it.
pub fn now_of(clock: &Clock) -> Now {
    let clock = clock.clone();
    Arc::new(move || -> Timestamp { clock.now() })
}
