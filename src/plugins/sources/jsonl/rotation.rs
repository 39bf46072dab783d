//! Finding the file again that was renamed under us, and the one to read after it: without this the lines
//! between our last poll and a rotation would be lost.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::DirEntryExt;
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
    let candidates = candidates(path, Some(cursor.inode))?;
    let by_inode = candidates
        .iter()
        .find(|(_, head)| head.inode == cursor.inode && cursor.fits(head));
    // A copy is known by its beginning alone; an empty beginning fits every file.
    let found = by_inode.or_else(|| {
        candidates
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
    let newer = candidates(path, None)?
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

/// The files of the folder that were once at the path, by their names, and the one with this inode
/// whatever its name is.
fn candidates(path: &Path, inode: Option<u64>) -> io::Result<Vec<(PathBuf, Head)>> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let entries = match fs::read_dir(folder.unwrap_or(Path::new("."))) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let other = entry.file_name();
        let wanted = inode == Some(entry.ino()) || is_rotation_of(name, &other.to_string_lossy());
        if other.to_str() == Some(name) || !wanted || !entry.file_type()?.is_file() {
            continue;
        }
        // One that cannot be read (another owner, just deleted) is no candidate.
        if let Ok(Some(head)) = Head::of(&entry.path()) {
            found.push((entry.path(), head));
        }
    }
    Ok(found)
}

/// `eve.json` becomes `eve.json.1`, `eve.json-20261124`, `eve.json.old`, `eve-20261124.json` or `eve.1.json`;
/// `eve-stats.json` is another log, and `eve.json.2.gz` cannot be read.
fn is_rotation_of(name: &str, other: &str) -> bool {
    let added = other.strip_prefix(name).or_else(|| {
        let (stem, extension) = name.rsplit_once('.')?;
        other
            .strip_prefix(stem)?
            .strip_suffix(extension)?
            .strip_suffix('.')
    });
    added.is_some_and(|added| {
        added == ".old"
            || added.contains(|c: char| c.is_ascii_digit())
                && added
                    .chars()
                    .all(|c| c.is_ascii_digit() || "-_.:+TZ".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_names_are_told_from_other_logs() {
        for other in [
            "eve.json.1",
            "eve.json-20261124",
            "eve.json.old",
            "eve-20261124.json",
            "eve.1.json",
            "eve.json-2026-11-24T02:14:00Z",
        ] {
            assert!(is_rotation_of("eve.json", other), "{other}");
        }
        for other in [
            "eve.json",
            "eve-stats.json",
            "eve.json.2.gz",
            "evening.json",
            "eve2.jsonl",
            "ev.json.1",
        ] {
            assert!(!is_rotation_of("eve.json", other), "{other}");
        }
    }
}
