//! Time-based codes (RFC 6238: SHA-1, six digits, thirty seconds, the variant every authenticator app
//! speaks). Only says which time step a code belongs to; that a step counts once is the Conversation's
//! affair, so that acceptance and outcome are one commit.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use data_encoding::BASE32_NOPAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use totp_lite::{Sha1, totp_custom};

use crate::core::conversation::Proof;
use crate::core::ids::EmployeeId;
use crate::plugins::outgoing::Clock;

use super::seal::{SealKey, fill};
use super::{CodeFactor, Enrolment};

const STEP_SECONDS: u64 = 30;
const DIGITS: u32 = 6;
/// RFC 4226, section 4: 160 bits are recommended.
const SECRET_BYTES: usize = 20;
const ISSUER: &str = "Securitybot";
/// Codes follow the system clock, deadlines ours. While the two disagree by more, one of them is wrong
/// and a right code could be counted as a wrong one.
const MAX_SKEW: Duration = Duration::from_secs(5);
/// RFC 3986: what needs no encoding.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// By how much the system clock and the bot's clock differ now.
pub type Skew = Arc<dyn Fn() -> Duration + Send + Sync>;

pub struct TotpFactor {
    key: SealKey,
    system_clock: Clock,
    skew: Skew,
}

impl TotpFactor {
    pub fn new(key: SealKey, system_clock: Clock, skew: Skew) -> Self {
        Self {
            key,
            system_clock,
            skew,
        }
    }
}

#[async_trait]
impl CodeFactor for TotpFactor {
    fn name(&self) -> &'static str {
        "totp"
    }

    fn enroll(&self, employee: &EmployeeId, label: &str) -> Enrolment {
        let mut secret = [0u8; SECRET_BYTES];
        fill(&mut secret);
        Enrolment {
            otpauth_uri: SecretString::from(otpauth_uri(&secret, label)),
            sealed_seed: self.key.seal(employee, &secret),
        }
    }

    async fn check(&self, employee: &EmployeeId, sealed: &str, code: &SecretString) -> Proof {
        if (self.skew)() > MAX_SKEW {
            return Proof::Unavailable {
                reason: "the clocks of this server disagree, please try again in a minute"
                    .to_owned(),
            };
        }
        match self.key.unseal(employee, sealed) {
            Ok(secret) => Proof::Totp {
                step: digits(code.expose_secret()).and_then(|code| {
                    matching_step(&secret, &code, (self.system_clock)().as_millis())
                }),
            },
            Err(error) => {
                tracing::error!(%employee, %error, "a stored TOTP seed cannot be opened");
                Proof::Unavailable {
                    reason: "your code cannot be checked right now, the security team has to look"
                        .to_owned(),
                }
            }
        }
    }
}

/// The URI for the authenticator app
/// (<https://github.com/google/google-authenticator/wiki/Key-Uri-Format>).
fn otpauth_uri(secret: &[u8], label: &str) -> String {
    let label = utf8_percent_encode(label, UNRESERVED);
    let secret = BASE32_NOPAD.encode(secret);
    format!(
        "otpauth://totp/{ISSUER}:{label}?secret={secret}&issuer={ISSUER}\
         &algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}"
    )
}

/// Six ASCII digits, however they were grouped; anything else is no code.
fn digits(typed: &str) -> Option<String> {
    let code: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
    let whole = code.len() == DIGITS as usize && code.bytes().all(|b| b.is_ascii_digit());
    whole.then_some(code)
}

/// The step of a code that is right now or was or will be one step away (RFC 6238, section 5.2). All
/// three are always compared, in constant time.
fn matching_step(secret: &[u8], code: &str, now_ms: i64) -> Option<u64> {
    let now = u64::try_from(now_ms).ok()? / 1000 / STEP_SECONDS;
    let mut matched = None;
    for step in [now.saturating_sub(1), now + 1, now] {
        let expected = totp_custom::<Sha1>(STEP_SECONDS, DIGITS, secret, step * STEP_SECONDS);
        if bool::from(expected.as_bytes().ct_eq(code.as_bytes())) {
            matched = Some(step);
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_6238_match_their_step_and_its_neighbours_only() {
        let secret = b"12345678901234567890";
        // Appendix B, the last six of the eight digits.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let step = seconds / 30;
            let at = |step: i64| matching_step(secret, code, step * 30_000 + 29_999);
            let own = Some(u64::try_from(step).unwrap());
            assert_eq!([at(step - 1), at(step), at(step + 1)], [own; 3], "{code}");
            assert_eq!([at(step - 2), at(step + 2)], [None; 2], "{code}");
        }
    }

    #[test]
    fn a_code_is_six_ascii_digits_however_it_is_grouped() {
        for typed in ["123456", " 123 456\n", "123\u{a0}456"] {
            assert_eq!(digits(typed).as_deref(), Some("123456"));
        }
        for typed in [
            "",
            "12345",
            "1234567",
            "12345a",
            "１２３４５６",
            "123-456",
            "+12345",
            "\0",
        ] {
            assert_eq!(digits(typed), None, "{typed:?}");
        }
    }

    #[test]
    fn the_label_is_encoded_so_that_it_cannot_add_parameters() {
        let uri = otpauth_uri(b"12345678901234567890", "a&secret=X b@é:c");
        assert_eq!(
            uri,
            "otpauth://totp/Securitybot:a%26secret%3DX%20b%40%C3%A9%3Ac?secret=\
             GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Securitybot&algorithm=SHA1&digits=6&period=30"
        );
    }
}
