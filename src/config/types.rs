//! The configuration as the rest of the program sees it: checked, complete, every default filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::core::alert::Severity;
use crate::core::employee::Employee;
use crate::core::ids::{EmployeeId, OperatorName, PagerName, SourceId};
use crate::core::policy::{Ladder, Rule, Times, WorkingHours};

/// A valid `config.toml`. `Debug` never shows a secret.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from, for messages and reloads.
    pub file: PathBuf,
    /// By its key, something that changes when a secret does; secrets themselves do not show.
    pub fingerprints: BTreeMap<String, u64>,
    pub server: Server,
    pub log: Log,
    pub store: Store,
    /// A folder whose templates replace the built-in ones.
    pub templates: Option<PathBuf>,
    pub chat: Chat,
    pub factors: Factors,
    pub severities: BTreeMap<Severity, Times>,
    pub working_hours: WorkingHours,
    /// E-mails of these domains also match by their local part.
    pub domains: Vec<String>,
    /// Shared with every directory made of it.
    pub employees: Arc<[Employee]>,
    /// Beside the bootstrap operator `admin`.
    pub operators: Vec<Operator>,
    pub sources: Vec<Source>,
    pub rules: Vec<Rule>,
    /// One of them is named `default`.
    pub ladders: Vec<Ladder>,
    pub pagers: Vec<Pager>,
    pub sinks: Vec<Sink>,
    pub rollups: Rollups,
    pub heartbeat: Option<Heartbeat>,
    pub retention: Retention,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    /// Without a slash at its end.
    pub public_url: String,
    /// Bytes of one request body.
    pub max_body: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    /// A `tracing` filter: `info`, `securitybot=debug,info`.
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Pretty,
    Json,
}

#[derive(Clone, Debug)]
pub struct Store {
    pub kind: StoreKind,
    pub partitions: u16,
}

#[derive(Clone, Debug)]
pub enum StoreKind {
    /// In `data_dir`.
    Sqlite,
    Redis {
        /// It may hold a password.
        url: SecretString,
        /// Replicas that must have a write before a producer is told so; 0: none.
        min_replicas: u32,
        /// Before every key, so that several bots can share one Redis.
        prefix: String,
    },
}

#[derive(Clone, Debug)]
pub enum Chat {
    Web,
    Slack(Box<Slack>),
}

impl Chat {
    /// The `chat` part of its identities.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Slack(_) => "slack",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Slack {
    pub bot_token: SecretString,
    /// Present in mode `socket`.
    pub app_token: Option<SecretString>,
    /// Present in mode `events`.
    pub signing_secret: Option<SecretString>,
    pub mode: SlackMode,
    pub security_channel: Option<String>,
    pub api_url: Url,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlackMode {
    Socket,
    Events,
}

#[derive(Clone, Debug, Default)]
pub struct Factors {
    pub totp: Totp,
    pub duo: Option<Duo>,
}

#[derive(Clone, Debug, Default)]
pub struct Totp {
    /// `None`: `data_dir/seed.key`, made at the first start.
    pub seed_key: Option<SecretString>,
}

#[derive(Clone, Debug)]
pub struct Duo {
    pub integration_key: SecretString,
    pub secret_key: SecretString,
    pub api_host: String,
    pub api_url: Option<Url>,
    /// User names that are not the e-mail (or id); empty: no push for that employee.
    pub users: BTreeMap<EmployeeId, String>,
}

#[derive(Clone, Debug)]
pub struct Operator {
    pub name: OperatorName,
    pub token: SecretString,
    pub roles: BTreeSet<Role>,
    /// Their user id on the chat platform: whose clicks under a page are theirs.
    pub chat: Option<String>,
}

/// What an operator may do; each includes what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Viewer,
    Responder,
    Admin,
}

#[derive(Clone, Debug)]
pub struct Source {
    pub name: SourceId,
    /// Globs over rule names; empty: all.
    pub rules: Vec<String>,
    /// Beyond this many undelivered alerts the answer is 503. `None`: no limit.
    pub max_backlog: Option<u64>,
    pub kind: SourceKind,
}

#[derive(Clone, Debug)]
pub enum SourceKind {
    Http {
        auth: IngestAuth,
    },
    AlertmanagerWebhook {
        auth: IngestAuth,
        principal_label: String,
        cluster: String,
    },
    Alertmanager {
        url: Url,
        every: Duration,
        principal_label: String,
        cluster: String,
    },
    Jsonl {
        path: PathBuf,
        /// Alert field (`principal`, `rule`, `title`, ..., `context.host`) to JMESPath expression.
        map: BTreeMap<String, String>,
        every: Duration,
    },
}

/// How a producer proves itself.
#[derive(Clone, Debug)]
pub enum IngestAuth {
    /// The token in `data_dir/token`; source `local` only.
    Bootstrap,
    Token(SecretString),
    /// Standard Webhooks signature (HMAC-SHA256).
    Signature(SecretString),
}

#[derive(Clone, Debug)]
pub struct Pager {
    pub name: PagerName,
    pub kind: PagerKind,
}

#[derive(Clone, Debug)]
pub enum PagerKind {
    Log,
    Webhook {
        url: Url,
        secret: SecretString,
    },
    Alertmanager {
        url: Url,
    },
    Pagerduty {
        routing_key: SecretString,
        api_url: Url,
        /// `None`: nothing that happens in PagerDuty is heard here.
        webhook_secret: Option<SecretString>,
    },
    /// A channel of the workspace in which employees are asked.
    Slack {
        channel: String,
    },
}

#[derive(Clone, Debug)]
pub struct Sink {
    pub name: String,
    pub kind: SinkKind,
}

#[derive(Clone, Debug)]
pub enum SinkKind {
    Jsonl {
        path: PathBuf,
    },
    Webhook {
        url: Url,
        secret: SecretString,
    },
    /// Rollups as messages in a channel.
    Slack {
        channel: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollups {
    pub hourly: bool,
    /// `None`: no daily rollup.
    pub daily_at: Option<jiff::civil::Time>,
    /// The IANA zone of `daily_at`.
    pub time_zone: String,
    pub sinks: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// It may hold a token.
    pub url: SecretString,
    pub every: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub cases: Duration,
    pub journal: Duration,
    pub chat: Duration,
    pub dedup: Duration,
}
