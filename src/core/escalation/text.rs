//! A page as plain text, for pagers that show text to a person who was just woken: who, what, what was
//! answered, the evidence, and what can be done next. Alert text is cleaned here (promise P8); a pager
//! still escapes it for its own syntax.

use crate::core::case::{CaseView, Evidence};
use crate::core::page::Page;
use crate::core::text::Untrusted;

/// Characters of the title, as in question and reminder.
const TITLE: usize = 150;
/// Characters of other one-line values.
const VALUE: usize = 200;
/// Characters of each evidence text; the whole of it stands on the operator page.
const EVIDENCE: usize = 1_000;
/// Alerts whose evidence is shown.
const ALERTS: usize = 5;

/// Many lines, the most important first.
pub fn page_text(page: &Page) -> String {
    let mut lines = vec![
        format!("[{}] {}", page.urgency.name().to_uppercase(), page.summary),
        format!(
            "Level {}, round {}, repeat {}",
            page.level, page.round, page.repeat
        ),
    ];
    lines.extend(page.notes.iter().cloned());
    if let Some(case) = &page.case {
        about(case, &mut lines);
    }
    if !page.related.is_empty() {
        let related: Vec<_> = page
            .related
            .iter()
            .map(|id| format!("{} ({id})", id.reference()))
            .collect();
        lines.push(format!("Related cases: {}", related.join(", ")));
    }
    if !page.url.is_empty() {
        lines.push(format!("Open: {}", page.url));
    }
    lines.push(
        "Next: acknowledge it (stops the paging for a while), talk to the person, then resolve it with a reason."
            .to_owned(),
    );
    lines.join("\n")
}

fn about(case: &CaseView, lines: &mut Vec<String>) {
    let mut fact = |label: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{label}: {value}"));
        }
    };
    let line = |text: &Untrusted| text.line(VALUE);
    fact("Reference", case.reference.clone());
    match &case.employee {
        Some(employee) => fact("Employee", Untrusted::new(employee.as_str()).line(VALUE)),
        None => fact("Unknown principal", line(&case.principal)),
    }
    fact("Asked about", case.title.line(TITLE));
    let rule = Untrusted::new(case.rule.as_str()).line(VALUE);
    fact(
        "Rule",
        format!("{rule}, {}, {} alert(s)", case.severity.name(), case.count),
    );
    let context = case.context.iter().map(|(key, value)| {
        format!(
            "{}={}",
            Untrusted::new(key.as_str()).line(VALUE),
            line(value)
        )
    });
    fact("Context", context.collect::<Vec<_>>().join(", "));
    let outcome = case.outcome.map(|outcome| outcome.name().replace('_', " "));
    fact("Outcome", outcome.unwrap_or_default());
    fact(
        "Explanation",
        case.explanation.as_ref().map(line).unwrap_or_default(),
    );
    fact("Proved by", case.factor.clone().unwrap_or_default());
    for (label, at) in [
        ("Opened at", Some(case.opened_at)),
        ("Asked at", case.asked_at),
        ("Answered at", case.answered_at),
    ] {
        fact(label, at.map(|at| at.to_string()).unwrap_or_default());
    }
    for evidence in case.evidence.iter().take(ALERTS) {
        lines.extend(shown(evidence));
    }
    if case.evidence.len() > ALERTS {
        lines.push(format!(
            "... and {} more alerts",
            case.evidence.len() - ALERTS
        ));
    }
}

/// The alert's own words are quoted, so that none of them can pass for a line of ours.
fn shown(evidence: &Evidence) -> Vec<String> {
    let id = Untrusted::new(evidence.alert.id.clone()).line(VALUE);
    let mut lines = vec![format!("Alert {id} from {}:", evidence.alert.source)];
    let texts = [&evidence.title, &evidence.description, &evidence.reason];
    for text in texts.into_iter().filter(|text| !text.is_empty()) {
        lines.extend(text.plain(EVIDENCE).lines().map(|line| format!("> {line}")));
    }
    if let Some(url) = &evidence.url {
        lines.push(format!("> {}", url.line(VALUE)));
    }
    lines
}
