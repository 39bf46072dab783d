//! The rows of the conversation's table about alerts on their way in, the queue, time, the chat's
//! failures and operators.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod conversation_support;

use conversation_support::{Bot, HOUR, MINUTE, rule, time};
use securitybot::core::alert::Severity;
use securitybot::core::case::{CaseState, Outcome};
use securitybot::core::conversation::{Answer, Content, Effect, Event, Reply};
use securitybot::core::ids::SourceId;
use securitybot::core::machine::{Machine, Settlement};
use securitybot::core::page::PageKind;
use securitybot::core::policy::Mode;
use std::time::Duration;

#[test]
fn alike_alerts_fold_into_the_open_question_in_place() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    let from = bot.sent.len();
    let alerts = (0..30).map(|_| bot.alert("sudo", "web-3")).collect();
    bot.arrive_all(alerts);
    let view = bot.view(case);
    assert_eq!((view.count, view.revision, view.alerts.len()), (31, 31, 31));
    assert_eq!(view.evidence.len(), 20);
    assert_eq!(
        (
            view.evidence[9].alert.id.as_ref(),
            view.evidence[19].alert.id.as_ref()
        ),
        ("a10", "a31")
    );
    assert_eq!(bot.said(from), ["question"]);
    let Content::Question { question } = bot.shows(case) else {
        panic!("no question");
    };
    assert_eq!((question.count, question.revision), (31, 31));
    bot.press(case, Answer::Yes);
    let later = bot.ask("sudo", "web-3");
    assert_ne!(later, case);
}

#[test]
fn a_number_is_taken_once() {
    let mut bot = Bot::new();
    bot.ask("sudo", "web-3");
    let mut alert = bot.alert("sudo", "web-3");
    alert.id = "again".into();
    bot.step(Event::AlertsArrived {
        source: SourceId::from("local"),
        alerts: [(2, alert.clone())].into(),
    });
    let rows = bot.rows.len();
    let cx_before = bot.state.clone();
    bot.step(Event::AlertsArrived {
        source: SourceId::from("local"),
        alerts: [(2, alert)].into(),
    });
    assert_eq!((bot.rows.len(), &bot.state), (rows, &cx_before));
    assert_eq!(bot.state.guard().taken.get("local"), Some(&2));
}

#[test]
fn one_question_at_a_time_graver_first_then_older() {
    let mut bot = Bot::new();
    let live = bot.ask("sudo", "web-1");
    let low = bot.ask_at("sudo", "web-2", Severity::Low);
    let medium = bot.ask("sudo", "web-3");
    let later = bot.ask("sudo", "web-4");
    assert_eq!(bot.view(medium).state, CaseState::Queued);
    let high = bot.ask_at("sudo", "web-5", Severity::High);
    assert_eq!(bot.view(high).state, CaseState::Asked);
    bot.press(high, Answer::No);
    assert_eq!(bot.view(medium).state, CaseState::Queued);
    bot.press(live, Answer::No);
    assert_eq!(bot.view(medium).state, CaseState::Asked);
    assert_eq!(bot.view(later).state, CaseState::Queued);
    bot.press(medium, Answer::No);
    assert_eq!(bot.view(later).state, CaseState::Asked);
    assert_eq!(bot.view(low).state, CaseState::Queued);
}

#[test]
fn no_answer_is_reminded_paged_told_and_asks_all_that_wait() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-1");
    let second = bot.ask("sudo", "web-2");
    let third = bot.ask("sudo", "web-3");
    let asked = bot.view(case).asked_at.unwrap();
    let from = bot.sent.len();
    bot.until(asked.after(HOUR).before(Duration::from_millis(1)));
    assert!(bot.said(from).is_empty());
    bot.until(asked.after(HOUR));
    assert_eq!(bot.said(from), ["reminder"]);
    let from = bot.sent.len();
    bot.until(asked.after(2 * HOUR).before(Duration::from_millis(1)));
    assert_eq!(bot.outcome(case), None);
    bot.until(asked.after(2 * HOUR));
    assert_eq!(bot.outcome(case), Some(Outcome::NoAnswer));
    assert_eq!(bot.pages_of(case)[0].urgency, Severity::Medium);
    assert_eq!(bot.said(from), ["ended", "told", "question", "question"]);
    for waiting in [second, third] {
        assert_eq!(bot.view(waiting).state, CaseState::Asked);
    }
}

#[test]
fn still_queued_at_its_ceiling_is_no_answer() {
    let mut slow = rule("slow");
    slow.answer_within = Some(100 * HOUR);
    slow.ceiling = Some(100 * HOUR);
    let mut bot = Bot::with(vec![slow]);
    bot.ask("slow", "web-1");
    let queued = bot.ask("sudo", "web-2");
    bot.wait(24 * HOUR);
    assert_eq!(bot.outcome(queued), Some(Outcome::NoAnswer));
    assert_eq!(bot.view(queued).asked_at, None);
    assert_eq!(bot.pages_of(queued).len(), 1);
}

