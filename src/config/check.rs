//! What one key cannot know alone: names that must exist, names that must not be there twice, times
//! that contradict each other. Each of these would otherwise be found by an alert that pages nobody.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::core::policy::{DEFAULT_LADDER, Factor};

use super::Problems;
use super::raw::RawConfig;
use super::text::one_of;

mod people;
mod times;

/// More partitions only cost; the store's file or Redis would be the limit long before.
const MAX_PARTITIONS: u16 = 1024;

pub fn check(raw: &RawConfig, problems: &mut Problems<'_>) {
    server(raw, problems);
    people::employees(raw, problems);
    people::operators(raw, problems);
    names(raw, problems);
    times::severities(raw, problems);
    times::rules(raw, problems);
    times::hours(raw, problems);
    rule_ladders(raw, problems);
    rule_factors(raw, problems);
    ladders(raw, problems);
    rollups(raw, problems);
}

fn server(raw: &RawConfig, problems: &mut Problems<'_>) {
    if let Some(partitions) = raw.store.partitions
        && !(1..=MAX_PARTITIONS).contains(&partitions)
    {
        let message = format!("expected 1 to {MAX_PARTITIONS}, got {partitions}");
        problems.add("store.partitions", message);
    }
    if let Some(size) = &raw.server.max_body
        && size.0.0 < 1024
    {
        problems.add("server.max_body", r#"expected at least "1KiB""#);
    }
    if let Some(level) = &raw.log.level
        && let Err(e) = tracing_subscriber::EnvFilter::try_new(level)
    {
        let message =
            format!(r#"expected a level such as "info" or "securitybot=debug,info": {e}"#);
        problems.add("log.level", message);
    }
    if let Some(templates) = &raw.messages.templates
        && !templates.is_dir()
    {
        let message = format!("expected a folder, {} is none", templates.display());
        problems.add("messages.templates", message);
    }
}

/// A yes that nothing can prove would page at every alert.
fn rule_factors(raw: &RawConfig, problems: &mut Problems<'_>) {
    for (nth, rule) in raw.rules.iter().enumerate() {
        let demanded = rule.factor.as_ref().map(|text| text.0);
        if demanded == Some(Factor::Duo) && raw.factors.duo.is_none() {
            let message = "expected a section [factors.duo], there is none";
            problems.add(format!("rules[{nth}].factor"), message);
        }
    }
}

fn names(raw: &RawConfig, problems: &mut Problems<'_>) {
    let sources = raw.sources.iter().flatten().map(|s| &s.name.0.0);
    twice(problems, "sources", "source", sources);
    let ladders = raw.ladders.iter().flatten().map(|l| &l.name.0.0);
    twice(problems, "ladders", "ladder", ladders);
    let pagers = raw.pagers.iter().flatten().map(|p| &p.name.0.0);
    twice(problems, "pagers", "pager", pagers);
    twice(
        problems,
        "sinks",
        "sink",
        raw.sinks.iter().map(|s| &s.name.0.0),
    );
    twice(
        problems,
        "operators",
        "operator",
        raw.operators.iter().map(|o| &o.name.0.0),
    );
    for (nth, rule) in raw.rules.iter().enumerate() {
        let first = raw.rules[..nth]
            .iter()
            .position(|r| r.matches.0.0 == rule.matches.0.0);
        if let Some(first) = first {
            let message =
                format!("never reached: rules[{first}] has the same match and the first wins");
            problems.add(format!("rules[{nth}].match"), message);
        }
    }
}

fn twice<'a>(
    problems: &mut Problems<'_>,
    table: &str,
    what: &str,
    names: impl Iterator<Item = &'a String>,
) {
    let mut seen = BTreeSet::new();
    for (nth, name) in names.enumerate() {
        if !seen.insert(name) {
            let message = format!("another {what} is named {name:?}, expected a name of its own");
            problems.add(format!("{table}[{nth}].name"), message);
        }
    }
}

fn rule_ladders(raw: &RawConfig, problems: &mut Problems<'_>) {
    for (nth, rule) in raw.rules.iter().enumerate() {
        if let Some(name) = &rule.ladder {
            let known = ladder_names(raw);
            if !known.contains(&name.as_str()) {
                let message = format!("no ladder is named {name:?}, expected {}", one_of(&known));
                problems.add(format!("rules[{nth}].ladder"), message);
            }
        }
    }
}

fn ladder_names(raw: &RawConfig) -> Vec<&str> {
    match &raw.ladders {
        Some(ladders) => ladders
            .iter()
            .map(|ladder| ladder.name.0.0.as_str())
            .collect(),
        None => vec![DEFAULT_LADDER],
    }
}

fn ladders(raw: &RawConfig, problems: &mut Problems<'_>) {
    if !ladder_names(raw).contains(&DEFAULT_LADDER) {
        let message = format!(
            "expected a ladder named {DEFAULT_LADDER:?}: it pages what no rule sends elsewhere"
        );
        problems.add("ladders", message);
    }
    let pagers: Vec<&str> = match &raw.pagers {
        Some(pagers) => pagers.iter().map(|pager| pager.name.0.0.as_str()).collect(),
        None => vec!["log"],
    };
    if pagers.is_empty() {
        problems.add(
            "pagers",
            "expected at least one pager: a page must reach somebody",
        );
    }
    for (nth, ladder) in raw.ladders.iter().flatten().enumerate() {
        let table = format!("ladders[{nth}]");
        if ladder.levels.is_empty() {
            problems.add(format!("{table}.levels"), "expected at least one level");
        }
        let mut before = Duration::ZERO;
        for (step, level) in ladder.levels.iter().enumerate() {
            let path = format!("{table}.levels[{step}]");
            if level.pagers.is_empty() {
                problems.add(format!("{path}.pagers"), "expected at least one pager");
            }
            for name in &level.pagers {
                if !pagers.contains(&name.as_str()) {
                    let message =
                        format!("no pager is named {name:?}, expected {}", one_of(&pagers));
                    problems.add(format!("{path}.pagers"), message);
                }
            }
            let after = level.after.as_ref().map_or(Duration::ZERO, |wait| wait.0);
            if after < before {
                problems.add(format!("{path}.after"), "earlier than the level before it");
            }
            before = before.max(after);
        }
    }
}

fn rollups(raw: &RawConfig, problems: &mut Problems<'_>) {
    let known: Vec<&str> = raw
        .sinks
        .iter()
        .map(|sink| sink.name.0.0.as_str())
        .collect();
    for name in raw.rollups.sinks.iter().flatten() {
        if !known.contains(&name.as_str()) {
            let message = format!("no sink is named {name:?}, expected {}", one_of(&known));
            problems.add("rollups.sinks", message);
        }
    }
    if raw.heartbeat.every.is_some() && raw.heartbeat.url.is_none() {
        problems.add("heartbeat.url", "missing, expected the address to call");
    }
}
