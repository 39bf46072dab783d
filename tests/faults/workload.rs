//! What goes on all the time while faults come and go: alerts, each delivered one to four times, early
//! and late; altered ones under a known id; and somebody who writes down how things stand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::task::JoinHandle;

use super::kit::crew::an_alert;
use super::kit::producers::Producer;

pub struct Workload {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Workload {
    /// `pace`: how many times slower than usual.
    pub fn start(producer: Producer, seed: u64, pace: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed ^ 0xa1e7);
            for n in 0.. {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                deliver(&producer, &format!("m{n}"), &mut rng);
                let pause = Duration::from_millis(rng.random_range(100..500));
                tokio::time::sleep(pause * pace).await;
            }
        });
        Self { stop, task }
    }

    /// No more alerts; what was sent is still retried.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.task.await;
        // The last of the late deliveries.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

fn deliver(producer: &Producer, id: &str, rng: &mut StdRng) {
    let alert = an_alert(id, rng);
    producer.send(alert.clone());
    let copies = match rng.random_range(0..4) {
        0 => rng.random_range(1..4),
        _ => 0,
    };
    for _ in 0..copies {
        later(producer, alert.clone(), rng);
    }
    if rng.random_ratio(1, 20) {
        let mut altered = alert;
        altered["title"] = json!("something quite different");
        later(producer, altered, rng);
    }
}

fn later(producer: &Producer, alert: serde_json::Value, rng: &mut StdRng) {
    let (producer, wait) = (producer.clone(), rng.random_range(0..4000));
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        producer.send(alert);
    });
}
