//! What a person notices: how soon the question stands in the chat, idle and in a flood; and whole cases from alert to
//! proof to report.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use crate::Options;
use crate::alerts::{alert, flood};
use crate::client::{Conn, find, request};
use crate::employees::Employee;
use crate::servers::{Bot, Kind};
use crate::table::{Table, median, p50_p99};

/// Employees who sit before an open page; each is asked a handful of times, well below a flood of their own.
const WATCHERS: u64 = 40;
const ASKED_EACH: u64 = 12;

pub async fn latency(options: &Options, kind: Kind, table: &mut Table) {
    let bot = Bot::start(kind, options.employees + 2 * WATCHERS).await;
    let mut idle = sample(&bot, options.employees, Duration::from_millis(5)).await;
    table.add(
        "accepted to question shown, idle, p50 / p99",
        kind.name(),
        p50_p99(&mut idle),
    );
    let time = Duration::from_secs(options.seconds.min(15));
    let flood = flood(
        &bot,
        32,
        1,
        options.employees,
        time,
        Arc::new(AtomicU64::new(0)),
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pause = (time - Duration::from_secs(2)) / (WATCHERS * ASKED_EACH) as u32;
    let mut busy = sample(&bot, options.employees + WATCHERS, pause).await;
    tokio::task::spawn_blocking(move || flood.join().unwrap())
        .await
        .unwrap();
    table.add(
        "- the same under saturating ingest",
        kind.name(),
        p50_p99(&mut busy),
    );
}

/// From the 202 to the question in the watcher's open page.
async fn sample(bot: &Bot, first: u64, pause: Duration) -> Vec<Duration> {
    let mut conn = bot.conn().await;
    let mut watchers = Vec::new();
    for n in first..first + WATCHERS {
        let employee = Employee::sign_in(bot, &mut conn, format!("e{n}")).await;
        watchers.push((n, employee.listen(bot).await));
    }
    let (auth, begin) = (bot.auth(), Instant::now());
    let mut times = Vec::new();
    for turn in 0..ASKED_EACH {
        for (n, page) in &mut watchers {
            // `high` is asked at once, whatever else is open.
            let body = alert(0, 1, "high")
                .replace("\"e0\"", &format!("\"e{n}\""))
                .replace("\"b-0\"", &format!("\"w-{n}-{turn}\""))
                .replace("web-0", &format!("db-{turn}"));
            let answer = conn
                .ask(&request("POST", "/v1/alerts", &auth, &body))
                .await
                .unwrap();
            assert_eq!(answer.status, 202, "{}", answer.text());
            let accepted = Instant::now();
            page.wait_for(format!("sudo -i on db-{turn}").as_bytes())
                .await
                .unwrap();
            // The first question of the day has a greeting before it.
            if turn > 0 {
                times.push(accepted.elapsed());
            }
            let due = pause * (times.len() as u32);
            tokio::time::sleep(due.saturating_sub(begin.elapsed())).await;
        }
    }
    times
}

/// Each with an open page of their own.
const PEOPLE: u64 = 4_000;

pub async fn whole_cases(options: &Options, kind: Kind, table: &mut Table) {
    const WORKERS: usize = 256;
    let people = options.employees.min(PEOPLE * options.runs as u64);
    let bot = Rc::new(Bot::start(kind, people).await);
    let local = tokio::task::LocalSet::new();
    let (mut rates, mut cpu, mut reported) = (Vec::new(), Vec::new(), Reported::default());
    local
        .run_until(async {
            let per_run = people / options.runs as u64;
            for run in 0..options.runs as u64 {
                let range = run * per_run..(run + 1) * per_run;
                let employees = signed_in(&bot, range, WORKERS).await;
                let before = reported.so_far(&bot);
                let (cpu_before, begin) = (bot.process.cpu(), Instant::now());
                let employees = Rc::new(std::cell::RefCell::new(employees));
                let workers: Vec<_> = (0..WORKERS)
                    .map(|_| tokio::task::spawn_local(work(bot.clone(), employees.clone())))
                    .collect();
                let mut verified = 0;
                for worker in workers {
                    verified += worker.await.unwrap();
                }
                while reported.so_far(&bot) < before + verified && begin.elapsed().as_secs() < 300 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                rates.push(verified as f64 / begin.elapsed().as_secs_f64());
                cpu.push((bot.process.cpu() - cpu_before) * 1e3 / verified as f64);
            }
        })
        .await;
    table.add(
        "whole cases/s, 256 people at once (asked, yes, code, verified, reported)",
        kind.name(),
        median(&rates),
    );
    table.add(
        "- CPU seconds of the bot per 1,000 cases",
        kind.name(),
        median(&cpu),
    );
}

/// Signs employees in, several at a time.
async fn signed_in(
    bot: &Rc<Bot>,
    range: std::ops::Range<u64>,
    workers: usize,
) -> VecDeque<(Employee, Conn)> {
    let numbers = Rc::new(std::cell::RefCell::new(range));
    let tasks: Vec<_> = (0..workers)
        .map(|_| {
            let (bot, numbers) = (bot.clone(), numbers.clone());
            tokio::task::spawn_local(async move {
                let (mut conn, mut done) = (bot.conn().await, Vec::new());
                loop {
                    let Some(n) = numbers.borrow_mut().next() else {
                        break;
                    };
                    let employee = Employee::sign_in(&bot, &mut conn, format!("e{n}")).await;
                    let page = employee.listen(&bot).await;
                    done.push((employee, page));
                }
                done
            })
        })
        .collect();
    let mut employees = VecDeque::new();
    for task in tasks {
        employees.extend(task.await.unwrap());
    }
    employees
}

/// Takes employees one by one through a whole case; how many were proved.
async fn work(bot: Rc<Bot>, employees: Rc<std::cell::RefCell<VecDeque<(Employee, Conn)>>>) -> u64 {
    let (mut conn, auth, mut verified) = (bot.conn().await, bot.auth(), 0);
    loop {
        let Some((employee, mut page)) = employees.borrow_mut().pop_front() else {
            return verified;
        };
        let body = alert(0, 1, "medium")
            .replace("\"e0\"", &format!("\"{}\"", employee.id))
            .replace("\"b-0\"", &format!("\"c-{}\"", employee.id));
        let answer = conn
            .ask(&request("POST", "/v1/alerts", &auth, &body))
            .await
            .unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
        let (case, revision) = Employee::question(&mut page).await;
        let yes = employee.press_yes(&mut conn, &case, &revision).await;
        if yes == 200 && employee.confirm(&mut conn, &case, &revision).await == 200 {
            verified += 1;
        }
    }
}

/// Counts closed cases in the sink's file as it grows.
#[derive(Default)]
struct Reported {
    file: Option<BufReader<File>>,
    line: Vec<u8>,
    closed: u64,
}

impl Reported {
    fn so_far(&mut self, bot: &Bot) -> u64 {
        if self.file.is_none() {
            self.file = File::open(bot.sink()).ok().map(BufReader::new);
        }
        let Some(file) = &mut self.file else { return 0 };
        // The last line may be half of one: it is read on the next time.
        while file.read_until(b'\n', &mut self.line).unwrap() > 0 {
            if self.line.ends_with(b"\n") {
                let closed = find(&self.line, b"\"event\":\"case_closed\"").is_some();
                self.closed += u64::from(closed);
                self.line.clear();
            }
        }
        self.closed
    }
}
