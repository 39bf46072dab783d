//! A recording HTTP server: what a pager or sink really sent is judged from here, never from what the
//! product says. It can refuse, hang, ask to wait, and cut the connection.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use securitybot::clock::Clock;
use securitybot::core::time::Timestamp;

/// Where a 3xx points; it always answers 200.
const REDIRECTED_TO: &str = "/elsewhere";

#[derive(Clone, Debug)]
pub enum Mode {
    Ok,
    /// 200 with this JSON.
    Json(String),
    Status(u16),
    /// 429 with `Retry-After: {0}`.
    RetryAfter(u64),
    /// Reads the request and never answers.
    Hang,
    /// Reads the request and closes the connection.
    Cut,
}

#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub at: Timestamp,
}

impl Recorded {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the request's body is JSON")
    }
}

struct Shared {
    clock: Clock,
    mode: Mutex<Mode>,
    requests: Mutex<Vec<Recorded>>,
    arrived: Condvar,
    hanging: Mutex<Vec<TcpStream>>,
}

pub struct FakeHttp {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl FakeHttp {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::new(Shared {
            clock: Clock::system(),
            mode: Mutex::new(Mode::Ok),
            requests: Mutex::default(),
            arrived: Condvar::new(),
            hanging: Mutex::default(),
        });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&theirs);
                thread::spawn(move || {
                    let _ = serve(stream, &shared);
                });
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Waits until that many requests have come in all.
    pub fn wait_for(&self, count: usize, patience: Duration) -> Vec<Recorded> {
        let requests = self.shared.requests.lock().unwrap();
        let (requests, timed_out) = self
            .shared
            .arrived
            .wait_timeout_while(requests, patience, |requests| requests.len() < count)
            .unwrap();
        assert!(
            !timed_out.timed_out(),
            "{} of {count} requests came within {patience:?}",
            requests.len()
        );
        requests.clone()
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    let mut output = stream;
    let mut line = String::new();
    input.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next(), words.next());
    let (Some(method), Some(path)) = (method.map(str::to_owned), path.map(str::to_owned)) else {
        return Ok(());
    };
    let mut headers = Vec::new();
    loop {
        line.clear();
        input.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            None => break,
        }
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    let mode = if path == REDIRECTED_TO {
        Mode::Ok
    } else {
        shared.mode.lock().unwrap().clone()
    };
    shared.requests.lock().unwrap().push(Recorded {
        method,
        path,
        headers,
        body,
        at: shared.clock.now(),
    });
    shared.arrived.notify_all();
    let (status, extra, answer) = match mode {
        Mode::Ok => (200, String::new(), String::new()),
        Mode::Json(json) => (200, "content-type: application/json\r\n".to_owned(), json),
        Mode::Status(status @ 300..=399) => {
            let location = format!("location: {REDIRECTED_TO}\r\n");
            (status, location, String::new())
        }
        Mode::Status(status) => (status, String::new(), "{\"error\":\"as told\"}".to_owned()),
        Mode::RetryAfter(seconds) => (429, format!("retry-after: {seconds}\r\n"), String::new()),
        Mode::Hang => {
            shared.hanging.lock().unwrap().push(output);
            return Ok(());
        }
        Mode::Cut => return Ok(()),
    };
    write!(
        output,
        "HTTP/1.1 {status} Told\r\ncontent-length: {}\r\nconnection: close\r\n{extra}\r\n{answer}",
        answer.len()
    )
}
