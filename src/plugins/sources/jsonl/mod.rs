//! Follows a JSON Lines file: the source for every tool that can write to a disk and nothing else. Lines
//! must be neither lost nor read twice, over rotation, truncation, half-written lines and our own crashes.
//!
//! A line's identity is `{generation}:{offset}`. The generation is a UUID that stands in the cursor and so
//! is committed with the alerts. A new one is *derived* (SHA-256 of path, device, inode, birth time and
//! the cursor it replaces), not drawn: a poll repeated from the same cursor gives the same ids, also when
//! the first poll's commit landed unseen.

mod cursor;
mod lines;
mod rotation;

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::core::ids::SourceId;
use crate::plugins::formats::mapping::Mapping;

use super::{Polled, PolledSource, SourceError};
use cursor::{Cursor, Head};
use lines::{Line, read_line, skip_line};
use rotation::{Place, next_file, place};

pub const DEFAULT_EVERY: Duration = Duration::from_secs(1);
/// What one commit takes comfortably.
const MAX_BATCH_LINES: usize = 1_000;
const MAX_BATCH_BYTES: u64 = 1024 * 1024;
/// As the largest HTTP request: no tool writes longer records on purpose.
const MAX_LINE_BYTES: usize = 1024 * 1024;
/// As much of a bad line as is kept.
const MAX_KEPT_BYTES: usize = 64 * 1024;

pub struct JsonlFollower {
    id: SourceId,
    every: Duration,
    reader: Arc<Reader>,
    /// So that "no such file" is said once and not every second.
    is_waiting: bool,
}

struct Reader {
    source: SourceId,
    path: PathBuf,
    mapping: Mapping,
}

impl JsonlFollower {
    /// A file never read before is read from its beginning.
    pub fn new(id: SourceId, path: impl Into<PathBuf>, every: Duration, mapping: Mapping) -> Self {
        Self {
            reader: Arc::new(Reader {
                source: id.clone(),
                path: path.into(),
                mapping,
            }),
            id,
            every,
            is_waiting: false,
        }
    }
}

#[async_trait]
impl PolledSource for JsonlFollower {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn every(&self) -> Duration {
        self.every
    }

    async fn poll(&mut self, cursor: Option<&str>) -> Result<Polled, SourceError> {
        let reader = Arc::clone(&self.reader);
        let cursor = cursor.unwrap_or_default().to_owned();
        // Disks can take seconds; the actors of this thread cannot.
        let polled = tokio::task::spawn_blocking(move || reader.poll(&cursor)).await;
        let path = self.reader.path.display();
        let found = polled
            .map_err(|error| SourceError::Unavailable(error.to_string()))?
            .map_err(|error| SourceError::Unavailable(format!("{path}: {error}")))?;
        match found {
            Found::Batch(polled) => {
                self.is_waiting = false;
                Ok(polled)
            }
            Found::Nothing { cursor } => {
                if !self.is_waiting {
                    tracing::warn!(source = %self.id, %path, "the file does not exist, waiting for it");
                }
                self.is_waiting = true;
                Ok(Polled {
                    cursor,
                    ..Polled::default()
                })
            }
        }
    }
}

enum Found {
    Batch(Polled),
    /// The file is not there, and neither is the one the cursor stands in.
    Nothing {
        cursor: String,
    },
}

