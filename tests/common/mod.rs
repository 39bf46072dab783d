//! Servers that tests start for themselves: on loopback, on a free port, in a folder of their own,
//! ended by their process id.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![allow(dead_code, reason = "each test binary uses some of it")]

pub mod alertmanager;
pub mod bot;
pub mod fake_duo;
pub mod fake_http;
pub mod fake_pagerduty;
pub mod fake_slack;
pub mod person;
pub mod port;
pub mod redis;
pub mod tls;
