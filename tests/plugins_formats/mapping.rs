//! Lines of real tools, read by configuration only.

use std::collections::BTreeMap;

use securitybot::core::alert::Severity;
use securitybot::core::time::Timestamp;
use securitybot::plugins::formats::mapping::{Mapping, MappingError};
use securitybot::plugins::sources::Incoming;
use serde_json::{Value, json};

use super::{AT, source};

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn mapped(entries: &[(&str, &str)], record: &Value) -> Result<Option<Incoming>, String> {
    let mapping = Mapping::compile(&map(entries)).expect("the map compiles");
    mapping.read(&record.to_string(), &source(), "gen:0")
}

#[test]
fn a_falco_line_needs_configuration_only() {
    let line = json!({
        "hostname": "web-3", "priority": "Error", "rule": "Terminal shell in container", "source": "syscall",
        "output": "02:14:00.123: Error A shell was spawned (user=alice cmdline=bash)",
        "time": "2026-11-24T02:14:00.123456789Z", "tags": ["shell"],
        "output_fields": {"user.name": "alice", "proc.cmdline": "bash", "evt.time": 1_795_486_440_123_456_789_u64},
    });
    let read = mapped(
        &[
            ("principal", r#"output_fields."user.name""#),
            ("rule", "rule"),
            ("title", "join(' on ', [rule, hostname])"),
            ("severity", "priority"),
            ("reason", "output"),
            ("occurred_at", r#"output_fields."evt.time""#),
            ("context.host", "hostname"),
            ("context.command", r#"output_fields."proc.cmdline""#),
        ],
        &line,
    );
    let alert = read.unwrap().unwrap().alert;
    assert_eq!(
        (alert.principal.raw(), alert.severity),
        ("alice", Severity::High)
    );
    assert_eq!(alert.title.raw(), "Terminal shell in container on web-3");
    assert_eq!(alert.occurred_at, Some(Timestamp::from_millis(AT + 123)));
    assert_eq!(alert.context.get("command").unwrap().raw(), "bash");
    assert_eq!(alert.id.as_ref(), "gen:0");
}

#[test]
fn a_wazuh_line_is_filtered_and_its_levels_are_ranges() {
    let entries = [
        ("where", "rule.level >= `5`"),
        ("principal", "data.srcuser"),
        ("rule", "join('-', ['wazuh', rule.id])"),
        ("title", "rule.description"),
        ("severity", "rule.level"),
        ("severity.5-7", "low"),
        ("severity.8-11", "medium"),
        ("severity.12-15", "critical"),
        ("occurred_at", "timestamp"),
        ("id", "id"),
        ("context.groups", "rule.groups"),
    ];
    let mut line = json!({
        "timestamp": "2026-11-24T02:14:00.000+0000", "id": "1795486440.4711", "agent": {"name": "web-3"},
        "rule": {"id": "5402", "level": 12, "description": "sudo to ROOT", "groups": ["syslog", "sudo"]},
        "data": {"srcuser": "alice", "dstuser": "root"}, "full_log": "Nov 24 02:14:00 web-3 sudo: alice",
    });
    let alert = mapped(&entries, &line).unwrap().unwrap().alert;
    assert_eq!(
        (alert.rule.as_str(), alert.severity),
        ("wazuh-5402", Severity::Critical)
    );
    assert_eq!(alert.occurred_at, Some(Timestamp::from_millis(AT)));
    assert_eq!(alert.id.as_ref(), "1795486440.4711");
    assert_eq!(
        alert.context.get("groups").unwrap().raw(),
        r#"["syslog","sudo"]"#
    );
    line["rule"]["level"] = json!(3);
    assert_eq!(mapped(&entries, &line), Ok(None));
    line["rule"]["level"] = json!(9);
    line["data"] = json!({});
    let error = mapped(&entries, &line).unwrap_err();
    assert!(
        error.contains("principal") && error.contains("data.srcuser"),
        "{error}"
    );
}

#[test]
fn a_suricata_line_finds_its_person_by_address() {
    let entries = [
        ("where", "event_type == 'alert'"),
        (
            "principal",
            "(src_ip == '10.0.0.7' && 'alice') || (src_ip == '10.0.0.8' && 'bob')",
        ),
        ("rule", "alert.signature_id"),
        ("title", "alert.signature"),
        ("severity", "alert.severity"),
        ("severity.1", "high"),
        ("severity.2", "medium"),
        ("severity.3", "low"),
        ("occurred_at", "timestamp"),
        ("context.source_address", "src_ip"),
    ];
    let mut line = json!({
        "timestamp": "2026-11-24T02:14:00.000000+0000", "event_type": "alert", "flow_id": 1_234_567_890_123_456_u64,
        "src_ip": "10.0.0.8", "dest_ip": "10.0.0.9", "proto": "TCP",
        "alert": {"signature_id": 2_009_358, "signature": "ET SCAN Nmap", "category": "scan", "severity": 1},
    });
    let alert = mapped(&entries, &line).unwrap().unwrap().alert;
    assert_eq!(
        (alert.principal.raw(), alert.rule.as_str()),
        ("bob", "2009358")
    );
    assert_eq!(alert.severity, Severity::High);
    assert_eq!(alert.occurred_at, Some(Timestamp::from_millis(AT)));
    line["src_ip"] = json!("10.0.0.99");
    assert!(mapped(&entries, &line).unwrap_err().contains("principal"));
    line["event_type"] = json!("flow");
    assert_eq!(mapped(&entries, &line), Ok(None));
}

#[test]
fn osquery_and_auditd_lines_are_read_too() {
    let osquery = json!({
        "name": "pack_incident_sudoers", "hostIdentifier": "web-3", "unixTime": 1_795_486_440, "action": "added",
        "calendarTime": "Tue Nov 24 02:14:00 2026 UTC", "columns": {"username": "alice", "path": "/etc/sudoers"},
    });
    let entries = [
        ("where", "action == 'added'"),
        ("principal", "columns.username"),
        ("rule", "name"),
        ("title", "columns.path"),
        ("occurred_at", "unixTime"),
    ];
    let alert = mapped(&entries, &osquery).unwrap().unwrap().alert;
    assert_eq!(
        (alert.principal.raw(), alert.occurred_at),
        ("alice", Some(Timestamp::from_millis(AT)))
    );

    // auditd as laurel writes it.
    let audit = json!({
        "ID": "1795486440.123:4711", "NODE": "web-3",
        "SYSCALL": {"AUID": "alice", "UID": "root", "key": "recon", "comm": "nmap", "success": "yes"},
        "EXECVE": {"ARGV": ["nmap", "-sS", "10.0.0.0/24"]},
    });
    let entries = [
        ("principal", "SYSCALL.AUID"),
        ("rule", "SYSCALL.key"),
        ("title", "join(' ', EXECVE.ARGV)"),
        ("severity", "'high'"),
        ("occurred_at", "ID"),
        ("id", "ID"),
    ];
    let read = mapped(&entries, &audit).unwrap().unwrap();
    assert_eq!(read.alert.title.raw(), "nmap -sS 10.0.0.0/24");
    assert_eq!(read.alert.severity, Severity::High);
    assert!(read.noted.is_some_and(|noted| noted.contains("no time")));
}

#[test]
fn a_wrong_map_is_refused_with_key_and_position() {
    let good = [("principal", "a"), ("rule", "b"), ("title", "c")];
    let error = |more: (&str, &str)| {
        let mut entries = map(&good);
        entries.insert(more.0.to_owned(), more.1.to_owned());
        Mapping::compile(&entries).unwrap_err()
    };
    match error(("context.host", "a.[b")) {
        MappingError::Expression {
            field, position, ..
        } => {
            assert_eq!((field.as_str(), position), ("context.host", 5));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        error(("employee", "a")),
        MappingError::UnknownKey(_)
    ));
    assert!(matches!(
        error(("severity.1", "urgent")),
        MappingError::Severity { .. }
    ));
    let missing = Mapping::compile(&map(&good[..2])).unwrap_err();
    assert_eq!(missing, MappingError::Missing("title"));
}

#[test]
fn records_that_are_no_alerts_say_why() {
    let entries = [("principal", "u"), ("rule", "r"), ("title", "length(n)")];
    let mapping = Mapping::compile(&map(&entries)).unwrap();
    let deep = "[".repeat(100_000);
    for (record, expected) in [
        ("not json", "malformed"),
        (deep.as_str(), "recursion"),
        ("7", "principal"),
        (r#"{"u": "alice", "r": "practice"}"#, "reserved"),
        (r#"{"u": "alice", "r": "x", "n": 7}"#, "title"),
    ] {
        let error = mapping.read(record, &source(), "g:0").unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

/// A reload with such an expression must be refused; it must not end the bot.
#[test]
fn an_expression_that_would_overflow_the_stack_is_refused() {
    let refused = |title: &str| {
        let entries = [("principal", "user"), ("rule", "rule"), ("title", title)];
        match Mapping::compile(&map(&entries)).unwrap_err() {
            MappingError::Expression {
                field, position, ..
            } => (field, position),
            other => panic!("{other}"),
        }
    };
    assert_eq!(refused(&"[".repeat(900)), ("title".to_owned(), 129));
    assert_eq!(refused(&"!".repeat(900)), ("title".to_owned(), 129));
    assert_eq!(refused(&"a".repeat(5_000)), ("title".to_owned(), 1_001));
    let entries = [
        ("principal", "user"),
        ("rule", "rule"),
        ("title", "((((title))))"),
    ];
    assert!(Mapping::compile(&map(&entries)).is_ok());
}
