//! What `http` needs to know of the plugins, as functions: so that it names none of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use wildmatch::WildMatch;

use crate::config::{self, Config, IngestAuth, PagerKind, SourceKind};
use crate::core::alert::Alert;
use crate::core::conversation::{Content, Conversation, Effect, Event};
use crate::core::ids::{AggregateKey, EmployeeId, OperatorName, SourceId};
use crate::core::machine::{Context, Machine};
use crate::core::time::Timestamp;
use crate::http::access::{self, OperatorAccess, Role, SourceAccess, SourceSecret, TokenHash};
use crate::http::enroll::Enroll;
use crate::http::{Access, Formats, Links, QuestionText, Webhook};
use crate::messages::Messages;
use crate::plugins::chat::web::WebChat;
use crate::plugins::formats::mapping::Mapping;
use crate::plugins::formats::{alertmanager, native};
use crate::plugins::sources::Incoming;
use crate::plugins::standard_webhooks::Secret;

/// The formats of the ingest routes.
pub const FORMATS: Formats = Formats {
    native: read_native,
    alertmanager: read_alertmanager,
    verify_webhook,
};

fn read_native(
    body: &[u8],
    source: &SourceId,
    idempotency_key: Option<&str>,
) -> Result<Vec<Result<Incoming, String>>, String> {
    native::parse(body, source, idempotency_key).map_err(|error| error.to_string())
}

fn read_alertmanager(
    body: &[u8],
    source: &SourceId,
    principal_label: &str,
    cluster: &str,
) -> Webhook {
    let options = alertmanager::Options {
        principal_label: principal_label.to_owned(),
        cluster: cluster.to_owned(),
    };
    let parsed = alertmanager::parse_webhook(body, source, &options);
    Webhook {
        alerts: parsed.alerts,
        quarantined: parsed.quarantined,
    }
}

fn verify_webhook(
    secret: &SecretString,
    id: &str,
    timestamp: &str,
    signature: &str,
    body: &[u8],
    now: Timestamp,
) -> bool {
    Secret::new(secret)
        .is_ok_and(|secret| secret.verify(id, timestamp, signature, body, now).is_ok())
}

/// Who may come in, from the config and the bootstrap token.
pub fn access(config: &Config, bootstrap: &SecretString) -> Access {
    let token = |token: &SecretString| TokenHash::of(token.expose_secret());
    let mut operators = vec![OperatorAccess {
        name: OperatorName::new("admin"),
        token: token(bootstrap),
        roles: vec![Role::Admin],
    }];
    operators.extend(config.operators.iter().map(|operator| OperatorAccess {
        name: operator.name.clone(),
        token: token(&operator.token),
        roles: operator.roles.iter().map(|role| role_of(*role)).collect(),
    }));
    let sources = config
        .sources
        .iter()
        .map(|source| {
            let (kind, auth) = source_kind(source);
            let secret = match auth {
                Some(IngestAuth::Bootstrap) => SourceSecret::Bearer(token(bootstrap)),
                Some(IngestAuth::Token(given)) => SourceSecret::Bearer(token(given)),
                Some(IngestAuth::Signature(secret)) => SourceSecret::Hmac(secret.clone()),
                None => SourceSecret::None,
            };
            SourceAccess {
                id: source.name.clone(),
                kind,
                secret,
                rules: source
                    .rules
                    .iter()
                    .map(|glob| WildMatch::new(glob))
                    .collect(),
                max_backlog: source.max_backlog,
            }
        })
        .collect();
    let pagerduty = config.pagers.iter().filter_map(|pager| match &pager.kind {
        PagerKind::Pagerduty { webhook_secret, .. } => webhook_secret.clone(),
        _ => None,
    });
    Access {
        operators,
        sources,
        pagerduty: pagerduty.collect(),
    }
}

