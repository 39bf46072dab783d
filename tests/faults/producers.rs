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
        self.send_together(vec![alert]);
    }

    /// In one request.
    pub fn send_together(&self, alerts: Vec<Value>) {
        let producer = self.clone();
        let count = Count::up(&self.unanswered);
        tokio::spawn(async move {
            let _count = count;
            let mut tries: usize = 0;
            while producer.once(&alerts, tries).await.is_none_or(|s| s >= 500) {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(40 + 20 * (tries as u64).min(10))).await;
            }
        });
    }

    /// One request; its status. In the history each of its alerts has a number of its own.
    pub async fn once(&self, alerts: &[Value], attempt: usize) -> Option<u16> {
        let count = alerts.len() as u64;
        let first = self.requests.fetch_add(count, Ordering::SeqCst);
        let named = || {
            let id = |alert: &Value| alert["id"].as_str().unwrap_or_default().to_owned();
            (first..).zip(alerts.iter().map(id))
        };
        for ((request, alert), body) in named().zip(alerts) {
            self.history.note(What::AlertSent {
                request,
                alert,
                body: body.clone(),
            });
        }
        let url = self.nodes.url(attempt);
        let at_work = Count::up(&self.at_work);
        let request = self
            .client
            .post(format!("{url}/v1/alerts"))
            .bearer_auth(&self.token);
        let sent = match alerts {
            [alert] => request.json(alert),
            alerts => request.json(alerts),
        };
        let mut status = 0;
        let mut told = Value::Null;
        if let Ok(answer) = sent.send().await {
            status = answer.status().as_u16();
            match answer.json::<Value>().await {
                Ok(body) => told = body,
                // Cut in the middle of the answer: the producer does not know.
                Err(_) if status < 300 => status = 0,
                Err(_) => {}
            }
        }
        drop(at_work);
        for (index, (request, alert)) in named().enumerate() {
            self.history.note(What::AlertAnswered {
                verdict: verdict(&told, index, &alert),
                request,
                alert,
                status,
            });
        }
        (status != 0).then_some(status)
    }
}

/// The list that has this alert of the request: by its id, or when it was rejected by its index.
fn verdict(told: &Value, index: usize, alert: &str) -> Option<String> {
    let has = |name: &&str| {
        let mut listed = told[*name].as_array().into_iter().flatten();
        listed.any(|one| *one == alert || one["index"] == index)
    };
    let names = ["accepted", "duplicates", "rejected"];
    names.into_iter().find(has).map(str::to_owned)
}

pub fn alert(id: &str, principal: &str, rule: &str, host: &str) -> Value {
    json!({"id": id, "principal": principal, "rule": rule, "title": format!("{rule} {id}"),
        "reason": format!("{principal} ran it on {host}"), "context": {"host": host}})
}
