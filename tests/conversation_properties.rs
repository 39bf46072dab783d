//! Random histories: alerts, answers of the right and the wrong people, redeliveries, wake-ups early
//! and late, settlements delayed or impossible, operators. Over every step of them the invariants of
//! P2, P3, P5 and P7 hold; at the end of time every alert has its one outcome.
#![allow(clippy::unwrap_used)] // helpers of tests

mod conversation_support;

use std::time::Duration;

use conversation_support::{Bot, HOUR, rule};
use proptest::prelude::*;
use securitybot::core::alert::Severity;
use securitybot::core::case::Outcome;
use securitybot::core::conversation::effect::{PracticeStep, SnoozeStep};
use securitybot::core::conversation::{
    Answer, Content, Effect, Event, Proof, Reply, SnoozeRow, Tick,
};
use securitybot::core::ids::CaseId;
use securitybot::core::machine::{Collection, Machine, RowChange, Settlement};
use securitybot::core::policy::Mode;
use securitybot::core::record::Record;
use securitybot::core::text::Untrusted;

#[derive(Clone, Debug)]
enum Act {
    Alerts {
        rules: Vec<(u8, u8, u8)>,
        repeat: bool,
    },
    Press {
        case: u8,
        back: u8,
        answer: u8,
        user: u8,
    },
    Type {
        text: u8,
        user: u8,
        refer: Option<u8>,
    },
    Submit {
        case: u8,
        others: u8,
        back: u8,
        step: i8,
        why: bool,
        user: u8,
    },
    /// A command, with the reference of a snooze that stands.
    Command {
        text: u8,
        snooze: u8,
    },
    PressRequest {
        answer: u8,
        user: u8,
    },
    SubmitRequest {
        step: i8,
        why: bool,
        user: u8,
    },
    Redeliver(u8),
    Settle(u8),
    Impossible,
    Wait(u32),
    WakeEarly,
    Close(u8),
    Unlock,
    EndSnooze(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (prop::collection::vec((0..5u8, 0..2u8, 0..4u8), 1..4), prop::bool::weighted(0.2))
            .prop_map(|(rules, repeat)| Act::Alerts { rules, repeat }),
        5 => (any::<u8>(), 0..2u8, 0..5u8, 0..6u8)
            .prop_map(|(case, back, answer, user)| Act::Press { case, back, answer, user }),
        3 => (0..16u8, 0..6u8, prop::option::of(any::<u8>()))
            .prop_map(|(text, user, refer)| Act::Type { text, user, refer }),
        6 => (any::<u8>(), 0..3u8, 0..2u8, -3..4i8, any::<bool>(), 0..6u8).prop_map(
            |(case, others, back, step, why, user)| Act::Submit { case, others, back, step, why, user }
        ),
        3 => (0..3u8, any::<u8>()).prop_map(|(text, snooze)| Act::Command { text, snooze }),
        4 => (prop_oneof![3 => Just(0), 1 => 0..5u8], 0..6u8).prop_map(|(answer, user)| Act::PressRequest { answer, user }),
        5 => (-1..4i8, any::<bool>(), 0..6u8)
            .prop_map(|(step, why, user)| Act::SubmitRequest { step, why, user }),
        1 => any::<u8>().prop_map(Act::Redeliver),
        8 => (1..6u8).prop_map(Act::Settle),
        1 => Just(Act::Impossible),
        4 => prop_oneof![1..120u32, 600..10_000u32, 80_000..200_000u32].prop_map(Act::Wait),
        1 => Just(Act::WakeEarly),
        1 => any::<u8>().prop_map(Act::Close),
        1 => Just(Act::Unlock),
        1 => any::<u8>().prop_map(Act::EndSnooze),
    ]
}

/// The longest that `sudo` may be snoozed.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

const ANSWERS: [Answer; 5] = [
    Answer::Yes,
    Answer::No,
    Answer::NotSure,
    Answer::SomeoneElse,
    Answer::NotMeAfterAll,
];

