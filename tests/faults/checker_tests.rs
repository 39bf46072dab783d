//! A checker that never fails is worthless: a whole little history passes, and each invariant is broken
//! once by the smallest change of it.

use serde_json::{Value, json};

use super::kit::checker::{self, INVARIANTS, Trace, View, Violation};
use super::kit::history::{Event, What, read};

/// The wall clock at the run's begin.
const BEGAN: i64 = 1_800_000_000_000;

/// By way of its file, as the harness writes it.
fn check(events: &[Event]) -> Vec<Violation> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines = events
        .iter()
        .map(|event| serde_json::to_string(event).unwrap() + "\n");
    std::fs::write(file.path(), lines.collect::<String>()).unwrap();
    checker::check(&View::of(&Trace::read(file.path()).unwrap()))
}

fn at(ms: u64, what: What) -> Event {
    Event {
        t: ms * 1000,
        wall: BEGAN + i64::try_from(ms).unwrap(),
        what,
    }
}

fn instant(ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(BEGAN + ms).unwrap();
    at.to_string()
}

fn sent(request: u64, alert: &str, principal: &str, rule: &str) -> What {
    What::AlertSent {
        request,
        alert: alert.to_owned(),
        body: json!({"id": alert, "principal": principal, "rule": rule}),
    }
}

fn answered(request: u64, alert: &str, status: u16, verdict: &str) -> What {
    What::AlertAnswered {
        request,
        alert: alert.to_owned(),
        status,
        verdict: Some(verdict.to_owned()),
    }
}

fn shown(employee: &str, message: &str, case: &str, live: bool) -> What {
    What::Shown {
        employee: employee.to_owned(),
        message: message.to_owned(),
        case: case.to_owned(),
        revision: 1,
        question: true,
        live,
    }
}

fn acted(act: u64, by: &str, case: &str, action: &str, step: Option<i64>) -> What {
    What::Acted {
        act,
        by: by.to_owned(),
        case: case.to_owned(),
        revision: 1,
        action: action.to_owned(),
        ticks: step.map(|_| (case.to_owned(), 1)).into_iter().collect(),
        step,
    }
}

fn act_answered(act: u64, status: u16) -> What {
    What::ActAnswered {
        act,
        status,
        said: String::new(),
    }
}

fn case(id: &str, who: &str, rule: &str, alert: &str, outcome: Option<&str>, closed: i64) -> Value {
    json!({"id": id, "employee": who, "principal": who, "rule": rule, "severity": "high",
        "context": {"host": "web-3"}, "state": if outcome.is_some() { "closed" } else { "asked" },
        "outcome": outcome, "alerts": [{"source": "local", "id": alert}], "revision": 1,
        "snoozed_by": null, "factor": if outcome == Some("verified") { json!("totp") } else { json!(null) },
        "deadline": instant(5_000), "closed_at": outcome.map(|_| instant(closed))})
}

fn told(case: Value) -> What {
    What::Case { case }
}

fn page(case: &str, repeat: u32) -> What {
    What::Page {
        id: format!("{case}:1:1.{repeat}"),
        applied: true,
        body: json!({"kind": "case", "key": format!("{case}:1:1"), "round": 1, "level": 1,
            "case": {"id": case}}),
    }
}

/// A message to a channel under a key.
fn posted(channel: &str, key: &str, wait_s: Option<u64>) -> What {
    What::ChatCalled {
        method: "chat.postMessage".to_owned(),
        channel: Some(channel.to_owned()),
        key: Some(key.to_owned()),
        applied: wait_s.is_none(),
        wait_s,
    }
}

fn record(number: u64, event: &str, case: &str) -> What {
    What::Record {
        id: format!("0-{number}"),
        applied: true,
        body: json!({"event": event, "case_id": case, "case": null}),
    }
}

fn rest() -> What {
    What::Rest {
        backlog: 0,
        outbox: 0,
        journal_whole: true,
        journal_said: "whole".to_owned(),
    }
}

fn level(case: &str, level: u32) -> What {
    What::Page {
        id: format!("{case}:1:{level}.0"),
        applied: true,
        body: json!({"kind": "case", "key": format!("{case}:1:{level}"), "round": 1, "level": level,
            "case": {"id": case}}),
    }
}

fn said(act: u64, operator: &str, action: &str, id: &str) -> What {
    What::OperatorActed {
        act,
        operator: operator.to_owned(),
        may: operator != "mallory",
        action: action.to_owned(),
        id: id.to_owned(),
    }
}

fn heard(act: u64, status: u16) -> What {
    What::OperatorAnswered {
        act,
        status,
        level: Some(1),
    }
}

