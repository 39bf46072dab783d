//! `data_dir`: what makes this node itself. One process at a time may use it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use rustix::fs::{FlockOperation, flock};
use secrecy::SecretString;

use super::StartError;

/// Its file is the last that a first start makes.
const NODE_ID: &str = "node_id";

/// An open data folder; the lock is held as long as this lives.
pub struct DataDir {
    pub path: PathBuf,
    /// Names this node in leases: the folder's own id and the machine's.
    pub node: String,
    /// The bootstrap admin token.
    pub token: SecretString,
    /// The folder was made just now.
    pub is_new: bool,
    id: String,
    _lock: File,
}

impl DataDir {
    /// Makes the folder at the first start, takes its lock, reads or makes token and node id.
    pub fn open(path: &Path) -> Result<Self, StartError> {
        let fault = |what: &str, error: &io::Error| {
            StartError::DataDir(format!("{}: {what}: {error}", path.display()))
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| fault("cannot make the data folder", &error))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(|error| fault("cannot write to the data folder", &error))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            StartError::DataDir(format!(
                "{}: another securitybot uses this data folder; stop it first or set another data_dir",
                path.display()
            ))
        })?;
        let is_new = !path.join(NODE_ID).exists();
        let node = if is_new {
            uuid::Uuid::from_u128(rand::random()).to_string()
        } else {
            read_or_make(&path.join(NODE_ID), || {
                uuid::Uuid::from_u128(rand::random()).to_string()
            })
            .map_err(|error| fault(NODE_ID, &error))?
        };
        let token = read_or_make(&path.join("token"), || {
            BASE64URL_NOPAD.encode(&rand::random::<[u8; 32]>())
        })
        .map_err(|error| fault("token", &error))?;
        Ok(Self {
            path: path.to_owned(),
            node: format!("{node}@{}", machine()),
            token: SecretString::from(token),
            is_new,
            id: node,
            _lock: lock,
        })
    }

    /// Ends the first start, once everything that only it may make is there: killed before, the next
    /// one is a first start again.
    pub fn settle(&self) -> Result<(), StartError> {
        read_or_make(&self.path.join(NODE_ID), || self.id.clone())
            .map(drop)
            .map_err(|error| {
                StartError::DataDir(format!("{}: {NODE_ID}: {error}", self.path.display()))
            })
    }
}

/// A copied data folder on another machine is another node.
fn machine() -> String {
    fs::read_to_string("/etc/machine-id")
        .map(|id| id.trim().chars().take(8).collect())
        .unwrap_or_else(|_| "unknown".to_owned())
}

/// A small file of one line, mode 0600, complete or not there: an empty one is somebody's accident, and
/// what stood in it is not made up anew.
fn read_or_make(path: &Path, make: impl FnOnce() -> String) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {
            return Err(io::Error::other(
                "the file is empty; restore it, or delete it to have a new one made",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let text = make();
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_file_is_named_and_a_deleted_one_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["token", NODE_ID] {
            let open = || DataDir::open(folder.path());
            let data = open().unwrap();
            data.settle().unwrap();
            drop(data);
            let path = folder.path().join(name);
            let before = fs::read_to_string(&path).unwrap();
            fs::write(&path, "").unwrap();
            let Err(error) = open() else {
                panic!("an empty {name} was taken");
            };
            let said = error.to_string();
            assert!(said.contains(name) && said.contains("empty"), "{said}");
            fs::remove_file(&path).unwrap();
            let data = open().unwrap();
            data.settle().unwrap();
            assert_ne!(fs::read_to_string(&path).unwrap(), before);
        }
    }
}