#[test]
fn a_chat_that_is_down_until_the_ceiling_makes_it_unreachable() {
    let mut bot = Bot::new();
    bot.chat_up = false;
    let case = bot.ask("sudo", "web-3");
    bot.wait(24 * HOUR - MINUTE);
    assert_eq!(bot.outcome(case), None);
    bot.wait(MINUTE);
    assert_eq!(bot.outcome(case), Some(Outcome::Unreachable));
    assert_eq!(bot.pages_of(case)[0].urgency, Severity::Medium);
    bot.all_ended();
}

#[test]
fn a_person_the_chat_cannot_reach_is_unreachable_at_once() {
    let mut bot = Bot::new();
    bot.chat_up = false;
    let case = bot.ask("sudo", "web-3");
    let question = bot
        .outbox
        .iter()
        .find(|effect| matches!(effect, Effect::Send(m) if m.case == Some(case)))
        .cloned()
        .unwrap();
    bot.step(Event::EffectSettled {
        effect: question,
        settlement: Settlement::Impossible {
            reason: "the account is gone".to_owned(),
        },
    });
    assert_eq!(bot.outcome(case), Some(Outcome::Unreachable));
}

#[test]
fn a_question_taken_only_after_the_ceiling_is_unreachable_and_loses_its_buttons() {
    let mut bot = Bot::new();
    bot.chat_up = false;
    let case = bot.ask_at("sudo", "web-3", Severity::High);
    let started = bot.outbox.pop_back().unwrap();
    bot.now = bot.now.after(HOUR);
    bot.step(Event::sent(started, "m-late", bot.now));
    bot.chat_up = true;
    bot.settle();
    assert_eq!(bot.outcome(case), Some(Outcome::Unreachable));
    assert!(matches!(bot.shows(case), Content::Ended { .. }));
}

#[test]
fn an_employee_who_left_the_directory_is_unreachable() {
    let mut bot = Bot::new();
    bot.world.directory = securitybot::core::employee::Directory::new(Vec::new(), "web", &[]);
    let case = bot.ask("sudo", "web-3");
    assert_eq!(bot.outcome(case), Some(Outcome::Unreachable));
    assert_eq!(bot.pages_of(case).len(), 1);
}

#[test]
fn a_question_that_lands_after_its_case_closed_only_loses_its_buttons() {
    let mut bot = Bot::new();
    bot.chat_up = false;
    let case = bot.ask("sudo", "web-3");
    let started = bot.outbox.pop_back().unwrap();
    bot.wait(24 * HOUR);
    assert_eq!(bot.outcome(case), Some(Outcome::Unreachable));
    bot.outbox.clear();
    bot.wait(48 * HOUR);
    bot.step(Event::sent(started, "m-late", bot.now));
    let step = &bot.history.last().unwrap().step;
    assert!(step.records.is_empty() && step.rows.is_empty() && step.births.is_empty());
    let [
        Effect::Edit {
            message_id,
            message,
            ..
        },
    ] = step.effects.as_slice()
    else {
        panic!("expected one edit, got {:?}", step.effects);
    };
    assert_eq!(message_id, "m-late");
    assert!(matches!(message.content, Content::Ended { .. }));
}

#[test]
fn shadow_paged_opted_out_and_unknown_are_not_asked() {
    let mut shadow = rule("shadow");
    shadow.mode = Mode::Shadow;
    let mut page = rule("page");
    page.mode = Mode::Page;
    let mut bot = Bot::with(vec![shadow, page]);
    let from = bot.sent.len();
    let shadowed = bot.ask("shadow", "web-3");
    let paged = bot.ask("page", "web-3");
    assert!(bot.said(from).is_empty());
    assert_eq!(bot.outcome(shadowed), Some(Outcome::Shadow));
    assert!(bot.pages_of(shadowed).is_empty());
    assert!(bot.records().iter().any(|record| {
        record.detail == "rule in shadow: alice would have been asked about \"shadow on web-3\""
    }));
    assert_eq!(bot.outcome(paged), Some(Outcome::Paged));
    assert_eq!(bot.pages_of(paged).len(), 1);
    bot.all_ended();

    let mut olga = Bot::unenrolled("employee/olga", Vec::new());
    let case = olga.ask("sudo", "web-3");
    assert_eq!(olga.outcome(case), Some(Outcome::OptedOut));
    assert_eq!(olga.pages_of(case)[0].urgency, Severity::Medium);
    assert!(olga.sent.is_empty());

    let mut nobody = Bot::unenrolled("unknown/mallory", Vec::new());
    let alerts = (0..3).map(|_| nobody.alert("sudo", "web-3")).collect();
    nobody.arrive_all(alerts);
    let case = nobody.case_of("a1");
    assert_eq!(nobody.outcome(case), Some(Outcome::UnknownEmployee));
    assert_eq!((nobody.view(case).count, nobody.pages().len()), (3, 1));
    assert_eq!(nobody.view(case).employee, None);
    assert_eq!(nobody.state.due(), None);
}

