//! The rows of the conversation's table about answering: yes with its proof, no, not sure, someone
//! else, by button and by text, from the right person only.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod conversation_support;

use conversation_support::{Bot, HOUR, MINUTE, rule};
use securitybot::core::alert::Severity;
use securitybot::core::case::{CaseState, Outcome};
use securitybot::core::conversation::effect::Unclear;
use securitybot::core::conversation::{Answer, Content, Event, Proof, Reply};
use securitybot::core::ids::CaseId;
use securitybot::core::policy::Explanation;
use std::time::Duration;

#[test]
fn a_new_alert_is_greeted_once_a_day_and_asked() {
    let mut bot = Bot::new();
    let from = bot.sent.len();
    let case = bot.ask("sudo", "web-3");
    assert_eq!(bot.said(from), ["greeting", "question"]);
    let Content::Question { question } = bot.shows(case) else {
        panic!("no question");
    };
    assert_eq!(question.title.raw(), "sudo on web-3");
    assert_eq!(question.time_zone, "Europe/Berlin");
    assert_eq!(question.reference, case.reference());
    let view = bot.view(case);
    assert_eq!(view.state, CaseState::Asked);
    assert_eq!(view.deadline, Some(bot.now.after(2 * HOUR)));
    assert_eq!(bot.events_of(case), ["case_opened", "question_sent"]);
    bot.press(case, Answer::No);
    let from = bot.sent.len();
    bot.ask("sudo", "web-4");
    assert_eq!(bot.said(from), ["question"]);
}

#[test]
fn a_rule_can_hide_fields_from_the_employee() {
    let mut hiding = rule("sudo");
    hiding.hide = vec!["reason".to_owned(), "host".to_owned()];
    let mut bot = Bot::with(vec![hiding]);
    let case = bot.ask("sudo", "web-3");
    let Content::Question { question } = bot.shows(case) else {
        panic!("no question");
    };
    assert!(question.reason.is_empty() && question.context.is_empty());
    assert_eq!(bot.view(case).evidence[0].reason.raw(), "ran it");
}

#[test]
fn a_proved_yes_is_thanked_and_snoozed() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    bot.press(case, Answer::Yes);
    assert_eq!(bot.view(case).state, CaseState::Verifying);
    let Content::ProofForm { form, .. } = bot.shows(case) else {
        panic!("no form");
    };
    assert!(form.ticks[0].ticked && form.ticks[0].case == case);
    let from = bot.sent.len();
    assert_eq!(bot.submit(case, "restarting nginx", Some(7)), Reply::Taken);
    let view = bot.view(case).clone();
    assert_eq!(view.outcome, Some(Outcome::Verified));
    assert_eq!(view.factor.as_deref(), Some("totp"));
    assert_eq!(view.explanation.as_ref().unwrap().raw(), "restarting nginx");
    assert_eq!(bot.said(from), ["ended", "told"]);
    let Content::Ended { ended, .. } = bot.shows(case) else {
        panic!("live buttons");
    };
    assert_eq!(ended.not_me_until, Some(bot.now.after(24 * HOUR)));
    assert_eq!(ended.snoozed_until, Some(bot.now.after(21 * HOUR)));
    assert_eq!(bot.snooze_rows[&case.to_string()].rule.as_str(), "sudo");
    assert!(bot.pages().is_empty());
    let events = bot.events_of(case);
    for event in [
        "answer_given",
        "code_accepted",
        "case_closed",
        "snooze_created",
    ] {
        assert!(events.contains(&event), "{event} in {events:?}");
    }
    bot.all_ended();
}

#[test]
fn a_denied_push_or_a_no_pages_at_once_and_never_mutes() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    assert_eq!(bot.press(case, Answer::No), Reply::Taken);
    assert_eq!(bot.outcome(case), Some(Outcome::Denied));
    let pages = bot.pages_of(case);
    assert_eq!(
        (pages.len(), pages[0].urgency, pages[0].round),
        (1, Severity::High, 1)
    );
    assert!(pages[0].summary.contains(&case.reference()));
    assert!(pages[0].summary.contains("sudo on web-3") && pages[0].summary.contains("alice"));
    assert_eq!(
        pages[0].url,
        format!("https://bot.example.com/cases/{case}")
    );
    assert!(bot.snooze_rows.is_empty());
    let again = bot.ask("sudo", "web-3");
    assert_eq!(bot.view(again).state, CaseState::Asked);
}

