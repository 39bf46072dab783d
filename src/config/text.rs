//! Values that are written as text in `config.toml`: durations, sizes, times of day, zones, words.
//! Each says what it expected, with examples, so that a typing error explains itself.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use url::Url;

use crate::core::alert::Severity;
use crate::core::policy::{Explanation, Factor, Mode};

use super::types::{LogFormat, Role, SlackMode};

/// A value read from a TOML string.
pub trait FromText: Sized {
    /// Completes "expected ...".
    fn expected() -> String;
    fn from_text(text: &str) -> Option<Self>;
    /// Whether a fault may repeat what was written: not where a secret may have slipped in.
    fn may_be_repeated() -> bool {
        true
    }
}

/// Deserialises a `T` from a string and names what was expected otherwise.
#[derive(Clone, Debug)]
pub struct Text<T>(pub T);

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<T: FromText> Visitor<'_> for Reader<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&T::expected())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
                T::from_text(text).ok_or_else(|| {
                    let expected = T::expected();
                    match T::may_be_repeated() {
                        true => E::custom(format!("expected {expected}, got {text:?}")),
                        false => E::custom(format!("expected {expected}")),
                    }
                })
            }
        }
        deserializer.deserialize_str(Reader(PhantomData)).map(Text)
    }
}

impl FromText for Duration {
    fn expected() -> String {
        r#"a duration such as "500ms", "90s", "15m", "21h" or "400d""#.to_owned()
    }

    /// Numbers with units, added up: `1h30m`.
    fn from_text(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut total = Duration::ZERO;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let number: u64 = rest[..digits].parse().ok()?;
            rest = &rest[digits..];
            let letters = rest
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(rest.len());
            let millis = match &rest[..letters] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
            rest = rest[letters..].trim_start();
        }
        Some(total)
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub usize);

impl FromText for Size {
    fn expected() -> String {
        r#"a size such as "64KiB", "1MiB" or "500000B""#.to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let number: usize = text[..digits].parse().ok()?;
        let unit = match text[digits..].trim() {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            _ => return None,
        };
        number.checked_mul(unit).map(Size)
    }
}

impl FromText for SocketAddr {
    fn expected() -> String {
        r#"an address with a port, such as "127.0.0.1:8080" or "[::]:8080""#.to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// An `http` or `https` address without a password: it would show in logs.
impl FromText for Url {
    fn expected() -> String {
        r#"a URL without a password, such as "https://bot.example.com""#.to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let sound =
            matches!(url.scheme(), "http" | "https") && url.has_host() && url.password().is_none();
        sound.then_some(url)
    }

    fn may_be_repeated() -> bool {
        false
    }
}

impl FromText for jiff::civil::Time {
    fn expected() -> String {
        r#"a time of day such as "09:00""#.to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        let (hour, minute) = text.split_once(':')?;
        if hour.len() != 2 || minute.len() != 2 {
            return None;
        }
        Self::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
    }
}

impl FromText for jiff::civil::Date {
    fn expected() -> String {
        r#"a date such as "2026-12-25""#.to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        (text.len() == 10).then(|| text.parse().ok())?
    }
}

/// The name of an IANA time zone that this machine knows.
#[derive(Clone, Debug)]
pub struct Zone(pub String);

impl FromText for Zone {
    fn expected() -> String {
        r#"a time zone such as "Europe/Berlin" or "UTC""#.to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        jiff::tz::TimeZone::get(text).ok()?;
        Some(Self(text.to_owned()))
    }
}

/// A name with `*` for any characters and `?` for one. Sets (`[ab]`, `{a,b}`) are refused because
/// they would silently match nothing.
#[derive(Clone, Debug)]
pub struct Glob(pub String);

impl FromText for Glob {
    fn expected() -> String {
        r#"a rule name with the wildcards * and ? only, such as "sudo*""#.to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        let sound = !text.is_empty()
            && text.trim() == text
            && !text.contains(|c: char| c.is_control() || "[]{}".contains(c));
        sound.then(|| Self(text.to_owned()))
    }
}

/// What names employees, sources, pagers, sinks, operators and ladders: it stands in URLs, store
/// keys and labels, so it is one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub String);

impl FromText for Name {
    fn expected() -> String {
        r#"a name of letters, digits and . _ - @ +, such as "alice""#.to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        let sound = (1..=128).contains(&text.len())
            && text
                .chars()
                .all(|c| c.is_alphanumeric() || "._-@+".contains(c));
        sound.then(|| Self(text.to_owned()))
    }
}

/// The days of the week by their first three letters; Monday is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(pub usize);

/// When the daily rollup is made, or `never`.
#[derive(Clone, Copy, Debug)]
pub struct Daily(pub Option<jiff::civil::Time>);

impl FromText for Daily {
    fn expected() -> String {
        r#"a time of day such as "09:00", or "never""#.to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self(None)),
            _ => jiff::civil::Time::from_text(text).map(|at| Self(Some(at))),
        }
    }
}

/// `low, medium, high or critical`.
pub fn one_of(words: &[&str]) -> String {
    match words {
        [] => "one that is configured".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// A closed set of words.
macro_rules! words {
    ($type:ty { $($word:literal => $value:expr),+ $(,)? }) => {
        impl FromText for $type {
            fn expected() -> String {
                one_of(&[$($word),+])
            }
            fn from_text(text: &str) -> Option<Self> {
                match text {
                    $($word => Some($value),)+
                    _ => None,
                }
            }
        }
    };
}

/// The kinds of things, before their keys are checked.
macro_rules! kinds {
    ($name:ident { $($word:literal => $variant:ident),+ $(,)? }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($variant),+ }
        words!($name { $($word => $name::$variant),+ });
        impl $name {
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }
    };
}

words!(Severity {
    "low" => Self::Low, "medium" => Self::Medium, "high" => Self::High, "critical" => Self::Critical,
});
words!(Mode { "ask" => Self::Ask, "shadow" => Self::Shadow, "page" => Self::Page });
words!(Factor { "totp" => Self::Totp, "duo" => Self::Duo });
words!(Explanation { "required" => Self::Required, "optional" => Self::Optional });
words!(Role { "viewer" => Self::Viewer, "responder" => Self::Responder, "admin" => Self::Admin });
words!(LogFormat { "pretty" => Self::Pretty, "json" => Self::Json });
words!(SlackMode { "socket" => Self::Socket, "events" => Self::Events });
words!(Day {
    "mon" => Self(0), "tue" => Self(1), "wed" => Self(2), "thu" => Self(3), "fri" => Self(4),
    "sat" => Self(5), "sun" => Self(6),
});
kinds!(StoreWord { "sqlite" => Sqlite, "redis" => Redis });
kinds!(ChatWord { "web" => Web, "slack" => Slack });
kinds!(SourceWord {
    "http" => Http, "alertmanager_webhook" => AlertmanagerWebhook, "alertmanager" => Alertmanager,
    "jsonl" => Jsonl,
});
kinds!(PagerWord {
    "log" => Log, "webhook" => Webhook, "alertmanager" => Alertmanager, "pagerduty" => Pagerduty,
    "slack" => Slack,
});
kinds!(SinkWord { "jsonl" => Jsonl, "webhook" => Webhook, "slack" => Slack });
