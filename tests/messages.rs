//! What employees read, word for word, with hostile input in every field: a snapshot per kind of message, and the
//! start-up errors of templates.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

use securitybot::core::alert::Severity;
use securitybot::core::case::Outcome;
use securitybot::core::conversation::effect::{
    CodeRefusal, Ended, Form, OpenQuestion, Question, StatusSnooze, TickOption, Unclear,
};
use securitybot::core::conversation::{Answer, Content, Outgoing};
use securitybot::core::ids::{CaseId, ChatIdentity};
use securitybot::core::policy::Explanation;
use securitybot::core::text::Untrusted;
use securitybot::core::time::Timestamp;
use securitybot::messages::{Block, Messages, Rendered, RenderedTick, mask_codes};

const HOSTILE: &str = "<!channel> <script>alert(1)</script> {{ reference }} \u{202e}evil\u{200b}\u{0}\u{1b}[31m {% for %}\nforged line";
const K7Q2M: &str = "K7Q2M";

#[test]
fn every_kind_of_message_reads_well_and_stays_inert() {
    let messages = Messages::load(None).unwrap();
    for (name, content) in everything() {
        let shown = show(&messages.render_for(&outgoing(content), "Europe/Berlin"));
        for forbidden in ['\u{202e}', '\u{200b}', '\u{0}', '\u{1b}'] {
            assert!(!shown.contains(forbidden), "{name} lets {forbidden:?} out");
        }
        insta::assert_snapshot!(name, shown);
    }
}

#[test]
fn a_title_is_cut_at_150_characters_and_evidence_at_1500_and_15_lines() {
    let rendered = render(asked(Question {
        title: Untrusted::new("ä".repeat(1_000_000)),
        reason: Untrusted::new("x".repeat(100_000)),
        description: Untrusted::new("line\n".repeat(1_000)),
        ..question()
    }));

    let Some(Block::Heading { text }) = rendered.blocks.first() else {
        panic!("no heading: {rendered:?}");
    };
    assert_eq!(text.chars().count(), 150);
    assert!(text.ends_with('…'));
    let quotes: Vec<_> = rendered
        .blocks
        .iter()
        .filter_map(|block| match block {
            Block::Quote { text } => Some(text),
            _ => None,
        })
        .collect();
    assert_eq!(quotes[0].lines().count(), 16);
    assert!(quotes[0].ends_with('…'));
    assert_eq!(quotes[1].chars().count(), 1_500);
    assert!(rendered.notification.chars().count() < 300);
}

#[test]
fn only_plain_web_addresses_become_links_and_the_label_names_their_host() {
    let link = |url: &str| {
        let rendered = render(asked(Question {
            url: Some(url.into()),
            ..question()
        }));
        rendered.blocks.into_iter().find_map(|b| match b {
            Block::Link { label, url } => Some((label, url)),
            _ => None,
        })
    };
    assert_eq!(link("javascript:alert(1)"), None);
    assert_eq!(link("https://corp.example@evil.example/"), None);
    let (label, url) = link("https://siem.example/a?b=\"<x>").expect("a web address");
    assert_eq!(label, "Details on siem.example");
    assert!(!url.contains(['<', '"']));
}

#[test]
fn a_broken_template_is_an_error_at_start_that_names_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let load = || Messages::load(Some(folder.path()));
    let refused = |text: &str, names: &[&str]| {
        let sections = "{% block heading %}{% endblock %}\n{% block next %}{% endblock %}\n\
            {% block note %}{% endblock %}\n{% block notification %}{% endblock %}\n";
        put("unlocked.txt", &format!("{sections}{text}"));
        let error = load().expect_err(text);
        for name in names {
            assert!(error.contains(name), "{name:?} is not in {error:?}");
        }
    };

    let line_6 = "unlocked.txt, line 6";
    refused(
        "{% block text %}\n{{ nmae }}{% endblock %}",
        &[line_6, "nmae"],
    );
    // In a branch that no sample takes.
    refused(
        "{% block text %}{% if false %}\n{{ nmae }}{% endif %}{% endblock %}",
        &[line_6, "nmae"],
    );
    refused("{% block text %}\n{% if %}", &[line_6, "syntax"]);
    refused("", &["unlocked.txt", "text"]);

    put(
        "unlocked.txt",
        include_str!("../src/messages/templates/unlocked.txt"),
    );
    assert!(load().is_ok());
    put("qestion.txt", "");
    let error = load().unwrap_err();
    assert!(error.contains("qestion.txt"), "{error}");
}

