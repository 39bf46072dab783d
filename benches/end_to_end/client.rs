//! The load: HTTP/1.1 by hand over kept-alive connections, so that the client takes as little as possible of the two
//! cores that it shares with what it measures.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One kept-alive connection.
pub struct Conn {
    stream: TcpStream,
    buffer: Vec<u8>,
}

pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Conn {
    pub async fn to(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(16 * 1024),
        })
    }

    pub async fn ask(&mut self, request: &[u8]) -> io::Result<Response> {
        let (status, end) = self.exchange(request).await?;
        Ok(Response {
            status,
            head: String::from_utf8_lossy(&self.buffer[..end]).into_owned(),
            body: self.buffer[end..].to_vec(),
        })
    }

    /// Status and end of the head of an answer that stays in the buffer: all that a load needs to know.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<(u16, usize)> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let end = self.read_until(b"\r\n\r\n").await?;
        let head =
            std::str::from_utf8(&self.buffer[..end]).map_err(|_| io::ErrorKind::InvalidData)?;
        let status = head.get(9..12).and_then(|word| word.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let length: usize = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0);
        while self.buffer.len() < end + length {
            self.more().await?;
        }
        Ok((status, end))
    }

    /// Reads on until `read` finds in what came, since the last time something was found, what it looks for.
    pub async fn wait_until<T>(
        &mut self,
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> io::Result<T> {
        loop {
            if let Some(found) = read(&self.buffer) {
                self.buffer.clear();
                return Ok(found);
            }
            self.more().await?;
        }
    }

    /// Sends without reading an answer: for streams.
    pub async fn open(&mut self, request: &[u8]) -> io::Result<()> {
        self.buffer.clear();
        self.stream.write_all(request).await
    }

    /// Reads on until `wanted` comes, and forgets what came before it.
    pub async fn wait_for(&mut self, wanted: &[u8]) -> io::Result<()> {
        let end = self.read_until(wanted).await?;
        self.buffer.drain(..end);
        Ok(())
    }

    async fn read_until(&mut self, wanted: &[u8]) -> io::Result<usize> {
        let mut from = 0;
        loop {
            if let Some(at) = find(&self.buffer[from..], wanted) {
                return Ok(from + at + wanted.len());
            }
            from = self.buffer.len().saturating_sub(wanted.len());
            self.more().await?;
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

pub fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}

/// A request's bytes; `headers` are whole lines, each with its line end.
pub fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: bot\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What a load did.
#[derive(Clone, Debug, Default)]
pub struct Load {
    pub requests: u64,
    pub refused: u64,
    pub seconds: f64,
}

/// Posts from `connections` connections for `time`, on a thread of its own; `make` gives the request of a number.
pub fn load(
    port: u16,
    connections: usize,
    time: Duration,
    numbers: Arc<AtomicU64>,
    make: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
) -> std::thread::JoinHandle<Load> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let (make, done) = (Arc::new(make), Arc::new(Mutex::new(Load::default())));
            let begin = Instant::now();
            let tasks: Vec<_> = (0..connections)
                .map(|_| {
                    let (make, done, numbers) = (make.clone(), done.clone(), numbers.clone());
                    tokio::spawn(async move {
                        let mut conn = Conn::to(port).await.unwrap();
                        let (mut accepted, mut refused) = (0, 0);
                        while begin.elapsed() < time {
                            let request = make(numbers.fetch_add(1, Ordering::Relaxed));
                            let (status, _) = conn.exchange(&request).await.unwrap();
                            match status / 100 {
                                2 => accepted += 1,
                                _ => refused += 1,
                            }
                        }
                        let mut done = done.lock().unwrap();
                        done.requests += accepted;
                        done.refused += refused;
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            let mut load = done.lock().unwrap().clone();
            load.seconds = begin.elapsed().as_secs_f64();
            load
        })
    })
}
