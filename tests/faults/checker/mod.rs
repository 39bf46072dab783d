//! Reads a history and names every promise that it breaks (I1 to I18 of the harness). It knows nothing
//! of the product but its outside contract, and judges only what the other sides saw.
//!
//! It reads line by line, keeps of each body what some invariant asks for ([`Trace`]) and looks things up where it
//! would else search ([`View`]): the time grows with the history, the memory with what is different in it. Of a run
//! of 30 minutes in a debug build (564,710 events, 334 MB, 463,413 of them cases told again as they were, which the
//! harness no longer writes; `/usr/bin/time -f "%M KiB %e s" target/debug/examples/check_history FILE`):
//!
//! | run | kept whole, searched | now |
//! |---|---|---|
//! | SQLite, 334 MB | 3,292 MB, 142 s | 75 MB, 16 s |
//! | Redis, 284 MB | 2,759 MB, 113 s | 96 MB, 11 s |
//!
//! Its verdicts were the same line by line before and after, on both of these, on 18 shorter histories, and on 36 copies
//! of those with one line in a hundred changed, dropped, doubled or moved; every invariant but I18 spoke in some of them.

mod answers;
mod cases;
mod manners;
mod operators;
mod pages;
mod system;
mod tail;
mod trace;
mod view;

use super::history::What;
use trace::Told;

pub use trace::Trace;
pub use view::View;

/// An invariant by its number, with what broke it.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

type Check = fn(&View<'_>) -> Vec<String>;

/// Each invariant with what it says.
pub const INVARIANTS: [(&str, &str, Check); 19] = [
    (
        "I1",
        "acknowledged implies one final outcome, or its one open question",
        cases::acknowledged_ends,
    ),
    (
        "I2",
        "at most one outcome, and it never changes",
        cases::outcome_stands,
    ),
    ("I3", "nothing is invented", cases::nothing_invented),
    (
        "I4",
        "one question per case and employee",
        cases::asked_once,
    ),
    (
        "I5",
        "at most one live message per case, none after its end",
        cases::one_live_message,
    ),
    (
        "I6",
        "one accepted answer, and the outcome is that answer's",
        answers::outcome_is_the_answer,
    ),
    (
        "I7",
        "only the one who was asked answers, with a code of their own",
        answers::only_the_asked,
    ),
    (
        "I8",
        "every outcome that needs a page has one, under one key",
        pages::every_page,
    ),
    (
        "I9",
        "a page is out 30 s after it is due, outages aside",
        pages::in_time,
    ),
    (
        "I10",
        "never early, and a deadline never moves",
        pages::never_early,
    ),
    (
        "I11",
        "a suppressed alert lies inside a snooze of a verified yes",
        cases::snoozed_rightly,
    ),
    (
        "I12",
        "many deliveries have the effect of one; an altered body is refused",
        cases::once_each,
    ),
    ("I13", "versions rise", system::versions_rise),
    (
        "I14",
        "what cannot be made durable is refused in time; memory is bounded",
        system::refused_in_time,
    ),
    (
        "I15",
        "who asks to wait is not asked again before; a chat's limits are kept",
        manners::waits_when_asked,
    ),
    (
        "I16",
        "accepted time steps of codes rise",
        answers::steps_rise,
    ),
    ("I17", "the journal is whole", system::journal_whole),
    ("I18", "at rest nothing is left over", system::nothing_left),
    (
        "P3",
        "nothing fails open: verified needs proof, closed a human, shadow a rule",
        cases::nothing_open,
    ),
];

pub fn check(view: &View<'_>) -> Vec<Violation> {
    let lost = tail::lost(view);
    INVARIANTS
        .iter()
        .flat_map(|(invariant, _, check)| {
            check(view)
                .into_iter()
                .filter(|what| !tail::excuses(&lost, invariant, what))
                .map(move |what| Violation { invariant, what })
        })
        .collect()
}

/// What a history holds, in numbers.
pub fn summary(view: &View<'_>) -> String {
    let count =
        |pass: &dyn Fn(&What<Told>) -> bool| view.events.iter().filter(|e| pass(&e.what)).count();
    let mut faults = std::collections::BTreeMap::new();
    let mut questions = std::collections::BTreeSet::new();
    let mut pages = std::collections::BTreeSet::new();
    let mut alerts = std::collections::BTreeSet::new();
    for event in view.events {
        match &event.what {
            What::FaultBegan { fault, .. } if !fault.ends_with('+') => {
                let name = fault.split('#').next().unwrap_or(fault).to_owned();
                *faults.entry(name).or_insert(0usize) += 1;
            }
            What::Down { how, .. } => *faults.entry(how.clone()).or_insert(0) += 1,
            What::Shown {
                message,
                question: true,
                ..
            } => {
                questions.insert(message.clone());
            }
            What::Page {
                id, applied: true, ..
            } => {
                pages.insert(id.clone());
            }
            What::AlertAnswered {
                alert, status: 202, ..
            } => {
                alerts.insert(alert.clone());
            }
            _ => {}
        }
    }
    let words = |action: &str| {
        let words = view.words.values();
        words
            .filter(|word| word.action == action && word.taken())
            .count()
    };
    format!(
        "{} events: {} requests of producers, {} alerts taken, {} questions, {} acts of people, of operators {} acknowledgements, {} resolutions and {} closures taken, {} pages, {} records\nfaults: {faults:?}",
        view.count,
        count(&|w| matches!(w, What::AlertSent { .. })),
        alerts.len(),
        questions.len(),
        count(&|w| matches!(w, What::Acted { .. })),
        words("ack"),
        words("resolve"),
        words("close"),
        pages.len(),
        count(&|w| matches!(w, What::Record { applied: true, .. })),
    )
}
