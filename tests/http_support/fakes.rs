//! The actors and parsers behind the fake server. Everything they are asked is written down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use actix::{Actor, Context, Handler, ResponseFuture};
use async_trait::async_trait;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use securitybot::actors::messages::{
    AcceptAlerts, AcceptError, Accepted, AlertVerdict, Deliver, DeliverError, Escalate,
};
use securitybot::core::alert::{Alert, Severity};
use securitybot::core::conversation::{self, Proof};
use securitybot::core::escalation;
use securitybot::core::ids::{EmployeeId, OperatorName, RuleName, SourceId};
use securitybot::core::machine::Collection;
use securitybot::core::text::Untrusted;
use securitybot::core::time::Timestamp;
use securitybot::http::{Links, Webhook};
use securitybot::plugins::factors::{CodeFactor, Enrolment};
use securitybot::plugins::sources::Incoming;
use securitybot::store::Seen;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

use super::store::FakeStore;

#[derive(Clone, Copy, Default, PartialEq)]
pub enum Mode {
    #[default]
    Good,
    Unavailable,
    Full,
    Silent,
}

#[derive(Default)]
pub struct Log {
    pub mode: Mode,
    pub accepted: BTreeMap<String, String>,
    pub requests: Vec<(SourceId, usize)>,
    pub quarantined: Vec<(String, String)>,
    pub delivered: Vec<(String, conversation::Event)>,
    pub escalated: Vec<(String, escalation::Event)>,
}

pub struct Fakes {
    pub log: Arc<Mutex<Log>>,
    pub store: Arc<FakeStore>,
}

impl Actor for Fakes {
    type Context = Context<Self>;
}

impl Handler<AcceptAlerts> for Fakes {
    type Result = ResponseFuture<Result<Accepted, AcceptError>>;

    fn handle(&mut self, message: AcceptAlerts, _: &mut Context<Self>) -> Self::Result {
        let mut log = self.log.lock().unwrap();
        let answer = match log.mode {
            Mode::Good => Ok(()),
            Mode::Unavailable => Err(AcceptError::Unavailable("the disk is full".to_owned())),
            Mode::Full => Err(AcceptError::BacklogFull {
                source_name: message.source.to_string(),
                backlog: 10,
            }),
            Mode::Silent => return Box::pin(std::future::pending()),
        };
        let answer = answer.map(|()| {
            log.requests.push((message.source, message.alerts.len()));
            log.quarantined.extend(message.quarantined);
            let alerts = message.alerts.into_iter().map(|incoming| {
                let id = incoming.alert.id;
                let seen = match log.accepted.get(&*id) {
                    None => None,
                    Some(body) if *body == incoming.canonical => Some(Seen::Same),
                    Some(_) => Some(Seen::Altered),
                };
                if seen.is_none() {
                    log.accepted.insert(id.to_string(), incoming.canonical);
                }
                AlertVerdict { id, seen }
            });
            Accepted {
                alerts: alerts.collect(),
            }
        });
        Box::pin(async move { answer })
    }
}

impl Handler<Deliver> for Fakes {
    type Result = Result<conversation::Reply, DeliverError>;

    fn handle(&mut self, message: Deliver, _: &mut Context<Self>) -> Self::Result {
        use conversation::{Event, Reply};
        let reply = match &message.event {
            Event::CaseClosed { case, operator, .. } => {
                let id = case.to_string();
                let rows = self.store.rows.lock().unwrap();
                let is_closed = rows[&(Collection::Cases, id.clone())]
                    .body
                    .contains("\"closed\"");
                drop(rows);
                if is_closed {
                    Reply::NoLongerApplies {
                        why: "the case is closed".to_owned(),
                    }
                } else {
                    self.store.update(Collection::Cases, &id, |case| {
                        case["state"] = json!("closed");
                        case["outcome"] = json!("closed");
                        case["explanation"] = json!(format!("closed by {operator}"));
                    });
                    Reply::Taken
                }
            }
            Event::Unlocked { .. } => Reply::NotFound,
            _ => Reply::Taken,
        };
        let mut log = self.log.lock().unwrap();
        log.delivered.push((message.to.name, message.event));
        Ok(reply)
    }
}

impl Handler<Escalate> for Fakes {
    type Result = Result<escalation::Reply, DeliverError>;

