//! A yes proved on the phone: what a push may and may not prove, and who is told when it does not.
#![allow(clippy::unwrap_used)] // helpers of tests

mod conversation_support;

use conversation_support::{Bot, MINUTE, rule};
use securitybot::core::alert::Severity;
use securitybot::core::case::Outcome;
use securitybot::core::conversation::effect::CodeRefusal;
use securitybot::core::conversation::{
    Answer, Content, Effect, Event, Proof, PushVerdict, Reply, Tick,
};
use securitybot::core::ids::CaseId;
use securitybot::core::machine::Settlement;
use securitybot::core::policy::{Factor, Pushes, Rule};
use securitybot::core::text::Untrusted;

/// Alice with an authenticator and a phone.
fn with_phone(rules: Vec<Rule>) -> Bot {
    let mut bot = Bot::with(rules);
    bot.world.policy.pushes = Some(Pushes::default());
    bot
}

/// Alice with a phone only.
fn phone_only() -> Bot {
    let mut bot = Bot::unenrolled("employee/alice", Vec::new());
    bot.world.policy.pushes = Some(Pushes::default());
    bot
}

fn asked_yes(bot: &mut Bot) -> CaseId {
    let case = bot.ask("sudo", "web-3");
    bot.press(case, Answer::Yes);
    case
}

fn refusals(bot: &Bot) -> Vec<CodeRefusal> {
    bot.sent
        .iter()
        .filter_map(|message| match message.content {
            Content::CodeRefused { why, .. } => Some(why),
            _ => None,
        })
        .collect()
}

fn outage() -> Settlement {
    Settlement::Impossible {
        reason: "Duo cannot be reached".to_owned(),
    }
}

#[test]
fn an_approved_push_verifies_snoozes_and_shows_the_alert_on_the_phone() {
    let mut bot = with_phone(Vec::new());
    let case = asked_yes(&mut bot);
    let Content::ProofForm { form, .. } = bot.shows(case) else {
        panic!("no form");
    };
    assert!(form.push && form.code);
    assert_eq!(bot.ask_push(case, &[case]), Reply::Taken);
    assert_eq!(bot.phone[0].user, "alice");
    let shown = ("Alert".to_owned(), "sudo on web-3".to_owned());
    assert!(bot.phone[0].info.contains(&shown));
    assert_eq!(bot.outcome(case), None, "sent is not approved");
    bot.answer_push(PushVerdict::Approved);
    assert_eq!(bot.outcome(case), Some(Outcome::Verified));
    assert_eq!(bot.view(case).factor.as_deref(), Some("duo"));
    assert_eq!((bot.snooze_rows.len(), bot.pages().len()), (1, 0));
    bot.all_ended();
}

#[test]
fn a_refused_push_pages_at_once_as_critical_and_snoozes_nothing() {
    for (verdict, word) in [
        (PushVerdict::Refused, "REFUSED"),
        (PushVerdict::Fraud, "FRAUD"),
    ] {
        let mut bot = with_phone(Vec::new());
        let case = asked_yes(&mut bot);
        bot.ask_push(case, &[case]);
        bot.answer_push(verdict);
        assert_eq!(bot.outcome(case), Some(Outcome::VerificationFailed));
        let pages = bot.pages_of(case);
        assert_eq!((pages.len(), pages[0].urgency), (1, Severity::Critical));
        assert!(pages[0].summary.contains(word), "{}", pages[0].summary);
        assert!(bot.snooze_rows.is_empty());
    }
}

/// Its answer came only after the bot had been down for long, and a newer request is on the phone by then.
#[test]
fn a_push_that_a_newer_one_followed_proves_nothing_and_its_refusal_still_pages() {
    for (verdict, outcome) in [
        (PushVerdict::Approved, None),
        (PushVerdict::Fraud, Some(Outcome::VerificationFailed)),
    ] {
        let mut bot = with_phone(Vec::new());
        let case = asked_yes(&mut bot);
        bot.ask_push(case, &[case]);
        bot.wait(11 * MINUTE);
        assert_eq!(bot.ask_push(case, &[case]), Reply::Taken);
        bot.answer_push(verdict);
        assert_eq!(bot.outcome(case), outcome);
        let urgencies: Vec<Severity> = bot.pages_of(case).iter().map(|p| p.urgency).collect();
        let paged = outcome.map(|_| Severity::Critical);
        assert_eq!(urgencies, Vec::from_iter(paged));
    }
}

