//! Second factors. A factor only says whether one use of it was good; what that proves is decided by
//! the conversation (bound to case, revision and answer).

pub mod duo;
pub mod seal;
pub mod totp;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::core::conversation::{Proof, PushRequest, PushVerdict};
use crate::core::ids::EmployeeId;
use crate::plugins::Health;

/// A factor whose proof is a code typed into the form.
#[async_trait]
pub trait CodeFactor: Send + Sync + 'static {
    /// `totp`.
    fn name(&self) -> &'static str;

    /// Makes a new secret for an employee: the URI for the authenticator app, and the sealed form that
    /// the enrolment's commit stores.
    fn enroll(&self, employee: &EmployeeId, label: &str) -> Enrolment;

    /// Checks a code against the sealed seed. Never says more than which time step it matched.
    async fn check(&self, employee: &EmployeeId, sealed: &str, code: &SecretString) -> Proof;
}

/// A factor whose proof is an approval on the employee's phone.
#[async_trait]
pub trait PushFactor: Send + Sync + 'static {
    /// `duo`.
    fn name(&self) -> &'static str;

    /// Sends one request to the phone and answers its transaction, good across restarts. Whoever is
    /// let through without being asked has proved nothing: that is `Never`. Not repeated by itself: a
    /// second request on the phone would be one too many.
    async fn start(&self, request: &PushRequest) -> Result<String, PushRefusal>;

    /// Waits a while for the answer; `None`: there is none yet.
    async fn answer(&self, transaction: &str) -> Result<Option<PushVerdict>, PushRefusal>;

    /// Whether the service can be reached and takes our keys. Asked every few seconds.
    async fn health(&self) -> Health;
}

/// Why there is no push, or no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushRefusal {
    /// Not for this employee, or not with these keys.
    #[error("{0}")]
    Never(String),
    /// The service cannot be reached; a request may have gone out.
    #[error("{0}")]
    Unavailable(String),
}

pub struct Enrolment {
    pub otpauth_uri: SecretString,
    pub sealed_seed: String,
}
