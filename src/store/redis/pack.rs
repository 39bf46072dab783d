//! Values made small. Redis copies each byte some seven times between its socket and its file, keeps it
//! in memory and sends it to its replicas: a fifth of the bytes are a fifth of all that. Our JSON repeats the
//! names of its fields and much of its text, so it is compressed against a dictionary that already holds them.

use std::cell::RefCell;
use std::io;
use std::sync::LazyLock;

use lz4_flex::block::decompress_into_with_dict;
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::{CParameter, get_frame_content_size};

/// What values look like, trained with `zstd --train` on those of a store full of alerts of ten kinds and whole cases.
/// Part of the stored format: a change needs a new marker beside the old one.
const DICTIONARY: &[u8] = include_bytes!("values.zdict");
/// The fastest that still uses the dictionary's statistics.
const LEVEL: i32 = 1;
/// Below this nothing is gained.
const SHORTEST: usize = 100;

/// The text as it is.
const PLAIN: u8 = b'=';
/// A Zstandard frame (RFC 8878) against [`DICTIONARY`], with its length and checksum.
const ZSTD: u8 = b'z';
/// Until schema 3: LZ4 against [`SAMPLE`], after the text's length as four bytes, little-endian.
const LZ4: u8 = b'4';
const SAMPLE: &[u8] = include_bytes!("sample.json");
/// What is longer stays as it is; a damaged length takes no more memory than this.
const LONGEST: usize = 1 << 26;

static ENCODER: LazyLock<EncoderDictionary<'static>> =
    LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> =
    LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

struct Packer {
    compressor: Compressor<'static>,
    /// What it writes into, before it is known how long it gets.
    room: Vec<u8>,
}

impl Packer {
    fn new() -> io::Result<Self> {
        let mut compressor = Compressor::with_prepared_dictionary(&ENCODER)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        // The marker says which.
        compressor.set_parameter(CParameter::DictIdFlag(false))?;
        Ok(Self {
            compressor,
            room: Vec::new(),
        })
    }

    /// `None` when that is no shorter.
    fn pack(&mut self, text: &[u8]) -> Option<&[u8]> {
        let most = zstd::zstd_safe::compress_bound(text.len());
        if self.room.len() < most {
            self.room.resize(most, 0);
        }
        let room = &mut self.room[..];
        let size = self.compressor.compress_to_buffer(text, room).ok()?;
        (size < text.len()).then(|| &self.room[..size])
    }

    /// A large text's room is not kept.
    fn rest(&mut self) {
        self.room.truncate(KEPT);
        self.room.shrink_to(KEPT);
    }
}

thread_local! {
    static PACKER: RefCell<Option<Packer>> = RefCell::new(Packer::new().ok());
    static UNPACKER: RefCell<Option<Decompressor<'static>>> =
        RefCell::new(Decompressor::with_prepared_dictionary(&DECODER).ok());
}
/// More is not kept from one value to the next.
const KEPT: usize = 1 << 20;

/// Appends `text` to `into`, marked with how.
pub(super) fn pack(text: &[u8], into: &mut Vec<u8>) {
    PACKER.with_borrow_mut(|packer| {
        let mut packer = packer
            .as_mut()
            .filter(|_| (SHORTEST..=LONGEST).contains(&text.len()));
        let (marker, packed) = match packer.as_mut().and_then(|packer| packer.pack(text)) {
            Some(packed) => (ZSTD, packed),
            None => (PLAIN, text),
        };
        into.reserve_exact(packed.len() + 1);
        into.push(marker);
        into.extend_from_slice(packed);
        if let Some(packer) = packer {
            packer.rest();
        }
    });
}

/// What was packed; `None` when it was not packed by us.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    match packed.split_first()? {
        (&PLAIN, text) => Some(text.to_vec()),
        (&ZSTD, frame) => {
            let length = usize::try_from(get_frame_content_size(frame).ok()??).ok()?;
            if length > LONGEST {
                return None;
            }
            UNPACKER.with_borrow_mut(|unpacker| unpacker.as_mut()?.decompress(frame, length).ok())
        }
        (&LZ4, rest) => unpack_lz4(rest),
        _ => None,
    }
}

