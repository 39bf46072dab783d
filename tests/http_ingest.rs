//! Every answer a producer can get, and that a 2xx is given only for what the intake has taken.
#![allow(clippy::unwrap_used)] // no input from outside

mod http_support;

use http_support::Bench;
use http_support::fakes::{Mode, sign};
use reqwest::{Method, Response};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn alert(id: &str) -> Value {
    json!({"id": id, "principal": "alice", "rule": "sudo", "title": "sudo -i on web-3"})
}

async fn json_of(response: Response) -> (u16, Value) {
    (response.status().as_u16(), response.json().await.unwrap())
}

#[actix_web::test]
async fn accepted_duplicate_and_rejected_alerts_are_told_apart_in_one_request() {
    let bench = Bench::start().await;
    let first = bench.post("/v1/alerts", "local-token", &alert("a1")).await;
    assert_eq!(
        json_of(first).await,
        (
            202,
            json!({"accepted": ["a1"], "duplicates": [], "rejected": []})
        )
    );
    let mut altered = alert("a1");
    altered["title"] = json!("another");
    let unknown_field = json!({"principal": "a", "rule": "r", "title": "t", "colour": "red"});
    let batch = json!([unknown_field, alert("a1"), alert("a2"), altered]);
    let (status, body) = json_of(bench.post("/v1/alerts", "local-token", &batch).await).await;
    assert_eq!(status, 202);
    assert_eq!(body["accepted"], json!(["a2"]));
    assert_eq!(body["duplicates"], json!(["a1"]));
    let rejected = body["rejected"].as_array().unwrap();
    assert_eq!(
        rejected
            .iter()
            .map(|r| r["index"].clone())
            .collect::<Vec<_>>(),
        [json!(0), json!(3)]
    );
    assert!(rejected[0]["error"].as_str().unwrap().contains("colour"));
    assert!(
        rejected[1]["error"]
            .as_str()
            .unwrap()
            .contains("another body")
    );
}

#[actix_web::test]
async fn a_request_of_which_nothing_is_acceptable_is_422_and_a_lone_altered_one_409() {
    let bench = Bench::start().await;
    let bad = json!({"principal": "alice"});
    let (status, body) = json_of(bench.post("/v1/alerts", "local-token", &bad).await).await;
    assert_eq!(
        (status, body["rejected"][0]["index"].clone()),
        (422, json!(0))
    );
    assert!(bench.log.lock().unwrap().requests.is_empty());

    bench.post("/v1/alerts", "local-token", &alert("a1")).await;
    let mut altered = alert("a1");
    altered["title"] = json!("another");
    let (status, body) = json_of(bench.post("/v1/alerts", "local-token", &altered).await).await;
    assert_eq!((status, body["accepted"].clone()), (409, json!([])));
    let both = json!([altered, bad]);
    let (status, _) = json_of(bench.post("/v1/alerts", "local-token", &both).await).await;
    assert_eq!(status, 422);
}

#[actix_web::test]
async fn what_cannot_be_made_durable_is_503_with_retry_after() {
    let bench = Bench::start().await;
    for mode in [Mode::Unavailable, Mode::Full, Mode::Silent] {
        bench.intake_is(mode);
        let response = bench.post("/v1/alerts", "local-token", &alert("a1")).await;
        assert!(response.headers().contains_key("retry-after"));
        let (status, body) = json_of(response).await;
        assert_eq!(status, 503, "{body}");
    }
    bench.intake_is_gone();
    for path in ["/v1/alerts", "/v1/alerts/alertmanager"] {
        let token = if path == "/v1/alerts" {
            "local-token"
        } else {
            "am-token"
        };
        let response = bench
            .post(path, token, &json!({"alerts": [alert("a1")]}))
            .await;
        let expected = if path == "/v1/alerts" { 422 } else { 503 };
        assert_eq!(response.status(), expected, "{path}");
    }
    let response = bench.post("/v1/alerts", "local-token", &alert("a1")).await;
    assert_eq!(response.status(), 503);
}