const TEXTS: [&str; 16] = [
    "yes",
    "yes, deploying",
    "no",
    "nope, wasn't me",
    "not sure",
    "someone else",
    "yes and no",
    "bob",
    "report",
    "status",
    "[code]",
    "that was me",
    "snooze 2h",
    "snooze 4d",
    "snooze",
    "test",
];

struct Run {
    bot: Bot,
    step: u64,
    inbound: Vec<Event>,
}

impl Run {
    fn case(&self, pick: u8) -> Option<CaseId> {
        // Mostly an open case: random answers to old ones reach nothing new.
        let open: Vec<CaseId> = self.bot.state.open_cases().map(|case| case.id).collect();
        let ids = if pick < 180 && !open.is_empty() {
            open
        } else {
            self.bot.rows.values().map(|view| view.id).collect()
        };
        (!ids.is_empty()).then(|| ids[usize::from(pick) % ids.len()])
    }

    fn user(pick: u8) -> &'static str {
        match pick {
            0 => "bob",
            1 => "stranger",
            _ => "alice",
        }
    }

    fn answered(&mut self, event: Event) {
        let stranger = match &event {
            Event::ButtonPressed { inbound, .. }
            | Event::TextTyped { inbound, .. }
            | Event::FormSubmitted { inbound, .. } => inbound.from.user != "alice",
            _ => false,
        };
        self.inbound.push(event.clone());
        let reply = self.bot.step(event);
        if stranger {
            assert!(
                matches!(reply, Reply::NotYours | Reply::NotFound),
                "{reply:?}"
            );
        }
    }

    fn act(&mut self, act: &Act) {
        self.bot.now = self.bot.now.after(Duration::from_secs(1));
        match act {
            Act::Alerts { rules, repeat } => {
                let alerts = rules
                    .iter()
                    .map(|(rule, host, severity)| {
                        let rule = ["sudo", "sudo", "sudo", "shadow", "page"][usize::from(*rule)];
                        let mut alert = self.bot.alert(rule, &format!("web-{host}"));
                        alert.severity = Severity::ALL[usize::from(*severity)];
                        alert
                    })
                    .collect();
                self.bot.chat_up = false;
                self.bot.arrive_all(alerts);
                self.bot.chat_up = true;
                if *repeat {
                    let again = self.bot.history.last().map(|seen| seen.event.clone());
                    self.bot.step(again.unwrap());
                }
            }
            Act::Press {
                case,
                back,
                answer,
                user,
            } => {
                let Some(case) = self.case(*case) else { return };
                let revision = self
                    .bot
                    .view(case)
                    .revision
                    .saturating_sub(u32::from(*back));
                let answer = ANSWERS[usize::from(*answer)].clone();
                let inbound = self.bot.inbound(Self::user(*user));
                self.answered(Event::ButtonPressed {
                    inbound,
                    case,
                    revision,
                    answer,
                    shown: true,
                });
            }
            Act::Type { text, user, refer } => {
                let inbound = self.bot.inbound(Self::user(*user));
                let reference = refer
                    .and_then(|pick| self.case(pick))
                    .map(|id| id.reference());
                let text = format!(
                    "{} {}",
                    TEXTS[usize::from(*text)],
                    reference.unwrap_or_default()
                );
                self.answered(Event::TextTyped {
                    inbound,
                    text: Untrusted::new(text),
                });
            }
            Act::Submit {
                case,
                others,
                back,
                step,
                why,
                user,
            } => {
                let Some(id) = self.case(*case) else { return };
                let ticks = (0..=*others)
                    .filter_map(|n| self.case(case.wrapping_add(n)))
                    .map(|case| Tick {
                        case,
                        revision: self
                            .bot
                            .view(case)
                            .revision
                            .saturating_sub(u32::from(*back)),
                    })
                    .collect();
                self.step = self.step.saturating_add_signed(i64::from(*step).max(-1));
                let inbound = self.bot.inbound(Self::user(*user));
                self.answered(Event::FormSubmitted {
                    inbound,
                    case: id,
                    ticks,
                    explanation: if *why {
                        "deploying".into()
                    } else {
                        Untrusted::default()
                    },
                    proof: Some(Proof::Totp {
                        step: (*step != 3).then_some(self.step),
                    }),
                });
            }
            Act::Command { text, snooze } => {
                let standing: Vec<_> = self.bot.snooze_rows.values().collect();
                let reference = match standing.len() {
                    0 => String::new(),
                    many => standing[usize::from(*snooze) % many].case.reference(),
                };
                let text = ["snooze 2h", "snooze 4d", "test"][usize::from(*text)];
                let text = format!("{text} {reference}");
                let inbound = self.bot.inbound("alice");
                self.answered(Event::TextTyped {
                    inbound,
                    text: Untrusted::new(text),
                });
                self.bot.settle();
            }
            Act::PressRequest { answer, user } => {
                let Some(case) = self.bot.request() else {
                    return;
                };
                let inbound = self.bot.inbound(Self::user(*user));
                self.answered(Event::ButtonPressed {
                    inbound,
                    case,
                    revision: 0,
                    answer: ANSWERS[usize::from(*answer)].clone(),
                    shown: true,
                });
            }
            Act::SubmitRequest { step, why, user } => {
                let Some(case) = self.bot.request() else {
                    return;
                };
                self.step = self.step.saturating_add_signed(i64::from(*step));
                let inbound = self.bot.inbound(Self::user(*user));
                let explanation = if *why { "practising" } else { "" };
                self.answered(Event::FormSubmitted {
                    inbound,
                    case,
                    ticks: vec![Tick { case, revision: 0 }],
                    explanation: explanation.into(),
                    proof: Some(Proof::Totp {
                        step: (*step != 3).then_some(self.step),
                    }),
                });
            }
            Act::Redeliver(pick) => {
                if !self.inbound.is_empty() {
                    let event = self.inbound[usize::from(*pick) % self.inbound.len()].clone();
                    self.bot.step(event);
                }
            }
            Act::Settle(n) => (0..*n).for_each(|_| {
                self.bot.settle_one();
            }),
            Act::Impossible => {
                if let Some(effect) = self.bot.outbox.pop_front() {
                    let reason = "refused".to_owned();
                    let settlement = Settlement::Impossible { reason };
                    self.bot.step(Event::EffectSettled { effect, settlement });
                }
            }
            Act::Wait(seconds) => {
                self.bot.now = self.bot.now.after(Duration::from_secs(u64::from(*seconds)));
                self.bot.step(Event::Woken);
                let due = self.bot.state.due();
                assert!(due.is_none_or(|due| due > self.bot.now), "woken for ever");
            }
            Act::WakeEarly => {
                if self.bot.state.due().is_none_or(|due| due > self.bot.now) {
                    let before = self.bot.state.clone();
                    self.bot.step(Event::Woken);
                    assert_eq!(self.bot.state, before, "an early wake-up changed something");
                }
            }
            Act::Close(pick) => {
                let Some(case) = self.case(*pick) else { return };
                let reason = "known".into();
                self.bot.step(Event::CaseClosed {
                    operator: "sam".into(),
                    case,
                    reason,
                });
            }
            Act::Unlock => {
                self.bot.step(Event::Unlocked {
                    operator: "sam".into(),
                });
            }
            Act::EndSnooze(pick) => {
                if let Some(snooze) = self.case(*pick).map(|id| id.to_string()) {
                    self.bot.step(Event::SnoozeEnded {
                        operator: "sam".into(),
                        snooze,
                    });
                }
            }
        }
    }
}

