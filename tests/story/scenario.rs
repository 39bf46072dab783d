//! The story itself, act by act. Between the acts, and within them, the bot is killed: nothing may
//! change but the delay.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::common::person::Person;
use crate::common::redis::RedisServer;
use crate::evidence::{Evidence, time_of};
use crate::paging;
use crate::stage::{Finding, Stage};

const fn finding<'a>(user: &'a str, rule: &'a str, host: &'a str, session: &'a str) -> Finding<'a> {
    Finding {
        user,
        rule,
        host,
        session,
    }
}

const CLICKED: Finding<'_> = finding("alice", "sudo", "web-3", "1");
const TYPED: Finding<'_> = finding("erin", "sudo", "web-3", "2");
const REPEATS: [Finding<'_>; 2] = [
    finding("alice", "sudo", "web-3", "3"),
    finding("alice", "sudo", "web-3", "4"),
];
const ELSEWHERE: Finding<'_> = finding("alice", "sudo", "web-4", "5");
pub const DENIED: Finding<'_> = finding("bob", "sudo", "web-5", "6");
pub const SILENT: Finding<'_> = finding("carol", "nmap", "web-6", "7");
pub const UNPROVED: Finding<'_> = finding("dave", "sudo", "web-7", "8");
pub const UNKNOWN: Finding<'_> = finding("mallory", "sudo", "web-8", "9");

