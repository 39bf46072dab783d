//! Finding the file again that was renamed under us, and the one to read after it: without this the lines
//! between our last poll and a rotation would be lost.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::cursor::{Cursor, Head};

/// Where the file of a cursor is now.
#[derive(Debug, PartialEq)]
pub(super) enum Place {
    Current,
    /// Renamed (or copied, before the original was cut) within its folder.
    Renamed(PathBuf),
    /// Gone, truncated or overwritten: what is at the path is new.
    Lost,
}

pub(super) fn place(path: &Path, cursor: &Cursor) -> io::Result<Place> {
    if let Some(head) = Head::of(path)?
        && head.inode == cursor.inode
        && cursor.fits(&head)
    {
        return Ok(Place::Current);
    }
    let rotated = rotated(path)?;
    let by_inode = rotated
        .iter()
        .find(|(_, head)| head.inode == cursor.inode && cursor.fits(head));
    // A copy is known by its beginning alone; an empty beginning fits every file.
    let found = by_inode.or_else(|| {
        rotated
            .iter()
            .find(|(_, head)| cursor.head_bytes > 0 && cursor.fits(head))
    });
    Ok(match found {
        Some((path, _)) => Place::Renamed(path.clone()),
        None => Place::Lost,
    })
}

/// What its writer wrote to after `done`: the oldest rotated file that is newer, else the file at the path.
/// `None` while that is missing or still empty: until the first line arrives there, the writer may yet
/// append to the old one (logrotate renames first and tells the writer later).
pub(super) fn next_file(path: &Path, done: &Path) -> io::Result<Option<PathBuf>> {
    let Some(old) = Head::of(done)? else {
        return Ok(None);
    };
    let newer = rotated(path)?
        .into_iter()
        .filter(|(_, head)| {
            head.inode != old.inode && head.length > 0 && head.modified_ns > old.modified_ns
        })
        .min_by_key(|(_, head)| head.modified_ns);
    if let Some((next, _)) = newer {
        return Ok(Some(next));
    }
    let current = Head::of(path)?.is_some_and(|head| head.length > 0);
    Ok(current.then(|| path.to_owned()))
}

/// The files that could once have been at the path: their names begin with its name, or with its stem
/// and end with its extension. Compressed ones are of no use.
fn rotated(path: &Path) -> io::Result<Vec<(PathBuf, Head)>> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let entries = match fs::read_dir(folder.unwrap_or(Path::new("."))) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let other = entry.file_name();
        let Some(other) = other.to_str() else {
            continue;
        };
        let is_ours = other.starts_with(name)
            || (!stem.is_empty() && other.starts_with(stem) && other.ends_with(extension));
        let is_packed = [".gz", ".xz", ".zst", ".bz2"]
            .iter()
            .any(|end| other.ends_with(end));
        if other == name || !is_ours || is_packed || !entry.file_type()?.is_file() {
            continue;
        }
        if let Ok(Some(head)) = Head::of(&entry.path()) {
            found.push((entry.path(), head));
        }
    }
    Ok(found)
}
