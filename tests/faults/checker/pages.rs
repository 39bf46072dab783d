//! Every page goes out, once, in time, and never before its time.

use std::collections::{BTreeMap, BTreeSet};

use super::super::history::What;
use super::view::{View, instant, needs_page};

/// Promise P6, and what the other side and the machine take.
const IN_TIME_MS: i64 = 30_000;

pub fn every_page(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, case) in &view.cases {
        let Some(outcome) = case["outcome"].as_str() else {
            continue;
        };
        if view.at_rest && needs_page(outcome) && !view.pages.contains_key(id) {
            wrong.push(format!("case {id} is {outcome}, and no page went out"));
        }
    }
    let mut keys: BTreeMap<(&str, u64, u64), BTreeSet<&str>> = BTreeMap::new();
    let mut bodies: BTreeMap<&str, &str> = BTreeMap::new();
    for (case, pages) in &view.pages {
        for (_, _, body) in pages {
            let key = body["key"].as_str().unwrap_or_default();
            let number = |name: &str| body[name].as_u64().unwrap_or(0);
            keys.entry((case, number("round"), number("level")))
                .or_default()
                .insert(key);
            if body["kind"] == "case" && body["case"]["id"] != **case {
                wrong.push(format!("page {key} is about {}", body["case"]["id"]));
            }
        }
    }
    for ((case, round, level), keys) in keys {
        if keys.len() > 1 {
            wrong.push(format!(
                "case {case}, round {round}, level {level} was paged under {keys:?}"
            ));
        }
    }
    for event in view.events {
        if let What::Page { id, body, .. } = &event.what {
            let key = body["key"].as_str().unwrap_or_default();
            if *bodies.entry(id).or_insert(key) != key {
                wrong.push(format!("webhook-id {id} carries two pages"));
            }
        }
    }
    wrong
}

pub fn in_time(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, case) in &view.cases {
        let Some(outcome) = case["outcome"]
            .as_str()
            .filter(|outcome| needs_page(outcome))
        else {
            continue;
        };
        let due = match outcome {
            "no_answer" => instant(&case["deadline"]),
            _ => None,
        };
        let due = due.or_else(|| instant(&case["closed_at"]));
        let first = view
            .pages
            .get(id)
            .and_then(|pages| pages.iter().map(|p| (p.0, p.1)).min());
        let (Some(due), Some((t, wall))) = (due, first) else {
            continue; // I8 says so
        };
        let late = wall - due;
        let due_t = t.saturating_sub(u64::try_from(late.max(0)).unwrap_or(0) * 1000);
        let out = i64::try_from(view.out_between(due_t, t) / 1000).unwrap_or(i64::MAX);
        if late > IN_TIME_MS + out {
            wrong.push(format!("case {id} ({outcome}) was paged {late} ms after it was due, {out} ms of them outages"));
        }
    }
    wrong
}

pub fn never_early(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, tellings) in &view.tellings {
        // A question that was changed (a revision) keeps its deadline too.
        let deadlines: BTreeSet<&str> = tellings
            .iter()
            .filter_map(|(_, case)| case["deadline"].as_str())
            .collect();
        if deadlines.len() > 1 {
            wrong.push(format!("the deadline of case {id} moved: {deadlines:?}"));
        }
        let Some(case) = view.cases.get(id) else {
            continue;
        };
        if case["outcome"] != "no_answer" {
            continue;
        }
        let (Some(deadline), Some(closed)) =
            (instant(&case["deadline"]), instant(&case["closed_at"]))
        else {
            continue;
        };
        if closed < deadline {
            wrong.push(format!(
                "case {id} ended {} ms before its deadline",
                deadline - closed
            ));
        }
        let first = view
            .pages
            .get(id)
            .and_then(|pages| pages.iter().map(|p| p.1).min());
        if first.is_some_and(|first| first < deadline) {
            wrong.push(format!("case {id} was paged before its deadline"));
        }
    }
    wrong
}
