//! An escalation whose checkpoint cannot be read: loud, never silent.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod escalation_support;

use escalation_support::{MINUTE, Run, ladder, level, pages, world};
use securitybot::core::alert::Severity;
use securitybot::core::escalation::{Escalation, Reply};
use securitybot::core::ids::AggregateKey;
use securitybot::core::machine::{Context, Machine, Receipt, Settlement};

#[test]
fn an_unreadable_escalation_pages_everybody_until_it_is_resolved() {
    let levels = vec![level(0, &["log"], 15), level(30, &["log", "duty"], 10)];
    let run = Run::new(ladder(levels));
    let key = AggregateKey::escalation(run.id, 3);
    let world = world(run.ladder.clone());
    let mut keys = Vec::new();
    let mut rebuilt = run;
    for _ in 0..2 {
        rebuilt.outbox.clear();
        rebuilt.now = rebuilt.now.after(MINUTE);
        let cx = Context {
            now: rebuilt.now,
            entropy: 1,
            world: &world,
        };
        let step = Escalation::rebuilt(&key, None, Default::default(), None, &cx);
        let (_, effects) = rebuilt.apply(step);
        let to: Vec<_> = effects.iter().map(|e| e.pager().as_str()).collect();
        assert_eq!(to, ["duty", "log"]);
        keys.extend(pages(&effects).iter().map(|p| (p.key.clone(), p.repeat)));
    }
    assert_ne!(
        keys[0], keys[2],
        "a second time is no redelivery of the first"
    );
    rebuilt.settle(0, Settlement::Done(Receipt::default()));
    rebuilt.settle(0, Settlement::Done(Receipt::default()));
    assert_eq!(rebuilt.wake_after(MINUTE * 15).len(), 2);
    rebuilt.deliver_all();
    // A late no after that is a round it does not know.
    rebuilt.raise(2, Severity::High);
    assert_eq!(rebuilt.outbox.len(), 1);
    assert_eq!(rebuilt.resolve("sam", "looked at it"), Reply::Taken);
    assert_eq!(rebuilt.state.due(), None);
}
