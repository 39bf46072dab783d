//! The parsed file with the environment's overrides in it, and the way from any key or fault back to
//! the line that says it. Reading goes on after a fault, so that all are reported together.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::error::{ConfigError, in_plain_words};
use super::secret::Environment;

/// Overrides are environment variables that begin so; `__` separates the parts of the key.
pub const OVERRIDE_PREFIX: &str = "SECURITYBOT__";
/// Faults after this many are cut: nobody reads more at once.
const MAX_FAULTS: usize = 100;
/// An override lies behind the file's end, each in a stretch of its own this long.
const STRETCH: usize = 64;

type Node<'i> = Spanned<DeValue<'i>>;
type Table<'i> = DeTable<'i>;

pub struct Document<'i> {
    file: String,
    text: &'i str,
    tree: Table<'i>,
    overrides: Vec<Override<'i>>,
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
            tree: tree.into_inner(),
            overrides,
        })
    }

    /// Everything that can be read as `T`, or all faults.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<T, Vec<ConfigError>> {
        let mut faults = Vec::new();
        let mut reported: Vec<String> = Vec::new();
        let mut whole = self.with_overrides(&mut faults);
        let mut rest = whole.clone();
        loop {
            let root = Spanned::new(0..0, rest.clone());
            let error = match T::deserialize(Deserializer::from(root)) {
                Ok(read) if faults.is_empty() => {
                    self.tree = whole;
                    return Ok(read);
                }
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
                whole = self.with_overrides(&mut faults);
                rest = whole.clone();
                continue;
            }
            let key = find(&whole, &span);
            // What is missing in a table only because a faulty key was taken out is no fault.
            let echo = reported
                .iter()
                .any(|r| r.starts_with(key.as_str()) && *r != key);
            if !echo {
                faults.push(self.fault_at(span.start, &key, in_plain_words(error.message())));
                reported.push(key);
            }
            if faults.len() >= MAX_FAULTS || !remove(&mut rest, &span) {
                break;
            }
        }
        Err(faults)
    }

    /// A fault at a key such as `rules[0].severity`, or the nearest table above that is written down.
    pub fn fault(&self, key: &str, message: impl Into<String>) -> ConfigError {
        self.fault_at(locate(&self.tree, key).unwrap_or(0), key, message.into())
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

    fn with_overrides(&self, faults: &mut Vec<ConfigError>) -> Table<'i> {
        let mut tree = self.tree.clone();
        for (nth, entry) in self.overrides.iter().enumerate() {
            let start = self.text.len() + 1 + nth * STRETCH;
            let span = start..start + 1;
            let value = match DeValue::parse(entry.value) {
                Ok(value) if entry.as_toml => value.into_inner(),
                _ => DeValue::String(Cow::Borrowed(entry.value)),
            };
            if entry.path.len() > STRETCH / 2 || !put(&mut tree, &entry.path, value, span) {
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

fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Sets a key; each step down gets a span of its own, so that a fault names the part that is wrong.
fn put<'i>(tree: &mut Table<'i>, path: &[String], value: DeValue<'i>, span: Range<usize>) -> bool {
    let [first, rest @ ..] = path else {
        return false;
    };
    if first.is_empty() {
        return false;
    }
    let deeper = span.start + 1..span.end + 1;
    if rest.is_empty() {
        tree.remove(first.as_str());
        let key = Spanned::new(span.clone(), Cow::Owned(first.clone()));
        tree.insert(key, Spanned::new(span, value));
        return true;
    }
    if !tree.contains_key(first.as_str()) {
        let empty = match rest[0].parse::<usize>() {
            Ok(_) => DeValue::Array(DeArray::new()),
            Err(_) => DeValue::Table(Table::new()),
        };
        let key = Spanned::new(span.clone(), Cow::Owned(first.clone()));
        tree.insert(key, Spanned::new(span, empty));
    }
    tree.get_mut(first.as_str())
        .is_some_and(|node| put_below(node, rest, value, deeper))
}

fn put_below<'i>(
    node: &mut Node<'i>,
    path: &[String],
    value: DeValue<'i>,
    span: Range<usize>,
) -> bool {
    match node.get_mut() {
        DeValue::Table(table) => put(table, path, value, span),
        DeValue::Array(list) => {
            let [first, rest @ ..] = path else {
                return false;
            };
            let Ok(index) = first.parse::<usize>() else {
                return false;
            };
            if index > list.len() {
                return false;
            }
            let deeper = span.start + 1..span.end + 1;
            if rest.is_empty() {
                let value = Spanned::new(span, value);
                match list.get_mut(index) {
                    Some(slot) => *slot = value,
                    None => list.push(value),
                }
                return true;
            }
            if index == list.len() {
                list.push(Spanned::new(span, DeValue::Table(Table::new())));
            }
            list.get_mut(index)
                .is_some_and(|item| put_below(item, rest, value, deeper))
        }
        _ => false,
    }
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// The key whose name or value is the smallest stretch around `span`, the deepest among equals.
fn find(tree: &Table<'_>, span: &Range<usize>) -> String {
    let mut best = (usize::MAX, String::new());
    walk(tree, "", &mut |key, at| {
        if holds(&at, span) && at.len() <= best.0 {
            best = (at.len(), key.to_owned());
        }
    });
    best.1
}

fn walk(tree: &Table<'_>, above: &str, visit: &mut impl FnMut(&str, Range<usize>)) {
    for (name, node) in tree {
        let key = match above {
            "" => name.get_ref().to_string(),
            _ => format!("{above}.{}", name.get_ref()),
        };
        visit(&key, name.span());
        walk_node(node, &key, visit);
    }
}

fn walk_node(node: &Node<'_>, key: &str, visit: &mut impl FnMut(&str, Range<usize>)) {
    visit(key, node.span());
    match node.get_ref() {
        DeValue::Table(table) => walk(table, key, visit),
        DeValue::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                walk_node(item, &format!("{key}[{index}]"), visit);
            }
        }
        _ => {}
    }
}

