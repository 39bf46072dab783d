//! How a case ends, and the page that goes with it: which outcome pages how urgently (DESIGN section
//! 2), and the words a security engineer reads on a lock screen. Promise P3 hangs on [`urgency`].

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::core::alert::Severity;
use crate::core::case::{CaseView, Outcome};
use crate::core::ids::CaseId;
use crate::core::page::{PageKind, Raise};
use crate::core::policy::{DEFAULT_LADDER, Policy};
use crate::core::record::Who;
use crate::core::time::Timestamp;

use super::effect::{Content, Ended};
use super::open_case::{Case, Phase};
use super::state::LATE_NO_WINDOW;
use super::turn::Turn;

/// A title in a page, as in question and reminder (CONTRACT).
pub const TITLE_CHARS: usize = 150;
/// Evidence in a page is an excerpt; the case page has it all.
const EVIDENCE_IN_PAGE: usize = 3;
const EVIDENCE_CHARS: usize = 300;
const EXPLANATION_CHARS: usize = 500;
const RELATED_IN_FLOOD: usize = 100;

/// Why and how a case ends.
pub struct End {
    pub outcome: Outcome,
    /// For the journal and the page: what happened, in a few words.
    pub because: String,
    pub who: Who,
    /// Overrides the outcome's usual urgency (a code lock pages critical).
    pub urgency: Option<Severity>,
    pub snoozed_until: Option<Timestamp>,
    pub closed_by: Option<String>,
    pub notes: Vec<String>,
    pub related: Vec<CaseId>,
    /// Whether the employee is sent a line about it.
    pub tell: bool,
}

impl End {
    pub fn because(outcome: Outcome, because: impl Into<String>) -> Self {
        Self {
            outcome,
            because: because.into(),
            who: Who::Bot,
            urgency: None,
            snoozed_until: None,
            closed_by: None,
            notes: Vec::new(),
            related: Vec::new(),
            tell: outcome != Outcome::Unreachable,
        }
    }

    pub fn by(self, who: Who) -> Self {
        Self { who, ..self }
    }
}

/// The page's urgency by outcome; `None`: no page is needed.
pub fn urgency(outcome: Outcome, severity: Severity) -> Option<Severity> {
    match outcome {
        Outcome::Denied | Outcome::VerificationFailed | Outcome::Failed => Some(Severity::High),
        Outcome::NoAnswer
        | Outcome::Unreachable
        | Outcome::UnknownEmployee
        | Outcome::OptedOut
        | Outcome::Paged => Some(severity.max(Severity::Medium)),
        Outcome::Unsure | Outcome::Unverifiable => Some(Severity::Low),
        Outcome::Verified | Outcome::Snoozed | Outcome::Closed | Outcome::Shadow => None,
    }
}

impl Turn<'_> {
    /// Ends an open case: outcome, page, row, record, message without buttons, a line to the person.
    pub fn end(&mut self, id: CaseId, end: End) {
        let now = self.now();
        let Some(case) = self.next.cases.get_mut(&id).filter(|case| case.is_open()) else {
            return;
        };
        let paged = end.urgency.or(urgency(end.outcome, case.severity()));
        case.phase = Phase::Closed;
        case.reminder = None;
        case.why_asked = false;
        case.ended = Some(Ended {
            outcome: end.outcome,
            explanation: case.explanation.clone(),
            at: now,
            snoozed_until: end.snoozed_until,
            not_me_until: matches!(end.outcome, Outcome::Verified | Outcome::Unverifiable)
                .then(|| now.after(LATE_NO_WINDOW)),
            closed_by: end.closed_by,
            revoked: false,
            paged,
        });
        if paged.is_some() {
            case.rounds = 1;
        }
        let case = case.clone();
        if end.outcome != Outcome::Verified {
            self.void_push(id);
        }
        let view = self.view(&case);
        self.withdraw.push(id);
        self.record(id, "case_closed", end.who, end.because.clone());
        if let Some(urgency) = paged {
            let mut notes = end.notes;
            notes.extend(case_notes(&case, end.outcome));
            let raise = raise(&view, 1, urgency, &end.because, notes, end.related, self);
            self.births.push(raise);
        }
        // The row while all evidence is at hand; afterwards the state keeps an extract.
        self.put_row(id);
        self.touched.remove(&id);
        self.refresh(id);
        if end.tell
            && let Some(ended) = case.ended.clone()
        {
            let question = Box::new(case.question(self.zone_name()));
            self.say(Some(id), Content::Told { question, ended });
        }
        if let Some(case) = self.next.cases.get_mut(&id)
            && !case.who_asked
        {
            case.compact();
        }
        self.ask_all |= end.outcome == Outcome::NoAnswer;
    }
}

/// The page of a case, at any round.
pub fn raise(
    view: &CaseView,
    round: u32,
    urgency: Severity,
    because: &str,
    notes: Vec<String>,
    related: Vec<CaseId>,
    turn: &Turn<'_>,
) -> Raise {
    let policy = &turn.cx.world.policy;
    let ladder = turn
        .next
        .cases
        .get(&view.id)
        .map_or(DEFAULT_LADDER, |case| case.policy.ladder.as_str());
    case_raise(
        view, round, urgency, because, notes, related, ladder, policy,
    )
}