/// P4 as far as the machine goes, and CONTRACT: after the end a message has no live buttons.
fn asked_once_and_no_button_lives(bot: &Bot) {
    let mut asked = std::collections::BTreeSet::new();
    for seen in &bot.history {
        for effect in &seen.step.effects {
            if let Effect::Send(message) = effect
                && matches!(message.content, Content::Question { .. })
            {
                assert!(asked.insert(message.case), "asked twice: {message:?}");
            }
        }
    }
    for (id, content) in &bot.screen {
        let live = matches!(
            content,
            Content::Question { .. }
                | Content::ProofForm { .. }
                | Content::Practice {
                    step: PracticeStep::Asked | PracticeStep::Proving,
                    ..
                }
                | Content::Snooze {
                    step: SnoozeStep::Form,
                    ..
                }
        );
        assert!(!live, "{id} still shows {content:?}");
    }
}

/// No road leads past what the rule allows.
fn no_snooze_is_longer_than_allowed(bot: &Bot) {
    let rows = bot.history.iter().flat_map(|seen| &seen.step.rows);
    for row in rows {
        if let RowChange::Put(row) | RowChange::New(row) = row
            && row.collection == Collection::Snoozes
        {
            let snooze: SnoozeRow = serde_json::from_str(&row.body).unwrap();
            assert!(snooze.until <= snooze.from.after(LONGEST), "{snooze:?}");
        }
    }
}

