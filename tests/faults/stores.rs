//! The two stores as things that can be hurt: a database file on a small disk, a Redis behind a wire.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::kit::crew;
use super::proxy::Proxy;
use crate::common::redis::RedisServer;

pub enum Place {
    Sqlite(Disk),
    Redis { server: RedisServer, proxy: Proxy },
}

impl Place {
    pub fn new(kind: &str) -> Self {
        match kind {
            "sqlite" => Self::Sqlite(Disk::mount()),
            "redis" => {
                let server = RedisServer::start_with(&[("enable-protected-configs", "yes")]);
                fill(&server);
                let proxy = Proxy::start(server.port);
                Self::Redis { server, proxy }
            }
            other => panic!("FAULTS_STORE={other}: expected sqlite or redis"),
        }
    }

    /// The config's store section, and where `data_dir` must be.
    pub fn config(&self) -> (String, Option<PathBuf>) {
        match self {
            Self::Sqlite(disk) => (crew::sqlite(), Some(disk.path.join("data"))),
            Self::Redis { proxy, .. } => (crew::redis(&proxy.url()), None),
        }
    }
}

/// Loading slowly takes as many milliseconds as Redis has to read commands.
pub const LOADS_FOR: Duration = Duration::from_millis(6_000);

/// Commands for Redis to read at its next start, in a database that nobody uses.
fn fill(server: &RedisServer) {
    let mut commands = String::from("SELECT 5\r\n");
    for nth in 0..LOADS_FOR.as_millis() {
        commands.push_str(&format!("SET {nth} filler\r\n"));
    }
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("Redis is there");
    stream.write_all(commands.as_bytes()).expect("written");
    stream.write_all(b"QUIT\r\n").expect("written");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("answers");
    assert!(!answers.contains("-ERR"), "{answers}");
}

/// A small file system of its own, so that it can be filled.
pub struct Disk {
    pub path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Disk {
    pub fn mount() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().to_owned();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256m", "faults"])
            .arg(&path)
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "a small disk cannot be mounted: run as root, or under `unshare -rm`"
        );
        Self {
            path,
            _folder: folder,
        }
    }

    /// Takes all space there is.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.path.join("ballast")).expect("a file");
        let block = vec![0u8; 64 * 1024];
        while file.write_all(&block).is_ok() {}
        for _ in 0..64 {
            if file.write_all(&[0u8; 1024]).is_err() {
                break;
            }
        }
    }

    pub fn free(&self) {
        let _ = std::fs::remove_file(self.path.join("ballast"));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a file may still be open for a moment.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// One command to Redis itself, past the proxy; its answer.
pub fn tell(server: &RedisServer, command: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answer = [0; 1024];
        let count = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
    };
    ask().unwrap_or_else(|error| error.to_string())
}

/// With a password that was set meanwhile.
pub fn tell_as(server: &RedisServer, password: &str, command: &str) -> String {
    tell(server, &format!("AUTH {password}\r\n{command}"))
}

/// Resident memory of a process in KiB.
pub fn memory_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// How often each window was passed, from the file that the bot writes.
pub fn hits(file: &Path) -> std::collections::BTreeMap<String, u64> {
    let mut hits = std::collections::BTreeMap::new();
    for line in std::fs::read_to_string(file).unwrap_or_default().lines() {
        *hits.entry(line.to_owned()).or_insert(0) += 1;
    }
    hits
}