/// alice proves her yes, is snoozed then; bob says no, and kim takes it; carol says nothing; sam closes
/// dave's, and is too late for bob's.
fn whole() -> Vec<Event> {
    let mut snoozed = case("S", "alice", "ask", "a4", Some("snoozed"), 4_000);
    snoozed["snoozed_by"] = json!("A");
    vec![
        at(
            0,
            What::Began {
                seed: 1,
                store: "none".to_owned(),
                crashes_only: true,
                ladder_ms: vec![0, 2_000],
                ack_expires_ms: 30_000,
            },
        ),
        at(10, sent(1, "a1", "alice", "ask")),
        at(20, answered(1, "a1", 202, "accepted")),
        at(30, sent(2, "a2", "bob", "ask")),
        at(40, answered(2, "a2", 202, "accepted")),
        at(50, sent(3, "a3", "carol", "quiet")),
        at(60, answered(3, "a3", 202, "accepted")),
        at(100, shown("alice", "m1", "A", true)),
        at(110, shown("bob", "m2", "B", true)),
        at(120, shown("carol", "m3", "C", true)),
        at(130, told(case("A", "alice", "ask", "a1", None, 0))),
        at(900, acted(1, "alice", "A", "confirm", Some(7))),
        at(1_000, act_answered(1, 200)),
        at(1_010, record(1, "case_closed", "A")),
        at(1_020, shown("alice", "m1", "A", false)),
        at(1_100, sent(5, "a5", "dave", "ask")),
        at(1_110, answered(5, "a5", 202, "accepted")),
        at(1_200, shown("dave", "m5", "D", true)),
        at(1_500, said(50, "sam", "close", "D")),
        at(1_600, heard(50, 200)),
        at(1_610, shown("dave", "m5", "D", false)),
        at(1_900, acted(2, "bob", "B", "no", None)),
        at(2_000, act_answered(2, 200)),
        at(2_010, record(2, "case_closed", "B")),
        at(2_020, shown("bob", "m2", "B", false)),
        at(2_100, page("B", 0)),
        at(2_400, said(51, "kim", "ack", "B")),
        at(2_500, heard(51, 200)),
        at(2_600, said(52, "sam", "close", "B")),
        at(2_650, heard(52, 409)),
        at(3_000, sent(4, "a4", "alice", "ask")),
        at(4_000, answered(4, "a4", 202, "accepted")),
        at(5_200, page("C", 0)),
        at(5_300, shown("carol", "m3", "C", false)),
        at(
            9_000,
            told(case("A", "alice", "ask", "a1", Some("verified"), 1_000)),
        ),
        at(
            9_000,
            told(case("B", "bob", "ask", "a2", Some("denied"), 2_000)),
        ),
        at(
            9_000,
            told(case("C", "carol", "quiet", "a3", Some("no_answer"), 5_100)),
        ),
        at(9_000, told(snoozed)),
        at(
            9_000,
            told(case("D", "dave", "ask", "a5", Some("closed"), 1_550)),
        ),
        at(9_100, rest()),
    ]
}

/// The invariants that this history breaks.
fn broken(events: &[Event]) -> Vec<&'static str> {
    let mut names: Vec<_> = check(events).iter().map(|found| found.invariant).collect();
    names.dedup();
    names
}

/// What is in the history of that shape is replaced.
fn with(change: impl Fn(&mut What)) -> Vec<Event> {
    let mut events = whole();
    events.iter_mut().for_each(|event| change(&mut event.what));
    events
}

/// One more event, in its place.
fn and(ms: u64, what: What) -> Vec<Event> {
    let mut events = whole();
    events.push(at(ms, what));
    events.sort_by_key(|event| event.t);
    events
}

fn several(more: &[(u64, What)]) -> Vec<Event> {
    let mut events = whole();
    let more = more.iter().map(|(ms, what)| at(*ms, what.clone()));
    events.extend(more);
    events.sort_by_key(|event| event.t);
    events
}

/// The last telling of a case is another one.
fn tell(id: &str, change: impl Fn(&mut Value)) -> Vec<Event> {
    with(|what| {
        if let What::Case { case } = what
            && case["id"] == id
            && !case["outcome"].is_null()
        {
            change(case);
        }
    })
}

fn without(drop: impl Fn(&What) -> bool) -> Vec<Event> {
    let mut events = whole();
    events.retain(|event| !drop(&event.what));
    events
}

#[test]
fn a_whole_history_passes() {
    assert_eq!(check(&whole()), vec![]);
}

