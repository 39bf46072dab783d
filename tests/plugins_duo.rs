//! The Duo factor against a Duo of ours, and Duo's own Python client against the same, so that ours is
//! not merely what we believe of Duo.
#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "common/fake_duo.rs"]
mod fake_duo;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fake_duo::{FakeDuo, IKEY, SKEY};
use secrecy::SecretString;
use securitybot::core::conversation::{PushRequest, PushVerdict};
use securitybot::core::ids::CaseId;
use securitybot::core::time::Timestamp;
use securitybot::plugins::Health;
use securitybot::plugins::factors::duo::{DuoFactor, DuoKeys};
use securitybot::plugins::factors::{PushFactor, PushRefusal};

fn factor(duo: &FakeDuo, secret: &str) -> DuoFactor {
    factor_at(&duo.url(), secret)
}

fn factor_at(url: &str, secret: &str) -> DuoFactor {
    let now = Timestamp::parse_rfc3339("2026-11-24T09:00:00Z").unwrap();
    let keys = DuoKeys {
        integration_key: SecretString::from(IKEY),
        secret_key: SecretString::from(secret),
        host: "127.0.0.1".to_owned(),
    };
    DuoFactor::new(keys, Some(url), Arc::new(move || now))
}

fn request() -> PushRequest {
    let case = CaseId::parse("019ab3f0-0000-7000-8000-000000000001").unwrap();
    PushRequest {
        challenge: case,
        case,
        user: "alice@example.com".to_owned(),
        info: vec![
            (
                "Alert".to_owned(),
                "sudo -i & friends = 100% on wéb-3".to_owned(),
            ),
            ("host".to_owned(), "web-3".to_owned()),
        ],
    }
}

#[tokio::test]
async fn a_push_shows_the_alert_and_only_approve_approves() {
    let duo = FakeDuo::start();
    let factor = factor(&duo, SKEY);
    for (result, status, expected) in [
        ("allow", "allow", Ok(Some(PushVerdict::Approved))),
        ("deny", "deny", Ok(Some(PushVerdict::Refused))),
        ("deny", "fraud", Ok(Some(PushVerdict::Fraud))),
        ("deny", "timeout", Ok(Some(PushVerdict::Unanswered))),
    ] {
        let transaction = factor.start(&request()).await.unwrap();
        assert_eq!(factor.answer(&transaction).await, Ok(None), "waiting");
        duo.answer(result, status);
        assert_eq!(factor.answer(&transaction).await, expected);
    }
    // Let through by policy: nobody pressed anything.
    let transaction = factor.start(&request()).await.unwrap();
    duo.answer("allow", "bypass");
    let bypassed = factor.answer(&transaction).await;
    assert!(
        matches!(bypassed, Err(PushRefusal::Never(_))),
        "{bypassed:?}"
    );
    let push = &duo.pushes()[0];
    assert_eq!(push.user, "alice@example.com");
    assert_eq!(push.info, request().info);
    assert_eq!(duo.refused(), 0);
}

#[tokio::test]
async fn readiness_hears_of_keys_that_duo_refuses() {
    let duo = FakeDuo::start();
    assert_eq!(factor(&duo, SKEY).health().await, Health::Good);
    let Health::Degraded(why) = factor(&duo, "another secret").health().await else {
        panic!("wrong keys looked healthy");
    };
    assert!(why.contains("Duo") && why.contains("401"), "{why}");
}

/// Readiness has four seconds of patience: what it gave up on would be asked again at each look.
#[tokio::test]
async fn a_duo_that_hangs_is_said_in_time_and_remembered() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let factor = factor_at(&url, SKEY);
    let patience = Duration::from_secs(4);
    let first = tokio::time::timeout(patience, factor.health()).await;
    assert!(matches!(first, Ok(Health::Degraded(_))), "{first:?}");
    drop(silent);
    assert_eq!(factor.health().await, first.unwrap());
}

#[tokio::test]
async fn whoever_duo_would_not_ask_has_no_push_and_proves_nothing() {
    let duo = FakeDuo::start();
    let factor = factor(&duo, SKEY);
    for result in ["allow", "deny", "enroll", "whatever"] {
        duo.preauth_says(result);
        let refused = factor.start(&request()).await;
        assert!(
            matches!(refused, Err(PushRefusal::Never(_))),
            "{result}: {refused:?}"
        );
    }
    assert!(duo.pushes().is_empty());
}

#[tokio::test]
async fn an_outage_is_told_from_a_wrong_key() {
    let duo = FakeDuo::start();
    duo.is_down(true);
    let down = factor(&duo, SKEY).start(&request()).await;
    assert!(matches!(down, Err(PushRefusal::Unavailable(_))), "{down:?}");
    duo.is_down(false);
    let wrong = factor(&duo, "wrong").start(&request()).await;
    assert!(
        matches!(&wrong, Err(PushRefusal::Never(why)) if why.contains("signature")),
        "{wrong:?}"
    );
    assert_eq!(duo.refused(), 1);
}

/// Installed once beside the build, from PyPI.
fn duo_client() -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("duo_client-5.7.0");
    if !folder.join("duo_client").is_dir() {
        let done = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--target"])
            .arg(&folder)
            .arg("duo_client==5.7.0")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.success(),
            "duo_client could not be installed: {said}"
        );
    }
    folder.to_str().unwrap().to_owned()
}

#[test]
fn duos_own_client_takes_our_duo_for_one() {
    const SCRIPT: &str = r#"
import sys, duo_client
ikey, skey, port, version = sys.argv[1:5]
auth = duo_client.Auth(ikey=ikey, skey=skey, host="127.0.0.1", ca_certs="HTTP", port=int(port), sig_version=int(version))
assert auth.preauth(username="alice@example.com")["result"] == "auth"
txid = auth.auth("push", username="alice@example.com", device="auto", async_txn=True, pushinfo="Alert=sudo%20-i&host=web-3")["txid"]
assert auth.auth_status(txid)["status"] == "pushed"
print(txid)
"#;
    let duo = FakeDuo::start();
    for version in ["2", "5"] {
        let ran = Command::new("python3")
            .env("PYTHONPATH", duo_client())
            .args(["-c", SCRIPT, IKEY, SKEY, &duo.port().to_string(), version])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "version {version}: {said}");
    }
    let pushes = duo.wait_for_pushes(2, Duration::from_secs(1));
    let host = ("host".to_owned(), "web-3".to_owned());
    assert!(pushes.iter().all(|push| push.info.contains(&host)));
    assert_eq!(duo.refused(), 0, "every signature of theirs is good");
}
