//! One command measures the bot as a whole, beside its peers in the same run: real release binary, real stores, a load
//! client of our own. It prints the table and writes it to `benches/results.md`.
//!
//! `cargo bench --bench end_to_end -- [--seconds N] [--runs N] [--store sqlite|redis|both] [--parts a,b]
//! [--employees N] [--open N] [--cases N] [--no-write]`; parts: peers, ingest, latency, cases, idle, crash, lists, growth
//! (`--cases 1000000`: as far as that, where there is time for it).
#![allow(clippy::unwrap_used, reason = "a benchmark that fails is a panic")]
#![allow(clippy::disallowed_methods, reason = "wall time is what is measured")]

mod alerts;
mod client;
mod employees;
mod flows;
mod open;
mod peers;
mod servers;
mod table;

use servers::Kind;
use table::Table;

/// What was asked for on the command line.
pub struct Options {
    pub seconds: u64,
    pub runs: usize,
    pub stores: Vec<Kind>,
    pub parts: Vec<String>,
    pub employees: u64,
    pub open: u64,
    pub cases: u64,
    write: bool,
}

const FOUND: &str = "## What the profile says";

const PARTS: [&str; 8] = [
    "peers", "ingest", "latency", "cases", "idle", "crash", "lists", "growth",
];

impl Options {
    fn read() -> Self {
        let mut options = Self {
            seconds: 30,
            runs: 3,
            stores: vec![Kind::Sqlite, Kind::Everysec, Kind::Always],
            parts: PARTS.map(str::to_owned).to_vec(),
            employees: 10_000,
            open: 10_000,
            cases: 100_000,
            write: true,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .unwrap_or_else(|| panic!("{word}: expected a value"))
            };
            match word.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--seconds" => options.seconds = number(&value()),
                "--runs" => options.runs = number(&value()) as usize,
                "--employees" => options.employees = number(&value()),
                "--open" => options.open = number(&value()),
                "--cases" => options.cases = number(&value()),
                "--parts" => options.parts = value().split(',').map(str::to_owned).collect(),
                "--no-write" => options.write = false,
                "--store" => {
                    options.stores = match value().as_str() {
                        "sqlite" => vec![Kind::Sqlite],
                        "redis" => vec![Kind::Everysec, Kind::Always],
                        "everysec" => vec![Kind::Everysec],
                        "always" => vec![Kind::Always],
                        _ => options.stores,
                    }
                }
                other => {
                    panic!("{other}: expected one of the options in benches/end_to_end/main.rs")
                }
            }
        }
        options
    }

    fn has(&self, part: &str) -> bool {
        self.parts.iter().any(|asked| asked == part)
    }
}

fn number(word: &str) -> u64 {
    word.parse()
        .unwrap_or_else(|_| panic!("{word}: expected a number"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = Options::read();
    let mut table = Table::new(&options);
    if options.has("peers") {
        peers::measure(&options, &mut table).await;
    }
    for kind in options.stores.clone() {
        if options.has("ingest") {
            alerts::ingest(&options, kind, &mut table).await;
        }
        if options.has("latency") {
            flows::latency(&options, kind, &mut table).await;
        }
        if options.has("cases") {
            flows::whole_cases(&options, kind, &mut table).await;
        }
        if options.has("idle") || options.has("crash") {
            open::questions(&options, kind, &mut table).await;
        }
        if options.has("lists") || options.has("growth") {
            open::growth(&options, kind, &mut table).await;
        }
    }
    println!("\n{}", table.markdown());
    if options.write {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/results.md");
        // What was found out by hand stays.
        let before = std::fs::read_to_string(path).unwrap_or_default();
        let found = before.find(FOUND).map_or("", |at| &before[at..]);
        std::fs::write(path, format!("{}\n{found}", table.markdown())).unwrap();
        println!("written to {path}");
    }
}