#[test]
fn not_sure_and_someone_else_page_low() {
    let mut bot = Bot::new();
    let unsure = bot.ask("sudo", "web-3");
    bot.press(unsure, Answer::NotSure);
    assert_eq!(bot.outcome(unsure), Some(Outcome::Unsure));
    assert_eq!(bot.pages_of(unsure)[0].urgency, Severity::Low);
    let other = bot.ask("sudo", "web-4");
    let from = bot.sent.len();
    bot.press(other, Answer::SomeoneElse);
    assert_eq!(bot.outcome(other), Some(Outcome::Unsure));
    assert!(bot.said(from).contains(&"ask_who"));
    bot.type_text("Bob from the night shift");
    let view = bot.view(other);
    assert_eq!(
        view.explanation.as_ref().unwrap().raw(),
        "Bob from the night shift"
    );
    assert_eq!(view.outcome, Some(Outcome::Unsure));
    assert!(bot.events_of(other).contains(&"note_added"));
    assert_eq!(bot.pages_of(other).len(), 1);
}

#[test]
fn no_counts_on_any_revision_and_after_an_unproved_yes() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    bot.ask("sudo", "web-3");
    assert_eq!(bot.view(case).revision, 2);
    bot.press_revision(case, 1, Answer::No);
    assert_eq!(bot.outcome(case), Some(Outcome::Denied));
    let other = bot.ask("sudo", "web-4");
    bot.press(other, Answer::Yes);
    bot.press(other, Answer::NotSure);
    assert_eq!(bot.outcome(other), Some(Outcome::Unsure));
    // The form that is still open proves nothing any more.
    assert_eq!(
        bot.submit(other, "deploying", Some(9)),
        Reply::AlreadyAnswered
    );
    assert_eq!(bot.outcome(other), Some(Outcome::Unsure));
    assert!(bot.snooze_rows.is_empty());
}

#[test]
fn a_yes_to_an_old_revision_stops_folding_and_shows_the_fresh_question_once() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    bot.ask("sudo", "web-3");
    let from = bot.sent.len();
    assert_eq!(bot.press_revision(case, 1, Answer::Yes), Reply::Taken);
    assert_eq!(bot.view(case).state, CaseState::Asked);
    assert_eq!(bot.said(from), ["question"]);
    assert!(bot.events_of(case).contains(&"answer_outdated"));
    let follow_up = bot.ask("sudo", "web-3");
    assert_ne!(follow_up, case);
    assert_eq!(bot.view(case).revision, 2);
    let from = bot.sent.len();
    let again = bot.press_revision(case, 1, Answer::Yes);
    assert!(matches!(again, Reply::NoLongerApplies { .. }));
    assert!(bot.said(from).is_empty());
}

#[test]
fn a_second_yes_a_redelivery_and_a_stranger_change_nothing() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    assert_eq!(bot.press_as("bob", case, Answer::No), Reply::NotYours);
    assert_eq!(bot.press_as("nobody", case, Answer::Yes), Reply::NotYours);
    assert_eq!(bot.view(case).state, CaseState::Asked);
    assert!(bot.events_of(case).contains(&"answer_refused"));
    bot.press(case, Answer::Yes);
    assert_eq!(bot.press(case, Answer::Yes), Reply::AlreadyAnswered);
    let event = Event::ButtonPressed {
        inbound: bot.inbound("alice"),
        case,
        revision: 1,
        answer: Answer::No,
        shown: true,
    };
    bot.step(event.clone());
    let before = bot.state.clone();
    assert_eq!(bot.step(event), Reply::AlreadyAnswered);
    assert_eq!(bot.state, before);
    assert_eq!(bot.pages_of(case).len(), 1);
}

