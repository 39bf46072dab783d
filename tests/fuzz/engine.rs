//! Takes an input of the corpus, changes it a little, sees what becomes of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mutatis::{Session, mutators};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Of the normal tests, for each target.
const USUAL: Duration = Duration::from_millis(1_500);
/// No input of this size may keep anybody waiting; the rest is a loaded machine.
const AT_MOST: Duration = Duration::from_secs(2);
/// What is put together does not grow beyond.
const MOST_BYTES: usize = 64 * 1024;

/// What parsers stumble over.
const WORDS: [&str; 22] = [
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "-9223372036854775809",
    "18446744073709551616",
    "\"\"",
    "[]",
    "{}",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\u{202e}@channel\"",
    "\"4\"",
    "[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "\r\n",
    "\0",
    "%00%ff",
    "\"2026-02-30T25:61:61Z\"",
    "\"critical\"",
    "<!channel>",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The corpus as it is, then changed, until the time is over.
pub fn fuzz(target: &str, mut holds: impl FnMut(&[u8]) -> Result<(), String>) {
    let long = number("FUZZ_SECONDS").map_or(USUAL, Duration::from_secs);
    let seed = number("FUZZ_SEED").unwrap_or_else(rand::random);
    let inputs = corpus(target);
    assert!(!inputs.is_empty(), "{target} has no corpus");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut session = Session::new().seed(seed);
    println!("{target}: FUZZ_SEED={seed}");
    let until = Instant::now() + long;
    let mut tried = 0;
    for input in &inputs {
        judge(target, seed, input, &mut holds);
    }
    while Instant::now() < until {
        let mut input = inputs.choose(&mut rng).unwrap().clone();
        for _ in 0..rng.random_range(1..6) {
            match rng.random_range(0..3) {
                0 => drop(session.mutate_with(&mut mutators::default::<Vec<u8>>(), &mut input)),
                1 => replace_a_value(&mut input, &mut rng),
                _ => splice(&mut input, inputs.choose(&mut rng).unwrap(), &mut rng),
            }
        }
        input.truncate(MOST_BYTES);
        judge(target, seed, &input, &mut holds);
        tried += 1;
    }
    println!("{target}: {} inputs and {tried} changed ones", inputs.len());
}

fn judge(
    target: &str,
    seed: u64,
    input: &[u8],
    holds: &mut impl FnMut(&[u8]) -> Result<(), String>,
) {
    let kept = std::env::temp_dir().join(format!("fuzz-{target}-{seed}"));
    if std::env::var_os("FUZZ_KEEP").is_some() {
        std::fs::write(&kept, input).unwrap();
    }
    let began = Instant::now();
    let verdict = catch_unwind(AssertUnwindSafe(|| holds(input)));
    let took = began.elapsed();
    let why = match verdict {
        Ok(Ok(())) if took <= AT_MOST => return,
        Ok(Ok(())) => format!("it took {took:?}"),
        Ok(Err(why)) => why,
        Err(_) => "it panicked".to_owned(),
    };
    std::fs::write(&kept, input).unwrap();
    panic!(
        "{target}, FUZZ_SEED={seed}: {why}; the input is {}",
        kept.display()
    );
}

/// Between two marks of JSON, TOML or a form there stands something else now.
fn replace_a_value(input: &mut Vec<u8>, rng: &mut StdRng) {
    let marks: Vec<usize> = (0..input.len())
        .filter(|at| b",:{}[]\"=&\n ".contains(&input[*at]))
        .collect();
    let Some(from) = marks.choose(rng) else {
        return;
    };
    let to = marks
        .iter()
        .find(|at| *at > from)
        .copied()
        .unwrap_or(input.len());
    let word = WORDS.choose(rng).unwrap().as_bytes();
    let times = if rng.random_ratio(1, 20) { 500 } else { 1 };
    input.splice(from + 1..to.max(from + 1), word.repeat(times));
}

/// The head of one and the tail of another.
fn splice(input: &mut Vec<u8>, other: &[u8], rng: &mut StdRng) {
    input.truncate(rng.random_range(0..=input.len()));
    input.extend(&other[rng.random_range(0..=other.len())..]);
}

/// It reads what it wrote.
pub fn survives<T>(value: &T) -> Result<(), String>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let text =
        serde_json::to_string(value).map_err(|error| format!("cannot be written: {error}"))?;
    match serde_json::from_str::<T>(&text) {
        Ok(again) if again == *value => Ok(()),
        Ok(again) => Err(format!("written and read again, {value:?} is {again:?}")),
        Err(error) => Err(format!("its own text cannot be read: {error}: {text}")),
    }
}
