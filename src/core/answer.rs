//! Reads typed answers. It exists so that nothing is ever guessed: what is not a plain yes, no, not
//! sure or somebody else is [`Verdict::Ambiguous`] or [`Verdict::Nothing`], and gets a question back.
//! Failure prevented: "I did not say yes" counted as a yes, "no problem, that was me" as a denial.

use super::command::{Command, command};
use super::ids::is_reference;
use super::text::Untrusted;

/// An explanation longer than this is cut; it is shown to operators in one piece.
pub const MAX_EXPLANATION_CHARS: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// Known reference codes in the text, upper case, in their order, without repetition.
    pub references: Vec<String>,
    /// Something that looks like a reference code and is none of the known ones.
    pub stray_reference: bool,
    pub command: Option<Command>,
    pub verdict: Verdict,
    /// What the person said besides the answer itself; the whole text when there is no answer in it.
    pub rest: Untrusted,
    /// A code was typed into the chat; it has been taken out.
    pub had_code: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Yes,
    No,
    NotSure,
    SomeoneElse,
    /// It speaks of yes or no, but not plainly.
    Ambiguous,
    /// There is no answer in it.
    Nothing,
}

/// Phrases that begin an answer, longest first within one meaning. Matching is on whole words.
const NO: &[&str] = &[
    "no that was not me",
    "no it was not me",
    "that was not me",
    "it was not me",
    "this was not me",
    "was not me",
    "that is not me",
    "it is not me",
    "not me",
    "not mine",
    "i did not do that",
    "i did not do this",
    "i did not do it",
    "i did not",
    "definitely not me",
    "definitely not",
    "absolutely not",
    "certainly not",
    "not at all",
    "no way",
    "no",
    "nope",
    "nah",
    "never",
];
const YES: &[&str] = &[
    "that was me",
    "it was me",
    "this was me",
    "was me",
    "that is me",
    "it is me",
    "i did that",
    "i did this",
    "i did it",
    "i did",
    "yes",
    "yep",
    "yeah",
    "yup",
    "aye",
    "y",
    "sure",
    "correct",
    "affirmative",
    "confirmed",
    "all mine",
    "all me",
    "mine",
];
const NOT_SURE: &[&str] = &[
    "i am not sure",
    "i am not certain",
    "i do not know",
    "i do not remember",
    "i cannot remember",
    "do not know",
    "not sure",
    "not certain",
    "no idea",
    "no clue",
    "unsure",
    "dunno",
    "maybe",
    "perhaps",
    "possibly",
    "idk",
];
const SOMEONE_ELSE: &[&str] = &[
    "that was someone else",
    "that was somebody else",
    "it was someone else",
    "it was somebody else",
    "someone else",
    "somebody else",
    "a colleague",
    "my colleague",
];
/// Politeness that begins with a no or yes word and means neither.
const FILLER: &[&str] = &[
    "no problem",
    "no worries",
    "no prob",
    "sure thing",
    "hi",
    "hello",
    "hey",
    "ok",
    "okay",
    "oh",
    "ah",
    "well",
    "sorry",
    "thanks",
    "thank you",
    "please",
];
/// After an answer: these turn it round or take it back, so nothing is certain.
const TURNS: &[&str] = &[
    "but", "however", "except", "though", "although", "or", "wait", "actually", "kidding", "joking",
];

/// These answer only when nothing follows: "i did not mean to" is no denial.
const ALONE: &[&str] = &["i did", "i did not", "sure", "never", "correct", "mine"];
/// What may follow a bare "no" without a stop; "no one told me" is no denial.
const AFTER_NO: &[&str] = &[
    "i",
    "it",
    "that",
    "this",
    "we",
    "he",
    "she",
    "they",
    "not",
    "definitely",
    "my",
];

