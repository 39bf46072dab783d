//! Every page goes out, once, in time, and never before its time.

use std::collections::{BTreeMap, BTreeSet};

use super::super::history::What;
use super::operators;
use super::trace::Page;
use super::view::{View, instant, name, needs_page};

/// Promise P6, and what the other side and the machine take.
const IN_TIME_MS: i64 = 30_000;

pub fn every_page(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, case) in &view.cases {
        let Some(outcome) = case.outcome() else {
            continue;
        };
        let heard = view.pages.contains_key(id) || is_seen_to(view, id);
        if view.at_rest && needs_page(outcome) && !heard {
            wrong.push(format!("case {id} is {outcome}, and no page went out"));
        }
    }
    let mut keys: BTreeMap<(&str, u64, u64), BTreeSet<&str>> = BTreeMap::new();
    let mut bodies: BTreeMap<&str, &str> = BTreeMap::new();
    for (case, pages) in &view.pages {
        for (_, _, body) in pages {
            let key = body.key();
            keys.entry((case, body.round.unwrap_or(0), body.level.unwrap_or(0)))
                .or_default()
                .insert(key);
            if body.is_about_a_case() && body.case.as_deref() != Some(*case) {
                wrong.push(format!("page {key} is about {}", name(&body.case)));
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
            let key = body.key();
            if *bodies.entry(id).or_insert(key) != key {
                wrong.push(format!("webhook-id {id} carries two pages"));
            }
        }
    }
    wrong
}

/// An operator had it before anybody was paged: resolved, or acknowledged for a while that is hardly over.
fn is_seen_to(view: &View<'_>, id: &str) -> bool {
    let (_, now) = view.end;
    view.words_on(id).any(|word| {
        let holds = match word.action {
            "resolve" => true,
            "ack" => now < word.wall + view.ack_expires_ms + IN_TIME_MS,
            _ => false,
        };
        word.may && word.maybe_taken() && holds
    })
}

pub fn in_time(view: &View<'_>) -> Vec<String> {
    let mut wrong = levels_in_time(view);
    for (id, case) in &view.cases {
        let Some(outcome) = case.outcome().filter(|outcome| needs_page(outcome)) else {
            continue;
        };
        let due = match outcome {
            "no_answer" => instant(&case.deadline),
            _ => None,
        };
        let due = due.or_else(|| instant(&case.closed_at));
        let paged = view.pages.get(id).into_iter().flatten();
        // Whoever has acknowledged or resolved it knows of it.
        let known = view
            .words_on(id)
            .filter(|word| word.action != "close" && word.taken());
        let first = paged
            .map(|p| (p.0, p.1))
            .chain(known.map(|word| (word.t, word.wall)))
            .min();
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

/// What nobody sees to goes on to the next level.
fn levels_in_time(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    if !view.at_rest {
        return wrong;
    }
    for (id, pages) in &view.pages {
        let is_touched = view
            .words_on(id)
            .any(|word| word.action != "close" && word.maybe_taken());
        let is_of_round_one = |page: &&(u64, i64, &Page)| page.2.round == Some(1);
        let raised_again = !pages.iter().all(|page| is_of_round_one(&page));
        let Some((first_t, first, _)) = pages
            .iter()
            .min_by_key(|page| page.0)
            .filter(|_| !is_touched && !raised_again)
        else {
            continue;
        };
        for (level, after) in (1..).zip(view.ladder_ms) {
            let paged = pages.iter().filter(|page| page.2.level == Some(level));
            let paged = paged.map(|page| (page.0, page.1)).min();
            let (t, wall) = paged.unwrap_or(view.end);
            let out = i64::try_from(view.out_between(*first_t, t) / 1000).unwrap_or(i64::MAX);
            let late = wall - (first + after);
            if late > IN_TIME_MS + out {
                let what = if paged.is_some() {
                    "was paged"
                } else {
                    "is unpaged"
                };
                wrong.push(format!("level {level} of {id} {what} {late} ms after it was due, {out} ms of them outages"));
            }
        }
    }
    wrong
}

/// No level before its time, counted from the end of its case, before which nothing is opened.
fn levels_never_early(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, pages) in &view.pages {
        let Some(closed) = view.cases.get(id).and_then(|case| instant(&case.closed_at)) else {
            continue;
        };
        for (_, wall, body) in pages {
            let level = body.level.unwrap_or(1);
            let place = usize::try_from(level).unwrap_or(1).saturating_sub(1);
            let after = view.ladder_ms.get(place).copied().unwrap_or(0);
            if *wall < closed + after {
                wrong.push(format!(
                    "level {level} of {id} was paged {} ms early",
                    closed + after - wall
                ));
            }
        }
    }
    wrong
}

pub fn never_early(view: &View<'_>) -> Vec<String> {
    let mut wrong = operators::held_back(view);
    wrong.extend(levels_never_early(view));
    for (id, tellings) in &view.tellings {
        // A question that was changed (a revision) keeps its deadline too.
        let deadlines = &tellings.deadlines;
        if deadlines.len() > 1 {
            wrong.push(format!("the deadline of case {id} moved: {deadlines:?}"));
        }
        let Some(case) = view.cases.get(id) else {
            continue;
        };
        if case.outcome() != Some("no_answer") {
            continue;
        }
        let (Some(deadline), Some(closed)) = (instant(&case.deadline), instant(&case.closed_at))
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
