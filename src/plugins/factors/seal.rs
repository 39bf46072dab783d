//! The key that seals factor seeds at rest: a stolen store holds no authenticator secrets, and a seed
//! moved from one employee's row to another's does not open.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use data_encoding::{BASE64, HEXLOWER};
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};

use crate::core::ids::EmployeeId;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// The first field of a sealed seed; another layout gets another one.
const FORMAT: &str = "v1";

#[derive(Debug, thiserror::Error)]
pub enum SealKeyError {
    #[error(
        "the seed key {0} is missing although this store was used before: restore it from your backup; \
         without it every employee must be enrolled again"
    )]
    Missing(PathBuf),
    #[error("the seed key {0} is damaged, expected one line of base64 with 32 bytes")]
    Damaged(PathBuf),
    #[error("the seed key {0} cannot be read or made: {1}")]
    Io(PathBuf, #[source] io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    #[error("the sealed seed is not readable")]
    Damaged,
    #[error("the sealed seed was sealed with another key")]
    OtherKey,
    #[error("the sealed seed does not belong to this employee or was changed")]
    Refused,
}

/// The key itself. Neither printed nor cloned.
pub struct SealKey {
    cipher: XChaCha20Poly1305,
    /// Names the key without telling anything about it.
    id: String,
}

impl SealKey {
    /// Reads the key. `may_create` is true at the very first start only: a key made later would make
    /// every stored seed unreadable and look like health.
    pub fn load_or_create(path: &Path, may_create: bool) -> Result<Self, SealKeyError> {
        match fs::read_to_string(path) {
            Ok(text) => {
                warn_if_open(path);
                let bytes = BASE64.decode(text.trim().as_bytes()).ok();
                bytes
                    .and_then(|bytes| <[u8; KEY_BYTES]>::try_from(bytes).ok())
                    .map(|key| Self::from_bytes(&key))
                    .ok_or_else(|| SealKeyError::Damaged(path.to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && may_create => {
                create(path).map_err(|error| SealKeyError::Io(path.to_owned(), error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(SealKeyError::Missing(path.to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(SealKeyError::Damaged(path.to_owned()))
            }
            Err(error) => Err(SealKeyError::Io(path.to_owned(), error)),
        }
    }

    pub fn from_bytes(key: &[u8; KEY_BYTES]) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new(key.into()),
            id: HEXLOWER.encode(&Sha256::digest(key)[..4]),
        }
    }

    /// `v1:{key id}:{base64 of nonce and ciphertext}`.
    pub fn seal(&self, employee: &EmployeeId, seed: &[u8]) -> String {
        let mut nonce = [0u8; NONCE_BYTES];
        fill(&mut nonce);
        let sealed = self
            .cipher
            .encrypt(
                XNonce::from_slice(&nonce),
                Payload {
                    msg: seed,
                    aad: &self.bound_to(employee),
                },
            )
            .expect("sealing some bytes in memory cannot fail");
        let encoded = BASE64.encode(&[nonce.as_slice(), &sealed].concat());
        format!("{FORMAT}:{}:{encoded}", self.id)
    }

    pub fn unseal(&self, employee: &EmployeeId, sealed: &str) -> Result<Vec<u8>, UnsealError> {
        let mut parts = sealed.splitn(3, ':');
        let (Some(FORMAT), Some(key_id), Some(encoded)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(UnsealError::Damaged);
        };
        if key_id != self.id {
            return Err(UnsealError::OtherKey);
        }
        let bytes = BASE64
            .decode(encoded.as_bytes())
            .map_err(|_| UnsealError::Damaged)?;
        let (nonce, sealed) = bytes
            .split_at_checked(NONCE_BYTES)
            .ok_or(UnsealError::Damaged)?;
        self.cipher
            .decrypt(
                XNonce::from_slice(nonce),
                Payload {
                    msg: sealed,
                    aad: &self.bound_to(employee),
                },
            )
            .map_err(|_| UnsealError::Refused)
    }

    fn bound_to(&self, employee: &EmployeeId) -> Vec<u8> {
        format!("securitybot seed\0{employee}\0{}", self.id).into_bytes()
    }
}

/// Fills a buffer from the operating system.
pub(super) fn fill(bytes: &mut [u8]) {
    OsRng
        .try_fill_bytes(bytes)
        .expect("the operating system gives random bytes");
}

/// Written beside, made durable, then renamed: a crash leaves no key or a whole one.
fn create(path: &Path) -> io::Result<SealKey> {
    let mut key = [0u8; KEY_BYTES];
    fill(&mut key);
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(format!("{}\n", BASE64.encode(&key)).as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(SealKey::from_bytes(&key))
}

fn warn_if_open(path: &Path) {
    if let Ok(about) = fs::metadata(path)
        && about.permissions().mode() & 0o077 != 0
    {
        tracing::warn!(path = %path.display(), "the seed key can be read by other users, expected mode 0600");
    }
}
