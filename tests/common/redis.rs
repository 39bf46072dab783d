//! A real `redis-server` of the test's own. Without the program the test fails: what was not tried
//! must not count as passed.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::port::free_port;

/// Long enough for a loaded machine; a server usually answers within 50 ms.
const START_WITHIN: Duration = Duration::from_secs(20);

pub struct RedisServer {
    pub port: u16,
    dir: TempDir,
    settings: Vec<(String, String)>,
    /// A Sentinel's configuration; it rewrites its file.
    sentinel: Option<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// `appendonly yes`, `appendfsync always`, `noeviction`.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With further settings, which win over the usual ones; a value's words are divided by spaces.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_new(settings, None)
    }

    /// A Sentinel with these lines of configuration.
    pub fn start_sentinel(lines: &str) -> Self {
        Self::start_new(&[], Some(lines.to_owned()))
    }

    fn start_new(settings: &[(&str, &str)], sentinel: Option<String>) -> Self {
        let mut server = Self {
            port: 0,
            sentinel,
            dir: tempfile::tempdir().unwrap(),
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            child: None,
        };
        // Another process may take the port between asking for it and using it.
        for _ in 0..5 {
            server.port = free_port();
            if server.try_start() {
                return server;
            }
        }
        panic!("redis-server did not start:\n{}", server.log());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().map(Child::id).unwrap()
    }

    /// Ends it as a crash would.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Ends it in order: it writes what it has.
    pub fn stop(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
    }

    /// Freezes it: what is sent meanwhile waits in its sockets.
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let child = self.child.as_ref().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
    }

    /// Starts again on the same port and folder.
    pub fn restart(&mut self) {
        self.kill9();
        assert!(self.try_start(), "no restart:\n{}", self.log());
    }

    /// Ends as a crash would and is back, but reads what it knew one command a millisecond. It looks up from that
    /// every 1,024 commands only.
    pub fn restart_loading(&mut self) {
        let slowly = [
            ("key-load-delay", "1000"),
            ("loading-process-events-interval-bytes", "1024"),
        ];
        let usual = self.settings.len();
        let slowly = slowly.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.settings.extend(slowly);
        self.restart();
        self.settings.truncate(usual);
    }

    /// From now on it reads as fast as it can.
    pub fn load_fast(&self) {
        use std::io::{Read, Write};
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"CONFIG SET key-load-delay 0\r\n")?;
            let mut answer = [0; 100];
            let count = stream.read(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
        };
        let said = ask().unwrap();
        assert!(said.starts_with("+OK"), "{said}");
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn try_start(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        if let Some(lines) = &self.sentinel {
            let file = self.dir.path().join("sentinel.conf");
            std::fs::write(&file, lines).unwrap();
            command.arg(file).arg("--sentinel");
        } else {
            command
                .args(["--save", "", "--appendonly", "yes"])
                .args(["--appendfsync", "always"])
                .args(["--maxmemory-policy", "noeviction"]);
        }
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .arg("--dir")
            .arg(self.dir.path())
            .args(["--logfile", "log", "--daemonize", "no"]);
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).args(value.split(' '));
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("redis-server cannot be run ({e}): install it"));
        let until = Instant::now() + START_WITHIN;
        while Instant::now() < until {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            if self.answers() {
                self.child = Some(child);
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        false
    }

    /// It answers: that it is there, that it wants a password, or that it is slowly loading, as it was told to.
    fn answers(&self) -> bool {
        use std::io::{Read, Write};
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else {
            return false;
        };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let mut answer = [0u8; 7];
        stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && (answer.starts_with(b"+PONG")
                || answer.starts_with(b"-NOAUTH")
                || (answer.starts_with(b"-LOADIN") && self.loads_slowly()))
    }
}

impl RedisServer {
    fn loads_slowly(&self) -> bool {
        let mut names = self.settings.iter().map(|(name, _)| name);
        names.any(|name| name == "key-load-delay")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill9();
    }
}
