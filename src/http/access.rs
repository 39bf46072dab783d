//! Who may come in: operators with their roles, sources with their secrets. Built from the config by
//! `app`, replaced as a whole by a reload; a token that was taken out of the config opens nothing more.

use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use wildmatch::WildMatch;

use crate::core::ids::{OperatorName, SourceId};
use crate::plugins::sources::Incoming;

/// Rising: each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Acknowledges, resolves, closes, notes, ends snoozes.
    Responder,
    /// Everything: factors, links, quarantine, test pages.
    Admin,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Responder => "responder",
            Self::Admin => "admin",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Responder, Self::Admin]
            .into_iter()
            .find(|role| role.name() == word)
    }
}

/// SHA-256 of a token: the token itself is not kept. Tokens are random and long, so no salt or
/// stretching is needed.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

#[derive(Clone, Debug)]
pub struct OperatorAccess {
    pub name: OperatorName,
    pub token: TokenHash,
    pub roles: Vec<Role>,
}

impl OperatorAccess {
    pub fn may(&self, role: Role) -> bool {
        self.roles.iter().any(|have| *have >= role)
    }
}

/// Reads one quarantined payload of a polled source again.
pub type Reader = Arc<dyn Fn(&[u8]) -> Result<Vec<Incoming>, String> + Send + Sync>;

#[derive(Clone)]
pub enum SourceKind {
    /// `POST /v1/alerts`.
    Native,
    /// `POST /v1/alerts/alertmanager`.
    AlertmanagerWebhook {
        principal_label: String,
        cluster: String,
    },
    /// Nothing is pushed to it; it stands here so that its quarantine can be replayed.
    Polled(Reader),
}

impl SourceKind {
    /// Where a source of this kind posts to.
    pub fn path(&self) -> &'static str {
        match self {
            Self::Native => "/v1/alerts",
            Self::AlertmanagerWebhook { .. } => "/v1/alerts/alertmanager",
            Self::Polled(_) => "nowhere: it is polled",
        }
    }
}

/// How a source proves who it is.
#[derive(Clone)]
pub enum SourceSecret {
    Bearer(TokenHash),
    /// Standard Webhooks: `whsec_` and base64, or raw text.
    Hmac(SecretString),
    /// A polled source.
    None,
}

#[derive(Clone)]
pub struct SourceAccess {
    pub id: SourceId,
    pub kind: SourceKind,
    pub secret: SourceSecret,
    /// Globs over rule names; empty: every rule.
    pub rules: Vec<WildMatch>,
    /// Enforced by the intake; here for the record.
    pub max_backlog: Option<u64>,
}

impl SourceAccess {
    pub fn allows(&self, rule: &str) -> bool {
        self.rules.is_empty() || self.rules.iter().any(|glob| glob.matches(rule))
    }
}

#[derive(Clone, Default)]
pub struct Access {
    pub operators: Vec<OperatorAccess>,
    pub sources: Vec<SourceAccess>,
    /// The webhook secrets of PagerDuty pagers.
    pub pagerduty: Vec<SecretString>,
}

impl Access {
    /// Compares with every operator in constant time, whether or not an earlier one matched.
    pub fn operator_by_token(&self, token: &str) -> Option<&OperatorAccess> {
        let hash = TokenHash::of(token);
        self.operators
            .iter()
            .fold(None, |found, operator| match operator.token.is(&hash) {
                true => Some(operator),
                false => found,
            })
    }

    pub fn operator(&self, name: &OperatorName) -> Option<&OperatorAccess> {
        self.operators.iter().find(|o| o.name == *name)
    }

    pub fn source_by_token(&self, token: &str) -> Option<&SourceAccess> {
        let hash = TokenHash::of(token);
        self.sources
            .iter()
            .fold(None, |found, source| match &source.secret {
                SourceSecret::Bearer(expected) if expected.is(&hash) => Some(source),
                _ => found,
            })
    }

    pub fn source(&self, id: &SourceId) -> Option<&SourceAccess> {
        self.sources.iter().find(|s| s.id == *id)
    }
}
