//! Where Redis is: one server, one behind Sentinels, or a Cluster. Errors never repeat the URL, which
//! may hold a password.

use std::fmt;
use std::sync::Arc;

use redis::cluster::ClusterClient;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisError, TlsCertificates,
    TlsMode,
};
use tokio::sync::Mutex;

use super::RedisOptions;
use super::link::Connection;
use crate::store::StoreError;

#[derive(Clone)]
pub(super) struct Address {
    /// Host names only, for messages.
    shown: String,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    One(Client),
    /// Asked again at each connect: that is how a failover is followed.
    Sentinel(Arc<Mutex<SentinelClient>>),
    Cluster(ClusterClient),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis at {}", self.shown)
    }
}

impl Address {
    /// `redis://`, `rediss://` (TLS), `redis+sentinel://user:password@host:26379,host:26379/name/0`,
    /// `redis+cluster://user:password@host:6379,host:6379`, both also with `rediss+`.
    pub fn parse(url: &str, options: &RedisOptions) -> Result<Self, StoreError> {
        let malformed = |why: &str| {
            StoreError::Mismatch(format!(
                "store.url: {why}; expected redis://host:6379/0, rediss://, \
                 redis+sentinel://host:26379,host:26379/service/0 or \
                 redis+cluster://host:6379,host:6379"
            ))
        };
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| malformed("it is no URL"))?;
        let (credentials, place) = rest
            .rsplit_once('@')
            .map_or((None, rest), |(credentials, place)| {
                (Some(credentials), place)
            });
        let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
        let library = |e: RedisError| malformed(&e.to_string());
        let (scheme, tls) = match scheme.strip_prefix("rediss") {
            Some(kind) => (kind, true),
            None => (scheme.strip_prefix("redis").unwrap_or("?"), false),
        };
        let node = |host: &str| {
            let scheme = if tls { "rediss" } else { "redis" };
            let user = credentials.map_or_else(String::new, |c| format!("{c}@"));
            format!("{scheme}://{user}{host}")
        };
        let certificates = || TlsCertificates {
            client_tls: None,
            root_cert: options.root_certificate.clone(),
        };
        let kind = match scheme {
            "" if tls => Kind::One(Client::build_with_tls(url, certificates()).map_err(library)?),
            "" => Kind::One(Client::open(url).map_err(library)?),
            "+cluster" => {
                // The library would send a slow write a second time; ours is the only deadline.
                let mut builder = ClusterClient::builder(hosts.split(',').map(node))
                    .connection_timeout(options.deadline)
                    .response_timeout(options.deadline * 2)
                    .overall_response_timeout(None);
                if tls {
                    builder = builder.certs(certificates());
                }
                Kind::Cluster(builder.build().map_err(library)?)
            }
            "+sentinel" => {
                let (service, db) = path.split_once('/').unwrap_or((path, "0"));
                if service.is_empty() {
                    return Err(malformed("the service's name is missing"));
                }
                let db = db
                    .parse()
                    .map_err(|_| malformed("the database is no number"))?;
                let sentinels = hosts
                    .split(',')
                    .map(sentinel)
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| malformed("a Sentinel's port is no number"))?;
                let mut builder =
                    SentinelClientBuilder::new(sentinels, service, SentinelServerType::Master)
                        .map_err(library)?
                        .set_client_to_redis_db(db);
                if tls {
                    builder = builder
                        .set_client_to_redis_tls_mode(TlsMode::Secure)
                        .set_client_to_redis_certificates(certificates());
                }
                // The library decodes what a URL escapes in user and password.
                let info = node("localhost").into_connection_info().map_err(library)?;
                if let Some(user) = info.redis_settings().username() {
                    builder = builder.set_client_to_redis_username(user);
                }
                if let Some(password) = info.redis_settings().password() {
                    builder = builder.set_client_to_redis_password(password);
                }
                Kind::Sentinel(Arc::new(Mutex::new(builder.build().map_err(library)?)))
            }
            _ => return Err(malformed("its scheme is unknown")),
        };
        Ok(Self {
            shown: hosts.to_owned(),
            kind,
        })
    }

    pub fn is_cluster(&self) -> bool {
        matches!(self.kind, Kind::Cluster(_))
    }

    pub async fn connect(&self, config: &AsyncConnectionConfig) -> Result<Connection, RedisError> {
        Ok(match &self.kind {
            Kind::One(client) => Connection::One(
                client
                    .get_multiplexed_async_connection_with_config(config)
                    .await?,
            ),
            Kind::Sentinel(client) => Connection::One(
                client
                    .lock()
                    .await
                    .get_async_connection_with_config(config)
                    .await?,
            ),
            Kind::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        })
    }
}

fn sentinel(place: &str) -> Option<ConnectionAddr> {
    let (host, port) = place.rsplit_once(':').unwrap_or((place, "26379"));
    Some(ConnectionAddr::Tcp(host.to_owned(), port.parse().ok()?))
}
