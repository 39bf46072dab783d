//! Lines of bounded length: a file without line ends must not be read into memory whole.

use std::io::{self, BufRead};

#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// With its line feed.
    Whole(Vec<u8>),
    /// The file ends before the line does. Empty at the very end.
    Unfinished(Vec<u8>),
    /// Longer than allowed: its start, and how much of it there is in the file so far.
    TooLong {
        start: Vec<u8>,
        length: u64,
        ended: bool,
    },
}

pub(super) fn read_line(input: &mut impl BufRead, max: usize) -> io::Result<Line> {
    let mut line = Vec::new();
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok(Line::Unfinished(line));
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len(), |at| at + 1);
        line.extend_from_slice(&available[..taken]);
        input.consume(taken);
        if line.len() > max {
            let read = u64::try_from(line.len()).unwrap_or(u64::MAX);
            line.truncate(max);
            let (rest, ended) = if end.is_some() {
                (0, true)
            } else {
                skip_line(input)?
            };
            return Ok(Line::TooLong {
                start: line,
                length: read + rest,
                ended,
            });
        }
        if end.is_some() {
            return Ok(Line::Whole(line));
        }
    }
}

/// Reads past the next line feed: how many bytes that were, and whether there was one.
pub(super) fn skip_line(input: &mut impl BufRead) -> io::Result<(u64, bool)> {
    let mut skipped = 0;
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok((skipped, false));
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len(), |at| at + 1);
        input.consume(taken);
        skipped += u64::try_from(taken).unwrap_or(u64::MAX);
        if end.is_some() {
            return Ok((skipped, true));
        }
    }
}