/// By their alerts: who ended how.
const OUTCOMES: [(&Finding<'_>, &str); 9] = [
    (&CLICKED, "verified"),
    (&TYPED, "verified"),
    (&REPEATS[0], "snoozed"),
    (&REPEATS[1], "snoozed"),
    (&ELSEWHERE, "verified"),
    (&DENIED, "denied"),
    (&SILENT, "no_answer"),
    (&UNPROVED, "verification_failed"),
    (&UNKNOWN, "unknown_employee"),
];

pub async fn tell(redis: Option<RedisServer>) {
    let mut stage = Stage::set(redis).await;
    let alice = stage.person("alice").await;
    let erin = stage.person("erin").await;
    let bob = stage.person("bob").await;
    let carol = stage.person("carol").await;
    let dave = stage.person("dave").await;

    let proved = alice_clicks_yes(&mut stage, &alice).await;
    erin_types_it(&mut stage, &erin).await;
    repeats_are_snoozed_and_another_host_is_not(&mut stage, &alice, &proved).await;

    // Killed while four alerts come in at once, whatever of it has been done.
    stage.fires(&[DENIED, SILENT, UNPROVED, UNKNOWN]).await;
    stage.kill9_and_restart().await;
    let silent = stage
        .case(&SILENT, "asked", |case| case["asked_at"].is_string())
        .await;
    bob_says_no(&mut stage, &bob).await;
    dave_cannot_prove_it(&mut stage, &dave).await;
    carol_says_nothing(&stage, &carol, &silent).await;

    paging::the_pages_go_out_again_and_higher_up(&mut stage).await;
    paging::sam_acknowledges_and_resolves(&mut stage).await;

    for person in [&alice, &erin, &bob, &carol, &dave] {
        everybody_was_asked_once(&stage, person).await;
    }
    everything_is_written_back(&stage).await;
    the_hour_is_rolled_up(&mut stage).await;
}

/// Killed after the question, after the yes, and right after the code.
async fn alice_clicks_yes(stage: &mut Stage, alice: &Person) -> Value {
    stage.fires(&[CLICKED]).await;
    let question = alice.question("sudo -i on web-3").await;
    let asked = stage
        .case(&CLICKED, "asked", |case| case["asked_at"].is_string())
        .await;
    let delay = time_of(&asked, "asked_at") - time_of(&asked, "opened_at");
    println!("accepted to asked: {delay} ms");
    assert!(delay <= 1_000, "alice was asked {delay} ms later");

    stage.kill9_and_restart().await;
    let again = alice.question("sudo -i on web-3").await;
    assert_eq!(again.id, question.id, "the same message still stands");
    let (status, said) = alice.answer(&again, "yes").await;
    assert!(status.is_success(), "{status} {said}");

    stage.kill9_and_restart().await;
    let form = alice.sees("the form", |s| s.has_form).await;
    let (status, said) = alice
        .confirm(&form, "restarting nginx", &alice.code(0))
        .await;
    assert!(status.is_success(), "{status} {said}");

    stage.kill9_and_restart().await;
    alice
        .sees("thanks", |s| s.text.starts_with("Thank you!"))
        .await;
    let case = stage.ended(&CLICKED, "verified").await;
    assert_eq!(case["deadline"], asked["deadline"], "a deadline moved");
    assert_eq!(case["explanation"], "restarting nginx");
    assert_eq!(case["factor"], "totp");
    alice
        .sees("no live buttons", |s| {
            s.is_question && s.case == question.case && !s.has_answers && !s.has_form
        })
        .await;
    case
}

/// Killed right after her words were taken.
async fn erin_types_it(stage: &mut Stage, erin: &Person) {
    stage.fires(&[TYPED]).await;
    erin.question("sudo -i on web-3").await;
    let (status, said) = erin.say("yes, restarting nginx").await;
    assert!(status.is_success(), "{status} {said}");
    stage.kill9_and_restart().await;
    let form = erin.sees("the form", |s| s.has_form).await;
    let (status, said) = erin.confirm(&form, "", &erin.code(0)).await;
    assert!(status.is_success(), "{status} {said}");
    let case = stage.ended(&TYPED, "verified").await;
    assert_eq!(case["explanation"], "restarting nginx");
    erin.sees("thanks", |s| s.text.starts_with("Thank you!"))
        .await;
}

async fn repeats_are_snoozed_and_another_host_is_not(
    stage: &mut Stage,
    alice: &Person,
    proved: &Value,
) {
    let before = alice.messages().await.len();
    stage.fires(&REPEATS).await;
    for repeat in &REPEATS {
        let case = stage.ended(repeat, "snoozed").await;
        assert_eq!(case["snoozed_by"], proved["id"]);
        assert_eq!(case["state"], "closed");
    }
    assert_eq!(alice.messages().await.len(), before, "alice was bothered");

    stage.fires(&[ELSEWHERE]).await;
    let question = alice.question("sudo -i on web-4").await;
    alice.verifies(&question, "and on web-4", 1).await;
    stage.ended(&ELSEWHERE, "verified").await;
}

/// Killed right after the no: the page must not be lost.
async fn bob_says_no(stage: &mut Stage, bob: &Person) {
    let question = bob.question("sudo -i on web-5").await;
    let (status, said) = bob.answer(&question, "no").await;
    assert!(status.is_success(), "{status} {said}");
    stage.kill9_and_restart().await;
    let case = stage.ended(&DENIED, "denied").await;
    let (_, page) = stage.paged(&case, 1, 0).await;
    assert_eq!(page["urgency"], "high");
    bob.sees("what happens next", |s| {
        s.text.contains("What happens next")
    })
    .await;
}

/// Killed between the wrong codes: they stay counted.
async fn dave_cannot_prove_it(stage: &mut Stage, dave: &Person) {
    let question = dave.question("sudo -i on web-7").await;
    let (status, said) = dave.answer(&question, "yes").await;
    assert!(status.is_success(), "{status} {said}");
    let wrong = dave.wrong_code();
    for attempt in 1..=5 {
        if attempt == 4 {
            stage.kill9_and_restart().await;
        }
        let form = dave.sees("the form", |s| s.has_form).await;
        let (status, said) = dave.confirm(&form, "it was me", &wrong).await;
        assert!(
            status.is_client_error(),
            "attempt {attempt}: {status} {said}"
        );
    }
    let case = stage.ended(&UNPROVED, "verification_failed").await;
    let (_, page) = stage.paged(&case, 1, 0).await;
    assert_eq!(page["urgency"], "critical");
    dave.sees("the lock", |s| s.text.contains("paused codes for you"))
        .await;
}

async fn carol_says_nothing(stage: &Stage, carol: &Person, asked: &Value) {
    carol
        .sees("the reminder", |s| s.text.starts_with("A gentle reminder"))
        .await;
    let case = stage.ended(&SILENT, "no_answer").await;
    let deadline = time_of(asked, "deadline");
    assert_eq!(time_of(&case, "deadline"), deadline, "a deadline moved");
    let late = time_of(&case, "closed_at") - deadline;
    println!("deadline fired {late} ms late");
    assert!((0..30_000).contains(&late), "{late} ms after the deadline");
    stage.paged(&case, 1, 0).await;
    let reminders = carol.messages().await;
    let reminders = reminders
        .iter()
        .filter(|m| m.text.starts_with("A gentle reminder"));
    assert_eq!(reminders.count(), 1);
}

async fn everybody_was_asked_once(stage: &Stage, person: &Person) {
    for case in stage.bot.cases(&format!("employee={}", person.name)).await {
        let id = case["id"].as_str().expect("an id");
        let expected = usize::from(case["outcome"] != "snoozed");
        assert_eq!(person.times_asked(id).await, expected, "{case:#}");
    }
    let mut said = BTreeSet::new();
    for message in person.messages().await {
        let new = said.insert((message.case, message.text.clone()));
        assert!(new, "{} was told twice: {}", person.name, message.text);
    }
}

async fn everything_is_written_back(stage: &Stage) {
    let cases = stage.bot.cases("").await;
    assert_eq!(cases.len(), OUTCOMES.len(), "{cases:#?}");
    let mut expected = BTreeMap::new();
    for (about, outcome) in OUTCOMES {
        let case = stage.ended(about, outcome).await;
        expected.insert(
            case["id"].as_str().expect("an id").to_owned(),
            outcome.to_owned(),
        );
    }
    let quarantine = stage.bot.get("/v1/quarantine").await;
    assert_eq!(quarantine["quarantine"], json!([]));

    let sinks: [(&str, &dyn Fn() -> Evidence); 2] = [
        ("siem", &|| stage.evidence()),
        ("answers", &|| Evidence::read_lines(&stage.jsonl())),
    ];
    for (sink, read) in sinks {
        let written = stage
            .bot
            .until(sink, async || {
                let written = read();
                let resolved = written
                    .records
                    .iter()
                    .filter(|r| r["event"] == "escalation_resolved");
                let done = written.outcomes() == expected && resolved.count() == 4;
                done.then_some(written)
            })
            .await;
        written.assert_complete_and_in_order();
        assert!(written.events().contains("employee_locked"));
        let why: Vec<_> = written
            .records
            .iter()
            .filter(|r| r["event"] == "case_closed" && r["case"]["outcome"] == "verified")
            .map(|r| r["case"]["explanation"].as_str().unwrap_or_default())
            .collect();
        assert!(why.contains(&"restarting nginx"), "{why:?}");
    }
    let verified = stage.bot.cli(&["journal", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
    let copies = stage.evidence().most_copies;
    println!("kills: {}, copies of one webhook-id: {copies}", stage.kills);
    assert!(copies <= stage.kills + 1, "{copies} copies of one thing");
}

async fn the_hour_is_rolled_up(stage: &mut Stage) {
    stage.restart_after_the_hour().await;
    let figures = [
        ("sudo", "asked", 5),
        ("sudo", "verified", 3),
        ("sudo", "denied", 1),
        ("sudo", "verification_failed", 1),
        ("sudo", "unknown_employee", 1),
        ("sudo", "snoozed", 2),
        ("nmap", "asked", 1),
        ("nmap", "no_answer", 1),
    ];
    let sinks: [(&str, &dyn Fn() -> Evidence); 2] = [
        ("siem", &|| stage.evidence()),
        ("answers", &|| Evidence::read_lines(&stage.jsonl())),
    ];
    for (sink, read) in sinks {
        let rolled = stage
            .bot
            .until(&format!("the rollup at {sink}"), async || {
                let written = read();
                let counted = figures
                    .iter()
                    .map(|(rule, figure, _)| written.rolled_up(rule, figure));
                let wanted: u64 = figures.iter().map(|(_, _, count)| count).sum();
                (counted.sum::<u64>() >= wanted).then_some(written)
            })
            .await;
        for (rule, figure, count) in figures {
            assert_eq!(
                rolled.rolled_up(rule, figure),
                count,
                "{rule} {figure} in {:#?}",
                rolled.rollups
            );
        }
    }
}
