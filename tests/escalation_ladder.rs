//! The paging ladder, scene by scene.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod escalation_support;

use std::time::Duration;

use escalation_support::{MINUTE, Run, START, ladder, level, short};
use securitybot::core::alert::Severity;
use securitybot::core::case::EscalationState;
use securitybot::core::escalation::{Escalation, Reply};
use securitybot::core::ids::AggregateKey;
use securitybot::core::machine::Machine;

fn two_levels() -> Run {
    let levels = vec![level(0, &["log"], 15), level(30, &["log", "duty"], 10)];
    Run::new(ladder(levels))
}

fn state(run: &Run) -> EscalationState {
    run.row.as_ref().map(|row| row.state).expect("it has a row")
}

#[test]
fn it_pages_at_once_repeats_and_goes_up_until_somebody_acknowledges() {
    let mut run = two_levels();
    let first: Vec<_> = run.outbox.iter().map(|(e, _)| e.clone()).collect();
    assert_eq!(short(&first), ["page log 1/0"]);
    assert_eq!(first[0].page().key, format!("{}:1:1", run.id));
    run.deliver_all();

    assert!(run.wake_after(MINUTE * 14).is_empty(), "never early");
    assert_eq!(short(&run.wake_after(MINUTE)), ["page log 1/1"]);
    assert!(run.wake_after(Duration::ZERO).is_empty(), "woken twice");
    run.deliver_all();
    assert_eq!(
        short(&run.wake_after(MINUTE * 15)),
        ["page log 1/2", "page log 2/0", "page duty 2/0"]
    );
    run.deliver_all();

    assert_eq!(run.ack("sam"), Reply::Taken);
    assert_eq!(
        run.events(),
        [
            "escalation_opened",
            "page_sent",
            "page_sent",
            "page_sent",
            "page_sent",
            "page_sent",
            "escalation_acknowledged"
        ]
    );
    assert!(run.records.iter().all(|r| r.case_id == Some(run.id)));
    let told: Vec<_> = run.outbox.iter().map(|(e, _)| e.clone()).collect();
    assert_eq!(
        short(&told),
        [
            "acknowledge log 1/2",
            "acknowledge log 2/0",
            "acknowledge duty 2/0"
        ]
    );
    run.deliver_all();
    assert!(
        run.wake_after(MINUTE * 239).is_empty(),
        "acknowledged is quiet"
    );
}

#[test]
fn an_acknowledgement_expires_and_the_ladder_goes_on_where_it_was() {
    let mut run = two_levels();
    run.deliver_all();
    run.wake_after(MINUTE * 10);
    run.ack("sam");
    run.deliver_all();
    assert_eq!(run.state.due(), Some(START.after(MINUTE * 250)));

    let again = run.wake_after(MINUTE * 240);
    assert_eq!(
        short(&again),
        ["page log 1/1"],
        "the level stays, its repeat goes on"
    );
    assert_eq!(state(&run), EscalationState::Open);
    assert_eq!(run.events().last(), Some(&"acknowledgement_expired"));
    run.deliver_all();
    // Level 2 was 20 minutes away when the clock of the ladder stopped.
    run.wake_after(MINUTE * 15);
    run.deliver_all();
    assert_eq!(
        short(&run.wake_after(MINUTE * 5)),
        ["page log 2/0", "page duty 2/0"]
    );
}

