//! What producers send, read as they mean it: each refusal names its field, nothing odd is lost or crashes.
#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod alertmanager;
mod mapping;
mod native;

use securitybot::core::ids::SourceId;

/// 2026-11-24T02:14:00Z
const AT: i64 = 1_795_486_440_000;

fn source() -> SourceId {
    SourceId::new("local")
}
