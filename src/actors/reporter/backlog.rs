//! What one sink still has to get, by partition, and how far it is known to be. That is remembered only between a
//! success and the next pass: after any error it is read from the store again.

use std::time::Duration;

use crate::store::Head;

const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_LONGEST: Duration = Duration::from_secs(60);

/// How long to wait after an error: longer with each until something succeeds.
#[derive(Clone, Copy, Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(BACKOFF_FIRST)
    }
}

impl Backoff {
    pub fn wait(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(BACKOFF_LONGEST);
        wait
    }
}

/// Where a sink stands in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The last record it has, if anybody saw that record.
    pub last: Option<Head>,
    /// There may be records after it already.
    pub has_more: bool,
}

#[derive(Clone, Debug, Default)]
struct Partition {
    is_dirty: bool,
    /// The store failed it: left alone for a while, so that the others need not wait with it.
    rests: bool,
    last: Option<Head>,
    backoff: Backoff,
}

/// One sink's partitions.
#[derive(Clone, Debug)]
pub struct Backlog(Vec<Partition>);

impl Backlog {
    pub fn new(partitions: u16) -> Self {
        Self(vec![Partition::default(); usize::from(partitions)])
    }

    /// There is something new in this partition.
    pub fn mark(&mut self, partition: u16) {
        self.of(partition).is_dirty = true;
    }

    pub fn mark_all(&mut self) {
        for partition in &mut self.0 {
            partition.is_dirty = true;
        }
    }

    /// All partitions with something new, each with the last record that the sink is known to have. Whoever takes them says of
    /// each what came of it.
    pub fn take(&mut self) -> Vec<(u16, Option<Head>)> {
        let ready = (0..)
            .zip(&mut self.0)
            .filter(|(_, it)| it.is_dirty && !it.rests);
        ready
            .map(|(partition, it)| {
                it.is_dirty = false;
                (partition, it.last.take())
            })
            .collect()
    }

    pub fn delivered(&mut self, partition: u16, place: Place) {
        let it = self.of(partition);
        it.last = place.last;
        it.is_dirty |= place.has_more;
        it.backoff = Backoff::default();
    }

    /// Leaves the partition alone until [`Backlog::rested`], which is due after the answer.
    pub fn failed(&mut self, partition: u16) -> Duration {
        let it = self.of(partition);
        it.is_dirty = true;
        it.rests = true;
        it.backoff.wait()
    }

    pub fn rested(&mut self, partition: u16) {
        self.of(partition).rests = false;
    }

    /// No partition is left alone.
    pub fn is_whole(&self) -> bool {
        !self.0.iter().any(|it| it.rests)
    }

    fn of(&mut self, partition: u16) -> &mut Partition {
        &mut self.0[usize::from(partition)]
    }
}
