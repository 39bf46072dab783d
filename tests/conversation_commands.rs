//! `snooze 2h` and `test`: what a command may change, and only with a code. Nothing here opens a case, and
//! neither form is a place to guess codes.
#![allow(clippy::unwrap_used)] // helpers of tests

mod conversation_support;

use std::time::Duration;

use conversation_support::{Bot, HOUR, MINUTE, identity, rule};
use securitybot::core::alert::Severity;
use securitybot::core::case::Outcome;
use securitybot::core::conversation::effect::{
    CodeRefusal, PracticeStep, Question, SnoozeStep, StatusSnooze,
};
use securitybot::core::conversation::{Answer, Content, Event, Proof, Reply, SnoozeRow};
use securitybot::core::ids::CaseId;
use securitybot::core::page::PageKind;
use securitybot::core::policy::{Factor, Rule};
use securitybot::core::text::Untrusted;

/// Snoozed for four hours, for ten at most.
fn sudo() -> Rule {
    let mut sudo = rule("sudo");
    sudo.snooze = Some(4 * HOUR);
    sudo.snooze_max = Some(10 * HOUR);
    sudo
}

/// Alice has confirmed `sudo` on a host with the code of step 100.
fn snoozed() -> (Bot, CaseId) {
    let mut bot = Bot::with(vec![sudo()]);
    let case = verified(&mut bot, "web-1", 100);
    (bot, case)
}

fn verified(bot: &mut Bot, host: &str, step: u64) -> CaseId {
    let case = bot.ask("sudo", host);
    bot.press(case, Answer::Yes);
    assert_eq!(bot.submit(case, "deploying", Some(step)), Reply::Taken);
    assert_eq!(bot.outcome(case), Some(Outcome::Verified));
    case
}

fn row(bot: &Bot, case: CaseId) -> SnoozeRow {
    bot.snooze_rows[&case.to_string()].clone()
}

fn said(bot: &Bot) -> (SnoozeStep, Vec<StatusSnooze>, bool) {
    match bot.last_said() {
        Content::Snooze {
            step,
            snoozes,
            capped,
            ..
        } => (*step, snoozes.clone(), *capped),
        other => panic!("not about a snooze: {other:?}"),
    }
}

fn step_shown(bot: &Bot) -> PracticeStep {
    match bot.last_said() {
        Content::Practice { step, .. } => *step,
        other => panic!("not practice: {other:?}"),
    }
}

