//! Sample contents that take every branch a template may have: rendered at start, so that a broken template stops the
//! start and not an employee's question.

use crate::core::alert::Severity;
use crate::core::case::Outcome;
use crate::core::conversation::Content;
use crate::core::conversation::effect::{
    CodeRefusal, Ended, Form, OpenQuestion, PracticeStep, Question, SnoozeStep, StatusSnooze,
    TickOption, Unclear,
};
use crate::core::ids::CaseId;
use crate::core::policy::Explanation;
use crate::core::time::Timestamp;

const NOON: Timestamp = Timestamp::from_millis(1_795_518_000_000);

/// The samples for the template of this name.
pub(super) fn of(name: &str) -> Vec<Content> {
    match name {
        "greeting" => vec![Content::Greeting { name: text() }],
        "question" => questions()
            .map(|question| Content::Question { question })
            .collect(),
        "proof_form" => questions()
            .flat_map(|question| forms().map(move |form| (question.clone(), form)))
            .map(|(question, form)| Content::ProofForm { question, form })
            .collect(),
        "ended" => ends()
            .map(|(question, ended)| Content::Ended { question, ended })
            .collect(),
        "told" => ends()
            .map(|(question, ended)| Content::Told { question, ended })
            .collect(),
        "reminder" => questions()
            .map(|question| Content::Reminder {
                question,
                deadline: NOON,
            })
            .collect(),
        "clarification" => [
            Unclear::Ambiguous,
            Unclear::WhichOne,
            Unclear::Changed,
            Unclear::NothingOpen,
        ]
        .into_iter()
        .flat_map(|reason| lists().map(move |open| Content::Clarification { reason, open }))
        .collect(),
        "ask_why" => vec![Content::AskWhy { reference: text() }],
        "ask_who" => vec![Content::AskWho { reference: text() }],
        "ask_proof" => vec![Content::AskProof { reference: text() }],
        "code_refused" => [
            CodeRefusal::Wrong,
            CodeRefusal::AlreadyUsed,
            CodeRefusal::Locked,
            CodeRefusal::Unavailable,
            CodeRefusal::ExplanationMissing,
            CodeRefusal::NotEnrolled,
        ]
        .into_iter()
        .flat_map(|why| {
            [None, Some(NOON)].map(|locked_until| Content::CodeRefused { why, locked_until })
        })
        .collect(),
        "already_answered" => Outcome::ALL
            .map(Some)
            .into_iter()
            .chain([None])
            .flat_map(|outcome| {
                [None, Some(text())].map(|closed_by| Content::AlreadyAnswered {
                    reference: text(),
                    outcome,
                    closed_by,
                })
            })
            .collect(),
        "help" => [false, true]
            .map(|enrolled| Content::Help {
                name: text(),
                enrolled,
            })
            .into(),
        "status" => [false, true]
            .into_iter()
            .flat_map(|enrolled| {
                lists().map(move |open| Content::Status {
                    snoozes: open.iter().map(|_| snooze()).collect(),
                    open,
                    enrolled,
                })
            })
            .collect(),
        "report_which" => lists()
            .map(|recent| Content::ReportWhich { recent })
            .into_iter()
            .collect(),
        "report_taken" => [None, Some(text())]
            .map(|reference| Content::ReportTaken { reference })
            .into(),
        "snooze" => [
            SnoozeStep::NoSnooze,
            SnoozeStep::HowLong,
            SnoozeStep::WhichOne,
            SnoozeStep::AtCap,
            SnoozeStep::NoCode,
            SnoozeStep::Form,
            SnoozeStep::Lengthened,
            SnoozeStep::Over,
        ]
        .into_iter()
        .flat_map(|step| {
            [false, true].map(|full| Content::Snooze {
                step,
                snoozes: full.then(snooze).into_iter().collect(),
                asked: full.then(text),
                until: full.then_some(NOON),
                capped: full,
            })
        })
        .collect(),
        "practice" => [
            PracticeStep::Asked,
            PracticeStep::Proving,
            PracticeStep::Verified,
            PracticeStep::Denied,
            PracticeStep::NotSure,
            PracticeStep::SomeoneElse,
            PracticeStep::NoFactor,
            PracticeStep::ByPush,
            PracticeStep::Over,
        ]
        .into_iter()
        .flat_map(|step| {
            questions().map(move |question| Content::Practice {
                step,
                question,
                given: None,
            })
        })
        .collect(),
        "factor_enrolled" => [None, Some(text())]
            .map(|by_operator| Content::FactorEnrolled { by_operator })
            .into(),
        "unlocked" => vec![Content::Unlocked],
        _ => Vec::new(),
    }
}

fn text() -> String {
    "sample".to_owned()
}

fn case() -> CaseId {
    CaseId::new(NOON, 1, 1)
}

/// Once and many times, with and without host and deadline, urgent and not.
fn questions() -> impl Iterator<Item = Box<Question>> {
    [(1, true), (1, false), (12, true), (12, false)]
        .into_iter()
        .map(|(count, full)| {
            Box::new(Question {
                case: case(),
                reference: text(),
                revision: 1,
                rule: text(),
                severity: if full { Severity::High } else { Severity::Low },
                title: "sample".into(),
                description: "sample".into(),
                reason: "sample".into(),
                url: None,
                context: match full {
                    true => vec![("host".to_owned(), "sample".into())],
                    false => Vec::new(),
                },
                count,
                first_at: NOON,
                last_at: NOON,
                time_zone: "UTC".to_owned(),
                deadline: full.then_some(NOON),
            })
        })
}

fn forms() -> impl Iterator<Item = Form> {
    [
        (Explanation::Required, 1, true, false),
        (Explanation::Required, 2, true, true),
        (Explanation::Optional, 2, false, true),
    ]
    .into_iter()
    .map(|(explanation, count, code, push)| Form {
        code,
        push,
        explanation,
        given: None,
        ticks: (0..count)
            .map(|_| TickOption {
                case: case(),
                reference: text(),
                revision: 1,
                title: "sample".into(),
                ticked: true,
            })
            .collect(),
    })
}

fn ends() -> impl Iterator<Item = (Box<Question>, Ended)> {
    questions().flat_map(|question| {
        Outcome::ALL.into_iter().flat_map(move |outcome| {
            let question = question.clone();
            [(false, false), (true, false), (false, true), (true, true)].map(
                move |(full, revoked)| {
                    let ended = Ended {
                        outcome,
                        explanation: full.then(|| "sample".into()),
                        at: NOON,
                        snoozed_until: full.then_some(NOON),
                        not_me_until: full.then_some(NOON),
                        closed_by: full.then(text),
                        revoked,
                        paged: full.then_some(Severity::High),
                    };
                    (question.clone(), ended)
                },
            )
        })
    })
}

fn lists() -> [Vec<OpenQuestion>; 2] {
    let item = |deadline| OpenQuestion {
        case: case(),
        reference: text(),
        title: "sample".into(),
        deadline,
    };
    [Vec::new(), vec![item(None), item(Some(NOON))]]
}

fn snooze() -> StatusSnooze {
    StatusSnooze {
        reference: text(),
        rule: text(),
        context: vec![("host".to_owned(), "sample".into())],
        until: NOON,
    }
}
