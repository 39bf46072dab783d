//! The list's pages, joined where one event shows as many: same outcome, same rule, within a minute. Only the
//! eye is spared; each page keeps its own line, button, ladder and acknowledgement. What somebody has taken
//! never stands beside what nobody has, and what is no case (a flood, an operations page) stands alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::view::{self, EscalationLine};
use crate::core::case::{CaseView, Outcome};
use crate::core::ids::RuleName;
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;
use crate::http::rows::EscalationRow;

/// From the first of a group to its last.
const WITHIN: Duration = Duration::from_secs(60);
/// Names in a heading; all stand below it.
const NAMED: usize = 8;

/// Pages that stand together, the most pressing first.
pub struct Group {
    /// `3 × denied, sudo, within 60 s: alice, bob, carol`; `None` where there is one only.
    pub heading: Option<String>,
    pub lines: Vec<EscalationLine>,
}

/// Whether somebody has taken it, and of what it is a page.
type Alike = (bool, Outcome, RuleName);
/// With when the first of its group came.
type Place = (Alike, Timestamp);

/// In the order of `pages`, each group where its first page stands.
pub fn groups(pages: &[(EscalationRow, Option<CaseView>)], now: Timestamp) -> Vec<Group> {
    let mut made: Vec<(Option<Place>, Vec<usize>)> = Vec::new();
    for (nth, place) in places(pages).into_iter().enumerate() {
        let known = made.iter_mut().find(|(p, _)| p.is_some() && *p == place);
        match known {
            Some((_, members)) => members.push(nth),
            None => made.push((place, vec![nth])),
        }
    }
    let line = |nth: usize| {
        let (row, case) = &pages[nth];
        view::escalation_line(row, case.as_ref(), now)
    };
    made.into_iter()
        .map(|(place, members)| {
            let lines: Vec<_> = members.into_iter().map(line).collect();
            let heading = place
                .filter(|_| lines.len() > 1)
                .map(|((_, outcome, rule), _)| heading(outcome, &rule, &lines));
            Group { heading, lines }
        })
        .collect()
}

/// For each page what it may be joined by: what it is, and when the first of its group came.
fn places(pages: &[(EscalationRow, Option<CaseView>)]) -> Vec<Option<Place>> {
    let alike: Vec<Option<Alike>> = pages
        .iter()
        .map(|(row, case)| {
            let case = case.as_ref()?;
            let taken = row.acknowledged_by.is_some();
            Some((taken, case.outcome?, case.rule.clone()))
        })
        .collect();
    let mut by_time: Vec<usize> = (0..pages.len()).collect();
    by_time.sort_by_key(|nth| (pages[*nth].0.opened_at, pages[*nth].0.id));
    let mut firsts: BTreeMap<Alike, Timestamp> = BTreeMap::new();
    let mut places = vec![None; pages.len()];
    for nth in by_time {
        let at = pages[nth].0.opened_at;
        let Some(alike) = &alike[nth] else { continue };
        let first = firsts.entry(alike.clone()).or_insert(at);
        if at.since(*first) > WITHIN {
            *first = at;
        }
        places[nth] = Some((alike.clone(), *first));
    }
    places
}

fn heading(outcome: Outcome, rule: &RuleName, lines: &[EscalationLine]) -> String {
    let mut who: Vec<&str> = Vec::new();
    for line in lines {
        if !who.contains(&line.who.as_str()) {
            who.push(&line.who);
        }
    }
    let more = match who.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    who.truncate(NAMED);
    format!(
        "{} × {}, {}, within {} s: {}{more}",
        lines.len(),
        view::outcome(outcome).word,
        Untrusted::new(rule.as_str()).line(80),
        WITHIN.as_secs(),
        who.join(", ")
    )
}
