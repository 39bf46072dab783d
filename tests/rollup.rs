//! The figures of a period, from the journal's records alone.
#![allow(clippy::unwrap_used, reason = "a test may fail that way")]

use std::collections::BTreeMap;

use jiff::civil::time;
use securitybot::core::alert::Severity;
use securitybot::core::case::{AlertRef, CaseState, CaseView, Outcome};
use securitybot::core::ids::CaseId;
use securitybot::core::record::{Record, Who};
use securitybot::core::rollup::{Period, Rollup, day_of, hour_of, to_text};
use securitybot::core::time::Timestamp;
use securitybot::core::working_hours::zone;

const FROM: i64 = 1_795_003_200_000;
const HOUR: i64 = 3_600_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(FROM + seconds * 1_000)
}

fn case(nth: u64, rule: &str) -> CaseView {
    let id = CaseId::new(at(0), 9, nth);
    CaseView {
        id,
        reference: id.reference(),
        employee: None,
        principal: "alice".into(),
        rule: rule.into(),
        title: "t".into(),
        severity: Severity::Medium,
        context: Default::default(),
        state: CaseState::Asked,
        outcome: None,
        alerts: vec![AlertRef {
            source: "local".into(),
            id: format!("alert-{nth:04}").into(),
            occurred_at: None,
        }],
        count: 1,
        revision: 1,
        snoozed_by: None,
        explanation: None,
        factor: None,
        opened_at: at(0),
        asked_at: None,
        deadline: None,
        answered_at: None,
        closed_at: None,
        escalation: None,
        evidence: Vec::new(),
    }
}

fn record(second: i64, event: &str, case: &CaseView) -> Record {
    Record::new(at(second), event, Who::Bot).about(case.clone())
}

/// Asked at 0 s, answered after `took`.
fn answered(nth: u64, outcome: Outcome, took: i64) -> Vec<Record> {
    let mut case = case(nth, "sudo");
    case.asked_at = Some(at(0));
    let sent = record(1, "question_sent", &case);
    case.answered_at = Some(at(took));
    case.outcome = Some(outcome);
    vec![sent, record(took, "case_closed", &case)]
}

fn hour(records: &[Record]) -> serde_json::Value {
    let to = Timestamp::from_millis(FROM + HOUR);
    let mut rollup = Rollup::new(Period::Hour, at(0), to);
    records.iter().for_each(|record| rollup.add(record));
    rollup.finish(BTreeMap::from([(3, "abc".to_owned())]))
}

#[test]
fn each_rule_is_counted_once_per_case_with_its_times_to_answer() {
    let mut records: Vec<Record> = (1..=19)
        .flat_map(|n| answered(n, Outcome::Verified, i64::try_from(n).unwrap() * 10))
        .collect();
    records.extend(answered(20, Outcome::Denied, 1_000));
    let mut silent = case(21, "nmap");
    silent.asked_at = Some(at(5));
    records.push(record(5, "question_sent", &silent));
    silent.outcome = Some(Outcome::NoAnswer);
    records.push(record(3_000, "case_closed", &silent));
    // Read again after a restart of the reader, and sent again after an edit.
    records.extend(records.clone());
    records.push(record(3_100, "question_sent", &silent));

    let rollup = hour(&records);
    assert_eq!(rollup["type"], "rollup");
    assert_eq!(rollup["id"], format!("rollup/hour/{}", at(0).to_rfc3339()));
    assert_eq!(rollup["journal_heads"]["3"], "abc");
    let [nmap, sudo] = rollup["rules"].as_array().unwrap().as_slice() else {
        panic!("two rules, sorted: {rollup}")
    };
    assert_eq!(
        (&nmap["rule"], &sudo["rule"]),
        (&"nmap".into(), &"sudo".into())
    );
    assert_eq!(nmap["asked"], 1);
    assert_eq!(nmap["no_answer"], 1);
    assert!(nmap["median_answer_s"].is_null());
    assert_eq!(sudo["asked"], 20);
    assert_eq!(sudo["verified"], 19);
    assert_eq!(sudo["denied"], 1);
    assert_eq!(sudo["shadow"], 0);
    assert_eq!(sudo["median_answer_s"], 100);
    assert_eq!(sudo["p95_answer_s"], 190);
    let text = to_text(&rollup);
    assert!(
        text.contains("sudo: 20 asked, 19 verified, 1 denied, answered in 100 s"),
        "{text}"
    );
}

#[test]
fn suppressed_alerts_are_all_counted_and_the_first_hundred_listed() {
    let mut records = Vec::new();
    for nth in 0..150 {
        let mut case = case(nth, "sudo");
        case.outcome = Some(Outcome::Snoozed);
        records.push(record(10, "alert_snoozed", &case));
        records.push(record(10, "case_closed", &case));
    }
    let rollup = hour(&records);
    let sudo = &rollup["rules"][0];
    assert_eq!(sudo["snoozed"], 150);
    let listed = sudo["suppressed"].as_array().unwrap();
    assert_eq!(listed.len(), 100);
    assert_eq!(listed[0], "alert-0000");
}

#[test]
fn a_record_belongs_to_exactly_one_period() {
    let mut case = case(1, "sudo");
    case.outcome = Some(Outcome::Verified);
    let edges = [
        record(-1, "case_closed", &case),
        record(3_600, "case_closed", &case),
    ];
    assert_eq!(hour(&edges)["rules"].as_array().unwrap().len(), 0);
    assert!(to_text(&hour(&edges)).contains("nothing was asked"));
    assert_eq!(
        hour(&[record(0, "case_closed", &case)])["rules"][0]["verified"],
        1
    );
    // Asked in the hour before; shown once more in this one.
    case.asked_at = Some(at(-600));
    assert_eq!(
        hour(&[record(9, "question_sent", &case)])["rules"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn the_last_complete_period_is_found_also_across_a_change_of_clocks() {
    let utc = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
    assert_eq!(
        hour_of(utc("2026-11-24T10:00:00Z")),
        (utc("2026-11-24T09:00:00Z"), utc("2026-11-24T10:00:00Z"))
    );
    assert_eq!(
        hour_of(utc("2026-11-24T10:59:59Z")),
        hour_of(utc("2026-11-24T10:00:00Z"))
    );
    let nine = time(9, 0, 0, 0);
    assert_eq!(
        day_of(utc("2026-11-24T08:59:59Z"), nine, &zone("UTC")),
        (utc("2026-11-22T09:00:00Z"), utc("2026-11-23T09:00:00Z"))
    );
    // Berlin's clocks go forward on 29 March: that day has 23 hours.
    assert_eq!(
        day_of(utc("2026-03-29T07:00:00Z"), nine, &zone("Europe/Berlin")),
        (utc("2026-03-28T08:00:00Z"), utc("2026-03-29T07:00:00Z"))
    );
}
