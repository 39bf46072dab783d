//! One-time links and sessions: random 256-bit tokens that the store knows only by their hash, so that a copy of the
//! store signs nobody in.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::core::ids::partition_of;
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::time::Timestamp;
use crate::store::{Store, StoreError, WriteError};

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("a token cannot be read: {0}")]
    Read(#[from] StoreError),
    #[error("a token cannot be written: {0}")]
    Write(#[from] WriteError),
    #[error("a stored token is not readable: {0}")]
    Body(#[from] serde_json::Error),
}

/// 256 random bits, safe in a URL.
pub fn fresh() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// An id for an event or a form: unique, not secret.
pub fn event_id() -> String {
    HEXLOWER.encode(&rand::random::<[u8; 16]>())
}

/// Hex SHA-256: what is stored instead of a token.
pub fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    HEXLOWER.encode(&hash.finalize())
}

/// The tokens of one kind (`link`, `session`, `enrol`).
#[derive(Clone)]
pub struct Tokens {
    store: Arc<dyn Store>,
    kind: &'static str,
}

impl Tokens {
    pub fn new(store: Arc<dyn Store>, kind: &'static str) -> Self {
        Self { store, kind }
    }

    /// Keeps `body` under the token's hash until `expires`.
    pub async fn put<T: Serialize>(
        &self,
        token: &str,
        body: &T,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<(), TokenError> {
        let row = self.row(&self.id(token), serde_json::to_string(body)?, now, expires);
        self.write(row, false).await.map(drop)
    }

    /// What the token stands for; `None` when it is unknown or expired.
    pub async fn get<T: DeserializeOwned>(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<T>, TokenError> {
        self.read(&self.id(token), now).await
    }

    /// Marks the token as used by `note`. The first caller gets `None`, everybody after the first
    /// caller's note.
    pub async fn spend(
        &self,
        token: &str,
        note: &str,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<Option<String>, TokenError> {
        let id = format!("{}/spent", self.id(token));
        let row = self.row(&id, serde_json::to_string(note)?, now, expires);
        if self.write(row, true).await? == 1 {
            return Ok(None);
        }
        Ok(Some(self.read(&id, now).await?.unwrap_or_default()))
    }

    /// Who has used the token, if anybody has.
    pub async fn spent(&self, token: &str, now: Timestamp) -> Result<Option<String>, TokenError> {
        self.read(&format!("{}/spent", self.id(token)), now).await
    }

    pub async fn forget(&self, token: &str) -> Result<(), TokenError> {
        let id = self.id(token);
        let partition = partition_of(&id, self.store.partitions());
        let delete = RowChange::Delete {
            collection: Collection::Tokens,
            id,
        };
        self.store.put_rows(partition, &[delete], false).await?;
        Ok(())
    }

    fn id(&self, token: &str) -> String {
        format!("{}/{}", self.kind, digest(&[self.kind, token]))
    }

    fn row(&self, id: &str, body: String, now: Timestamp, expires: Timestamp) -> Row {
        Row {
            collection: Collection::Tokens,
            id: id.to_owned(),
            at: now,
            fields: Vec::new(),
            body,
            expires: Some(expires),
        }
    }

    async fn write(&self, row: Row, if_absent: bool) -> Result<usize, TokenError> {
        let partition = partition_of(&row.id, self.store.partitions());
        let rows = [RowChange::Put(row)];
        Ok(self.store.put_rows(partition, &rows, if_absent).await?)
    }

    async fn read<T: DeserializeOwned>(
        &self,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<T>, TokenError> {
        let partition = partition_of(id, self.store.partitions());
        let row = self.store.row_in(partition, Collection::Tokens, id).await?;
        let live = row.filter(|row| row.expires.is_none_or(|expires| now < expires));
        live.map(|row| Ok(serde_json::from_str(&row.body)?))
            .transpose()
    }
}
