//! The rows of the conversation's table about codes, locks, snoozes and late answers.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod conversation_support;

use conversation_support::{Bot, HOUR, MINUTE, rule};
use securitybot::core::alert::Severity;
use securitybot::core::case::Outcome;
use securitybot::core::context::Words;
use securitybot::core::conversation::event::Enroller;
use securitybot::core::conversation::{Answer, Content, Effect, Event, Proof, Reply};
use securitybot::core::machine::{Collection, Machine, RowChange};

fn refused(reply: &Reply) -> bool {
    matches!(reply, Reply::ProofRefused { .. })
}

#[test]
fn a_code_counts_once_and_never_an_older_step() {
    let mut bot = Bot::new();
    let first = bot.ask("sudo", "web-3");
    bot.press(first, Answer::Yes);
    bot.submit(first, "deploying", Some(7));
    let second = bot.ask("sudo", "web-4");
    bot.press(second, Answer::Yes);
    assert!(refused(&bot.submit(second, "deploying", Some(7))));
    assert!(refused(&bot.submit(second, "deploying", Some(6))));
    assert!(refused(&bot.submit(second, "deploying", None)));
    assert_eq!(bot.outcome(second), None);
    assert_eq!(bot.submit(second, "deploying", Some(8)), Reply::Taken);
    assert_eq!(bot.outcome(second), Some(Outcome::Verified));
    assert_eq!(bot.state.guard().last_step, Some(8));
}

#[test]
fn the_fifth_wrong_code_over_all_cases_locks_and_pages_critical() {
    let mut bot = Bot::new();
    let first = bot.ask_at("sudo", "web-3", Severity::High);
    let second = bot.ask_at("sudo", "web-4", Severity::High);
    bot.press(first, Answer::Yes);
    bot.press(second, Answer::Yes);
    for case in [first, first, second, second] {
        assert!(refused(&bot.submit(case, "deploying", None)));
        assert_eq!(bot.outcome(case), None);
    }
    assert!(refused(&bot.submit(second, "deploying", None)));
    assert_eq!(bot.outcome(second), Some(Outcome::VerificationFailed));
    assert_eq!(bot.pages_of(second)[0].urgency, Severity::Critical);
    assert_eq!(bot.outcome(first), None);
    assert_eq!(bot.state.guard().locked_until, Some(bot.now.after(HOUR)));
    // A yes while locked fails at once; a no works as always.
    let third = bot.ask_at("sudo", "web-5", Severity::High);
    bot.press(third, Answer::Yes);
    assert_eq!(bot.outcome(third), Some(Outcome::VerificationFailed));
    assert_eq!(bot.pages_of(third)[0].urgency, Severity::High);
    bot.submit(first, "deploying", Some(7));
    assert_eq!(bot.outcome(first), Some(Outcome::VerificationFailed));
    let fourth = bot.ask_at("sudo", "web-6", Severity::High);
    bot.press(fourth, Answer::No);
    assert_eq!(bot.outcome(fourth), Some(Outcome::Denied));
    // The next lock within a day is twice as long.
    bot.wait(HOUR);
    let fifth = bot.ask_at("sudo", "web-7", Severity::High);
    bot.press(fifth, Answer::Yes);
    for _ in 0..5 {
        bot.submit(fifth, "deploying", None);
    }
    assert_eq!(
        bot.state.guard().locked_until,
        Some(bot.now.after(2 * HOUR))
    );
    let operator = "sam".into();
    assert_eq!(bot.step(Event::Unlocked { operator }), Reply::Taken);
    let sixth = bot.ask_at("sudo", "web-8", Severity::High);
    bot.verify(sixth);
}

#[test]
fn a_right_code_between_starts_the_count_anew() {
    let mut bot = Bot::new();
    for round in 0..3u64 {
        let case = bot.ask("sudo", &format!("web-{round}"));
        bot.press(case, Answer::Yes);
        for _ in 0..4 {
            bot.submit(case, "deploying", None);
        }
        assert_eq!(
            bot.submit(case, "deploying", Some(10 + round)),
            Reply::Taken
        );
    }
    assert!(bot.pages().is_empty());
}

#[test]
fn a_code_that_cannot_be_checked_is_not_counted() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    bot.press(case, Answer::Yes);
    for _ in 0..6 {
        let reason = "the clocks differ".to_owned();
        let proof = Some(Proof::Unavailable { reason });
        assert!(refused(&bot.submit_ticks(case, &[(case, 1)], "x", proof)));
        assert!(refused(&bot.submit_ticks(case, &[(case, 1)], "x", None)));
    }
    assert_eq!(bot.submit(case, "", Some(7)), Reply::Taken);
    assert_eq!(bot.outcome(case), Some(Outcome::Verified));
}

