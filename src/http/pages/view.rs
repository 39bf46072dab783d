//! From rows to what a template prints. Untrusted text becomes plain here and is escaped by the
//! template; nothing else reaches the HTML (promise P8).

use std::time::Duration;

use crate::core::alert::Severity;
use crate::core::case::{CaseState, CaseView, EscalationState, Outcome};
use crate::core::record::Record;
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;
use crate::http::rows::EscalationRow;

const TITLE_CHARS: usize = 150;
const LINE_CHARS: usize = 300;
const TEXT_CHARS: usize = 16_384;

/// A word with the style that goes with it: urgency is never shown by colour alone.
#[derive(Clone)]
pub struct Tag {
    pub word: String,
    pub tone: &'static str,
}

pub struct Moment {
    pub iso: String,
    /// `24 Nov 2026, 02:14 UTC`.
    pub clock: String,
    /// `12 min ago`, `in 2 h`.
    pub relative: String,
}

pub struct Fact {
    pub name: String,
    pub value: String,
}

/// One line of the lists.
pub struct CaseLine {
    pub id: String,
    pub reference: String,
    pub title: String,
    pub who: String,
    pub rule: String,
    pub severity: Tag,
    pub status: Tag,
    pub count: u64,
    pub opened: Moment,
    pub deadline: Option<Moment>,
    pub closed: Option<Moment>,
}

pub struct EscalationLine {
    pub id: String,
    pub reference: String,
    pub title: String,
    pub who: String,
    pub outcome: Option<Tag>,
    pub urgency: Tag,
    pub level: u32,
    pub opened: Moment,
    pub acknowledged_by: Option<String>,
}

pub struct Entry {
    pub at: Moment,
    pub what: String,
    pub who: String,
    pub detail: String,
    pub long: bool,
}

pub fn line(text: &Untrusted) -> String {
    text.line(LINE_CHARS)
}

pub fn text(text: &Untrusted) -> String {
    text.plain(TEXT_CHARS)
}

pub fn title(text: &Untrusted) -> String {
    text.line(TITLE_CHARS)
}

/// Only web addresses may be followed, and they are shown as what they are.
pub fn web_link(text: &Untrusted) -> Option<String> {
    let shown = text.line(2_000);
    let url = url::Url::parse(&shown).ok()?;
    matches!(url.scheme(), "http" | "https").then(|| url.to_string())
}

pub fn severity(severity: Severity) -> Tag {
    Tag {
        word: severity.name().to_owned(),
        tone: severity.name(),
    }
}

pub fn outcome(outcome: Outcome) -> Tag {
    let tone = match outcome {
        Outcome::Verified => "good",
        Outcome::Snoozed | Outcome::Closed | Outcome::Shadow => "quiet",
        Outcome::Denied | Outcome::VerificationFailed | Outcome::Failed => "bad",
        _ => "warn",
    };
    Tag {
        word: words(outcome.name()),
        tone,
    }
}

pub fn status(case: &CaseView) -> Tag {
    if let Some(end) = case.outcome {
        return outcome(end);
    }
    let word = match case.state {
        CaseState::Queued => "waiting to be asked",
        CaseState::Asked => "asked",
        CaseState::Verifying => "proving a yes",
        CaseState::Closed => "closed",
    };
    Tag {
        word: word.to_owned(),
        tone: "open",
    }
}

pub fn escalation_state(state: EscalationState) -> Tag {
    let tone = match state {
        EscalationState::Open => "bad",
        EscalationState::Acknowledged => "warn",
        EscalationState::Resolved => "good",
    };
    Tag {
        word: state.name().to_owned(),
        tone,
    }
}

pub fn who(case: &CaseView) -> String {
    match &case.employee {
        Some(employee) => employee.to_string(),
        None => format!("{} (unknown)", case.principal.line(80)),
    }
}

pub fn case_line(case: &CaseView, now: Timestamp) -> CaseLine {
    CaseLine {
        id: case.id.to_string(),
        reference: case.reference.clone(),
        title: title(&case.title),
        who: who(case),
        rule: Untrusted::new(case.rule.as_str()).line(80),
        severity: severity(case.severity),
        status: status(case),
        count: case.count,
        opened: moment(case.opened_at, now),
        deadline: case.deadline.map(|at| moment(at, now)),
        closed: case.closed_at.map(|at| moment(at, now)),
    }
}

pub fn escalation_line(
    row: &EscalationRow,
    case: Option<&CaseView>,
    now: Timestamp,
) -> EscalationLine {
    EscalationLine {
        id: row.id.to_string(),
        reference: row.id.reference(),
        title: match case {
            Some(case) => title(&case.title),
            None => Untrusted::new(row.summary.as_str()).line(TITLE_CHARS),
        },
        who: case.map_or_else(|| row.kind.clone(), who),
        outcome: case.and_then(|case| case.outcome).map(outcome),
        urgency: severity(row.urgency),
        level: row.level,
        opened: moment(row.opened_at, now),
        acknowledged_by: row.acknowledged_by.as_ref().map(ToString::to_string),
    }
}

pub fn entry(record: &Record, now: Timestamp) -> Entry {
    let detail = Untrusted::new(record.detail.as_str()).plain(TEXT_CHARS);
    Entry {
        at: moment(record.at, now),
        what: words(&record.event),
        who: record.who.label(),
        long: detail.chars().count() > LINE_CHARS || detail.contains('\n'),
        detail,
    }
}

pub fn moment(at: Timestamp, now: Timestamp) -> Moment {
    let clock = jiff::Timestamp::from_millisecond(at.as_millis())
        .map(|t| t.strftime("%-d %b %Y, %H:%M UTC").to_string())
        .unwrap_or_else(|_| at.to_rfc3339());
    Moment {
        iso: at.to_rfc3339(),
        clock,
        relative: relative(at, now),
    }
}

fn relative(at: Timestamp, now: Timestamp) -> String {
    let (distance, is_past) = match at <= now {
        true => (now.since(at), true),
        false => (at.since(now), false),
    };
    let Some(distance) = rough(distance) else {
        return "now".to_owned();
    };
    match is_past {
        true => format!("{distance} ago"),
        false => format!("in {distance}"),
    }
}

fn rough(distance: Duration) -> Option<String> {
    let minutes = distance.as_secs() / 60;
    match minutes {
        0 => None,
        1..60 => Some(format!("{minutes} min")),
        60..2_880 => Some(format!("{} h", minutes / 60)),
        _ => Some(format!("{} days", minutes / 1_440)),
    }
}

/// `no_answer` to `no answer`.
fn words(name: &str) -> String {
    name.replace('_', " ")
}