fn refusal(reply: Reply) -> String {
    match reply {
        Reply::ProofRefused { message } => message,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_code_lengthens_what_a_verified_yes_made_and_nothing_does_before_it() {
    let (mut bot, case) = snoozed();
    let before = row(&bot, case);

    bot.type_text("snooze 2h");
    assert_eq!(said(&bot).0, SnoozeStep::Form);
    assert_eq!(row(&bot, case), before, "a wish changes nothing");
    assert_eq!(
        bot.submit_request("long deployment", Some(101)),
        Reply::Taken
    );

    let after = row(&bot, case);
    assert_eq!(after.until, before.until.after(2 * HOUR));
    assert_eq!(after.lengthened_at, Some(bot.now));
    assert_eq!((after.from, after.case), (before.from, case));
    let records = bot.records();
    let record = records
        .iter()
        .find(|r| r.event == "snooze_lengthened")
        .unwrap();
    assert_eq!(record.who.label(), "employee alice");
    assert_eq!(record.case_id, Some(case));
    assert!(
        record.detail.contains(&after.until.to_rfc3339()),
        "{}",
        record.detail
    );
    assert!(record.detail.contains(&case.reference()) && record.detail.contains("long deployment"));
    // The closed question says so too.
    let Content::Ended { ended, .. } = bot.shows(case) else {
        panic!("{:?}", bot.shows(case));
    };
    assert_eq!(ended.snoozed_until, Some(after.until));

    // In what was added it is not asked; afterwards it is.
    bot.until(before.until.after(HOUR));
    let quiet = bot.ask("sudo", "web-1");
    assert_eq!(bot.outcome(quiet), Some(Outcome::Snoozed));
    bot.until(after.until.after(MINUTE));
    let asked = bot.ask("sudo", "web-1");
    assert_eq!(bot.outcome(asked), None);
}

#[test]
fn beyond_the_cap_the_cap_is_offered_and_at_the_cap_nothing() {
    let (mut bot, case) = snoozed();
    let cap = row(&bot, case).from.after(10 * HOUR);

    bot.type_text("snooze 2 days");
    assert!(said(&bot).2, "it says that so long is not possible");
    let Content::Snooze { until, .. } = bot.last_said() else {
        panic!("{:?}", bot.last_said());
    };
    assert_eq!(*until, Some(cap), "what is shown is what is offered");
    bot.submit_request("", Some(101));
    assert_eq!(row(&bot, case).until, cap);

    bot.type_text("snooze 5m");
    assert_eq!(said(&bot).0, SnoozeStep::AtCap);
    assert_eq!(row(&bot, case).until, cap);
}

#[test]
fn without_a_longer_cap_in_its_rule_a_snooze_stays_as_it_is() {
    let mut bot = Bot::new();
    let case = verified(&mut bot, "web-1", 100);
    let before = row(&bot, case);
    bot.type_text("snooze 2h");
    assert_eq!(said(&bot).0, SnoozeStep::AtCap);
    assert_eq!(row(&bot, case), before);
}

#[test]
fn the_operators_cap_of_now_counts_when_it_is_proved() {
    let (mut bot, case) = snoozed();
    let before = row(&bot, case);
    bot.type_text("snooze 2h");
    bot.reload(|policy| policy.rules[0].snooze_max = Some(5 * HOUR));
    bot.submit_request("", Some(101));
    assert_eq!(row(&bot, case).until, before.from.after(5 * HOUR));

    bot.reload(|policy| policy.rules[0].snooze_max = Some(10 * HOUR));
    bot.type_text("snooze 2h");
    bot.reload(|policy| policy.rules[0].snooze = Some(Duration::ZERO));
    let reply = bot.submit_request("", Some(102));
    assert!(matches!(reply, Reply::NoLongerApplies { .. }), "{reply:?}");
    assert_eq!(row(&bot, case).until, before.from.after(5 * HOUR));
}

#[test]
fn with_several_snoozes_the_employee_names_one_by_its_reference() {
    let (mut bot, first) = snoozed();
    let second = verified(&mut bot, "web-2", 101);
    let (kept, before) = (row(&bot, first), row(&bot, second));

    bot.type_text("snooze 1h");
    let (step, snoozes, _) = said(&bot);
    assert_eq!(step, SnoozeStep::WhichOne);
    let references: Vec<_> = snoozes.into_iter().map(|s| s.reference).collect();
    assert_eq!(references, [first.reference(), second.reference()]);

    bot.type_text(&format!("snooze 1h {}", second.reference()));
    bot.submit_request("", Some(102));
    assert_eq!(row(&bot, second).until, before.until.after(HOUR));
    assert_eq!(row(&bot, first), kept);
}

#[test]
fn what_a_rule_hides_from_employees_stays_hidden_in_what_is_snoozed() {
    let mut sudo = sudo();
    sudo.hide = vec!["host".to_owned()];
    let mut bot = Bot::with(vec![sudo]);
    verified(&mut bot, "web-1", 100);
    bot.type_text("status");
    let Content::Status { snoozes, .. } = bot.last_said() else {
        panic!("no status: {:?}", bot.last_said());
    };
    let listed = snoozes.clone();
    bot.type_text("snooze");
    for shown in [&listed, &said(&bot).1] {
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0].context, [], "the host is hidden");
    }
}

#[test]
fn no_snooze_no_length_and_no_factor_are_said() {
    let mut bot = Bot::with(vec![sudo()]);
    bot.type_text("snooze 2h");
    assert_eq!(said(&bot).0, SnoozeStep::NoSnooze);
    verified(&mut bot, "web-1", 100);
    bot.type_text("snooze");
    assert_eq!(said(&bot).0, SnoozeStep::HowLong);
    bot.reload(|policy| policy.rules[0].factor = Some(Factor::Duo));
    bot.type_text("snooze 2h");
    assert_eq!(said(&bot).0, SnoozeStep::NoCode);
    assert!(bot.request().is_none(), "there is nothing to confirm");
    // Nor is a reference that is none a licence for another one.
    bot.type_text("snooze 2h ZZZZ2");
    assert_eq!(said(&bot).0, SnoozeStep::WhichOne);
}

