//! What a page says to people on systems whose own syntax we do not know (Alertmanager and PagerDuty pass
//! our words on to chats, mails and phones): plain, clean and without what could become a mention, a
//! link or markup there.

use crate::core::alert::Severity;
use crate::core::page::{Page, PageKind};
use crate::core::text::Untrusted;

/// Enough evidence to judge by; the whole is behind the page's link.
const MAX_EVIDENCE_CHARS: usize = 1_000;
const MAX_EVIDENCE: usize = 3;

pub fn kind_name(kind: PageKind) -> &'static str {
    match kind {
        PageKind::Case => "case",
        PageKind::Flood => "flood",
        PageKind::Operations => "operations",
        PageKind::Test => "test",
    }
}

/// The words Prometheus users route by.
pub fn prometheus_severity(urgency: Severity) -> &'static str {
    match urgency {
        Severity::Critical | Severity::High => "critical",
        Severity::Medium => "warning",
        Severity::Low => "info",
    }
}

/// One clean line of at most `max` characters.
pub fn line(text: &str, max: usize) -> String {
    defused(&Untrusted::new(text).line(max))
}

/// Who, what, the answer, the evidence and what an operator can do next.
pub fn description(page: &Page) -> String {
    let mut lines: Vec<String> = page.notes.iter().map(|note| line(note, 500)).collect();
    if let Some(case) = page.case.as_deref() {
        let mut fact = |name: &str, value: String| {
            if !value.is_empty() {
                lines.push(format!("{name}: {value}"));
            }
        };
        fact("Question", case.title.line(150));
        fact("Reference", case.reference.clone());
        fact(
            "Employee",
            match &case.employee {
                Some(id) => id.to_string(),
                None => format!("unknown ({})", case.principal.line(100)),
            },
        );
        fact("Rule", Untrusted::new(case.rule.as_str()).line(200));
        fact("Severity", case.severity.name().to_owned());
        for (key, value) in case.context.iter() {
            fact(&Untrusted::new(key.as_str()).line(60), value.line(200));
        }
        fact(
            "Outcome",
            case.outcome
                .map(|o| o.name().to_owned())
                .unwrap_or_default(),
        );
        if let Some(explanation) = &case.explanation {
            fact("Explanation", explanation.line(500));
        }
        for evidence in case.evidence.iter().take(MAX_EVIDENCE) {
            for text in [&evidence.description, &evidence.reason] {
                fact("Evidence", text.plain(MAX_EVIDENCE_CHARS));
            }
            if let Some(url) = &evidence.url {
                fact("Source", url.line(500));
            }
        }
        let more = case.evidence.len().saturating_sub(MAX_EVIDENCE);
        if more > 0 {
            fact("Evidence", format!("and {more} more alerts"));
        }
    }
    lines.push(format!(
        "Next: acknowledge, resolve, close or add a note at {}",
        page.url
    ));
    lines
        .iter()
        .map(|text| defused(text))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Angle brackets make mentions and links in Slack, and tags in HTML; an `@` that begins a word makes
/// mentions in most chats (within one it is an address). The look-alikes read the same.
fn defused(text: &str) -> String {
    let mut begins_word = true;
    text.chars()
        .map(|c| {
            let shown = match c {
                '<' => '‹',
                '>' => '›',
                '@' if begins_word => '＠',
                other => other,
            };
            begins_word = !c.is_alphanumeric();
            shown
        })
        .collect()
}
