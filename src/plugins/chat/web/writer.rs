//! Writes the chat's rows in groups: a flood asks hundreds of people in one moment, and a call of the store costs much
//! the same for one row as for many. What comes while a call is under way is the next call, so a lone message never
//! waits.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::core::machine::{Row, RowChange};
use crate::store::{Store, WriteError};

/// Rows in one call of the store.
const MOST: usize = 256;

type Answer = oneshot::Sender<Result<usize, WriteError>>;

struct Waiting {
    row: Row,
    if_absent: bool,
    answer: Answer,
}

#[derive(Default)]
struct Lane {
    busy: bool,
    waiting: Vec<Waiting>,
}

pub(super) struct Writer {
    store: Arc<dyn Store>,
    /// By partition.
    lanes: Vec<Arc<Mutex<Lane>>>,
}

impl Writer {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        let lanes = (0..store.partitions()).map(|_| Arc::default()).collect();
        Self { store, lanes }
    }

    /// As [`Store::put_rows`] with one row, but for one thing: 0 may also mean that others of the same call were there
    /// already, and that this one has been written.
    pub(super) async fn put(
        &self,
        partition: u16,
        row: Row,
        if_absent: bool,
    ) -> Result<usize, WriteError> {
        let lost = || WriteError::Unknown("the write ended without an answer".to_owned());
        let lane = self.lanes.get(usize::from(partition)).ok_or_else(lost)?;
        let (answer, answered) = oneshot::channel();
        let starts = {
            let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
            lane.waiting.push(Waiting {
                row,
                if_absent,
                answer,
            });
            !std::mem::replace(&mut lane.busy, true)
        };
        if starts {
            // A task of its own: whoever waits may give up, the others' rows may not.
            let flight = Flight {
                lane: lane.clone(),
                landed: false,
            };
            tokio::spawn(write_all(self.store.clone(), partition, flight));
        }
        answered.await.unwrap_or_else(|_| Err(lost()))
    }
}

/// The lane is free again when its task ends, however it ends.
struct Flight {
    lane: Arc<Mutex<Lane>>,
    landed: bool,
}

impl Flight {
    /// The next rows that go alike; empty when nobody waits, and then the lane is free.
    fn next(&mut self) -> Vec<Waiting> {
        let mut lane = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        let if_absent = lane.waiting.first().map(|first| first.if_absent);
        let alike = lane.waiting.iter().take(MOST);
        let size = alike
            .take_while(|one| Some(one.if_absent) == if_absent)
            .count();
        lane.busy = size > 0;
        self.landed = size == 0;
        lane.waiting.drain(..size).collect()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.landed {
            // The lane may have its next flight already.
            return;
        }
        let mut lane = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        lane.busy = false;
        // Dropped senders: nothing is known of these.
        lane.waiting.clear();
    }
}

async fn write_all(store: Arc<dyn Store>, partition: u16, mut flight: Flight) {
    loop {
        let group = flight.next();
        let Some(if_absent) = group.first().map(|first| first.if_absent) else {
            return;
        };
        let (rows, answers): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|one| (RowChange::Put(one.row), one.answer))
            .unzip();
        let written = store.put_rows(partition, &rows, if_absent).await;
        let each = match written {
            Ok(all) if all == rows.len() => Ok(1),
            Ok(_) => Ok(0),
            Err(error) => Err(error),
        };
        for answer in answers {
            // Whoever gave up reads back what it needs.
            let _ = answer.send(each.clone());
        }
    }
}
