//! Rows outside any commit come one by one, from every message of a chat. What waits while a call is under
//! way goes together with the next one: alone each would cost the server several times as much.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use redis::Cmd;
use tokio::sync::oneshot;

use super::link::{CallError, Link};
use super::{format, scripts};
use crate::core::machine::RowChange;
use crate::store::WriteError;

/// Changes in one call.
const MOST_TOGETHER: usize = 256;

struct Waiting {
    rows: Vec<RowChange>,
    if_absent: bool,
    written: oneshot::Sender<Result<usize, WriteError>>,
}

/// One partition's line.
#[derive(Default)]
struct Lane {
    under_way: bool,
    waiting: VecDeque<Waiting>,
}

pub(super) struct Puts {
    link: Arc<Link>,
    prefixes: Vec<String>,
    lanes: Vec<Mutex<Lane>>,
}

impl Puts {
    /// `prefixes`: of each partition.
    pub fn new(link: Arc<Link>, prefixes: Vec<String>) -> Self {
        let lanes = prefixes.iter().map(|_| Mutex::default()).collect();
        Self {
            link,
            prefixes,
            lanes,
        }
    }

    /// How many rows were written. A caller that stops waiting stops nothing.
    pub async fn put(
        self: &Arc<Self>,
        partition: u16,
        rows: &[RowChange],
        if_absent: bool,
    ) -> Result<usize, WriteError> {
        let lane = usize::from(partition);
        if lane >= self.lanes.len() {
            let why = format!("there is no partition {partition}");
            return Err(WriteError::Failed(why));
        }
        let (written, answer) = oneshot::channel();
        let waiting = Waiting {
            rows: rows.to_vec(),
            if_absent,
            written,
        };
        let idle = {
            let mut lane = self.lane(lane);
            lane.waiting.push_back(waiting);
            !std::mem::replace(&mut lane.under_way, true)
        };
        if idle {
            let puts = self.clone();
            self.link.home().spawn(async move { puts.run(lane).await });
        }
        let ended = || WriteError::Unknown("the store ended in the middle".to_owned());
        answer.await.map_err(|_| ended())?
    }

    fn lane(&self, lane: usize) -> std::sync::MutexGuard<'_, Lane> {
        let lane = self.lanes[lane].lock();
        lane.unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, lane: usize) {
        while let Some(group) = self.next(lane) {
            let mut cmd = scripts::PUT.call(&self.prefixes[lane]);
            changes(&mut cmd, &group);
            let answer: Result<Vec<usize>, _> = self.link.run(&scripts::PUT, &cmd).await;
            let answer = answer.map_err(CallError::on_write);
            let mut from = 0;
            for one in group {
                let till = from + one.rows.len();
                let written = match &answer {
                    Ok(flags) => flags.get(from..till).map_or_else(
                        || Err(WriteError::Unknown("an unreadable answer".to_owned())),
                        |flags| Ok(flags.iter().sum()),
                    ),
                    Err(error) => Err(error.clone()),
                };
                let _ = one.written.send(written);
                from = till;
            }
        }
    }

    /// What goes together; `None`, and the line is idle, when nobody waits.
    fn next(&self, lane: usize) -> Option<Vec<Waiting>> {
        let mut lane = self.lane(lane);
        let (mut group, mut size) = (Vec::new(), 0);
        while let Some(one) = lane.waiting.front()
            && (group.is_empty() || size + one.rows.len() <= MOST_TOGETHER)
        {
            size += one.rows.len();
            group.extend(lane.waiting.pop_front());
        }
        lane.under_way = !group.is_empty();
        lane.under_way.then_some(group)
    }
}

fn changes(cmd: &mut Cmd, group: &[Waiting]) {
    cmd.arg(group.iter().map(|one| one.rows.len()).sum::<usize>());
    for one in group {
        for change in &one.rows {
            match change {
                RowChange::Put(row) => {
                    let what = if one.if_absent { "A" } else { "P" };
                    cmd.arg(what).arg(row.collection.name()).arg(&row.id);
                    cmd.arg(format::row(row));
                }
                RowChange::Delete { collection, id } => {
                    cmd.arg("D").arg(collection.name()).arg(id).arg("");
                }
            }
        }
    }
}
