//! The real programs: the bot on either store, Redis, Alertmanager. Each in a folder and on ports of its own, ended by
//! its process.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::{Conn, request};

const START_WITHIN: Duration = Duration::from_secs(120);

pub fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

/// A folder on the disk that the project lies on: /tmp may be memory, where an fsync costs nothing.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A running program; it ends with this value.
pub struct Process {
    child: Child,
}

impl Process {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// User and system time so far.
    pub fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        let mut ticks = after_name.split_whitespace().skip(11);
        let mut next = || ticks.next().unwrap().parse::<f64>().unwrap();
        (next() + next()) / 100.0
    }

    pub fn resident_bytes(&self) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.pid())).unwrap();
        let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    }

    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

fn wait_for_port(port: u16, what: &str) {
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begin.elapsed() < START_WITHIN, "{what} did not start");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub struct Redis {
    pub port: u16,
    pub process: Process,
    _folder: TempDir,
}

impl Redis {
    pub fn start(appendfsync: &str) -> Self {
        let (folder, port) = (folder(), free_port());
        let mut command = Command::new("redis-server");
        command.current_dir(folder.path()).args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            appendfsync,
            // What README recommends.
            "--rdbcompression",
            "no",
            "--auto-aof-rewrite-min-size",
            "256mb",
        ]);
        let process = Process::start(&mut command, &folder.path().join("log"));
        wait_for_port(port, "redis-server");
        Self {
            port,
            process,
            _folder: folder,
        }
    }

    pub fn used_bytes(&self) -> u64 {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string(), "info", "memory"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or(0)
    }
}

/// Which store a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Everysec,
    Always,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Everysec => "Redis everysec",
            Self::Always => "Redis always",
        }
    }
}

/// The bot as it is shipped, with many employees and a file sink; everything else is default.
pub struct Bot {
    pub port: u16,
    pub token: String,
    pub process: Process,
    pub redis: Option<Redis>,
    folder: TempDir,
}

impl Bot {
    pub async fn start(kind: Kind, employees: u64) -> Self {
        let (folder, port) = (folder(), free_port());
        let redis = match kind {
            Kind::Sqlite => None,
            Kind::Everysec => Some(Redis::start("everysec")),
            Kind::Always => Some(Redis::start("always")),
        };
        let store = match &redis {
            None => "kind = \"sqlite\"".to_owned(),
            Some(redis) => format!(
                "kind = \"redis\"\nurl = \"redis://127.0.0.1:{}/0\"",
                redis.port
            ),
        };
        let mut config = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"http://127.0.0.1:{port}\"\n\
             [store]\n{store}\n[[sinks]]\nname = \"answers\"\nkind = \"jsonl\"\npath = \"answers.jsonl\"\n"
        );
        for n in 0..employees {
            config.push_str(&format!("[[employees]]\nid = \"e{n}\"\nname = \"E {n}\"\n"));
        }
        fs::write(folder.path().join("config.toml"), config).unwrap();
        let process = spawn(folder.path());
        let mut bot = Self {
            port,
            token: String::new(),
            process,
            redis,
            folder,
        };
        bot.ready().await;
        let token = fs::read_to_string(bot.folder.path().join("data/token")).unwrap();
        bot.token = token.trim().to_owned();
        bot
    }

    async fn ready(&self) {
        let begin = Instant::now();
        let probe = request("GET", "/readyz", "", "");
        loop {
            assert!(
                begin.elapsed() < START_WITHIN,
                "the bot did not start:\n{}",
                self.log()
            );
            if let Ok(mut conn) = Conn::to(self.port).await
                && conn
                    .ask(&probe)
                    .await
                    .is_ok_and(|answer| answer.status == 200)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn sink(&self) -> PathBuf {
        self.folder.path().join("answers.jsonl")
    }

    /// `kill -9`, and the time from the new start until `readyz` says 200.
    pub async fn crash(&mut self) -> Duration {
        self.process.kill9();
        let begin = Instant::now();
        self.process = spawn(self.folder.path());
        self.ready().await;
        begin.elapsed()
    }

    pub fn auth(&self) -> String {
        format!(
            "Authorization: Bearer {}\r\nContent-Type: application/json\r\n",
            self.token
        )
    }

    pub async fn conn(&self) -> Conn {
        Conn::to(self.port).await.unwrap()
    }

    /// The sum of a metric's values over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let answer = self
            .conn()
            .await
            .ask(&request("GET", "/metrics", &self.auth(), ""))
            .await;
        let text = answer.unwrap().text();
        text.lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until every accepted alert has been taken and every message sent; how long that took.
    pub async fn drain(&self) -> Duration {
        let begin = Instant::now();
        let mut still = 0;
        while still < 3 {
            let left = self.metric("securitybot_intake_backlog").await
                + self.metric("securitybot_chat_waiting").await;
            still = if left == 0.0 { still + 1 } else { 0 };
            if begin.elapsed() > Duration::from_secs(300) {
                eprintln!("  gave up waiting for the backlog of {left}");
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        begin.elapsed()
    }

    pub fn redis_cpu(&self) -> f64 {
        self.redis.as_ref().map_or(0.0, |redis| redis.process.cpu())
    }
}

fn spawn(folder: &Path) -> Process {
    // An earlier build, to compare with.
    let program = std::env::var_os("SECURITYBOT_BIN");
    let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_securitybot").into());
    let mut command = Command::new(program);
    command.current_dir(folder);
    Process::start(&mut command, &folder.join("log"))
}

/// Debian's Alertmanager with a webhook receiver that answers 200 at once, or with none that anything is sent to.
pub struct Alertmanager {
    pub port: u16,
    pub process: Process,
    _folder: TempDir,
}

impl Alertmanager {
    /// `None` where it is not installed.
    pub fn start(webhook: Option<u16>) -> Option<Self> {
        let (folder, port) = (folder(), free_port());
        let receiver = webhook.map_or_else(String::new, |port| {
            format!(
                "  webhook_configs:\n  - url: http://127.0.0.1:{port}/\n    send_resolved: false\n"
            )
        });
        let config = format!(
            "route:\n  receiver: r\n  group_by: ['...']\n  group_wait: 0s\n  group_interval: 1m\nreceivers:\n- name: r\n{receiver}"
        );
        fs::write(folder.path().join("am.yml"), config).unwrap();
        let program = "prometheus-alertmanager";
        Command::new(program).arg("--version").output().ok()?;
        let mut command = Command::new(program);
        command.current_dir(folder.path()).args([
            "--config.file=am.yml",
            "--storage.path=data",
            "--cluster.listen-address=",
            &format!("--web.listen-address=127.0.0.1:{port}"),
        ]);
        let process = Process::start(&mut command, &folder.path().join("log"));
        wait_for_port(port, program);
        Some(Self {
            port,
            process,
            _folder: folder,
        })
    }
}
