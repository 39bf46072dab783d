//! Things with a `kind`: stores, chats, sources, pagers and sinks. A key that the kind does not use is
//! refused, because whoever wrote it believes that it does something.

use super::*;
use crate::config::raw::{Mapping, RawChat, RawFactors, RawPager, RawSink, RawSource, RawStore};
use crate::config::secret::SecretRef;
use crate::config::text::{ChatWord, PagerWord, SinkWord, SourceWord, StoreWord};
use crate::core::ids::SourceId;

const REDIS_URL: &str = "redis://127.0.0.1:6379/0";
const SLACK_API: &str = "https://slack.com/api/";
const PAGERDUTY_API: &str = "https://events.pagerduty.com/";
const PRINCIPAL_LABEL: &str = "user";
const CLUSTER: &str = "default";
/// Between two polls of an Alertmanager; its own group_wait is 30 s.
const ALERTMANAGER_EVERY: Duration = Duration::from_secs(15);
/// Between two looks at a file that has not grown.
const FILE_EVERY: Duration = Duration::from_secs(1);
/// The source that needs no token of its own.
pub const LOCAL: &str = "local";

/// The keys of one table that are set, and which of them its kind uses.
struct Keys<'a> {
    table: String,
    kind: &'a str,
}

impl Builder<'_, '_> {
    fn refuse(&mut self, keys: &Keys<'_>, set: &[(&str, bool)]) {
        for (name, set) in set {
            if *set {
                let message = format!("not used by kind {:?}, expected no such key", keys.kind);
                self.problems.add(format!("{}.{name}", keys.table), message);
            }
        }
    }

    fn need<T: Clone>(&mut self, keys: &Keys<'_>, name: &str, value: Option<&T>) -> Option<T> {
        if value.is_none() {
            let message = format!("missing, expected it for kind {:?}", keys.kind);
            self.problems.add(format!("{}.{name}", keys.table), message);
        }
        value.cloned()
    }

    fn secret(
        &mut self,
        keys: &Keys<'_>,
        name: &str,
        place: Option<&SecretRef>,
    ) -> Option<SecretString> {
        let place = self.need(keys, name, place)?;
        self.resolved(&format!("{}.{name}", keys.table), place.resolve(self.env))
    }

    pub fn store(&mut self, raw: &RawStore) -> Store {
        let word = raw.kind.as_ref().map_or(StoreWord::Sqlite, |text| text.0);
        let keys = Keys {
            table: "store".to_owned(),
            kind: word.word(),
        };
        let kind = match word {
            StoreWord::Sqlite => {
                self.refuse(
                    &keys,
                    &[
                        ("url", raw.url.is_some()),
                        ("min_replicas", raw.min_replicas.is_some()),
                        ("prefix", raw.prefix.is_some()),
                    ],
                );
                StoreKind::Sqlite
            }
            StoreWord::Redis => StoreKind::Redis {
                url: match &raw.url {
                    Some(url) => self.resolved("store.url", url.resolve(self.env)),
                    None => None,
                }
                .unwrap_or_else(|| SecretString::from(REDIS_URL.to_owned())),
                min_replicas: raw.min_replicas.unwrap_or(0),
                prefix: raw
                    .prefix
                    .clone()
                    .unwrap_or_else(|| "securitybot:".to_owned()),
            },
        };
        Store {
            kind,
            partitions: raw.partitions.unwrap_or(PARTITIONS),
        }
    }

