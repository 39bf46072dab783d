//! Text on its way into Slack and out of it. Slack gives a meaning to `& < >` (mentions, links, commands) and refuses
//! a whole message when one field is too long: both are settled here, once, for every field (promise P8).

use crate::core::text::Untrusted;
use crate::messages::mask_codes;

/// Slack's limits, in the units in which its JavaScript counts (UTF-16), after escaping.
pub(super) const SECTION: usize = 3_000;
pub(super) const FIELD: usize = 2_000;
pub(super) const CONTEXT: usize = 2_000;
pub(super) const HEADER: usize = 150;
pub(super) const BUTTON: usize = 75;
pub(super) const VALUE: usize = 2_000;
pub(super) const OPTION: usize = 75;
pub(super) const LABEL: usize = 2_000;
pub(super) const MODAL_TITLE: usize = 24;
/// The line that notifications show.
pub(super) const NOTIFICATION: usize = 300;
pub(super) const URL: usize = 3_000;
pub(super) const MOST_BLOCKS: usize = 50;
pub(super) const MOST_FIELDS: usize = 10;

/// Clean, escaped and no longer than `limit`; cut with `…`, never inside an escape.
pub(super) fn escape(text: &str, limit: usize) -> String {
    fit(text, limit, |c| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        c => c.to_string(),
    })
}

/// Clean and no longer than `limit`, for the fields that Slack shows literally (rich text, values of inputs).
pub(super) fn literal(text: &str, limit: usize) -> String {
    fit(text, limit, |c| c.to_string())
}

fn fit(text: &str, limit: usize, shown: impl Fn(char) -> String) -> String {
    // `Rendered` is clean already; a second look costs nothing and holds for every field.
    let clean = Untrusted::new(text).plain(limit.saturating_add(1));
    let units = |text: &str| text.encode_utf16().count();
    let whole: String = clean.chars().map(&shown).collect();
    if units(&whole) <= limit {
        return whole;
    }
    let mut kept = String::new();
    let mut used = 1; // the ellipsis
    for c in clean.chars() {
        let next = shown(c);
        used += units(&next);
        if used > limit {
            break;
        }
        kept.push_str(&next);
    }
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

/// A choice in a form keeps its end, where the reference code stands.
pub(super) fn choice(label: &str, limit: usize) -> String {
    let (title, reference) = match label.rfind(" (") {
        Some(at) if label.len() - at <= 12 => label.split_at(at),
        _ => (label, ""),
    };
    let room = limit.saturating_sub(reference.encode_utf16().count());
    format!("{}{}", escape(title, room), escape(reference, limit))
}

/// What an employee typed, as they saw it: Slack's markup for links and escapes undone, codes masked.
pub(super) fn typed(text: &str, most_chars: usize) -> Untrusted {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let (before, tail) = rest.split_at(start);
        plain.push_str(before);
        let Some(end) = tail.find('>') else {
            plain.push_str(tail);
            rest = "";
            break;
        };
        let inner = &tail[1..end];
        plain.push_str(inner.rsplit_once('|').map_or(inner, |(_, label)| label));
        rest = &tail[end + 1..];
    }
    plain.push_str(rest);
    let plain = plain
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    // First plain, then masked: an invisible character must not split a code.
    let clean = Untrusted::new(plain).plain(most_chars);
    Untrusted::new(mask_codes(clean.trim()))
}
