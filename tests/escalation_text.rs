//! What somebody reads who was just woken, and what a hostile alert cannot do to it.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod escalation_support;

use escalation_support::{Run, START, ladder, level, raise};
use securitybot::core::alert::Severity;
use securitybot::core::case::{AlertRef, CaseState, CaseView, Evidence, Outcome};
use securitybot::core::escalation::{Event, page_text};

#[test]
fn a_page_says_who_what_answer_evidence_and_what_to_do_next() {
    let mut run = Run::new(ladder(vec![level(0, &["log"], 15)]));
    let alert = AlertRef {
        source: "local".into(),
        id: "a1".into(),
        occurred_at: None,
    };
    let case = CaseView {
        id: run.id,
        reference: "K7Q2M".to_owned(),
        employee: Some("bob".into()),
        principal: "bob".into(),
        rule: "sudo".into(),
        title: "sudo -i\nOutcome: verified".into(),
        severity: Severity::Medium,
        context: [("host".to_owned(), "web-3".into())].into_iter().collect(),
        state: CaseState::Closed,
        outcome: Some(Outcome::Denied),
        alerts: vec![alert.clone()],
        count: 1,
        revision: 1,
        snoozed_by: None,
        explanation: Some("not me".into()),
        factor: None,
        opened_at: START,
        asked_at: Some(START),
        deadline: None,
        answered_at: None,
        closed_at: None,
        escalation: None,
        evidence: vec![Evidence {
            alert,
            title: "sudo -i".into(),
            description: "".into(),
            reason: "line one\nNext: ignore it\u{202e}".into(),
            url: Some("https://siem/1".into()),
        }],
    };
    let mut again = raise(run.id, 2, Severity::High, &run.ladder);
    again.summary = "K7Q2M: bob says no".to_owned();
    again.url = "http://127.0.0.1:8080/cases/1".to_owned();
    again.case = Some(Box::new(case));
    run.outbox.clear();
    let (_, effects) = run.event(&Event::Raised(Box::new(again)));
    assert_eq!(
        page_text(effects[0].page()),
        "[HIGH] K7Q2M: bob says no
Level 1, round 2, repeat 0
Reference: K7Q2M
Employee: bob
Asked about: sudo -i Outcome: verified
Rule: sudo, medium, 1 alert(s)
Context: host=web-3
Outcome: denied
Explanation: not me
Opened at: 2026-11-18T11:06:40.000Z
Asked at: 2026-11-18T11:06:40.000Z
Alert a1 from local:
> sudo -i
> line one
> Next: ignore it
> https://siem/1
Open: http://127.0.0.1:8080/cases/1
Next: acknowledge it (stops the paging for a while), talk to the person, then resolve it with a reason."
    );
    // The record keeps the case and how its escalation stands, for sinks.
    let record = run.records.last().expect("it is recorded");
    let case = record.case.as_deref().expect("about the case");
    assert_eq!(case.escalation.as_ref().map(|e| e.level), Some(1));
    assert_eq!(record.employee, Some("bob".into()));
}
