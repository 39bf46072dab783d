//! Cases, escalations, snoozes and records as the machines would have written them.

use std::time::Duration;

use securitybot::core::ids::CaseId;
use securitybot::core::machine::{Collection, Row};
use securitybot::core::record::{Record, Who};
use securitybot::core::time::Timestamp;
use securitybot::store::{Head, journal};
use serde_json::{Value, json};

use super::now;
use super::store::FakeStore;

pub struct Sample {
    pub employee: Option<&'static str>,
    pub title: &'static str,
    pub rule: &'static str,
    pub severity: &'static str,
    pub state: &'static str,
    pub outcome: Option<&'static str>,
    pub minutes_ago: u64,
    pub evidence: &'static str,
    pub explanation: Option<&'static str>,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            employee: Some("alice"),
            title: "sudo -i on web-3",
            rule: "sudo",
            severity: "medium",
            state: "asked",
            outcome: None,
            minutes_ago: 5,
            evidence: "Nov 24 09:55:01 web-3 sudo: alice : TTY=pts/0 ; USER=root ; COMMAND=/bin/bash",
            explanation: None,
        }
    }
}

pub fn ago(minutes: u64) -> Timestamp {
    now().before(Duration::from_secs(60 * minutes))
}

pub fn case(store: &FakeStore, nth: u64, sample: &Sample) -> CaseId {
    let at = ago(sample.minutes_ago);
    let id = CaseId::new(at, 7, nth);
    let principal = sample.employee.unwrap_or("Mallory");
    let alert = json!({"source": "local", "id": format!("a{nth}"), "occurred_at": at.to_rfc3339()});
    let is_closed = sample.state == "closed";
    let ended = is_closed.then(|| at.after(Duration::from_secs(90)).to_rfc3339());
    let body = json!({
        "id": id, "reference": id.reference(), "employee": sample.employee, "principal": principal,
        "rule": sample.rule, "title": sample.title, "severity": sample.severity,
        "context": {"host": "web-3", "source_address": "10.0.0.7"}, "state": sample.state,
        "outcome": sample.outcome, "alerts": [alert], "count": 1, "revision": 1, "snoozed_by": null,
        "explanation": sample.explanation, "factor": (sample.outcome == Some("verified")).then_some("totp"),
        "opened_at": at.to_rfc3339(), "asked_at": at.to_rfc3339(),
        "deadline": (!is_closed).then(|| at.after(Duration::from_secs(7200)).to_rfc3339()),
        "answered_at": ended, "closed_at": ended,
        "evidence": [{"alert": alert, "title": sample.title, "description": "Root shell on a web server",
            "reason": sample.evidence, "url": "https://grafana.example.com/d/abc?host=web-3"}],
    });
    let mut fields = vec![
        ("rule", sample.rule.to_owned()),
        ("state", sample.state.to_owned()),
        ("alert", format!("a{nth}")),
    ];
    fields.extend(sample.employee.map(|e| ("employee", e.to_owned())));
    fields.extend(sample.outcome.map(|o| ("outcome", o.to_owned())));
    store.put(row(Collection::Cases, &id.to_string(), at, fields, &body));
    id
}

pub fn escalation(store: &FakeStore, id: CaseId, state: &str, urgency: &str, case: Option<CaseId>) {
    escalation_at(store, id, state, urgency, case, ago(4));
}

pub fn escalation_at(
    store: &FakeStore,
    id: CaseId,
    state: &str,
    urgency: &str,
    case: Option<CaseId>,
    opened_at: Timestamp,
) {
    let body = json!({
        "id": id, "kind": if case.is_some() { "case" } else { "operations" }, "case": case,
        "state": state, "level": 1, "round": 1, "urgency": urgency, "opened_at": opened_at.to_rfc3339(),
        "partition": 3, "acknowledged_by": (state != "open").then_some("vera"), "resolved_by": null,
        "reason": null, "summary": format!("{}: somebody should look", id.reference()),
        "notes": ["Snoozes of this context were revoked."], "related": [], "url": "", "last_page_at": null,
    });
    let fields = vec![("state", state.to_owned())];
    store.put(row(
        Collection::Escalations,
        &id.to_string(),
        opened_at,
        fields,
        &body,
    ));
}

pub fn snooze(store: &FakeStore, id: &str, minutes_left: u64) {
    let case = CaseId::new(ago(60), 7, 99);
    let body = json!({
        "id": id, "employee": "alice", "rule": "sudo", "context": {"host": "web-3", "source_address": "10.0.0.7"},
        "severity": "medium", "case": case, "from": ago(60).to_rfc3339(),
        "until": now().after(Duration::from_secs(60 * minutes_left)).to_rfc3339(), "suppressed": 2,
    });
    let fields = vec![("employee", "alice".to_owned())];
    store.put(row(Collection::Snoozes, id, ago(60), fields, &body));
}

/// A kept rollup of the hour that ended `hours_ago`; alerts of `rule` were suppressed.
pub fn rollup(store: &FakeStore, period: &str, hours_ago: u64, rule: &str) {
    let (from, to) = (ago(60 * (hours_ago + 1)), ago(60 * hours_ago));
    let id = format!("rollup/{period}/{}", from.to_rfc3339());
    let rules = json!([{"rule": rule, "asked": 5, "verified": 3, "denied": 1, "no_answer": 0, "unsure": 2,
        "snoozed": 3, "median_answer_s": 42, "p95_answer_s": 4200, "suppressed": ["a-7", "a-8"]}]);
    let body = json!({"waiting": [], "rollup": {"type": "rollup", "id": id, "period": period,
        "from": from.to_rfc3339(), "to": to.to_rfc3339(), "rules": rules, "journal_heads": {}}});
    let fields = [("rollup", "done"), ("rollup", "any"), ("period", period)];
    let fields = fields.map(|(name, value)| (name, value.to_owned()));
    store.put(row(Collection::Documents, &id, to, fields.into(), &body));
}

pub fn quarantined(store: &FakeStore, id: &str, payload: &str) {
    let body = json!({"id": id, "source": "am", "at": ago(30), "error": "alerts: expected an array", "payload": payload});
    let fields = vec![("source", "am".to_owned())];
    store.put(row(Collection::Quarantine, id, ago(30), fields, &body));
}

pub fn record(
    store: &FakeStore,
    case: CaseId,
    minutes_ago: u64,
    event: &str,
    who: Who,
    detail: &str,
) {
    let mut record = Record::new(ago(minutes_ago), event, who).detail(detail);
    record.case_id = Some(case);
    let mut journals = store.journals.lock().unwrap();
    let rows = journals.entry(3).or_default();
    let head = rows.last().map_or_else(Head::default, |row| Head {
        seq: row.seq,
        hash: row.hash.clone(),
    });
    let body = serde_json::to_string(&record).unwrap();
    let (chained, _) = journal::chain(&head, [(Some(case), record.at, body)]);
    rows.extend(chained);
}

fn row(
    collection: Collection,
    id: &str,
    at: Timestamp,
    fields: Vec<(&'static str, String)>,
    body: &Value,
) -> Row {
    Row {
        collection,
        id: id.to_owned(),
        at,
        fields,
        body: body.to_string(),
        expires: None,
    }
}
