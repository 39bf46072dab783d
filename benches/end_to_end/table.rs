//! The table of results: medians over the runs with their spread, and under what they were measured.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use crate::Options;

pub struct Table {
    head: String,
    rows: Vec<(String, String, String)>,
}

impl Table {
    pub fn new(options: &Options) -> Self {
        let first_line = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).output().ok();
            let text = output
                .map(|out| [out.stdout, out.stderr].concat())
                .unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            text.lines()
                .next()
                .unwrap_or("not installed")
                .trim()
                .to_owned()
        };
        let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = model
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown CPU", |(_, name)| name.trim());
        let cores = std::thread::available_parallelism().map_or(0, |n| n.get());
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or("?");
        let head = format!(
            "# Figures\n\n`cargo bench --bench end_to_end`, release build, {} s a run, median of {} runs (lowest to \
             highest), {} employees, journal, hash chain, dedup marks and logs as shipped. Server, store and load share \
             {cores} cores ({model}; load average {load} before).\n\nsecuritybot {} at {}; {}; {}; {}; Linux {}.\n\n",
            options.seconds,
            options.runs,
            options.employees,
            env!("CARGO_PKG_VERSION"),
            first_line("git", &["describe", "--always", "--dirty"]),
            first_line("rustc", &["--version"]),
            first_line("redis-server", &["--version"]),
            first_line("prometheus-alertmanager", &["--version"]),
            first_line("uname", &["-r"]),
        );
        Self {
            head,
            rows: Vec::new(),
        }
    }

    pub fn add(&mut self, figure: impl Into<String>, on: &str, value: impl Into<String>) {
        let row = (figure.into(), on.to_owned(), value.into());
        println!("{:<58} {:<16} {}", row.0, row.1, row.2);
        self.rows.push(row);
    }

    pub fn markdown(&self) -> String {
        let mut text = self.head.clone();
        text.push_str("| figure | on | measured |\n|---|---|---|\n");
        for (figure, on, value) in &self.rows {
            let _ = writeln!(text, "| {figure} | {on} | {value} |");
        }
        text
    }
}

/// Median and spread, as text.
pub fn median(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.as_slice() {
        [] => "-".to_owned(),
        [one] => rounded(*one),
        many => format!(
            "{} ({} to {})",
            rounded(many[many.len() / 2]),
            rounded(many[0]),
            rounded(many[many.len() - 1])
        ),
    }
}

pub fn rounded(value: f64) -> String {
    match value.abs() {
        big if big >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 0.2 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

pub fn percentile(times: &mut [Duration], percent: f64) -> f64 {
    times.sort_unstable();
    let at = ((times.len() as f64 - 1.0) * percent / 100.0).round() as usize;
    times
        .get(at)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// `p50 / p99` in milliseconds.
pub fn p50_p99(times: &mut [Duration]) -> String {
    format!(
        "{} / {} ms ({} samples)",
        rounded(percentile(times, 50.0)),
        rounded(percentile(times, 99.0)),
        times.len()
    )
}
