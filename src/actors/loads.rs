//! Loads in groups, as commits are: what is asked for while a group of its partition is being read is the next one.
//! So a lone load is never delayed, and a flood for people who are not in memory costs the store a call for a hundred
//! of them instead of a hundred.

use std::collections::HashMap;

use metrics::counter;

use crate::core::ids::AggregateKey;
use crate::core::machine::{Guard, Machine};
use crate::core::world::World;
use crate::store::{self, Store, StoreError, Stored};

use super::checkpoint::{self, Outbox, Unreadable, Written};
use super::durable::{self, Env, Loaded};
use super::recovery;

/// In one call: with more a store gains little for each, and decoding them would hold up everybody else.
const MOST: usize = 100;

/// Who is to be loaded, by partition. Whoever waits while nothing of its partition is under way has been announced by
/// [`Loads::ask`].
#[derive(Default)]
pub struct Loads(HashMap<u16, Queue>);

#[derive(Default)]
struct Queue {
    waiting: Vec<String>,
    under_way: bool,
}

impl Loads {
    /// Whether it is the first of a group that may begin: somebody has to take it.
    pub fn ask(&mut self, key: AggregateKey) -> bool {
        let queue = self.0.entry(key.partition).or_default();
        queue.waiting.push(key.name);
        !queue.under_way && queue.waiting.len() == 1
    }

    /// The names of the next group, when none is under way or that one has been read.
    pub fn take(&mut self, partition: u16) -> Vec<String> {
        let queue = self.0.entry(partition).or_default();
        let size = queue.waiting.len().min(MOST);
        queue.under_way = size > 0;
        queue.waiting.drain(..size).collect()
    }
}

/// What became of one of a group.
pub enum Found<M: Machine> {
    /// It can live.
    Whole(Loaded<M>),
    /// It has to be begun anew.
    Unreadable(AggregateKey, Stored),
    /// Whoever waits for it has to try again.
    Not(AggregateKey, String),
}

/// One answer for each name.
pub async fn read<M: Machine>(
    store: &dyn Store,
    partition: u16,
    names: Vec<String>,
) -> Vec<Found<M>> {
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = store.load_all(partition, &asked).await;
    let found = found.unwrap_or_else(|error| vec![Err(error); names.len()]);
    let keys = names
        .into_iter()
        .map(|name| AggregateKey { partition, name });
    keys.zip(found)
        .map(|(key, found)| restored(key, found))
        .collect()
}

fn restored<M: Machine>(key: AggregateKey, found: store::Found) -> Found<M> {
    let stored = match found {
        Ok(Some(stored)) => stored,
        Ok(None) => {
            return Found::Whole(Loaded {
                version: 0,
                state: M::new(&key),
                outbox: Outbox::new(),
                written: Written::default(),
                key,
            });
        }
        Err(StoreError::Corrupt(why)) => return Found::Not(key, why),
        Err(error) => return Found::Not(key, error.to_string()),
    };
    let restored = checkpoint::restore::<M>(&key.name, &stored.state, &stored.pieces);
    let own = restored.and_then(|restored| match restored.0.is_of(&key) {
        true => Ok(restored),
        false => Err(Unreadable::Corrupt {
            key: key.name.clone(),
            why: "it is another aggregate's".to_owned(),
        }),
    });
    match own {
        Ok((state, outbox, written)) => Found::Whole(Loaded {
            key,
            version: stored.version,
            state,
            outbox,
            written,
        }),
        // A newer bot's state is not ours to judge.
        Err(error @ Unreadable::Newer { .. }) => Found::Not(key, error.to_string()),
        Err(error @ Unreadable::Corrupt { .. }) => {
            tracing::error!(%key, %error, "an unreadable checkpoint; the aggregate starts anew");
            counter!("securitybot_aggregates_rebuilt_total").increment(1);
            Found::Unreadable(key, stored)
        }
    }
}

/// Begins an unreadable one anew, in a commit that stands before anybody lives in it.
pub async fn rebuild<M: Machine>(
    env: &Env<M>,
    key: AggregateKey,
    stored: Stored,
    world: &World,
) -> Found<M> {
    let rebuilt = recovery::rebuild::<M>(
        env,
        key.clone(),
        stored.version,
        checkpoint::remains(&stored),
        serde_json::from_str::<Guard>(&stored.guard).ok(),
        None,
        world,
    );
    let adopted = match rebuilt.await {
        Ok(step) => {
            let written = Written::unreadable(&stored);
            durable::adopt(env, &key, stored.version, &written, step, world).await
        }
        Err(why) => Err(why),
    };
    adopted.map_or_else(|why| Found::Not(key, why), Found::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_meanwhile_is_the_next_group_of_its_partition() {
        let mut loads = Loads::default();
        let mut ask = |partition, number: usize| {
            let name = number.to_string();
            loads.ask(AggregateKey { partition, name })
        };
        assert!(ask(0, 0), "a lone one is announced at once");
        assert!(!ask(0, 1), "its group is known");
        assert!(ask(1, 0), "partitions do not wait for each other");
        assert_eq!(loads.take(0), ["0", "1"]);
        let mut ask = |number: usize| {
            let name = number.to_string();
            loads.ask(AggregateKey { partition: 0, name })
        };
        let announced = (0..=MOST).any(&mut ask);
        assert!(!announced, "it follows the one under way");
        assert_eq!(loads.take(0).len(), MOST);
        assert_eq!(loads.take(0), [MOST.to_string()]);
        assert!(loads.take(0).is_empty(), "nothing is left");
        assert_eq!(loads.take(1), ["0"]);
        let name = "again".to_owned();
        assert!(loads.ask(AggregateKey { partition: 0, name }));
    }
}
