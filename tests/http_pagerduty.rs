//! PagerDuty's webhook: what a person does there counts here, once, and nothing else does.
#![allow(clippy::unwrap_used)] // helpers of tests

mod http_support;

use hmac::{Hmac, Mac};
use http_support::{Bench, samples};
use reqwest::{Method, Response};
use securitybot::core::escalation::Event;
use securitybot::core::ids::CaseId;
use serde_json::{Value, json};
use sha2::Sha256;

const SECRET: &str = "pd-secret";

fn signature(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!("v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// The shape of <https://developer.pagerduty.com/docs/webhooks-overview>.
fn event(kind: &str, key: &str, agent: Value) -> String {
    json!({"event": {
        "id": "01DEN4HPBQAAAG05V5QQYBRZMF", "event_type": kind, "resource_type": "incident",
        "occurred_at": "2026-11-24T09:00:00Z", "agent": agent, "client": null,
        "data": {"id": "PGR0VU2", "type": "incident", "incident_key": key, "status": "acknowledged"},
    }})
    .to_string()
}

fn jane() -> Value {
    json!({"id": "PLH1HKV", "type": "user_reference", "summary": "Jane Roe"})
}

async fn post(bench: &Bench, body: String, signature: &str) -> Response {
    bench
        .request(Method::POST, "/v1/pagerduty")
        .header("x-pagerduty-signature", signature)
        .body(body)
        .send()
        .await
        .unwrap()
}

async fn signed(bench: &Bench, body: String) -> u16 {
    let signature = signature(SECRET, &body);
    post(bench, body, &signature).await.status().as_u16()
}

fn escalated(bench: &Bench) -> Vec<String> {
    let log = bench.log.lock().unwrap();
    log.escalated
        .iter()
        .map(|(_, event)| match event {
            Event::Acknowledged { operator } => format!("acknowledged by {operator}"),
            Event::Resolved { operator, reason } => format!("{reason} by {operator}"),
            other => other.name().to_owned(),
        })
        .collect()
}

fn escalation(bench: &Bench, state: &str) -> CaseId {
    let id = samples::case(&bench.store, 1, &samples::Sample::default());
    samples::escalation(&bench.store, id, state, "high", Some(id));
    id
}

#[actix_web::test]
async fn acknowledging_and_resolving_in_pagerduty_counts_here_under_the_persons_name() {
    let bench = Bench::start().await;
    let id = escalation(&bench, "open");
    let key = format!("{id}:1:1");
    assert_eq!(
        signed(&bench, event("incident.acknowledged", &key, jane())).await,
        202
    );
    assert_eq!(
        signed(&bench, event("incident.resolved", &key, jane())).await,
        202
    );
    assert_eq!(
        escalated(&bench),
        [
            "acknowledged by pagerduty:Jane Roe",
            "resolved in PagerDuty by pagerduty:Jane Roe"
        ]
    );
}

#[actix_web::test]
async fn echoes_of_ours_old_rounds_and_other_incidents_are_taken_and_ignored() {
    let bench = Bench::start().await;
    let id = escalation(&bench, "open");
    let key = format!("{id}:1:1");
    let service = json!({"id": "PF9KMXH", "type": "service_reference", "summary": "securitybot"});
    for ignored in [
        event("incident.acknowledged", &key, Value::Null),
        event("incident.acknowledged", &key, service),
        event("incident.acknowledged", &format!("{id}:0:1"), jane()),
        event("incident.acknowledged", "somebody else's", jane()),
        event("incident.triggered", &key, jane()),
        event("pagey.ping", &key, jane()),
        "{\"event\": 7}".to_owned(),
        "no JSON".to_owned(),
    ] {
        assert_eq!(signed(&bench, ignored.clone()).await, 202, "{ignored}");
    }
    let held = escalation(&bench, "acknowledged");
    let key = format!("{held}:1:1");
    assert_eq!(
        signed(&bench, event("incident.acknowledged", &key, jane())).await,
        202
    );
    assert_eq!(escalated(&bench), Vec::<String>::new());
}

#[actix_web::test]
async fn only_a_good_signature_opens_it() {
    let bench = Bench::start().await;
    let id = escalation(&bench, "open");
    let body = event("incident.resolved", &format!("{id}:1:1"), jane());
    let good = signature(SECRET, &body);
    for bad in [
        "",
        "v1=",
        "v1=zz",
        &good[3..],
        &signature("other", &body),
        &signature(SECRET, "x"),
    ] {
        assert_eq!(post(&bench, body.clone(), bad).await.status(), 401, "{bad}");
    }
    assert_eq!(escalated(&bench), Vec::<String>::new());
    // While a secret is replaced PagerDuty sends both.
    let both = format!("{},{good}", signature("old", &body));
    assert_eq!(post(&bench, body, &both).await.status(), 202);
}
