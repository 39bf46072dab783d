//! The parsed file with the environment's overrides in it, and the way from any key or fault back to
//! the line that says it. Reading goes on after a fault, so that all are reported together.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::error::{ConfigError, in_plain_words};
use super::secret::Environment;
use super::tree::{self, Table};

/// Overrides are environment variables that begin so; `__` separates the parts of the key.
pub const OVERRIDE_PREFIX: &str = "SECURITYBOT__";
/// Faults after this many are cut: nobody reads more at once.
const MAX_FAULTS: usize = 100;
/// An override lies behind the file's end, each in a stretch of its own this long.
const STRETCH: usize = 64;

pub struct Document<'i> {
    file: String,
    text: &'i str,
    overrides: Vec<Override<'i>>,
    /// As the text has it; reading uses it up.
    unread: Option<Table<'i>>,
    /// With the overrides in it, to find a fault's line; made when the first one is looked for, because the tree of a
    /// file with a million employees is a gigabyte.
    tree: OnceCell<Table<'i>>,
}

struct Override<'i> {
    variable: &'i str,
    path: Vec<String>,
    value: &'i str,
    /// Taken as a TOML value because the key does not take text.
    as_toml: bool,
}

impl<'i> Document<'i> {
    /// Faults of syntax come back without a document.
    pub fn parse(
        file: &str,
        text: &'i str,
        env: &'i Environment,
    ) -> Result<Self, Vec<ConfigError>> {
        let (tree, faults) = DeTable::parse_recoverable(text);
        let faults: Vec<_> = faults
            .iter()
            .map(|fault| ConfigError {
                place: file.to_owned(),
                line: Some(line_of(text, fault.span().map_or(0, |span| span.start))),
                key: String::new(),
                message: in_plain_words(fault.message()),
            })
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let overrides = env
            .iter()
            .filter_map(|(variable, value)| {
                let key = variable.strip_prefix(OVERRIDE_PREFIX)?;
                let path = key.split("__").map(str::to_ascii_lowercase).collect();
                Some(Override {
                    path,
                    value,
                    as_toml: false,
                    variable,
                })
            })
            .collect();
        Ok(Self {
            file: file.to_owned(),
            text,
            overrides,
            unread: Some(tree.into_inner()),
            tree: OnceCell::new(),
        })
    }

    /// Everything that can be read as `T`, or all faults.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<T, Vec<ConfigError>> {
        let mut faults = Vec::new();
        let tree = self.unread.take().unwrap_or_else(|| plain_tree(self.text));
        let tree = self.with_overrides(tree, &mut faults);
        match T::deserialize(Deserializer::from(Spanned::new(0..0, tree))) {
            Ok(read) if faults.is_empty() => Ok(read),
            _ => self.read_faulty(),
        }
    }

    /// The same for a file that is not good as it stands: each faulty key is taken out of a copy, and the rest read on.
    fn read_faulty<T: DeserializeOwned>(&mut self) -> Result<T, Vec<ConfigError>> {
        let mut faults = Vec::new();
        let mut reported: Vec<String> = Vec::new();
        let mut whole = self.with_overrides(plain_tree(self.text), &mut faults);
        let mut rest = whole.clone();
        loop {
            let root = Spanned::new(0..0, rest.clone());
            let error = match T::deserialize(Deserializer::from(root)) {
                Ok(read) if faults.is_empty() => return Ok(read),
                Ok(_) => break,
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            if let Some(nth) = self.override_at(span.start)
                && self.retype(nth)
            {
                // The same key as a number, a switch or a list.
                faults.clear();
                reported.clear();
                whole = self.with_overrides(plain_tree(self.text), &mut faults);
                rest = whole.clone();
                continue;
            }
            let key = tree::find(&whole, &span);
            // What is missing in a table only because a faulty key was taken out is no fault.
            let echo = reported
                .iter()
                .any(|r| r.starts_with(key.as_str()) && *r != key);
            if !echo {
                faults.push(self.fault_at(span.start, &key, in_plain_words(error.message())));
                reported.push(key);
            }
            if faults.len() >= MAX_FAULTS || !tree::remove(&mut rest, &span) {
                break;
            }
        }
        Err(faults)
    }

    /// A fault at a key such as `rules[0].severity`, or the nearest table above that is written down.
    pub fn fault(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let tree = self
            .tree
            .get_or_init(|| self.with_overrides(plain_tree(self.text), &mut Vec::new()));
        let offset = tree::locate(tree, key).unwrap_or(0);
        self.fault_at(offset, key, message.into())
    }

    fn fault_at(&self, offset: usize, key: &str, message: String) -> ConfigError {
        let (place, line) = match self.override_at(offset) {
            Some(nth) => (self.overrides[nth].variable, None),
            None => (self.file.as_str(), Some(line_of(self.text, offset))),
        };
        ConfigError {
            place: place.to_owned(),
            line,
            key: key.to_owned(),
            message,
        }
    }

    fn override_at(&self, offset: usize) -> Option<usize> {
        let nth = offset.checked_sub(self.text.len() + 1)? / STRETCH;
        (nth < self.overrides.len()).then_some(nth)
    }

    /// `false` when the override already is a TOML value, or cannot be one.
    fn retype(&mut self, nth: usize) -> bool {
        let entry = &mut self.overrides[nth];
        if entry.as_toml || DeValue::parse(entry.value).is_err() {
            return false;
        }
        entry.as_toml = true;
        true
    }

    fn with_overrides(&self, mut tree: Table<'i>, faults: &mut Vec<ConfigError>) -> Table<'i> {
        for (nth, entry) in self.overrides.iter().enumerate() {
            let start = self.text.len() + 1 + nth * STRETCH;
            let span = start..start + 1;
            let value = match DeValue::parse(entry.value) {
                Ok(value) if entry.as_toml => tree::placed(value.into_inner(), &span),
                _ => DeValue::String(Cow::Borrowed(entry.value)),
            };
            if entry.path.len() > STRETCH / 2 || !tree::put(&mut tree, &entry.path, value, span) {
                faults.push(ConfigError {
                    place: entry.variable.to_owned(),
                    line: None,
                    key: entry.path.join("."),
                    message: "unknown key, expected one of config.toml (list entries by number, the next free one appends)".to_owned(),
                });
            }
        }
        tree
    }
}

/// Of a text whose syntax was found right.
fn plain_tree(text: &str) -> Table<'_> {
    DeTable::parse_recoverable(text).0.into_inner()
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
