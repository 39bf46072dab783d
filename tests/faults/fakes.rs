//! The other sides: pager and sink that keep the truth of what reached them, and can refuse, ask to
//! wait, hang, and cut the line before or after they have taken what was sent.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::history::{History, What};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Ok,
    Status(u16),
    RetryAfter(u64),
    Hang,
    CutBefore,
    CutAfter,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Pager,
    Sink,
}

struct Shared {
    kind: Kind,
    history: History,
    mode: Mutex<Mode>,
    delay: Duration,
    at_work: AtomicUsize,
    hanging: Mutex<Vec<TcpStream>>,
}

#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Receiver {
    /// Takes its time (`delay`) with each request, so that a crash finds some under way.
    pub fn start(kind: Kind, history: &History, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::new(Shared {
            kind,
            history: history.clone(),
            mode: Mutex::new(Mode::Ok),
            delay,
            at_work: AtomicUsize::new(0),
            hanging: Mutex::default(),
        });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&theirs);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
        if mode != Mode::Hang {
            self.shared.hanging.lock().unwrap().clear();
        }
    }

    /// Requests that have arrived and are not answered yet.
    pub fn at_work(&self) -> usize {
        self.shared.at_work.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    let (id, body) = request(&mut input)?;
    shared.at_work.fetch_add(1, Ordering::SeqCst);
    let done = answer(stream, shared, id, &body);
    shared.at_work.fetch_sub(1, Ordering::SeqCst);
    done
}

fn answer(mut output: TcpStream, shared: &Shared, id: String, body: &[u8]) -> io::Result<()> {
    thread::sleep(shared.delay);
    let mode = *shared.mode.lock().unwrap();
    let applied = matches!(mode, Mode::Ok | Mode::CutAfter);
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    // Before the answer leaves: what the sender knows is then in the history already.
    shared.history.note(match shared.kind {
        Kind::Pager => What::Page {
            id: id.clone(),
            applied,
            body,
        },
        Kind::Sink => What::Record {
            id: id.clone(),
            applied,
            body,
        },
    });
    let (status, extra) = match mode {
        Mode::Ok => (200, String::new()),
        Mode::Status(status) => (status, String::new()),
        Mode::RetryAfter(seconds) => {
            shared.history.note(What::AskedToWait { id, seconds });
            (429, format!("retry-after: {seconds}\r\n"))
        }
        Mode::Hang => {
            shared.hanging.lock().unwrap().push(output);
            return Ok(());
        }
        Mode::CutBefore | Mode::CutAfter => return Ok(()),
    };
    write!(
        output,
        "HTTP/1.1 {status} Told\r\ncontent-length: 0\r\nconnection: close\r\n{extra}\r\n"
    )
}

/// The `webhook-id` and the body.
fn request(input: &mut impl BufRead) -> io::Result<(String, Vec<u8>)> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let (mut length, mut id) = (0, String::new());
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "webhook-id" => id = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    Ok((id, body))
}
