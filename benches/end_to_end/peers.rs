//! The baseline of the same run: what Redis takes at most, and what Alertmanager accepts.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Options;
use crate::client::{find, load, request};
use crate::servers::{Alertmanager, Redis, free_port};
use crate::table::{Table, median};

pub async fn measure(options: &Options, table: &mut Table) {
    for (fsync, pipeline) in [("everysec", 16), ("always", 16), ("everysec", 1)] {
        let redis = Redis::start(fsync);
        let rates: Vec<f64> = (0..options.runs)
            .map(|_| redis_set(redis.port, pipeline))
            .collect();
        let what = format!("SET of 1 KiB per second, pipeline {pipeline}");
        table.add(what, &format!("Redis {fsync}"), median(&rates));
    }
    for webhook in [true, false] {
        for (size, connections) in [(1, 32), (1, 256), (100, 32)] {
            let mut rates = Vec::new();
            let mut cpu = Vec::new();
            for _ in 0..options.runs {
                let received = Arc::new(AtomicU64::new(0));
                let port = webhook.then(|| receiver(received.clone()));
                let Some(peer) = Alertmanager::start(port) else {
                    return table.add("alerts accepted/s", "Alertmanager", "not installed");
                };
                let time = Duration::from_secs(options.seconds.min(10));
                let headers = "Content-Type: application/json\r\n";
                let flood = load(peer.port, connections, time, Arc::default(), move |n| {
                    let alerts: Vec<_> = (n * size..(n + 1) * size).map(alert).collect();
                    request(
                        "POST",
                        "/api/v2/alerts",
                        headers,
                        &format!("[{}]", alerts.join(",")),
                    )
                });
                let done = tokio::task::spawn_blocking(move || flood.join().unwrap())
                    .await
                    .unwrap();
                let accepted = (done.requests * size) as f64;
                rates.push(accepted / done.seconds);
                cpu.push(peer.process.cpu() * 1e3 / accepted);
                if webhook {
                    println!(
                        "  notified of {} of {accepted}",
                        received.load(Ordering::Relaxed)
                    );
                }
            }
            let with = if webhook { "with a webhook" } else { "without" };
            let what =
                format!("alerts accepted/s {with}, {size} per request, {connections} connections");
            table.add(what, "Alertmanager", median(&rates));
            table.add(
                "- CPU seconds per 1,000 alerts",
                "Alertmanager",
                median(&cpu),
            );
        }
    }
}

fn alert(n: u64) -> String {
    format!(
        r#"{{"labels":{{"alertname":"sudo","user":"e{n}","host":"web-{n}"}},"annotations":{{"summary":"sudo -i on web-{n}","description":"Nov 24 02:14:00 sudo: TTY=pts/0 ; PWD=/home/e{n} ; USER=root ; COMMAND=/bin/bash"}}}}"#
    )
}

fn redis_set(port: u16, pipeline: u32) -> f64 {
    let (port, pipeline) = (port.to_string(), pipeline.to_string());
    let output = Command::new("redis-benchmark")
        .args([
            "-p", &port, "-t", "set", "-d", "1024", "-n", "300000", "-r", "100000", "-P",
            &pipeline, "--csv",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("\"SET\""));
    line.and_then(|line| line.split('"').nth(3)?.parse().ok())
        .unwrap_or(f64::NAN)
}

/// A webhook receiver that counts and says 200 at once, on a thread of its own.
fn receiver(received: Arc<AtomicU64>) -> u16 {
    let port = free_port();
    let (ready, up) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
                .await
                .unwrap();
            ready.send(()).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, received.clone()));
            }
        });
    });
    up.recv().unwrap();
    port
}

async fn answer(mut stream: tokio::net::TcpStream, received: Arc<AtomicU64>) {
    let mut buffer = Vec::new();
    loop {
        let Some(end) = find(&buffer, b"\r\n\r\n").map(|at| at + 4) else {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let length: usize = length.unwrap_or(0);
        while buffer.len() < end + length {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        buffer.drain(..end + length);
        received.fetch_add(1, Ordering::Relaxed);
        if stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await
            .is_err()
        {
            return;
        }
    }
}
