//! A finished rollup goes to each sink that is to have it, whatever becomes of the other sinks.
#![allow(clippy::unwrap_used, reason = "a test may fail that way")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use securitybot::actors::reporter::rollups::{self, RollupPlan};
use securitybot::core::time::Timestamp;
use securitybot::plugins::sinks::{Report, Sink, SinkError};
use securitybot::store::memory::MemoryStore;

const FROM: i64 = 1_795_003_200_000;
const HOUR: i64 = 3_600_000;

struct Ear {
    name: &'static str,
    down: AtomicBool,
    got: Mutex<Vec<String>>,
    tried: AtomicUsize,
}

impl Ear {
    fn new(name: &'static str, down: bool) -> Arc<Self> {
        Arc::new(Self {
            name,
            down: AtomicBool::new(down),
            got: Mutex::default(),
            tried: AtomicUsize::default(),
        })
    }

    fn got(&self) -> Vec<String> {
        std::mem::take(&mut self.got.lock().unwrap())
    }
}

#[async_trait]
impl Sink for Ear {
    fn name(&self) -> &str {
        self.name
    }

    async fn deliver(&self, reports: &[Report]) -> Result<(), SinkError> {
        self.tried.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(SinkError::Unavailable("nobody listens".into()));
        }
        let ids = reports.iter().map(|report| report.id().to_owned());
        self.got.lock().unwrap().extend(ids);
        Ok(())
    }
}

#[tokio::test]
async fn a_sink_that_is_down_holds_up_nobody_and_gets_all_in_order_later() {
    let store = MemoryStore::new(4);
    let (dead, well) = (Ear::new("dead", true), Ear::new("well", false));
    let sinks: Vec<Arc<dyn Sink>> = vec![dead.clone(), well.clone()];
    let plan = RollupPlan {
        hourly: true,
        sinks: vec!["dead".into(), "well".into()],
        ..RollupPlan::default()
    };
    let run = async |hours: i64| {
        let now = Timestamp::from_millis(FROM + hours * HOUR + 5_000);
        rollups::run(&store, &plan, &sinks, now).await
    };
    run(0).await.unwrap();

    let failed = run(1).await.unwrap_err();
    assert!(
        failed.contains("dead") && failed.contains("nobody listens"),
        "{failed}"
    );
    let first = well.got();
    assert_eq!(first.len(), 1);

    run(4).await.unwrap_err();
    let later = well.got();
    assert_eq!(later.len(), 3, "the dead one held them up");
    assert_eq!(
        dead.tried.load(Ordering::SeqCst),
        2,
        "asked once a run, not once a rollup"
    );

    dead.down.store(false, Ordering::SeqCst);
    run(4).await.unwrap();
    assert_eq!(dead.got(), [first, later].concat());
    run(4).await.unwrap();
    assert!(dead.got().is_empty() && well.got().is_empty());
}
