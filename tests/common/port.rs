//! Ports for servers of tests.

use std::net::{Ipv4Addr, TcpListener};

/// Free now, and out of the range from which the system gives ports to clients: a connection of some other test
/// cannot take it before the server does.
pub fn free_port() -> u16 {
    (0..1_000)
        .map(|_| rand::random_range(10_000..32_000))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free loopback port")
}
