//! Any JSON record as an alert, by one JMESPath expression per field, so that Suricata, Wazuh, Falco,
//! osquery or auditd output needs configuration only. Expressions are compiled when the config is read:
//! a typing error is a start-up error that names field and position, not a silent day without alerts.
//!
//! The keys of a map: `principal`, `rule`, `title` (required), `description`, `reason`, `severity`,
//! `occurred_at`, `url`, `id`, `context.NAME`, and
//! - `where`: records for which it is not truthy are no alerts and skipped;
//! - `severity.WORD` or `severity.LOW-HIGH`: no expression but one of the four severities, for words or
//!   numbers the producer uses (`"severity.1" = "high"` for Suricata, `"severity.12-15" = "critical"` for
//!   Wazuh). Without it the syslog words (Falco's priorities) and our own are known; numbers are not,
//!   because 1 is Suricata's worst and Wazuh's mildest.

use std::collections::BTreeMap;

use jmespath::{Expression, Rcvar, Variable};
use litemap::LiteMap;

use crate::core::alert::{Alert, Severity};
use crate::core::ids::{RuleName, SourceId};
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;
use crate::plugins::canonical::{canonical, sha256_hex};
use crate::plugins::sources::Incoming;

use super::{MAX_CONTEXT_KEYS, bounded, check_rule, is_blank, is_name, shown};

const FIELDS: [&str; 9] = [
    "principal",
    "rule",
    "title",
    "description",
    "reason",
    "severity",
    "occurred_at",
    "url",
    "id",
];
/// The library reads and runs expressions by recursion without a bound: a reload with a wild one would
/// overflow the stack and end the bot.
const MAX_EXPRESSION_CHARS: usize = 1_000;
const MAX_STEPS: usize = 128;
const REQUIRED: [&str; 3] = ["principal", "rule", "title"];

/// What is wrong with a map, by key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    #[error(
        "map.{0}: unknown key, expected principal, rule, title, description, reason, severity, \
         occurred_at, url, id, where, \"context.NAME\" or \"severity.WORD\""
    )]
    UnknownKey(String),
    #[error("map.{0}: missing, expected a JMESPath expression")]
    Missing(&'static str),
    #[error(
        "map.{field}: no JMESPath expression, at character {position} of {expression:?}: {what}"
    )]
    Expression {
        field: String,
        expression: String,
        /// Counted from 1.
        position: usize,
        what: String,
    },
    #[error("map.{field}: expected low, medium, high or critical, got {got:?}")]
    Severity { field: String, got: String },
    #[error("map: expected at most {MAX_CONTEXT_KEYS} context keys")]
    TooManyContextKeys,
}

/// A compiled map.
#[derive(Debug)]
pub struct Mapping {
    fields: BTreeMap<&'static str, Expression<'static>>,
    context: BTreeMap<String, Expression<'static>>,
    filter: Option<Expression<'static>>,
    severities: Vec<(Scale, Severity)>,
}

/// What a producer's severity is compared with.
#[derive(Debug)]
enum Scale {
    Word(String),
    Range(f64, f64),
}

impl Mapping {
    pub fn compile(map: &BTreeMap<String, String>) -> Result<Self, MappingError> {
        let mut mapping = Self {
            fields: BTreeMap::new(),
            context: BTreeMap::new(),
            filter: None,
            severities: Vec::new(),
        };
        for (key, value) in map {
            if let Some(scale) = key.strip_prefix("severity.") {
                let severity = Severity::parse(value).ok_or_else(|| MappingError::Severity {
                    field: key.clone(),
                    got: value.clone(),
                })?;
                mapping.severities.push((Scale::parse(scale), severity));
            } else if let Some(name) = key.strip_prefix("context.").filter(|name| is_name(name)) {
                mapping
                    .context
                    .insert(name.to_owned(), compile(key, value)?);
            } else if key == "where" {
                mapping.filter = Some(compile(key, value)?);
            } else if let Some(field) = FIELDS.into_iter().find(|field| field == key) {
                mapping.fields.insert(field, compile(key, value)?);
            } else {
                return Err(MappingError::UnknownKey(key.clone()));
            }
        }
        if mapping.context.len() > MAX_CONTEXT_KEYS {
            return Err(MappingError::TooManyContextKeys);
        }
        match REQUIRED
            .into_iter()
            .find(|field| !mapping.fields.contains_key(field))
        {
            Some(field) => Err(MappingError::Missing(field)),
            None => Ok(mapping),
        }
    }

