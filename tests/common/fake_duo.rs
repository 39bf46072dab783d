//! Duo's Auth API as far as the bot and Duo's own Python client use it. Every request must be signed
//! (canonical form 2 or 5, HMAC-SHA512), with code of its own: a wrong signature is answered as Duo does.
//! Judged from here is what really reached a phone.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

pub const IKEY: &str = "DIWJ8X6AEYOR5OMC6TQ1";
pub const SKEY: &str = "Zh5eGmUq9zpfQnyUIu5OL9iWoMMv5ZNmk3zLJ4Ep";
/// How long a status request is held back when nothing happens; Duo takes a minute.
const LONG_POLL: Duration = Duration::from_millis(300);

/// What stands on a phone.
#[derive(Clone, Debug, Default)]
pub struct Push {
    pub user: String,
    /// As shown: `pushinfo`, decoded.
    pub info: Vec<(String, String)>,
    /// result and status, once somebody has answered.
    answer: Option<(&'static str, &'static str)>,
}

#[derive(Default)]
struct State {
    /// What `/preauth` says; empty: `auth`.
    preauth: String,
    down: bool,
    pushes: Vec<Push>,
    refused: usize,
}

pub struct FakeDuo {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl FakeDuo {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let theirs = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = theirs.clone();
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn preauth_says(&self, result: &str) {
        self.state.0.lock().unwrap().preauth = result.to_owned();
    }

    pub fn is_down(&self, down: bool) {
        self.state.0.lock().unwrap().down = down;
    }

    pub fn pushes(&self) -> Vec<Push> {
        self.state.0.lock().unwrap().pushes.clone()
    }

    /// Requests with a bad signature.
    pub fn refused(&self) -> usize {
        self.state.0.lock().unwrap().refused
    }

    /// Somebody answers the newest push: `("allow", "allow")`, `("deny", "fraud")` ...
    pub fn answer(&self, result: &'static str, status: &'static str) {
        let mut state = self.state.0.lock().unwrap();
        state.pushes.last_mut().unwrap().answer = Some((result, status));
        self.state.1.notify_all();
    }

    pub fn wait_for_pushes(&self, count: usize, patience: Duration) -> Vec<Push> {
        let state = self.state.0.lock().unwrap();
        let enough = |state: &mut State| state.pushes.len() < count;
        let waited = self.state.1.wait_timeout_while(state, patience, enough);
        let pushes = waited.unwrap().0.pushes.clone();
        assert!(pushes.len() >= count, "{} of {count} pushes", pushes.len());
        pushes
    }
}

fn serve(stream: TcpStream, state: &(Mutex<State>, Condvar)) {
    let mut input = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    let _ = input.read_line(&mut line);
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let [method, target, ..] = words.as_slice() else {
        return;
    };
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        let _ = input.read_line(&mut line);
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let _ = input.read_exact(&mut body);
    let body = String::from_utf8(body).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (status, answer) = answer(method, path, query, &headers, &body, state);
    let answer = answer.to_string();
    let mut output = stream;
    let _ = write!(
        output,
        "HTTP/1.1 {status} Duo\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
        answer.len()
    );
}

fn answer(
    method: &str,
    path: &str,
    query: &str,
    headers: &BTreeMap<String, String>,
    body: &str,
    state: &(Mutex<State>, Condvar),
) -> (u16, Value) {
    if state.0.lock().unwrap().down {
        return (
            500,
            json!({"stat": "FAIL", "code": 50000, "message": "down"}),
        );
    }
    let is_json = headers
        .get("content-type")
        .is_some_and(|t| t.contains("json"));
    let parameters: BTreeMap<String, String> = if is_json {
        serde_json::from_str(body).unwrap_or_default()
    } else {
        let form = if method == "POST" { body } else { query };
        url::form_urlencoded::parse(form.as_bytes())
            .into_owned()
            .collect()
    };
    if path != "/auth/v2/ping" && !is_signed(method, path, headers, body, is_json, &parameters) {
        state.0.lock().unwrap().refused += 1;
        return (
            401,
            json!({"stat": "FAIL", "code": 40103, "message": "Invalid signature in request credentials"}),
        );
    }
    let ok = |response: Value| (200, json!({"stat": "OK", "response": response}));
    let given = |name: &str| parameters.get(name).cloned().unwrap_or_default();
    match path {
        "/auth/v2/ping" | "/auth/v2/check" => ok(json!({"time": 1_763_950_000})),
        "/auth/v2/preauth" => {
            let result = state.0.lock().unwrap().preauth.clone();
            let result = if result.is_empty() { "auth" } else { &result };
            let phone = json!({"device": "DPFZRS9FB0D46QFTM891", "type": "phone", "capabilities": ["auto", "push"]});
            ok(json!({"result": result, "status_msg": "as told", "devices": [phone]}))
        }
        "/auth/v2/auth" if given("factor") == "push" && given("async") == "1" => {
            let info = url::form_urlencoded::parse(given("pushinfo").as_bytes())
                .into_owned()
                .collect();
            let mut locked = state.0.lock().unwrap();
            locked.pushes.push(Push {
                user: given("username"),
                info,
                answer: None,
            });
            state.1.notify_all();
            ok(json!({"txid": format!("tx-{}", locked.pushes.len())}))
        }
        "/auth/v2/auth_status" => {
            let number: usize = given("txid").trim_start_matches("tx-").parse().unwrap_or(0);
            let mut locked = state.0.lock().unwrap();
            let until = Instant::now() + LONG_POLL;
            loop {
                let Some(push) = number.checked_sub(1).and_then(|n| locked.pushes.get(n)) else {
                    return (
                        400,
                        json!({"stat": "FAIL", "code": 40002, "message": "Invalid request parameters", "message_detail": "txid"}),
                    );
                };
                if let Some((result, status)) = push.answer {
                    return ok(
                        json!({"result": result, "status": status, "status_msg": "as told"}),
                    );
                }
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return ok(
                        json!({"result": "waiting", "status": "pushed", "status_msg": "Pushed a login request to your phone..."}),
                    );
                }
                locked = state.1.wait_timeout(locked, left).unwrap().0;
            }
        }
        _ => (
            404,
            json!({"stat": "FAIL", "code": 40401, "message": "Resource not found"}),
        ),
    }
}

fn is_signed(
    method: &str,
    path: &str,
    headers: &BTreeMap<String, String>,
    body: &str,
    is_json: bool,
    parameters: &BTreeMap<String, String>,
) -> bool {
    let header = |name: &str| headers.get(name).map_or("", String::as_str);
    let host = header("host")
        .split(':')
        .next()
        .unwrap_or_default()
        .to_owned();
    let encoded = |text: &str| {
        const KEPT: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
            .remove(b'-')
            .remove(b'.')
            .remove(b'_')
            .remove(b'~');
        utf8_percent_encode(text, KEPT).to_string()
    };
    let mut pairs: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    pairs.sort();
    let line = if is_json {
        String::new()
    } else {
        pairs.join("&")
    };
    let two = format!("{}\n{method}\n{host}\n{path}\n{line}", header("date"));
    let digest = |text: &str| hex::encode(Sha512::digest(text.as_bytes()));
    let hashed = if is_json { body } else { "" };
    let five = format!("{two}\n{}\n{}", digest(hashed), digest(""));
    let expected = |canonical: &str| {
        let mut mac = Hmac::<Sha512>::new_from_slice(SKEY.as_bytes()).unwrap();
        mac.update(canonical.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        format!("Basic {}", STANDARD.encode(format!("{IKEY}:{signature}")))
    };
    [two, five]
        .iter()
        .any(|canonical| expected(canonical) == header("authorization"))
}
