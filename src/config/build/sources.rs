//! Sources: each kind with its keys, and no source without a proof of who speaks.

use super::kinds::Keys;
use super::*;
use crate::config::raw::{Mapping, RawSource};
use crate::config::text::SourceWord;
use crate::core::ids::SourceId;

const PRINCIPAL_LABEL: &str = "user";
const CLUSTER: &str = "default";
/// Between two polls of an Alertmanager; its own group_wait is 30 s.
const ALERTMANAGER_EVERY: Duration = Duration::from_secs(15);
/// Between two looks at a file that has not grown.
const FILE_EVERY: Duration = Duration::from_secs(1);
/// The source that needs no token of its own.
pub const LOCAL: &str = "local";

impl Builder<'_, '_> {
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
        const FIELDS: [&str; 10] = [
            "where",
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
            if field.starts_with("severity.") {
                if Severity::parse(expression).is_none() {
                    let message = "expected low, medium, high or critical";
                    self.problems.add(&key, message);
                }
                continue;
            }
            if !FIELDS.contains(&field.as_str()) && !field.starts_with("context.") {
                let message = format!(
                    "unknown field of an alert, expected one of {}, \"context.NAME\", \"severity.WORD\"",
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
}
