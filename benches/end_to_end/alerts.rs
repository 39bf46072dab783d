//! Alerts accepted per second, one and a hundred per request, with what they cost each process and what is left
//! unasked when the load ends.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::Options;
use crate::client::{Load, load, request};
use crate::servers::{Bot, Kind};
use crate::table::{Table, median, rounded};

/// Alert `n`: the employees in turn; from one turn to the next another host, so that nothing is folded away.
pub fn alert(n: u64, employees: u64, severity: &str) -> String {
    let (employee, host) = (n % employees, n / employees);
    format!(
        r#"{{"id":"b-{n}","principal":"e{employee}","rule":"sudo","title":"sudo -i on web-{host}","reason":"Nov 24 02:14:00 web-{host} sudo: e{employee} : TTY=pts/0 ; PWD=/home/e{employee} ; USER=root ; COMMAND=/bin/bash","severity":"{severity}","occurred_at":"2026-11-24T02:14:00Z","context":{{"host":"web-{host}","source_address":"10.0.0.7"}}}}"#
    )
}

/// A request with `size` alerts.
pub fn post(auth: &str, number: u64, size: u64, employees: u64) -> Vec<u8> {
    if size == 1 {
        return request(
            "POST",
            "/v1/alerts",
            auth,
            &alert(number, employees, "medium"),
        );
    }
    let alerts: Vec<_> = (number * size..(number + 1) * size)
        .map(|n| alert(n, employees, "medium"))
        .collect();
    request(
        "POST",
        "/v1/alerts",
        auth,
        &format!("[{}]", alerts.join(",")),
    )
}

pub fn flood(
    bot: &Bot,
    connections: usize,
    size: u64,
    employees: u64,
    time: Duration,
    numbers: Arc<AtomicU64>,
) -> std::thread::JoinHandle<Load> {
    let auth = bot.auth();
    load(bot.port, connections, time, numbers, move |n| {
        post(&auth, n, size, employees)
    })
}

pub async fn ingest(options: &Options, kind: Kind, table: &mut Table) {
    for (size, connections) in [(1, 32), (1, 256), (100, 32)] {
        let (mut rates, mut backlogs, mut drains, mut bot_cpu, mut redis_cpu) =
            (vec![], vec![], vec![], vec![], vec![]);
        for run in 0..options.runs {
            let bot = Bot::start(kind, options.employees).await;
            let before = (bot.process.cpu(), bot.redis_cpu());
            // The first shows that it is steady, the others how much one differs from the next.
            let seconds = if run == 0 {
                options.seconds
            } else {
                options.seconds.min(10)
            };
            let time = Duration::from_secs(seconds);
            let flood = flood(
                &bot,
                connections,
                size,
                options.employees,
                time,
                Arc::new(AtomicU64::new(0)),
            );
            let done = tokio::task::spawn_blocking(move || flood.join().unwrap())
                .await
                .unwrap();
            backlogs.push(bot.metric("securitybot_intake_backlog").await);
            drains.push(bot.drain().await.as_secs_f64());
            let accepted = (done.requests * size) as f64;
            rates.push(accepted / done.seconds);
            bot_cpu.push((bot.process.cpu() - before.0) * 1e3 / accepted);
            redis_cpu.push((bot.redis_cpu() - before.1) * 1e3 / accepted);
            if done.refused > 0 {
                eprintln!("  {} requests were refused", done.refused);
            }
        }
        let what = format!("alerts accepted/s, {size} per request, {connections} connections");
        table.add(what, kind.name(), median(&rates));
        let sorted = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let cpu = format!(
            "bot {}, Redis {}",
            rounded(sorted(bot_cpu)),
            rounded(sorted(redis_cpu))
        );
        table.add(
            "- CPU seconds per 1,000 alerts, asking included",
            kind.name(),
            cpu,
        );
        let left = format!(
            "{} alerts, asked {} s later",
            rounded(sorted(backlogs)),
            rounded(sorted(drains))
        );
        table.add("- backlog at the end", kind.name(), left);
    }
}