#[actix_web::test]
async fn bad_input_is_refused_with_the_right_status() {
    let bench = Bench::start().await;
    let send = |body: Vec<u8>, kind: &'static str, token: &'static str| {
        let request = bench
            .request(Method::POST, "/v1/alerts")
            .header("content-type", kind);
        let request = if token.is_empty() {
            request
        } else {
            request.bearer_auth(token)
        };
        async move { request.body(body).send().await.unwrap() }
    };
    let good = alert("a1").to_string().into_bytes();
    let nested = "[".repeat(100_000).into_bytes();
    let json = "application/json";
    assert_eq!(send(b"{".to_vec(), json, "local-token").await.status(), 400);
    assert_eq!(send(nested, json, "local-token").await.status(), 400);
    assert_eq!(
        send(good.clone(), "text/plain", "local-token")
            .await
            .status(),
        415
    );
    assert_eq!(
        send(
            good.clone(),
            "application/json; charset=utf-8",
            "local-token"
        )
        .await
        .status(),
        202
    );
    assert_eq!(
        send(vec![b' '; 2 << 20], json, "local-token")
            .await
            .status(),
        413
    );
    let unknown = send(good.clone(), json, "wrong").await;
    assert_eq!(unknown.status(), 401);
    assert!(
        unknown.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .starts_with("Bearer")
    );
    assert_eq!(send(good.clone(), json, "").await.status(), 401);
    assert_eq!(
        send(good.clone(), json, "sam-token").await.status(),
        401,
        "an operator is no source"
    );
    assert_eq!(
        send(good, json, "am-token").await.status(),
        403,
        "the other door"
    );
    let gone = bench
        .request(Method::PUT, "/v1/alerts")
        .send()
        .await
        .unwrap();
    assert_eq!(json_of(gone).await.0, 405);
    let nowhere = bench
        .request(Method::GET, "/v1/nowhere")
        .send()
        .await
        .unwrap();
    assert!(
        json_of(nowhere).await.1["error"]
            .as_str()
            .unwrap()
            .contains("openapi")
    );
}

/// Chunked, so that no length announces it; the answer must be read although the body is not.
#[actix_web::test]
async fn ten_mebibytes_without_a_length_are_413() {
    let bench = Bench::start().await;
    let address = bench.url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "POST /v1/alerts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer local-token\r\n\
                content-type: application/json\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    for _ in 0..160 {
        stream.write_all(&chunk).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(bench.log.lock().unwrap().requests.is_empty());
}

#[actix_web::test]
async fn a_source_is_named_by_its_secret_and_kept_to_its_rules() {
    let bench = Bench::start().await;
    let mut other = alert("b2");
    other["rule"] = json!("nmap");
    let both = json!([alert("b1"), other]);
    let (status, body) = json_of(bench.post("/v1/alerts", "siem-token", &both).await).await;
    assert_eq!((status, body["accepted"].clone()), (202, json!(["b1"])));
    assert!(
        body["rejected"][0]["error"]
            .as_str()
            .unwrap()
            .contains("siem may not")
    );

    let text = alert("c1").to_string();
    let signature = sign(&SecretString::from("shared"), "m1", "1", text.as_bytes());
    let signed = |signature: &str, body: &str| {
        bench
            .request(Method::POST, "/v1/alerts")
            .header("content-type", "application/json")
            .header("webhook-id", "m1")
            .header("webhook-timestamp", "1")
            .header("webhook-signature", signature)
            .body(body.to_owned())
            .send()
    };
    assert_eq!(signed(&signature, &text).await.unwrap().status(), 202);
    let forged = alert("c2").to_string();
    assert_eq!(signed(&signature, &forged).await.unwrap().status(), 401);
    let sources: Vec<_> = bench.log.lock().unwrap().requests.clone();
    assert_eq!(
        sources
            .iter()
            .map(|(source, n)| (source.as_str(), *n))
            .collect::<Vec<_>>(),
        [("siem", 1), ("signed", 1)]
    );
}

#[actix_web::test]
async fn a_webhook_that_can_never_be_accepted_is_quarantined_and_answered_2xx() {
    let bench = Bench::start().await;
    let mut sudo = alert("d1");
    sudo["rule"] = json!("SudoRoot");
    let body = json!({"alerts": [sudo, {"principal": "alice"}, alert("d2")]});
    let (status, answer) = json_of(
        bench
            .post("/v1/alerts/alertmanager", "am-token", &body)
            .await,
    )
    .await;
    assert_eq!((status, answer["accepted"].clone()), (202, json!(["d1"])));
    let malformed = bench
        .request(Method::POST, "/v1/alerts/alertmanager")
        .bearer_auth("am-token")
        .header("content-type", "application/json")
        .body("{{ .Alerts }}")
        .send()
        .await
        .unwrap();
    assert_eq!(malformed.status(), 202);
    let log = bench.log.lock().unwrap();
    let errors: Vec<_> = log
        .quarantined
        .iter()
        .map(|(_, error)| error.as_str())
        .collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[1].contains("may not send this rule"));
    assert!(
        log.quarantined[1].0.contains("\"alerts\":[{"),
        "replayable by itself"
    );
    assert_eq!(log.quarantined[2].0, "{{ .Alerts }}");
}
