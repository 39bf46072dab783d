//! Text that came from an alert or an employee (promise P8): it cannot be printed by accident.
//!
//! [`Untrusted`] has no `Display`. It leaves only through [`Untrusted::plain`], which removes what
//! could forge lines or reorder text; every chat, page and template then escapes for its own syntax.

use std::fmt;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

/// Reads a text straight into what shares it; serde's own way makes a `String` of it first.
pub(crate) fn shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = Arc<str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Arc<str>, E> {
            Ok(text.into())
        }
    }

    deserializer.deserialize_str(Text)
}

/// Text of unknown origin and content, shared by whoever keeps it: an alert, its case, the case's evidence, records.
/// `Debug` shows its length only, so that it stays out of logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Untrusted(#[serde(deserialize_with = "shared")] Arc<str>);

impl Untrusted {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    pub fn is_empty(&self) -> bool {
        self.0.trim().is_empty()
    }

    /// The bytes as they came: for comparing, hashing and storing, never for showing.
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// Many lines of plain text: control (but line feed and tab), bidirectional, zero-width and
    /// other invisible characters are removed, and at most `max` characters kept, cut with `…`.
    pub fn plain(&self, max: usize) -> String {
        cut(&visible(&self.0, true), max)
    }

    /// The same on one line: line feeds and tabs become spaces.
    pub fn line(&self, max: usize) -> String {
        cut(visible(&self.0, false).trim(), max)
    }

    /// The text shortened to `max` bytes at a character boundary; what was cut is marked with `…`.
    pub fn bounded(self, max_bytes: usize) -> Self {
        if self.0.len() <= max_bytes {
            return self;
        }
        let mut end = max_bytes;
        while !self.0.is_char_boundary(end) {
            end -= 1;
        }
        Self(format!("{}…", &self.0[..end]).into())
    }
}

impl fmt::Debug for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Untrusted({} bytes)", self.0.len())
    }
}

impl From<&str> for Untrusted {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

fn visible(text: &str, keep_lines: bool) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' | '\t' if keep_lines => Some(c),
            '\n' | '\t' | '\r' | '\u{2028}' | '\u{2029}' | '\u{85}' => Some(' '),
            c if c.is_control() || is_invisible(c) => None,
            c => Some(c),
        })
        .collect()
}

/// Bidirectional controls, zero-width and format characters, tags, and variation selectors.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(max.saturating_sub(1)).collect();
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}
