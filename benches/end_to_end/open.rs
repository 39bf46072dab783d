//! What open questions cost while nobody answers: memory, CPU, the time to be back after `kill -9`; and whether lists
//! stay flat as cases pile up.

use std::time::{Duration, Instant};

use crate::Options;
use crate::alerts::post;
use crate::client::request;
use crate::servers::{Bot, Kind};
use crate::table::{Table, median, p50_p99, rounded};

/// Longer than an actor sits idle before it gives its memory back.
const RETIRED_AFTER: Duration = Duration::from_secs(15);
const IDLE_FOR: Duration = Duration::from_secs(20);

/// Sends alerts `from..to`, over so many employees, in hundreds and waits until all are asked.
async fn fill(bot: &Bot, from: u64, to: u64, employees: u64) {
    let (auth, mut conn) = (bot.auth(), bot.conn().await);
    for number in from / 100..to / 100 {
        let answer = conn
            .ask(&post(&auth, number, 100, employees))
            .await
            .unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    bot.drain().await;
}

pub async fn questions(options: &Options, kind: Kind, table: &mut Table) {
    let open = options.open;
    let mut bot = Bot::start(kind, open).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = bot.redis.as_ref().map(|redis| redis.used_bytes());
    fill(&bot, 0, open, open).await;
    let asked = bot.process.resident_bytes();
    let live = bot.metric("securitybot_live_actors").await;
    tokio::time::sleep(RETIRED_AFTER).await;
    let retired = bot.process.resident_bytes();
    let each = asked.saturating_sub(retired) as f64 / live;
    let value = format!(
        "{} bytes, {live} in memory; whole bot {} MB, after they went {} MB",
        rounded(each),
        asked / 1_000_000,
        retired / 1_000_000
    );
    table.add("resident per conversation in memory", kind.name(), value);
    if let (Some(redis), Some(used)) = (&bot.redis, used) {
        let bytes = redis.used_bytes().saturating_sub(used) as f64 / open as f64;
        table.add("- Redis's own bytes per case", kind.name(), rounded(bytes));
    }
    if options.has("idle") {
        let before = (bot.process.cpu(), bot.redis_cpu());
        tokio::time::sleep(IDLE_FOR).await;
        let percent =
            |now: f64, before: f64| rounded((now - before) * 100.0 / IDLE_FOR.as_secs_f64());
        let value = format!(
            "{} % of a core, Redis {} %",
            percent(bot.process.cpu(), before.0),
            percent(bot.redis_cpu(), before.1)
        );
        table.add(
            format!("CPU with {open} open questions, idle"),
            kind.name(),
            value,
        );
    }
    if options.has("crash") {
        crash(options, &mut bot, open, kind, table).await;
    }
}

async fn open_cases(bot: &Bot, state: &str) -> String {
    let path = format!("/v1/cases?state={state}&limit=500");
    let answer = bot
        .conn()
        .await
        .ask(&request("GET", &path, &bot.auth(), ""))
        .await;
    answer.unwrap().text()
}

/// Cases pile up, each an open question of somebody else: lists stay as fast, one more alert costs as much, and after
/// `kill -9` the bot is back as soon.
pub async fn growth(options: &Options, kind: Kind, table: &mut Table) {
    let sizes = [1_000, options.cases];
    let mut bot = Bot::start(kind, options.cases + sizes.len() as u64 * MORE).await;
    let mut filled = 0;
    let mut resident = Vec::new();
    for size in sizes {
        let begin = Instant::now();
        fill(&bot, filled, size, u64::MAX).await;
        println!(
            "  {size} cases after {:.1} s",
            begin.elapsed().as_secs_f64()
        );
        tokio::time::sleep(RETIRED_AFTER).await;
        resident.push(bot.process.resident_bytes());
        if options.has("lists") {
            lists(&bot, size, kind, table).await;
        }
        let before = (bot.process.cpu(), bot.redis_cpu());
        let begin = Instant::now();
        fill(&bot, size, size + MORE, u64::MAX).await;
        let each = |now: f64, before: f64| rounded((now - before) * 1e3 / MORE as f64);
        let value = format!(
            "bot {}, Redis {}; {} s until all were asked",
            each(bot.process.cpu(), before.0),
            each(bot.redis_cpu(), before.1),
            rounded(begin.elapsed().as_secs_f64())
        );
        let what =
            format!("CPU seconds per 1,000 alerts, 100 per request, at {size} open questions");
        table.add(what, kind.name(), value);
        filled = size + MORE;
    }
    let each = resident[1].saturating_sub(resident[0]) as f64 / (sizes[1] - sizes[0]) as f64;
    let value = format!(
        "{} bytes; whole bot {} MB, with as many employees",
        rounded(each),
        resident[1] / 1_000_000
    );
    let what = format!("resident per open question, retired, up to {}", sizes[1]);
    table.add(what, kind.name(), value);
    if options.has("crash") {
        crash(options, &mut bot, filled, kind, table).await;
    }
}

/// Alerts to measure the cost of one with: enough for the clock of `/proc`, which ticks a hundred times a second.
const MORE: u64 = 5_000;

async fn lists(bot: &Bot, size: u64, kind: Kind, table: &mut Table) {
    let since = "2026-01-01T00:00:00Z";
    for (name, filter) in [
        ("no filter", String::new()),
        ("state", "&state=asked".to_owned()),
        ("rule and time", format!("&rule=sudo&since={since}")),
        ("employee and state", "&employee=e7&state=asked".to_owned()),
    ] {
        let path = format!("/v1/cases?limit=50{filter}");
        let get = request("GET", &path, &bot.auth(), "");
        let mut conn = bot.conn().await;
        let mut times = Vec::new();
        for _ in 0..300 {
            let sent = Instant::now();
            let answer = conn.ask(&get).await.unwrap();
            times.push(sent.elapsed());
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let what = format!("GET /v1/cases?limit=50 at {size} cases, {name}, p50 / p99");
        table.add(what, kind.name(), p50_p99(&mut times));
    }
}

/// How soon the bot is back, and whether anybody is asked again.
async fn crash(options: &Options, bot: &mut Bot, open: u64, kind: Kind, table: &mut Table) {
    let mut times = Vec::new();
    let asked = open_cases(bot, "asked").await;
    for _ in 0..options.runs {
        times.push(bot.crash().await.as_secs_f64());
    }
    let again = open_cases(bot, "asked").await;
    let sent = bot.metric("securitybot_effects_started_total").await;
    let value = format!(
        "{}; sent again: {sent}; first page same: {}",
        median(&times),
        asked == again
    );
    let what = format!("kill -9 with {open} open questions: ready again, s");
    table.add(what, kind.name(), value);
}
