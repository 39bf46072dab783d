//! Alertmanager's alerts by both roads.

use securitybot::core::alert::Severity;
use securitybot::plugins::formats::alertmanager::{Options, parse_list, parse_webhook};
use securitybot::plugins::sources::Incoming;
use serde_json::{Value, json};

use super::source;

fn am_alert(status: Value, starts_at: &str) -> Value {
    json!({
        "status": status, "startsAt": starts_at, "endsAt": "0001-01-01T00:00:00Z",
        "labels": {"alertname": "SudoShell", "user": "alice", "severity": "warning", "host": "web-3"},
        "annotations": {"summary": "sudo -i on web-3", "description": "d", "runbook": "https://r/", "cmd": "sudo -i"},
        "generatorURL": "http://prometheus/g", "fingerprint": "b5d4045c3f466fa9",
    })
}

fn webhook(alerts: Value) -> Vec<u8> {
    json!({"version": "4", "groupKey": "{}:{}", "status": "firing", "alerts": alerts})
        .to_string()
        .into_bytes()
}

fn am(alert: Value) -> Result<Incoming, String> {
    let mut parsed = parse_webhook(&webhook(json!([alert])), &source(), &Options::default());
    match parsed.alerts.pop() {
        Some(incoming) => Ok(incoming),
        None => Err(parsed
            .quarantined
            .pop()
            .expect("neither taken nor quarantined")
            .1),
    }
}

#[test]
fn an_alertmanager_alert_is_read_by_its_labels_and_annotations() {
    let read = am(am_alert(
        json!("firing"),
        "2026-11-24T03:14:00.123456789+01:00",
    ))
    .unwrap();
    let alert = &read.alert;
    assert_eq!(
        alert.id.as_ref(),
        "am:default:b5d4045c3f466fa9:2026-11-24T02:14:00.123Z"
    );
    assert_eq!(
        (alert.principal.raw(), alert.rule.as_str()),
        ("alice", "SudoShell")
    );
    assert_eq!(
        (alert.title.raw(), alert.description.raw()),
        ("sudo -i on web-3", "d")
    );
    assert_eq!(alert.reason.raw(), "cmd: sudo -i\nrunbook: https://r/");
    assert_eq!(alert.severity, Severity::Medium);
    assert_eq!(alert.context.keys().collect::<Vec<_>>(), ["host"]);
    assert_eq!(
        (alert.resolved, read.mark_for, read.noted),
        (false, None, None)
    );
}

#[test]
fn webhook_and_api_give_an_alert_one_identity_and_one_body() {
    let pushed = am(am_alert(json!("firing"), "2026-11-24T02:14:00.123456789Z")).unwrap();
    let mut listed = am_alert(
        json!({"state": "active", "silencedBy": []}),
        "2026-11-24T02:14:00.123Z",
    );
    listed["annotations"]["cmd"] = json!("annotations may hold a value that moves");
    let polled = parse_list(&[listed], &source(), &Options::default())
        .alerts
        .remove(0);
    assert_eq!(pushed.alert.id, polled.alert.id);
    assert_eq!(pushed.canonical, polled.canonical);
}

#[test]
fn the_end_of_an_alert_has_its_identity_but_is_no_repeat_of_it() {
    let firing = am(am_alert(json!("firing"), "2026-11-24T02:14:00Z")).unwrap();
    let mut over = am_alert(json!("resolved"), "2026-11-24T02:14:00Z");
    over["annotations"] = json!({});
    let over = am(over).unwrap();
    assert!(over.alert.resolved);
    assert_eq!(over.alert.id, firing.alert.id);
    assert_eq!(over.alert.title.raw(), "SudoShell");
    assert_ne!(over.mark_id(), firing.mark_id());
}

#[test]
fn severity_words_of_alertmanager_users_are_understood() {
    for (word, severity, noted) in [
        ("info", Severity::Low, false),
        ("warning", Severity::Medium, false),
        ("page", Severity::High, false),
        ("error", Severity::High, false),
        ("Critical", Severity::Critical, false),
        ("P1\n", Severity::Medium, true),
    ] {
        let mut alert = am_alert(json!("firing"), "2026-11-24T02:14:00Z");
        alert["labels"]["severity"] = json!(word);
        let read = am(alert).unwrap();
        assert_eq!(
            (read.alert.severity, read.noted.is_some()),
            (severity, noted),
            "{word}"
        );
    }
}

#[test]
fn what_alertmanager_would_repeat_for_ever_is_quarantined_so_that_it_can_be_replayed() {
    let mut nobody = am_alert(json!("firing"), "2026-11-24T02:14:00Z");
    nobody["labels"].as_object_mut().unwrap().remove("user");
    let mut ours = am_alert(json!("firing"), "2026-11-24T02:14:00Z");
    ours["labels"]["securitybot_page"] = json!("k:1:1");
    let good = am_alert(json!("firing"), "2026-11-24T02:14:00Z");
    let parsed = parse_webhook(
        &webhook(json!([
            nobody,
            ours,
            good,
            "junk",
            am_alert(json!("firing"), "soon")
        ])),
        &source(),
        &Options::default(),
    );
    assert_eq!(
        (
            parsed.alerts.len(),
            parsed.own_pages,
            parsed.quarantined.len()
        ),
        (1, 1, 3)
    );
    let (payload, error) = &parsed.quarantined[0];
    assert!(error.contains("`user`"), "{error}");
    let options = Options {
        principal_label: "host".to_owned(),
        ..Options::default()
    };
    let replayed = parse_webhook(payload.as_bytes(), &source(), &options);
    assert_eq!(replayed.alerts[0].alert.principal.raw(), "web-3");

    for body in [
        "{",
        "[]",
        r#"{"version": "3", "alerts": []}"#,
        r#"{"version": "4"}"#,
    ] {
        let parsed = parse_webhook(body.as_bytes(), &source(), &Options::default());
        assert_eq!(parsed.quarantined[0].0, body);
    }
    let cut = br#"{"version": "4", "alerts": [], "truncatedAlerts": 3}"#;
    let parsed = parse_webhook(cut, &source(), &Options::default());
    assert!(parsed.quarantined[0].1.contains("left out 3"));
}
