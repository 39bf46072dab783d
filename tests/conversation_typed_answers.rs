//! The corpus of typed answers: what counts as a yes or a no, and what must be asked again. It guards
//! against guessing: an ambiguous text that counts as a yes lets an intruder through.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

use securitybot::core::answer::{Verdict, parse};
use securitybot::core::command::Command;
use securitybot::core::text::Untrusted;

fn read(text: &str) -> (Verdict, String) {
    let typed = parse(&Untrusted::from(text), &["K7Q2M".to_owned()]);
    (typed.verdict, typed.rest.raw().to_owned())
}

#[test]
fn plain_answers_are_understood() {
    for (text, verdict, rest) in [
        ("yes", Verdict::Yes, ""),
        ("Yes.", Verdict::Yes, ""),
        ("YES!!", Verdict::Yes, ""),
        ("y", Verdict::Yes, ""),
        ("yep, restarting nginx", Verdict::Yes, "restarting nginx"),
        (
            "Yes \u{2014} restarting nginx on web-3",
            Verdict::Yes,
            "restarting nginx on web-3",
        ),
        ("yes restarting nginx", Verdict::Yes, "restarting nginx"),
        ("that was me", Verdict::Yes, ""),
        ("That\u{2019}s me, deploying", Verdict::Yes, "deploying"),
        ("yes that was me, deploying", Verdict::Yes, "deploying"),
        ("no problem, that was me", Verdict::Yes, ""),
        ("hi, yes it was me", Verdict::Yes, ""),
        ("\u{201c}yes\u{201d}", Verdict::Yes, ""),
        ("yes, no problem", Verdict::Yes, ""),
        ("no", Verdict::No, ""),
        ("NO!", Verdict::No, ""),
        ("nope, wasn't me", Verdict::No, ""),
        ("nope, wasn\u{2019}t me", Verdict::No, ""),
        ("No \u{2013} that wasn\u{2019}t me", Verdict::No, ""),
        ("not me", Verdict::No, ""),
        ("I didn't do that", Verdict::No, ""),
        ("no, I was at lunch", Verdict::No, "I was at lunch"),
        ("no, why?", Verdict::No, "why?"),
        ("definitely not me", Verdict::No, ""),
        ("not sure", Verdict::NotSure, ""),
        ("I\u{2019}m not sure", Verdict::NotSure, ""),
        ("no idea", Verdict::NotSure, ""),
        ("I don't know", Verdict::NotSure, ""),
        ("someone else", Verdict::SomeoneElse, ""),
        ("no, somebody else", Verdict::SomeoneElse, ""),
        ("someone else: bob", Verdict::SomeoneElse, "bob"),
    ] {
        assert_eq!(read(text), (verdict, rest.to_owned()), "{text:?}");
    }
}

#[test]
fn what_is_not_plain_is_never_guessed() {
    for text in [
        "I did not say yes",
        "yes and no",
        "yes or no",
        "yes?",
        "no?",
        "yes, no",
        "yes but that was not me",
        "yes, just kidding",
        "no wait yes",
        "no, it was me",
        "I did not mean to break it",
        "no one told me about this",
        "no doubt that was me",
        "did you say yes",
        "yes, who is asking?",
        "that was me?",
        "sure looks odd",
        "it was not me, I mean yes",
    ] {
        assert_eq!(read(text).0, Verdict::Ambiguous, "{text:?}");
    }
    for text in [
        "",
        "thanks",
        "ok",
        "no problem",
        "what is this?",
        "restarting nginx",
        "\u{200b}",
    ] {
        assert_eq!(read(text).0, Verdict::Nothing, "{text:?}");
    }
}

#[test]
fn reference_codes_are_found_on_either_side() {
    for (text, verdict) in [
        ("yes K7Q2M", Verdict::Yes),
        ("K7Q2M no", Verdict::No),
        ("k7q2m: yes", Verdict::Yes),
        ("No, (K7Q2M)", Verdict::No),
    ] {
        let typed = parse(&Untrusted::from(text), &["K7Q2M".to_owned()]);
        assert_eq!(typed.references, ["K7Q2M"], "{text:?}");
        assert_eq!((typed.verdict, typed.rest.raw()), (verdict, ""), "{text:?}");
    }
    let stray = parse(&Untrusted::from("yes B3C4D"), &["K7Q2M".to_owned()]);
    assert!(stray.stray_reference && stray.references.is_empty());
    let prose = parse(&Untrusted::from("never on web22"), &[]);
    assert!(!prose.stray_reference);
}

#[test]
fn commands_are_lone_words_in_any_case() {
    let command = |text: &str| parse(&Untrusted::from(text), &["K7Q2M".to_owned()]).command;
    assert_eq!(command("HELP"), Some(Command::Help));
    assert_eq!(command("Hi!"), Some(Command::Hi));
    assert_eq!(command(" status "), Some(Command::Status));
    assert_eq!(command("report K7Q2M"), Some(Command::Report));
    assert_eq!(command("help me with nginx"), None);
}

#[test]
fn a_code_in_the_chat_is_no_explanation() {
    let typed = parse(&Untrusted::from("yes [code]"), &[]);
    assert_eq!((typed.verdict, typed.had_code), (Verdict::Yes, true));
    assert!(typed.rest.is_empty());
}
