//! A real prometheus-alertmanager of the test's own: free loopback port, temporary folder, ended by its
//! process id. A test whose Alertmanager is missing fails and says what to install.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::port::free_port;

const BINARY: &str = "prometheus-alertmanager";
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Alertmanager {
    child: Child,
    url: String,
    client: reqwest::Client,
    _folder: TempDir,
}

impl Alertmanager {
    /// Starts one that notifies `webhook_url` of everything, without waiting to group.
    pub async fn start(webhook_url: &str) -> Self {
        Self::start_with(webhook_url, "anonymous").await
    }

    /// The same, with a bearer token for the webhook.
    pub async fn start_with(webhook_url: &str, token: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("alertmanager.yml");
        std::fs::write(
            &config,
            format!(
                "route:\n  receiver: bot\n  group_by: ['...']\n  group_wait: 0s\n  group_interval: 1s\n  \
                 repeat_interval: 1h\nreceivers:\n- name: bot\n  webhook_configs:\n  - url: {webhook_url}\n    \
                 send_resolved: true\n    http_config:\n      authorization:\n        credentials: {token}\n"
            ),
        )
        .expect("the config can be written");
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let child = Command::new(BINARY)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{BINARY} cannot be started ({error}): apt-get install prometheus-alertmanager"
                )
            });
        let server = Self {
            child,
            url,
            client: securitybot::plugins::http_client(),
            _folder: folder,
        };
        let ready = format!("{}/-/ready", server.url);
        let deadline = Instant::now() + PATIENCE;
        while !matches!(server.client.get(&ready).send().await, Ok(answer) if answer.status().is_success())
        {
            assert!(
                Instant::now() < deadline,
                "{BINARY} is not ready after {PATIENCE:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Fires alerts as Prometheus does (`POST /api/v2/alerts`).
    pub async fn fire(&self, alerts: &Value) {
        let request = self.client.post(format!("{}/api/v2/alerts", self.url));
        let answer = request
            .json(alerts)
            .send()
            .await
            .expect("Alertmanager answers");
        assert!(answer.status().is_success(), "{:?}", answer.text().await);
    }

    /// What fires now.
    pub async fn alerts(&self) -> Vec<Value> {
        let request = self.client.get(format!("{}/api/v2/alerts", self.url));
        let answer = request.send().await.expect("Alertmanager answers");
        answer.json().await.expect("a list of alerts")
    }

    /// Waits until what fires satisfies `wanted`.
    pub async fn until(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let alerts = self.alerts().await;
            if wanted(&alerts) {
                return alerts;
            }
            assert!(
                Instant::now() < deadline,
                "not after {PATIENCE:?}: {what}, but {alerts:#?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
