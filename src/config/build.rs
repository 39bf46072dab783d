//! From what is written to what holds: defaults filled in, secrets fetched, and the keys of each kind
//! demanded and those of other kinds refused.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;
use wildmatch::WildMatch;

use crate::core::alert::Severity;
use crate::core::employee::{Employee, Shared};
use crate::core::ids::{EmployeeId, OperatorName, PagerName};
use crate::core::policy::{
    DEFAULT_LADDER, Ladder, Level, Rule, Times, WorkingHours, default_times,
};

use super::Problems;
use super::raw::{RawConfig, RawEmployee, RawRule, RawServer, RawTimes};
use super::secret::Environment;
use super::text::{Text, Zone};
use super::types::*;

mod kinds;
mod sources;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// CONTRACT, "Ingest".
const MAX_BODY: usize = 1 << 20;
const PARTITIONS: u16 = 8;
/// One day shift: who took a page over and went home does not keep it silent.
const ACK_EXPIRES: Duration = Duration::from_secs(4 * 3600);
const REPEAT: Duration = Duration::from_secs(15 * 60);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(60);

pub fn build(
    path: &Path,
    raw: &mut RawConfig,
    env: &Environment,
    problems: &mut Problems<'_>,
) -> Config {
    let mut builder = Builder {
        env,
        problems,
        fingerprints: BTreeMap::new(),
    };
    let pagers = builder.pagers(raw);
    Config {
        file: path.to_owned(),
        server: server(&raw.server),
        log: Log {
            format: raw.log.format.as_ref().map_or(LogFormat::Pretty, |f| f.0),
            level: raw.log.level.clone().unwrap_or_else(|| "info".to_owned()),
        },
        store: builder.store(&raw.store),
        templates: raw.messages.templates.clone(),
        chat: builder.chat(&raw.chat),
        factors: builder.factors(&raw.factors, &raw.employees),
        severities: Severity::ALL
            .into_iter()
            .map(|s| (s, times(raw, s)))
            .collect(),
        working_hours: working_hours(raw),
        domains: raw.directory.domains.clone(),
        employees: employees(std::mem::take(&mut raw.employees)),
        operators: builder.operators(raw),
        sources: builder.sources(raw),
        rules: raw.rules.iter().map(rule).collect(),
        ladders: ladders(raw, &pagers),
        pagers,
        rollups: Rollups {
            hourly: raw.rollups.hourly.unwrap_or(true),
            daily_at: match &raw.rollups.daily_at {
                Some(Text(daily)) => daily.0,
                None => Some(jiff::civil::time(9, 0, 0, 0)),
            },
            time_zone: zone(raw.rollups.time_zone.as_ref()),
            sinks: raw
                .rollups
                .sinks
                .clone()
                .unwrap_or_else(|| raw.sinks.iter().map(|sink| sink.name.0.0.clone()).collect()),
        },
        sinks: builder.sinks(raw),
        heartbeat: raw.heartbeat.url.as_ref().and_then(|url| {
            let url = builder.resolved("heartbeat.url", url.resolve(env))?;
            let every = wait(raw.heartbeat.every.as_ref(), HEARTBEAT_EVERY);
            Some(Heartbeat { url, every })
        }),
        retention: Retention {
            cases: wait(raw.retention.cases.as_ref(), 400 * DAY),
            journal: wait(raw.retention.journal.as_ref(), 90 * DAY),
            chat: wait(raw.retention.chat.as_ref(), 90 * DAY),
            dedup: dedup(raw),
        },
        // Last: the secrets above leave theirs in the builder.
        fingerprints: builder.fingerprints,
    }
}

/// How long dedup marks live; `check.rs` compares it with the ceilings.
pub fn dedup(raw: &RawConfig) -> Duration {
    wait(raw.retention.dedup.as_ref(), 30 * DAY)
}

struct Builder<'a, 'd> {
    env: &'a Environment,
    problems: &'a mut Problems<'d>,
    fingerprints: BTreeMap<String, u64>,
}

impl Builder<'_, '_> {
    /// What was found, or a fault at `key`.
    fn resolved(&mut self, key: &str, found: Result<SecretString, String>) -> Option<SecretString> {
        let secret = found
            .map_err(|message| self.problems.add(key, message))
            .ok()?;
        let fingerprint = FINGERPRINTS.hash_one(secret.expose_secret());
        self.fingerprints.insert(key.to_owned(), fingerprint);
        Some(secret)
    }
}

/// Keyed anew in each process: a fingerprint in a log tells nothing of its secret.
static FINGERPRINTS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

pub fn wait(written: Option<&Text<Duration>>, default: Duration) -> Duration {
    written.map_or(default, |text| text.0)
}

fn zone(written: Option<&Text<Zone>>) -> String {
    written.map_or_else(|| "UTC".to_owned(), |text| text.0.0.clone())
}

