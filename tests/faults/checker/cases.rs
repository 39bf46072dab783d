//! What becomes of alerts: each ends once, nothing is made up, nobody is asked twice.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::history::What;
use super::operators;
use super::trace::{Alert, Case};
use super::view::{View, instant, name};

const RANK: [&str; 4] = ["low", "medium", "high", "critical"];

pub fn acknowledged_ends(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    if !view.at_rest {
        return vec!["the run never came to rest".to_owned()];
    }
    let of = view.cases_of();
    let live = live_at_end(view);
    for alert in view.acknowledged.keys() {
        let cases: Vec<&str> = of.get(alert).into_iter().flatten().copied().collect();
        let [case] = cases[..] else {
            wrong.push(format!(
                "alert {alert} was acknowledged and has the cases {cases:?}"
            ));
            continue;
        };
        let told = view.cases[case];
        // It may end after the last look at the API: its records say so.
        let ended = !view.tellings[case].outcomes.is_empty();
        if !ended && live.get(case) != Some(&1) {
            let live = live.get(case).copied().unwrap_or(0);
            wrong.push(format!(
                "alert {alert}: case {case} is {} with {live} live questions",
                name(&told.state)
            ));
        }
    }
    wrong
}

fn live_at_end<'a>(view: &View<'a>) -> BTreeMap<&'a str, usize> {
    let mut messages: BTreeMap<&str, (&str, bool)> = BTreeMap::new();
    for event in view.events {
        if let What::Shown {
            message,
            case,
            live,
            ..
        } = &event.what
        {
            messages.insert(message, (case, *live));
        }
    }
    let mut live = BTreeMap::new();
    for (case, _) in messages.into_values().filter(|(_, live)| *live) {
        *live_count(&mut live, case) += 1;
    }
    live
}

fn live_count<'m, 'a>(live: &'m mut BTreeMap<&'a str, usize>, case: &'a str) -> &'m mut usize {
    live.entry(case).or_insert(0)
}

pub fn outcome_stands(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, tellings) in &view.tellings {
        let outcomes = &tellings.outcomes;
        if outcomes.len() > 1 {
            wrong.push(format!("case {id} had the outcomes {outcomes:?}"));
        }
    }
    let mut closings: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for event in view.events {
        if let What::Record { id, body, .. } = &event.what
            && body.event.as_deref() == Some("case_closed")
            && let Some(case) = body.case_id.as_deref()
        {
            closings.entry(case).or_default().insert(id);
        }
    }
    for (case, records) in closings {
        if records.len() > 1 {
            wrong.push(format!("case {case} was closed by the records {records:?}"));
        }
    }
    wrong.extend(operators::first_word_wins(view));
    wrong
}

pub fn nothing_invented(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, case) in &view.cases {
        for alert in case.alerts() {
            let Some(bodies) = view.sent.get(alert) else {
                wrong.push(format!("case {id} is about {alert}, which nobody sent"));
                continue;
            };
            if bodies
                .iter()
                .all(|body| body.principal != case.principal || body.rule != case.rule)
            {
                wrong.push(format!(
                    "case {id} is about {alert}, but not of that person or rule"
                ));
            }
        }
    }
    for event in view.events {
        match &event.what {
            What::Shown {
                employee,
                case,
                message,
                ..
            } => {
                let Some(told) = view.cases.get(case.as_str()) else {
                    if view.at_rest {
                        wrong.push(format!(
                            "{employee} was shown {message} of case {case}, which is none"
                        ));
                    }
                    continue;
                };
                if told.employee.as_ref() != Some(employee) {
                    wrong.push(format!(
                        "{employee} was shown case {case} of {}",
                        name(&told.employee)
                    ));
                }
            }
            What::FormShown { employee, case } => {
                if let Some(told) = view.cases.get(case.as_str())
                    && told.employee.as_ref() != Some(employee)
                {
                    let of = name(&told.employee);
                    wrong.push(format!(
                        "{employee} was shown the form of case {case} of {of}"
                    ));
                }
            }
            What::Page { id, body, .. } if body.is_about_a_case() => {
                let case = body.case.as_deref().unwrap_or_default();
                if view.at_rest && !view.cases.contains_key(case) {
                    wrong.push(format!("page {id} is about case {case}, which is none"));
                }
            }
            _ => {}
        }
    }
    wrong
}

