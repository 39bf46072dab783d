//! The kinds of faults that the mix has. Each comes before any comes again.

use std::time::Duration;

use super::kit::fakes::Mode;
use super::proxy::Wire;
use super::slack_faults::SlackFault;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Kill,
    Terminate,
    Window,
    NodeFrozen,
    FewFiles,
    /// A life without faults that is long enough for what comes once a minute.
    Calm,
    Pager(Mode),
    Sink(Mode),
    DiskFull,
    RedisKilled,
    RedisFrozen,
    RedisTold(
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    ),
    /// It is back, and busy reading what it knew.
    RedisLoading,
    /// `readyz` must say so, with this word, and name it not ready.
    RedisUnfit(&'static str, &'static str, &'static str),
    Wire(Wire),
    WireReset,
    Slack(SlackFault),
}

pub const ANYWHERE: [Fault; 14] = [
    Fault::Kill,
    Fault::Terminate,
    Fault::NodeFrozen,
    Fault::FewFiles,
    Fault::Pager(Mode::Status(500)),
    Fault::Pager(Mode::RetryAfter(2)),
    Fault::Pager(Mode::Hang),
    Fault::Pager(Mode::CutBefore),
    Fault::Pager(Mode::CutAfter),
    Fault::Sink(Mode::Status(503)),
    Fault::Sink(Mode::RetryAfter(1)),
    Fault::Sink(Mode::Hang),
    Fault::Sink(Mode::CutBefore),
    Fault::Sink(Mode::CutAfter),
];

pub const ON_REDIS: [Fault; 15] = [
    Fault::RedisKilled,
    Fault::RedisFrozen,
    Fault::RedisTold(
        "READONLY, total",
        &["REPLICAOF 127.0.0.1 1"],
        &["REPLICAOF NO ONE"],
    ),
    Fault::RedisTold(
        "NOAUTH, total",
        &[
            "CONFIG SET requirepass sesame",
            "CLIENT KILL TYPE normal SKIPME yes",
        ],
        &["CONFIG SET requirepass \"\""],
    ),
    Fault::RedisTold(
        "OOM, total",
        &["CONFIG SET maxmemory 1"],
        &["CONFIG SET maxmemory 0"],
    ),
    Fault::RedisTold(
        "MISCONF",
        &[
            "CONFIG SET dbfilename occupied",
            "BGSAVE",
            "CONFIG SET save \"3600 1\"",
        ],
        &[
            "CONFIG SET dbfilename dump.rdb",
            "BGSAVE",
            "CONFIG SET save \"\"",
        ],
    ),
    Fault::RedisTold("NOSCRIPT", &["SCRIPT FLUSH"], &[]),
    Fault::RedisLoading,
    Fault::RedisUnfit(
        "evict keys",
        "CONFIG SET maxmemory-policy allkeys-lru",
        "CONFIG SET maxmemory-policy noeviction",
    ),
    Fault::Wire(Wire::Slow(Duration::from_millis(150))),
    Fault::Wire(Wire::Frozen),
    Fault::Wire(Wire::OldFrozen),
    Fault::Wire(Wire::NoReplies),
    Fault::Wire(Wire::CutReplies),
    Fault::WireReset,
];
