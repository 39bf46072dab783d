//! What single parts cost without anything around them: a step, a checkpoint, a parsed alert, a journal, a commit.
#![allow(clippy::unwrap_used, reason = "a benchmark that fails is a panic")]

#[path = "../tests/budget_support/mod.rs"]
mod budget_support;

use std::time::{Duration, Instant};

use budget_support::{Samples, body, parse, step};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use securitybot::actors::checkpoint;
use securitybot::core::conversation::Conversation;
use securitybot::store::sqlite::SqliteStore;
use securitybot::store::{Head, Store, journal};

fn steps(c: &mut Criterion) {
    let samples = Samples::new();
    let mut group = c.benchmark_group("step");
    for (name, turn) in [
        ("an alert arrives", &samples.alert),
        ("a yes", &samples.yes),
        ("a right code", &samples.code),
    ] {
        group.bench_function(name, |b| b.iter(|| step(turn, &samples.world)));
    }
    group.finish();
}

fn checkpoints(c: &mut Criterion) {
    let samples = Samples::new();
    let encoded = checkpoint::encode(&samples.asked, &samples.outbox);
    let mut group = c.benchmark_group("checkpoint");
    group.throughput(Throughput::Bytes(encoded.len() as u64));
    group.bench_function("encode", |b| {
        b.iter(|| checkpoint::encode(&samples.asked, &samples.outbox));
    });
    group.bench_function("decode", |b| {
        b.iter(|| checkpoint::decode::<Conversation>("employee/alice", &encoded).unwrap());
    });
    group.finish();
    let records: Vec<_> = samples.records.iter().cycle().take(100).cloned().collect();
    c.bench_function("journal: chain 100 records", |b| {
        b.iter_batched(
            || records.clone(),
            |records| journal::chain(&Head::default(), records),
            BatchSize::SmallInput,
        );
    });
}

fn parsing(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    for size in [1, 100] {
        let body = body(size);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(format!("{size} alerts"), |b| b.iter(|| parse(&body)));
    }
    group.finish();
}

fn commits(c: &mut Criterion) {
    let samples = Samples::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut group = c.benchmark_group("commit on SQLite");
    group.sample_size(20);
    for size in [1, 32, 100, 256] {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let store = SqliteStore::open(&dir.path().join("store.db"), 1).unwrap();
        let ttl = Duration::from_secs(3_600);
        let claim = runtime
            .block_on(store.claim(0, "node", samples.alert.now, ttl))
            .unwrap();
        let (mut head, mut nth) = (claim.head, 0);
        group.throughput(Throughput::Elements(size));
        group.bench_function(format!("batch of {size}"), |b| {
            b.iter_custom(|times| {
                let mut spent = Duration::ZERO;
                for _ in 0..times {
                    nth += 1;
                    let (batch, after) = samples.batch(claim.epoch, &head, nth, size);
                    let begin = Instant::now();
                    runtime.block_on(store.write(&batch)).unwrap();
                    spent += begin.elapsed();
                    head = after;
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, steps, checkpoints, parsing, commits);
criterion_main!(benches);
