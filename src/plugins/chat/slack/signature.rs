//! Slack's request signature, version 0: without it anybody on the net could answer for anybody (promise P5).

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::core::time::Timestamp;

/// Requests older than this are replays.
const WINDOW_MS: u64 = 300_000;

/// `signature` is `v0=` and hex HMAC-SHA256 over `v0:{timestamp}:{body}`; `timestamp` is in seconds. Constant time.
/// <https://docs.slack.dev/authentication/verifying-requests-from-slack>
pub fn is_genuine(
    secret: &SecretString,
    timestamp: &str,
    signature: &str,
    body: &[u8],
    now: Timestamp,
) -> bool {
    let at = timestamp.parse::<i64>().ok().filter(|at| *at >= 0);
    let in_time = at
        .and_then(|at| at.checked_mul(1_000))
        .is_some_and(|at| now.as_millis().abs_diff(at) <= WINDOW_MS);
    let given = signature
        .strip_prefix("v0=")
        .and_then(|hex| hex::decode(hex).ok());
    let (true, Some(given)) = (in_time, given) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
        return false;
    };
    mac.update(format!("v0:{timestamp}:").as_bytes());
    mac.update(body);
    mac.verify_slice(&given).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Slack's documentation.
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
        channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
        response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
        trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const AT: &str = "1531420618";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    fn genuine(body: &str, at: &str, signature: &str, seconds_later: i64) -> bool {
        let secret = SecretString::from("8f742231b10e8888abcd99yyyzzz85a5");
        let now = Timestamp::from_millis((1_531_420_618 + seconds_later) * 1_000);
        is_genuine(&secret, at, signature, body.as_bytes(), now)
    }

    #[test]
    fn the_documented_example_is_genuine_for_five_minutes() {
        assert!(genuine(BODY, AT, SIGNATURE, 0));
        assert!(genuine(BODY, AT, SIGNATURE, 300));
        assert!(!genuine(BODY, AT, SIGNATURE, 301));
        assert!(!genuine(BODY, AT, SIGNATURE, -301));
    }

    #[test]
    fn an_altered_request_is_not_genuine() {
        assert!(!genuine(
            &BODY.replace("roadrunner", "coyote"),
            AT,
            SIGNATURE,
            0
        ));
        assert!(!genuine(BODY, "1531420619", SIGNATURE, 0));
        assert!(!genuine(BODY, AT, &SIGNATURE.replace("v0", "v1"), 0));
        assert!(!genuine(BODY, AT, &SIGNATURE[..40], 0));
        assert!(!genuine(BODY, AT, "", 0));
        assert!(!genuine(BODY, "-1", SIGNATURE, 0));
    }
}
