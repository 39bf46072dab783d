//! A wire that can misbehave, in front of Redis: slow, frozen, one way only, cut in the middle of a reply.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wire {
    Good,
    /// Everything arrives this much later.
    Slow(Duration),
    /// Nothing passes, on old connections and new.
    Frozen,
    /// Only connections from before now are frozen, as behind a firewall that forgot them.
    OldFrozen,
    /// Requests arrive, replies do not.
    NoReplies,
    /// Each reply is cut after its first half, and the connection with it.
    CutReplies,
}

struct Shared {
    to: SocketAddr,
    /// The wire, and how often it changed: a connection is old if it saw fewer changes.
    wire: Mutex<(Wire, u64)>,
    /// Weak: a connection that is over must not hold its descriptor until the next reset.
    open: Mutex<Vec<Weak<TcpStream>>>,
}

#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    pub fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::new(Shared {
            to: SocketAddr::from(([127, 0, 0, 1], port)),
            wire: Mutex::new((Wire::Good, 0)),
            open: Mutex::default(),
        });
        let theirs = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = theirs.clone();
                thread::spawn(move || join(client, &shared));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    pub fn set(&self, wire: Wire) {
        let mut set = self.shared.wire.lock().unwrap();
        *set = (wire, set.1 + 1);
    }

    /// Cuts all connections now.
    pub fn reset(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            if let Some(stream) = stream.upgrade() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

fn join(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let server = Arc::new(TcpStream::connect(shared.to)?);
    let client = Arc::new(client);
    let born = shared.wire.lock().unwrap().1;
    {
        let mut open = shared.open.lock().unwrap();
        open.retain(|stream| stream.strong_count() > 0);
        open.extend([&client, &server].map(Arc::downgrade));
    }
    let (from, to, theirs) = (client.clone(), server.clone(), shared.clone());
    thread::spawn(move || pump(&from, &to, &theirs, born, false));
    pump(&server, &client, shared, born, true);
    Ok(())
}

fn pump(mut from: &TcpStream, mut to: &TcpStream, shared: &Shared, born: u64, replies: bool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let mut passing = &bytes[..count];
        loop {
            let (wire, now) = *shared.wire.lock().unwrap();
            match wire {
                Wire::Good => break,
                Wire::Slow(by) => {
                    thread::sleep(by);
                    break;
                }
                Wire::OldFrozen if born >= now => break,
                Wire::NoReplies if !replies => break,
                Wire::CutReplies if !replies => break,
                Wire::CutReplies => {
                    passing = &bytes[..count / 2];
                    break;
                }
                Wire::Frozen | Wire::OldFrozen | Wire::NoReplies => {
                    thread::sleep(Duration::from_millis(10));
                }
            }
        }
        if to.write_all(passing).is_err() || passing.len() < count {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
