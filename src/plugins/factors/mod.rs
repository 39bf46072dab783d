//! Second factors. A factor only says whether one use of it was good; what that proves is decided by
//! the conversation (bound to case, revision and answer).

pub mod seal;
pub mod totp;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::core::conversation::Proof;
use crate::core::ids::EmployeeId;

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

pub struct Enrolment {
    pub otpauth_uri: SecretString,
    pub sealed_seed: String,
}