#[test]
fn without_a_factor_a_yes_is_unverifiable_and_pages_low() {
    let mut bot = Bot::unenrolled("employee/alice", Vec::new());
    let case = bot.ask("sudo", "web-3");
    bot.press(case, Answer::Yes);
    assert_eq!(bot.outcome(case), Some(Outcome::Unverifiable));
    assert_eq!(bot.pages_of(case)[0].urgency, Severity::Low);
    let Content::Told { ended, .. } = &bot.sent.last().unwrap().content else {
        panic!("not told");
    };
    assert_eq!(ended.outcome, Outcome::Unverifiable);
    assert!(bot.snooze_rows.is_empty());
}

#[test]
fn enrolling_writes_the_sealed_seed_and_says_who_did_it() {
    let mut bot = Bot::new();
    bot.step(Event::FactorEnrolled {
        by: Enroller::Link {
            made_by: "sam".into(),
        },
        factor: "totp".to_owned(),
        sealed_seed: "other".to_owned(),
    });
    let step = &bot.history.last().unwrap().step;
    let RowChange::Put(row) = &step.rows[0] else {
        panic!("no row");
    };
    assert_eq!(
        (row.collection, row.id.as_str()),
        (Collection::Factors, "alice")
    );
    assert_eq!(row.body, r#"{"factor":"totp","sealed":"other"}"#);
    assert_eq!(step.records[0].event, "factor_enrolled");
    assert_eq!(
        step.records[0].detail,
        "totp replaced through a link made by sam"
    );
}

#[test]
fn a_yes_without_proof_is_reminded_once_and_fails_at_the_deadline() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    let deadline = bot.view(case).deadline.unwrap();
    bot.press(case, Answer::Yes);
    let from = bot.sent.len();
    bot.until(deadline.before(MINUTE));
    assert_eq!(bot.said(from), ["reminder"]);
    assert_eq!(bot.outcome(case), None);
    bot.until(deadline);
    assert_eq!(bot.outcome(case), Some(Outcome::VerificationFailed));
    assert_eq!(bot.pages_of(case)[0].urgency, Severity::High);
    // The result comes late: a note.
    assert_eq!(
        bot.submit(case, "deploying", Some(7)),
        Reply::AlreadyAnswered
    );
    assert_eq!(bot.outcome(case), Some(Outcome::VerificationFailed));
    assert!(bot.events_of(case).contains(&"late_answer"));
    assert!(bot.snooze_rows.is_empty());
}

#[test]
fn a_snooze_covers_the_same_context_and_no_graver_severity() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    // Accepted before the yes, delivered after it: not covered.
    let early = bot.alert("sudo", "web-3");
    bot.verify(case);
    bot.wait(MINUTE);
    let from = bot.sent.len();
    let repeat = bot.ask("sudo", "web-3");
    assert_eq!(bot.outcome(repeat), Some(Outcome::Snoozed));
    assert_eq!(bot.view(repeat).snoozed_by, Some(case));
    assert_eq!(bot.snooze_rows[&case.to_string()].suppressed, 1);
    assert!(bot.events_of(repeat).contains(&"alert_snoozed"));
    assert!(bot.said(from).is_empty());
    let graver = bot.ask_at("sudo", "web-3", Severity::High);
    assert_eq!(bot.outcome(graver), None);
    let elsewhere = bot.ask("sudo", "web-4");
    assert_eq!(bot.outcome(elsewhere), None);
    bot.arrive(early);
    let early = bot.rows.values().filter(|v| v.outcome.is_none()).count();
    assert_eq!(early, 3);
    // It always expires.
    bot.wait(21 * HOUR);
    let next_day = bot.ask("sudo", "web-3");
    assert_ne!(bot.outcome(next_day), Some(Outcome::Snoozed));
}

#[test]
fn critical_and_contextless_yes_make_no_snooze() {
    let mut bot = Bot::new();
    let case = bot.ask_at("sudo", "web-3", Severity::Critical);
    bot.verify(case);
    let mut alert = bot.alert("sudo", "web-3");
    alert.context = Words::default();
    bot.arrive(alert);
    let bare = bot
        .rows
        .values()
        .find(|view| view.context.is_empty())
        .unwrap()
        .id;
    bot.verify(bare);
    assert!(bot.snooze_rows.is_empty());
}

#[test]
fn a_no_revokes_the_snoozes_of_its_context_in_the_same_commit_and_lists_them() {
    let mut bot = Bot::new();
    let yes = bot.ask("sudo", "web-3");
    bot.verify(yes);
    bot.wait(MINUTE);
    let suppressed = bot.ask("sudo", "web-3");
    let graver = bot.ask_at("sudo", "web-3", Severity::High);
    bot.press(graver, Answer::No);
    assert!(bot.snooze_rows.is_empty());
    let page = bot.pages_of(graver)[0];
    assert!(page.related.contains(&yes) && page.related.contains(&suppressed));
    assert!(
        page.notes.iter().any(|note| note.contains("revoked")),
        "{:?}",
        page.notes
    );
    assert!(bot.events_of(yes).contains(&"snooze_revoked"));
    let again = bot.ask("sudo", "web-3");
    assert_ne!(bot.outcome(again), Some(Outcome::Snoozed));
}

