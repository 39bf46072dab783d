//! A real Chromium in front of the real pages, and a picture of each page that a person can look at
//! afterwards (`target/screenshots`).
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::common::bot::PATIENCE;
use crate::common::port::free_port;

pub const WIDE: u32 = 1280;
pub const PHONE: u32 = 360;
/// What a thumb can hit.
const LEAST_HEIGHT: f64 = 40.0;
const TAB: &str = "\u{E004}";
pub const ENTER: &str = "\u{E007}";

/// chromedriver with its Chromium; both end with it.
struct Driver {
    process: Child,
    port: u16,
    profile: tempfile::TempDir,
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

/// One browser with a profile of its own.
pub struct Browser {
    pub client: Client,
    width: u32,
    _driver: Driver,
}

impl Browser {
    pub async fn start(width: u32) -> Self {
        Self::start_with(width, json!({})).await
    }

    /// As somebody who has switched scripts off.
    pub async fn without_scripts(width: u32) -> Self {
        Self::start_with(
            width,
            json!({"profile.managed_default_content_settings.javascript": 2}),
        )
        .await
    }

    async fn start_with(width: u32, prefs: Value) -> Self {
        let port = free_port();
        let process = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed (apt: chromium-driver)");
        let driver = Driver {
            process,
            port,
            profile: tempfile::tempdir().expect("a profile"),
        };
        let profile = format!("--user-data-dir={}", driver.profile.path().display());
        let mut options = json!({
            "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-dev-shm-usage", "--force-device-scale-factor=1", "--window-size=1280,900", profile],
            "prefs": prefs,
        });
        if width < 500 {
            // A desktop window cannot be that narrow.
            options["mobileEmulation"] =
                json!({"deviceMetrics": {"width": width, "height": 740, "pixelRatio": 1.0}});
        }
        let wanted = json!({"goog:chromeOptions": options});
        let until = Instant::now() + PATIENCE;
        let client = loop {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(wanted.as_object().expect("an object").clone());
            let url = format!("http://127.0.0.1:{}", driver.port);
            match tokio::time::timeout(PATIENCE, builder.connect(&url)).await {
                Ok(Ok(client)) => break client,
                Ok(Err(error)) if Instant::now() > until => panic!("chromedriver: {error}"),
                Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(_) => panic!("chromedriver does not answer"),
            }
        };
        Self {
            client,
            width,
            _driver: driver,
        }
    }

    pub async fn open(&self, url: &str) {
        let opened = tokio::time::timeout(PATIENCE, self.client.goto(url)).await;
        let opened = opened.unwrap_or_else(|_| panic!("{url} does not open"));
        opened.expect("the page opens");
    }

    pub async fn run(&self, script: &str) -> Value {
        let ran = self.client.execute(script, Vec::new()).await;
        ran.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Waits until the script's value is true.
    pub async fn until(&self, what: &str, script: &str) {
        let until = Instant::now() + PATIENCE;
        // While a page is being replaced there is nothing to ask.
        while !matches!(
            self.client.execute(script, Vec::new()).await,
            Ok(Value::Bool(true))
        ) {
            if Instant::now() > until {
                self.shot("failed").await;
                panic!("in vain: {what}\n{}", self.text().await);
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// What a reader of the page sees.
    pub async fn text(&self) -> String {
        let body = self.client.find(Locator::Css("body")).await;
        let text = body.expect("a page").text().await;
        text.unwrap_or_default()
    }

    pub async fn sees(&self, text: &str) {
        let script = format!("return document.body.innerText.includes({})", json!(text));
        self.until(text, &script).await;
    }

    pub async fn click(&self, button: &str) {
        let xpath = format!("//button[starts-with(normalize-space(), '{button}')]");
        let found = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::XPath(&xpath))
            .await;
        let found = found.unwrap_or_else(|error| panic!("no button {button}: {error}"));
        // A thumb scrolls what the message box covers; WebDriver takes it for visible.
        let script = "arguments[0].scrollIntoView({block: 'center'})";
        let element = serde_json::to_value(&found).expect("an element");
        let scrolled = self.client.execute(script, vec![element]).await;
        scrolled.expect("it scrolls");
        found.click().await.expect("it can be clicked");
    }

    pub async fn fill(&self, css: &str, text: &str) {
        let field = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::Css(css))
            .await;
        let field = field.unwrap_or_else(|error| panic!("no field {css}: {error}"));
        field.send_keys(text).await.expect("it can be typed into");
    }

    /// A key or text, to whatever has the focus.
    pub async fn press(&self, keys: &str) {
        let focused = self.client.active_element().await.expect("a focus");
        focused.send_keys(keys).await.expect("the keyboard works");
    }

    /// Tab until the element has the focus, as somebody without a mouse does it.
    pub async fn tab_to(&self, css: &str) {
        let script = format!(
            "return document.activeElement === document.querySelector({})",
            json!(css)
        );
        for _ in 0..40 {
            if self.run(&script).await == Value::Bool(true) {
                return;
            }
            self.press(TAB).await;
        }
        panic!("the keyboard does not reach {css}");
    }

    /// Keeps a picture, and holds the page to what every page must do.
    pub async fn look(&self, name: &str) {
        self.fits().await;
        self.shot(name).await;
    }

    async fn shot(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        if let Ok(picture) = self.client.screenshot().await {
            let file = folder.join(format!("{name}-{}.png", self.width));
            std::fs::write(file, picture).expect("the picture is written");
        }
    }

    /// No sideways scrolling; on a phone every control can be hit by a thumb.
    async fn fits(&self) {
        let needed = self
            .run("return document.documentElement.scrollWidth")
            .await;
        let needed = needed.as_u64().expect("a width");
        assert!(needed <= u64::from(self.width), "{needed} px do not fit");
        if self.width > PHONE {
            return;
        }
        let controls = self
            .run(
                "return [...document.querySelectorAll('button, a.button, input:not([type=hidden]):not([type=checkbox]), select, textarea, nav a')]
                   .filter((one) => one.offsetParent !== null)
                   .map((one) => [one.outerHTML.slice(0, 120), one.getBoundingClientRect().height])",
            )
            .await;
        for control in controls.as_array().expect("a list") {
            let height = control[1].as_f64().unwrap_or_default();
            assert!(height >= LEAST_HEIGHT, "only {height} px high: {control}");
        }
    }

    pub async fn close(self) {
        self.client.close().await.expect("the browser closes");
    }
}
