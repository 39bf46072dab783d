//! What several test binaries share: servers of the test's own on loopback, ended when dropped.
#![allow(dead_code)] // each binary uses its part

pub mod alertmanager;
pub mod fake_http;
//! Servers that tests start for themselves: on loopback, on a free port, in a folder of their own,
//! ended by their process id.
#![allow(dead_code, reason = "each test binary uses some of it")]

pub mod redis;