/// Where `key`, or the nearest table above it that is written down, stands.
fn locate(tree: &Table<'_>, key: &str) -> Option<usize> {
    let mut best: Option<(usize, usize)> = None;
    walk(tree, "", &mut |name, at| {
        let above = key
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        if above && best.is_none_or(|(length, _)| length < name.len()) {
            best = Some((name.len(), at.start));
        }
    });
    best.map(|(_, start)| start)
}

/// Takes the key at `span` out of the tree; `false` when there is none.
fn remove(tree: &mut Table<'_>, span: &Range<usize>) -> bool {
    let target = find(tree, span);
    !target.is_empty() && remove_key(tree, "", &target)
}

fn remove_key(tree: &mut Table<'_>, above: &str, target: &str) -> bool {
    let mut found = None;
    for (name, node) in tree.iter_mut() {
        let key = match above {
            "" => name.get_ref().to_string(),
            _ => format!("{above}.{}", name.get_ref()),
        };
        if key == target {
            found = Some(name.get_ref().to_string());
            break;
        }
        if target.starts_with(&key) && remove_below(node, &key, target) {
            return true;
        }
    }
    found.is_some_and(|name| tree.remove(name.as_str()).is_some())
}

fn remove_below(node: &mut Node<'_>, above: &str, target: &str) -> bool {
    match node.get_mut() {
        DeValue::Table(table) => remove_key(table, above, target),
        DeValue::Array(list) => {
            for index in 0..list.len() {
                let key = format!("{above}[{index}]");
                if key == target {
                    let kept = std::mem::replace(list, DeArray::new())
                        .into_iter()
                        .enumerate();
                    *list = kept
                        .filter(|(nth, _)| *nth != index)
                        .map(|(_, item)| item)
                        .collect();
                    return true;
                }
                if target.starts_with(&key)
                    && let Some(item) = list.get_mut(index)
                    && remove_below(item, &key, target)
                {
                    return true;
                }
            }
            false
        }
        _ => false,
    }
}
