//! Journal records as they leave: every field under its name, the case as it stands in the journal.

use securitybot::actors::reporter::reports::record;
use securitybot::core::record::{Record, Who};
use securitybot::plugins::sinks::Report;
use securitybot::store::JournalRow;
use serde_json::{Value, json};

use crate::{AT, page};

/// The journal's fifth record in partition 2 as a sink gets it.
fn outgoing(body: String) -> Value {
    let row = JournalRow {
        seq: 5,
        case: None,
        at: AT,
        body,
        hash: String::new(),
    };
    let report = record(2, &row);
    let Report::Record { id, json } = &report else {
        panic!("{report:?}");
    };
    assert_eq!((id.as_str(), json.lines().count()), ("2-5", 1), "{json}");
    serde_json::from_str(json).unwrap()
}

fn stored(record: &Record) -> String {
    serde_json::to_string(record).unwrap()
}

#[test]
fn a_record_has_all_its_fields_and_its_case_as_it_stands_in_the_journal() {
    let case = *page(1, 0).case.unwrap();
    let record = Record::new(AT, "case_closed", Who::Employee("alice".into()))
        .about(case)
        .detail("she said \"no\"\nand \u{1f4a5} more");
    let expected = json!({
        "type": "record", "id": "2-5", "at": AT.to_rfc3339(), "event": "case_closed", "who": "employee alice",
        "detail": "she said \"no\"\nand \u{1f4a5} more", "case_id": record.case_id, "case": record.case,
    });
    assert_eq!(outgoing(stored(&record)), expected);
}

#[test]
fn a_record_without_a_case_says_so() {
    let record = Record::new(AT, "snooze_created", Who::Bot);
    let expected = json!({
        "type": "record", "id": "2-5", "at": AT.to_rfc3339(), "event": "snooze_created", "who": "bot",
        "detail": "", "case_id": null, "case": null,
    });
    assert_eq!(outgoing(stored(&record)), expected);
}

#[test]
fn a_record_that_cannot_be_read_is_told_as_such() {
    let whole = stored(&Record::new(AT, "case_closed", Who::Bot));
    let half = whole[..whole.len() / 2].to_owned();
    for body in [half, "{}".to_owned()] {
        let told = outgoing(body);
        assert_eq!(told["event"], "unreadable", "{told}");
        assert_eq!(told["at"], AT.to_rfc3339());
        assert!(!told["detail"].as_str().unwrap().is_empty(), "{told}");
    }
}
