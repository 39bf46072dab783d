//! PagerDuty as the bot meets it: Events v2 opens, acknowledges and resolves incidents by `dedup_key`, and
//! what a person does in its page goes out as a signed webhook v3.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::time::Duration;

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::fake_http::{FakeHttp, Mode};

pub struct FakePagerDuty {
    http: FakeHttp,
    webhook_secret: String,
}

impl FakePagerDuty {
    pub fn start(webhook_secret: &str) -> Self {
        let http = FakeHttp::start();
        // 202 is what PagerDuty answers.
        http.set(Mode::Status(202));
        Self {
            http,
            webhook_secret: webhook_secret.to_owned(),
        }
    }

    pub fn url(&self) -> String {
        self.http.url()
    }

    /// Every event taken, in order.
    pub fn events(&self) -> Vec<Value> {
        let requests = self.http.requests();
        requests.iter().map(|request| request.json()).collect()
    }

    /// `event_action dedup_key`, in order.
    pub fn actions(&self) -> Vec<String> {
        let events = self.events();
        let word = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
        events
            .iter()
            .map(|event| {
                format!(
                    "{} {}",
                    word(event, "event_action"),
                    word(event, "dedup_key")
                )
            })
            .collect()
    }

    pub fn wait_for(&self, count: usize, patience: Duration) -> Vec<String> {
        self.http.wait_for(count, patience);
        self.actions()
    }

    /// Somebody pressed a button in PagerDuty (`agent` is `null` for what came by the Events API).
    pub async fn tell(&self, bot: &str, kind: &str, key: &str, agent: Value) -> u16 {
        let body = json!({"event": {
            "id": "01DEN4HPBQAAAG05V5QQYBRZMF", "event_type": kind, "resource_type": "incident",
            "occurred_at": "2026-11-24T09:00:00Z", "agent": agent, "client": null,
            "data": {"id": "PGR0VU2", "type": "incident", "incident_key": key},
        }})
        .to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(self.webhook_secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let signature = format!("v1={}", hex::encode(mac.finalize().into_bytes()));
        let sent = securitybot::plugins::http_client()
            .post(format!("{bot}/v1/pagerduty"))
            .header("x-pagerduty-signature", signature)
            .body(body)
            .send()
            .await;
        sent.unwrap().status().as_u16()
    }
}