    /// Reads one record. `id` stands when the map gives none. `Ok(None)`: `where` leaves it out; an
    /// error: it passed `where` and cannot be an alert, so it must be quarantined, not dropped.
    pub fn read(
        &self,
        record: &str,
        source: &SourceId,
        id: &str,
    ) -> Result<Option<Incoming>, String> {
        let value: serde_json::Value =
            serde_json::from_str(record).map_err(|error| format!("malformed JSON: {error}"))?;
        let canonical = canonical(&value);
        let data = Rcvar::new(
            Variable::try_from(value).map_err(|error| format!("malformed JSON: {error}"))?,
        );
        if let Some(filter) = &self.filter {
            let kept = filter
                .search(&data)
                .map_err(|error| failed("where", &error))?;
            if !kept.is_truthy() {
                return Ok(None);
            }
        }
        let field = |name: &'static str| match self.fields.get(name) {
            None => Ok(None),
            Some(expression) => text_of(expression, &data).map_err(|error| failed(name, &error)),
        };
        // `false` is what `where`-like expressions (`src_ip == '10.0.0.7' && 'alice'`) give when none fits.
        let found = |name: &'static str| {
            let text = field(name)?.filter(|text| !is_blank(text) && text != "false");
            text.ok_or_else(|| {
                let expression = self.fields.get(name).map_or("", |e| e.as_str());
                format!("{name}: `{expression}` finds nothing (`where` can leave such records out)")
            })
        };
        let mut noted = Vec::new();
        let principal = found("principal")?;
        let rule = found("rule")?;
        check_rule(&rule)?;
        let title = field("title")?
            .filter(|title| !is_blank(title))
            .unwrap_or_else(|| rule.clone());
        let severity = match field("severity")? {
            None => Severity::default(),
            Some(word) => self.severity(&word).unwrap_or_else(|| {
                noted.push(format!(
                    "severity {} is not known, taken as medium",
                    shown(&word)
                ));
                Severity::default()
            }),
        };
        let occurred_at = match field("occurred_at")? {
            None => None,
            Some(word) => {
                let at = parse_time(&word);
                if at.is_none() {
                    noted.push(format!("occurred_at {} is no time", shown(&word)));
                }
                at
            }
        };
        let id = match field("id")?.filter(|id| !is_blank(id)) {
            Some(given) if is_name(&given) => given,
            Some(long) => sha256_hex(&long),
            None => id.to_owned(),
        };
        let mut context = LiteMap::new();
        for (name, expression) in &self.context {
            if let Some(value) = text_of(expression, &data)
                .map_err(|error| failed(&format!("context.{name}"), &error))?
            {
                context.insert(name.clone(), bounded(&value));
            }
        }
        let optional = |text: Option<String>| bounded(&text.unwrap_or_default());
        Ok(Some(Incoming {
            alert: Alert {
                source: source.clone(),
                id: id.into(),
                principal: bounded(&principal),
                rule: RuleName::new(rule),
                title: bounded(&title),
                description: optional(field("description")?),
                reason: optional(field("reason")?),
                severity,
                occurred_at,
                url: field("url")?
                    .filter(|url| !is_blank(url))
                    .map(|url| bounded(&url)),
                context: context.into(),
                accepted_at: Timestamp::default(),
                resolved: false,
            },
            canonical,
            noted: (!noted.is_empty()).then(|| noted.join("; ")),
            mark_for: None,
        }))
    }

    fn severity(&self, word: &str) -> Option<Severity> {
        let word = word.trim().to_ascii_lowercase();
        let listed = self.severities.iter().find(|(scale, _)| scale.holds(&word));
        listed
            .map(|(_, severity)| *severity)
            .or(match word.as_str() {
                "emergency" | "emerg" | "alert" | "crit" | "fatal" => Some(Severity::Critical),
                "error" | "err" => Some(Severity::High),
                "warning" | "warn" | "moderate" => Some(Severity::Medium),
                "notice" | "informational" | "info" | "debug" => Some(Severity::Low),
                word => Severity::parse(word),
            })
    }
}

