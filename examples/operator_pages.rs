//! The operator pages over samples, for looking at them in a browser without any other part:
//! `cargo run --example operator_pages`, then sign in with `admin-token`.

#[path = "../tests/http_support/mod.rs"]
mod http_support;

use http_support::Bench;
use http_support::samples::{self, Sample};
use securitybot::core::record::Who;

const PORT: u16 = 18_480;

#[actix_web::main]
async fn main() {
    let url = format!("http://127.0.0.1:{PORT}");
    let bench = Bench::on(PORT, &url).await;
    let store = &bench.store;
    let closed = |title, outcome, severity, minutes_ago, employee| Sample {
        title,
        outcome: Some(outcome),
        severity,
        minutes_ago,
        employee,
        state: "closed",
        ..Sample::default()
    };
    let denied = Sample {
        explanation: Some("I was asleep. That was not me, please lock it!"),
        ..closed(
            "nmap -sS 10.0.0.0/16 from build-7",
            "denied",
            "critical",
            12,
            Some("bob"),
        )
    };
    let denied = samples::case(store, 1, &denied);
    samples::escalation(store, denied, "open", "critical", Some(denied));
    let silent = closed(
        "New country for a console login: Brazil, from 203.0.113.77 by a browser never seen before on this account, two hours after one from Germany",
        "no_answer",
        "high",
        55,
        Some("carol"),
    );
    let silent = samples::case(store, 2, &silent);
    samples::escalation(store, silent, "acknowledged", "high", Some(silent));
    let stranger = closed("sudo -i on web-9", "unknown_employee", "medium", 61, None);
    let stranger = samples::case(store, 3, &stranger);
    samples::escalation(store, stranger, "open", "medium", Some(stranger));
    let operations = securitybot::core::ids::CaseId::new(samples::ago(90), 7, 77);
    samples::escalation(store, operations, "open", "low", None);
    samples::case(store, 4, &Sample::default());
    samples::rollup(store, "hour", 1, "sudo");
    samples::rollup(store, "day", 2, "a-rule-with-a-rather-long-name");
    let high = Sample {
        title: "SSH key added to deploy@prod",
        severity: "high",
        state: "verifying",
        minutes_ago: 9,
        ..Sample::default()
    };
    samples::case(store, 5, &high);
    for (nth, outcome) in [
        "verified",
        "snoozed",
        "snoozed",
        "closed",
        "unsure",
        "verification_failed",
    ]
    .into_iter()
    .enumerate()
    {
        let minutes = 80 + 37 * nth as u64;
        samples::case(
            store,
            10 + nth as u64,
            &closed(
                "sudo -i on web-3",
                outcome,
                "medium",
                minutes,
                Some("alice"),
            ),
        );
    }
    samples::snooze(store, "s1", 300);
    samples::quarantined(
        store,
        "q1",
        "{\"version\": \"4\", \"alerts\": <script>alert(1)</script>}",
    );
    let bob = Who::Employee("bob".into());
    samples::record(
        store,
        denied,
        12,
        "case_opened",
        Who::Source("local".into()),
        "",
    );
    samples::record(
        store,
        denied,
        12,
        "question_sent",
        Who::Bot,
        "Hi Bob, was this you?\nnmap -sS 10.0.0.0/16 from build-7\n[Yes] [No] [Not sure] [Someone else]",
    );
    samples::record(
        store,
        denied,
        10,
        "answer_given",
        bob,
        "no: I was asleep. That was not me, please lock it!",
    );
    samples::record(store, denied, 10, "page_sent", Who::Bot, "level 1 to log");
    println!("{url}  (sign in with admin-token, sam-token or vera-token; ctrl-c ends it)");
    let _ = tokio::signal::ctrl_c().await;
}
