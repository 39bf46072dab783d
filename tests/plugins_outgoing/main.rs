//! What leaves the bot, judged by what the other side received: a recording server, and a real Alertmanager
//! that is source and pager at once.
#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod alertmanager;
#[path = "../common/mod.rs"]
mod common;
mod pagers;
mod records;
mod sinks;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use secrecy::SecretString;
use securitybot::core::alert::Severity;
use securitybot::core::case::{AlertRef, CaseState, CaseView, Evidence, Outcome};
use securitybot::core::ids::{CaseId, EmployeeId, RuleName, SourceId};
use securitybot::core::page::{Page, PageKind, PageTag};
use securitybot::core::time::Timestamp;
use securitybot::plugins::outgoing::Clock;
use securitybot::plugins::standard_webhooks::Secret;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const AT: Timestamp = Timestamp::from_millis(1_795_486_440_000);

fn secret() -> Secret {
    Secret::new(&SecretString::from(SECRET)).unwrap()
}

/// A clock that the test moves.
fn fixed_clock() -> (Clock, Arc<AtomicI64>) {
    let now = Arc::new(AtomicI64::new(AT.as_millis()));
    let hands = Arc::clone(&now);
    let clock = Arc::new(move || Timestamp::from_millis(hands.load(Ordering::SeqCst)));
    (clock, now)
}

/// The machine's clock, for servers that compare with theirs.
#[allow(clippy::disallowed_methods)] // the other side lives in real time
fn real_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
    })
}

/// A page about alice's denied sudo, with a hostile title.
fn page(level: u32, repeat: u32) -> Page {
    let id = CaseId::parse("019ab2c4-8a40-7def-8123-456789abcdef").unwrap();
    let alert = AlertRef {
        source: SourceId::new("local"),
        id: "a-1".into(),
        occurred_at: None,
    };
    let case = CaseView {
        id,
        reference: id.reference(),
        employee: Some(EmployeeId::new("alice")),
        principal: "alice".into(),
        rule: RuleName::new("sudo"),
        title: "sudo -i <!channel> on web-3".into(),
        severity: Severity::Medium,
        context: [("host".to_owned(), "web-3".into())].into_iter().collect(),
        state: CaseState::Closed,
        outcome: Some(Outcome::Denied),
        alerts: vec![alert.clone()],
        count: 1,
        revision: 1,
        snoozed_by: None,
        explanation: Some("@here not\u{202e} me".into()),
        factor: None,
        opened_at: AT,
        asked_at: Some(AT),
        deadline: None,
        answered_at: Some(AT),
        closed_at: Some(AT),
        escalation: None,
        evidence: vec![Evidence {
            alert,
            title: "sudo -i".into(),
            description: "".into(),
            reason: "COMMAND=/bin/bash; mail root@web-3".into(),
            url: None,
        }],
    };
    Page {
        record_type: PageTag::Page,
        kind: PageKind::Case,
        key: format!("{id}:1:{level}"),
        id,
        level,
        round: 1,
        repeat,
        urgency: Severity::High,
        summary: format!(
            "{} alice denied: sudo -i <!channel> on web-3",
            id.reference()
        ),
        notes: vec!["Nothing was suppressed.".to_owned()],
        case: Some(Box::new(case)),
        related: Vec::new(),
        url: format!("http://127.0.0.1:8080/cases/{id}"),
    }
}
