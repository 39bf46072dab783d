//! The real machines (`Conversation`, `Escalation`), their real outboxes, checkpoints and commits, in a
//! small world of which every interleaving is looked at: a store whose answers get lost, a chat and a
//! pager that take things late, twice or not at all, people who click again, and a bot that dies at any
//! instant. Modelled are only the actors' shell, time and the other sides.
//!
//! The bound of each world stands in [`worlds`]; `MODEL_FAULTS`, `MODEL_ACTS` and `MODEL_DEPTH` add to it, and
//! `MODEL_WORLD` takes only those whose name has this in it.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod action;
#[path = "../conversation_support/mod.rs"]
mod conversation_support;
mod judge;
mod people;
mod phone;
mod shell;
mod state;
mod steps;
mod text;
mod within;

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use state::Kind::{Deaths, Losses};
use state::{Alert, Bot, Chat};

/// The worlds of the normal tests: chat, faults of which kind, people, alerts (who, host), acts of each
/// person, faults, and how many steps deep (0: to the end of everything). With a phone: its answers are no acts, for
/// each request there is one.
fn worlds() -> Vec<(&'static str, Bot)> {
    let more = |name: &str, usual: u8| {
        let set = std::env::var(name).ok().and_then(|n| n.parse::<u8>().ok());
        usual + set.unwrap_or(0)
    };
    let bot = |chat, kind, people, alerts: &[(usize, &'static str)], acts, faults, depth| Bot {
        chat,
        people,
        kind,
        alerts: alerts
            .iter()
            .map(|(who, host)| Alert { who: *who, host })
            .collect(),
        acts: more("MODEL_ACTS", acts),
        faults: more("MODEL_FAULTS", faults),
        depth: if depth == 0 {
            0
        } else {
            more("MODEL_DEPTH", depth)
        },
        pushes: false,
        world: state::world(false),
        read: Default::default(),
    };
    let with_phones = |bot| Bot {
        pushes: true,
        world: state::world(true),
        ..bot
    };
    let (one, folded) = (&[(0, "a")], &[(0, "a"), (0, "a")]);
    let three = &[(0, "a"), (0, "b"), (0, "a")];
    vec![
        ("a death", bot(Chat::Idempotent, Deaths, 1, one, 1, 1, 0)),
        (
            "a death, the chat is read back",
            bot(Chat::ReadBack, Deaths, 1, one, 1, 1, 0),
        ),
        ("a loss", bot(Chat::ReadBack, Losses, 1, one, 1, 1, 0)),
        (
            "a yes and its proof",
            bot(Chat::ReadBack, Deaths, 1, one, 2, 0, 0),
        ),
        (
            "somebody else's question",
            bot(Chat::Idempotent, Deaths, 2, one, 1, 0, 0),
        ),
        (
            "two people",
            bot(Chat::Idempotent, Deaths, 2, &[(0, "a"), (1, "a")], 1, 1, 10),
        ),
        (
            "two alerts of one context",
            bot(Chat::Idempotent, Losses, 1, folded, 2, 1, 10),
        ),
        (
            "a snooze",
            bot(Chat::Idempotent, Deaths, 1, folded, 2, 0, 12),
        ),
        (
            "three alerts",
            bot(Chat::Idempotent, Deaths, 1, three, 1, 1, 10),
        ),
        (
            "a chat in the store",
            bot(Chat::InTheStore, Deaths, 1, one, 2, 1, 0),
        ),
        (
            "two alerts, and a chat in the store",
            bot(Chat::InTheStore, Losses, 1, folded, 2, 1, 10),
        ),
        (
            "a push",
            with_phones(bot(Chat::InTheStore, Deaths, 1, one, 3, 0, 0)),
        ),
        (
            "a push and a death",
            with_phones(bot(Chat::InTheStore, Deaths, 1, one, 2, 1, 0)),
        ),
        (
            "a push and a loss",
            with_phones(bot(Chat::InTheStore, Losses, 1, one, 2, 1, 0)),
        ),
        (
            "a push, and the question grows",
            with_phones(bot(Chat::InTheStore, Deaths, 1, folded, 2, 0, 12)),
        ),
    ]
}

fn explore(name: &str, bot: Bot) {
    let began = Instant::now();
    let bounds = format!(
        "{} acts each, {} faults, depth {}",
        bot.acts, bot.faults, bot.depth
    );
    let depth = bot.depth;
    let mut checker = bot.checker().threads(2);
    if depth > 0 {
        checker = checker.target_max_depth(depth.into());
    }
    let checker = checker
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    println!(
        "{name} ({bounds}): {} states, {} of them different, depth {}, {:?}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed()
    );
    for (promise, path) in checker.discoveries() {
        let is_example = checker.discovery_classification(promise);
        if matches!(is_example, stateright::DiscoveryClassification::Example) {
            continue;
        }
        let last = path.last_state().clone();
        let actions: Vec<String> = path
            .into_actions()
            .iter()
            .map(|a| format!("{a:?}"))
            .collect();
        panic!(
            "{name}: {promise} is broken: {last:#?}\n{}",
            actions.join("\n")
        );
    }
    checker.assert_properties();
}

#[test]
fn no_interleaving_breaks_a_promise() {
    let only = std::env::var("MODEL_WORLD").unwrap_or_default();
    for (name, bot) in worlds() {
        if name.contains(&only) {
            explore(name, bot);
        }
    }
}
