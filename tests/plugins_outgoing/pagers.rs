//! The log, signed webhook and PagerDuty pagers.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use securitybot::core::ids::OperatorName;
use securitybot::plugins::Health;
use securitybot::plugins::outgoing::{http_client, http_client_with};
use securitybot::plugins::pagers::log::LogPager;
use securitybot::plugins::pagers::pagerduty::PagerDutyPager;
use securitybot::plugins::pagers::webhook::WebhookPager;
use securitybot::plugins::pagers::{Pager, PagerError};
use serde_json::json;

use crate::common::fake_http::{FakeHttp, Mode};
use crate::{AT, fixed_clock, page, secret};

fn sam() -> OperatorName {
    OperatorName::new("sam")
}

fn webhook_pager(server: &FakeHttp, patience: Duration) -> WebhookPager {
    let url = format!("{}/page", server.url());
    WebhookPager::new(
        "hook",
        url,
        secret(),
        http_client_with(patience),
        fixed_clock().0,
    )
}

#[tokio::test]
async fn a_webhook_page_is_the_contracts_json_under_a_signature_that_verifies() {
    let server = FakeHttp::start();
    let pager = webhook_pager(&server, Duration::from_secs(5));
    let page = page(1, 2);
    pager.page(&page).await.unwrap();
    pager.acknowledge(&page, &sam()).await.unwrap();
    pager.resolve(&page, &sam(), "false alarm").await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 1, "the contract knows pages only");
    let request = &requests[0];
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/page")
    );
    assert_eq!(request.header("webhook-id"), format!("{}.2", page.key));
    let verdict = secret().verify(
        request.header("webhook-id"),
        request.header("webhook-timestamp"),
        request.header("webhook-signature"),
        &request.body,
        AT,
    );
    assert_eq!(verdict, Ok(()));
    let body = request.json();
    assert_eq!(body["type"], "page");
    assert_eq!((&body["kind"], &body["level"]), (&json!("case"), &json!(1)));
    assert_eq!((&body["round"], &body["repeat"]), (&json!(1), &json!(2)));
    assert_eq!(
        (&body["urgency"], &body["key"]),
        (&json!("high"), &json!(page.key))
    );
    assert_eq!(body["case"]["outcome"], "denied");
    assert_eq!(body["related"], json!([]));
    assert!(body["summary"].is_string() && body["url"].is_string());
}

#[tokio::test]
async fn only_a_2xx_is_a_delivery() {
    let server = FakeHttp::start();
    let pager = webhook_pager(&server, Duration::from_millis(300));
    for mode in [
        Mode::Status(302),
        Mode::Status(404),
        Mode::Status(500),
        Mode::Cut,
        Mode::Hang,
    ] {
        server.set(mode.clone());
        let result = pager.page(&page(1, 0)).await;
        assert!(
            matches!(result, Err(PagerError::Unavailable(_))),
            "{mode:?}: {result:?}"
        );
        assert!(
            matches!(pager.health().await, Health::Degraded(_)),
            "{mode:?}"
        );
    }
    server.set(Mode::RetryAfter(7));
    let asked = pager.page(&page(1, 0)).await;
    assert_eq!(asked, Err(PagerError::RateLimited(Duration::from_secs(7))));
    server.set(Mode::Status(204));
    assert_eq!(pager.page(&page(1, 0)).await, Ok(()));
    assert_eq!(pager.health().await, Health::Good);
}

#[tokio::test]
async fn a_failed_tls_handshake_is_an_error_that_does_not_show_the_url() {
    let server = FakeHttp::start();
    let address = server.url().replace("http://", "https://user:hunter2@");
    let url = format!("{address}/token-abc");
    let pager = WebhookPager::new("hook", url, secret(), http_client(), fixed_clock().0);
    let text = pager.page(&page(1, 0)).await.unwrap_err().to_string();
    assert!(
        !text.contains("hunter2") && !text.contains("token-abc"),
        "{text}"
    );
}

#[tokio::test]
async fn pagerduty_gets_one_incident_per_key_and_hears_of_its_end() {
    let server = FakeHttp::start();
    let key = SecretString::from("R0UTING");
    let pager = PagerDutyPager::new("pd", &server.url(), key, http_client());
    let page = page(2, 0);
    server.set(Mode::Status(202));
    pager.page(&page).await.unwrap();
    pager.acknowledge(&page, &sam()).await.unwrap();
    pager.resolve(&page, &sam(), "done").await.unwrap();
    let sent: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.json())
        .collect();
    for (event, action) in sent.iter().zip(["trigger", "acknowledge", "resolve"]) {
        assert_eq!(event["event_action"], action);
        assert_eq!(
            (&event["dedup_key"], &event["routing_key"]),
            (&json!(page.key), &json!("R0UTING"))
        );
    }
    assert_eq!(server.requests()[0].path, "/v2/enqueue");
    let payload = &sent[0]["payload"];
    assert_eq!(
        (&payload["severity"], &payload["component"]),
        (&json!("error"), &json!("sudo"))
    );
    assert_eq!(
        (&payload["source"], &payload["class"]),
        (&json!("securitybot"), &json!("case"))
    );

    server.set(Mode::Status(400));
    assert!(matches!(
        pager.page(&page).await,
        Err(PagerError::Refused(_))
    ));
    server.set(Mode::Status(500));
    assert!(matches!(
        pager.page(&page).await,
        Err(PagerError::Unavailable(_))
    ));
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_page_in_the_log_is_one_line_that_nobody_can_forge() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let mut page = page(1, 0);
    page.summary = "K7Q2M alice denied: x\n2026 ERROR forged\u{1b}[31m\u{202e}".to_owned();
    LogPager::new("log").page(&page).await.unwrap();
    drop(guard);
    let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in [
        "ERROR",
        "PAGE [high]",
        "K7Q2M alice denied",
        "level 1",
        page.url.as_str(),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
}
