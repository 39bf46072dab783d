//! Codes against an independent implementation, and seeds that open for their owner only.
#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use securitybot::core::conversation::Proof;
use securitybot::core::ids::EmployeeId;
use securitybot::core::time::Timestamp;
use securitybot::plugins::factors::seal::{SealKey, SealKeyError, UnsealError};
use securitybot::plugins::factors::totp::TotpFactor;
use securitybot::plugins::factors::{CodeFactor, Enrolment};

const NOW: i64 = 1_795_486_440;

struct Scene {
    factor: TotpFactor,
    now: Arc<AtomicI64>,
    skew_ms: Arc<AtomicI64>,
}

fn scene(key: [u8; 32]) -> Scene {
    let now = Arc::new(AtomicI64::new(NOW));
    let skew_ms = Arc::new(AtomicI64::new(0));
    let (clock, skew) = (Arc::clone(&now), Arc::clone(&skew_ms));
    let factor = TotpFactor::new(
        SealKey::from_bytes(&key),
        Arc::new(move || Timestamp::from_millis(clock.load(Ordering::SeqCst) * 1000)),
        Arc::new(move || Duration::from_millis(skew.load(Ordering::SeqCst).unsigned_abs())),
    );
    Scene {
        factor,
        now,
        skew_ms,
    }
}

fn alice() -> EmployeeId {
    EmployeeId::new("alice")
}

/// The code that oathtool makes of the URI's secret at a time.
fn oathtool(enrolment: &Enrolment, seconds: i64) -> SecretString {
    let uri = enrolment.otpauth_uri.expose_secret();
    let (_, rest) = uri.split_once("secret=").expect("a secret in the URI");
    let secret = rest.split('&').next().unwrap();
    let output = Command::new("oathtool")
        .args([
            "--totp",
            "--base32",
            "--now",
            &format!("@{seconds}"),
            secret,
        ])
        .output()
        .expect("oathtool runs: apt-get install oathtool");
    assert!(output.status.success(), "{output:?}");
    SecretString::from(String::from_utf8(output.stdout).unwrap())
}

fn step(seconds: i64) -> Proof {
    Proof::Totp {
        step: u64::try_from(seconds / 30).ok(),
    }
}

#[tokio::test]
async fn codes_of_oathtool_are_good_for_one_step_either_way() {
    let scene = scene([7; 32]);
    let enrolment = scene.factor.enroll(&alice(), "alice@example.com");
    let uri = enrolment.otpauth_uri.expose_secret();
    assert!(
        uri.starts_with("otpauth://totp/Securitybot:alice%40example.com?secret="),
        "{uri}"
    );
    let code = oathtool(&enrolment, NOW);
    for (now, expected) in [
        (NOW, step(NOW)),
        (NOW - 30, step(NOW)),
        (NOW + 30, step(NOW)),
        (NOW - 60, Proof::Totp { step: None }),
        (NOW + 60, Proof::Totp { step: None }),
    ] {
        scene.now.store(now, Ordering::SeqCst);
        let proof = scene
            .factor
            .check(&alice(), &enrolment.sealed_seed, &code)
            .await;
        assert_eq!(proof, expected, "{}", now - NOW);
    }
}

#[tokio::test]
async fn each_enrolment_has_a_secret_of_its_own() {
    let scene = scene([7; 32]);
    let (one, two) = (
        scene.factor.enroll(&alice(), "a"),
        scene.factor.enroll(&alice(), "a"),
    );
    assert_ne!(
        one.otpauth_uri.expose_secret(),
        two.otpauth_uri.expose_secret()
    );
    let other = oathtool(&two, NOW);
    let proof = scene.factor.check(&alice(), &one.sealed_seed, &other).await;
    assert_eq!(proof, Proof::Totp { step: None });
}

#[tokio::test]
async fn nothing_is_checked_while_the_clocks_disagree() {
    let scene = scene([7; 32]);
    let enrolment = scene.factor.enroll(&alice(), "alice");
    let code = oathtool(&enrolment, NOW);
    for (skew_ms, is_checked) in [(5_000, true), (5_001, false), (-60_000, false)] {
        scene.skew_ms.store(skew_ms, Ordering::SeqCst);
        let proof = scene
            .factor
            .check(&alice(), &enrolment.sealed_seed, &code)
            .await;
        assert_eq!(proof == step(NOW), is_checked, "{skew_ms}");
        assert_eq!(matches!(proof, Proof::Unavailable { .. }), !is_checked);
    }
}

#[tokio::test]
async fn a_seed_opens_for_its_owner_and_key_only_and_counts_nothing_otherwise() {
    let one = scene([7; 32]);
    let enrolment = one.factor.enroll(&alice(), "alice");
    let code = oathtool(&enrolment, NOW);
    let bob = EmployeeId::new("bob");
    let moved = one.factor.check(&bob, &enrolment.sealed_seed, &code).await;
    let other_key = scene([8; 32])
        .factor
        .check(&alice(), &enrolment.sealed_seed, &code)
        .await;
    let damaged = one.factor.check(&alice(), "v1:junk", &code).await;
    for proof in [moved, other_key, damaged] {
        assert!(matches!(proof, Proof::Unavailable { .. }), "{proof:?}");
    }
    let key = SealKey::from_bytes(&[7; 32]);
    assert_eq!(
        key.unseal(&bob, &enrolment.sealed_seed),
        Err(UnsealError::Refused)
    );
    let other = SealKey::from_bytes(&[8; 32]);
    assert_eq!(
        other.unseal(&alice(), &enrolment.sealed_seed),
        Err(UnsealError::OtherKey)
    );
}

#[test]
fn the_seed_key_is_made_once_and_missed_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seed.key");
    let missing = SealKey::load_or_create(&path, false).err();
    assert!(matches!(missing, Some(SealKeyError::Missing(_))));
    assert!(!path.exists(), "a refused start leaves nothing behind");

    let sealed = SealKey::load_or_create(&path, true)
        .unwrap()
        .seal(&alice(), b"seed");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let again = SealKey::load_or_create(&path, true).unwrap();
    assert_eq!(again.unseal(&alice(), &sealed).as_deref(), Ok(&b"seed"[..]));

    for damage in [&b"AAAA\n"[..], b"", b"\xff\xfe"] {
        fs::write(&path, damage).unwrap();
        let error = SealKey::load_or_create(&path, true).err();
        assert!(matches!(error, Some(SealKeyError::Damaged(_))), "{error:?}");
    }
}
