//! What is wrong with a configuration: every fault at once, each with file, line, key and what was
//! expected, so that one look at the file is enough.

use std::fmt;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or the environment variable that said it.
    pub place: String,
    /// Counted from 1; `None` for an environment variable or the file as a whole.
    pub line: Option<usize>,
    /// `rules[0].severity`; empty when the file as a whole is meant.
    pub key: String,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All faults, one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// In the order of the file.
    pub fn new(mut faults: Vec<ConfigError>) -> Self {
        faults.sort_by_key(|fault| fault.line.unwrap_or(usize::MAX));
        Self(faults)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, error) in self.0.iter().enumerate() {
            if nth > 0 {
                writeln!(f)?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

/// What serde says, in the words of somebody who edits the file.
pub fn in_plain_words(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let expected = rest.split_once(", expected ").map(|(_, names)| names);
        return match expected {
            Some(names) => {
                let names = names.trim_start_matches("one of ").replace('`', "");
                format!("unknown key, expected one of {names}")
            }
            None => "unknown key, expected none here".to_owned(),
        };
    }
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("the key {} is missing here", field.replace('`', ""));
    }
    for prefix in ["invalid type: ", "invalid value: "] {
        if let Some((got, expected)) = message
            .strip_prefix(prefix)
            .and_then(|rest| rest.rsplit_once(", expected "))
        {
            let expected = match expected {
                "u16" | "u32" | "u64" => "a whole number",
                "a boolean" => "true or false",
                "a sequence" => "a list in brackets",
                "a map" => "a table",
                "path string" | "a string" => "text in quotes",
                other if other.starts_with("struct ") => "a table",
                other => other,
            };
            return format!("expected {expected}, got {}", got.replace('`', ""));
        }
    }
    message.lines().collect::<Vec<_>>().join(" ")
}
