//! The tables, and opening a file safely: a store made for another partition count, by a newer
//! version, by another program, or cut off by a full disk is refused by name before anything is read
//! wrongly or written over.
//!
//! Keys are ordered by time where the store can choose (rowids, UUIDv7 cases); dedup identities are
//! hashes, so they get one narrow index instead of a wide random tree.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::store::StoreError;

/// `sbot` in ASCII: tells our files from other programs' databases (`PRAGMA application_id`).
const APPLICATION_ID: i64 = 0x7362_6f74;
/// Raised with each change of the tables (`PRAGMA user_version`).
const SCHEMA: i64 = 4;
/// Page caches in KiB: large enough for the hot indexes, small enough to forget about.
const WRITER_CACHE_KIB: i64 = 32 * 1024;
const READER_CACHE_KIB: i64 = 4 * 1024;
/// Statements kept prepared per connection; more than there are kinds.
const STATEMENTS: usize = 96;

/// One page of the smallest size SQLite knows; with less, it takes a file for an empty one.
const SMALLEST: u64 = 512;

/// In the order in which they came, so that those of one commit share their pages. Since schema 4; in schema 2 and 3
/// each lay with its aggregate, and most needed an overflow page of their own.
const PIECES: &str = "
CREATE TABLE pieces(
  id INTEGER PRIMARY KEY, aggregate INTEGER NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL,
  UNIQUE(aggregate, number)) STRICT;
";
const PIECES_FROM_SCHEMA_2: &str = "
INSERT INTO pieces(aggregate, number, body)
  SELECT aggregate, number, body FROM old_pieces ORDER BY aggregate, number;
DROP TABLE old_pieces;
";

/// Chunks by their first numbers; `alerts` is a JSON array. Since schema 3, before which each alert had a row.
const QUEUE: &str = "
CREATE TABLE queue(
  id INTEGER PRIMARY KEY, source INTEGER NOT NULL, first INTEGER NOT NULL,
  count INTEGER NOT NULL CHECK(count > 0), alerts TEXT NOT NULL, UNIQUE(source, first)) STRICT;
";
/// Old alerts become chunks of one.
const QUEUE_FROM_ALERTS: &str = "
INSERT INTO queue(source, first, count, alerts)
  SELECT source, number, 1,
    json_array(json_object('number', number, 'receiver', receiver, 'body', body))
  FROM queued_alerts ORDER BY source, number;
DROP TABLE queued_alerts;
";