#[test]
fn a_snooze_that_ended_before_the_code_stays_ended_and_the_code_unused() {
    let (mut bot, case) = snoozed();
    bot.type_text("snooze 2h");
    assert_eq!(bot.press(case, Answer::NotMeAfterAll), Reply::Taken);
    assert!(bot.snooze_rows.is_empty(), "a no revokes it as ever");
    let reply = bot.submit_request("", Some(101));
    assert!(matches!(reply, Reply::NoLongerApplies { .. }), "{reply:?}");
    assert!(bot.snooze_rows.is_empty());

    // Step 101 is still good for something real.
    verified(&mut bot, "web-2", 101);
}

#[test]
fn a_later_no_revokes_what_was_lengthened_and_lists_it_also_after_days() {
    let mut week = sudo();
    week.snooze_max = Some(7 * 24 * HOUR);
    let mut bot = Bot::with(vec![week]);
    let case = verified(&mut bot, "web-1", 100);
    bot.type_text("snooze 5d");
    bot.submit_request("", Some(101));
    bot.wait(3 * 24 * HOUR);
    let quiet = bot.ask("sudo", "web-1");
    assert_eq!(bot.outcome(quiet), Some(Outcome::Snoozed));

    bot.type_text("report");
    assert!(bot.snooze_rows.is_empty(), "revoked in the same commit");
    let pages = bot.pages_of(case);
    assert!(pages.last().unwrap().related.contains(&quiet));
    let asked = bot.ask("sudo", "web-1");
    assert_eq!(bot.outcome(asked), None, "and it is asked again");
}

#[test]
fn the_form_of_a_longer_snooze_proves_no_question_and_a_question_no_snooze() {
    let (mut bot, case) = snoozed();
    let before = row(&bot, case);
    let open = bot.ask("sudo", "web-2");
    bot.press(open, Answer::Yes);
    bot.type_text("snooze 2h");
    let request = bot.request().unwrap();
    let proof = |step| Some(Proof::Totp { step: Some(step) });

    bot.submit_ticks(request, &[(open, 1)], "deploying", proof(101));
    assert_eq!(bot.outcome(open), None);
    assert_eq!(row(&bot, case).until, before.until.after(2 * HOUR));

    bot.type_text("snooze 1h");
    let request = bot.request().unwrap();
    let lengthened = row(&bot, case);
    bot.submit_ticks(open, &[(open, 1), (request, 0)], "deploying", proof(102));
    assert_eq!(bot.outcome(open), Some(Outcome::Verified));
    assert_eq!(row(&bot, case), lengthened);
}

#[test]
fn a_code_counts_once_whether_it_was_for_practice_a_snooze_or_a_question() {
    let (mut bot, case) = snoozed();
    bot.type_text("snooze 2h");
    assert!(refusal(bot.submit_request("", Some(100))).contains("used already"));
    assert_eq!(bot.submit_request("", Some(101)), Reply::Taken);
    let lengthened = row(&bot, case);
    // The same event, delivered again, and the same form once more.
    let mut events = bot.history.iter().rev().map(|seen| seen.event.clone());
    let again = events.find(|e| matches!(e, Event::FormSubmitted { .. }));
    assert_eq!(bot.step(again.unwrap()), Reply::AlreadyAnswered);
    assert_eq!(bot.submit_request("", Some(102)), Reply::AlreadyAnswered);
    assert_eq!(row(&bot, case), lengthened);

    bot.type_text("test");
    bot.press_request(Answer::Yes);
    assert_eq!(bot.submit_request("for practice", Some(102)), Reply::Taken);
    let open = bot.ask("sudo", "web-2");
    bot.press(open, Answer::Yes);
    assert!(refusal(bot.submit(open, "deploying", Some(102))).contains("used already"));
    assert_eq!(bot.submit(open, "deploying", Some(103)), Reply::Taken);
}

#[test]
fn wrong_codes_count_over_practice_snooze_and_questions_alike() {
    let (mut bot, _) = snoozed();
    bot.type_text("test");
    bot.press_request(Answer::Yes);
    for _ in 0..2 {
        assert!(refusal(bot.submit_request("for practice", None)).contains("left"));
    }
    bot.type_text("snooze 2h");
    for _ in 0..2 {
        assert!(refusal(bot.submit_request("", None)).contains("left"));
    }
    let open = bot.ask("sudo", "web-2");
    bot.press(open, Answer::Yes);
    bot.submit(open, "deploying", None);
    assert_eq!(bot.outcome(open), Some(Outcome::VerificationFailed));
    let page = bot.pages_of(open)[0];
    assert_eq!(page.urgency, Severity::Critical);
}