fn unpack_lz4(rest: &[u8]) -> Option<Vec<u8>> {
    let (length, body) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    // No byte of LZ4 stands for more.
    if length > LONGEST || length.div_ceil(255) > body.len() {
        return None;
    }
    let mut text = vec![0; length];
    let size = decompress_into_with_dict(body, &mut text, SAMPLE).ok()?;
    (size == text.len()).then_some(text)
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

    /// A case's row as this store writes it.
    const ROW: &str = r#"{"id":"01a210d7-a96b-7810-9dcc-ce3ebe24eaba","reference":"F8673","employee":"ana","principal":"ana","rule":"network-scan","title":"nmap ran on web-3","severity":"high","state":"asked","opened_at":"2026-11-25T04:05:48.205Z","closed_at":null,"answer":null,"alerts":[]}"#;

    #[test]
    fn what_was_packed_comes_back_and_what_repeats_the_dictionary_is_small() {
        let random: String = (0..500)
            .map(|n| char::from(b'!' + (n * n % 89) as u8))
            .collect();
        for text in ["", "{}", "ä\0\n", &random, ROW, &ROW.repeat(50)] {
            assert_eq!(super::text(&packed(text)), text);
        }
        assert!(packed(ROW).len() < ROW.len() / 2);
        assert!(packed("short").len() == 6);
    }

    /// Another dictionary would make every stored value unreadable: it needs a marker of its own.
    #[test]
    fn the_dictionaries_are_those_that_stored_values_were_packed_with() {
        use sha2::{Digest, Sha256};
        let digests = [DICTIONARY, SAMPLE].map(|bytes| hex::encode(Sha256::digest(bytes)));
        assert_eq!(
            digests,
            [
                "1eff4d4f183aed80a1546a1d12ede58f528fa77aa6675811a2c3f8b3f731ca6a",
                "7d8c38975453eebc04ec39aff9a38ef3c6fc87295ed6017102d90bdede0fee6d"
            ]
        );
    }

    #[test]
    fn a_value_of_schema_3_is_read() {
        let text = "{\"a text of its own\":true}, again: {\"a text of its own\":true}".repeat(3);
        let mut old = vec![LZ4];
        old.extend_from_slice(&(text.len() as u32).to_le_bytes());
        old.extend(lz4_flex::block::compress_with_dict(text.as_bytes(), SAMPLE));
        assert_eq!(super::text(&old), text);
        assert_eq!(unpack(&old[..old.len() - 3]), None);
        assert_eq!(unpack(&[LZ4, 255, 255, 255, 255, 0]), None);
    }

    #[test]
    fn a_damaged_value_is_an_error() {
        let whole = packed(ROW);
        for at in 1..whole.len() {
            assert_eq!(unpack(&whole[..at]), None, "cut at {at}");
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_ne!(
                unpack(&damaged).as_deref(),
                Some(ROW.as_bytes()),
                "byte {at}"
            );
        }
        assert_eq!(unpack(b"?what"), None);
        assert_eq!(unpack(b""), None);
        assert_eq!(text(b"{}"), "unreadable: {}");
        assert_eq!(text(&[ZSTD, 255]), "unreadable, in hex: 7aff");
        assert_eq!(text(b""), "");
    }

    #[test]
    fn a_text_that_is_too_long_stays_as_it_is_and_no_claimed_length_is_believed() {
        let longest = "0".repeat(LONGEST + 1);
        assert_eq!(packed(&longest)[0], PLAIN);
        let mut large = vec![ZSTD];
        large.extend(zstd::bulk::compress(longest.as_bytes(), 1).expect("compresses"));
        assert_eq!(unpack(&large), None);
    }
}