#[test]
fn each_invariant_is_broken_by_a_history_of_its_own() {
    let page_of =
        |what: &What, case: &str| matches!(what, What::Page { id, .. } if id.starts_with(case));
    let outage = |fault: &str, from, to| {
        let mut events = whole();
        let fault = fault.to_owned();
        events.push(at(
            from,
            What::FaultBegan {
                fault: fault.clone(),
                blocks: "store".to_owned(),
            },
        ));
        events.push(at(to, What::FaultEnded { fault }));
        events
    };
    let histories: Vec<(&str, Vec<Event>)> = vec![
        ("I1", and(70, answered(9, "lost", 202, "accepted"))),
        (
            "I1",
            tell("B", |case| {
                case["outcome"] = json!(null);
                case["state"] = json!("queued");
            }),
        ),
        (
            "I2",
            and(
                8_000,
                told(case("B", "bob", "ask", "a2", Some("verified"), 2_000)),
            ),
        ),
        ("I2", and(8_000, record(3, "case_closed", "B"))),
        (
            "I3",
            tell("B", |case| case["alerts"][0]["id"] = json!("never sent")),
        ),
        ("I3", and(150, shown("bob", "m9", "A", false))),
        (
            "I3",
            and(
                800,
                What::FormShown {
                    employee: "bob".to_owned(),
                    case: "A".to_owned(),
                },
            ),
        ),
        ("I4", and(8_000, shown("alice", "m8", "A", false))),
        (
            "I4",
            several(&[
                (3_000, posted("DALICE", "employee/alice#1", None)),
                (7_000, posted("DALICE", "employee/alice#1", None)),
            ]),
        ),
        ("I5", and(105, shown("alice", "m8", "A", true))),
        ("I5", and(8_000, shown("alice", "m1", "A", true))),
        (
            "I6",
            without(|what| matches!(what, What::Acted { act: 2, .. })),
        ),
        (
            "I6",
            and(1_000, acted(3, "carol", "C", "no", None))
                .into_iter()
                .chain([at(1_100, act_answered(3, 200))])
                .collect(),
        ),
        (
            "I7",
            and(700, acted(3, "bob", "A", "yes", None))
                .into_iter()
                .chain([at(701, act_answered(3, 200))])
                .collect(),
        ),
        (
            "I7",
            with(|what| {
                if let What::Acted { ticks, .. } = what {
                    ticks.iter_mut().for_each(|tick| tick.1 = 9);
                }
            }),
        ),
        (
            "I7",
            with(|what| {
                if let What::Acted { step, .. } = what {
                    *step = None
                }
            }),
        ),
        ("I8", without(|what| page_of(what, "C"))),
        (
            "I8",
            and(
                6_000,
                What::Page {
                    id: "B:again.0".to_owned(),
                    applied: true,
                    body: json!({"kind": "case", "key": "B:again", "round": 1, "level": 1, "case": {"id": "B"}}),
                },
            ),
        ),
        ("I9", {
            let mut events = without(|what| page_of(what, "C"));
            events.push(at(40_000, page("C", 0)));
            events
        }),
        (
            "I10",
            and(300, told(case("C", "carol", "quiet", "a3", None, 0)))
                .into_iter()
                .map(|mut event| {
                    if let What::Case { case } = &mut event.what
                        && event.t == 300_000
                    {
                        case["deadline"] = json!(instant(7_000));
                    }
                    event
                })
                .collect(),
        ),
        ("I10", and(4_000, page("C", 0))),
        ("I11", tell("S", |case| case["snoozed_by"] = json!("B"))),
        (
            "I11",
            tell("S", |case| case["severity"] = json!("critical")),
        ),
        (
            "I11",
            tell("S", |case| case["context"] = json!({"host": "web-4"})),
        ),
        (
            "I11",
            tell("A", |case| case["closed_at"] = json!(instant(4_500))),
        ),
        (
            "I12",
            and(
                9_000,
                told(case("E", "alice", "ask", "a1", Some("denied"), 2_000)),
            ),
        ),
        ("I12", {
            let mut events = and(
                6_000,
                What::AlertSent {
                    request: 8,
                    alert: "a1".to_owned(),
                    body: json!({"id": "a1", "principal": "alice", "rule": "ask", "title": "altered"}),
                },
            );
            events.push(at(6_100, answered(8, "a1", 202, "duplicates")));
            events
        }),
        ("I13", and(8_000, record(9, "note_added", "B"))),
        (
            "I13",
            and(
                8_000,
                told({
                    let mut fell = case("B", "bob", "ask", "a2", Some("denied"), 2_000);
                    fell["revision"] = json!(2);
                    fell
                }),
            ),
        ),
        (
            "I14",
            and(
                8_000,
                What::Memory {
                    node: 0,
                    kib: 9_000_000,
                },
            ),
        ),
        ("I14", {
            let mut events = outage("redis frozen, total#1", 100, 8_900);
            events.push(at(200, sent(8, "late", "bob", "ask")));
            events.push(at(
                6_200,
                What::AlertAnswered {
                    request: 8,
                    alert: "late".to_owned(),
                    status: 503,
                    verdict: None,
                },
            ));
            events.sort_by_key(|event| event.t);
            events
        }),
        ("I14", {
            let mut events = outage("redis frozen, total#1", 2_900, 8_900);
            events.sort_by_key(|event| event.t);
            events
        }),
        ("I15", {
            let mut events = and(
                6_000,
                What::AskedToWait {
                    id: "C:1:1.0".to_owned(),
                    seconds: 5,
                },
            );
            events.push(at(7_000, page("C", 0)));
            events
        }),
        (
            "I15",
            several(&[
                (3_000, posted("DALICE", "1", Some(4))),
                (5_000, posted("DALICE", "1", None)),
            ]),
        ),
        (
            "I15",
            several(&[
                (3_000, posted("DALICE", "1", None)),
                (3_990, posted("DALICE", "2", None)),
            ]),
        ),
        (
            "I15",
            several(&[
                (3_000, posted("DALICE", "1", Some(6))),
                (3_100, posted("DBOB", "1", Some(6))),
                (5_500, posted("DCAROL", "1", None)),
            ]),
        ),
        ("I15", {
            let edit = |wait_s: Option<u64>| What::ChatCalled {
                method: "chat.update".to_owned(),
                channel: Some("DALICE".to_owned()),
                key: None,
                applied: wait_s.is_none(),
                wait_s,
            };
            several(&[(3_000, edit(Some(3))), (4_500, edit(None))])
        }),
        ("I9", {
            let mut events = outage("slack Hang#1", 2_000, 39_000);
            events.retain(|event| !page_of(&event.what, "C"));
            events.push(at(40_000, page("C", 0)));
            events.iter_mut().for_each(|event| {
                if let What::FaultBegan { blocks, .. } = &mut event.what {
                    *blocks = "chat".to_owned();
                }
            });
            events.sort_by_key(|event| event.t);
            events
        }),
        ("I16", {
            let mut events = and(6_000, acted(3, "alice", "A", "confirm", Some(7)));
            events.push(at(6_100, act_answered(3, 200)));
            events
        }),
        (
            "I17",
            with(|what| {
                if let What::Rest { journal_whole, .. } = what {
                    *journal_whole = false
                }
            }),
        ),
        (
            "I18",
            with(|what| {
                if let What::Rest { outbox, .. } = what {
                    *outbox = 1
                }
            }),
        ),
        (
            "I2",
            several(&[
                (3_000, said(53, "kim", "close", "D")),
                (3_100, heard(53, 200)),
            ]),
        ),
        ("I2", tell("D", |case| case["outcome"] = json!("denied"))),
        (
            "I2",
            several(&[
                (3_000, said(53, "sam", "ack", "B")),
                (3_100, heard(53, 200)),
            ]),
        ),
        (
            "I2",
            several(&[
                (3_000, said(53, "kim", "resolve", "B")),
                (3_100, heard(53, 200)),
                (4_000, said(54, "kim", "ack", "B")),
                (4_100, heard(54, 200)),
            ]),
        ),
        (
            "I7",
            several(&[
                (3_000, said(53, "mallory", "ack", "C")),
                (3_100, heard(53, 200)),
            ]),
        ),
        ("I7", {
            let mut events = tell("B", |case| {
                case["escalation"] = json!({"resolved_by": "sam"})
            });
            events.push(at(4_000, said(53, "sam", "resolve", "B")));
            events.push(at(4_100, heard(53, 409)));
            events.sort_by_key(|event| event.t);
            events
        }),
        // The acknowledgement is over since long, and still nobody was paged.
        ("I8", {
            let mut events = without(|what| page_of(what, "B"));
            events.push(at(80_000, shown("alice", "m1", "A", false)));
            events
        }),
        ("I9", and(60_000, shown("alice", "m1", "A", false))),
        ("I9", and(60_000, level("C", 2))),
        ("I10", and(6_000, level("C", 2))),
        // In its time, but kim has it.
        ("I10", and(6_000, level("B", 2))),
        (
            "I10",
            several(&[
                (3_000, said(53, "kim", "resolve", "B")),
                (3_100, heard(53, 200)),
                (50_000, level("B", 2)),
            ]),
        ),
        (
            "P3",
            without(|what| matches!(what, What::OperatorActed { act: 50, .. })),
        ),
        (
            "P3",
            with(|what| {
                if let What::OperatorAnswered {
                    act: 50, status, ..
                } = what
                {
                    *status = 409
                }
            }),
        ),
        ("P3", tell("A", |case| case["factor"] = json!(null))),
        ("P3", tell("A", |case| case["outcome"] = json!("failed"))),
    ];
    for (n, (invariant, events)) in histories.iter().enumerate() {
        let found = broken(events);
        assert!(
            found.contains(invariant),
            "history {n} breaks {invariant}, but the checker found {found:?}"
        );
    }
    for (invariant, _, _) in INVARIANTS {
        let broken = histories.iter().any(|(name, _)| *name == invariant);
        assert!(broken, "{invariant} is never broken here");
    }
}

