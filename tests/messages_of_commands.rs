//! What employees read after `snooze 2h` and `test`, word for word: a snapshot per state, with hostile input
//! where a producer's words are shown.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

use securitybot::core::alert::Severity;
use securitybot::core::conversation::effect::{PracticeStep, Question, SnoozeStep, StatusSnooze};
use securitybot::core::conversation::{Content, Outgoing};
use securitybot::core::ids::{CaseId, ChatIdentity};
use securitybot::core::time::Timestamp;
use securitybot::messages::{Messages, Rendered};

const HOSTILE: &str = "<!channel> {{ reference }} \u{202e}evil\u{0}\nforged line";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn render(content: Content) -> Rendered {
    let outgoing = Outgoing {
        to: ChatIdentity {
            chat: "web".to_owned(),
            user: "alice".to_owned(),
        },
        employee: "alice".into(),
        case: Some(CaseId::new(at("2026-11-24T09:02:00Z"), 7, 1)),
        urgency: Severity::Low,
        content,
    };
    Messages::load(None)
        .unwrap()
        .render_for(&outgoing, "Europe/Berlin")
}

/// As people see it: text, form and buttons.
fn shown(rendered: &Rendered) -> String {
    let form = rendered.form.as_ref().map_or_else(String::new, |form| {
        format!(
            "\n({} | {} | {})",
            form.explanation_label, form.code_label, form.submit_label
        )
    });
    let plain = rendered.to_plain();
    format!("{plain}{form}\n~ {}", rendered.notification)
}

#[test]
fn every_state_of_a_longer_snooze_reads_well() {
    let snooze = |reference: &str, rule: &str| StatusSnooze {
        reference: reference.to_owned(),
        rule: rule.to_owned(),
        context: vec![("host".to_owned(), HOSTILE.into())],
        until: at("2026-11-24T11:02:00Z"),
    };
    let sudo = || snooze("K7Q2M", "sudo");
    for (name, step, snoozes, capped) in [
        ("no_snooze", SnoozeStep::NoSnooze, vec![], false),
        ("how_long", SnoozeStep::HowLong, vec![sudo()], false),
        (
            "which_one",
            SnoozeStep::WhichOne,
            vec![sudo(), snooze("8AH24", HOSTILE)],
            false,
        ),
        ("at_cap", SnoozeStep::AtCap, vec![sudo()], false),
        ("no_code", SnoozeStep::NoCode, vec![sudo()], false),
        ("form", SnoozeStep::Form, vec![sudo()], false),
        ("form_capped", SnoozeStep::Form, vec![sudo()], true),
        ("lengthened", SnoozeStep::Lengthened, vec![sudo()], false),
        ("over", SnoozeStep::Over, vec![sudo()], false),
    ] {
        let rendered = render(Content::Snooze {
            step,
            snoozes,
            asked: Some("2h".to_owned()),
            until: Some(at("2026-11-24T13:02:00Z")),
            capped,
        });
        assert_eq!(rendered.form.is_some(), step == SnoozeStep::Form);
        assert!(rendered.buttons.is_empty());
        insta::assert_snapshot!(format!("snooze_{name}"), shown(&rendered));
    }
}

#[test]
fn every_state_of_practice_says_that_it_is_practice() {
    for (name, step) in [
        ("asked", PracticeStep::Asked),
        ("proving", PracticeStep::Proving),
        ("verified", PracticeStep::Verified),
        ("denied", PracticeStep::Denied),
        ("not_sure", PracticeStep::NotSure),
        ("someone_else", PracticeStep::SomeoneElse),
        ("no_factor", PracticeStep::NoFactor),
        ("by_push", PracticeStep::ByPush),
        ("over", PracticeStep::Over),
    ] {
        let question = Box::new(Question {
            case: CaseId::new(at("2026-11-24T09:02:00Z"), 7, 1),
            reference: "K7Q2M".to_owned(),
            revision: 0,
            rule: "practice".to_owned(),
            severity: Severity::Low,
            title: "sudo -i on example-host".into(),
            description: "".into(),
            reason: "sudo -i".into(),
            url: None,
            context: vec![("host".to_owned(), "example-host".into())],
            count: 1,
            first_at: at("2026-11-24T09:02:00Z"),
            last_at: at("2026-11-24T09:02:00Z"),
            time_zone: "Europe/Berlin".to_owned(),
            deadline: None,
        });
        let rendered = render(Content::Practice {
            step,
            question,
            given: None,
        });
        let shown = shown(&rendered);
        assert!(shown.starts_with("Practice: "), "{shown}");
        assert!(rendered.notification.starts_with("Practice: "), "{shown}");
        let live = matches!(step, PracticeStep::Asked | PracticeStep::Proving);
        assert_eq!(!rendered.buttons.is_empty(), live);
        insta::assert_snapshot!(format!("practice_{name}"), shown);
    }
}
