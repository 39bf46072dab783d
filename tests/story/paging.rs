//! The second half of the story: pages go out, again and higher up, until a named operator has dealt
//! with them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::evidence::{millis, time_of};
use crate::scenario::{DENIED, SILENT, UNKNOWN, UNPROVED};
use crate::stage::{Finding, LEVEL_TWO_AFTER_MS, Stage};

async fn paged_cases(stage: &Stage) -> Vec<(Finding<'static>, Value)> {
    let mut cases = Vec::new();
    for (about, outcome) in [
        (DENIED, "denied"),
        (SILENT, "no_answer"),
        (UNPROVED, "verification_failed"),
        (UNKNOWN, "unknown_employee"),
    ] {
        cases.push((about, stage.ended(&about, outcome).await));
    }
    cases
}

pub async fn the_pages_go_out_again_and_higher_up(stage: &mut Stage) {
    for (about, case) in paged_cases(stage).await {
        let alert = stage
            .shown_in_alertmanager(&case, true)
            .await
            .expect("it stands");
        let labels = &alert["labels"];
        assert_eq!(labels["level"], "1");
        assert_eq!(labels["reference"], case["reference"]);
        assert_eq!(labels["rule"], about.rule);
        let employee = case["employee"].as_str().unwrap_or("unknown");
        assert_eq!(labels["employee"], employee);
    }
    stage.kill9_and_restart().await;
    for (_, case) in paged_cases(stage).await {
        stage.paged(&case, 1, 1).await;
        let (at, _) = stage.paged(&case, 2, 0).await;
        let after = millis(at) - time_of(&case, "closed_at");
        println!("level 2 after {after} ms");
        assert!(after >= LEVEL_TWO_AFTER_MS, "level 2 after {after} ms");
        assert_eq!(case["escalation"]["state"], "open");
    }
    // Alertmanager notifies us of our own pages, too.
    stage
        .bot
        .until("our own page came back", async || {
            let back = stage.bot.metric("securitybot_source_own_pages_total", "");
            (back.await > 0.0).then_some(())
        })
        .await;
}

/// Killed right after the acknowledgement and after the resolves: the ends must still reach Alertmanager.
pub async fn sam_acknowledges_and_resolves(stage: &mut Stage) {
    let cases = paged_cases(stage).await;
    let [denied, silent, ..] = cases.as_slice() else {
        panic!("four cases page");
    };
    let of = |case: &Value, what: &str| {
        let id = case["id"].as_str().expect("an id");
        format!("/v1/escalations/{id}/{what}")
    };
    let path = of(&denied.1, "ack");
    let stranger = stage
        .bot
        .call_as("nobody", Method::POST, &path, Some(json!({})))
        .await;
    assert_eq!(stranger.0, StatusCode::UNAUTHORIZED);
    let (status, said) = stage.sam(&path, json!({})).await;
    assert!(status.is_success(), "{status} {said}");
    stage.kill9_and_restart().await;
    stage.shown_in_alertmanager(&denied.1, false).await;
    let quiet = last_repeat(stage, &denied.1);
    let loud = last_repeat(stage, &silent.1);
    stage.paged(&silent.1, 1, loud + 2).await;
    assert_eq!(last_repeat(stage, &denied.1), quiet, "paged after the ack");

    for (about, case) in &cases {
        let reason = json!({"reason": format!("talked to {}", about.user)});
        let (status, said) = stage.sam(&of(case, "resolve"), reason).await;
        assert!(status.is_success(), "{status} {said}");
    }
    stage.kill9_and_restart().await;
    for (about, case) in &cases {
        stage.shown_in_alertmanager(case, false).await;
        let case = stage
            .case(about, "resolved", |case| {
                case["escalation"]["state"] == "resolved"
            })
            .await;
        assert_eq!(case["escalation"]["resolved_by"], "sam");
        let reason = format!("talked to {}", about.user);
        assert_eq!(case["escalation"]["reason"], reason);
    }
    let (status, _) = stage.sam(&of(&denied.1, "ack"), json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "resolved is resolved");
}

fn last_repeat(stage: &Stage, case: &Value) -> u64 {
    let pages = stage.evidence().pages;
    let repeats = pages
        .iter()
        .filter(|(_, page)| page["case"]["id"] == case["id"] && page["level"] == 1);
    repeats
        .filter_map(|(_, page)| page["repeat"].as_u64())
        .max()
        .unwrap_or(0)
}
