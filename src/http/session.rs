//! Operators' sessions: a random cookie whose hash is a row in the store, so that a restart signs nobody
//! out and a copy of the database signs nobody in. A session dies with the token it was opened with.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::core::ids::{OperatorName, partition_of};
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::time::Timestamp;

use super::Http;
use super::access::OperatorAccess;
use super::error::ApiError;

/// A shift and a half; then the token is asked for again.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

#[derive(Serialize, Deserialize)]
struct Stored {
    kind: String,
    operator: OperatorName,
    /// Hash of the token that opened it.
    token: String,
    until: Timestamp,
}

/// A live session of a request.
#[derive(Clone)]
pub struct Session {
    pub operator: OperatorAccess,
    /// Belongs into every form; another site cannot know it.
    pub csrf: String,
}

impl Session {
    pub fn csrf_is(&self, given: &str) -> bool {
        self.csrf.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

fn cookie_name(http: &Http) -> &'static str {
    if http.is_https() {
        "__Host-securitybot"
    } else {
        "securitybot"
    }
}

/// Opens a session and gives the `Set-Cookie` header for it.
pub async fn open(http: &Http, operator: &OperatorAccess) -> Result<String, ApiError> {
    let secret = hex::encode(rand::random::<[u8; 32]>());
    let now = http.now();
    let stored = Stored {
        kind: "operator_session".to_owned(),
        operator: operator.name.clone(),
        token: operator.token.hex(),
        until: now.after(LIFETIME),
    };
    let row = Row {
        collection: Collection::Tokens,
        id: row_id(&secret),
        at: now,
        fields: Vec::new(),
        body: serde_json::to_string(&stored).map_err(|e| ApiError::broken(e.to_string()))?,
        expires: Some(stored.until),
    };
    let partition = partition_of(&row.id, http.store.partitions());
    http.store
        .put_rows(partition, &[RowChange::Put(row)], false)
        .await?;
    Ok(set_cookie(http, &secret, LIFETIME.as_secs()))
}

/// The session of a request: known, not over, its operator still there with the same token.
pub async fn of(http: &Http, request: &HttpRequest) -> Result<Option<Session>, ApiError> {
    let Some(secret) = cookie(http, request) else {
        return Ok(None);
    };
    let id = row_id(&secret);
    let partition = partition_of(&id, http.store.partitions());
    let row = http
        .store
        .row_in(partition, Collection::Tokens, &id)
        .await?;
    let Some(stored) = row.and_then(|row| serde_json::from_str::<Stored>(&row.body).ok()) else {
        return Ok(None);
    };
    let access = http.access();
    let operator = access
        .operator(&stored.operator)
        .filter(|operator| operator.token.hex() == stored.token)
        .filter(|_| stored.kind == "operator_session" && http.now() < stored.until);
    Ok(operator.map(|operator| Session {
        operator: operator.clone(),
        csrf: csrf(&secret),
    }))
}

/// Ends the session and gives the `Set-Cookie` header that removes it.
pub async fn end(http: &Http, request: &HttpRequest) -> Result<String, ApiError> {
    if let Some(secret) = cookie(http, request) {
        let id = row_id(&secret);
        let partition = partition_of(&id, http.store.partitions());
        let collection = Collection::Tokens;
        http.store
            .put_rows(partition, &[RowChange::Delete { collection, id }], false)
            .await?;
    }
    Ok(set_cookie(http, "", 0))
}

fn set_cookie(http: &Http, value: &str, max_age: u64) -> String {
    let secure = if http.is_https() { "; Secure" } else { "" };
    // Lax, not Strict: the link in a page is followed from another site and must find the session.
    format!(
        "{}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}",
        cookie_name(http)
    )
}

fn cookie(http: &Http, request: &HttpRequest) -> Option<String> {
    let name = cookie_name(http);
    request
        .headers()
        .get_all(header::COOKIE)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(n, value)| *n == name && !value.is_empty())
        .map(|(_, value)| value.to_owned())
}

fn row_id(secret: &str) -> String {
    let hash = Sha256::digest(secret.as_bytes());
    format!("operator_session:{}", hex::encode(hash))
}

fn csrf(secret: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(b"csrf");
    hex::encode(mac.finalize().into_bytes())
}