fn role_of(role: crate::config::Role) -> Role {
    match role {
        crate::config::Role::Viewer => Role::Viewer,
        crate::config::Role::Responder => Role::Responder,
        crate::config::Role::Admin => Role::Admin,
    }
}

/// How a source's payloads are read, and how it proves itself when it pushes.
fn source_kind(source: &config::Source) -> (access::SourceKind, Option<&IngestAuth>) {
    match &source.kind {
        SourceKind::Http { auth } => (access::SourceKind::Native, Some(auth)),
        SourceKind::AlertmanagerWebhook {
            auth,
            principal_label,
            cluster,
        } => {
            let (principal_label, cluster) = (principal_label.clone(), cluster.clone());
            (
                access::SourceKind::AlertmanagerWebhook {
                    principal_label,
                    cluster,
                },
                Some(auth),
            )
        }
        SourceKind::Alertmanager {
            principal_label,
            cluster,
            ..
        } => {
            let (id, label, cluster) = (
                source.name.clone(),
                principal_label.clone(),
                cluster.clone(),
            );
            let read =
                move |payload: &[u8]| whole(read_alertmanager(payload, &id, &label, &cluster));
            (access::SourceKind::Polled(Arc::new(read)), None)
        }
        SourceKind::Jsonl { map, .. } => {
            let (id, map) = (source.name.clone(), map.clone());
            let read = move |payload: &[u8]| read_mapped(payload, &id, &map);
            (access::SourceKind::Polled(Arc::new(read)), None)
        }
    }
}

/// A quarantined payload counts as read only when nothing of it is left over.
fn whole(read: Webhook) -> Result<Vec<Incoming>, String> {
    match read.quarantined.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(read.alerts),
    }
}

fn read_mapped(
    line: &[u8],
    source: &SourceId,
    map: &BTreeMap<String, String>,
) -> Result<Vec<Incoming>, String> {
    let mapping = Mapping::compile(map).map_err(|error| error.to_string())?;
    let line = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    let id = format!("replay:{}", hex::encode(Sha256::digest(line.as_bytes())));
    mapping
        .read(line, source, &id)
        .map(|read| read.into_iter().collect())
}

/// One-time links for employees.
pub struct EmployeeLinks {
    /// `None` when employees are asked in another chat.
    pub web_chat: Option<Arc<WebChat>>,
    pub enroll: Arc<Enroll>,
}

#[async_trait]
impl Links for EmployeeLinks {
    async fn chat_link(&self, employee: &EmployeeId) -> Result<String, String> {
        match &self.web_chat {
            Some(chat) => chat
                .new_link(employee)
                .await
                .map_err(|error| error.to_string()),
            None => Err("employees are asked in another chat: there is no link to it".to_owned()),
        }
    }

    async fn enroll_link(
        &self,
        employee: &EmployeeId,
        made_by: &OperatorName,
    ) -> Result<String, String> {
        self.enroll
            .new_link(employee, made_by.clone())
            .await
            .map_err(|error| error.to_string())
    }
}

/// The question exactly as it would be sent: the conversation is asked what it would do, and its words
/// are made as for a person. Nothing is kept.
pub fn question_text(messages: Arc<Messages>) -> QuestionText {
    Arc::new(move |world, alert, _, now| {
        let employee = world.directory.resolve(alert.principal.raw())?;
        let key = AggregateKey::employee(&employee.id, world.partitions);
        let arrived = Event::AlertsArrived {
            source: alert.source.clone(),
            alerts: Arc::new([(
                1,
                Alert {
                    accepted_at: now,
                    ..alert.clone()
                },
            )]),
        };
        let step = Conversation::new(&key).step(
            &arrived,
            &Context {
                now,
                entropy: 0,
                world,
            },
        );
        step.effects.into_iter().find_map(|effect| match effect {
            Effect::Send(outgoing) if matches!(outgoing.content, Content::Question { .. }) => {
                Some(messages.render(&outgoing).to_plain())
            }
            _ => None,
        })
    })
}
