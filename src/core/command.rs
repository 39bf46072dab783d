//! The words that are commands and no answers. Only `snooze` says more than one word: how much longer, and
//! with several snoozes which. What is not plainly a length is none: nothing is lengthened by a guess.

use std::time::Duration;

use super::ids::is_reference;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
/// A text of more words that begins with "snooze" is prose, unless every word of it is understood.
const MOST_WORDS: usize = 4;
/// What may stand between the words that count: "snooze it for another 2 hours, please".
const FILLER: [&str; 8] = [
    "it", "for", "by", "another", "more", "longer", "please", "of",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Help,
    Hi,
    Status,
    Report,
    /// The practice question.
    Test,
    Snooze(Longer),
}

/// `snooze 2h`, `snooze 90 min K7Q2M`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Longer {
    /// `None`: it does not say, or not plainly. Never zero.
    pub by: Option<Duration>,
    /// The reference code of the case whose yes made the snooze, upper case.
    pub reference: Option<String>,
}

/// `keys`: the words in lower case without reference codes; `all`: with them.
pub fn command(keys: &[&str], all: &[&str]) -> Option<Command> {
    match keys {
        ["help"] => Some(Command::Help),
        ["hi" | "hello" | "hey"] => Some(Command::Hi),
        ["status"] => Some(Command::Status),
        ["report"] => Some(Command::Report),
        ["test"] => Some(Command::Test),
        _ => longer(all).map(Command::Snooze),
    }
}

fn longer(words: &[&str]) -> Option<Longer> {
    let ["snooze", words @ ..] = words else {
        return None;
    };
    let mut seconds: u64 = 0;
    let mut reference = None;
    let mut unclear = false;
    let mut rest = words.iter().copied().peekable();
    while let Some(word) = rest.next() {
        if FILLER.contains(&word) {
            continue;
        }
        let said = match (length(word), number(word), rest.peek()) {
            (Some(said), ..) => Some(said),
            (None, Some(many), Some(next)) => unit(next).map(|unit| {
                rest.next();
                many.saturating_mul(unit)
            }),
            _ => None,
        };
        match said {
            Some(said) => seconds = seconds.saturating_add(said),
            None if is_reference(word) && reference.is_none() => {
                reference = Some(word.to_ascii_uppercase());
            }
            None => unclear = true,
        }
    }
    if unclear && words.len() > MOST_WORDS {
        return None;
    }
    Some(Longer {
        by: (!unclear && seconds > 0).then(|| Duration::from_secs(seconds)),
        reference,
    })
}

/// `2h`, `1h30m`, in seconds.
fn length(word: &str) -> Option<u64> {
    let mut seconds: u64 = 0;
    let mut rest = word;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let many: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit());
        let (name, after) = rest.split_at(letters.unwrap_or(rest.len()));
        seconds = seconds.saturating_add(many.saturating_mul(unit(name)?));
        rest = after;
    }
    (!word.is_empty()).then_some(seconds)
}

fn number(word: &str) -> Option<u64> {
    match word {
        "a" | "an" | "one" => Some(1),
        digits => digits.parse().ok(),
    }
}

fn unit(name: &str) -> Option<u64> {
    match name {
        "m" | "min" | "mins" | "minute" | "minutes" => Some(MINUTE),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some(HOUR),
        "d" | "day" | "days" => Some(DAY),
        "w" | "week" | "weeks" => Some(WEEK),
        _ => None,
    }
}

/// A length as `snooze` takes it, in its largest whole unit: `2h`, `90m`.
pub fn spoken(length: Duration) -> String {
    let seconds = length.as_secs();
    [(DAY, 'd'), (HOUR, 'h')]
        .into_iter()
        .find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit))
        .map_or_else(
            || format!("{}m", seconds / MINUTE),
            |(unit, name)| format!("{}{name}", seconds / unit),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Longer> {
        let words: Vec<&str> = text.split_whitespace().collect();
        longer(&words)
    }

    #[test]
    fn a_length_is_read_in_the_ways_people_write_it() {
        for (text, minutes) in [
            ("snooze 2h", 120),
            ("snooze 90m", 90),
            ("snooze for 2 hours", 120),
            ("snooze it for another 45 min please", 45),
            ("snooze 1h30m", 90),
            ("snooze 1h 30m", 90),
            ("snooze an hour", 60),
            ("snooze 1d", 1440),
            ("snooze 24hrs", 1440),
            ("snooze a week", 10_080),
        ] {
            let wanted = Longer {
                by: Some(Duration::from_secs(minutes * 60)),
                reference: None,
            };
            assert_eq!(read(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn a_reference_names_one_of_several_on_either_side() {
        for text in ["snooze 2h k7q2m", "snooze k7q2m for 2h"] {
            let wanted = Longer {
                by: Some(Duration::from_secs(2 * HOUR)),
                reference: Some("K7Q2M".to_owned()),
            };
            assert_eq!(read(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn nothing_is_guessed() {
        for text in [
            "snooze",
            "snooze 2",
            "snooze 0h",
            "snooze -2h",
            "snooze 1.5h",
            "snooze 2x",
            "snooze longer",
            "snooze 2h or so",
            "snooze until five",
        ] {
            let read = read(text).unwrap_or_else(|| panic!("{text} is the command"));
            assert_eq!(read.by, None, "{text}");
        }
        assert_eq!(read("snooze button of the clock was tested"), None);
        assert_eq!(read("please snooze 2h"), None);
    }

    #[test]
    fn an_absurd_length_is_one_without_end_and_no_overflow() {
        let read = read("snooze 99999999999999999w").and_then(|read| read.by);
        assert_eq!(read, Some(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn a_length_is_spoken_as_it_is_read() {
        for text in ["2h", "90m", "1d", "7d", "1m"] {
            let seconds = length(text).map(Duration::from_secs);
            assert_eq!(seconds.map(spoken).as_deref(), Some(text));
        }
    }
}