impl Reader {
    fn poll(&self, given: &str) -> io::Result<Found> {
        let cursor = match given {
            "" => None,
            text => Some(Cursor::parse(text)?),
        };
        // Looked for before reading: what is appended to the old file until its writer switches is then
        // read before we do.
        let place = match &cursor {
            None => Place::Lost,
            Some(cursor) => place(&self.path, cursor)?,
        };
        let (path, cursor, next) = match (place, cursor) {
            (Place::Current, Some(cursor)) => (self.path.clone(), cursor, None),
            (Place::Renamed(path), Some(cursor)) => {
                let next = next_file(&self.path, &path)?;
                (path, cursor, next)
            }
            (_, before) => match Head::of(&self.path)? {
                None => {
                    return Ok(Found::Nothing {
                        cursor: given.to_owned(),
                    });
                }
                Some(head) => {
                    if before.is_some() {
                        tracing::warn!(
                            source = %self.source, path = %self.path.display(),
                            "the file is new or was cut and the old one is gone: reading from the beginning"
                        );
                    }
                    (
                        self.path.clone(),
                        Cursor::start(&self.path, &head, given),
                        None,
                    )
                }
            },
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            // It went between two looks: the next poll sees what became of it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Found::Nothing {
                    cursor: given.to_owned(),
                });
            }
            Err(error) => return Err(error),
        };
        let is_final = next.is_some();
        let (mut polled, end, at_end) = self.read(&path, file, cursor, is_final)?;
        polled.cursor = end.to_text();
        if let (true, Some(next)) = (at_end, next)
            && let Some(head) = Head::of(&next)?
        {
            polled.cursor = Cursor::start(&next, &head, &polled.cursor).to_text();
            polled.more = true;
        }
        Ok(Found::Batch(polled))
    }

    /// Reads a batch. `is_final`: its writer has gone on to another file, so a last line without an end
    /// is all there will be of it.
    fn read(
        &self,
        path: &Path,
        mut file: File,
        mut cursor: Cursor,
        is_final: bool,
    ) -> io::Result<(Polled, Cursor, bool)> {
        let start = cursor.offset;
        file.seek(SeekFrom::Start(start))?;
        let mut input = BufReader::new(file);
        let mut polled = Polled::default();
        let mut lines = 0;
        if cursor.is_skipping {
            let (skipped, ended) = skip_line(&mut input)?;
            cursor.offset += skipped;
            cursor.is_skipping = !ended;
        }
        // Within a line that is being skipped there is nothing more to read until it ends.
        let mut at_end = cursor.is_skipping;
        while !at_end {
            if lines >= MAX_BATCH_LINES || cursor.offset - start >= MAX_BATCH_BYTES {
                polled.more = true;
                break;
            }
            let (line, length) = match read_line(&mut input, MAX_LINE_BYTES)? {
                Line::Whole(line) => (line, None),
                Line::Unfinished(line) if is_final && !line.is_empty() => (line, None),
                Line::Unfinished(_) => {
                    at_end = true;
                    break;
                }
                Line::TooLong {
                    start,
                    length,
                    ended,
                } => {
                    cursor.is_skipping = !ended;
                    at_end = !ended;
                    (start, Some(length))
                }
            };
            lines += 1;
            match length {
                Some(length) => {
                    polled.quarantined.push((
                        kept(&line),
                        format!(
                            "{}: the line at byte {} is longer than {MAX_LINE_BYTES} bytes",
                            path.display(),
                            cursor.offset
                        ),
                    ));
                    cursor.offset += length;
                }
                None => {
                    self.take(&line, &cursor, &mut polled);
                    cursor.offset += u64::try_from(line.len()).unwrap_or(u64::MAX);
                }
            }
        }
        if let Some(head) = Head::of(path)? {
            cursor.remember(&head);
        }
        Ok((polled, cursor, at_end))
    }

    fn take(&self, line: &[u8], cursor: &Cursor, polled: &mut Polled) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let id = format!("{}:{}", cursor.generation, cursor.offset);
        let read = match std::str::from_utf8(line) {
            Ok(text) => self.mapping.read(text.trim_end(), &self.source, &id),
            Err(_) => Err("not UTF-8".to_owned()),
        };
        match read {
            Ok(Some(incoming)) => polled.alerts.push(incoming),
            Ok(None) => {}
            Err(error) => polled.quarantined.push((kept(line), error)),
        }
    }
}

fn kept(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(MAX_KEPT_BYTES)])
        .trim_end()
        .to_owned()
}
