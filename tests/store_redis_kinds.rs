//! The other ways to reach Redis, on real servers: a Cluster, Sentinels, TLS with a private authority.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod common;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::port::free_port;
use common::redis::RedisServer;
use securitybot::core::machine::{Collection, Row, RowChange};
use securitybot::core::time::Timestamp;
use securitybot::store::redis::{RedisOptions, RedisStore};
use securitybot::store::{Store, StoreError, conformance};

async fn raw<T: redis::FromRedisValue>(port: u16, words: &[&str]) -> redis::RedisResult<T> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/0"))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut cmd = redis::cmd(words[0]);
    cmd.arg(&words[1..]);
    cmd.query_async(&mut connection).await
}

/// Until the server's answer contains the word.
async fn says(port: u16, words: &[&str], expected: &str) {
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let answer: redis::RedisResult<redis::Value> = raw(port, words).await;
        let text = match answer {
            Ok(redis::Value::BulkString(text)) => String::from_utf8_lossy(&text).into_owned(),
            other => format!("{other:?}"),
        };
        if text.contains(expected) {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "{words:?}: {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn document(id: &str) -> RowChange {
    RowChange::Put(Row {
        collection: Collection::Documents,
        id: id.to_owned(),
        at: Timestamp::from_millis(1),
        fields: Vec::new(),
        body: "{}".to_owned(),
        expires: None,
    })
}

async fn keeps_a_row(store: &dyn Store) {
    let written = store.put_rows(0, &[document("d")], true).await;
    assert_eq!(written, Ok(1));
    let row = store.row(Collection::Documents, "d").await.unwrap();
    assert!(row.is_some());
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let bus = [free_port(), free_port()];
    let node = |n: usize| {
        RedisServer::start_with(&[
            ("cluster-enabled", "yes"),
            ("cluster-port", &bus[n].to_string()),
        ])
    };
    let (a, b) = (node(0), node(1));
    let _: String = raw(a.port, &["CLUSTER", "ADDSLOTSRANGE", "0", "8191"])
        .await
        .unwrap();
    let _: String = raw(b.port, &["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"])
        .await
        .unwrap();
    let (port, bus) = (b.port.to_string(), bus[1].to_string());
    let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, &bus];
    let _: String = raw(a.port, &meet).await.unwrap();
    for server in [&a, &b] {
        says(server.port, &["CLUSTER", "INFO"], "cluster_state:ok").await;
    }
    let url = format!("redis+cluster://127.0.0.1:{},127.0.0.1:{port}", a.port);
    let count = AtomicU32::new(0);
    conformance::run(async || {
        let options = RedisOptions {
            prefix: format!("run{}", count.fetch_add(1, Ordering::Relaxed)),
            deadline: Duration::from_secs(20),
            ..RedisOptions::default()
        };
        let store = RedisStore::open(&url, conformance::PARTITIONS, options);
        Arc::new(store.await.unwrap()) as Arc<dyn Store>
    })
    .await;
    // Both nodes hold some of it.
    for server in [&a, &b] {
        let keys: u64 = raw(server.port, &["DBSIZE"]).await.unwrap();
        assert!(keys > 0);
    }
    let replicated = RedisOptions {
        min_replicas: 1,
        ..RedisOptions::default()
    };
    let refused = RedisStore::open(&url, 4, replicated).await;
    assert!(matches!(refused, Err(StoreError::Mismatch(_))));
}

#[tokio::test]
async fn sentinels_lead_to_the_primary_and_to_the_next_one_after_a_failover() {
    let mut primary = RedisServer::start();
    let port = primary.port.to_string();
    let replica = RedisServer::start_with(&[("replicaof", &format!("127.0.0.1 {port}"))]);
    says(
        replica.port,
        &["INFO", "replication"],
        "master_link_status:up",
    )
    .await;
    let sentinel = RedisServer::start_sentinel(&format!(
        "sentinel monitor main 127.0.0.1 {port} 1\n\
         sentinel down-after-milliseconds main 500\n\
         sentinel failover-timeout main 5000\n"
    ));
    let replicas = ["SENTINEL", "REPLICAS", "main"];
    says(sentinel.port, &replicas, &replica.port.to_string()).await;
    let url = format!("redis+sentinel://127.0.0.1:{}/main/0", sentinel.port);
    let store = RedisStore::open(&url, 4, RedisOptions::default())
        .await
        .unwrap();
    keeps_a_row(&store).await;
    let acked = ["WAIT", "1", "5000"];
    let _: u64 = raw(primary.port, &acked).await.unwrap();
    says(
        replica.port,
        &["HLEN", "securitybot:{p0}:r:documents"],
        "int(1)",
    )
    .await;

    primary.kill9();
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while store.put_rows(0, &[document("after")], true).await.is_err() {
        assert!(tokio::time::Instant::now() < until, "no failover");
        store.begin_anew().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let row = store.row(Collection::Documents, "d").await.unwrap();
    assert!(row.is_some());
}

#[tokio::test]
async fn tls_with_a_private_authority_works_and_without_it_is_refused() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let openssl = |line: &str| {
        let words = line.split_whitespace();
        let done = Command::new("openssl").args(words).output().unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    let (ca, ca_key, cert, key) = (path("ca"), path("ca.key"), path("cert"), path("key"));
    openssl(&format!(
        "req -x509 {new_key} -subj /CN=authority -keyout {ca_key} -out {ca}"
    ));
    openssl(&format!(
        "req -x509 {new_key} -subj /CN=redis -CA {ca} -CAkey {ca_key} -keyout {key} -out {cert} \
         -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1"
    ));
    let tls_port = free_port();
    let _server = RedisServer::start_with(&[
        ("tls-port", &tls_port.to_string()),
        ("tls-cert-file", &cert),
        ("tls-key-file", &key),
        ("tls-ca-cert-file", &ca),
        ("tls-auth-clients", "no"),
    ]);
    let url = format!("rediss://127.0.0.1:{tls_port}/0");
    let refused = RedisStore::open(&url, 4, RedisOptions::default()).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    let options = RedisOptions {
        root_certificate: Some(std::fs::read(&ca).unwrap()),
        ..RedisOptions::default()
    };
    let store = RedisStore::open(&url, 4, options).await.unwrap();
    keeps_a_row(&store).await;
}