    pub fn chat(&mut self, raw: &RawChat) -> Chat {
        let word = raw.kind.as_ref().map_or(ChatWord::Web, |text| text.0);
        let keys = Keys {
            table: "chat".to_owned(),
            kind: word.word(),
        };
        if word == ChatWord::Web {
            self.refuse(
                &keys,
                &[
                    ("bot_token", raw.bot_token.is_some()),
                    ("app_token", raw.app_token.is_some()),
                    ("signing_secret", raw.signing_secret.is_some()),
                    ("mode", raw.mode.is_some()),
                    ("security_channel", raw.security_channel.is_some()),
                    ("api_url", raw.api_url.is_some()),
                ],
            );
            return Chat::Web;
        }
        let mode = raw.mode.as_ref().map_or(SlackMode::Socket, |text| text.0);
        let bot_token = self.secret(&keys, "bot_token", raw.bot_token.as_ref());
        // Each mode needs its own proof that it is Slack who speaks; the other's may stay.
        let app_token = match (mode, &raw.app_token) {
            (SlackMode::Events, None) => None,
            (_, token) => self.secret(&keys, "app_token", token.as_ref()),
        };
        let signing_secret = match (mode, &raw.signing_secret) {
            (SlackMode::Socket, None) => None,
            (_, secret) => self.secret(&keys, "signing_secret", secret.as_ref()),
        };
        Chat::Slack(Box::new(Slack {
            bot_token: bot_token.unwrap_or_default(),
            app_token,
            signing_secret,
            mode,
            security_channel: raw.security_channel.clone(),
            api_url: url_or(raw.api_url.as_ref(), SLACK_API),
        }))
    }

    pub fn factors(&mut self, raw: &RawFactors) -> Factors {
        let seed_key = raw
            .totp
            .seed_key
            .as_ref()
            .and_then(|place| self.resolved("factors.totp.seed_key", place.resolve(self.env)));
        let duo = raw.duo.as_ref().map(|duo| {
            let keys = Keys {
                table: "factors.duo".to_owned(),
                kind: "duo",
            };
            Duo {
                integration_key: self
                    .secret(&keys, "integration_key", Some(&duo.integration_key))
                    .unwrap_or_default(),
                secret_key: self
                    .secret(&keys, "secret_key", Some(&duo.secret_key))
                    .unwrap_or_default(),
                api_host: duo.api_host.clone(),
                api_url: duo.api_url.as_ref().map(|text| text.0.clone()),
            }
        });
        Factors {
            totp: Totp { seed_key },
            duo,
        }
    }

    pub fn operators(&mut self, raw: &RawConfig) -> Vec<Operator> {
        let mut operators = Vec::new();
        for (nth, operator) in raw.operators.iter().enumerate() {
            let key = format!("operators[{nth}].token");
            let Some(token) = self.resolved(&key, operator.token.resolve(self.env)) else {
                continue;
            };
            operators.push(Operator {
                name: OperatorName::new(operator.name.0.0.as_str()),
                token,
                roles: operator.roles.iter().map(|text| text.0).collect(),
            });
        }
        operators
    }

    pub fn sources(&mut self, raw: &RawConfig) -> Vec<Source> {
        let Some(written) = &raw.sources else {
            return vec![Source {
                name: SourceId::new(LOCAL),
                rules: Vec::new(),
                max_backlog: None,
                kind: SourceKind::Http {
                    auth: IngestAuth::Bootstrap,
                },
            }];
        };
        let mut sources = Vec::new();
        for (nth, source) in written.iter().enumerate() {
            let keys = Keys {
                table: format!("sources[{nth}]"),
                kind: source.kind.0.word(),
            };
            if let Some(kind) = self.source_kind(&keys, source) {
                sources.push(Source {
                    name: SourceId::new(source.name.0.0.as_str()),
                    rules: source.rules.iter().map(|text| text.0.0.clone()).collect(),
                    max_backlog: source.max_backlog,
                    kind,
                });
            }
        }
        sources
    }