#[test]
fn the_fifth_wrong_code_locks_and_pages_also_where_no_case_is_at_stake() {
    for command in ["test", "snooze 2h"] {
        let (mut bot, case) = snoozed();
        let before = row(&bot, case);
        bot.type_text(command);
        bot.press_request(Answer::Yes);
        for _ in 0..5 {
            refusal(bot.submit_request("guessing", None));
        }
        let pages = bot.pages();
        let [page] = pages.as_slice() else {
            panic!("{pages:?}");
        };
        assert_eq!(
            (page.kind, page.urgency),
            (PageKind::Operations, Severity::Critical)
        );
        assert!(page.summary.contains("alice"), "{}", page.summary);
        // The lock holds for both forms and tells nothing about a code.
        let reply = bot.submit_request("guessing", Some(101));
        assert_eq!(reply, Reply::AlreadyAnswered, "the form is over");
        bot.type_text("test");
        bot.press_request(Answer::Yes);
        for step in [None, Some(101)] {
            assert!(refusal(bot.submit_request("guessing", step)).contains("locked"));
        }
        bot.type_text("snooze 2h");
        let locked = matches!(
            bot.last_said(),
            Content::CodeRefused {
                why: CodeRefusal::Locked,
                ..
            }
        );
        assert!(locked, "{:?}", bot.last_said());
        assert_eq!(row(&bot, case), before, "existing snoozes stay");
    }
}

#[test]
fn an_explanation_that_is_missing_in_practice_is_asked_for_before_any_code_counts() {
    let mut bot = Bot::new();
    bot.type_text("test");
    bot.press_request(Answer::Yes);
    for step in [None, Some(100), None, None, None, None] {
        assert!(refusal(bot.submit_request(" ", step)).contains("few words"));
    }
    assert_eq!(bot.submit_request("for practice", Some(100)), Reply::Taken);
    assert_eq!(step_shown(&bot), PracticeStep::Verified);
}

#[test]
fn practice_leaves_no_case_no_page_no_snooze_and_no_figure() {
    let mut bot = Bot::new();
    for (answer, shown) in [
        (Answer::Yes, PracticeStep::Verified),
        (Answer::No, PracticeStep::Denied),
        (Answer::NotSure, PracticeStep::NotSure),
        (Answer::SomeoneElse, PracticeStep::SomeoneElse),
    ] {
        bot.type_text("test");
        assert_eq!(step_shown(&bot), PracticeStep::Asked);
        bot.press_request(answer.clone());
        if answer == Answer::Yes {
            assert_eq!(step_shown(&bot), PracticeStep::Proving);
            bot.submit_request("for practice", Some(100));
        }
        assert_eq!(step_shown(&bot), shown);
        // What is over answers nothing more.
        assert_eq!(bot.press_request(Answer::No), Reply::AlreadyAnswered);
    }
    bot.wait(2 * HOUR);
    assert_eq!(bot.state.cases().count(), 0);
    assert!(bot.rows.is_empty() && bot.snooze_rows.is_empty() && bot.pages().is_empty());
    assert!(
        bot.records()
            .iter()
            .all(|r| r.case.is_none() && r.case_id.is_none())
    );
}

#[test]
fn practice_without_a_factor_says_what_is_missing() {
    let mut bot = Bot::unenrolled("employee/alice", Vec::new());
    bot.type_text("test");
    bot.press_request(Answer::Yes);
    assert_eq!(step_shown(&bot), PracticeStep::NoFactor);
    assert!(bot.pages().is_empty());
}

