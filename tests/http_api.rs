//! The API: who may, what is filtered, what no longer applies, and that the operator's name travels.
#![allow(clippy::unwrap_used)] // no input from outside

mod http_support;

use http_support::Bench;
use http_support::samples::{self, Sample};
use reqwest::Method;
use securitybot::core::conversation;
use securitybot::core::escalation;
use securitybot::core::machine::Collection;
use securitybot::core::record::Who;
use securitybot::http::Readiness;
use serde_json::{Value, json};

fn closed(outcome: &'static str, minutes_ago: u64) -> Sample {
    Sample {
        state: "closed",
        outcome: Some(outcome),
        minutes_ago,
        ..Sample::default()
    }
}

async fn body(bench: &Bench, path: &str) -> Value {
    let response = bench.get(path, "vera-token").await;
    assert_eq!(response.status(), 200, "{path}");
    response.json().await.unwrap()
}

#[actix_web::test]
async fn cases_are_filtered_and_paged_without_gap_or_repeat() {
    let bench = Bench::start().await;
    for nth in 0..5 {
        samples::case(&bench.store, nth, &closed("verified", 10 + nth));
    }
    let denied = samples::case(&bench.store, 9, &closed("denied", 3));
    samples::escalation(&bench.store, denied, "open", "high", Some(denied));

    let one = body(&bench, "/v1/cases?alert=a9").await;
    assert_eq!(one["cases"][0]["escalation"]["state"], "open");
    assert!(one["cases"][0].get("evidence").is_none());
    let mut seen = Vec::new();
    let mut path = "/v1/cases?outcome=verified&limit=2".to_owned();
    loop {
        let page = body(&bench, &path).await;
        let ids = page["cases"].as_array().unwrap().iter();
        seen.extend(ids.map(|case| case["alerts"][0]["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/cases?outcome=verified&limit=2&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["a0", "a1", "a2", "a3", "a4"]);
    let since = samples::ago(11).to_rfc3339();
    let until = samples::ago(10).to_rfc3339();
    let window = body(&bench, &format!("/v1/cases?since={since}&until={until}")).await;
    assert_eq!(
        window["cases"].as_array().unwrap().len(),
        1,
        "since is in, until is out"
    );

    let page = body(&bench, "/v1/cases?outcome=verified&limit=2").await;
    let alien = format!(
        "/v1/cases?outcome=denied&cursor={}",
        page["next"].as_str().unwrap()
    );
    for (path, names) in [
        (alien.as_str(), "cursor"),
        ("/v1/cases?cursor=MTI", "cursor"),
        ("/v1/cases?limit=0", "limit"),
        ("/v1/cases?limit=501", "limit"),
        ("/v1/cases?since=yesterday", "since"),
        ("/v1/cases?outcome=good", "outcome"),
        ("/v1/cases?state=open", "state"),
        ("/v1/cases?colour=red", "colour"),
        ("/v1/cases?rule=a&rule=b", "rule"),
        ("/v1/escalations?state=closed", "state"),
    ] {
        let response = bench.get(path, "vera-token").await;
        assert_eq!(response.status(), 400, "{path}");
        let error: Value = response.json().await.unwrap();
        assert!(
            error["error"].as_str().unwrap().starts_with(names),
            "{path}: {error}"
        );
    }
}

#[actix_web::test]
async fn one_case_comes_with_its_timeline_and_evidence() {
    let bench = Bench::start().await;
    let id = samples::case(&bench.store, 1, &Sample::default());
    samples::record(&bench.store, id, 5, "case_opened", Who::Bot, "");
    samples::record(
        &bench.store,
        id,
        4,
        "note_added",
        Who::Operator("sam".into()),
        "called her",
    );
    let case = body(&bench, &format!("/v1/cases/{id}")).await;
    assert_eq!(
        case["timeline"][1],
        json!({"at": samples::ago(4).to_rfc3339(), "what": "note_added", "who": "operator sam", "detail": "called her"})
    );
    assert_eq!(case["evidence"].as_array().unwrap().len(), 1);
    assert_eq!(
        bench.get("/v1/cases/nonsense", "vera-token").await.status(),
        404
    );
    *bench.store.is_down.lock().unwrap() = true;
    let down = bench.get(&format!("/v1/cases/{id}"), "vera-token").await;
    assert_eq!(down.status(), 503);
}

#[actix_web::test]
async fn an_act_carries_the_operators_name_and_a_second_one_is_409() {
    let bench = Bench::start().await;
    let id = samples::case(&bench.store, 1, &Sample::default());
    let unknown = Sample {
        employee: None,
        ..Sample::default()
    };
    let stranger = samples::case(&bench.store, 2, &unknown);
    samples::escalation(&bench.store, id, "open", "high", Some(id));

    let close = format!("/v1/cases/{id}/close");
    let reason = json!({"reason": "known maintenance"});
    assert_eq!(
        bench
            .post(&close, "sam-token", &json!({"reason": " "}))
            .await
            .status(),
        400
    );
    let done = bench.post(&close, "sam-token", &reason).await;
    assert_eq!(done.status(), 200);
    assert_eq!(done.json::<Value>().await.unwrap()["outcome"], "closed");
    assert_eq!(bench.post(&close, "sam-token", &reason).await.status(), 409);
    let note = format!("/v1/cases/{stranger}/notes");
    assert_eq!(
        bench
            .post(&note, "sam-token", &json!({"text": "who is it?"}))
            .await
            .status(),
        200
    );

    let ack = format!("/v1/escalations/{id}/ack");
    let acked = bench.post(&ack, "sam-token", &json!({})).await;
    assert_eq!(acked.status(), 200);
    assert_eq!(
        acked.json::<Value>().await.unwrap()["escalation"]["acknowledged_by"],
        "sam"
    );
    let resolve = format!("/v1/escalations/{id}/resolve");
    assert_eq!(
        bench.post(&resolve, "sam-token", &reason).await.status(),
        200
    );
    assert_eq!(
        bench.post(&resolve, "admin-token", &reason).await.status(),
        409
    );
    assert_eq!(
        bench
            .post(
                &format!("/v1/escalations/{stranger}/ack"),
                "sam-token",
                &json!({})
            )
            .await
            .status(),
        404
    );

    let log = bench.log.lock().unwrap();
    let receivers: Vec<_> = log.delivered.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(
        receivers,
        ["employee/alice", "employee/alice", "unknown/mallory"]
    );
    assert!(log.delivered.iter().all(|(_, event)| match event {
        conversation::Event::CaseClosed { operator, .. }
        | conversation::Event::NoteAdded { operator, .. } => operator.as_str() == "sam",
        _ => false,
    }));
    assert_eq!(log.escalated[0].0, format!("escalation/{id}"));
    assert!(
        matches!(&log.escalated[1].1, escalation::Event::Resolved { operator, reason }
        if operator.as_str() == "sam" && reason == "known maintenance")
    );
}

#[actix_web::test]
async fn snoozes_quarantine_and_employees_do_what_they_say() {
    let bench = Bench::start().await;
    samples::snooze(&bench.store, "s1", 60);
    samples::snooze(&bench.store, "s0", 0);
    let listed = body(&bench, "/v1/snoozes?employee=alice").await;
    assert_eq!(
        listed["snoozes"].as_array().unwrap().len(),
        1,
        "expired ones are not listed"
    );
    let ended = bench
        .request(Method::DELETE, "/v1/snoozes/s1")
        .bearer_auth("sam-token");
    assert_eq!(ended.send().await.unwrap().status(), 200);

    let mut mended = json!({"principal": "alice", "rule": "SudoRoot", "title": "t", "id": "q"});
    samples::quarantined(&bench.store, "q1", &json!({"alerts": [mended]}).to_string());
    mended["rule"] = json!("nmap");
    samples::quarantined(&bench.store, "q2", &json!({"alerts": [mended]}).to_string());
    let listed = body(&bench, "/v1/quarantine").await;
    assert!(listed["quarantine"][0].get("payload").is_none());
    assert_eq!(
        bench
            .post("/v1/quarantine/q1/replay", "admin-token", &json!({}))
            .await
            .status(),
        200
    );
    assert_eq!(
        bench
            .post("/v1/quarantine/q2/replay", "admin-token", &json!({}))
            .await
            .status(),
        409
    );
    assert_eq!(
        bench.store.ids(Collection::Quarantine),
        ["q2"],
        "kept until it is accepted"
    );

    let enrolled = bench
        .post(
            "/v1/employees/alice/factors/totp",
            "admin-token",
            &json!({}),
        )
        .await;
    let uri = enrolled.json::<Value>().await.unwrap();
    assert_eq!(
        uri["otpauth_uri"],
        "otpauth://totp/alice@example.com?secret=ABC"
    );
    let links = "/v1/employees/alice/links";
    let chat = bench
        .post(links, "admin-token", &json!({"kind": "chat"}))
        .await;
    assert!(
        chat.json::<Value>().await.unwrap()["url"]
            .as_str()
            .unwrap()
            .contains("/chat/")
    );
    assert_eq!(
        bench
            .post(links, "admin-token", &json!({"kind": "enroll"}))
            .await
            .status(),
        409
    );
    assert_eq!(
        bench
            .post("/v1/employees/nobody/links", "admin-token", &json!({}))
            .await
            .status(),
        404
    );
    assert_eq!(
        bench
            .post("/v1/employees/alice/unlock", "admin-token", &json!({}))
            .await
            .status(),
        404
    );
    let test = bench
        .post("/v1/pages/test", "admin-token", &json!({}))
        .await;
    assert_eq!(
        test.json::<Value>().await.unwrap()["pagers"],
        json!(["log"])
    );
    let log = bench.log.lock().unwrap();
    assert!(log.delivered.iter().any(|(_, event)| matches!(event,
        conversation::Event::FactorEnrolled { sealed_seed, .. } if sealed_seed == "sealed for alice")));
}

#[actix_web::test]
async fn explain_says_what_would_happen_and_does_nothing() {
    let bench = Bench::start().await;
    samples::snooze(&bench.store, "s1", 60);
    let alert = |principal: &str, host: &str| {
        json!({"principal": principal, "rule": "sudo", "title": "sudo -i",
            "context": {"host": host, "source_address": "10.0.0.7"}})
    };
    for (principal, host, outcome) in [
        ("alice", "web-3", "snoozed"),
        ("alice", "web-4", "ask"),
        ("oscar", "web-3", "opted_out"),
        ("mallory", "web-3", "unknown_employee"),
    ] {
        let answer = bench
            .post("/v1/explain", "vera-token", &alert(principal, host))
            .await;
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["outcome"], outcome, "{answer}");
        let by = answer["snoozed_by"].as_str();
        assert_eq!(
            by.is_some(),
            host == "web-3" && principal == "alice",
            "{answer}"
        );
        assert_eq!(by, answer["snooze"]["case"].as_str());
    }
    let log = bench.log.lock().unwrap();
    assert!(log.requests.is_empty() && log.delivered.is_empty() && log.escalated.is_empty());
}

#[actix_web::test]
async fn rollups_are_listed_newest_first_and_by_period() {
    let bench = Bench::start().await;
    for hours_ago in [3, 1, 2] {
        samples::rollup(&bench.store, "hour", hours_ago, "sudo");
    }
    samples::rollup(&bench.store, "day", 4, "sudo");
    let periods = |list: &Value| -> Vec<String> {
        let rollups = list["rollups"].as_array().unwrap().iter();
        rollups
            .map(|one| format!("{} {}", one["period"], one["to"]))
            .collect()
    };
    let all = body(&bench, "/v1/rollups").await;
    assert_eq!(all["rollups"].as_array().unwrap().len(), 4);
    assert!(periods(&all)[0].starts_with("\"hour\"") && periods(&all)[3].starts_with("\"day\""));
    let first = body(&bench, "/v1/rollups?period=hour&limit=2").await;
    let next = first["next"].as_str().unwrap();
    let rest = body(
        &bench,
        &format!("/v1/rollups?period=hour&limit=2&cursor={next}"),
    )
    .await;
    assert_eq!(
        [periods(&first), periods(&rest)].concat(),
        periods(&all)[..3]
    );
    assert_eq!(rest["next"], Value::Null);
    let wrong = bench.get("/v1/rollups?period=week", "vera-token").await;
    assert_eq!(wrong.status(), 400);
}

#[actix_web::test]
async fn journal_verify_names_the_edited_record() {
    let bench = Bench::start().await;
    let id = samples::case(&bench.store, 1, &Sample::default());
    for minutes in [3, 2, 1] {
        samples::record(&bench.store, id, minutes, "note_added", Who::Bot, "n");
    }
    let whole = body(&bench, "/v1/journal/verify").await;
    assert_eq!(whole["whole"], true);
    assert_eq!(whole["partitions"][3]["records"], 3);
    bench.store.journals.lock().unwrap().get_mut(&3).unwrap()[1]
        .body
        .push(' ');
    let broken = body(&bench, "/v1/journal/verify").await;
    assert_eq!(broken["whole"], false);
    assert_eq!(broken["partitions"][3]["broken"]["seq"], 2);
}

#[actix_web::test]
async fn ready_means_that_alerts_can_be_made_durable() {
    let bench = Bench::start().await;
    let get = |path: &'static str| bench.request(Method::GET, path).send();
    assert_eq!(get("/healthz").await.unwrap().status(), 200);
    assert_eq!(get("/metrics").await.unwrap().status(), 200);
    let degraded = Readiness {
        ready: true,
        failing: Vec::new(),
        degraded: vec!["the chat cannot be reached".to_owned()],
    };
    bench.readiness.send_replace(degraded);
    let response = get("/readyz").await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(
        response
            .text()
            .await
            .unwrap()
            .contains("the chat cannot be reached")
    );
    bench.readiness.send_replace(Readiness {
        failing: vec!["the disk is full".to_owned()],
        ..Readiness::default()
    });
    assert_eq!(get("/readyz").await.unwrap().status(), 503);
}