    fn source_kind(&mut self, keys: &Keys<'_>, raw: &RawSource) -> Option<SourceKind> {
        let kind = raw.kind.0;
        let (http, webhook, polled, file) = (
            kind == SourceWord::Http,
            kind == SourceWord::AlertmanagerWebhook,
            kind == SourceWord::Alertmanager,
            kind == SourceWord::Jsonl,
        );
        self.refuse(
            keys,
            &[
                ("token", raw.token.is_some() && !(http || webhook)),
                ("secret", raw.secret.is_some() && !http),
                (
                    "principal_label",
                    raw.principal_label.is_some() && !(webhook || polled),
                ),
                ("cluster", raw.cluster.is_some() && !(webhook || polled)),
                ("url", raw.url.is_some() && !polled),
                ("every", raw.every.is_some() && !(polled || file)),
                ("path", raw.path.is_some() && !file),
                ("map", raw.map.is_some() && !file),
            ],
        );
        let principal_label = raw
            .principal_label
            .clone()
            .unwrap_or_else(|| PRINCIPAL_LABEL.to_owned());
        let cluster = raw.cluster.clone().unwrap_or_else(|| CLUSTER.to_owned());
        match kind {
            SourceWord::Http => Some(SourceKind::Http {
                auth: self.ingest_auth(keys, raw)?,
            }),
            SourceWord::AlertmanagerWebhook => Some(SourceKind::AlertmanagerWebhook {
                auth: self.ingest_auth(keys, raw)?,
                principal_label,
                cluster,
            }),
            SourceWord::Alertmanager => Some(SourceKind::Alertmanager {
                url: self.need(keys, "url", raw.url.as_ref())?.0,
                every: wait(raw.every.as_ref(), ALERTMANAGER_EVERY),
                principal_label,
                cluster,
            }),
            SourceWord::Jsonl => {
                let path = self.need(keys, "path", raw.path.as_ref());
                let map = self.need(keys, "map", raw.map.as_ref());
                Some(SourceKind::Jsonl {
                    path: path?,
                    map: self.mapping(keys, map?),
                    every: wait(raw.every.as_ref(), FILE_EVERY),
                })
            }
        }
    }

    fn ingest_auth(&mut self, keys: &Keys<'_>, raw: &RawSource) -> Option<IngestAuth> {
        match (&raw.token, &raw.secret) {
            (Some(_), Some(_)) => {
                let message = "expected one of token and secret, got both";
                self.problems.add(format!("{}.secret", keys.table), message);
                None
            }
            (None, Some(place)) if raw.kind.0 == SourceWord::Http => self
                .secret(keys, "secret", Some(place))
                .map(IngestAuth::Signature),
            (None, _) if raw.name.0.0 == LOCAL && raw.kind.0 == SourceWord::Http => {
                Some(IngestAuth::Bootstrap)
            }
            (None, _) if raw.kind.0 == SourceWord::Http => {
                let message =
                    r#"missing, expected token or secret as { env = "NAME" } or { file = "path" }"#;
                self.problems.add(format!("{}.token", keys.table), message);
                None
            }
            (token, _) => self
                .secret(keys, "token", token.as_ref())
                .map(IngestAuth::Token),
        }
    }

    /// Flat names (`context.host`), each expression compiled once to find faults now.
    fn mapping(
        &mut self,
        keys: &Keys<'_>,
        map: BTreeMap<String, Mapping>,
    ) -> BTreeMap<String, String> {
        const FIELDS: [&str; 9] = [
            "id",
            "principal",
            "rule",
            "title",
            "description",
            "reason",
            "severity",
            "occurred_at",
            "url",
        ];
        let mut flat = BTreeMap::new();
        for (field, written) in map {
            match written {
                Mapping::One(expression) => drop(flat.insert(field, expression)),
                Mapping::Table(inner) => flat.extend(
                    inner
                        .into_iter()
                        .map(|(name, expression)| (format!("{field}.{name}"), expression)),
                ),
            }
        }
        for (field, expression) in &flat {
            let key = format!("{}.map.{field}", keys.table);
            if !FIELDS.contains(&field.as_str()) && !field.starts_with("context.") {
                let message = format!(
                    "unknown field of an alert, expected one of {}, context.NAME",
                    FIELDS.join(", ")
                );
                self.problems.add(&key, message);
            }
            if let Err(e) = jmespath::compile(expression) {
                let reason = e.to_string();
                let reason = reason.lines().next().unwrap_or_default();
                self.problems
                    .add(&key, format!("expected a JMESPath expression: {reason}"));
            }
        }
        for field in ["principal", "rule", "title"] {
            if !flat.contains_key(field) {
                let message =
                    "missing, expected an expression for every required field of an alert";
                self.problems
                    .add(format!("{}.map.{field}", keys.table), message);
            }
        }
        flat
    }

