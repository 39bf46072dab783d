//! Identifiers as types of their own, so that a case id can never be passed where an employee is meant.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::text::{Untrusted, shared};
use super::time::Timestamp;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(#[serde(deserialize_with = "shared")] Arc<str>);

        impl $name {
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }
    };
}

name_type!(
    /// An employee's id from the directory. It never changes and is never a chat id.
    EmployeeId
);
name_type!(
    /// The name of a configured alert source.
    SourceId
);
name_type!(
    /// The name of a detection rule, as the producer writes it.
    RuleName
);
name_type!(
    /// A named security engineer.
    OperatorName
);
name_type!(
    /// A configured pager.
    PagerName
);

/// Who one chat platform says somebody is. Only the platform itself may fill it in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChatIdentity {
    /// The chat plugin's name: `web`, `slack`.
    pub chat: String,
    /// The platform's own user id (Slack: `{team}/{user}`).
    pub user: String,
}

/// The characters of a reference code: no `0 O 1 I L U`, so that it survives being read aloud.
const REFERENCE_ALPHABET: &[u8; 30] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Five characters stand in chat, form and page.
const REFERENCE_LENGTH: usize = 5;

/// Whether a word has the shape of a reference code, in any case of letters.
pub fn is_reference(word: &str) -> bool {
    word.len() == REFERENCE_LENGTH
        && word
            .bytes()
            .all(|b| REFERENCE_ALPHABET.contains(&b.to_ascii_uppercase()))
}

/// One case, and the escalation it may have: a UUIDv7, so that ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CaseId(Uuid);

impl CaseId {
    /// A UUIDv7 (RFC 9562, section 5.7) for `now`, its random part from `entropy` and `nth`.
    pub fn new(now: Timestamp, entropy: u128, nth: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(entropy.to_be_bytes());
        hash.update(nth.to_be_bytes());
        let digest = hash.finalize();
        let mut random = [0u8; 10];
        random.copy_from_slice(&digest[..10]);
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// Its 16 bytes, as RFC 9562 orders them.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The five-character reference code, taken from the random part.
    pub fn reference(&self) -> String {
        let mut rest =
            u64::from_be_bytes(*self.0.as_bytes().last_chunk().expect("16 bytes hold 8"))
                & 0x0fff_ffff_ffff_ffff;
        let base = REFERENCE_ALPHABET.len() as u64;
        (0..REFERENCE_LENGTH)
            .map(|_| {
                let index = usize::try_from(rest % base).expect("below 30");
                rest /= base;
                char::from(REFERENCE_ALPHABET[index])
            })
            .collect()
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One durable thing with an owner: an employee's conversation, an escalation, a source's intake.
///
/// `partition` is the unit of ordering and placement (see [`partition_of`]); `name` is unique in
/// the store: `employee/alice`, `unknown/mallory`, `source/local`, `escalation/{case id}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AggregateKey {
    pub partition: u16,
    pub name: String,
}

impl AggregateKey {
    pub fn employee(id: &EmployeeId, partitions: u16) -> Self {
        Self::placed(format!("employee/{id}"), partitions)
    }

    /// The conversation without a chat that carries an unknown principal's cases.
    /// The principal's name is cleaned and cut, so that it can stand in a key.
    pub fn unknown(principal: &Untrusted, partitions: u16) -> Self {
        const MAX_CHARS: usize = 200;
        let name = principal.line(MAX_CHARS).to_ascii_lowercase();
        Self::placed(format!("unknown/{name}"), partitions)
    }

    pub fn source(id: &SourceId, partitions: u16) -> Self {
        Self::placed(format!("source/{id}"), partitions)
    }

    /// An escalation lives in the partition of its case, so that one commit can write both.
    pub fn escalation(case: CaseId, partition: u16) -> Self {
        Self {
            partition,
            name: format!("escalation/{case}"),
        }
    }

    fn placed(name: String, partitions: u16) -> Self {
        Self {
            partition: partition_of(&name, partitions),
            name,
        }
    }

    /// The part before the slash: `employee`, `unknown`, `source`, `escalation`.
    pub fn kind(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// The part after the slash.
    pub fn subject(&self) -> &str {
        self.name.split_once('/').map_or("", |(_, subject)| subject)
    }
}

impl fmt::Display for AggregateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The partition of an aggregate: the first four bytes of SHA-256 over its name, big-endian, modulo
/// `partitions`. It is fixed for the life of a store.
pub fn partition_of(name: &str, partitions: u16) -> u16 {
    let digest = Sha256::digest(name.as_bytes());
    let head = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    u16::try_from(head % u32::from(partitions.max(1))).expect("a remainder of a u16")
}
