//! A store that went back: a replica was promoted that had not yet what its primary had said yes to. Of what
//! happened in that tail nobody knows any more: an alert taken in it is gone, a question is asked or a page sent once
//! more under another case or record, an answer given in it does not count. Everything else holds: what came
//! before and after, and that pages are in time, the journal is whole, nothing is verified without proof.

use std::collections::BTreeSet;

use super::super::history::What;
use super::view::View;

/// What may be broken, and only for alerts, cases and records that something happened to in the tail.
const EXCUSED: [&str; 9] = ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I10", "I13"];

/// The alerts, cases and records of all tails.
pub fn lost(view: &View<'_>) -> BTreeSet<String> {
    let tails: Vec<(u64, u64)> = view
        .outages
        .iter()
        .filter(|(_, _, blocks)| *blocks == "tail")
        .map(|(from, to, _)| (*from, *to))
        .collect();
    let mut lost = BTreeSet::new();
    let within = view.events.iter().filter(|event| {
        tails
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&event.t))
    });
    for event in within {
        match &event.what {
            What::AlertAnswered {
                alert, status: 202, ..
            } => {
                lost.insert(alert.clone());
            }
            What::Shown { case, .. } => {
                lost.insert(case.clone());
            }
            What::Acted { case, ticks, .. } => {
                lost.insert(case.clone());
                lost.extend(ticks.iter().map(|(case, _)| case.clone()));
            }
            What::Page { body, .. } => lost.extend(body.case.clone()),
            What::Record {
                id: record, body, ..
            } => {
                lost.insert(record.clone());
                lost.extend(body.case_id.clone());
            }
            _ => {}
        }
    }
    lost
}

/// Whether a lost tail is all there is to it.
pub fn excuses(lost: &BTreeSet<String>, invariant: &str, what: &str) -> bool {
    let mut words = what.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let may = EXCUSED.contains(&invariant) || (invariant == "I12" && what.contains("two bodies"));
    may && words.any(|word| lost.contains(word))
}
