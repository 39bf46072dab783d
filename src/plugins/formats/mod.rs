//! Formats of alerts on the wire: bytes in, [`Incoming`](super::sources::Incoming) alerts or a clear
//! refusal out. Pure functions over untrusted bytes.

pub mod alertmanager;
pub mod mapping;
pub mod native;

use crate::core::alert::{MAX_FIELD_BYTES, PRACTICE_RULE};
use crate::core::context::Words;
use crate::core::text::Untrusted;

/// More alerts in one request are refused: one commit has to hold them all.
pub const MAX_ALERTS: usize = 1_000;
/// Ids and rule names stand in keys, labels and file lines.
pub const MAX_NAME_CHARS: usize = 200;
pub const MAX_CONTEXT_KEYS: usize = 64;

/// A kept text of bounded size.
pub(super) fn bounded(text: &str) -> Untrusted {
    Untrusted::new(text).bounded(MAX_FIELD_BYTES)
}

/// Whether a text can be a name: 1 to 200 characters, each of them visible or a plain space within.
pub(super) fn is_name(text: &str) -> bool {
    // Nearly every name is plain; the rest is looked at character by character.
    let graphic = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    let bytes = text.as_bytes();
    if bytes.len() <= MAX_NAME_CHARS
        && graphic(bytes.first())
        && graphic(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_graphic() || *byte == b' ')
    {
        return true;
    }
    !text.is_empty()
        && text.chars().count() <= MAX_NAME_CHARS
        && Untrusted::new(text).line(MAX_NAME_CHARS) == text
}

pub(super) fn check_rule(rule: &str) -> Result<(), String> {
    if !is_name(rule) {
        return Err(format!(
            "rule: expected 1 to {MAX_NAME_CHARS} visible characters, got {}",
            shown(rule)
        ));
    }
    if rule.eq_ignore_ascii_case(PRACTICE_RULE) {
        return Err(format!(
            "rule: `{PRACTICE_RULE}` is reserved for the question people practise with, expected another name"
        ));
    }
    Ok(())
}

pub(super) fn check_context(context: &Words) -> Result<(), String> {
    if context.len() > MAX_CONTEXT_KEYS {
        return Err(format!(
            "context: expected at most {MAX_CONTEXT_KEYS} keys, got {}",
            context.len()
        ));
    }
    match context.keys().find(|key| !is_name(key)) {
        Some(key) => Err(format!(
            "context: expected keys of 1 to {MAX_NAME_CHARS} visible characters, got {}",
            shown(key)
        )),
        None => Ok(()),
    }
}

/// Whether anything of a text would be seen by a person.
pub(super) fn is_blank(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_graphic()) && Untrusted::new(text).line(2).is_empty()
}

/// A short, clean and quoted form of untrusted text for an error message.
pub(super) fn shown(text: &str) -> String {
    format!("{:?}", Untrusted::new(text).line(60))
}
