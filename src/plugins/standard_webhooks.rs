//! Standard Webhooks signatures, both directions: without them anybody who can reach the endpoint could
//! invent alerts, and a receiver could not tell our pages from somebody else's.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::core::time::Timestamp;

pub const ID_HEADER: &str = "webhook-id";
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// How far a request's time may be from ours: long enough for bad clocks, short enough that a recorded
/// request is soon worthless. The specification leaves it to us; its libraries use five minutes.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// A key of one endpoint. It signs and verifies and never prints.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("the webhook secret is empty, expected `whsec_` and base64, or any text")]
    Empty,
    #[error("the webhook secret begins with `whsec_` but base64 does not follow")]
    NotBase64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("webhook-timestamp is not a number of seconds")]
    BadTimestamp,
    #[error("webhook-timestamp is more than five minutes away from now")]
    TooFar,
    #[error("webhook-signature does not match")]
    NoMatch,
}

impl Secret {
    /// The bytes behind `whsec_` in base64, or the text itself.
    pub fn new(text: &SecretString) -> Result<Self, SecretError> {
        let text = text.expose_secret();
        let key = match text.strip_prefix("whsec_") {
            Some(encoded) => STANDARD
                .decode(encoded.trim())
                .map_err(|_| SecretError::NotBase64)?,
            None => text.as_bytes().to_vec(),
        };
        if key.is_empty() {
            return Err(SecretError::Empty);
        }
        Ok(Self(
            Hmac::new_from_slice(&key).expect("HMAC takes keys of every length"),
        ))
    }

    /// The value of `webhook-signature`.
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let tag = self.mac(id, seconds, body).finalize().into_bytes();
        format!("v1,{}", STANDARD.encode(tag))
    }

    /// The three headers of a request sent at `at`.
    pub fn headers(&self, id: &str, at: Timestamp, body: &[u8]) -> [(&'static str, String); 3] {
        let seconds = at.as_millis().div_euclid(1000);
        [
            (ID_HEADER, id.to_owned()),
            (TIMESTAMP_HEADER, seconds.to_string()),
            (SIGNATURE_HEADER, self.sign(id, seconds, body)),
        ]
    }

    /// Whether one of the (space separated) signatures is ours for exactly this id, time and body.
    /// A repeat within the tolerance passes: telling repeats apart is the business of the id.
    pub fn verify(
        &self,
        id: &str,
        timestamp: &str,
        signatures: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), VerifyError> {
        let seconds: i64 = timestamp.parse().map_err(|_| VerifyError::BadTimestamp)?;
        let at = Timestamp::from_millis(seconds.saturating_mul(1000));
        if now.since(at) > TOLERANCE || at.since(now) > TOLERANCE {
            return Err(VerifyError::TooFar);
        }
        let matches = signatures
            .split_ascii_whitespace()
            .filter_map(|entry| entry.strip_prefix("v1,"))
            .filter_map(|tag| STANDARD.decode(tag).ok())
            // `verify_slice` compares in constant time.
            .any(|tag| self.mac(id, seconds, body).verify_slice(&tag).is_ok());
        if matches {
            Ok(())
        } else {
            Err(VerifyError::NoMatch)
        }
    }

    fn mac(&self, id: &str, seconds: i64, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The reference vector of the specification's own libraries.
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret(text: &str) -> Secret {
        Secret::new(&SecretString::from(text)).unwrap()
    }

    fn reference() -> Secret {
        secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    }

    fn seconds(at: i64) -> Timestamp {
        Timestamp::from_millis(at * 1000)
    }

    #[test]
    fn the_reference_vector_is_signed_and_verified() {
        assert_eq!(reference().sign(ID, AT, BODY), SIGNATURE);
        let headers = reference().headers(ID, Timestamp::from_millis(AT * 1000 + 999), BODY);
        assert_eq!(headers[1].1, AT.to_string());
        let several = format!("v1a,AAAA v1,AAAA {SIGNATURE}");
        let verdict = reference().verify(ID, &headers[1].1, &several, BODY, seconds(AT + 300));
        assert_eq!(verdict, Ok(()));
    }

    #[test]
    fn another_id_time_body_or_secret_does_not_match() {
        let (s, at) = (reference(), AT.to_string());
        let later = (AT + 1).to_string();
        let no = Err(VerifyError::NoMatch);
        assert_eq!(s.verify("msg_1", &at, SIGNATURE, BODY, seconds(AT)), no);
        assert_eq!(s.verify(ID, &later, SIGNATURE, BODY, seconds(AT)), no);
        assert_eq!(s.verify(ID, &at, SIGNATURE, b"{}", seconds(AT)), no);
        assert_eq!(s.verify(ID, &at, "", BODY, seconds(AT)), no);
        let raw = secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        assert_eq!(raw.verify(ID, &at, SIGNATURE, BODY, seconds(AT)), no);
    }

    #[test]
    fn five_minutes_either_way_is_the_end() {
        let (s, at) = (reference(), AT.to_string());
        for now in [AT - 301, AT + 301] {
            let verdict = s.verify(ID, &at, SIGNATURE, BODY, seconds(now));
            assert_eq!(verdict, Err(VerifyError::TooFar));
        }
        for odd in ["", "soon", "1614265330.5", "99999999999999999999"] {
            let verdict = s.verify(ID, odd, SIGNATURE, BODY, seconds(AT));
            assert_eq!(verdict, Err(VerifyError::BadTimestamp));
        }
    }

    #[test]
    fn a_secret_that_is_no_key_is_refused() {
        let error = |text: &str| Secret::new(&SecretString::from(text)).err();
        assert_eq!(error(""), Some(SecretError::Empty));
        assert_eq!(error("whsec_"), Some(SecretError::Empty));
        assert_eq!(error("whsec_***"), Some(SecretError::NotBase64));
    }
}
