//! A rollup as a small picture: per rule one bar, in the colours of what came of its questions. It only repeats what the
//! text beside it says.

use std::convert::Infallible;

use embedded_graphics::Pixel;
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_7X13;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{PrimitiveStyle, Rectangle};
use embedded_graphics::text::Text;
use serde_json::Value;

use crate::core::case::Outcome;
use crate::core::text::Untrusted;

/// Rules with the most cases; the text names them all.
const MOST_RULES: usize = 12;
const WIDTH: u32 = 640;
const ROW: u32 = 24;
/// Where the bars begin; the names stand before it.
const LEFT: u32 = 200;
/// Room for the longest bar; its count stands behind it.
const LONGEST: u32 = 380;
const NAME_CHARS: usize = 26;
const INK: Rgb888 = Rgb888::new(0x22, 0x22, 0x22);

/// Word, colour, and whether an outcome belongs to it; the last one takes what is left.
const SERIES: [(&str, Rgb888, &[Outcome]); 5] = [
    (
        "verified",
        Rgb888::new(0x2a, 0x9d, 0x5c),
        &[Outcome::Verified],
    ),
    ("denied", Rgb888::new(0xc1, 0x29, 0x2e), &[Outcome::Denied]),
    (
        "no answer",
        Rgb888::new(0xe9, 0x8a, 0x15),
        &[Outcome::NoAnswer],
    ),
    (
        "snoozed",
        Rgb888::new(0xa9, 0xb4, 0xc2),
        &[Outcome::Snoozed],
    ),
    ("other", Rgb888::new(0x45, 0x7b, 0x9d), &[]),
];

/// A PNG; `None`: nothing ended, there is nothing to draw.
pub(super) fn png(rollup: &Value) -> Option<Vec<u8>> {
    let rules = rollup["rules"].as_array()?;
    let mut bars: Vec<(String, [u64; SERIES.len()])> = rules.iter().map(bar).collect();
    bars.retain(|(_, counts)| counts.iter().sum::<u64>() > 0);
    bars.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.iter().sum::<u64>()));
    bars.truncate(MOST_RULES);
    let most = bars.first()?.1.iter().sum::<u64>();
    let mut canvas = Canvas::new(WIDTH, ROW * (rows(bars.len()) + 1) + 8);
    legend(&mut canvas);
    for (nth, (name, counts)) in bars.iter().enumerate() {
        let top = ROW * (rows(nth) + 1) + 4;
        canvas.write(name, 8, top);
        let mut at = LEFT;
        for ((_, colour, _), count) in SERIES.iter().zip(counts) {
            let width = u32::try_from(count * u64::from(LONGEST) / most).unwrap_or(LONGEST);
            // What happened once is seen beside what happened a thousand times.
            let width = width.max(u32::from(*count > 0) * 2);
            canvas.fill(at, top, width, *colour);
            at += width;
        }
        canvas.write(&counts.iter().sum::<u64>().to_string(), at + 6, top);
    }
    canvas.encode()
}

fn rows(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn bar(rule: &Value) -> (String, [u64; SERIES.len()]) {
    let mut counts = [0; SERIES.len()];
    for outcome in Outcome::ALL {
        let named = SERIES.iter().position(|(_, _, of)| of.contains(&outcome));
        let place = named.unwrap_or(SERIES.len() - 1);
        counts[place] += rule[outcome.name()].as_u64().unwrap_or(0);
    }
    let name = rule["rule"].as_str().unwrap_or_default();
    (Untrusted::new(name).line(NAME_CHARS), counts)
}

fn legend(canvas: &mut Canvas) {
    let mut at = LEFT;
    for (word, colour, _) in SERIES {
        canvas.fill(at, 4, 12, colour);
        canvas.write(word, at + 16, 4);
        at += 82;
    }
}

/// Rows of RGB, from the top.
struct Canvas {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Canvas {
    fn new(width: u32, height: u32) -> Self {
        let bytes = usize::try_from(width * height * 3).unwrap_or_default();
        Self {
            width,
            height,
            pixels: vec![0xff; bytes],
        }
    }

    /// A bar in the row that begins at `top`.
    fn fill(&mut self, left: u32, top: u32, width: u32, colour: Rgb888) {
        let place = Rectangle::new(point(left, top + 3), Size::new(width, ROW - 8));
        let Ok(()) = place
            .into_styled(PrimitiveStyle::with_fill(colour))
            .draw(self);
    }

    fn write(&mut self, text: &str, left: u32, top: u32) {
        let style = MonoTextStyle::new(&FONT_7X13, INK);
        let Ok(_) = Text::new(text, point(left, top + 15), style).draw(self);
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let written = encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&self.pixels));
        written
            .inspect_err(|error| tracing::error!(%error, "a chart cannot be encoded"))
            .ok()?;
        Some(bytes)
    }
}

fn point(x: u32, y: u32) -> Point {
    Point::new(
        i32::try_from(x).unwrap_or(i32::MAX),
        i32::try_from(y).unwrap_or(i32::MAX),
    )
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(at, colour) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(at.x), u32::try_from(at.y)) else {
                continue;
            };
            if x < self.width && y < self.height {
                let start = usize::try_from((y * self.width + x) * 3).unwrap_or_default();
                let rgb = [colour.r(), colour.g(), colour.b()];
                self.pixels[start..start + 3].copy_from_slice(&rgb);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decoded(bytes: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    fn count(pixels: &[u8], colour: Rgb888) -> usize {
        let wanted = [colour.r(), colour.g(), colour.b()];
        pixels.chunks(3).filter(|rgb| *rgb == wanted).count()
    }

    #[test]
    fn the_bars_are_as_long_as_what_happened() {
        let rollup = json!({ "rules": [
            { "rule": "sudo", "verified": 10, "denied": 5 },
            { "rule": "nmap <!channel>", "unsure": 1, "failed": 2 },
            { "rule": "quiet", "verified": 0 },
        ] });
        let (width, height, pixels) = decoded(&png(&rollup).unwrap());
        assert_eq!((width, height), (WIDTH, ROW * 3 + 8));
        let legend = 12 * (ROW as usize - 8);
        let area = |nth: usize| (count(&pixels, SERIES[nth].1) - legend) / (ROW as usize - 8);
        assert_eq!(area(0), 10 * LONGEST as usize / 15);
        assert_eq!(area(1), 5 * LONGEST as usize / 15);
        assert_eq!(area(4), 3 * LONGEST as usize / 15);
        assert_eq!(area(2), 0);
    }

    #[test]
    fn without_an_end_there_is_no_picture_and_a_thousand_rules_make_a_small_one() {
        assert_eq!(
            png(&json!({ "rules": [{ "rule": "a", "asked": 3 }] })),
            None
        );
        let rules: Vec<Value> = (0..1_000)
            .map(|nth| json!({ "rule": "é\u{202e}".repeat(300), "verified": nth }))
            .collect();
        let bytes = png(&json!({ "rules": rules })).unwrap();
        assert!(bytes.len() < 100_000, "{} bytes", bytes.len());
    }
}
