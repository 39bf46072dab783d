//! Monitoring systems: each alert is sent under its id until the bot says that it has it, as real
//! producers do; some are sent again later, and some come back altered.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use super::history::{History, What};

/// The addresses of all nodes; whoever gets no answer turns to the next.
#[derive(Clone)]
pub struct Nodes(Arc<Mutex<Vec<String>>>);

impl Nodes {
    pub fn new(first: String) -> Self {
        Self(Arc::new(Mutex::new(vec![first])))
    }

    pub fn add(&self, url: String) {
        self.0.lock().unwrap().push(url);
    }

    pub fn url(&self, attempt: usize) -> String {
        let urls = self.0.lock().unwrap();
        urls[attempt % urls.len()].clone()
    }
}

#[derive(Clone)]
pub struct Producer {
    client: Client,
    nodes: Nodes,
    token: String,
    history: History,
    requests: Arc<AtomicU64>,
    at_work: Arc<AtomicUsize>,
    unanswered: Arc<AtomicUsize>,
}

/// Counts as long as it lives, however its task ends.
pub struct Count(Arc<AtomicUsize>);

impl Count {
    pub fn up(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self(counter.clone())
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Producer {
    pub fn new(nodes: Nodes, token: String, history: &History) -> Self {
        Self {
            client: securitybot::plugins::outgoing::http_client_with(Duration::from_secs(10)),
            nodes,
            token,
            history: history.clone(),
            requests: Arc::default(),
            at_work: Arc::default(),
            unanswered: Arc::default(),
        }
    }

    /// Requests under way to a bot that has taken the connection.
    pub fn at_work(&self) -> usize {
        self.at_work.load(Ordering::SeqCst)
    }

    /// Alerts that no bot has taken yet.
    pub fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::SeqCst)
    }

    /// Sends in the background until it is taken.
    pub fn send(&self, alert: Value) {
        let producer = self.clone();
        let count = Count::up(&self.unanswered);
        tokio::spawn(async move {
            let _count = count;
            let mut tries: usize = 0;
            while producer.once(&alert, tries).await.is_none_or(|s| s >= 500) {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(40 + 20 * (tries as u64).min(10))).await;
            }
        });
    }

    /// One request; its status.
    pub async fn once(&self, alert: &Value, attempt: usize) -> Option<u16> {
        let request = self.requests.fetch_add(1, Ordering::SeqCst);
        let id = alert["id"].as_str().unwrap_or_default().to_owned();
        self.history.note(What::AlertSent {
            request,
            alert: id.clone(),
            body: alert.clone(),
        });
        let url = self.nodes.url(attempt);
        let count = Count::up(&self.at_work);
        let sent = self
            .client
            .post(format!("{url}/v1/alerts"))
            .bearer_auth(&self.token)
            .json(alert)
            .send()
            .await;
        let mut status = 0;
        let mut verdict = None;
        if let Ok(answer) = sent {
            status = answer.status().as_u16();
            if let Ok(body) = answer.json::<Value>().await {
                let listed = |name: &str| body[name].as_array().is_some_and(|l| !l.is_empty());
                let names = ["accepted", "duplicates", "rejected"];
                verdict = names
                    .into_iter()
                    .find(|name| listed(name))
                    .map(str::to_owned);
            } else if status < 300 {
                // Cut in the middle of the answer: the producer does not know.
                status = 0;
            }
        }
        drop(count);
        self.history.note(What::AlertAnswered {
            request,
            alert: id,
            status,
            verdict,
        });
        (status != 0).then_some(status)
    }
}

pub fn alert(id: &str, principal: &str, rule: &str, host: &str) -> Value {
    json!({"id": id, "principal": principal, "rule": rule, "title": format!("{rule} {id}"),
        "reason": format!("{principal} ran it on {host}"), "context": {"host": host}})
}