    pub fn pagers(&mut self, raw: &RawConfig) -> Vec<Pager> {
        let Some(written) = &raw.pagers else {
            return vec![Pager {
                name: PagerName::new("log"),
                kind: PagerKind::Log,
            }];
        };
        let mut pagers = Vec::new();
        for (nth, pager) in written.iter().enumerate() {
            let keys = Keys {
                table: format!("pagers[{nth}]"),
                kind: pager.kind.0.word(),
            };
            if let Some(kind) = self.pager_kind(&keys, pager) {
                pagers.push(Pager {
                    name: PagerName::new(pager.name.0.0.as_str()),
                    kind,
                });
            }
        }
        pagers
    }

    fn pager_kind(&mut self, keys: &Keys<'_>, raw: &RawPager) -> Option<PagerKind> {
        let kind = raw.kind.0;
        let duty = kind == PagerWord::Pagerduty;
        self.refuse(
            keys,
            &[
                ("url", raw.url.is_some() && (duty || kind == PagerWord::Log)),
                ("secret", raw.secret.is_some() && kind != PagerWord::Webhook),
                ("routing_key", raw.routing_key.is_some() && !duty),
                ("api_url", raw.api_url.is_some() && !duty),
            ],
        );
        match kind {
            PagerWord::Log => Some(PagerKind::Log),
            PagerWord::Webhook => {
                let url = self.need(keys, "url", raw.url.as_ref());
                let secret = self.secret(keys, "secret", raw.secret.as_ref());
                Some(PagerKind::Webhook {
                    url: url?.0,
                    secret: secret?,
                })
            }
            PagerWord::Alertmanager => {
                let url = self.need(keys, "url", raw.url.as_ref())?.0;
                Some(PagerKind::Alertmanager { url })
            }
            PagerWord::Pagerduty => Some(PagerKind::Pagerduty {
                routing_key: self.secret(keys, "routing_key", raw.routing_key.as_ref())?,
                api_url: url_or(raw.api_url.as_ref(), PAGERDUTY_API),
            }),
        }
    }

    pub fn sinks(&mut self, raw: &RawConfig) -> Vec<Sink> {
        let mut sinks = Vec::new();
        for (nth, sink) in raw.sinks.iter().enumerate() {
            let keys = Keys {
                table: format!("sinks[{nth}]"),
                kind: sink.kind.0.word(),
            };
            if let Some(kind) = self.sink_kind(&keys, sink) {
                sinks.push(Sink {
                    name: sink.name.0.0.clone(),
                    kind,
                });
            }
        }
        sinks
    }

    fn sink_kind(&mut self, keys: &Keys<'_>, raw: &RawSink) -> Option<SinkKind> {
        match raw.kind.0 {
            SinkWord::Jsonl => {
                self.refuse(
                    keys,
                    &[("url", raw.url.is_some()), ("secret", raw.secret.is_some())],
                );
                let path = self.need(keys, "path", raw.path.as_ref())?;
                Some(SinkKind::Jsonl { path })
            }
            SinkWord::Webhook => {
                self.refuse(keys, &[("path", raw.path.is_some())]);
                let url = self.need(keys, "url", raw.url.as_ref());
                let secret = self.secret(keys, "secret", raw.secret.as_ref());
                Some(SinkKind::Webhook {
                    url: url?.0,
                    secret: secret?,
                })
            }
        }
    }
}

fn url_or(written: Option<&Text<Url>>, default: &str) -> Url {
    written.map_or_else(
        || Url::parse(default).expect("the built-in address is a URL"),
        |text| text.0.clone(),
    )
}