#[test]
fn an_assignment_is_a_note_that_stops_nothing_and_stays_on_every_page() {
    let mut run = two_levels();
    run.deliver_all();
    assert_eq!(run.assign("kim", "sam"), Reply::Taken);
    let told: Vec<_> = run.outbox.iter().map(|(e, _)| e.clone()).collect();
    assert_eq!(short(&told), ["change log 1/0"]);
    assert_eq!(told[0].page().notes[0], "Assigned to sam by kim");
    let assigned = run.records.last().expect("it is recorded");
    assert_eq!(assigned.event, "escalation_assigned");
    assert_eq!(assigned.detail, "Assigned to sam by kim");
    assert_eq!(state(&run), EscalationState::Open, "nobody is on it yet");
    run.deliver_all();
    assert_eq!(run.assign("kim", "sam"), Reply::Taken);
    assert!(run.outbox.is_empty(), "the same again is no news");

    let again = run.wake_after(MINUTE * 15);
    assert_eq!(short(&again), ["page log 1/1"], "the ladder goes on");
    assert_eq!(again[0].page().notes[0], "Assigned to sam by kim");
    run.deliver_all();
    run.resolve("sam", "a mistake");
    assert!(matches!(
        run.assign("kim", "sam"),
        Reply::NoLongerApplies { .. }
    ));
}

#[test]
fn when_the_next_level_commits_first_it_stays_and_what_was_not_started_is_withdrawn() {
    let mut run = two_levels();
    run.deliver_all();
    run.wake_after(MINUTE * 30);
    run.outbox[0].1 = true; // `log 1/1` is being sent, the two of level 2 are not
    assert_eq!(run.ack("sam"), Reply::Taken);
    let left: Vec<_> = run.outbox.iter().map(|(e, _)| e.clone()).collect();
    assert_eq!(
        short(&left),
        [
            "page log 1/1",
            "acknowledge log 1/1",
            "acknowledge log 2/0",
            "acknowledge duty 2/0"
        ]
    );
    assert_eq!(run.row.as_ref().map(|row| row.level), Some(2));
    // Nobody resolves it: what was withdrawn goes out after all.
    run.deliver_all();
    assert_eq!(
        short(&run.wake_after(MINUTE * 240)),
        ["page log 1/2", "page log 2/1", "page duty 2/1"]
    );
}

#[test]
fn when_the_acknowledgement_commits_first_the_next_level_does_not_begin() {
    let mut run = two_levels();
    run.deliver_all();
    run.now = START.after(MINUTE * 30);
    run.ack("sam");
    run.deliver_all();
    assert!(run.wake_after(Duration::ZERO).is_empty());
    assert_eq!(run.row.as_ref().map(|row| row.level), Some(1));
}

#[test]
fn a_second_operator_is_told_who_holds_it_and_the_first_one_renews() {
    let mut run = two_levels();
    run.ack("sam");
    run.now = START.after(MINUTE * 60);
    let Reply::NoLongerApplies { why } = run.ack("kim") else {
        panic!("kim must not take it from sam")
    };
    assert!(why.starts_with("sam has acknowledged it"), "{why}");
    assert_eq!(run.ack("sam"), Reply::Taken);
    assert_eq!(run.state.due(), Some(START.after(MINUTE * 300)));
    // Lapsed, though nobody has woken it yet.
    run.now = START.after(MINUTE * 300);
    assert_eq!(run.ack("kim"), Reply::Taken);
}

#[test]
fn resolving_needs_a_reason_tells_every_pager_and_is_final() {
    let mut run = two_levels();
    run.deliver_all();
    run.raise(2, Severity::Critical);
    run.deliver_all();
    assert!(matches!(
        run.resolve("sam", "  "),
        Reply::NoLongerApplies { .. }
    ));
    assert_eq!(run.resolve("sam", "drill"), Reply::Taken);
    let keys: Vec<_> = run
        .outbox
        .iter()
        .map(|(e, _)| e.page().key.clone())
        .collect();
    assert_eq!(keys, [format!("{}:1:1", run.id), format!("{}:2:1", run.id)]);
    run.deliver_all();
    assert_eq!(run.state.due(), None);
    assert!(matches!(
        run.resolve("kim", "late"),
        Reply::NoLongerApplies { .. }
    ));
    assert!(matches!(run.ack("kim"), Reply::NoLongerApplies { .. }));
    let view = run.row.expect("it has a row").view();
    assert_eq!(
        view.resolved_by.map(|by| by.to_string()).as_deref(),
        Some("sam")
    );
}