#[test]
fn a_replaced_template_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let text = include_str!("../src/messages/templates/unlocked.txt").replace("Good news", "Hurra");
    std::fs::write(folder.path().join("unlocked.txt"), text).unwrap();
    let messages = Messages::load(Some(folder.path())).unwrap();
    let rendered = messages.render(&outgoing(Content::Unlocked));
    assert!(rendered.to_plain().starts_with("Hurra"), "{rendered:?}");
}

#[test]
fn six_digits_become_code_however_they_are_written() {
    assert_eq!(mask_codes("yes 123456, thanks"), "yes [code], thanks");
    assert_eq!(mask_codes("123 456"), "[code]");
    assert_eq!(mask_codes("123-456."), "[code].");
    assert_eq!(mask_codes("１２３４５６"), "[code]");
    for harmless in ["ticket 1234567 at 10:02", "host 10.0.0.7 in 2026", ""] {
        assert_eq!(mask_codes(harmless), harmless);
    }
}

#[test]
fn buttons_begin_as_the_contract_says_and_are_gone_after_the_end() {
    let asked = render(asked(question())).buttons;
    assert_eq!(asked.len(), 4);
    for (button, begin) in asked.iter().zip(["Yes", "No", "Not sure", "Someone else"]) {
        assert!(button.label.starts_with(begin), "{}", button.label);
    }
    let buttons_after = |ended| {
        let question = Box::new(question());
        render(Content::Ended { question, ended }).buttons
    };
    for outcome in Outcome::ALL {
        let not_me_until = None;
        assert!(
            buttons_after(Ended {
                not_me_until,
                ..ended(outcome)
            })
            .is_empty()
        );
    }
    let after_yes = buttons_after(ended(Outcome::Verified));
    assert_eq!(after_yes[0].answer, Answer::NotMeAfterAll);
    assert_eq!(after_yes[0].label, "That wasn't me after all");
}

fn everything() -> Vec<(String, Content)> {
    let question = || Box::new(question());
    let reference = || K7Q2M.to_owned();
    let many = Question {
        count: 12,
        last_at: at("2026-11-24T09:40:00Z"),
        severity: Severity::High,
        ..*question()
    };
    let plain = [
        Content::Greeting {
            name: HOSTILE.to_owned(),
        },
        Content::Question {
            question: question(),
        },
        Content::ProofForm {
            question: question(),
            form: form(1),
        },
        Content::Reminder {
            question: question(),
            deadline: at("2026-11-25T09:02:00Z"),
        },
        Content::AskWhy {
            reference: reference(),
        },
        Content::AskWho {
            reference: reference(),
        },
        Content::AskProof {
            reference: reference(),
        },
        Content::Help {
            name: "Alice".to_owned(),
            enrolled: false,
        },
        Content::Status {
            open: open(),
            snoozes: vec![StatusSnooze {
                reference: K7Q2M.to_owned(),
                rule: HOSTILE.to_owned(),
                context: vec![("host".to_owned(), HOSTILE.into())],
                until: at("2026-11-25T06:02:00Z"),
            }],
            enrolled: true,
        },
        Content::ReportWhich { recent: open() },
        Content::ReportTaken {
            reference: Some(reference()),
        },
        Content::FactorEnrolled {
            by_operator: Some("sam".to_owned()),
        },
        Content::Unlocked,
    ];
    let mut all: Vec<_> = plain
        .into_iter()
        .map(|c| (c.name().to_owned(), c))
        .collect();
    all.push(("question_many".to_owned(), asked(many)));
    let several = Content::ProofForm {
        question: question(),
        form: form(2),
    };
    all.push(("proof_form_several".to_owned(), several));
    let revoked = Ended {
        revoked: true,
        ..ended(Outcome::Verified)
    };
    let ends = Outcome::ALL.map(|outcome| (outcome.name(), ended(outcome)));
    for (name, ended) in ends.into_iter().chain([("revoked", revoked)]) {
        let told = Content::Told {
            question: question(),
            ended: ended.clone(),
        };
        all.push((format!("told_{name}"), told));
        let ended = Content::Ended {
            question: question(),
            ended,
        };
        all.push((format!("ended_{name}"), ended));
    }
    for (name, reason) in [
        ("ambiguous", Unclear::Ambiguous),
        ("which_one", Unclear::WhichOne),
        ("changed", Unclear::Changed),
        ("nothing_open", Unclear::NothingOpen),
    ] {
        let open = if reason == Unclear::WhichOne {
            open()
        } else {
            Vec::new()
        };
        all.push((
            format!("clarification_{name}"),
            Content::Clarification { reason, open },
        ));
    }
    for (name, why) in [
        ("wrong", CodeRefusal::Wrong),
        ("already_used", CodeRefusal::AlreadyUsed),
        ("locked", CodeRefusal::Locked),
        ("unavailable", CodeRefusal::Unavailable),
        ("explanation_missing", CodeRefusal::ExplanationMissing),
        ("not_enrolled", CodeRefusal::NotEnrolled),
    ] {
        let locked_until = Some(at("2026-11-24T11:00:00Z"));
        all.push((
            format!("code_refused_{name}"),
            Content::CodeRefused { why, locked_until },
        ));
    }
    for outcome in [Outcome::Verified, Outcome::NoAnswer, Outcome::Denied] {
        let content = Content::AlreadyAnswered {
            reference: reference(),
            outcome: Some(outcome),
            closed_by: None,
        };
        all.push((format!("already_answered_{}", outcome.name()), content));
    }
    all
}

