//! Things with a `kind`: stores, chats, pagers and sinks (sources: `sources.rs`). A key that the kind does not use is
//! refused, because whoever wrote it believes that it does something.

use super::*;
use crate::config::raw::{RawChat, RawEmployee, RawFactors, RawPager, RawSink, RawStore};
use crate::config::secret::SecretRef;
use crate::config::text::{ChatWord, PagerWord, SinkWord, StoreWord};

const REDIS_URL: &str = "redis://127.0.0.1:6379/0";
const SLACK_API: &str = "https://slack.com/api/";
const PAGERDUTY_API: &str = "https://events.pagerduty.com/";

/// The keys of one table that are set, and which of them its kind uses.
pub struct Keys<'a> {
    pub table: String,
    pub kind: &'a str,
}

impl Builder<'_, '_> {
    pub fn refuse(&mut self, keys: &Keys<'_>, set: &[(&str, bool)]) {
        for (name, set) in set {
            if *set {
                let message = format!("not used by kind {:?}, expected no such key", keys.kind);
                self.problems.add(format!("{}.{name}", keys.table), message);
            }
        }
    }

    pub fn need<T: Clone>(&mut self, keys: &Keys<'_>, name: &str, value: Option<&T>) -> Option<T> {
        if value.is_none() {
            let message = format!("missing, expected it for kind {:?}", keys.kind);
            self.problems.add(format!("{}.{name}", keys.table), message);
        }
        value.cloned()
    }

    pub fn secret(
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

    pub fn factors(&mut self, raw: &RawFactors, employees: &[RawEmployee]) -> Factors {
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
                users: employees
                    .iter()
                    .filter_map(|raw| {
                        let id = EmployeeId::new(raw.id.0.0.as_str());
                        Some((id, raw.duo.clone()?))
                    })
                    .collect(),
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
                chat: operator.chat.clone(),
            });
        }
        operators
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
            if let Some(kind) = self.pager_kind(&keys, pager, &raw.chat) {
                pagers.push(Pager {
                    name: PagerName::new(pager.name.0.0.as_str()),
                    kind,
                });
            }
        }
        pagers
    }

    fn pager_kind(&mut self, keys: &Keys<'_>, raw: &RawPager, chat: &RawChat) -> Option<PagerKind> {
        let kind = raw.kind.0;
        let duty = kind == PagerWord::Pagerduty;
        self.refuse(
            keys,
            &[
                (
                    "url",
                    raw.url.is_some()
                        && (duty || matches!(kind, PagerWord::Log | PagerWord::Slack)),
                ),
                ("channel", raw.channel.is_some() && kind != PagerWord::Slack),
                ("secret", raw.secret.is_some() && kind != PagerWord::Webhook),
                ("routing_key", raw.routing_key.is_some() && !duty),
                ("api_url", raw.api_url.is_some() && !duty),
                ("webhook_secret", raw.webhook_secret.is_some() && !duty),
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
                webhook_secret: match &raw.webhook_secret {
                    Some(place) => Some(self.secret(keys, "webhook_secret", Some(place))?),
                    None => None,
                },
            }),
            PagerWord::Slack => {
                let channel = self.slack_channel(keys, raw.channel.as_ref(), chat)?;
                Some(PagerKind::Slack { channel })
            }
        }
    }

    /// Where a pager or sink of kind `slack` speaks: its own channel, or the chat's security channel.
    fn slack_channel(
        &mut self,
        keys: &Keys<'_>,
        own: Option<&String>,
        chat: &RawChat,
    ) -> Option<String> {
        if chat.kind.as_ref().map(|kind| kind.0) != Some(ChatWord::Slack) {
            let message = "kind \"slack\" expects chat.kind = \"slack\"";
            self.problems.add(format!("{}.kind", keys.table), message);
        }
        self.need(keys, "channel", own.or(chat.security_channel.as_ref()))
    }

    pub fn sinks(&mut self, raw: &RawConfig) -> Vec<Sink> {
        let mut sinks = Vec::new();
        for (nth, sink) in raw.sinks.iter().enumerate() {
            let keys = Keys {
                table: format!("sinks[{nth}]"),
                kind: sink.kind.0.word(),
            };
            if let Some(kind) = self.sink_kind(&keys, sink, &raw.chat) {
                sinks.push(Sink {
                    name: sink.name.0.0.clone(),
                    kind,
                });
            }
        }
        sinks
    }

    fn sink_kind(&mut self, keys: &Keys<'_>, raw: &RawSink, chat: &RawChat) -> Option<SinkKind> {
        let kind = raw.kind.0;
        let hook = kind == SinkWord::Webhook;
        self.refuse(
            keys,
            &[
                ("path", raw.path.is_some() && kind != SinkWord::Jsonl),
                ("url", raw.url.is_some() && !hook),
                ("secret", raw.secret.is_some() && !hook),
                ("channel", raw.channel.is_some() && kind != SinkWord::Slack),
            ],
        );
        match kind {
            SinkWord::Jsonl => {
                let path = self.need(keys, "path", raw.path.as_ref())?;
                Some(SinkKind::Jsonl { path })
            }
            SinkWord::Webhook => {
                let url = self.need(keys, "url", raw.url.as_ref());
                let secret = self.secret(keys, "secret", raw.secret.as_ref());
                Some(SinkKind::Webhook {
                    url: url?.0,
                    secret: secret?,
                })
            }
            SinkWord::Slack => {
                let channel = self.slack_channel(keys, raw.channel.as_ref(), chat)?;
                Some(SinkKind::Slack { channel })
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
