//! What goes on all the time while faults come and go: alerts, each delivered one to four times, early
//! and late; altered ones under a known id; and now and then more about one person in one request than a commit
//! can tell the web chat by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::kit::crew::an_alert;
use super::kit::producers::{Producer, alert};
use super::kit::setting::NAMES;

/// One in so many steps of the workload.
const BURST_EVERY: u32 = 400;
/// Half of them are proved by one code.
const BURST: u32 = 60;

pub struct Workload {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Workload {
    /// `pace`: how many times slower than usual; then without bursts.
    pub fn start(producer: Producer, seed: u64, pace: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed ^ 0xa1e7);
            for n in 0u32.. {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                deliver(&producer, &format!("m{n}"), &mut rng);
                if pace == 1 && n % BURST_EVERY == BURST_EVERY / 10 {
                    let person = NAMES[rng.random_range(0..NAMES.len())];
                    producer.send_together(burst(&format!("b{n}"), person));
                }
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

/// All of one person, of as many contexts.
fn burst(id: &str, person: &str) -> Vec<Value> {
    let one = |n| {
        let (id, host) = (format!("{id}-{n}"), format!("burst-{n}"));
        alert(&id, person, "ask", &host)
    };
    (0..BURST).map(one).collect()
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
