//! What operators say is so: the first word wins, a refused one changes nothing, and only they may say it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::history::{Event, What};
use super::trace::{Page, Told};
use super::view::{View, name};

/// A page that was under way when the acknowledgement came.
const ON_ITS_WAY_US: u64 = 1_500_000;

/// What an operator did, with its answer.
pub struct Word<'a> {
    pub t: u64,
    pub wall: i64,
    pub operator: &'a str,
    pub may: bool,
    pub action: &'a str,
    pub id: &'a str,
    /// (t, status, the escalation's level then).
    pub answer: Option<(u64, u16, Option<u64>)>,
}

impl Word<'_> {
    pub fn taken(&self) -> bool {
        self.answer
            .is_some_and(|(_, status, _)| (200..300).contains(&status))
    }

    /// It was taken, or may have been.
    pub fn maybe_taken(&self) -> bool {
        self.answer
            .is_none_or(|(_, status, _)| !(400..500).contains(&status))
    }
}

/// A page that came: its id, and (t, wall, body).
type Call<'a> = (&'a str, (u64, i64, &'a Page));

/// By their acts' numbers.
pub fn words(events: &[Event<Told>]) -> BTreeMap<u64, Word<'_>> {
    let mut words = BTreeMap::new();
    for event in events {
        match &event.what {
            What::OperatorActed {
                act,
                operator,
                may,
                action,
                id,
            } => {
                let word = Word {
                    t: event.t,
                    wall: event.wall,
                    operator,
                    may: *may,
                    action,
                    id,
                    answer: None,
                };
                words.insert(*act, word);
            }
            What::OperatorAnswered { act, status, level } => {
                if let Some(word) = words.get_mut(act) {
                    word.answer = Some((event.t, *status, *level));
                }
            }
            _ => {}
        }
    }
    words
}

/// The highest round of an escalation that a pager had heard of by then.
fn round_by(view: &View<'_>, id: &str, t: u64) -> u64 {
    let heard = view.page_calls(id).filter(|(_, call)| call.0 <= t);
    heard
        .filter_map(|(_, call)| call.2.round)
        .max()
        .unwrap_or(1)
}

/// I2: the first word wins, and what was taken is so.
pub fn first_word_wins(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let words = &view.words;
    let mut closed: BTreeMap<&str, &str> = BTreeMap::new();
    for word in words
        .values()
        .filter(|word| word.action == "close" && word.taken())
    {
        let (case, operator) = (word.id, word.operator);
        if let Some(other) = closed.insert(case, operator) {
            wrong.push(format!(
                "case {case} was closed by {other} and by {operator}"
            ));
        }
        let told = view.cases.get(case);
        if let Some(told) = told.filter(|told| view.at_rest && told.outcome() != Some("closed")) {
            wrong.push(format!(
                "{operator} closed case {case}, and it is {}",
                name(&told.outcome)
            ));
        }
    }
    for first in words.values().filter(|word| word.taken()) {
        let Some((answered, _, _)) = first.answer else {
            continue;
        };
        // A round raised meanwhile starts anew.
        if first.action == "close" || round_by(view, first.id, view.end.0) > 1 {
            continue;
        }
        let held = first.wall + view.ack_expires_ms;
        for later in view
            .words_on(first.id)
            .filter(|word| word.taken() && word.t > answered)
        {
            let (one, other) = (first.operator, later.operator);
            match (first.action, later.action) {
                ("resolve", "ack" | "resolve") => wrong.push(format!(
                    "{one} resolved {}, and then {other} {}",
                    first.id, later.action
                )),
                ("ack", "ack") if one != other && later.wall < held => {
                    wrong.push(format!(
                        "{one} had acknowledged {}, and {other} got it",
                        first.id
                    ));
                }
                _ => {}
            }
        }
    }
    wrong
}

/// I7: only operators act, and what was refused changed nothing.
pub fn only_operators(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let words = &view.words;
    for word in words.values().filter(|word| word.taken() && !word.may) {
        wrong.push(format!(
            "{} may not {} {}, and did",
            word.operator, word.action, word.id
        ));
    }
    let said: BTreeSet<(&str, &str, &str)> = words
        .values()
        .filter(|word| word.may && word.maybe_taken())
        .map(|word| (word.id, word.action, word.operator))
        .collect();
    for (id, tellings) in &view.tellings {
        for (action, operator) in &tellings.words {
            if !said.contains(&(*id, *action, operator.as_str())) {
                wrong.push(format!(
                    "{id} shows {action} by {operator}, who was refused or never said so"
                ));
            }
        }
    }
    wrong
}

/// P3: closed is the word of a named human.
pub fn closed_by_a_human(view: &View<'_>) -> Vec<String> {
    let closed = view
        .cases
        .iter()
        .filter(|(_, case)| case.outcome() == Some("closed"));
    closed
        .filter(|(id, _)| {
            !view
                .words_on(id)
                .any(|word| word.action == "close" && word.may && word.maybe_taken())
        })
        .map(|(id, _)| format!("case {id} is closed, and no operator closed it"))
        .collect()
}

/// I10: while an acknowledgement holds, and after a resolution, no further level goes out.
pub fn held_back(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for word in view
        .words
        .values()
        .filter(|word| word.taken() && word.action != "close")
    {
        let Some((answered, _, Some(level))) = word.answer else {
            continue;
        };
        let round = round_by(view, word.id, answered);
        let until = match word.action {
            "ack" => word.wall + view.ack_expires_ms,
            _ => i64::MAX,
        };
        let further = |call: &Call<'_>| {
            let (_, (_, _, page)) = call;
            page.round.unwrap_or(0) == round && page.level.unwrap_or(0) > level
        };
        let calls: Vec<Call<'_>> = view.page_calls(word.id).filter(further).collect();
        let is_early = |t: u64| t <= answered + ON_ITS_WAY_US;
        let early = calls.iter().filter(|(_, (t, _, _))| is_early(*t));
        let before: BTreeSet<&str> = early.map(|(_, (_, _, page))| page.key()).collect();
        for (id, (t, wall, page)) in &calls {
            if !is_early(*t) && *wall < until && !before.contains(page.key()) {
                wrong.push(format!(
                    "{id} went out {} ms after {} of level {level} by {}",
                    (t - answered) / 1000,
                    word.action,
                    word.operator
                ));
            }
        }
    }
    wrong
}
