//! The real binary as an operator runs it: a config file, a data folder, a port; started, killed and
//! started again. What it says of itself is asked through the API, what it did is known by the fakes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use super::port::free_port;

/// Longer than anything waited for takes on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Bot {
    dir: TempDir,
    port: u16,
    child: Option<Child>,
    client: Client,
}

/// Four people, short times: a question is over in seconds.
pub const PEOPLE: &str = r#"
[[employees]]
id = "alice"
name = "Alice"
email = "alice@example.com"
time_zone = "Europe/Berlin"

[[employees]]
id = "bob"
name = "Bob"
email = "bob@example.com"
time_zone = "America/New_York"

[[employees]]
id = "carol"
name = "Carol"
email = "carol@example.com"
time_zone = "Asia/Tokyo"

[[employees]]
id = "dave"
name = "Dave"
email = "dave@example.com"
time_zone = "UTC"
"#;

impl Bot {
    /// Starts with SQLite and the web chat; `config` is appended to the `[server]` section's file.
    pub async fn start(config: &str) -> Self {
        let bot = Self::prepare(config);
        bot.started().await
    }

    /// Everything but the process.
    pub fn prepare(config: &str) -> Self {
        let bot = Self {
            dir: TempDir::new().expect("a temporary folder"),
            port: free_port(),
            child: None,
            client: securitybot::plugins::http_client(),
        };
        bot.configure(config);
        bot
    }

    /// Writes the config file anew, under the same `[server]` section.
    pub fn configure(&self, config: &str) {
        let port = self.port;
        let mut text = String::new();
        let _ = write!(
            text,
            "[server]\nlisten = \"127.0.0.1:{port}\"\ndata_dir = {:?}\npublic_url = \"http://127.0.0.1:{port}\"\n\n{config}",
            self.data_dir()
        );
        std::fs::write(self.config_file(), text).expect("the config is written");
    }

    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    pub async fn started(mut self) -> Self {
        self.spawn();
        self.ready().await;
        self
    }

    pub fn spawn(&mut self) {
        self.spawn_with(&[]);
    }

    pub fn spawn_with(&mut self, env: &[(&str, &str)]) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .expect("the log opens");
        let child = Command::new(binary())
            .arg("--config")
            .arg(self.config_file())
            .current_dir(self.dir.path())
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        self.child = Some(child);
    }

    /// Waits until alerts are taken; fails with the log when the process ends before.
    pub async fn ready(&mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                panic!("the bot ended with {status}:\n{}", self.log());
            }
            let answer = self
                .client
                .get(format!("{}/readyz", self.url()))
                .send()
                .await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            assert!(Instant::now() < until, "not ready in time:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// How the process ended, if it did.
    pub fn exited(&mut self) -> Option<std::process::ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn token(&self) -> String {
        let token = std::fs::read_to_string(self.data_dir().join("token"));
        token
            .expect("the first start made a token")
            .trim()
            .to_owned()
    }

    /// `kill -9`, at whatever it is doing.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the process can be killed");
            child.wait().expect("the process ends");
        }
    }

    pub async fn kill9_and_restart(&mut self) {
        self.kill9();
        self.spawn();
        self.ready().await;
    }

    /// SIGTERM; the exit status of an orderly end.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        self.signal("TERM");
        self.child
            .take()
            .expect("running")
            .wait()
            .expect("the process ends")
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Runs a subcommand of the binary against this bot.
    pub fn cli(&self, args: &[&str]) -> std::process::Output {
        Command::new(binary())
            .arg("--config")
            .arg(self.config_file())
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .expect("the binary runs")
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        self.call_as(&self.token(), method, path, body).await
    }

    /// The same with somebody else's token.
    pub async fn call_as(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.url()))
            .bearer_auth(token)
            .timeout(PATIENCE);
        if let Some(body) = body {
            request = request.json(&body);
        }
        match request.send().await {
            Ok(answer) => {
                let status = answer.status();
                (status, answer.json().await.unwrap_or(Value::Null))
            }
            // A killed bot answers nothing: as good as a 503 to a producer.
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, Value::Null),
        }
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, None).await;
        assert!(status.is_success(), "GET {path}: {status} {body}");
        body
    }

    /// The sum of a metric's samples whose line begins with `name` and holds `label`.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        let request = self.client.get(format!("{}/metrics", self.url()));
        let Ok(answer) = request.bearer_auth(self.token()).send().await else {
            return 0.0;
        };
        let text = answer.text().await.unwrap_or_default();
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(Method::POST, path, Some(body)).await;
        assert!(status.is_success(), "POST {path}: {status} {answer}");
        answer
    }

    /// The cases that the filter (`employee=alice&state=asked`) finds, newest first.
    pub async fn cases(&self, filter: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v1/cases?limit=500&{filter}")).await;
        answer["cases"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until exactly one case of the filter passes, and gives it.
    pub async fn case_until(
        &self,
        filter: &str,
        what: &str,
        pass: impl Fn(&Value) -> bool,
    ) -> Value {
        self.until(what, async || {
            let cases = self.cases(filter).await;
            let mut passing = cases.into_iter().filter(|case| pass(case));
            let first = passing.next()?;
            assert!(passing.next().is_none(), "more than one case: {what}");
            Some(first)
        })
        .await
    }

    /// Looks again and again until there is something.
    pub async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(Instant::now() < until, "in vain: {what}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the bot's log\n{}", self.log());
        }
    }
}

/// The binary under test; `BOT_UNDER_TEST` names another one, a deliberately broken one for instance.
fn binary() -> PathBuf {
    let other = std::env::var_os("BOT_UNDER_TEST");
    other.map_or_else(|| env!("CARGO_BIN_EXE_securitybot").into(), PathBuf::from)
}