/// The same for a case that is not in the state.
#[allow(clippy::too_many_arguments)] // one call of plain parts; a struct would only rename them
pub fn case_raise(
    view: &CaseView,
    round: u32,
    urgency: Severity,
    because: &str,
    notes: Vec<String>,
    related: Vec<CaseId>,
    ladder: &str,
    policy: &Policy,
) -> Raise {
    let who = view
        .employee
        .as_ref()
        .map_or_else(|| view.principal.line(80), ToString::to_string);
    Raise {
        id: view.id,
        kind: PageKind::Case,
        round,
        urgency,
        summary: format!(
            "{} {} ({who}): {because}",
            view.reference,
            view.title.line(TITLE_CHARS)
        ),
        notes,
        case: Some(Box::new(CaseView {
            evidence: Vec::new(),
            ..view.clone()
        })),
        related,
        ladder: policy.ladder(ladder).clone(),
        url: case_url(policy, view.id),
    }
}

fn case_url(policy: &Policy, id: CaseId) -> String {
    format!("{}/cases/{id}", policy.public_url.trim_end_matches('/'))
}

/// Explanation, evidence and advice: what the person paged needs without opening anything.
pub fn case_notes(case: &Case, outcome: Outcome) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(explanation) = &case.explanation {
        notes.push(format!(
            "Explanation: {}",
            explanation.line(EXPLANATION_CHARS)
        ));
    }
    if case.count > 1 {
        notes.push(format!(
            "{} alerts from {} to {}",
            case.count, case.first_at, case.last_at
        ));
    }
    if case.over > 0 {
        notes.push(format!(
            "{} of {} alerts are over by now, says their source",
            case.over, case.count
        ));
    }
    for evidence in case.evidence.iter().take(EVIDENCE_IN_PAGE) {
        for text in [&evidence.description, &evidence.reason] {
            if !text.is_empty() {
                notes.push(format!("Evidence: {}", text.line(EVIDENCE_CHARS)));
            }
        }
        if let Some(url) = &evidence.url {
            notes.push(format!("Link: {}", url.line(EVIDENCE_CHARS)));
        }
    }
    notes.push(advice(outcome).to_owned());
    notes
}

/// What an operator can do next.
pub fn advice(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Denied => {
            "Next: treat it as an intrusion until shown otherwise; acknowledge, investigate, resolve with a reason."
        }
        Outcome::VerificationFailed => {
            "Next: call the employee on a known number; the answer was not proved. Unlock or enrol anew once sure."
        }
        Outcome::NoAnswer | Outcome::Unreachable => {
            "Next: reach the employee by other means, or close the case with a reason."
        }
        Outcome::Unsure => "Next: talk to the employee; the alert may need a closer look.",
        Outcome::Unverifiable => {
            "Next: check with the employee, and enrol a second factor for them."
        }
        Outcome::UnknownEmployee => {
            "Next: find out who this is; add an alias to the directory if it is an employee."
        }
        Outcome::Failed => "Next: look at the alert yourself; the bot failed. Its log says why.",
        _ => "Next: acknowledge, look at the alert, resolve with a reason.",
    }
}

/// A no to a case that is not kept any more. Its own escalation may exist, so this one is apart.
pub fn forgotten_no(id: CaseId, case: CaseId, who: &str, policy: &Policy) -> Raise {
    Raise {
        id,
        kind: PageKind::Operations,
        round: 1,
        urgency: Severity::High,
        summary: format!(
            "{} ({who}): answered NO to a question that is no longer kept",
            case.reference()
        ),
        notes: vec![advice(Outcome::Denied).to_owned()],
        case: None,
        related: vec![case],
        ladder: policy.ladder(DEFAULT_LADDER).clone(),
        url: case_url(policy, case),
    }
}

/// Too many wrong codes where no case is at stake.
pub fn locked(id: CaseId, who: &str, because: &str, policy: &Policy) -> Raise {
    Raise {
        id,
        kind: PageKind::Operations,
        round: 1,
        urgency: Severity::Critical,
        summary: format!("{who}: {because}; their codes are locked"),
        notes: vec![advice(Outcome::VerificationFailed).to_owned()],
        case: None,
        related: Vec::new(),
        ladder: policy.ladder(DEFAULT_LADDER).clone(),
        url: policy.public_url.clone(),
    }
}

/// Too many open cases of one employee: somebody should look at the whole.
pub fn flood(id: CaseId, who: &str, mut open: Vec<CaseId>, policy: &Policy) -> Raise {
    let count = open.len();
    open.truncate(RELATED_IN_FLOOD);
    Raise {
        id,
        kind: PageKind::Flood,
        round: 1,
        urgency: Severity::High,
        summary: format!("{count} open questions for {who}: a flood of alerts"),
        notes: vec![
            "The questions stay open and end as usual.".to_owned(),
            "Next: look for one cause; an account may be taken over, or a rule too loud."
                .to_owned(),
        ],
        case: None,
        related: open,
        ladder: policy.ladder(DEFAULT_LADDER).clone(),
        url: format!(
            "{}/?employee={}",
            policy.public_url.trim_end_matches('/'),
            utf8_percent_encode(who, NON_ALPHANUMERIC)
        ),
    }
}
