//! What one key cannot know alone: names that must exist, names that must not be there twice, times
//! that contradict each other. Each of these would otherwise be found by an alert that pages nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::alert::Severity;
use crate::core::policy::DEFAULT_LADDER;

use super::Problems;
use super::build::{dedup, times, working_hours};
use super::raw::{RawConfig, RawEmployee, RawRule};
use super::text::one_of;

/// DESIGN section 2: a dedup mark must outlive the longest case by a week.
const DEDUP_MARGIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// More partitions only cost; the store's file or Redis would be the limit long before.
const MAX_PARTITIONS: u16 = 1024;

pub fn check(raw: &RawConfig, problems: &mut Problems<'_>) {
    server(raw, problems);
    employees(raw, problems);
    names(raw, problems);
    operators(raw, problems);
    severities(raw, problems);
    rules(raw, problems);
    ladders(raw, problems);
    rollups(raw, problems);
    hours(raw, problems);
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
        && let Err(e) = level.parse::<tracing_subscriber::filter::Targets>()
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

/// The second owner of a name is the fault.
fn employees(raw: &RawConfig, problems: &mut Problems<'_>) {
    let mut principals: BTreeMap<String, usize> = BTreeMap::new();
    let mut chats: BTreeMap<&str, usize> = BTreeMap::new();
    for (nth, employee) in raw.employees.iter().enumerate() {
        for (key, name) in principal_names(employee, &raw.directory.domains) {
            let path = format!("employees[{nth}].{key}");
            if name.trim() != name || name.is_empty() {
                problems.add(
                    &path,
                    format!("expected a name without spaces around it, got {name:?}"),
                );
            }
            match principals.insert(name.to_ascii_lowercase(), nth) {
                Some(other) if other != nth => {
                    let owner = &raw.employees[other].id.0.0;
                    let message = format!(
                        "{name:?} already names employee {owner}, expected a name of one person only"
                    );
                    problems.add(&path, message);
                    principals.insert(name.to_ascii_lowercase(), other);
                }
                _ => {}
            }
        }
        if let Some(email) = &employee.email
            && !email
                .split_once('@')
                .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        {
            let message =
                format!(r#"expected an e-mail such as "alice@example.com", got {email:?}"#);
            problems.add(format!("employees[{nth}].email"), message);
        }
        let chat = employee.chat.as_deref().unwrap_or(&employee.id.0.0);
        if let Some(other) = chats.insert(chat, nth) {
            let owner = &raw.employees[other].id.0.0;
            let message = format!("{chat:?} is already the chat id of employee {owner}");
            let key = if employee.chat.is_some() {
                "chat"
            } else {
                "id"
            };
            problems.add(format!("employees[{nth}].{key}"), message);
        }
        if let Some(manager) = &employee.manager
            && !raw.employees.iter().any(|e| e.id.0.0 == *manager)
        {
            let message = format!("no employee has the id {manager:?}");
            problems.add(format!("employees[{nth}].manager"), message);
        }
    }
}

fn principal_names(employee: &RawEmployee, domains: &[String]) -> Vec<(&'static str, String)> {
    let mut names = vec![("id", employee.id.0.0.clone())];
    names.extend(
        employee
            .aliases
            .iter()
            .map(|alias| ("aliases", alias.clone())),
    );
    if let Some(email) = &employee.email {
        names.push(("email", email.clone()));
        if let Some((local, domain)) = email.split_once('@')
            && domains.iter().any(|d| d.eq_ignore_ascii_case(domain))
        {
            names.push(("email", local.to_owned()));
        }
    }
    names
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
    let mut seen = std::collections::BTreeSet::new();
    for (nth, name) in names.enumerate() {
        if !seen.insert(name) {
            let message = format!("another {what} is named {name:?}, expected a name of its own");
            problems.add(format!("{table}[{nth}].name"), message);
        }
    }
}

fn operators(raw: &RawConfig, problems: &mut Problems<'_>) {
    for (nth, operator) in raw.operators.iter().enumerate() {
        if operator.name.0.0 == "admin" {
            let message = "admin is the operator of data_dir/token, expected another name";
            problems.add(format!("operators[{nth}].name"), message);
        }
        if operator.roles.is_empty() {
            let message = "expected at least one of viewer, responder, admin";
            problems.add(format!("operators[{nth}].roles"), message);
        }
    }
}

const NO_CRITICAL_SNOOZE: &str = r#"expected "0s": a critical alert is never snoozed"#;

fn severities(raw: &RawConfig, problems: &mut Problems<'_>) {
    let mut longest = Duration::ZERO;
    for severity in Severity::ALL {
        let times = times(raw, severity);
        let table = format!("severity.{}", severity.name());
        longest = longest.max(times.ceiling);
        answer_in_time(
            problems,
            &table,
            Some(times.answer_within),
            Some(times.ceiling),
        );
        if severity == Severity::Critical && !times.snooze.is_zero() {
            problems.add(format!("{table}.snooze"), NO_CRITICAL_SNOOZE);
        }
    }
    for rule in &raw.rules {
        longest = longest.max(rule.ceiling.as_ref().map_or(Duration::ZERO, |c| c.0));
    }
    let wanted = longest.saturating_add(DEDUP_MARGIN);
    if dedup(raw) < wanted {
        let message = format!(
            "expected at least {} (the longest ceiling and 7 days), or a producer's repeat would be asked again",
            days(wanted)
        );
        problems.add("retention.dedup", message);
    }
}

/// Rounded up, so that what it says is enough.
fn days(wait: Duration) -> String {
    format!("\"{}d\"", wait.as_secs().div_ceil(24 * 3600))
}

fn answer_in_time(
    problems: &mut Problems<'_>,
    table: &str,
    answer: Option<Duration>,
    ceiling: Option<Duration>,
) {
    if answer.is_some_and(|wait| wait.is_zero()) {
        problems.add(
            format!("{table}.answer_within"),
            "expected more than no time to answer",
        );
    }
    if ceiling.is_some_and(|wait| wait.is_zero()) {
        problems.add(
            format!("{table}.ceiling"),
            "expected more than no time to answer",
        );
    }
    if let (Some(answer), Some(ceiling)) = (answer, ceiling)
        && answer > ceiling
    {
        let message = "longer than the ceiling, expected at most the ceiling";
        problems.add(format!("{table}.answer_within"), message);
    }
}

fn rules(raw: &RawConfig, problems: &mut Problems<'_>) {
    for (nth, rule) in raw.rules.iter().enumerate() {
        let table = format!("rules[{nth}]");
        rule_times(raw, rule, &table, problems);
        if rule
            .severity
            .as_ref()
            .is_some_and(|s| s.0 == Severity::Critical)
            && rule.snooze.as_ref().is_some_and(|wait| !wait.0.is_zero())
        {
            problems.add(format!("{table}.snooze"), NO_CRITICAL_SNOOZE);
        }
        if let (Some(snooze), Some(max)) = (&rule.snooze, &rule.snooze_max)
            && snooze.0 > max.0
        {
            problems.add(
                format!("{table}.snooze"),
                "longer than snooze_max, expected at most that",
            );
        }
        if rule.withdraw_on_resolve
            && rule
                .severity
                .as_ref()
                .is_some_and(|s| s.0 >= Severity::High)
        {
            let message =
                "never for high or critical: an intruder only has to stop for five minutes";
            problems.add(format!("{table}.withdraw_on_resolve"), message);
        }
        if let Some(name) = &rule.ladder {
            let known = ladder_names(raw);
            if !known.contains(&name.as_str()) {
                let message = format!("no ladder is named {name:?}, expected {}", one_of(&known));
                problems.add(format!("{table}.ladder"), message);
            }
        }
    }
}

/// A rule's own times among each other, and with its severity's when it fixes one.
fn rule_times(raw: &RawConfig, rule: &RawRule, table: &str, problems: &mut Problems<'_>) {
    let base = rule
        .severity
        .as_ref()
        .map(|severity| times(raw, severity.0));
    let answer = rule.answer_within.as_ref().map(|wait| wait.0);
    let ceiling = rule.ceiling.as_ref().map(|wait| wait.0);
    if answer.is_some() || ceiling.is_some() {
        let answer = answer.or(base.as_ref().map(|times| times.answer_within));
        let ceiling = ceiling.or(base.as_ref().map(|times| times.ceiling));
        answer_in_time(problems, table, answer, ceiling);
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

fn hours(raw: &RawConfig, problems: &mut Problems<'_>) {
    let hours = working_hours(raw);
    if hours.start >= hours.end {
        let message = "expected a time before the end of working hours";
        problems.add("working_hours.start", message);
    }
    if !hours.days.contains(&true) {
        problems.add(
            "working_hours.days",
            "expected at least one of mon, tue, wed, thu, fri, sat, sun",
        );
    }
}
