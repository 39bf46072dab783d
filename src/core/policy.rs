//! What the operators decided: per severity and per rule. A case copies what it needs when it opens,
//! so a reload never changes a running question.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use super::alert::{DEFAULT_CONTEXT_KEYS, Severity};
use super::employee::Employee;
use super::ids::{EmployeeId, PagerName, RuleName};
use super::text::Untrusted;
use super::time::millis;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Ask,
    /// Nothing is sent; the journal says who would have been asked what.
    Shadow,
    /// Paged without asking.
    Page,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Explanation {
    #[default]
    Required,
    Optional,
}

/// A second factor that a rule may demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// A code from an authenticator app.
    Totp,
    /// A push to the phone.
    Duo,
}

impl Factor {
    pub fn name(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Duo => "duo",
        }
    }
}

/// That pushes can be sent, and to whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pushes {
    /// User names that are not the e-mail (or id); empty: that employee has no push.
    pub users: BTreeMap<EmployeeId, String>,
}

/// The times of one severity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// From the moment the chat accepted the question.
    #[serde(with = "millis")]
    pub answer_within: Duration,
    /// From admission; it always holds.
    #[serde(with = "millis")]
    pub ceiling: Duration,
    /// Whether `answer_within` counts working time only.
    pub working_hours: bool,
    /// Zero: a verified yes makes no snooze.
    #[serde(with = "millis")]
    pub snooze: Duration,
}

/// One `[[rules]]` entry; the first match wins.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Glob over the rule name.
    pub matches: WildMatch,
    pub mode: Mode,
    pub severity: Option<Severity>,
    pub answer_within: Option<Duration>,
    pub ceiling: Option<Duration>,
    pub snooze: Option<Duration>,
    pub snooze_max: Option<Duration>,
    pub context_keys: Option<Vec<String>>,
    pub explanation: Option<Explanation>,
    pub ladder: Option<String>,
    /// Context keys and alert fields (`description`, `reason`, `url`) not shown to the employee.
    pub hide: Vec<String>,
    pub withdraw_on_resolve: bool,
    /// Only this factor proves a yes; `None`: any that the employee has.
    pub factor: Option<Factor>,
}

/// What one case lives by, copied when it opens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CasePolicy {
    pub mode: Mode,
    pub severity: Severity,
    pub times: Times,
    #[serde(with = "millis")]
    pub snooze_max: Duration,
    pub context_keys: Vec<String>,
    pub explanation: Explanation,
    pub ladder: String,
    pub hide: Vec<String>,
    pub withdraw_on_resolve: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<Factor>,
}

/// One level of a ladder: who is paged how long after the escalation opened, and how often again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    #[serde(with = "millis")]
    pub after: Duration,
    pub pagers: Vec<PagerName>,
    /// Zero: never repeated.
    #[serde(with = "millis")]
    pub repeat: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ladder {
    pub name: String,
    pub levels: Vec<Level>,
    /// An acknowledgement that is not followed by a resolve wakes the ladder again.
    #[serde(with = "millis")]
    pub ack_expires: Duration,
}

/// Working time of the company; the zone is the employee's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkingHours {
    pub start: jiff::civil::Time,
    pub end: jiff::civil::Time,
    /// Monday first.
    pub days: [bool; 7],
    pub holidays: Vec<jiff::civil::Date>,
}

impl Default for WorkingHours {
    fn default() -> Self {
        Self {
            start: jiff::civil::time(9, 0, 0, 0),
            end: jiff::civil::time(18, 0, 0, 0),
            days: [true, true, true, true, true, false, false],
            holidays: Vec::new(),
        }
    }
}

/// The name of the ladder that must always exist.
pub const DEFAULT_LADDER: &str = "default";

#[derive(Clone, Debug)]
pub struct Policy {
    pub severities: BTreeMap<Severity, Times>,
    pub rules: Vec<Rule>,
    pub ladders: BTreeMap<String, Ladder>,
    pub working_hours: WorkingHours,
    /// How often each pager wants an unresolved page sent again to keep it alive (Alertmanager's
    /// `endsAt`), whatever the ladder says.
    pub pager_refresh: BTreeMap<PagerName, Duration>,
    /// How long a dedup mark lives.
    pub dedup: Duration,
    /// Where people are sent: the operator page of a case is `{public_url}/cases/{id}`.
    pub public_url: String,
    /// `None`: no push factor is configured.
    pub pushes: Option<Pushes>,
    pub shared: SharedPolicies,
}