impl Scale {
    fn parse(text: &str) -> Self {
        let text = text.trim().to_ascii_lowercase();
        let range = text
            .split_once('-')
            .and_then(|(low, high)| Some((low.trim().parse().ok()?, high.trim().parse().ok()?)));
        match range {
            Some((low, high)) => Self::Range(low, high),
            None => Self::Word(text),
        }
    }

    fn holds(&self, word: &str) -> bool {
        match self {
            Self::Word(own) => own == word,
            Self::Range(low, high) => word
                .parse::<f64>()
                .is_ok_and(|number| number >= *low && number <= *high),
        }
    }
}

fn compile(field: &str, expression: &str) -> Result<Expression<'static>, MappingError> {
    let refused = |position: usize, what: String| MappingError::Expression {
        field: field.to_owned(),
        expression: expression.chars().take(MAX_EXPRESSION_CHARS).collect(),
        position,
        what,
    };
    if expression.chars().count() > MAX_EXPRESSION_CHARS {
        let what = format!("longer than {MAX_EXPRESSION_CHARS} characters");
        return Err(refused(MAX_EXPRESSION_CHARS + 1, what));
    }
    if let Some(position) = too_deep(expression) {
        let what = format!("more than {MAX_STEPS} steps (dots, brackets, operators)");
        return Err(refused(position, what));
    }
    jmespath::compile(expression)
        .map_err(|error| refused(error.offset + 1, error.reason.to_string().trim().to_owned()))
}

/// Where an expression has more steps than the library's recursion can take, counted from 1. Marks within
/// strings count too: nobody needs that many.
fn too_deep(expression: &str) -> Option<usize> {
    let marks = expression.chars().enumerate();
    let mut steps = marks.filter(|(_, mark)| ".[{(|&!".contains(*mark));
    steps.nth(MAX_STEPS).map(|(at, _)| at + 1)
}

fn failed(field: &str, error: &jmespath::JmespathError) -> String {
    let what = Untrusted::new(error.reason.to_string()).line(200);
    format!("{field}: the expression fails on this record: {what}")
}

/// A found value as text: numbers and booleans in their JSON form, lists and objects as JSON, null as
/// nothing.
fn text_of(
    expression: &Expression<'static>,
    data: &Rcvar,
) -> Result<Option<String>, jmespath::JmespathError> {
    let value = expression.search(data)?;
    Ok(match &*value {
        Variable::Null => None,
        Variable::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    })
}

/// RFC 3339 (also with the offset as `+0000`, as Suricata and Wazuh write it), or a Unix time in seconds,
/// milli-, micro- or nanoseconds, told apart by size.
fn parse_time(text: &str) -> Option<Timestamp> {
    if let Some(at) = Timestamp::parse_rfc3339(text) {
        return Some(at);
    }
    let number: f64 = text.trim().parse().ok()?;
    let millis = match number {
        n if !(0.0..1e20).contains(&n) => return None,
        n if n < 1e11 => n * 1e3,
        n if n < 1e14 => n,
        n if n < 1e17 => n / 1e3,
        n => n / 1e6,
    };
    #[allow(clippy::cast_possible_truncation)] // bounded just above
    Some(Timestamp::from_millis(millis.round() as i64))
}