/// After an outage whoever was refused waits a while; what is taken then is taken rightly.
#[test]
fn the_wait_after_an_outage_is_no_outage() {
    let mut events = and(
        2_900,
        What::FaultBegan {
            fault: "redis frozen, total#1+".to_owned(),
            blocks: "backoff".to_owned(),
        },
    );
    events.push(at(
        8_900,
        What::FaultEnded {
            fault: "redis frozen, total#1+".to_owned(),
        },
    ));
    assert_eq!(check(&events), vec![]);
}

/// Resolved, or acknowledged a moment ago, before the pager could be reached: an operator has it already. And an
/// acknowledgement that is over holds nobody back.
#[test]
fn what_an_operator_has_needs_no_page_until_the_acknowledgement_is_over() {
    let is_page = |what: &What| matches!(what, What::Page { id, .. } if id.starts_with('B'));
    assert_eq!(check(&without(is_page)), vec![]);
    let mut events = without(is_page);
    events.push(at(3_000, said(53, "kim", "resolve", "B")));
    events.push(at(3_100, heard(53, 200)));
    events.push(at(80_000, level("C", 2)));
    events.sort_by_key(|event| event.t);
    assert!(!broken(&events).contains(&"I8"));
    assert_eq!(broken(&and(33_000, level("B", 2))), Vec::<&str>::new());
}

