//! The command line against a service that answers as the API promises: what scripts read from standard
//! output, and what people read when something is wrong.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod cli_service;

use clap::Parser;
use cli_service::{config, run, service};
use insta::assert_snapshot;
use securitybot::cli::{Api, Args, Command};
use serde_json::{Value, json};

#[actix_web::test]
async fn an_alert_is_sent_with_an_id_of_its_own_which_is_printed() {
    let accepted = json!({"accepted": ["x"], "duplicates": [], "rejected": []});
    let service = service(&[("POST /v1/alerts", 202, accepted)]);
    let words = [
        "alert",
        "send",
        "--employee",
        "alice",
        "--rule",
        "sudo",
        "--title",
        "sudo -i on web-3",
        "--severity",
        "high",
        "--context",
        "host=web-3",
        "--context",
        "command=a=b",
    ];
    let out = run(&service.url, &words).await.unwrap();
    let (_, token, body) = service.calls.lock().unwrap()[0].clone();
    assert_eq!(token, "Bearer t0ken");
    let id = uuid::Uuid::parse_str(out.trim()).unwrap();
    assert_eq!(id.get_version_num(), 7);
    assert_eq!(
        body,
        json!({"id": id.to_string(), "principal": "alice", "rule": "sudo", "title": "sudo -i on web-3",
               "severity": "high", "context": {"host": "web-3", "command": "a=b"}})
    );
}

#[actix_web::test]
async fn a_refused_alert_fails_with_the_reason() {
    let rejected = json!({"accepted": [], "duplicates": [],
        "rejected": [{"index": 0, "error": "the same id with another body"}]});
    let service = service(&[("POST /v1/alerts", 409, rejected)]);
    let words = [
        "alert",
        "send",
        "--employee",
        "a",
        "--rule",
        "r",
        "--title",
        "t",
        "--id",
        "x1",
    ];
    let failure = run(&service.url, &words).await.unwrap_err();
    assert_eq!(
        (failure.code, failure.message.as_str()),
        (1, "alert x1 was refused: the same id with another body")
    );
}

#[actix_web::test]
async fn without_a_service_the_message_says_how_to_start_one() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let failure = run(&format!("http://127.0.0.1:{port}/"), &["page", "test"])
        .await
        .unwrap_err();
    assert_eq!(failure.code, 1);
    assert_eq!(
        failure.message,
        format!(
            "no securitybot answers at http://127.0.0.1:{port}: start it with `securitybot run`"
        )
    );
}

#[actix_web::test]
async fn refusals_say_what_to_do() {
    let service = service(&[
        ("POST /v1/pages/test", 401, json!({"error": "unauthorized"})),
        (
            "POST /v1/employees/bob/unlock",
            403,
            json!({"error": "admin is needed"}),
        ),
        ("GET /v1/cases", 503, json!({"error": "store down\nreally"})),
        ("GET /v1/snoozes", 200, Value::Null),
    ]);
    let mut said = String::new();
    for words in [
        &["page", "test"][..],
        &["unlock", "bob"],
        &["cases", "list"],
        &["snoozes", "list"],
        &["unlock", "mallory"],
    ] {
        let failure = run(&service.url, words).await.unwrap_err();
        assert_eq!(failure.code, 1);
        said.push_str(&failure.message.replace(&service.url, "URL"));
        said.push('\n');
    }
    assert_snapshot!(said, @r##"
URL does not know this token: give an operator's with --token or SECURITYBOT_TOKEN
this operator may not do that (admin is needed): use the token of one who may
securitybot cannot do that now (store down really): try again, or look at URL/readyz
URL answers, but not like a securitybot: check --server
there is no such thing
"##);
}

#[actix_web::test]
async fn enrolling_prints_the_uri_alone_on_the_first_line_and_a_code_to_scan() {
    let uri = "otpauth://totp/securitybot:alice?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=securitybot";
    let service = service(&[
        (
            "POST /v1/employees/alice%40example%2Ecom/factors/totp",
            200,
            json!({"otpauth_uri": uri}),
        ),
        (
            "POST /v1/employees/alice/links",
            200,
            json!({"url": "http://127.0.0.1/chat/sign-in/abc"}),
        ),
    ]);
    let out = run(&service.url, &["enroll", "alice@example.com"])
        .await
        .unwrap();
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some(uri));
    assert!(
        lines
            .filter(|line| line.contains('█') || line.contains('▀'))
            .count()
            > 15,
        "{out}"
    );

    for (words, kind) in [
        (&["enroll", "alice", "--link"][..], "enroll"),
        (&["chat-link", "alice"], "chat"),
    ] {
        assert_eq!(
            run(&service.url, words).await.unwrap(),
            "http://127.0.0.1/chat/sign-in/abc\n"
        );
        let (_, _, body) = service.calls.lock().unwrap().last().unwrap().clone();
        assert_eq!(body, json!({ "kind": kind }));
    }
}

#[actix_web::test]
async fn the_token_comes_from_the_data_folder_unless_it_is_given() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut config = config();
    config.server.data_dir = dir.path().to_owned();
    let failure = Api::new(&config, None, None).err().unwrap();
    assert!(
        failure
            .message
            .contains("give --token or SECURITYBOT_TOKEN"),
        "{failure}"
    );

    std::fs::write(dir.path().join("token"), "from-the-file\n").unwrap();
    let service = service(&[("GET /v1/x", 200, json!({}))]);
    let api = Api::new(&config, Some(&service.url), None).unwrap();
    api.get("/v1/x").await.unwrap();
    assert_eq!(service.calls.lock().unwrap()[0].1, "Bearer from-the-file");
}

#[test]
fn wrong_usage_is_code_2() {
    for words in [
        &[
            "securitybot",
            "alert",
            "send",
            "--rule",
            "sudo",
            "--title",
            "t",
        ][..],
        &[
            "securitybot",
            "alert",
            "send",
            "--employee",
            "a",
            "--rule",
            "r",
            "--title",
            "t",
            "--severity",
            "hihg",
        ],
        &[
            "securitybot",
            "alert",
            "send",
            "--employee",
            "a",
            "--rule",
            "r",
            "--title",
            "t",
            "--context",
            "host",
        ],
        &["securitybot", "dance"],
    ] {
        assert_eq!(
            Args::try_parse_from(words).unwrap_err().exit_code(),
            2,
            "{words:?}"
        );
    }
    assert!(
        Args::try_parse_from(["securitybot"])
            .unwrap()
            .command
            .is_none()
    );
    assert!(matches!(
        Args::try_parse_from(["securitybot", "run", "--config", "x.toml"])
            .unwrap()
            .command,
        Some(Command::Run)
    ));
}
