//! The bot's own JSON, good and bad.

use std::collections::BTreeMap;
use std::time::Duration;

use securitybot::core::alert::{MAX_FIELD_BYTES, Severity};
use securitybot::core::time::Timestamp;
use securitybot::plugins::formats::native::{MalformedError, parse};
use securitybot::plugins::sources::Incoming;
use serde_json::{Value, json};

use super::{AT, source};

const TEN_MINUTES: Duration = Duration::from_secs(600);

fn one(alert: &Value) -> Result<Incoming, String> {
    let mut all = parse(alert.to_string().as_bytes(), &source(), None).expect("JSON");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// A good alert with some fields set otherwise (`null` takes one away).
fn with(changes: Value) -> Value {
    let mut alert = json!({"principal": "alice", "rule": "sudo", "title": "sudo -i on web-3"});
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(alert.as_object_mut().unwrap().remove(key)),
            value => alert[key] = value.clone(),
        }
    }
    alert
}

#[test]
fn a_full_alert_is_read_field_by_field() {
    let read = one(&with(json!({
        "id": "a-1", "description": "d", "reason": "r", "severity": "high", "url": "https://x/",
        "occurred_at": "2026-11-24T03:14:00+01:00", "context": {"host": "web-3"},
    })))
    .unwrap();
    let alert = &read.alert;
    assert_eq!((alert.id.as_ref(), alert.rule.as_str()), ("a-1", "sudo"));
    assert_eq!(alert.principal.raw(), "alice");
    assert_eq!((alert.description.raw(), alert.reason.raw()), ("d", "r"));
    assert_eq!(alert.severity, Severity::High);
    assert_eq!(alert.occurred_at, Some(Timestamp::from_millis(AT)));
    assert_eq!(alert.context.get("host").unwrap().raw(), "web-3");
    assert_eq!(alert.url.as_ref().map(|url| url.raw()), Some("https://x/"));
    assert_eq!(read.mark_for, None);
}

#[test]
fn what_can_never_be_accepted_is_refused_with_field_and_expectation() {
    let long = "x".repeat(201);
    let many: BTreeMap<String, &str> = (0..65).map(|n| (n.to_string(), "v")).collect();
    for (changes, field, expected) in [
        (json!({"principal": null}), "principal", "missing"),
        (json!({"rule": null}), "rule", "missing"),
        (json!({"title": null}), "title", "missing"),
        (json!({"title": 7}), "title", "a string"),
        (json!({"title": "\u{200b}\n"}), "title", "visible"),
        (
            json!({"principal": {"name": "alice"}}),
            "principal",
            "a string",
        ),
        (
            json!({"severity": "urgent"}),
            "severity",
            "low, medium, high or critical",
        ),
        (
            json!({"severity": "HIGH"}),
            "severity",
            "low, medium, high or critical",
        ),
        (
            json!({"occurred_at": "yesterday"}),
            "occurred_at",
            "RFC 3339",
        ),
        (
            json!({"occurred_at": 1_795_486_440}),
            "occurred_at",
            "a string",
        ),
        (json!({"context": ["web-3"]}), "context", "an object"),
        (json!({"context": {"port": 22}}), "context", "a string"),
        (
            json!({"context": {"a\u{202e}b": "x"}}),
            "context",
            "visible",
        ),
        (json!({"context": many}), "context", "at most 64"),
        (json!({"id": ""}), "id", "1 to 200"),
        (json!({"id": long}), "id", "1 to 200"),
        (json!({"id": "a\u{0}b"}), "id", "visible"),
        (json!({"rule": "su\ndo"}), "rule", "visible"),
        (json!({"rule": "practice"}), "rule", "reserved"),
        (json!({"employee": "alice"}), "employee", "unknown field"),
    ] {
        let error = one(&with(changes.clone())).expect_err(&changes.to_string());
        assert!(
            error.contains(field) && error.contains(expected),
            "{changes}: {error}"
        );
        assert!(
            error.len() < 400 && !error.contains(['\n', '\0', '\u{202e}']),
            "{error:?}"
        );
    }
}

#[test]
fn one_bad_alert_of_an_array_spoils_no_other() {
    let body = json!([
        with(json!({})),
        7,
        with(json!({"severity": 3})),
        with(json!({"id": "z"}))
    ]);
    let read = parse(body.to_string().as_bytes(), &source(), None).unwrap();
    let good: Vec<bool> = read.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, false, true]);
}

#[test]
fn hostile_bodies_are_told_where_they_break() {
    let deep = "[".repeat(100_000);
    for (body, line) in [
        ("{\"a\":\n nope}", 2),
        ("", 1),
        (deep.as_str(), 1),
        ("{} {}", 1),
    ] {
        match parse(body.as_bytes(), &source(), None) {
            Err(MalformedError::Json {
                line: at, column, ..
            }) => {
                assert_eq!(at, line);
                assert!(column <= 130, "{column}");
            }
            other => panic!("{other:?}"),
        }
    }
    let refused = |body: &[u8], key| parse(body, &source(), key).unwrap_err();
    assert!(matches!(
        refused(b"\"\xff\"", None),
        MalformedError::Json { .. }
    ));
    assert!(matches!(refused(b"42", None), MalformedError::Shape(_)));
    let many = format!("[{}]", vec!["1"; 1_001].join(","));
    assert_eq!(
        refused(many.as_bytes(), None),
        MalformedError::TooMany(1_001)
    );
    assert_eq!(
        refused(b"{}", Some("a\u{7}")),
        MalformedError::IdempotencyKey
    );
}

#[test]
fn huge_and_invisible_texts_are_kept_within_bounds() {
    let huge = "é".repeat(500_000);
    let read = one(&with(
        json!({"title": huge, "reason": "a\u{0}b", "context": {"k": huge}}),
    ))
    .unwrap();
    for text in [&read.alert.title, read.alert.context.get("k").unwrap()] {
        assert!(text.raw().len() <= MAX_FIELD_BYTES + "…".len());
    }
    assert_eq!(read.alert.reason.line(10), "ab");
    assert!(
        read.canonical.len() > 1_000_000,
        "the hash covers all of it"
    );
}

#[test]
fn an_alert_without_id_gets_one_from_the_request_or_from_what_it_says() {
    let body = json!([with(json!({})), with(json!({"id": "own"}))]).to_string();
    let ids = |key| -> Vec<String> {
        let read = parse(body.as_bytes(), &source(), key).unwrap();
        read.into_iter()
            .map(|one| one.unwrap().alert.id.to_string())
            .collect()
    };
    assert_eq!(ids(Some("req-7")), ["req-7:0", "own"]);

    let plain = one(&with(json!({}))).unwrap();
    assert_eq!(
        (plain.alert.id.len(), plain.mark_for),
        (64, Some(TEN_MINUTES))
    );
    let reordered = br#"{ "title": "sudo -i on web-3", "rule": "sudo", "principal": "alice" }"#;
    let again = parse(reordered, &source(), None)
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!(plain, again);
    let dated = one(&with(json!({"occurred_at": "2026-11-24T02:14:00Z"}))).unwrap();
    assert_ne!(dated.alert.id, plain.alert.id);
    assert_eq!(dated.mark_for, None);
}
