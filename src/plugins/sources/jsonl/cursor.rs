//! Where a follower stands in its file, and how it knows that file again after a restart.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How much of a file's beginning tells it from others.
const HEAD_BYTES: u64 = 256;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub generation: Uuid,
    pub offset: u64,
    pub inode: u64,
    /// SHA-256 of the first `head_bytes` bytes, as they were when last read. They never change in a file
    /// that is only appended to.
    pub head: String,
    pub head_bytes: u64,
    /// The offset stands within a line that was given up as too long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_skipping: bool,
}

impl Cursor {
    pub fn parse(text: &str) -> io::Result<Self> {
        serde_json::from_str(text)
            .map_err(|error| io::Error::other(format!("the stored cursor is unreadable: {error}")))
    }

    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a cursor is plain data")
    }

    /// The beginning of a file, following on from the cursor `before`.
    pub fn start(path: &Path, head: &Head, before: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [
            path.as_os_str().as_encoded_bytes(),
            &head.device.to_be_bytes(),
            &head.inode.to_be_bytes(),
            &head.born_ns.to_be_bytes(),
            before.as_bytes(),
        ] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        let mut cursor = Self {
            // Version 8: "custom" (RFC 9562, section 5.8).
            generation: uuid::Builder::from_custom_bytes(bytes).into_uuid(),
            offset: 0,
            inode: head.inode,
            head: String::new(),
            head_bytes: 0,
            is_skipping: false,
        };
        cursor.remember(head);
        cursor
    }

    pub fn remember(&mut self, head: &Head) {
        self.inode = head.inode;
        self.head_bytes = u64::try_from(head.bytes.len()).unwrap_or(0);
        self.head = hex::encode(Sha256::digest(&head.bytes));
    }

    /// Whether a file is the one the cursor stands in: long enough, and beginning with the same bytes.
    pub fn fits(&self, head: &Head) -> bool {
        let known = usize::try_from(self.head_bytes).unwrap_or(usize::MAX);
        head.length >= self.offset
            && head
                .bytes
                .get(..known)
                .is_some_and(|bytes| hex::encode(Sha256::digest(bytes)) == self.head)
    }
}

/// What tells one file from another.
pub(super) struct Head {
    pub device: u64,
    pub inode: u64,
    /// Zero where the file system does not know.
    pub born_ns: u128,
    pub length: u64,
    pub modified_ns: i128,
    bytes: Vec<u8>,
}

impl Head {
    /// `None`: no such file. Anything that is no regular file is an error: a folder or a pipe has no
    /// offsets to come back to.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let about = match fs::metadata(path) {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !about.is_file() {
            return Err(io::Error::other("expected a regular file"));
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let about = file.metadata()?;
        let mut bytes = Vec::new();
        file.take(HEAD_BYTES).read_to_end(&mut bytes)?;
        let born = about
            .created()
            .ok()
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Ok(Some(Self {
            device: about.dev(),
            inode: about.ino(),
            born_ns: born.map_or(0, |age| age.as_nanos()),
            length: about.len(),
            modified_ns: i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec()),
            bytes,
        }))
    }
}
