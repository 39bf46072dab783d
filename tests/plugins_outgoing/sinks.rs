//! Records on their way out: in order, whole, under stable ids.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use securitybot::plugins::outgoing::http_client;
use securitybot::plugins::sinks::jsonl::JsonlSink;
use securitybot::plugins::sinks::webhook::WebhookSink;
use securitybot::plugins::sinks::{Report, Sink, SinkError};
use serde_json::{Value, json};

use crate::common::fake_http::{FakeHttp, Mode};
use crate::{AT, fixed_clock, secret};

fn record(id: &str) -> Report {
    let body = json!({"type": "record", "id": id, "event": "case_closed", "text": "two\nlines"});
    Report::Record {
        id: id.to_owned(),
        json: body.to_string(),
    }
}

fn rollup(id: &str) -> Report {
    Report::Rollup(json!({"type": "rollup", "id": id, "text": "two\nlines"}))
}

fn ids(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|record| record["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_half_written_line_is_ended_before_the_next_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/for/it/answers.jsonl");
    let sink = JsonlSink::new("answers", &path);
    sink.deliver(&[record("1"), rollup("2")]).await.unwrap();
    let mut text = fs::read_to_string(&path).unwrap();
    assert_eq!(
        (text.lines().count(), ids(&text)),
        (2, vec!["1".to_owned(), "2".to_owned()])
    );

    // A crash in mid-write, then a new process that delivers the same record again.
    text.push_str("{\"type\": \"rec");
    fs::write(&path, &text).unwrap();
    JsonlSink::new("answers", &path)
        .deliver(&[record("3")])
        .await
        .unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(
        (text.lines().count(), ids(&text).join(" ")),
        (4, "1 2 3".to_owned())
    );
}

#[tokio::test]
async fn after_a_rotation_records_go_to_the_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.jsonl");
    let sink = JsonlSink::new("answers", &path);
    sink.deliver(&[record("1")]).await.unwrap();
    fs::rename(&path, folder.path().join("answers.jsonl.1")).unwrap();
    sink.deliver(&[record("2")]).await.unwrap();
    fs::write(folder.path().join("other"), "").unwrap();
    fs::rename(folder.path().join("other"), &path).unwrap();
    sink.deliver(&[record("3")]).await.unwrap();
    assert_eq!(ids(&fs::read_to_string(&path).unwrap()), ["3"]);
    let old = fs::read_to_string(folder.path().join("answers.jsonl.1")).unwrap();
    assert_eq!(ids(&old), ["1"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_named_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.jsonl");
    fs::create_dir(&path).unwrap();
    let sink = JsonlSink::new("answers", &path);
    let SinkError::Unavailable(error) = sink.deliver(&[record("1")]).await.unwrap_err();
    assert!(error.contains("answers.jsonl"), "{error}");
    fs::remove_dir(&path).unwrap();
    sink.deliver(&[record("1")]).await.unwrap();
    // A full disk, as the kernel plays it.
    let full = JsonlSink::new("answers", "/dev/full");
    assert!(full.deliver(&[record("1")]).await.is_err());
}

#[tokio::test]
async fn a_webhook_sink_sends_one_record_after_the_other_and_stops_at_a_refusal() {
    let server = Arc::new(FakeHttp::start());
    let sink = WebhookSink::new(
        "hook",
        server.url(),
        secret(),
        http_client(),
        fixed_clock().0,
    );
    sink.deliver(&[record("1"), record("2"), rollup("3")])
        .await
        .unwrap();
    let requests = server.requests();
    let order: Vec<_> = requests
        .iter()
        .map(|r| r.header("webhook-id").to_owned())
        .collect();
    assert_eq!(order, ["1", "2", "3"]);
    for request in &requests {
        let verdict = secret().verify(
            request.header("webhook-id"),
            request.header("webhook-timestamp"),
            request.header("webhook-signature"),
            &request.body,
            AT.after(Duration::from_secs(10)),
        );
        assert_eq!(verdict, Ok(()));
        assert_eq!(request.json()["id"], request.header("webhook-id"));
    }
    server.set(Mode::Status(503));
    let refused = sink.deliver(&[record("4"), record("5")]).await;
    assert!(matches!(refused, Err(SinkError::Unavailable(_))));
    assert_eq!(server.requests().len(), 4, "5 must not overtake 4");
}