const TABLES: &str = "
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE leases(
  partition INTEGER PRIMARY KEY, node TEXT NOT NULL, until INTEGER NOT NULL, epoch INTEGER NOT NULL,
  head_seq INTEGER NOT NULL DEFAULT 0, head_hash TEXT NOT NULL DEFAULT '',
  anchor_seq INTEGER NOT NULL DEFAULT 0, anchor_hash TEXT NOT NULL DEFAULT '',
  cases_kept INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE aggregates(
  id INTEGER PRIMARY KEY, partition INTEGER NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
  state TEXT NOT NULL, guard TEXT NOT NULL, due INTEGER, UNIQUE(partition, name)) STRICT;
CREATE INDEX aggregates_due ON aggregates(partition, due, name) WHERE due IS NOT NULL;
CREATE TABLE sources(
  id INTEGER PRIMARY KEY, partition INTEGER NOT NULL, name TEXT NOT NULL, next INTEGER NOT NULL,
  backlog INTEGER NOT NULL, cursor TEXT, UNIQUE(partition, name)) STRICT;
CREATE TABLE marks(
  id INTEGER PRIMARY KEY, partition INTEGER NOT NULL, source INTEGER NOT NULL,
  short INTEGER NOT NULL, identity ANY NOT NULL, body ANY NOT NULL, alert TEXT NOT NULL,
  expires INTEGER NOT NULL) STRICT;
CREATE INDEX marks_by_identity ON marks(source, short);
CREATE INDEX marks_expiring ON marks(partition, expires);
CREATE TABLE journal(
  id INTEGER PRIMARY KEY, -- partition << 48 | seq
  partition INTEGER GENERATED ALWAYS AS (id >> 48) VIRTUAL,
  seq INTEGER GENERATED ALWAYS AS (id & 281474976710655) VIRTUAL,
  case_id TEXT, at INTEGER NOT NULL, body TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
CREATE INDEX journal_by_case ON journal(case_id) WHERE case_id IS NOT NULL;
CREATE TABLE timeline(
  case_id TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL,
  hash TEXT NOT NULL, PRIMARY KEY(case_id, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE rows(
  id INTEGER PRIMARY KEY, partition INTEGER NOT NULL, collection TEXT NOT NULL, key TEXT NOT NULL,
  at INTEGER NOT NULL, fields TEXT NOT NULL, body TEXT NOT NULL, expires INTEGER,
  UNIQUE(collection, key)) STRICT;
CREATE INDEX rows_by_time ON rows(collection, at, key);
CREATE INDEX rows_expiring ON rows(partition, expires) WHERE expires IS NOT NULL;
CREATE TABLE row_index(
  collection TEXT NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL, at INTEGER NOT NULL,
  key TEXT NOT NULL, PRIMARY KEY(collection, field, value, at, key)) STRICT, WITHOUT ROWID;
";

/// Opens `path` for the one writer; makes the file when there is none.
pub(super) fn open_writer(path: &Path, partitions: u16) -> Result<Connection, StoreError> {
    match fs::metadata(path) {
        Ok(found) if found.len() < SMALLEST => {
            return Err(StoreError::Corrupt(format!(
                "{} has {} bytes, expected a database of securitybot: it was cut off",
                path.display(),
                found.len()
            )));
        }
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => create(path, partitions)?,
        Err(e) => {
            return Err(StoreError::Unavailable(format!(
                "cannot look at {}: {e}",
                path.display()
            )));
        }
    }
    let failed = |e| explain(path, e);
    let conn = connect(path, WRITER_CACHE_KIB).map_err(failed)?;
    let application: i64 = pragma(&conn, "application_id").map_err(failed)?;
    if application != APPLICATION_ID {
        return Err(StoreError::Mismatch(format!(
            "{} is a database of another program (application id {application}, expected \
             {APPLICATION_ID})",
            path.display()
        )));
    }
    let schema: i64 = pragma(&conn, "user_version").map_err(failed)?;
    if schema > SCHEMA {
        return Err(StoreError::Mismatch(format!(
            "{} was made by a newer securitybot (schema {schema}, this version reads up to \
             {SCHEMA})",
            path.display()
        )));
    }
    conn.pragma_update(None, "journal_mode", "wal")
        .map_err(failed)?;
    // With the log written back, the file itself must be as long as it says.
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        .map_err(failed)?;
    let expected = (|| Ok(pragma(&conn, "page_count")? * pragma(&conn, "page_size")?))();
    let expected: i64 = expected.map_err(failed)?;
    let found = fs::metadata(path).map_or(0, |m| m.len());
    if found < u64::try_from(expected).unwrap_or(0) {
        return Err(StoreError::Corrupt(format!(
            "{} is cut off: {found} bytes, expected {expected}",
            path.display()
        )));
    }
    let made_for: Option<String> = conn
        .query_row(
            "SELECT value FROM meta WHERE key = 'partitions'",
            [],
            |row| row.get(0),
        )
        .optional()
        .map_err(failed)?;
    if made_for.as_deref() != Some(partitions.to_string().as_str()) {
        return Err(StoreError::Mismatch(format!(
            "{} was made with {} partitions, the configuration says {partitions}; the number is \
             fixed when a store is made",
            path.display(),
            made_for.as_deref().unwrap_or("no known number of")
        )));
    }
    // It is ours, whole, and made for this set-up.
    if schema < SCHEMA {
        let pieces = match schema {
            ..2 => PIECES.to_owned(),
            _ => {
                format!("ALTER TABLE pieces RENAME TO old_pieces; {PIECES} {PIECES_FROM_SCHEMA_2}")
            }
        };
        let queue = match schema {
            ..3 => {
                format!("ALTER TABLE queue RENAME TO queued_alerts; {QUEUE} {QUEUE_FROM_ALERTS}")
            }
            _ => String::new(),
        };
        let upgrade =
            format!("BEGIN IMMEDIATE; {pieces} {queue} PRAGMA user_version = {SCHEMA}; COMMIT;");
        conn.execute_batch(&upgrade).map_err(failed)?;
    }
    Ok(conn)
}

/// A connection for reads; the writer has checked the file.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(path, READER_CACHE_KIB)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

/// Makes the file whole under another name first: an empty file is then always a damaged one.
fn create(path: &Path, partitions: u16) -> Result<(), StoreError> {
    let log = beside(path, "-wal");
    if fs::metadata(&log).is_ok_and(|found| found.len() > 0) {
        return Err(StoreError::Corrupt(format!(
            "{} is missing but its log {} is there: expected both or none",
            path.display(),
            log.display()
        )));
    }
    let draft = beside(path, ".new");
    let unavailable = |e: &dyn std::fmt::Display| {
        StoreError::Unavailable(format!("cannot make {}: {e}", path.display()))
    };
    for leftover in [draft.clone(), beside(&draft, "-journal")] {
        match fs::remove_file(&leftover) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(unavailable(&e)),
            _ => {}
        }
    }
    let made = (|| {
        // The log and its index take the file's mode over: all of it is for the owner only.
        let owner_only = fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&draft);
        owner_only.map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
        let conn = Connection::open(&draft)?;
        conn.pragma_update(None, "synchronous", "full")?;
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
        conn.pragma_update(None, "user_version", SCHEMA)?;
        conn.execute_batch(&format!("BEGIN; {TABLES} {PIECES} {QUEUE} COMMIT;"))?;
        conn.execute(
            "INSERT INTO meta VALUES('partitions', ?1)",
            [partitions.to_string()],
        )?;
        conn.close().map_err(|(_, e)| e)
    })();
    made.map_err(|e| unavailable(&e))?;
    fs::rename(&draft, path).map_err(|e| unavailable(&e))?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| unavailable(&e))
}

fn connect(path: &Path, cache_kib: i64) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "cache_size", -cache_kib)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?; // see log.rs
    conn.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(conn)
}

fn pragma(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, name, |row| row.get(0))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// What an error at opening means to the operator.
fn explain(path: &Path, error: rusqlite::Error) -> StoreError {
    let file = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::Corrupt(format!(
            "{file} is not a database, expected one that securitybot made"
        )),
        Some(ErrorCode::DatabaseCorrupt) => {
            let found = fs::metadata(path).map_or(0, |m| m.len());
            let expected = said_length(path)
                .map(|length| format!(", its header says {length} bytes"))
                .unwrap_or_default();
            StoreError::Corrupt(format!(
                "{file} is damaged or cut off: {found} bytes found{expected} ({error})"
            ))
        }
        _ => StoreError::Unavailable(format!("cannot open {file}: {error}")),
    }
}

/// Page size times page count out of the file's header (SQLite file format, section 1.3).
fn said_length(path: &Path) -> Option<u64> {
    use std::io::Read;
    let mut header = [0u8; 100];
    fs::File::open(path).ok()?.read_exact(&mut header).ok()?;
    let size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let count = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
    Some(size * u64::from(count))
}