    fn handle(&mut self, message: Escalate, _: &mut Context<Self>) -> Self::Result {
        use escalation::{Event, Reply};
        let id = message.to.subject().to_owned();
        let set = |state: &str, by: &str, operator: &OperatorName| {
            self.store.update(Collection::Escalations, &id, |row| {
                row["state"] = json!(state);
                row[by] = json!(operator);
            });
        };
        let is_over = {
            let rows = self.store.rows.lock().unwrap();
            rows.get(&(Collection::Escalations, id.clone()))
                .is_some_and(|row| row.body.contains("\"state\":\"resolved\""))
        };
        let reply = match &message.event {
            Event::Acknowledged { .. } | Event::Resolved { .. } if is_over => {
                Reply::NoLongerApplies {
                    why: "it is resolved".to_owned(),
                }
            }
            Event::Acknowledged { operator } => {
                set("acknowledged", "acknowledged_by", operator);
                Reply::Taken
            }
            Event::Resolved { operator, .. } => {
                set("resolved", "resolved_by", operator);
                Reply::Taken
            }
            _ => Reply::Taken,
        };
        let mut log = self.log.lock().unwrap();
        log.escalated.push((message.to.name, message.event));
        Ok(reply)
    }
}

pub struct FakeLinks;

#[async_trait]
impl Links for FakeLinks {
    async fn chat_link(&self, employee: &EmployeeId) -> Result<String, String> {
        Ok(format!("http://127.0.0.1/chat/enter/{employee}"))
    }
    async fn enroll_link(&self, _: &EmployeeId, by: &OperatorName) -> Result<String, String> {
        Err(format!("{by}: no enrolment page here"))
    }
}

pub struct FakeFactor;

#[async_trait]
impl CodeFactor for FakeFactor {
    fn name(&self) -> &'static str {
        "totp"
    }
    fn enroll(&self, employee: &EmployeeId, label: &str) -> Enrolment {
        Enrolment {
            otpauth_uri: SecretString::from(format!("otpauth://totp/{label}?secret=ABC")),
            sealed_seed: format!("sealed for {employee}"),
        }
    }
    async fn check(&self, _: &EmployeeId, _: &str, _: &SecretString) -> Proof {
        Proof::Totp { step: None }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(default)]
    id: String,
    principal: Untrusted,
    rule: RuleName,
    title: Untrusted,
    #[serde(default)]
    severity: Severity,
    #[serde(default)]
    context: securitybot::core::context::Words,
}

/// Knows just enough of CONTRACT's "Ingest".
pub fn native(
    body: &[u8],
    source: &SourceId,
    key: Option<&str>,
) -> Result<Vec<Result<Incoming, String>>, String> {
    let value: Value = serde_json::from_slice(body).map_err(|e| format!("malformed JSON: {e}"))?;
    let items = match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    let read = |(index, item): (usize, Value)| {
        let canonical = item.to_string();
        let wire: Wire = serde_json::from_value(item).map_err(|e| e.to_string())?;
        let made = || key.map_or_else(|| canonical.clone(), |key| format!("{key}:{index}"));
        let id = if wire.id.is_empty() { made() } else { wire.id };
        Ok(Incoming {
            mark_for: None,
            alert: Alert {
                source: source.clone(),
                id: id.into(),
                principal: wire.principal,
                rule: wire.rule,
                title: wire.title,
                description: Untrusted::default(),
                reason: Untrusted::default(),
                severity: wire.severity,
                occurred_at: None,
                url: None,
                context: wire.context,
                accepted_at: Timestamp::default(),
                resolved: false,
            },
            canonical,
            noted: None,
        })
    };
    Ok(items.into_iter().enumerate().map(read).collect())
}

/// Every element of `alerts` in the native form; what is none is quarantined.
pub fn alertmanager(body: &[u8], source: &SourceId, _: &str, _: &str) -> Webhook {
    let mut webhook = Webhook::default();
    let whole = String::from_utf8_lossy(body).into_owned();
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        let error = "malformed JSON".to_owned();
        webhook.quarantined.push((whole, error));
        return webhook;
    };
    for read in native(value["alerts"].to_string().as_bytes(), source, None).unwrap() {
        match read {
            Ok(incoming) => webhook.alerts.push(incoming),
            Err(error) => webhook.quarantined.push((whole.clone(), error)),
        }
    }
    webhook
}

/// `v1,` and the hex tag: the shape is the real one's, the encoding does not matter here.
pub fn sign(secret: &SecretString, id: &str, at: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).unwrap();
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(body);
    format!("v1,{}", hex::encode(mac.finalize().into_bytes()))
}