#[test]
fn a_no_to_a_case_that_is_not_kept_counts_only_when_the_chat_has_shown_it() {
    let mut bot = Bot::new();
    let kept = bot.ask("sudo", "web-3");
    let other = CaseId::new(bot.now, 4_711, 0);
    let no_to = |bot: &mut Bot, case, shown| {
        let inbound = bot.inbound("alice");
        bot.step(Event::ButtonPressed {
            inbound,
            case,
            revision: 1,
            answer: Answer::No,
            shown,
        })
    };

    let traces = |bot: &Bot| (bot.state.clone(), bot.records().len(), bot.pages().len());
    let before = traces(&bot);
    assert_eq!(no_to(&mut bot, other, false), Reply::NotFound);
    assert_eq!(traces(&bot), before, "an id from elsewhere left a trace");
    assert_eq!(no_to(&mut bot, other, true), Reply::Taken);
    assert_eq!(bot.pages().len(), before.2 + 1, "a no was not paged");
    assert_eq!(no_to(&mut bot, kept, false), Reply::Taken);
    assert_eq!(bot.outcome(kept), Some(Outcome::Denied));
}

#[test]
fn an_identity_that_moved_to_somebody_else_answers_nothing() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    let mut people: Vec<_> = bot.world.directory.iter().cloned().collect();
    people[0].chat = Some("alice-new".into());
    people[1].chat = Some("alice".into());
    bot.world.directory = securitybot::core::employee::Directory::new(people, "web", &[]);
    assert_eq!(bot.press_as("alice", case, Answer::Yes), Reply::NotYours);
    assert_eq!(
        bot.press_as("alice-new", case, Answer::Yes),
        Reply::NotYours
    );
    bot.wait(3 * HOUR);
    assert_eq!(bot.outcome(case), Some(Outcome::NoAnswer));
}

#[test]
fn a_typed_yes_with_its_reason_shows_the_form() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    let from = bot.sent.len();
    bot.type_text("yes, restarting nginx");
    assert_eq!(bot.said(from), ["proof_form", "ask_proof"]);
    let Content::ProofForm { form, .. } = bot.shows(case) else {
        panic!("no form");
    };
    assert_eq!(form.given.as_ref().unwrap().raw(), "restarting nginx");
    assert_eq!(bot.submit(case, "", Some(7)), Reply::Taken);
    assert_eq!(bot.outcome(case), Some(Outcome::Verified));
}

#[test]
fn a_typed_yes_without_reason_is_asked_what_for() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    let from = bot.sent.len();
    bot.type_text("yep");
    assert_eq!(bot.said(from), ["proof_form", "ask_why"]);
    // The code is not used up by a missing reason.
    assert!(matches!(
        bot.submit(case, " ", Some(7)),
        Reply::ProofRefused { .. }
    ));
    bot.type_text("restarting nginx");
    assert_eq!(bot.submit(case, "", Some(7)), Reply::Taken);
    let why = bot.view(case).explanation.clone().unwrap();
    assert_eq!(why.raw(), "restarting nginx");
}

#[test]
fn a_rule_may_make_the_reason_optional() {
    let mut easy = rule("sudo");
    easy.explanation = Some(Explanation::Optional);
    let mut bot = Bot::with(vec![easy]);
    let case = bot.ask("sudo", "web-3");
    let from = bot.sent.len();
    bot.type_text("yes");
    assert_eq!(bot.said(from), ["proof_form", "ask_proof"]);
    assert_eq!(bot.submit(case, "", Some(7)), Reply::Taken);
    assert_eq!(bot.outcome(case), Some(Outcome::Verified));
}

#[test]
fn ambiguous_text_gets_one_clarification_and_no_guess() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    for text in ["yes and no", "I did not say yes", "yes?", "what is this?"] {
        let from = bot.sent.len();
        bot.type_text(text);
        assert_eq!(bot.said(from), ["clarification"], "{text}");
        assert_eq!(bot.view(case).state, CaseState::Asked);
    }
    bot.type_text("nope, wasn\u{2019}t me");
    assert_eq!(bot.outcome(case), Some(Outcome::Denied));
}