#[test]
fn not_me_after_all_revokes_pages_as_denied_and_keeps_the_outcome() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    bot.verify(case);
    bot.wait(MINUTE);
    let suppressed = bot.ask("sudo", "web-3");
    assert_eq!(bot.press(case, Answer::NotMeAfterAll), Reply::Taken);
    assert_eq!(bot.outcome(case), Some(Outcome::Verified));
    assert!(bot.snooze_rows.is_empty());
    let pages = bot.pages_of(case);
    assert_eq!(
        (pages.len(), pages[0].round, pages[0].urgency),
        (1, 1, Severity::High)
    );
    assert_eq!(pages[0].related, [suppressed]);
    assert!(matches!(bot.shows(case), Content::Ended { ended, .. } if ended.revoked));
    assert_eq!(
        bot.press(case, Answer::NotMeAfterAll),
        Reply::AlreadyAnswered
    );
    assert_eq!(bot.pages_of(case).len(), 1);
}

#[test]
fn the_word_report_means_the_same() {
    let mut bot = Bot::new();
    let first = bot.ask("sudo", "web-3");
    bot.verify(first);
    let second = bot.ask("sudo", "web-4");
    bot.verify(second);
    bot.type_text("report");
    assert_eq!(bot.sent.last().unwrap().content.name(), "report_which");
    assert!(bot.pages().is_empty());
    let text = format!("Report {}", second.reference());
    bot.type_text(&text);
    assert_eq!(bot.pages_of(second).len(), 1);
    bot.type_text("REPORT");
    assert_eq!(bot.pages_of(first).len(), 1);
    assert!(bot.snooze_rows.is_empty());
}

#[test]
fn a_late_no_raises_the_next_round_and_a_late_yes_is_a_note() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    bot.wait(3 * HOUR);
    assert_eq!(bot.outcome(case), Some(Outcome::NoAnswer));
    assert_eq!(bot.press(case, Answer::Yes), Reply::AlreadyAnswered);
    assert_eq!(
        bot.type_text("yes, sorry, was deploying"),
        Reply::AlreadyAnswered
    );
    let note = "yes, \"was deploying\", after the end";
    assert!(bot.records().iter().any(|record| record.detail == note));
    assert_eq!(bot.pages_of(case).len(), 1);
    assert_eq!(bot.press(case, Answer::No), Reply::Taken);
    let pages = bot.pages_of(case);
    assert_eq!(
        (pages.len(), pages[1].round, pages[1].urgency),
        (2, 2, Severity::High)
    );
    assert!(bot.history.iter().any(|seen| {
        let effects = &seen.step.effects;
        effects.iter().any(|e| matches!(e, Effect::RaiseAgain(_)))
    }));
    assert_eq!(bot.outcome(case), Some(Outcome::NoAnswer));
    assert!(bot.snooze_rows.is_empty());
}

#[test]
fn an_operator_can_end_a_snooze() {
    let mut bot = Bot::with(vec![rule("sudo")]);
    let case = bot.ask("sudo", "web-3");
    bot.verify(case);
    let end = |snooze: String| Event::SnoozeEnded {
        operator: "sam".into(),
        snooze,
    };
    assert_eq!(bot.step(end("other".to_owned())), Reply::NotFound);
    assert_eq!(bot.step(end(case.to_string())), Reply::Taken);
    assert!(bot.snooze_rows.is_empty());
    assert!(matches!(
        bot.step(end(case.to_string())),
        Reply::NoLongerApplies { .. }
    ));
}

#[test]
fn a_no_to_a_case_that_is_no_longer_kept_still_pages() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    bot.verify(case);
    bot.wait(25 * HOUR);
    assert_eq!(bot.press(case, Answer::Yes), Reply::NotFound);
    assert!(bot.pages().is_empty());
    assert_eq!(bot.press_as("bob", case, Answer::No), Reply::NotYours);
    assert_eq!(bot.press(case, Answer::NotMeAfterAll), Reply::Taken);
    let page = bot.pages()[0];
    assert_eq!(
        (page.urgency, page.related.as_slice()),
        (Severity::High, &[case][..])
    );
    assert_ne!(page.id, case);
    assert_eq!(bot.outcome(case), Some(Outcome::Verified));
}

#[test]
fn what_untrusted_text_says_reaches_a_page_on_one_clean_line() {
    let mut bot = Bot::new();
    let mut alert = bot.alert("sudo", "web-3");
    alert.title = format!("a\u{202e}b\nPAGE RESOLVED {}", "x".repeat(300))
        .as_str()
        .into();
    bot.arrive(alert);
    let case = bot.case_of("a1");
    bot.press(case, Answer::No);
    let summary = &bot.pages_of(case)[0].summary;
    assert!(!summary.contains(['\n', '\u{202e}']), "{summary:?}");
    assert!(summary.contains("ab PAGE RESOLVED") && summary.chars().count() < 260);
}