#[test]
fn a_new_round_opens_again_and_a_known_one_changes_nothing() {
    let mut run = two_levels();
    run.deliver_all();
    run.raise(2, Severity::Low);
    assert_eq!(
        run.row.as_ref().map(|row| row.urgency),
        Some(Severity::Medium)
    );
    run.deliver_all();
    run.ack("sam");
    run.raise(3, Severity::Critical);
    let (page, _) = run.outbox.last().expect("it pages again");
    assert_eq!(page.page().key, format!("{}:3:1", run.id));
    assert_eq!(page.page().urgency, Severity::Critical);
    run.resolve("sam", "drill");
    run.outbox.clear();
    let before = run.state.clone();
    assert_eq!(run.raise(3, Severity::Critical), Reply::Taken);
    assert_eq!(run.state, before);
    assert!(run.outbox.is_empty());
    run.raise(4, Severity::Low);
    assert_eq!(state(&run), EscalationState::Open);
    assert_eq!(run.row.as_ref().map(|row| row.urgency), Some(Severity::Low));
}

#[test]
fn a_level_nobody_can_be_paged_on_is_not_waited_for() {
    let mut run = two_levels();
    assert_eq!(short(&run.refuse_all()), ["page log 2/0", "page duty 2/0"]);
    // Nor does the ladder fall silent at its end: everybody again in five minutes.
    run.refuse_all();
    assert_eq!(
        short(&run.wake_after(MINUTE * 5)),
        ["page log 1/1", "page log 2/1", "page duty 2/1"]
    );
    assert_eq!(
        run.events().iter().filter(|e| **e == "page_failed").count(),
        3
    );
}

#[test]
fn a_ladder_that_never_repeats_still_does_when_nobody_was_reached() {
    let mut run = Run::new(ladder(vec![level(0, &["log"], 0)]));
    run.refuse_all();
    assert_eq!(short(&run.wake_after(MINUTE * 5)), ["page log 1/1"]);
    run.deliver_all();
    assert_eq!(run.state.due(), None, "reached once: as configured");
    // But an acknowledgement that came to nothing is news.
    run.ack("sam");
    run.deliver_all();
    assert_eq!(short(&run.wake_after(MINUTE * 240)), ["page log 1/2"]);
}

#[test]
fn a_pager_that_forgets_gets_the_same_page_again_until_acknowledged() {
    let mut run = Run::new(ladder(vec![level(0, &["am", "log"], 15)]));
    run.deliver_all();
    for _ in 0..3 {
        assert_eq!(short(&run.wake_after(MINUTE * 4)), ["page am 1/0"]);
        run.deliver_all();
    }
    assert_eq!(
        run.events().len(),
        3,
        "a refresh is no news: {:?}",
        run.events()
    );
    run.ack("sam");
    run.deliver_all();
    assert!(run.wake_after(MINUTE * 4).is_empty());
    run.resolve("sam", "drill");
    run.deliver_all();
    assert!(run.wake_after(MINUTE * 400).is_empty());
}

#[test]
fn a_pager_that_is_down_does_not_collect_a_pile_of_pages() {
    let mut run = two_levels();
    for _ in 0..20 {
        run.wake_after(MINUTE * 15);
    }
    let all: Vec<_> = run.outbox.iter().map(|(e, _)| e.clone()).collect();
    assert_eq!(
        short(&all),
        ["page log 1/0", "page log 2/0", "page duty 2/0"]
    );
    let mut refreshed = Run::new(ladder(vec![level(0, &["am"], 15)]));
    for _ in 0..20 {
        refreshed.wake_after(MINUTE * 4);
    }
    assert_eq!(refreshed.outbox.len(), 1);
}

#[test]
fn what_was_never_raised_is_not_found() {
    let mut run = two_levels();
    run.state = Escalation::new(&AggregateKey::escalation(run.id, 3));
    assert_eq!(run.ack("sam"), Reply::NotFound);
    assert_eq!(run.resolve("sam", "drill"), Reply::NotFound);
    assert!(run.wake_after(MINUTE * 60).is_empty());
}