/// What a limiter knew dies with its process: it may cost each channel one message too soon, and a wait.
#[test]
fn a_new_life_may_have_to_be_told_once_more() {
    let down = What::Down {
        node: 0,
        how: "kill -9".to_owned(),
    };
    let told = [
        (3_000, posted("DALICE", "1", Some(4))),
        (3_000, posted("DBOB", "1", None)),
        (3_200, down),
        (3_800, posted("DBOB", "2", None)),
        (3_800, posted("DALICE", "1", None)),
        (3_900, What::Up { node: 0 }),
        (5_000, posted("DBOB", "3", None)),
    ];
    assert_eq!(check(&several(&told)), vec![]);
    let mut again = told.to_vec();
    again.push((5_900, posted("DBOB", "4", None)));
    assert_eq!(broken(&several(&again)), ["I15"]);
}

/// The deadline of an open question may come while the run comes to rest: the last look at the API still
/// says that it is open, its record that it ended.
#[test]
fn a_case_may_end_after_the_last_look_at_it() {
    let still_open = |what: &mut What| {
        if let What::Case { case } = what
            && case["id"] == "C"
        {
            case["outcome"] = json!(null);
        }
    };
    assert_eq!(broken(&with(still_open)), ["I1"]);
    let ended = case("C", "carol", "quiet", "a3", Some("no_answer"), 5_100);
    let mut events = with(still_open);
    events.push(at(
        9_050,
        What::Record {
            id: "0-3".to_owned(),
            applied: true,
            body: json!({"event": "case_closed", "case_id": "C", "case": ended}),
        },
    ));
    assert_eq!(check(&events), vec![]);
}

/// Lines as the harness writes them are read back as the same events, and a cut one is no history.
#[test]
fn a_history_survives_its_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<String> = whole()
        .iter()
        .map(|event| serde_json::to_string(event).unwrap())
        .collect();
    let text = lines.join("\n");
    std::fs::write(file.path(), &text).unwrap();
    let mut events: Vec<Event> = Vec::new();
    assert_eq!(read(file.path(), |event| events.push(event)), Ok(()));
    assert_eq!(events, whole());
    std::fs::write(file.path(), &text[..text.len() - 9]).unwrap();
    let said = Trace::read(file.path()).unwrap_err();
    assert!(said.contains(&format!(":{}: ", lines.len())), "{said}");
}
