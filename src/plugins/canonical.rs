//! One spelling for JSON that means the same: without it a producer that reorders its keys would look
//! like one that altered an alert, and ids made of a hash would differ between two equal requests.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The value as JSON with sorted keys and without white space. Nesting is bounded by the parser
/// (serde_json stops at 128 levels), so the recursion is too.
pub fn canonical(value: &Value) -> String {
    let mut text = Vec::with_capacity(512);
    write(value, &mut text);
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// Lower-case hexadecimal SHA-256.
pub fn sha256_hex(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            // Sorted here: whether serde_json keeps the order is a feature any dependency can turn on.
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            out.push(b'{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                leaf(key, out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        other => leaf(other, out),
    }
}

fn leaf(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("texts and numbers are JSON, and memory takes all");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_order_and_white_space_do_not_matter_and_values_do() {
        let read = |text: &str| canonical(&serde_json::from_str(text).unwrap());
        let one = read(r#"{"b": [1, {"y": "\u00e9", "x": null}], "a": "q\""}"#);
        assert_eq!(one, r#"{"a":"q\"","b":[1,{"x":null,"y":"é"}]}"#);
        assert_eq!(one, read(r#"{"a":"q\"","b":[1,{"x":null,"y":"é"}]}"#));
        assert_ne!(one, read(r#"{"a":"q\"","b":[{"x":null,"y":"é"},1]}"#));
    }
}