fn server(raw: &RawServer) -> Server {
    let listen = raw
        .listen
        .as_ref()
        .map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)), |text| text.0);
    let public_url = match &raw.public_url {
        Some(Text(url)) => url.as_str().trim_end_matches('/').to_owned(),
        None => format!("http://{}", reachable(listen)),
    };
    Server {
        listen,
        data_dir: raw
            .data_dir
            .clone()
            .unwrap_or_else(|| PathBuf::from("data")),
        public_url,
        max_body: raw.max_body.as_ref().map_or(MAX_BODY, |text| text.0.0),
    }
}

/// Nobody can connect to "every address".
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn written_times(raw: &RawConfig, severity: Severity) -> &RawTimes {
    match severity {
        Severity::Critical => &raw.severity.critical,
        Severity::High => &raw.severity.high,
        Severity::Medium => &raw.severity.medium,
        Severity::Low => &raw.severity.low,
    }
}

/// The times of a severity with its defaults.
pub fn times(raw: &RawConfig, severity: Severity) -> Times {
    let written = written_times(raw, severity);
    let default = default_times(severity);
    Times {
        answer_within: wait(written.answer_within.as_ref(), default.answer_within),
        ceiling: wait(written.ceiling.as_ref(), default.ceiling),
        working_hours: written.working_hours.unwrap_or(default.working_hours),
        snooze: wait(written.snooze.as_ref(), default.snooze),
    }
}

pub fn working_hours(raw: &RawConfig) -> WorkingHours {
    let written = &raw.working_hours;
    let mut hours = WorkingHours::default();
    hours.start = written.start.as_ref().map_or(hours.start, |text| text.0);
    hours.end = written.end.as_ref().map_or(hours.end, |text| text.0);
    if let Some(days) = &written.days {
        hours.days = [false; 7];
        for Text(day) in days {
            hours.days[day.0] = true;
        }
    }
    hours.holidays = written.holidays.iter().map(|text| text.0).collect();
    hours
}

/// Taken, not copied: there may be a million of them.
fn employees(written: Vec<RawEmployee>) -> Arc<[Employee]> {
    let mut shared = Shared::default();
    let employees = written.into_iter().map(|raw| {
        let id = EmployeeId::new(raw.id.0.0);
        Employee {
            name: raw.name.map_or_else(|| id.as_str().into(), Into::into),
            id,
            email: raw.email.map(Into::into),
            aliases: raw.aliases.into_iter().map(Into::into).collect(),
            time_zone: shared.word(&zone(raw.time_zone.as_ref())),
            locale: raw.locale.map(|locale| shared.word(&locale)),
            manager: raw.manager.map(EmployeeId::new),
            chat: raw.chat.map(Into::into),
            opted_out: raw.opted_out,
        }
    });
    employees.collect()
}

fn rule(raw: &RawRule) -> Rule {
    let wait = |written: &Option<Text<Duration>>| written.as_ref().map(|text| text.0);
    Rule {
        matches: WildMatch::new(&raw.matches.0.0),
        mode: raw.mode.as_ref().map(|text| text.0).unwrap_or_default(),
        severity: raw.severity.as_ref().map(|text| text.0),
        answer_within: wait(&raw.answer_within),
        ceiling: wait(&raw.ceiling),
        snooze: wait(&raw.snooze),
        snooze_max: wait(&raw.snooze_max),
        context_keys: raw.context_keys.clone(),
        explanation: raw.explanation.as_ref().map(|text| text.0),
        ladder: raw.ladder.clone(),
        hide: raw.hide.clone(),
        withdraw_on_resolve: raw.withdraw_on_resolve,
        factor: raw.factor.as_ref().map(|text| text.0),
    }
}

/// Without any written ladder the default one pages everybody at once.
fn ladders(raw: &RawConfig, pagers: &[Pager]) -> Vec<Ladder> {
    let Some(written) = &raw.ladders else {
        return vec![Ladder {
            name: DEFAULT_LADDER.to_owned(),
            levels: vec![Level {
                after: Duration::ZERO,
                pagers: pagers.iter().map(|pager| pager.name.clone()).collect(),
                repeat: REPEAT,
            }],
            ack_expires: ACK_EXPIRES,
        }];
    };
    let level = |raw: &super::raw::RawLevel| Level {
        after: wait(raw.after.as_ref(), Duration::ZERO),
        pagers: raw
            .pagers
            .iter()
            .map(|name| PagerName::new(name.as_str()))
            .collect(),
        repeat: wait(raw.repeat.as_ref(), REPEAT),
    };
    let ladders = written.iter().map(|raw| Ladder {
        name: raw.name.0.0.clone(),
        levels: raw.levels.iter().map(level).collect(),
        ack_expires: wait(raw.ack_expires.as_ref(), ACK_EXPIRES),
    });
    ladders.collect()
}