#[test]
fn with_two_live_questions_a_text_needs_a_reference() {
    let mut bot = Bot::new();
    let first = bot.ask_at("sudo", "web-3", Severity::High);
    let second = bot.ask_at("sudo", "web-4", Severity::High);
    bot.type_text("no");
    let Content::Clarification { reason, open } = &bot.sent.last().unwrap().content else {
        panic!("no clarification");
    };
    assert_eq!((*reason, open.len()), (Unclear::WhichOne, 2));
    let text = format!("{} no", second.reference().to_lowercase());
    bot.type_text(&text);
    assert_eq!(bot.outcome(second), Some(Outcome::Denied));
    assert_eq!(bot.outcome(first), None);
}

#[test]
fn a_text_written_before_the_question_was_shown_is_no_answer() {
    let mut bot = Bot::new();
    let written = bot.inbound("alice");
    let case = bot.ask("sudo", "web-3");
    bot.now = bot.now.after(Duration::from_secs(5));
    bot.step(Event::TextTyped {
        inbound: written,
        text: "no".into(),
    });
    assert_eq!(bot.view(case).state, CaseState::Asked);
}

#[test]
fn a_typed_yes_covers_only_what_the_chat_had_shown() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    bot.now = bot.now.after(MINUTE);
    let written = bot.inbound("alice");
    bot.now = bot.now.after(MINUTE);
    bot.ask("sudo", "web-3");
    bot.step(Event::TextTyped {
        inbound: written,
        text: "yes, deploying".into(),
    });
    bot.settle();
    assert_eq!(bot.view(case).state, CaseState::Asked);
    let Content::Clarification { reason, .. } = &bot.sent.last().unwrap().content else {
        panic!("no clarification");
    };
    assert_eq!(*reason, Unclear::Changed);
    bot.type_text("yes, deploying");
    assert_eq!(bot.view(case).state, CaseState::Verifying);
}

#[test]
fn one_code_proves_every_ticked_question_and_asks_the_changed_one_afresh() {
    let mut bot = Bot::new();
    let first = bot.ask_at("sudo", "web-3", Severity::High);
    let second = bot.ask_at("sudo", "web-4", Severity::High);
    let third = bot.ask_at("sudo", "web-5", Severity::High);
    bot.press(first, Answer::Yes);
    let Content::ProofForm { form, .. } = bot.shows(first) else {
        panic!("no form");
    };
    let ticked: Vec<_> = form.ticks.iter().map(|tick| tick.ticked).collect();
    assert_eq!(ticked, [true, false, false]);
    bot.ask_at("sudo", "web-5", Severity::High);
    let proof = Some(Proof::Totp { step: Some(7) });
    let ticks = [(first, 1), (second, 1), (third, 1)];
    assert_eq!(
        bot.submit_ticks(first, &ticks, "deploying", proof),
        Reply::Taken
    );
    assert_eq!(bot.outcome(first), Some(Outcome::Verified));
    assert_eq!(bot.outcome(second), Some(Outcome::Verified));
    let why = bot.view(second).explanation.clone().unwrap();
    assert_eq!(why.raw(), "deploying");
    assert_eq!(bot.view(third).state, CaseState::Asked);
    let Content::Question { question } = bot.shows(third) else {
        panic!("not asked afresh");
    };
    assert_eq!(question.revision, 2);
}

#[test]
fn commands_are_answered_in_any_case() {
    let mut bot = Bot::new();
    for (text, content) in [("Help", "help"), ("hi!", "help"), ("STATUS", "status")] {
        bot.type_text(text);
        assert_eq!(bot.sent.last().unwrap().content.name(), content);
    }
    bot.type_text("what a day");
    let Content::Clarification { reason, .. } = &bot.sent.last().unwrap().content else {
        panic!("no clarification");
    };
    assert_eq!(*reason, Unclear::NothingOpen);
}
