//! What the command line shows: tables, explanations, the journal's check. People read them, scripts
//! read the JSON, and nothing in them may command a terminal.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod cli_service;

use cli_service::{run, service};
use insta::assert_snapshot;
use securitybot::core::ids::CaseId;
use serde_json::{Value, json};

#[actix_web::test]
async fn lists_are_tables_for_people_and_json_for_scripts() {
    let cases = json!({"next": "c2", "cases": [
        {"opened_at": "2026-11-24T02:14:00.000Z", "reference": "K7Q2M", "principal": "alice", "rule": "sudo",
         "severity": "high", "state": "closed", "outcome": "denied", "count": 2,
         "title": "sudo -i\u{1b}[31m on web-3\nforged line"},
        {"opened_at": "2026-11-24T02:10:00.000Z", "reference": "9XWYH", "principal": "bob.the.builder",
         "rule": "nmap", "severity": "low", "state": "asked", "outcome": null, "count": 1, "title": "nmap"}]});
    let snoozes = json!({"next": null, "snoozes": [{"id": "s1", "employee": "alice", "rule": "sudo",
        "context": {"host": "web-3"}, "severity": "medium", "until": "2026-11-25T02:14:00.000Z", "suppressed": 3}]});
    let nothing = json!({"quarantine": [], "next": null});
    let service = service(&[
        ("GET /v1/cases?limit=2&state=asked", 200, cases.clone()),
        ("GET /v1/snoozes", 200, snoozes),
        ("GET /v1/quarantine", 200, nothing),
    ]);
    let filter = ["cases", "list", "--limit", "2", "--state", "asked"];
    let mut out = run(&service.url, &filter).await.unwrap();
    out.push_str(&run(&service.url, &["snoozes", "list"]).await.unwrap());
    out.push_str(&run(&service.url, &["quarantine", "list"]).await.unwrap());
    assert_snapshot!(out, @r##"
OPENED                    CODE   WHO              RULE  SEVERITY  STATE   OUTCOME  ALERTS  TITLE
2026-11-24T02:14:00.000Z  K7Q2M  alice            sudo  high      closed  denied   2       sudo -i[31m on web-3 forged line
2026-11-24T02:10:00.000Z  9XWYH  bob.the.builder  nmap  low       asked   -        1       nmap

there is more: --cursor c2
ID  WHO    RULE  CONTEXT     SEVERITY  UNTIL                     SUPPRESSED
s1  alice  sudo  host=web-3  medium    2026-11-25T02:14:00.000Z  3
no payloads in quarantine
"##);

    let raw = run(&service.url, &[&filter[..], &["--json"]].concat())
        .await
        .unwrap();
    assert_eq!(serde_json::from_str::<Value>(&raw).unwrap(), cases);
}

#[actix_web::test]
async fn an_explanation_tells_who_is_asked_what_and_by_when() {
    let explained = json!({"outcome": "ask", "employee": "alice", "rule": "sudo", "mode": "ask", "severity": "medium",
        "context": {"host": "web-3"}, "snoozed": false, "snooze": null, "question": "Was it you?\nsudo -i on web-3",
        "deadlines": {"answer_within_s": 7200, "working_hours": true, "ceiling_s": 86400},
        "ladder": {"name": "default"}});
    let service = service(&[("POST /v1/explain", 200, explained)]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("alert.json");
    std::fs::write(
        &file,
        r#"{"principal": "alice", "rule": "sudo", "title": "sudo -i on web-3"}"#,
    )
    .unwrap();
    let name = file.to_str().unwrap();
    assert_snapshot!(run(&service.url, &["explain", name]).await.unwrap(), @r##"
outcome        ask
employee       alice
rule           sudo
severity       medium
mode           ask
context        host=web-3
snoozed        no
answer within  2h of working time
ceiling        24h
ladder         default

The question:

  Was it you?
  sudo -i on web-3
"##);
    assert_eq!(service.calls.lock().unwrap()[0].2["principal"], "alice");

    let case = CaseId::parse("0198c0de-0000-7000-8000-000000000001").unwrap();
    let snoozed = json!({"outcome": "snoozed", "snoozed": true, "snoozed_by": case,
        "snooze": {"case": case, "until": "2026-11-25T02:14:00.000Z"}});
    let service = self::service(&[("POST /v1/explain", 200, snoozed)]);
    let said = run(&service.url, &["explain", name]).await.unwrap();
    let wanted = format!(
        "snoozed        until 2026-11-25T02:14:00.000Z (case {})",
        case.reference()
    );
    assert!(said.lines().any(|line| line == wanted), "{said}");

    std::fs::write(&file, "{").unwrap();
    let failure = run(&service.url, &["explain", name]).await.unwrap_err();
    assert_eq!(failure.code, 2);
    assert!(
        failure.message.contains("expected one alert as JSON"),
        "{failure}"
    );
}

#[actix_web::test]
async fn a_changed_journal_fails_and_names_the_record() {
    let whole =
        json!({"partition": 0, "records": 12, "head": "0123456789abcdef0123", "broken": null});
    let broken = json!({"partition": 1, "broken": {"seq": 7, "what": "its hash is x, expected y"}});
    let sound = service(&[(
        "GET /v1/journal/verify",
        200,
        json!({"partitions": [whole.clone()]}),
    )]);
    let out = run(&sound.url, &["journal", "verify"]).await.unwrap();
    assert_snapshot!(out, @r##"
PARTITION  RECORDS  STATE  HEAD
0          12       whole  0123456789abcdef
the journal is whole
"##);

    let changed = service(&[(
        "GET /v1/journal/verify",
        200,
        json!({"partitions": [whole, broken]}),
    )]);
    let failure = run(&changed.url, &["journal", "verify"]).await.unwrap_err();
    assert_eq!(failure.code, 1);
    assert!(
        failure
            .message
            .contains("partition 1: record 7: its hash is x"),
        "{failure}"
    );
}

#[test]
fn a_look_before_the_first_start_is_good_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml");
    std::fs::copy(shipped, folder.path().join("config.toml")).unwrap();
    let look = std::process::Command::new(env!("CARGO_BIN_EXE_securitybot"))
        .args(["check", "--live"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&look.stdout);
    assert!(look.status.success(), "{said}");
    assert!(said.contains("to be made at the first start"), "{said}");
    assert!(said.contains("pager log: good"), "{said}");
    let there: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(there.len(), 1, "{there:?}");
}