fn run(acts: &[Act], enrolled: bool) -> Bot {
    let mut sudo = rule("sudo");
    sudo.snooze_max = Some(LONGEST);
    let mut shadow = rule("shadow");
    shadow.mode = Mode::Shadow;
    let mut page = rule("page");
    page.mode = Mode::Page;
    let mut bot = Bot::unenrolled("employee/alice", vec![shadow, page, sudo]);
    // Over whole histories, once: each violation names its step.
    bot.check_each = false;
    if enrolled {
        bot.enroll();
    }
    let mut run = Run {
        bot,
        step: 100,
        inbound: Vec::new(),
    };
    for act in acts {
        run.act(act);
    }
    let mut bot = run.bot;
    bot.settle();
    bot.wait(200 * HOUR);
    bot.all_ended();
    assert!(bot.state.open_cases().next().is_none());
    no_snooze_is_longer_than_allowed(&bot);
    if !acts.iter().any(|act| matches!(act, Act::Impossible)) {
        asked_once_and_no_button_lives(&bot);
    }
    bot
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_promises_hold_after_every_step(
        acts in prop::collection::vec(act(), 1..60),
        enrolled in prop::bool::weighted(0.9),
    ) {
        run(&acts, enrolled);
    }
}

/// A run that never reached the interesting outcomes would prove nothing.
#[test]
fn the_random_histories_reach_every_outcome_worth_reaching() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut reached = std::collections::BTreeSet::new();
    let mut late = 0;
    let mut commands = std::collections::BTreeSet::new();
    for _ in 0..80 {
        let acts = prop::collection::vec(act(), 40..60)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let bot = run(&acts, true);
        reached.extend(bot.rows.values().filter_map(|view| view.outcome));
        let by_code = |r: &&&Record| r.event == "snooze_lengthened" || r.detail.contains("proved");
        let records = bot.records();
        commands.extend(records.iter().filter(by_code).map(|r| r.event.clone()));
        late += bot.pages().iter().filter(|page| page.round > 1).count();
    }
    for outcome in [
        Outcome::Verified,
        Outcome::Denied,
        Outcome::Unsure,
        Outcome::NoAnswer,
        Outcome::VerificationFailed,
        Outcome::Unreachable,
        Outcome::Snoozed,
        Outcome::Closed,
        Outcome::Paged,
        Outcome::Shadow,
    ] {
        assert!(
            reached.contains(&outcome),
            "{} was never reached",
            outcome.name()
        );
    }
    for proved in ["snooze_lengthened", "practice_ended"] {
        assert!(commands.contains(proved), "{proved} was never reached");
    }
    assert!(late > 0, "no late no was ever seen");
}
