//! What several test binaries share: servers of the test's own on loopback, ended when dropped.
#![allow(dead_code)] // each binary uses its part

pub mod alertmanager;
pub mod fake_http;
