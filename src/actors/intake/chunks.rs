//! The chunks of a queue that are on their way to the conversations. One leaves the queue when nothing of it is left:
//! an alert that leaves with the others of its chunk, and was in no hands yet, would be lost.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Chunks {
    /// By first number.
    under_way: BTreeMap<u64, Chunk>,
    /// All done, still in the store's queue.
    pub done: Vec<Done>,
    /// Alerts that are done, in chunks that are in the store's queue.
    finished: u64,
}

struct Chunk {
    count: u64,
    finished: u64,
    /// The numbers in nobody's hands yet. Not how many: once the queue was read again, one can come back twice.
    left: BTreeSet<u64>,
}

/// A chunk that can leave the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub first: u64,
    /// How many alerts it has.
    pub count: u64,
}

impl Chunks {
    /// A chunk that is done when each of `numbers` is.
    pub fn begin(&mut self, first: u64, count: u64, numbers: impl IntoIterator<Item = u64>) {
        let chunk = Chunk {
            count,
            finished: 0,
            left: numbers.into_iter().collect(),
        };
        self.under_way.insert(first, chunk);
    }

    /// Its receiver has committed the alert of this number, or the page about it is durable.
    pub fn finish(&mut self, number: u64) {
        let Some((&first, chunk)) = self.under_way.range_mut(..=number).next_back() else {
            return;
        };
        if !chunk.left.remove(&number) {
            return;
        }
        chunk.finished += 1;
        self.finished = self.finished.saturating_add(1);
        if chunk.left.is_empty() {
            let count = chunk.count;
            // One number stands for all of a chunk that cannot be read.
            self.finished = self.finished.saturating_add(count - chunk.finished);
            self.done.push(Done { first, count });
            self.under_way.remove(&first);
        }
    }

    /// How many alerts are done and still in the store's queue: one that nobody takes keeps those it came with there.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// These chunks left the queue; how many alerts they had.
    pub fn left_the_queue(&mut self, chunks: &[Done]) -> u64 {
        let alerts = chunks
            .iter()
            .fold(0u64, |sum, chunk| sum.saturating_add(chunk.count));
        self.finished = self.finished.saturating_sub(alerts);
        alerts
    }

    /// The queue is read again from its beginning.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_done_when_each_of_its_numbers_is() {
        let mut chunks = Chunks::default();
        chunks.begin(1, 2, 1..=2);
        chunks.begin(3, 3, 3..=5);
        for number in [4, 3, 2, 4, 4, 9] {
            chunks.finish(number);
        }
        assert_eq!(chunks.done, []);
        chunks.finish(5);
        chunks.finish(1);
        let done = [(3, 3), (1, 2)].map(|(first, count)| Done { first, count });
        assert_eq!(chunks.done, done);
    }

    #[test]
    fn what_is_done_is_counted_until_its_chunk_left_the_queue() {
        let mut chunks = Chunks::default();
        chunks.begin(1, 3, 1..=3);
        chunks.begin(4, 2, 4..=5);
        chunks.begin(6, 300, [6]);
        for number in [1, 3, 4, 5, 6, 6] {
            chunks.finish(number);
        }
        assert_eq!(chunks.finished(), 2 + 2 + 300);
        let done = std::mem::take(&mut chunks.done);
        assert_eq!(chunks.left_the_queue(&done), 302);
        assert_eq!(chunks.finished(), 2, "in the chunk of which one is left");
    }

    /// Where a chunk is damaged, its number of alerts is what a damaged index says.
    #[test]
    fn no_count_is_too_large() {
        let mut chunks = Chunks::default();
        chunks.begin(1, u64::MAX, [1]);
        chunks.begin(2, u64::MAX, [2]);
        chunks.finish(1);
        chunks.finish(2);
        assert_eq!(chunks.finished(), u64::MAX);
        let done = std::mem::take(&mut chunks.done);
        assert_eq!(chunks.left_the_queue(&done), u64::MAX);
        assert_eq!(chunks.finished(), 0);
    }

    #[test]
    fn what_was_delivered_before_the_queue_was_read_again_counts_once() {
        let mut chunks = Chunks::default();
        chunks.begin(1, 2, 1..=2);
        chunks.finish(1);
        chunks.forget();
        chunks.finish(2);
        chunks.begin(1, 2, 1..=2);
        for _ in 0..3 {
            chunks.finish(2);
        }
        assert_eq!(chunks.done, [], "the first was not delivered again");
        chunks.finish(1);
        assert_eq!(chunks.done, [Done { first: 1, count: 2 }]);
    }
}
