//! `config.toml` as it is written. Unknown keys are refused everywhere: a misspelt key that is ignored
//! would be a deadline or a pager that silently does not exist.
//!
//! Things with a `kind` hold the keys of every kind; `build.rs` refuses those of another kind by name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::{Date, Time};
use serde::Deserialize;
use url::Url;

use crate::core::alert::Severity;
use crate::core::policy::{Explanation, Factor, Mode};

use super::secret::{SecretRef, SecretUrl};
use super::text::{
    ChatWord, Daily, Day, Glob, Name, PagerWord, SinkWord, Size, SourceWord, StoreWord, Text, Zone,
};
use super::types::{LogFormat, Role, SlackMode};

/// Structs whose keys are all optional.
macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? })+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, Deserialize)]
            #[serde(default, deny_unknown_fields)]
            pub struct $name { $(pub $field: $type),* }
        )+
    };
}

sections! {
    RawConfig {
        server: RawServer,
        log: RawLog,
        store: RawStore,
        messages: RawMessages,
        chat: RawChat,
        factors: RawFactors,
        severity: RawSeverities,
        working_hours: RawWorkingHours,
        directory: RawDirectory,
        employees: Vec<RawEmployee>,
        operators: Vec<RawOperator>,
        sources: Option<Vec<RawSource>>,
        rules: Vec<RawRule>,
        ladders: Option<Vec<RawLadder>>,
        pagers: Option<Vec<RawPager>>,
        sinks: Vec<RawSink>,
        rollups: RawRollups,
        heartbeat: RawHeartbeat,
        retention: RawRetention,
    }
    RawServer {
        listen: Option<Text<SocketAddr>>,
        data_dir: Option<PathBuf>,
        public_url: Option<Text<Url>>,
        max_body: Option<Text<Size>>,
    }
    RawLog { format: Option<Text<LogFormat>>, level: Option<String> }
    RawStore {
        kind: Option<Text<StoreWord>>,
        partitions: Option<u16>,
        url: Option<SecretUrl>,
        min_replicas: Option<u32>,
        prefix: Option<String>,
    }
    RawMessages { templates: Option<PathBuf> }
    RawChat {
        kind: Option<Text<ChatWord>>,
        bot_token: Option<SecretRef>,
        app_token: Option<SecretRef>,
        signing_secret: Option<SecretRef>,
        mode: Option<Text<SlackMode>>,
        security_channel: Option<String>,
        api_url: Option<Text<Url>>,
    }
    RawFactors { totp: RawTotp, duo: Option<RawDuo> }
    RawTotp { seed_key: Option<SecretRef> }
    RawSeverities {
        critical: RawTimes,
        high: RawTimes,
        medium: RawTimes,
        low: RawTimes,
    }
    RawTimes {
        answer_within: Option<Text<Duration>>,
        ceiling: Option<Text<Duration>>,
        working_hours: Option<bool>,
        snooze: Option<Text<Duration>>,
    }
    RawWorkingHours {
        start: Option<Text<Time>>,
        end: Option<Text<Time>>,
        days: Option<Vec<Text<Day>>>,
        holidays: Vec<Text<Date>>,
    }
    RawDirectory { domains: Vec<String> }
    RawRollups {
        hourly: Option<bool>,
        daily_at: Option<Text<Daily>>,
        time_zone: Option<Text<Zone>>,
        sinks: Option<Vec<String>>,
    }
    /// An empty `[heartbeat]` is no heartbeat.
    RawHeartbeat { url: Option<SecretUrl>, every: Option<Text<Duration>> }
    RawRetention {
        cases: Option<Text<Duration>>,
        journal: Option<Text<Duration>>,
        chat: Option<Text<Duration>>,
        dedup: Option<Text<Duration>>,
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDuo {
    pub integration_key: SecretRef,
    pub secret_key: SecretRef,
    pub api_host: String,
    pub api_url: Option<Text<Url>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawEmployee {
    pub id: Text<Name>,
    pub name: Option<String>,
    pub email: Option<String>,
    #[serde(default)]
    pub aliases: Vec<String>,
    pub time_zone: Option<Text<Zone>>,
    pub locale: Option<String>,
    pub chat: Option<String>,
    pub manager: Option<String>,
    pub duo: Option<String>,
    #[serde(default)]
    pub opted_out: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawOperator {
    pub name: Text<Name>,
    pub token: SecretRef,
    pub roles: Vec<Text<Role>>,
    pub chat: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSource {
    pub name: Text<Name>,
    pub kind: Text<SourceWord>,
    #[serde(default)]
    pub rules: Vec<Text<Glob>>,
    pub max_backlog: Option<u64>,
    pub token: Option<SecretRef>,
    pub secret: Option<SecretRef>,
    pub principal_label: Option<String>,
    pub cluster: Option<String>,
    pub url: Option<Text<Url>>,
    pub every: Option<Text<Duration>>,
    pub path: Option<PathBuf>,
    pub map: Option<BTreeMap<String, Mapping>>,
}

/// An expression, or the expressions of a table (`context = { host = "hostname" }`).
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a JMESPath expression, or a table of them"
)]
pub enum Mapping {
    One(String),
    Table(BTreeMap<String, String>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRule {
    #[serde(rename = "match")]
    pub matches: Text<Glob>,
    pub mode: Option<Text<Mode>>,
    pub severity: Option<Text<Severity>>,
    pub answer_within: Option<Text<Duration>>,
    pub ceiling: Option<Text<Duration>>,
    pub snooze: Option<Text<Duration>>,
    pub snooze_max: Option<Text<Duration>>,
    pub context_keys: Option<Vec<String>>,
    pub explanation: Option<Text<Explanation>>,
    pub ladder: Option<String>,
    #[serde(default)]
    pub hide: Vec<String>,
    #[serde(default)]
    pub withdraw_on_resolve: bool,
    pub factor: Option<Text<Factor>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLadder {
    pub name: Text<Name>,
    pub levels: Vec<RawLevel>,
    pub ack_expires: Option<Text<Duration>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLevel {
    pub after: Option<Text<Duration>>,
    pub pagers: Vec<String>,
    pub repeat: Option<Text<Duration>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPager {
    pub name: Text<Name>,
    pub kind: Text<PagerWord>,
    pub url: Option<Text<Url>>,
    pub secret: Option<SecretRef>,
    pub routing_key: Option<SecretRef>,
    pub webhook_secret: Option<SecretRef>,
    pub api_url: Option<Text<Url>>,
    pub channel: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSink {
    pub name: Text<Name>,
    pub kind: Text<SinkWord>,
    pub path: Option<PathBuf>,
    pub url: Option<Text<Url>>,
    pub secret: Option<SecretRef>,
    pub channel: Option<String>,
}
