//! The command line against a service that answers as the API promises: what scripts read from standard
//! output, and what people read when something is wrong.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use clap::Parser;
use insta::assert_snapshot;
use securitybot::cli::{self, Api, Args, Command, Failure};
use securitybot::config::Config;
use serde_json::{Value, json};

/// A service that gives the answer set for `METHOD path?query`, else 404, and keeps what it was sent.
struct FakeService {
    url: String,
    calls: Arc<Mutex<Vec<(String, String, Value)>>>,
    _server: actix_web::dev::ServerHandle,
}

#[derive(Clone)]
struct Script {
    answers: Arc<BTreeMap<String, (u16, Value)>>,
    calls: Arc<Mutex<Vec<(String, String, Value)>>>,
}

async fn answer(script: web::Data<Script>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let call = format!("{} {}", request.method(), request.uri());
    let token = request
        .headers()
        .get("authorization")
        .and_then(|v| v.to_str().ok());
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let token = token.unwrap_or_default().to_owned();
    script
        .calls
        .lock()
        .unwrap()
        .push((call.clone(), token, body));
    match script.answers.get(&call) {
        Some((status, body)) => {
            HttpResponse::build(actix_web::http::StatusCode::from_u16(*status).unwrap()).json(body)
        }
        None => HttpResponse::NotFound().json(json!({"error": "there is no such thing"})),
    }
}

fn service(answers: &[(&str, u16, Value)]) -> FakeService {
    let answers = answers
        .iter()
        .map(|(call, status, body)| ((*call).to_owned(), (*status, body.clone())))
        .collect();
    let script = Script {
        answers: Arc::new(answers),
        calls: Arc::default(),
    };
    let data = web::Data::new(script.clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .default_service(web::to(answer))
    })
    .workers(1)
    .disable_signals()
    .bind(("127.0.0.1", 0))
    .unwrap();
    let url = format!("http://{}", server.addrs()[0]);
    let running = server.run();
    let handle = running.handle();
    actix_web::rt::spawn(running);
    FakeService {
        url,
        calls: script.calls,
        _server: handle,
    }
}

fn config() -> Config {
    Config::parse(Path::new("config.toml"), String::new(), std::iter::empty()).unwrap()
}

async fn run(server: &str, words: &[&str]) -> Result<String, Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = ["securitybot", "--server", server, "--token", "t0ken"];
    let args = Args::try_parse_from(args.iter().chain(words)).unwrap();
    let Some(Command::Api(command)) = args.command else {
        panic!("not a command of the API")
    };
    let api = Api::new(&config(), args.server.as_deref(), args.token.as_deref())?;
    let mut out = Vec::new();
    cli::run(&command, &api, &mut out).await?;
    Ok(String::from_utf8(out).unwrap())
}

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
answer within  2 h of working time
ceiling        1 d
ladder         default

The question:

  Was it you?
  sudo -i on web-3
"##);
    assert_eq!(service.calls.lock().unwrap()[0].2["principal"], "alice");

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
