//! The invariants themselves must be able to fail: each is shown a history in which its promise is
//! broken by hand.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod conversation_support;

use conversation_support::{Bot, MINUTE, identity};
use securitybot::core::conversation::{Answer, Event};
use securitybot::core::invariants::{self, Observed};
use securitybot::core::machine::{Collection, RowChange};

/// Verified, a snoozed repeat, a denied graver one.
fn history() -> Bot {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    bot.verify(case);
    bot.wait(MINUTE);
    bot.ask("sudo", "web-3");
    let graver = bot.ask_at("sudo", "web-3", securitybot::core::alert::Severity::High);
    bot.press(graver, Answer::No);
    bot
}

fn check(tamper: impl Fn(&mut Observed)) -> Option<&'static str> {
    let mut bot = history();
    bot.history.iter_mut().for_each(tamper);
    invariants::all(&bot.history, &bot.world, true)
        .err()
        .map(|violation| violation.promise)
}

fn edit_rows(seen: &mut Observed, from: &str, to: &str) {
    for row in &mut seen.step.rows {
        if let RowChange::Put(row) | RowChange::New(row) = row {
            row.body = row.body.replace(from, to);
        }
    }
}

#[test]
fn an_honest_history_breaks_nothing() {
    assert_eq!(check(|_| {}), None);
}

#[test]
fn an_alert_without_a_case_breaks_p2() {
    let lost = |seen: &mut Observed| {
        if matches!(seen.event, Event::AlertsArrived { .. }) {
            seen.step.rows.clear();
        }
    };
    assert_eq!(check(lost), Some("P2"));
}

#[test]
fn a_denial_without_a_page_breaks_p3() {
    assert_eq!(check(|seen| seen.step.births.clear()), Some("P3"));
}

#[test]
fn a_verified_case_without_its_code_breaks_p3() {
    let codeless = |seen: &mut Observed| {
        seen.step.records.retain(|r| r.event != "code_accepted");
    };
    assert_eq!(check(codeless), Some("P3"));
}

#[test]
fn an_answer_from_somebody_else_breaks_p5() {
    let forged = |seen: &mut Observed| {
        if let Event::ButtonPressed { inbound, .. } = &mut seen.event {
            inbound.from = identity("bob");
        }
    };
    assert_eq!(check(forged), Some("P5"));
}

#[test]
fn a_tick_of_another_revision_breaks_p5() {
    let stale = |seen: &mut Observed| {
        if let Event::FormSubmitted { ticks, .. } = &mut seen.event {
            ticks[0].revision = 9;
        }
    };
    assert_eq!(check(stale), Some("P5"));
}

#[test]
fn a_snooze_that_outlives_a_denial_or_covers_more_breaks_p7() {
    let kept = |seen: &mut Observed| {
        seen.step
            .rows
            .retain(|row| !matches!(row, RowChange::Delete { .. }));
    };
    assert_eq!(check(kept), Some("P7"));
    let wider = |seen: &mut Observed| {
        let snooze =
            seen.step.rows.iter().any(
                |row| matches!(row, RowChange::Put(row) | RowChange::New(row) if row.collection == Collection::Snoozes),
            );
        if snooze {
            edit_rows(
                seen,
                "\"rule\":\"sudo\",\"context\"",
                "\"rule\":\"su\",\"context\"",
            );
        }
    };
    assert_eq!(check(wider), Some("P7"));
}