fn asked(question: Question) -> Content {
    Content::Question {
        question: Box::new(question),
    }
}

fn render(content: Content) -> Rendered {
    Messages::embedded().render_for(&outgoing(content), "Europe/Berlin")
}

fn outgoing(content: Content) -> Outgoing {
    Outgoing {
        to: ChatIdentity {
            chat: "web".to_owned(),
            user: "alice".to_owned(),
        },
        employee: "alice".into(),
        case: None,
        urgency: Severity::Medium,
        content,
    }
}

fn question() -> Question {
    Question {
        case: CaseId::new(at("2026-11-24T09:02:00Z"), 7, 1),
        reference: K7Q2M.to_owned(),
        revision: 2,
        rule: "sudo".to_owned(),
        severity: Severity::Medium,
        title: Untrusted::new(format!("sudo -i on web-3 {HOSTILE}")),
        description: HOSTILE.into(),
        reason: Untrusted::new(format!("{HOSTILE}\n{}", "A".repeat(100_000))),
        url: Some("https://siem.example/alert/1".into()),
        context: vec![
            ("host".to_owned(), "web-3".into()),
            (format!("bad{HOSTILE}"), HOSTILE.into()),
        ],
        count: 1,
        first_at: at("2026-11-24T09:02:00Z"),
        last_at: at("2026-11-24T09:02:00Z"),
        time_zone: "Europe/Berlin".to_owned(),
        deadline: Some(at("2026-11-24T11:02:00Z")),
    }
}

fn ended(outcome: Outcome) -> Ended {
    Ended {
        outcome,
        explanation: Some(HOSTILE.into()),
        at: at("2026-11-24T09:10:00Z"),
        snoozed_until: Some(at("2026-11-25T06:10:00Z")),
        not_me_until: Some(at("2026-11-25T09:10:00Z")),
        closed_by: (outcome == Outcome::Closed).then(|| "sam".to_owned()),
        revoked: false,
        paged: None,
    }
}

fn form(count: u64) -> Form {
    let tick = |nth| TickOption {
        case: CaseId::new(at("2026-11-24T09:02:00Z"), 7, nth),
        reference: K7Q2M.to_owned(),
        revision: 2,
        title: HOSTILE.into(),
        ticked: nth == 1,
    };
    Form {
        code: true,
        push: false,
        explanation: Explanation::Required,
        given: Some(HOSTILE.into()),
        ticks: (1..=count).map(tick).collect(),
    }
}

fn open() -> Vec<OpenQuestion> {
    let item = |reference: &str| OpenQuestion {
        case: CaseId::new(at("2026-11-24T09:02:00Z"), 7, 1),
        reference: reference.to_owned(),
        title: HOSTILE.into(),
        deadline: Some(at("2026-11-24T11:02:00Z")),
    };
    [K7Q2M, "B4XYZ"].map(item).into()
}

fn at(time: &str) -> Timestamp {
    Timestamp::parse_rfc3339(time).expect("a time")
}

/// Long evidence is shown by its beginning and length.
fn show(rendered: &Rendered) -> String {
    let mut lines = Vec::new();
    for line in rendered.to_plain().lines() {
        match line.chars().count() {
            count if count > 700 => lines.push(format!("{} [{count} characters]", &line[..40])),
            _ => lines.push(line.to_owned()),
        }
    }
    if let Some(form) = &rendered.form {
        lines.push(format!(
            "form {}: {}",
            form.explanation_label, form.explanation
        ));
        lines.push(format!("form {}", form.code_label));
        let tick = |t: &RenderedTick| format!("tick {}: {}", t.ticked, t.label);
        lines.extend(form.ticks.iter().map(tick));
        lines.push(format!("form [{}]", form.submit_label));
    }
    lines.push(format!("notification: {}", rendered.notification));
    lines.join("\n")
}