/// All cases of a rule and severity share one [`CasePolicy`]: of no rule first, then of each, by severity.
#[derive(Debug, Default)]
pub struct SharedPolicies(OnceLock<Vec<[Arc<CasePolicy>; Severity::ALL.len()]>>);

impl Clone for SharedPolicies {
    /// Of a policy that may be changed next, nothing is known yet.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl CasePolicy {
    /// Whether the employee may see this field, a key of the context or a part of the evidence.
    pub fn shows(&self, field: &str) -> bool {
        self.hide.iter().all(|hidden| hidden != field)
    }

    /// What of a context the employee may see.
    pub fn shown<'a>(
        &self,
        context: impl IntoIterator<Item = (&'a String, &'a Untrusted)>,
    ) -> Vec<(String, Untrusted)> {
        let shown = context.into_iter().filter(|(name, _)| self.shows(name));
        shown
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

impl Policy {
    /// What a new case of this rule and alert severity lives by.
    pub fn for_case(&self, rule: &RuleName, alert_severity: Severity) -> Arc<CasePolicy> {
        let mut rules = self.rules.iter();
        let place = rules.position(|r| r.matches.matches(rule.as_str()));
        let place = place.map_or(0, |place| place + 1);
        let shared = self.shared.0.get_or_init(|| {
            let entries = std::iter::once(None).chain(self.rules.iter().map(Some));
            let of = |entry| Severity::ALL.map(|severity| Arc::new(self.of_rule(entry, severity)));
            entries.map(of).collect()
        });
        shared[place][alert_severity as usize].clone()
    }

    fn of_rule(&self, entry: Option<&Rule>, alert_severity: Severity) -> CasePolicy {
        let severity = entry.and_then(|r| r.severity).unwrap_or(alert_severity);
        let mut times = self
            .severities
            .get(&severity)
            .cloned()
            .unwrap_or_else(|| default_times(severity));
        if let Some(rule) = entry {
            times.answer_within = rule.answer_within.unwrap_or(times.answer_within);
            times.ceiling = rule.ceiling.unwrap_or(times.ceiling);
            times.snooze = rule.snooze.unwrap_or(times.snooze);
        }
        // A critical alert is always asked about, whatever a rule without a severity says.
        if severity == Severity::Critical {
            times.snooze = Duration::ZERO;
        }
        CasePolicy {
            mode: entry.map_or(Mode::Ask, |r| r.mode),
            severity,
            snooze_max: entry.and_then(|r| r.snooze_max).unwrap_or(times.snooze),
            times,
            context_keys: entry
                .and_then(|r| r.context_keys.clone())
                .unwrap_or_else(|| DEFAULT_CONTEXT_KEYS.map(str::to_owned).to_vec()),
            explanation: entry.and_then(|r| r.explanation).unwrap_or_default(),
            ladder: entry
                .and_then(|r| r.ladder.clone())
                .unwrap_or_else(|| DEFAULT_LADDER.to_owned()),
            hide: entry.map(|r| r.hide.clone()).unwrap_or_default(),
            withdraw_on_resolve: severity < Severity::High
                && entry.is_some_and(|r| r.withdraw_on_resolve),
            factor: entry.and_then(|r| r.factor),
        }
    }

    /// Under which name the push factor knows an employee.
    pub fn push_user(&self, employee: &Employee) -> Option<String> {
        let given = self.pushes.as_ref()?.users.get(&employee.id);
        let user = given
            .map(String::as_str)
            .or(employee.email.as_deref())
            .unwrap_or(employee.id.as_str());
        (!user.is_empty()).then(|| user.to_owned())
    }

    /// The named ladder, or the default one.
    pub fn ladder(&self, name: &str) -> &Ladder {
        self.ladders
            .get(name)
            .or_else(|| self.ladders.get(DEFAULT_LADDER))
            .expect("the config is refused without a default ladder")
    }
}

/// DESIGN section 2, "Urgency and defaults".
pub fn default_times(severity: Severity) -> Times {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    let (answer_within, ceiling, working_hours, snooze) = match severity {
        Severity::Critical => (10 * MINUTE, 10 * MINUTE, false, 0),
        Severity::High => (30 * MINUTE, 30 * MINUTE, false, 4 * HOUR),
        Severity::Medium => (2 * HOUR, 24 * HOUR, true, 21 * HOUR),
        Severity::Low => (8 * HOUR, 72 * HOUR, true, 21 * HOUR),
    };
    Times {
        answer_within: Duration::from_secs(answer_within),
        ceiling: Duration::from_secs(ceiling),
        working_hours,
        snooze: Duration::from_secs(snooze),
    }
}
