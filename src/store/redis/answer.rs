//! What the server's answers mean, and what a call without one may have done.

use redis::{ErrorKind, FromRedisValue, RedisError, Value};

use crate::store::{StoreError, WriteError};

/// How a call failed, by what is known of the server's state.
#[derive(Clone, Debug)]
pub(super) enum CallError {
    /// Never sent, or refused by the server before anything was done.
    Certain(String),
    /// It may have been done, or may still be.
    Unknown(String),
    /// Done, but the answer is not what the script gives.
    Strange(String),
}

impl CallError {
    pub fn on_write(self) -> WriteError {
        match self {
            Self::Certain(why) => WriteError::Failed(why),
            Self::Unknown(why) | Self::Strange(why) => WriteError::Unknown(why),
        }
    }

    pub fn on_read(self) -> StoreError {
        match self {
            Self::Certain(why) | Self::Unknown(why) => StoreError::Unavailable(why),
            Self::Strange(why) => StoreError::Corrupt(why),
        }
    }
}

/// Answers that say that nothing was done.
const CERTAIN: [&str; 19] = [
    "NOSCRIPT",
    "OOM",
    "MISCONF",
    "READONLY",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "LOADING",
    "MASTERDOWN",
    "NOREPLICAS",
    "BUSY",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "CROSSSLOT",
    "MOVED",
    "ASK",
    "DENIED",
    "NOPROTO",
    "EXECABORT",
];
/// Of these, the ones a fresh connection does not help against.
pub(super) const KEEP_CONNECTION: [&str; 6] = [
    "NOSCRIPT",
    "OOM",
    "MISCONF",
    "LOADING",
    "NOREPLICAS",
    "BUSY",
];

pub(super) fn read<T: FromRedisValue>(answer: Value) -> Result<T, CallError> {
    redis::from_redis_value(answer).map_err(|error| CallError::Strange(error.to_string()))
}

pub(super) fn is_refusal(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(_))
}

pub(super) fn classify(code: &str, error: &RedisError) -> CallError {
    let why = error.to_string();
    match error.kind() {
        _ if CERTAIN.contains(&code) => CallError::Certain(format!("{code}: {why}")),
        // Not even read as a command (without a password only short ones are); the server hangs up.
        _ if why.contains("Protocol error") => CallError::Certain(why),
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => CallError::Strange(why),
        ErrorKind::ClusterConnectionNotFound | ErrorKind::AuthenticationFailed => {
            CallError::Certain(why)
        }
        _ => CallError::Unknown(why),
    }
}
