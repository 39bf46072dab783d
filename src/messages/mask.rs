//! Keeps one-time codes out of the chat history: a code typed into the wrong box must not be stored,
//! logged or delivered.

/// What stands where a code was.
const MASK: &str = "[code]";
const CODE_DIGITS: usize = 6;

/// Replaces every run of exactly six digits by `[code]`, also when it is written as apps show it
/// (`123 456`, `123-456`). Longer runs (ticket numbers, times) are left alone.
pub fn mask_codes(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        match code_at(&chars, at) {
            Some(end) => {
                masked.push_str(MASK);
                at = end;
            }
            None => {
                // A run that is no code is copied whole, so that its tail is not taken for one.
                let run = digits_at(&chars, at).max(1);
                masked.extend(&chars[at..at + run]);
                at += run;
            }
        }
    }
    masked
}

/// The end of the code that begins at `at`, if one does.
fn code_at(chars: &[char], at: usize) -> Option<usize> {
    let first = digits_at(chars, at);
    if first == CODE_DIGITS {
        return Some(at + first);
    }
    let gap = at + first;
    let split = first == CODE_DIGITS / 2
        && matches!(chars.get(gap), Some(' ' | '-' | '\u{a0}' | '\u{202f}'))
        && digits_at(chars, gap + 1) == CODE_DIGITS / 2;
    split.then(|| gap + 1 + CODE_DIGITS / 2)
}

fn digits_at(chars: &[char], at: usize) -> usize {
    chars.iter().skip(at).take_while(|c| c.is_numeric()).count()
}
