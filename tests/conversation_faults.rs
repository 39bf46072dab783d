//! A conversation after a fault: nothing stays open unseen, replay protection is at its strictest, and
//! the poison event is taken.
#![allow(clippy::unwrap_used)] // helpers of tests

mod conversation_support;

use conversation_support::{Bot, HOUR};
use securitybot::core::alert::Severity;
use securitybot::core::case::{CaseView, Outcome};
use securitybot::core::conversation::{Answer, Conversation, Effect, Event};
use securitybot::core::ids::SourceId;
use securitybot::core::machine::{
    Context, Guard, Machine, Receipt, Remains, RowChange, Settlement, Step,
};
use securitybot::core::page::PageKind;

fn rebuilt(bot: &Bot, guard: Option<Guard>, poison: Option<&Event>) -> Step<Conversation> {
    let open: Vec<CaseView> = bot
        .rows
        .values()
        .filter(|view| view.outcome.is_none())
        .cloned()
        .collect();
    let cx = Context {
        now: bot.now,
        entropy: 99,
        world: &bot.world,
    };
    let remains = Remains {
        open,
        taken: [("local".to_owned(), 7)].into_iter().collect(),
        factors: vec!["totp".to_owned()],
    };
    Conversation::rebuilt(&bot.key, guard, remains, poison, &cx)
}

fn views(step: &Step<Conversation>) -> Vec<CaseView> {
    step.rows
        .iter()
        .map(|row| match row {
            RowChange::Put(row) | RowChange::New(row) => serde_json::from_str(&row.body).unwrap(),
            RowChange::Delete { .. } => panic!("nothing to delete"),
        })
        .collect()
}

#[test]
fn every_open_case_ends_failed_and_pages_high() {
    let mut bot = Bot::new();
    let first = bot.ask("sudo", "web-3");
    let second = bot.ask("sudo", "web-4");
    let step = rebuilt(&bot, Some(bot.state.guard()), Some(&Event::Woken));
    let ended = views(&step);
    assert_eq!(ended.len(), 2);
    assert!(
        ended
            .iter()
            .all(|view| view.outcome == Some(Outcome::Failed))
    );
    let pages: Vec<_> = step.births.iter().map(|p| (p.id, p.urgency)).collect();
    for case in [first, second] {
        assert!(pages.contains(&(case, Severity::High)));
    }
    assert_eq!(step.next.open_cases().count(), 0);
    assert_eq!(step.next.guard(), bot.state.guard());
    assert_eq!(step.records.last().unwrap().event, "conversation_rebuilt");
}

#[test]
fn poison_alerts_become_failed_cases_and_their_numbers_are_taken() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    bot.verify(case);
    let alert = |id: &str| {
        let mut alert = bot.alert("sudo", "web-9");
        alert.id = id.into();
        alert
    };
    let poison = Event::AlertsArrived {
        source: SourceId::from("local"),
        alerts: [(1, alert("a1")), (2, alert("a2")), (3, alert("a3"))].into(),
    };
    let step = rebuilt(&bot, Some(bot.state.guard()), Some(&poison));
    let ended = views(&step);
    let ids: Vec<_> = ended
        .iter()
        .map(|view| view.alerts[0].id.as_ref())
        .collect();
    assert_eq!((ids, step.births.len()), (vec!["a2", "a3"], 2));
    assert_eq!(step.next.guard().taken.get("local"), Some(&3));
}

#[test]
fn an_unreadable_guard_trusts_no_code_for_an_hour() {
    let bot = Bot::new();
    let step = rebuilt(&bot, None, None);
    let now_step = u64::try_from(bot.now.as_millis() / 30_000).unwrap();
    let guard = step.next.guard();
    assert_eq!(guard.last_step, Some(now_step + 1));
    assert_eq!(guard.locked_until, Some(bot.now.after(HOUR)));
    assert_eq!(
        guard.taken.get("local"),
        Some(&7),
        "what stands in a case is not taken again"
    );
    assert_eq!(guard.factors, ["totp"], "still enrolled");
}

#[test]
fn an_answer_lost_to_a_fault_pages_even_with_nothing_open() {
    let mut bot = Bot::new();
    let case = bot.ask("sudo", "web-3");
    bot.verify(case);
    let poison = Event::ButtonPressed {
        inbound: bot.inbound("alice"),
        case,
        revision: 1,
        answer: Answer::NotMeAfterAll,
        shown: true,
    };
    let step = rebuilt(&bot, Some(bot.state.guard()), Some(&poison));
    assert_eq!(step.births.len(), 1);
    assert_eq!(step.births[0].kind, PageKind::Operations);
}

/// Takes sends, refuses every edit; answers how many messages that were.
fn settle_without_edits(bot: &mut Bot) -> usize {
    let mut sent = 0;
    while let Some(effect) = bot.outbox.pop_front() {
        let settlement = match &effect {
            Effect::Edit { .. } => Settlement::Impossible {
                reason: "cant_update_message".to_owned(),
            },
            _ => {
                sent += 1;
                Settlement::Done(Receipt {
                    message_id: format!("copy {sent} at {}", bot.history.len()),
                    at: bot.now,
                    text: String::new(),
                })
            }
        };
        bot.step(Event::EffectSettled { effect, settlement });
        assert!(sent < 20, "the same question again and again");
    }
    sent
}

#[test]
fn a_chat_that_cannot_edit_sends_the_form_once() {
    let mut bot = Bot::new();
    bot.chat_up = false;
    let case = bot.ask("sudo", "web-3");
    assert_eq!(settle_without_edits(&mut bot), 2, "greeting and question");
    bot.press(case, Answer::Yes);
    assert_eq!(settle_without_edits(&mut bot), 1, "the form");
    let step = bot.next_step();
    bot.submit(case, "deploying", Some(step));
    assert_eq!(bot.outcome(case), Some(Outcome::Verified));
}

#[test]
fn the_greeting_is_as_urgent_as_the_question_behind_it() {
    let mut bot = Bot::new();
    bot.chat_up = false;
    bot.ask_at("sudo", "web-3", Severity::Critical);
    let urgencies: Vec<_> = bot
        .outbox
        .iter()
        .map(|effect| match effect {
            Effect::Send(message) => message.urgency,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(urgencies, [Severity::Critical, Severity::Critical]);
}
