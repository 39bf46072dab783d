//! The operator pages in a real Chromium, wide and as a telephone: sign in, acknowledge, resolve, sign
//! out; nothing may scroll sideways, nothing may need a script.
#![allow(clippy::unwrap_used)] // no input from outside

mod http_support;

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use http_support::Bench;
use http_support::samples::{self, Sample};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;

/// Chromium starts within two on this machine; a busy one needs longer.
const START: Duration = Duration::from_secs(30);

struct Driver {
    process: Child,
    url: String,
    _profile: tempfile::TempDir,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The group, so that a failed test leaves no Chromium behind.
        if let Some(group) = rustix::process::Pid::from_raw(self.process.id() as i32) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

fn driver() -> Driver {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let process = Command::new("chromedriver")
        .arg(format!("--port={port}"))
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver is installed (apt: chromium-driver)");
    Driver {
        process,
        url: format!("http://127.0.0.1:{port}"),
        _profile: tempfile::tempdir().unwrap(),
    }
}

async fn browser(driver: &Driver, width: u32) -> Client {
    let options = json!({"goog:chromeOptions": {
        "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            format!("--user-data-dir={}", driver._profile.path().join(width.to_string()).display())],
        "mobileEmulation": {"deviceMetrics": {"width": width, "height": 740, "pixelRatio": 1.0}},
    }});
    let started = tokio::time::Instant::now();
    loop {
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(options.as_object().unwrap().clone());
        match builder.connect(&driver.url).await {
            Ok(client) => return client,
            Err(error) if started.elapsed() > START => panic!("chromedriver: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn click(client: &Client, button: &str) {
    let xpath = format!("//button[normalize-space()='{button}']");
    let button = client.wait().for_element(Locator::XPath(&xpath)).await;
    button.unwrap().click().await.unwrap();
}

async fn type_into(client: &Client, css: &str, text: &str) {
    let field = client.wait().for_element(Locator::Css(css)).await.unwrap();
    field.send_keys(text).await.unwrap();
}

async fn see(client: &Client, text: &str) {
    let xpath = format!("//main//*[contains(normalize-space(), '{text}')]");
    let found = client.wait().for_element(Locator::XPath(&xpath)).await;
    found.unwrap_or_else(|error| panic!("{text} does not appear: {error}"));
}

async fn fits(client: &Client, width: u32) {
    let script = "return document.documentElement.scrollWidth";
    let needed = client.execute(script, Vec::new()).await.unwrap();
    assert!(
        needed.as_u64().unwrap() <= u64::from(width),
        "{needed} does not fit {width}"
    );
}

#[actix_web::test]
async fn an_operator_takes_and_ends_a_page_with_a_browser_wide_and_narrow() {
    let driver = driver();
    for width in [1200, 360] {
        let bench = Bench::start().await;
        let long = "https://example.com/a-path-without-a-place-to-break-".repeat(3);
        let sample = Sample {
            state: "closed",
            outcome: Some("denied"),
            evidence: long.leak(),
            ..Sample::default()
        };
        let id = samples::case(&bench.store, 1, &sample);
        samples::escalation(&bench.store, id, "open", "critical", Some(id));
        let client = browser(&driver, width).await;

        client
            .goto(&format!("{}/cases/{id}", bench.url))
            .await
            .unwrap();
        type_into(&client, "#token", "sam-token").await;
        click(&client, "Sign in").await;
        see(&client, "sudo -i on web-3").await;
        fits(&client, width).await;
        click(&client, "Acknowledge").await;
        see(&client, "acknowledged by sam").await;
        type_into(&client, "#resolve-reason", "credentials rotated").await;
        click(&client, "Resolve").await;
        see(&client, "resolved by sam").await;
        client.goto(&bench.url).await.unwrap();
        see(&client, "Nothing is waiting for you.").await;
        fits(&client, width).await;
        let scripts = client.find_all(Locator::Css("script")).await.unwrap();
        assert!(scripts.is_empty());
        click(&client, "Sign out").await;
        client
            .wait()
            .for_element(Locator::Css("#token"))
            .await
            .unwrap();
        client.close().await.unwrap();
        let log = bench.log.lock().unwrap();
        assert_eq!(log.escalated.len(), 2, "one acknowledgement, one resolve");
    }
}
