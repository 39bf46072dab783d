//! Alerts on their way from an intake to their receivers: in order for each, one delivery to each at a time. A second
//! one under way could overtake the first, and its numbers would pass the first one's alerts by.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::core::alert::Alert;

/// Alerts handed to one conversation at once.
const MAX_DELIVERY: usize = 100;

/// With their numbers in the queue.
pub(super) type Numbered = Arc<[(u64, Alert)]>;

#[derive(Default)]
pub(super) struct Lanes {
    /// By receiver; whoever has nothing waiting and nothing under way has none.
    lanes: HashMap<String, Lane>,
    /// With something waiting and nothing under way: a flood must not look through all the others.
    ready: Vec<String>,
    alerts: usize,
}

struct Lane {
    waiting: VecDeque<(u64, Alert)>,
    /// Something is under way, or will be tried again.
    busy: bool,
}

impl Lanes {
    /// How many alerts there are, those under way among them.
    pub fn alerts(&self) -> usize {
        self.alerts
    }

    /// How many receivers can be given something.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    pub fn add(&mut self, receiver: String, number: u64, alert: Alert) {
        self.alerts += 1;
        match self.lanes.get_mut(&receiver) {
            Some(lane) => lane.waiting.push_back((number, alert)),
            None => {
                self.ready.push(receiver.clone());
                let lane = Lane {
                    waiting: VecDeque::from([(number, alert)]),
                    busy: false,
                };
                self.lanes.insert(receiver, lane);
            }
        }
    }

    /// What can be delivered now: to each receiver nothing more until it took this.
    pub fn start(&mut self) -> Vec<(String, Numbered)> {
        let ready = std::mem::take(&mut self.ready);
        let start = |receiver: String| {
            let lane = self.lanes.get_mut(&receiver)?;
            lane.busy = true;
            let size = lane.waiting.len().min(MAX_DELIVERY);
            Some((receiver, lane.waiting.drain(..size).collect()))
        };
        ready.into_iter().filter_map(start).collect()
    }

    /// The receiver took so many alerts.
    pub fn took(&mut self, receiver: String, alerts: usize) {
        self.alerts -= alerts;
        self.free(receiver);
    }

    /// The receiver did not take these: they come first again, once it is [free](Self::free).
    pub fn give_back(&mut self, receiver: &str, alerts: &[(u64, Alert)]) {
        if let Some(lane) = self.lanes.get_mut(receiver) {
            for alert in alerts.iter().rev() {
                lane.waiting.push_front(alert.clone());
            }
        }
    }

    pub fn free(&mut self, receiver: String) {
        match self.lanes.get_mut(&receiver) {
            Some(lane) if lane.waiting.is_empty() => {
                self.lanes.remove(&receiver);
            }
            Some(lane) => {
                lane.busy = false;
                self.ready.push(receiver);
            }
            None => {}
        }
    }

    /// All but what is under way: it will be read from the store again.
    pub fn forget_waiting(&mut self) {
        self.ready.clear();
        self.lanes.retain(|_, lane| {
            self.alerts -= lane.waiting.len();
            lane.waiting.clear();
            lane.busy
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert() -> Alert {
        serde_json::from_str(
            r#"{"source":"local","id":"a","principal":"p","rule":"r","title":"t","accepted_at":0}"#,
        )
        .expect("an alert")
    }

    fn add(lanes: &mut Lanes, receiver: &str, numbers: &[u64]) {
        for number in numbers {
            lanes.add(receiver.to_owned(), *number, alert());
        }
    }

    fn start(lanes: &mut Lanes) -> Vec<(String, Vec<u64>)> {
        let started = lanes.start().into_iter();
        let numbers = |alerts: Numbered| alerts.iter().map(|(number, _)| *number).collect();
        started
            .map(|(receiver, alerts)| (receiver, numbers(alerts)))
            .collect()
    }

    fn to(receiver: &str, numbers: &[u64]) -> (String, Vec<u64>) {
        (receiver.to_owned(), numbers.to_vec())
    }

    #[test]
    fn each_receiver_gets_its_alerts_in_order_and_nothing_while_some_are_under_way() {
        let mut lanes = Lanes::default();
        add(&mut lanes, "a", &[1, 3]);
        add(&mut lanes, "b", &[2]);
        assert_eq!(start(&mut lanes), [to("a", &[1, 3]), to("b", &[2])]);
        add(&mut lanes, "a", &[4, 5]);
        assert_eq!(start(&mut lanes), []);
        lanes.took("b".to_owned(), 1);
        assert_eq!((start(&mut lanes), lanes.alerts()), (vec![], 4));
        lanes.took("a".to_owned(), 2);
        assert_eq!(start(&mut lanes), [to("a", &[4, 5])]);
        lanes.took("a".to_owned(), 2);
        assert_eq!((start(&mut lanes), lanes.alerts()), (vec![], 0));
        assert!(lanes.lanes.is_empty());
    }

    #[test]
    fn what_was_not_taken_comes_first_again() {
        let mut lanes = Lanes::default();
        add(&mut lanes, "a", &[1, 2]);
        let (_, alerts) = lanes.start().remove(0);
        add(&mut lanes, "a", &[3]);
        lanes.give_back("a", &alerts);
        assert_eq!(start(&mut lanes), []);
        lanes.free("a".to_owned());
        assert_eq!(start(&mut lanes), [to("a", &[1, 2, 3])]);
        assert_eq!(lanes.alerts(), 3);
    }

    #[test]
    fn a_delivery_is_bounded() {
        let mut lanes = Lanes::default();
        add(&mut lanes, "a", &(1..=150).collect::<Vec<_>>());
        assert_eq!(start(&mut lanes)[0].1.len(), 100);
        lanes.took("a".to_owned(), 100);
        assert_eq!(start(&mut lanes)[0].1.len(), 50);
    }

    #[test]
    fn what_waits_can_be_forgotten_and_what_is_under_way_still_ends() {
        let mut lanes = Lanes::default();
        add(&mut lanes, "a", &[1]);
        add(&mut lanes, "b", &[2]);
        let under_way = lanes.start();
        add(&mut lanes, "a", &[3]);
        add(&mut lanes, "c", &[4]);
        lanes.give_back("b", &under_way[1].1);
        lanes.forget_waiting();
        assert_eq!((start(&mut lanes), lanes.alerts()), (vec![], 1));
        // Read again meanwhile.
        add(&mut lanes, "a", &[1, 3]);
        assert_eq!(start(&mut lanes), []);
        lanes.took("a".to_owned(), 1);
        lanes.free("b".to_owned());
        assert_eq!(start(&mut lanes), [to("a", &[1, 3])]);
    }
}