pub fn asked_once(view: &View<'_>) -> Vec<String> {
    let mut asked: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for event in view.events {
        if let What::Shown {
            employee,
            message,
            case,
            question: true,
            ..
        } = &event.what
        {
            asked.entry((employee, case)).or_default().insert(message);
        }
    }
    // Whatever it says: what was sent under one key is one message, also when its answer was lost.
    let mut taken: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for event in view.events {
        if let What::ChatCalled {
            method,
            channel: Some(channel),
            key: Some(key),
            applied: true,
            ..
        } = &event.what
            && method == "chat.postMessage"
        {
            *taken.entry((channel, key)).or_default() += 1;
        }
    }
    let asked = asked
        .into_iter()
        .filter(|(_, messages)| messages.len() > 1)
        .map(|((employee, case), messages)| {
            format!("{employee} was asked about case {case} in {messages:?}")
        });
    let again = taken.into_iter().filter(|(_, times)| *times > 1);
    let again = again.map(|((channel, key), times)| {
        format!("the message {key} stands {times} times in {channel}")
    });
    asked.chain(again).collect()
}

pub fn one_live_message(view: &View<'_>) -> Vec<String> {
    let mut live: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut off = BTreeSet::new();
    for event in view.events {
        // Nobody sees what becomes of a message that is no longer shown.
        if let What::ScrolledOff { message } = &event.what {
            off.insert(message.as_str());
        }
        if let What::Shown {
            message,
            case,
            live: is_live,
            ..
        } = &event.what
        {
            let of = live.entry(case).or_default();
            if *is_live {
                of.insert(message);
            } else {
                of.remove(message.as_str());
            }
            if of.len() > 1 {
                wrong.push(format!("case {case} has the live messages {of:?}"));
            }
        }
    }
    for (case, mut messages) in live {
        messages.retain(|message| !off.contains(*message));
        let over = view
            .cases
            .get(case)
            .is_some_and(|told| told.outcome.is_some());
        if view.at_rest && over && !messages.is_empty() {
            wrong.push(format!(
                "case {case} is over, but {messages:?} can still be answered"
            ));
        }
    }
    wrong
}

pub fn snoozed_rightly(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, case) in view
        .cases
        .iter()
        .filter(|(_, c)| c.outcome() == Some("snoozed"))
    {
        let by = case.snoozed_by.as_deref().and_then(|by| view.cases.get(by));
        let Some(by) = by else {
            wrong.push(format!(
                "case {id} is snoozed by {}",
                name(&case.snoozed_by)
            ));
            continue;
        };
        let rank = |case: &Case| {
            let severity = case.severity.as_deref();
            RANK.iter().position(|name| severity == Some(*name))
        };
        let what = |case: &Case| (case.employee.clone(), case.rule.clone());
        let same = what(by) == what(case) && by.context == case.context;
        let no_lower = rank(case) <= rank(by);
        if by.outcome() != Some("verified") || !same || !no_lower {
            wrong.push(format!(
                "case {id} is snoozed by {} ({})",
                Value::from(by.id.as_str()),
                name(&by.outcome)
            ));
        }
        let began = instant(&by.closed_at).unwrap_or(i64::MAX);
        for alert in case.alerts() {
            if let Some((_, taken)) = view.acknowledged.get(alert)
                && began > *taken
            {
                wrong.push(format!(
                    "alert {alert} was taken before the snooze {} began",
                    Value::from(by.id.as_str())
                ));
            }
        }
    }
    wrong
}

pub fn once_each(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut again = BTreeSet::new();
    for case in view.cases.values() {
        let mut counted = BTreeSet::new();
        again.extend(case.alerts().filter(|alert| !counted.insert(*alert)));
    }
    for (alert, cases) in view.cases_of() {
        if cases.len() > 1 {
            wrong.push(format!("alert {alert} is in the cases {cases:?}"));
        }
        if again.contains(alert) {
            wrong.push(format!("alert {alert} counts more than once in {cases:?}"));
        }
    }
    // The body that was taken first is the alert; any other under its id is refused.
    let mut first: BTreeMap<&str, &Alert> = BTreeMap::new();
    let mut sent: BTreeMap<u64, &Alert> = BTreeMap::new();
    for event in view.events {
        match &event.what {
            What::AlertSent { request, body, .. } => {
                sent.insert(*request, body);
            }
            What::AlertAnswered {
                request,
                alert,
                status: 202,
                verdict,
            } if verdict.as_deref() != Some("rejected") => {
                let Some(body) = sent.get(request) else {
                    continue;
                };
                if first.entry(alert).or_insert(body) != body {
                    wrong.push(format!("alert {alert} was taken with two bodies"));
                }
            }
            _ => {}
        }
    }
    wrong
}

pub fn nothing_open(view: &View<'_>) -> Vec<String> {
    let mut wrong = operators::closed_by_a_human(view);
    for (id, case) in &view.cases {
        let rule = case.rule.as_deref().unwrap_or_default();
        match case.outcome() {
            Some("verified") if case.factor.is_none() => {
                wrong.push(format!("case {id} is verified without a factor"));
            }
            Some("shadow") if !rule.starts_with("shadow") => {
                wrong.push(format!("case {id} of rule {rule} ended as shadow"));
            }
            Some("failed") => wrong.push(format!("case {id} failed: a fault of the bot itself")),
            _ => {}
        }
    }
    wrong
}