#[test]
fn a_no_makes_the_live_push_void_and_a_later_approval_is_late() {
    let mut bot = with_phone(Vec::new());
    let first = asked_yes(&mut bot);
    let second = bot.ask_at("nmap", "web-9", Severity::High);
    bot.ask_push(first, &[first, second]);
    bot.press(first, Answer::No);
    bot.answer_push(PushVerdict::Approved);
    assert_eq!(bot.outcome(first), Some(Outcome::Denied));
    assert_eq!(bot.outcome(second), None, "its challenge was void");
    assert!(bot.events_of(second).contains(&"late_answer"));
    assert!(bot.snooze_rows.is_empty());
}

#[test]
fn a_push_refused_after_a_code_proved_it_calls_the_yes_back() {
    let mut bot = with_phone(Vec::new());
    let case = asked_yes(&mut bot);
    bot.ask_push(case, &[case]);
    let step = bot.next_step();
    bot.submit(case, "deploying", Some(step));
    assert_eq!(bot.outcome(case), Some(Outcome::Verified));
    bot.answer_push(PushVerdict::Refused);
    let pages = bot.pages_of(case);
    assert_eq!((pages.len(), pages[0].urgency), (1, Severity::Critical));
    assert!(bot.snooze_rows.is_empty(), "revoked");
}

#[test]
fn an_unanswered_push_may_be_sent_again_and_one_is_live_at_a_time() {
    let mut bot = with_phone(Vec::new());
    let case = asked_yes(&mut bot);
    bot.ask_push(case, &[case]);
    assert!(matches!(
        bot.ask_push(case, &[case]),
        Reply::ProofRefused { .. }
    ));
    assert_eq!(bot.phone.len(), 1);
    bot.answer_push(PushVerdict::Unanswered);
    assert_eq!(refusals(&bot), [CodeRefusal::PushUnanswered]);
    assert_eq!(bot.outcome(case), None);
    assert_eq!(bot.ask_push(case, &[case]), Reply::Taken);
    bot.answer_push(PushVerdict::Approved);
    assert_eq!(bot.outcome(case), Some(Outcome::Verified));
}

#[test]
fn nobody_is_worn_down_by_push_after_push() {
    let mut bot = with_phone(Vec::new());
    let case = asked_yes(&mut bot);
    for _ in 0..5 {
        assert_eq!(bot.ask_push(case, &[case]), Reply::Taken);
        bot.answer_push(PushVerdict::Unanswered);
    }
    assert!(matches!(
        bot.ask_push(case, &[case]),
        Reply::ProofRefused { .. }
    ));
    assert_eq!(bot.phone.len(), 5);
    bot.wait(61 * MINUTE);
    assert_eq!(bot.ask_push(case, &[case]), Reply::Taken);
}

#[test]
fn an_outage_leaves_the_code_and_without_one_is_unverifiable_and_pages() {
    let mut bot = with_phone(Vec::new());
    let case = asked_yes(&mut bot);
    bot.ask_push(case, &[case]);
    bot.settle_push(outage());
    assert_eq!(refusals(&bot), [CodeRefusal::PushUnavailable]);
    let step = bot.next_step();
    assert_eq!(bot.submit(case, "", Some(step)), Reply::Taken);
    assert_eq!(bot.outcome(case), Some(Outcome::Verified));

    let mut bot = phone_only();
    let case = asked_yes(&mut bot);
    bot.ask_push(case, &[case]);
    bot.settle_push(outage());
    assert_eq!(bot.outcome(case), Some(Outcome::Unverifiable));
    assert_eq!(bot.pages_of(case).len(), 1);
}

