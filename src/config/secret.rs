//! Secrets are named in `config.toml`, never written there: a config file gets mailed, committed and
//! pasted into tickets.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use url::Url;

const HINT: &str =
    r#"a secret is never written here, expected { env = "NAME" } or { file = "path" }"#;

/// The process environment, as it was passed to [`super::Config::load`].
pub type Environment = BTreeMap<String, String>;

/// Where a secret is kept.
#[derive(Clone, Debug)]
pub enum SecretRef {
    Env(String),
    File(PathBuf),
}

impl SecretRef {
    /// The secret without its trailing line feed. The error never holds any part of it.
    pub fn resolve(&self, env: &Environment) -> Result<SecretString, String> {
        let (text, place) = match self {
            Self::Env(name) => {
                let text = env.get(name).cloned().ok_or_else(|| {
                    format!("the environment variable {name} is not set, expected the secret in it")
                })?;
                (text, format!("the environment variable {name}"))
            }
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| format!("the file {} cannot be read: {e}", path.display()))?;
                (text, format!("the file {}", path.display()))
            }
        };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(format!("{place} is empty, expected the secret in it"));
        }
        Ok(SecretString::from(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = SecretRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"{ env = "NAME" } or { file = "path" }"#)
    }

    // Does not repeat the text: it may be the secret itself.
    fn visit_str<E: Error>(self, _: &str) -> Result<SecretRef, E> {
        Err(E::custom(HINT))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<SecretRef, E> {
        Err(E::custom(HINT))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretRef, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            let next = match key.as_str() {
                "env" => SecretRef::Env(map.next_value()?),
                "file" => SecretRef::File(map.next_value()?),
                _ => return Err(A::Error::custom(HINT)),
            };
            if found.replace(next).is_some() {
                return Err(A::Error::custom("expected one of env and file, got both"));
            }
        }
        found.ok_or_else(|| A::Error::custom(HINT))
    }
}

/// An address that may hold a password or a token: as text when it holds none, else as a secret.
#[derive(Clone, Debug)]
pub enum SecretUrl {
    Plain(Url),
    Secret(SecretRef),
}

impl SecretUrl {
    pub fn resolve(&self, env: &Environment) -> Result<SecretString, String> {
        match self {
            Self::Plain(url) => Ok(SecretString::from(url.as_str().to_owned())),
            Self::Secret(place) => place.resolve(env),
        }
    }
}

impl<'de> Deserialize<'de> for SecretUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UrlReader;
        impl<'de> Visitor<'de> for UrlReader {
            type Value = SecretUrl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a URL, or { env = "NAME" } or { file = "path" } of one"#)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<SecretUrl, E> {
                let url = Url::parse(text).map_err(|_| E::custom("expected a URL"))?;
                if url.password().is_some() {
                    return Err(E::custom(
                        r#"a password is never written here, expected the whole URL as { env = "NAME" } or { file = "path" }"#,
                    ));
                }
                Ok(SecretUrl::Plain(url))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretUrl, A::Error> {
                Reader.visit_map(map).map(SecretUrl::Secret)
            }
        }
        deserializer.deserialize_any(UrlReader)
    }
}
