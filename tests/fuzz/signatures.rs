//! Signatures: only the right one passes, whatever stands in the headers.

use secrecy::SecretString;
use securitybot::core::time::Timestamp;
use securitybot::plugins::chat::slack;
use securitybot::plugins::standard_webhooks::Secret;

use crate::engine::fuzz;

const NOW: i64 = 1_795_514_520;

/// Four lines: id, time, signature, body. The signature is made anew when it reads `SIGN`.
fn parts(bytes: &[u8]) -> [String; 4] {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(4, '\n').map(str::to_owned);
    std::array::from_fn(|_| lines.next().unwrap_or_default())
}

#[test]
fn standard_webhooks() {
    let secret = Secret::new(&SecretString::from(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ))
    .unwrap();
    let now = Timestamp::from_millis(NOW * 1_000);
    fuzz("standard_webhooks", |bytes| {
        let [id, at, given, body] = parts(bytes);
        let right = secret.sign(&id, at.parse().unwrap_or(0), body.as_bytes());
        let given = given.replace("SIGN", &right);
        let passes = secret
            .verify(&id, &at, &given, body.as_bytes(), now)
            .is_ok();
        let in_time = at.parse::<i64>().is_ok_and(|at| at.abs_diff(NOW) <= 300);
        let holds = given.split_ascii_whitespace().any(|one| one == right);
        match passes == (in_time && holds) {
            true => Ok(()),
            false => Err(format!(
                "passes: {passes}, in time: {in_time}, holds it: {holds}"
            )),
        }
    });
}

#[test]
fn slack_requests() {
    let secret = SecretString::from("8f742231b10e8888abcd99yyyzzz85a5");
    let now = Timestamp::from_millis(NOW * 1_000);
    fuzz("slack_signature", |bytes| {
        let [_, at, given, body] = parts(bytes);
        // Nobody without the secret makes one.
        match slack::is_genuine(&secret, &at, &given, body.as_bytes(), now) {
            true => Err("a forged request passes".to_owned()),
            false => Ok(()),
        }
    });
}