#[test]
fn an_approval_after_the_deadline_is_late() {
    let mut bot = with_phone(Vec::new());
    let case = bot.ask_at("sudo", "web-3", Severity::Critical);
    bot.press(case, Answer::Yes);
    bot.ask_push(case, &[case]);
    // Nothing woke it in between: the settlement is the first event after the deadline.
    bot.now = bot.now.after(11 * MINUTE);
    bot.answer_push(PushVerdict::Approved);
    assert_eq!(bot.outcome(case), Some(Outcome::VerificationFailed));
    assert_eq!(bot.pages_of(case).len(), 1);
}

#[test]
fn a_rule_can_demand_one_factor() {
    let demanding = |factor| Rule {
        factor: Some(factor),
        ..rule("sudo")
    };
    let mut bot = with_phone(vec![demanding(Factor::Duo)]);
    let case = asked_yes(&mut bot);
    let step = bot.next_step();
    let by_code = bot.submit(case, "deploying", Some(step));
    assert!(matches!(by_code, Reply::ProofRefused { .. }));
    bot.ask_push(case, &[case]);
    bot.answer_push(PushVerdict::Approved);
    assert_eq!(bot.outcome(case), Some(Outcome::Verified));

    let mut bot = with_phone(vec![demanding(Factor::Totp)]);
    let case = asked_yes(&mut bot);
    assert!(matches!(
        bot.ask_push(case, &[case]),
        Reply::ProofRefused { .. }
    ));
    assert!(bot.phone.is_empty());

    let mut bot = phone_only();
    bot.reload(|policy| policy.rules = vec![demanding(Factor::Totp)]);
    let case = asked_yes(&mut bot);
    assert_eq!(bot.outcome(case), Some(Outcome::Unverifiable));
}

#[test]
fn a_push_counts_once_and_only_for_the_revision_that_was_ticked() {
    let mut bot = with_phone(Vec::new());
    let case = bot.ask("sudo", "web-3");
    let again = bot.alert("sudo", "web-3");
    bot.arrive(again);
    let inbound = bot.inbound("alice");
    let reply = bot.step(Event::PushRequested {
        inbound: inbound.clone(),
        case,
        ticks: vec![Tick { case, revision: 1 }],
        explanation: Untrusted::from("deploying"),
    });
    assert!(matches!(reply, Reply::ProofRefused { .. }));
    assert!(bot.phone.is_empty() && bot.outcome(case).is_none());
    // The same event again asks for nothing either.
    let reply = bot.step(Event::PushRequested {
        inbound,
        case,
        ticks: vec![Tick { case, revision: 2 }],
        explanation: Untrusted::from("deploying"),
    });
    assert_eq!(reply, Reply::AlreadyAnswered);
    bot.settle();
    bot.ask_push(case, &[case]);
    let approved = bot.awaited.front().cloned().unwrap();
    bot.answer_push(PushVerdict::Approved);
    assert_eq!(bot.outcome(case), Some(Outcome::Verified));
    let next = bot.ask("sudo", "web-4");
    bot.press(next, Answer::Yes);
    bot.awaited.push_back(approved);
    bot.answer_push(PushVerdict::Approved);
    assert_eq!(
        bot.outcome(next),
        None,
        "an old approval proves nothing new"
    );
}

#[test]
fn a_restart_goes_on_waiting_for_the_same_transaction() {
    let mut bot = with_phone(Vec::new());
    let case = asked_yes(&mut bot);
    bot.ask_push(case, &[case]);
    let Some(Effect::AwaitPush { transaction, .. }) = bot.awaited.front() else {
        panic!("not waited for");
    };
    assert_eq!(transaction, "tx1");
    // A code with a fault of ours in between counts for nothing and ends nothing.
    let unavailable = Proof::Unavailable {
        reason: "store".to_owned(),
    };
    bot.submit_ticks(case, &[(case, 1)], "x", Some(unavailable));
    bot.answer_push(PushVerdict::Approved);
    assert_eq!(bot.outcome(case), Some(Outcome::Verified));
}
