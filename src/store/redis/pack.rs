//! Values made small. Redis copies each byte some seven times between its socket and its file, keeps it
//! in memory and sends it to its replicas: half the bytes are half of all that. Our JSON repeats the
//! names of its fields, so it is compressed against a sample that already holds them.

use std::cell::RefCell;

use lz4_flex::block::{
    compress_into_with_dict, decompress_into_with_dict, get_maximum_output_size,
};

/// What values look like. Part of the stored format: a change needs a new marker beside the old one.
const SAMPLE: &[u8] = include_bytes!("sample.json");
/// Below this nothing is gained.
const SHORTEST: usize = 100;

/// The text as it is.
const PLAIN: u8 = b'=';
/// LZ4 against [`SAMPLE`], after the text's length as four bytes, little-endian.
const LZ4: u8 = b'4';
/// What is longer stays as it is; a damaged length takes no more memory than this, nor more than LZ4
/// can make of the bytes that are there.
const LONGEST: usize = 1 << 26;
/// No byte of LZ4 stands for more.
const MOST_PER_BYTE: usize = 255;

thread_local! {
    /// What LZ4 writes into, before it is known how long it gets.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
/// More is not kept from one value to the next.
const KEPT: usize = 1 << 20;

/// Appends `text` to `into`, marked with how.
pub(super) fn pack(text: &[u8], into: &mut Vec<u8>) {
    ROOM.with_borrow_mut(|room| {
        let packed = u32::try_from(text.len())
            .ok()
            .filter(|_| (SHORTEST..=LONGEST).contains(&text.len()))
            .and_then(|length| Some((length, lz4(text, room)?)));
        match packed {
            Some((length, packed)) => {
                into.reserve_exact(packed.len() + 5);
                into.push(LZ4);
                into.extend_from_slice(&length.to_le_bytes());
                into.extend_from_slice(packed);
            }
            None => {
                into.reserve_exact(text.len() + 1);
                into.push(PLAIN);
                into.extend_from_slice(text);
            }
        }
        room.truncate(KEPT);
        room.shrink_to(KEPT);
    });
}

/// `None` when that is no shorter.
fn lz4<'a>(text: &[u8], room: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let most = get_maximum_output_size(text.len());
    if room.len() < most {
        room.resize(most, 0);
    }
    let size = compress_into_with_dict(text, room, SAMPLE).ok()?;
    (size + 5 < text.len()).then(|| &room[..size])
}

/// What a text of that length takes; `None` when so few bytes of LZ4 cannot be one.
fn room(length: u32, packed: usize) -> Option<usize> {
    let length = usize::try_from(length).ok()?;
    (length <= LONGEST && length.div_ceil(MOST_PER_BYTE) <= packed).then_some(length)
}

/// What was packed; `None` when it was not packed by us.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    match packed.split_first()? {
        (&PLAIN, text) => Some(text.to_vec()),
        (&LZ4, rest) => {
            let (length, body) = rest.split_first_chunk()?;
            let mut text = vec![0; room(u32::from_le_bytes(*length), body.len())?];
            let size = decompress_into_with_dict(body, &mut text, SAMPLE).ok()?;
            (size == text.len()).then_some(text)
        }
        _ => None,
    }
}

/// The text that was packed, or [`remains`].
pub(super) fn text(packed: &[u8]) -> String {
    let text = unpack(packed).and_then(|text| String::from_utf8(text).ok());
    text.unwrap_or_else(|| remains(packed))
}

/// What there is of a damaged value, so that nobody can take it for a whole one; nothing of nothing.
pub(super) fn remains(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok("") => String::new(),
        Ok(text) => format!("unreadable: {text}"),
        Err(_) => format!("unreadable, in hex: {}", hex::encode(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut packed = b"before".to_vec();
        pack(text.as_bytes(), &mut packed);
        packed.split_off(6)
    }

    #[test]
    fn what_was_packed_comes_back_and_what_repeats_the_sample_is_small() {
        let sample = String::from_utf8(SAMPLE.to_vec()).expect("text");
        let random: String = (0..500)
            .map(|n| char::from(b'!' + (n * n % 89) as u8))
            .collect();
        for text in ["", "{}", "ä\0\n", &random, &sample, &sample.repeat(50)] {
            assert_eq!(super::text(&packed(text)), text);
        }
        assert!(packed(&sample).len() < sample.len() / 20);
        assert!(packed("short").len() == 6);
    }

    /// Another sample would make every stored value unreadable: it needs a marker of its own.
    #[test]
    fn the_sample_is_the_one_that_stored_values_were_packed_with() {
        use sha2::{Digest, Sha256};
        let digest = hex::encode(Sha256::digest(SAMPLE));
        assert_eq!(
            digest,
            "7d8c38975453eebc04ec39aff9a38ef3c6fc87295ed6017102d90bdede0fee6d"
        );
    }

    #[test]
    fn a_damaged_value_is_an_error() {
        let whole = packed(&"a longer text that repeats itself ".repeat(9));
        assert_eq!(unpack(&whole[..whole.len() - 3]), None);
        assert_eq!(unpack(b"?what"), None);
        assert_eq!(unpack(b""), None);
        assert_eq!(text(b"{}"), "unreadable: {}");
        assert_eq!(text(&[LZ4, 255]), "unreadable, in hex: 34ff");
        assert_eq!(text(b""), "");
    }

    #[test]
    fn a_claimed_length_takes_no_memory_that_the_value_could_not_fill() {
        assert_eq!(room(2_295, 9), Some(2_295));
        assert_eq!(room(2_296, 9), None);
        assert_eq!(room(u32::MAX, LONGEST), None);
        assert_eq!(unpack(&[LZ4, 255, 255, 255, 255, 0]), None);
    }

    #[test]
    fn what_fills_its_claimed_length_best_is_read() {
        let zeros = "0".repeat(1 << 20);
        assert_eq!(text(&packed(&zeros)), zeros);
        let longest = "0".repeat(LONGEST + 1);
        assert_eq!(packed(&longest)[0], PLAIN);
    }
}