/// Reads one chat message. `known` are the reference codes of the person's cases.
pub fn parse(text: &Untrusted, known: &[String]) -> Typed {
    let plain = text.plain(4 * MAX_EXPLANATION_CHARS);
    let had_code = plain.contains("[code]");
    let words = words(&plain.replace("[code]", " "));
    let all: Vec<String> = words.iter().map(|w| w.key.clone()).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut references = Vec::new();
    let mut kept = Vec::new();
    let mut stray_reference = false;
    for word in words {
        match reference(&word) {
            Some((code, _)) if known.contains(&code) => {
                if !references.contains(&code) {
                    references.push(code);
                }
            }
            Some((_, true)) => stray_reference = true,
            _ => kept.push(word),
        }
    }
    let keys: Vec<&str> = kept.iter().map(|w| w.key.as_str()).collect();
    let command = command(&keys, &all);
    let (verdict, used) = verdict(&kept, &keys);
    let rest = kept[used.min(kept.len())..]
        .iter()
        .map(|w| w.shown.as_str())
        .filter(|shown| !shown.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let rest = rest.trim_matches([' ', ',', '.', ':', ';', '-']);
    Typed {
        references,
        stray_reference,
        command,
        verdict,
        rest: Untrusted::new(Untrusted::from(rest).plain(MAX_EXPLANATION_CHARS)),
        had_code,
    }
}

/// One word: as written, as compared, and what closed it.
struct Word {
    shown: String,
    key: String,
    /// A question mark.
    asks: bool,
    /// Any punctuation.
    closes: bool,
}

fn words(plain: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let spaced: String = plain
        .chars()
        .map(|c| match c {
            '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2bc}' | '`' | '\u{b4}' => '\'',
            '\u{201c}' | '\u{201d}' => '"',
            '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
            c => c,
        })
        .collect::<String>()
        // A dash between blanks or doubled separates; inside a word ("web-3") it belongs to it.
        .replace("--", " - ");
    for token in spaced.split_whitespace() {
        let bare: String = token
            .trim_matches(|c: char| !c.is_alphanumeric())
            .to_lowercase();
        let expanded = match bare.as_str() {
            "wasn't" | "wasnt" => "was not",
            "isn't" | "isnt" => "is not",
            "didn't" | "didnt" => "did not",
            "don't" | "dont" => "do not",
            "can't" | "cant" | "cannot" => "cannot",
            "couldn't" => "could not",
            "i'm" | "im" => "i am",
            "that's" | "thats" => "that is",
            "it's" => "it is",
            "haven't" => "have not",
            other => other,
        };
        let asks = token
            .trim_end_matches(['"', '\'', ')', '!', '.'])
            .ends_with('?');
        let parts: Vec<&str> = if expanded.is_empty() {
            vec![""]
        } else {
            expanded.split(' ').collect()
        };
        let last = parts.len() - 1;
        for (index, part) in parts.iter().enumerate() {
            words.push(Word {
                shown: if index == 0 {
                    token.to_owned()
                } else {
                    String::new()
                },
                key: (*part).to_owned(),
                asks: asks && index == last,
                closes: index == last && !token.ends_with(char::is_alphanumeric),
            });
        }
    }
    // Lone punctuation is no word; it closes the one before.
    let mut kept: Vec<Word> = Vec::new();
    for word in words {
        if !word.key.is_empty() {
            kept.push(word);
        } else if let Some(before) = kept.last_mut() {
            before.asks |= word.asks;
            before.closes = true;
        }
    }
    kept
}

/// A word shaped like a reference code, and whether it can hardly be anything else (written in
/// capitals with a digit).
fn reference(word: &Word) -> Option<(String, bool)> {
    let bare = word.shown.trim_matches(|c: char| !c.is_alphanumeric());
    let code = bare.to_ascii_uppercase();
    let certain = bare == code && code.bytes().any(|b| b.is_ascii_digit());
    is_reference(bare).then_some((code, certain))
}

/// The meaning, and how many words at the start made it.
fn verdict(words: &[Word], keys: &[&str]) -> (Verdict, usize) {
    let begin = skip_filler(keys, 0);
    let Some((first, length)) = phrase(keys, begin) else {
        let speaks = (begin..keys.len()).any(|at| plainly(keys, at).is_some());
        let verdict = if speaks {
            Verdict::Ambiguous
        } else {
            Verdict::Nothing
        };
        return (verdict, 0);
    };
    let mut start = begin + length;
    // "yes that was me", "no, it wasn't me": the same meaning again is still the answer.
    loop {
        start = skip_filler(keys, start);
        match phrase(keys, start) {
            Some((meaning, length)) if meaning == first => start += length,
            // "no, someone else": whoever it was, it was not the person asked.
            Some((Verdict::SomeoneElse, length)) if first == Verdict::No => {
                return (Verdict::SomeoneElse, start + length);
            }
            Some((Verdict::Yes | Verdict::No | Verdict::NotSure, _)) => {
                return (Verdict::Ambiguous, 0);
            }
            _ => break,
        }
    }
    let rest = &keys[start..];
    let questioned = words[begin..start].iter().any(|word| word.asks);
    let needs_an_end = ALONE.contains(&keys[begin..start].join(" ").as_str());
    let runs_on = keys[start - 1] == "no"
        && !words[start - 1].closes
        && rest.first().is_some_and(|next| !AFTER_NO.contains(next));
    let unclear = match first {
        Verdict::NotSure | Verdict::SomeoneElse => questioned,
        Verdict::No => {
            questioned
                || runs_on
                || turned(rest)
                || (0..rest.len()).any(|at| plainly(rest, at) == Some(Verdict::Yes))
        }
        _ => {
            questioned
                || turned(rest)
                || words[start..].iter().any(|word| word.asks)
                || rest.last() == Some(&"no")
                || (0..rest.len()).any(|at| plainly(rest, at) == Some(Verdict::No))
        }
    };
    if unclear || (needs_an_end && !rest.is_empty()) {
        (Verdict::Ambiguous, 0)
    } else {
        (first, start)
    }
}

/// Whether what follows an answer turns it round: "yes but", "yes and no", "yes, just kidding".
fn turned(rest: &[&str]) -> bool {
    rest.iter().any(|word| TURNS.contains(word))
        || rest.first() == Some(&"and") && phrase(rest, 1).is_some()
}

/// An answer in the middle of prose, where lone words such as "no" or "sure" mean little.
fn plainly(keys: &[&str], at: usize) -> Option<Verdict> {
    let (meaning, length) = phrase(keys, at)?;
    let spoken = matches!(keys[at], "yes" | "yep" | "yeah" | "yup" | "nope");
    let answers = matches!(meaning, Verdict::Yes | Verdict::No);
    (answers && (spoken || length > 1) && keys[at..at + length] != ["i", "did"]).then_some(meaning)
}

fn skip_filler(keys: &[&str], mut start: usize) -> usize {
    while let Some(filler) = FILLER.iter().find(|f| begins(keys, start, f)) {
        start += filler.split(' ').count();
    }
    start
}

/// The longest phrase of any meaning at `start`, and its length in words.
fn phrase(keys: &[&str], start: usize) -> Option<(Verdict, usize)> {
    [
        (Verdict::NotSure, NOT_SURE),
        (Verdict::SomeoneElse, SOMEONE_ELSE),
        (Verdict::No, NO),
        (Verdict::Yes, YES),
    ]
    .into_iter()
    .flat_map(|(meaning, phrases)| phrases.iter().map(move |p| (meaning, *p)))
    .filter(|(_, p)| begins(keys, start, p))
    .map(|(meaning, p)| (meaning, p.split(' ').count()))
    .max_by_key(|(_, length)| *length)
}

fn begins(keys: &[&str], start: usize, phrase: &str) -> bool {
    let mut at = start;
    phrase.split(' ').all(|word| {
        let same = keys.get(at) == Some(&word);
        at += 1;
        same
    })
}
