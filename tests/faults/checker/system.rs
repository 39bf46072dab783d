//! The bot as a machine: order, limits, and that nothing is left over.

use std::collections::BTreeMap;

use super::super::history::What;
use super::view::View;

/// 503 within this long while nothing can be made durable (and what a loaded machine adds).
const REFUSED_WITHIN_US: u64 = 2_000_000 + 2_500_000;
/// A bot with a few hundred cases needs a fraction of this.
const MEMORY_KIB: u64 = 600 * 1024;
/// Records of a partition come in order (the first time each), revisions of a case never fall.
pub fn versions_rise(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut highest: BTreeMap<&str, u64> = BTreeMap::new();
    let mut bodies: BTreeMap<&str, u64> = BTreeMap::new();
    for event in view.events {
        let What::Record { id, body, applied } = &event.what else {
            continue;
        };
        let Some((partition, number)) = id.split_once('-') else {
            continue;
        };
        let Ok(number) = number.parse::<u64>() else {
            continue;
        };
        if bodies
            .insert(id, body.digest)
            .is_some_and(|before| before != body.digest)
        {
            wrong.push(format!("record {id} came with two bodies"));
        }
        let before = highest.entry(partition).or_insert(0);
        if *applied && number > *before + 1 {
            wrong.push(format!("record {id} came after {partition}-{before}"));
        }
        if *applied {
            *before = number.max(*before);
        }
    }
    for (id, tellings) in &view.tellings {
        for (before, revision) in &tellings.fell {
            wrong.push(format!(
                "case {id} fell from revision {before} to {revision}"
            ));
        }
    }
    wrong
}

pub fn refused_in_time(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut sent: BTreeMap<u64, u64> = BTreeMap::new();
    for event in view.events {
        match &event.what {
            What::AlertSent { request, .. } => {
                sent.insert(*request, event.t);
            }
            // No answer is the doing of a dead or frozen node.
            What::AlertAnswered {
                request,
                alert,
                status,
                ..
            } if *status != 0 => {
                let took = sent.get(request).map_or(0, |from| event.t - from);
                let from = event.t - took;
                if !totally_out(view, from, event.t) {
                    continue;
                }
                if took > REFUSED_WITHIN_US {
                    wrong.push(format!(
                        "alert {alert} waited {} ms for its {status}",
                        took / 1000
                    ));
                }
                if *status == 202 {
                    wrong.push(format!(
                        "alert {alert} was acknowledged while nothing could be made durable"
                    ));
                }
            }
            What::Memory { node, kib } if *kib > MEMORY_KIB => {
                wrong.push(format!("node {node} used {kib} KiB"));
            }
            _ => {}
        }
    }
    wrong
}

/// The whole time between lies in an outage that lets nothing through.
fn totally_out(view: &View<'_>, from: u64, to: u64) -> bool {
    let mut outages = view.total_outages.iter();
    outages.any(|(began, ended)| *began < from && to < *ended)
}

pub fn journal_whole(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for event in view.events {
        if let What::Rest {
            journal_whole: false,
            journal_said,
            ..
        } = &event.what
        {
            wrong.push(format!("journal verify says: {journal_said}"));
        }
    }
    wrong
}

pub fn nothing_left(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for event in view.events {
        if let What::Rest {
            backlog, outbox, ..
        } = &event.what
            && (*backlog, *outbox) != (0, 0)
        {
            wrong.push(format!(
                "at rest {backlog} alerts and {outbox} effects or records are left"
            ));
        }
    }
    wrong
}