#[test]
fn an_operator_and_the_employee_race_and_the_first_commit_wins() {
    let mut bot = Bot::new();
    let close = |case| Event::CaseClosed {
        operator: "sam".into(),
        case,
        reason: "known maintenance".into(),
    };
    let case = bot.ask("sudo", "web-3");
    assert_eq!(bot.step(close(case)), Reply::Taken);
    bot.settle();
    assert_eq!(bot.outcome(case), Some(Outcome::Closed));
    assert!(bot.pages().is_empty());
    let why = "already closed by sam".to_owned();
    assert_eq!(bot.step(close(case)), Reply::NoLongerApplies { why });
    assert_eq!(bot.press(case, Answer::Yes), Reply::AlreadyAnswered);
    assert_eq!(bot.press(case, Answer::No), Reply::Taken);
    assert_eq!(bot.pages_of(case).len(), 1);
    assert_eq!(bot.outcome(case), Some(Outcome::Closed));

    let other = bot.ask("sudo", "web-4");
    bot.press(other, Answer::No);
    assert!(matches!(
        bot.step(close(other)),
        Reply::NoLongerApplies { .. }
    ));
}

#[test]
fn more_than_twenty_open_cases_raise_one_flood_page() {
    let mut bot = Bot::new();
    for host in 0..25 {
        bot.ask("sudo", &format!("web-{host}"));
    }
    let floods: Vec<_> = bot
        .pages()
        .into_iter()
        .filter(|p| p.kind == PageKind::Flood)
        .collect();
    assert_eq!((floods.len(), floods[0].urgency), (1, Severity::High));
    assert_eq!(floods[0].related.len(), 21);
    // The operators' list takes this filter; there is no page /cases.
    assert!(
        floods[0].url.ends_with("/?employee=alice"),
        "{}",
        floods[0].url
    );
    assert_eq!(bot.state.open_cases().count(), 25);
    bot.wait(25 * HOUR);
    bot.all_ended();
}

#[test]
fn a_resolved_alert_is_noted_and_withdraws_only_where_the_rule_says_so() {
    let mut withdrawing = rule("flaky");
    withdrawing.withdraw_on_resolve = true;
    let mut bot = Bot::with(vec![withdrawing]);
    let flaky = bot.ask("flaky", "web-3");
    let sudo = bot.ask("sudo", "web-3");
    for (rule, id) in [("flaky", "a1"), ("sudo", "a2")] {
        let mut over = bot.alert(rule, "web-3");
        over.resolved = true;
        over.id = id.into();
        bot.arrive(over);
    }
    assert_eq!(bot.outcome(flaky), Some(Outcome::Closed));
    assert_eq!(bot.outcome(sudo), None);
    assert!(bot.events_of(sudo).contains(&"alert_resolved"));
}

#[test]
fn a_closed_case_is_forgotten_after_a_day_and_the_idle_state_is_small() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    bot.verify(case);
    bot.wait(25 * HOUR);
    assert_eq!((bot.state.cases().count(), bot.state.due()), (0, None));
    let size = serde_json::to_string(&bot.state).unwrap().len();
    assert!(size < 300, "{size} bytes");
}

#[test]
fn a_restart_in_mid_question_asks_nothing_again_and_moves_no_deadline() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    let (due, sends) = (bot.state.due(), bot.sent.len());
    let json = serde_json::to_string(&bot.state).unwrap();
    bot.state = serde_json::from_str(&json).unwrap();
    bot.wait(10 * MINUTE);
    bot.step(Event::Woken);
    bot.step(Event::Woken);
    bot.settle();
    assert_eq!((bot.state.due(), bot.sent.len()), (due, sends));
    bot.verify(case);
}

/// The predecessor let a question of Friday afternoon come due on Monday, whenever it liked.
#[test]
fn a_friday_question_keeps_working_hours_and_never_passes_its_ceiling() {
    use securitybot::core::working_hours;
    // Fridays before the clocks change in Berlin, in either direction.
    for friday in ["2026-10-23T15:00:00Z", "2027-03-26T16:00:00Z"] {
        for (severity, ceiling) in [(Severity::Medium, 24 * HOUR), (Severity::Low, 72 * HOUR)] {
            let mut bot = Bot::new();
            bot.now = time(friday);
            let case = bot.ask_at("sudo", "web-3", severity);
            let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
            let wait = bot.world.policy.severities[&severity].answer_within;
            let hours = &bot.world.policy.working_hours;
            let working = working_hours::deadline(bot.now, wait, &zone, hours);
            let expected = working.min(bot.now.after(ceiling));
            assert_eq!(bot.view(case).deadline, Some(expected));
            bot.until(expected.before(Duration::from_millis(1)));
            assert_eq!(bot.outcome(case), None);
            bot.until(expected);
            assert_eq!(bot.outcome(case), Some(Outcome::NoAnswer));
        }
    }
}