#[test]
fn a_stale_practice_button_pages_nobody() {
    let mut bot = Bot::new();
    bot.type_text("test");
    let old = bot.request().unwrap();
    bot.type_text("test");
    let live = |content: &&Content| {
        matches!(
            content,
            Content::Practice {
                step: PracticeStep::Asked,
                ..
            }
        )
    };
    assert_eq!(bot.screen.values().filter(live).count(), 1, "one is live");
    let reply = bot.press_revision(old, 0, Answer::No);
    assert!(matches!(reply, Reply::NoLongerApplies { .. }), "{reply:?}");
    let last = bot.request().unwrap();
    bot.wait(HOUR);
    assert_eq!(step_shown(&bot), PracticeStep::Over);
    let reply = bot.press_revision(last, 0, Answer::No);
    assert!(matches!(reply, Reply::NoLongerApplies { .. }), "{reply:?}");
    assert!(bot.pages().is_empty());
}

#[test]
fn a_message_of_a_request_that_was_slow_in_the_chat_loses_its_buttons() {
    let mut bot = Bot::new();
    bot.chat_up = false;
    bot.type_text("test");
    bot.wait(HOUR);
    bot.chat_up = true;
    bot.settle();
    assert_eq!(step_shown(&bot), PracticeStep::Over);
}

#[test]
fn typed_answers_reach_the_practice_question_only_where_nothing_real_is_meant() {
    let mut bot = Bot::new();
    bot.type_text("test");
    bot.type_text("yes, for practice");
    let Content::AskProof { .. } = bot.last_said() else {
        panic!("{:?}", bot.last_said());
    };
    assert_eq!(
        bot.submit_request("", Some(100)),
        Reply::Taken,
        "it has its words"
    );

    // A question that is open comes first.
    bot.type_text("test");
    let open = bot.ask("sudo", "web-1");
    bot.type_text("yes, deploying");
    assert_eq!(bot.submit(open, "", Some(101)), Reply::Taken);
    assert_eq!(bot.outcome(open), Some(Outcome::Verified));

    // A no may mean what was confirmed lately: it is asked, not guessed.
    let pages = bot.pages().len();
    bot.type_text("no");
    assert!(matches!(bot.last_said(), Content::ReportWhich { .. }));
    assert_eq!(bot.pages().len(), pages);
    bot.type_text(&format!("report {}", open.reference()));
    assert_eq!(bot.pages_of(open).len(), 1);
    bot.type_text("no");
    assert_eq!(step_shown(&bot), PracticeStep::Denied);
}

#[test]
fn test_is_an_explanation_where_one_was_asked_for() {
    let mut bot = Bot::new();
    let open = bot.ask("sudo", "web-1");
    bot.type_text("yes");
    bot.type_text("test");
    assert!(bot.request().is_none());
    assert_eq!(bot.submit(open, "", Some(100)), Reply::Taken);
    assert_eq!(bot.view(open).explanation, Some("test".into()));
}

#[test]
fn nobody_uses_the_request_of_somebody_else() {
    let (mut bot, case) = snoozed();
    let before = row(&bot, case);
    bot.type_text("snooze 2h");
    let request = bot.request().unwrap();
    for user in ["bob", "stranger"] {
        let inbound = bot.inbound(user);
        assert_eq!(inbound.from, identity(user));
        let reply = bot.step(Event::FormSubmitted {
            inbound,
            case: request,
            ticks: Vec::new(),
            explanation: Untrusted::default(),
            proof: Some(Proof::Totp { step: Some(101) }),
        });
        assert_eq!(reply, Reply::NotYours);
        let inbound = bot.inbound(user);
        let pressed = bot.step(Event::ButtonPressed {
            inbound,
            case: request,
            revision: 0,
            answer: Answer::No,
            shown: true,
        });
        assert_eq!(pressed, Reply::NotYours);
    }
    assert_eq!(row(&bot, case), before);
    assert_eq!(bot.submit_request("", Some(101)), Reply::Taken);
}

#[test]
fn practice_looks_like_a_question_and_says_that_it_is_none() {
    let mut bot = Bot::new();
    bot.type_text("test");
    let Content::Practice { question, .. } = bot.last_said() else {
        panic!("{:?}", bot.last_said());
    };
    let Question { rule, revision, .. } = &**question;
    assert_eq!((rule.as_str(), *revision), ("practice", 0));
    let message = securitybot::messages::Messages::embedded().render(bot.sent.last().unwrap());
    let shown = message.to_plain();
    assert!(shown.starts_with("Practice: "), "{shown}");
    assert!(shown.contains("nothing has happened"), "{shown}");
    assert_eq!(message.buttons.len(), 4);
    assert_eq!(message.case, bot.request());
}
