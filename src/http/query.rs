//! Query strings of lists, checked word by word: an unknown or malformed parameter is a 400 that names
//! it, because a filter that is silently ignored shows an operator the wrong list.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::core::machine::Collection;
use crate::core::time::Timestamp;
use crate::store::{RowPage, RowQuery};

use super::error::ApiError;

pub const DEFAULT_LIMIT: usize = 50;
pub const MAX_LIMIT: usize = 500;
/// Half of the checksum is enough to tell a cursor of ours from anything else.
const CHECK_BYTES: usize = 8;

/// The parameters of one list request.
pub struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Only `known` names may appear, each once.
    pub fn parse(query: &str, known: &[&str]) -> Result<Self, ApiError> {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(ApiError::bad_request(format!(
                    "{}: unknown parameter, expected one of {}",
                    name.escape_debug(),
                    known.join(", ")
                )));
            }
            if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(ApiError::bad_request(format!("{name}: expected once")));
            }
        }
        Ok(Self { pairs })
    }

    /// A parameter without a value counts as absent, as HTML forms send it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(n, _)| n == name)?;
        Some(pair.1.as_str()).filter(|value| !value.is_empty())
    }

    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        self.get(name)
            .map(|text| {
                Timestamp::parse_rfc3339(text).ok_or_else(|| {
                    ApiError::bad_request(format!(
                        "{name}: expected an RFC 3339 time such as 2026-11-24T02:14:00Z"
                    ))
                })
            })
            .transpose()
    }

    /// One of a few words.
    pub fn word(&self, name: &str, words: &[&str]) -> Result<Option<&str>, ApiError> {
        match self.get(name) {
            Some(word) if !words.contains(&word) => Err(ApiError::bad_request(format!(
                "{name}: expected one of {}",
                words.join(", ")
            ))),
            word => Ok(word),
        }
    }

    pub fn limit(&self) -> Result<usize, ApiError> {
        let Some(text) = self.get("limit") else {
            return Ok(DEFAULT_LIMIT);
        };
        text.parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| {
                ApiError::bad_request(format!("limit: expected a whole number, 1 to {MAX_LIMIT}"))
            })
    }

    /// The list these parameters ask for, paging included.
    pub fn rows(
        &self,
        collection: Collection,
        fields: Vec<(&'static str, String)>,
    ) -> Result<RowQuery, ApiError> {
        let mut query = RowQuery {
            collection,
            fields,
            since: self.time("since")?,
            until: self.time("until")?,
            limit: self.limit()?,
            cursor: None,
        };
        if let Some(cursor) = self.get("cursor") {
            let inner = open_cursor(cursor, &query).ok_or_else(|| {
                ApiError::bad_request("cursor: expected the `next` of an answer to the same query")
            })?;
            query.cursor = Some(inner);
        }
        Ok(query)
    }
}

/// The `next` of an answer: the store's cursor, tied to the filters it belongs to.
pub fn next_cursor(query: &RowQuery, page: &RowPage) -> Option<String> {
    let inner = page.next.as_ref()?;
    let mut bytes = check(inner, query).to_vec();
    bytes.extend_from_slice(inner.as_bytes());
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

fn open_cursor(cursor: &str, query: &RowQuery) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (sum, inner) = bytes.split_at_checked(CHECK_BYTES)?;
    let inner = String::from_utf8(inner.to_vec()).ok()?;
    (sum == check(&inner, query)).then_some(inner)
}

fn check(inner: &str, query: &RowQuery) -> [u8; CHECK_BYTES] {
    let mut hash = Sha256::new();
    hash.update(query.collection.name());
    for (name, value) in &query.fields {
        hash.update([0]);
        hash.update(name);
        hash.update([1]);
        hash.update(value);
    }
    for at in [query.since, query.until] {
        hash.update(at.map_or(i64::MIN, Timestamp::as_millis).to_be_bytes());
    }
    hash.update(inner);
    let digest = hash.finalize();
    let mut sum = [0; CHECK_BYTES];
    sum.copy_from_slice(&digest[..CHECK_BYTES]);
    sum
}
