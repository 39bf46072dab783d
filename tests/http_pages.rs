//! The operator pages without a browser: sessions, CSRF, roles, and hostile text that stays text.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod http_support;

use http_support::samples::{self, Sample};
use http_support::{Bench, with_form};
use reqwest::Method;
use securitybot::core::machine::Collection;
use securitybot::core::record::Who;
use std::sync::Arc;

const HOSTILE: &str =
    "<script>alert(1)</script><img src=x onerror=alert(2)> \" ' `{{7*7}}` \u{202e}";

#[actix_web::test]
async fn a_page_without_a_session_leads_to_the_sign_in_and_back() {
    let bench = Bench::start().await;
    let response = bench
        .request(Method::GET, "/cases/x?a=b")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 303);
    assert_eq!(
        response.headers()["location"],
        "/login?next=%2Fcases%2Fx%3Fa%3Db"
    );
    for (next, leads_to) in [
        ("/snoozes", "/snoozes"),
        ("//evil.example", "/"),
        ("/\\evil", "/"),
        ("https://evil.example", "/"),
    ] {
        let form = [("token", "sam-token"), ("next", next)];
        let response = bench.submit("/login", "", &form).await;
        assert_eq!(response.headers()["location"], leads_to);
    }
    let wrong = bench
        .submit("/login", "", &[("token", "local-token")])
        .await;
    assert_eq!(wrong.status(), 401);
    assert!(!wrong.headers().contains_key("set-cookie"));
}

#[actix_web::test]
async fn a_session_ends_by_sign_out_and_with_its_token() {
    let bench = Bench::start().await;
    let (cookie, csrf) = bench.sign_in("sam-token").await;
    let stored = bench.store.ids(Collection::Tokens);
    assert!(
        !stored[0].contains(cookie.split('=').nth(1).unwrap()),
        "only its hash is kept"
    );
    bench.submit("/logout", &cookie, &[("csrf", "wrong")]).await;
    bench.page("/", &cookie).await;
    bench
        .submit("/logout", &cookie, &[("csrf", csrf.as_str())])
        .await;
    let after = bench.request(Method::GET, "/").header("cookie", &cookie);
    assert_eq!(after.send().await.unwrap().status(), 303);

    let (cookie, _) = bench.sign_in("sam-token").await;
    let mut access = http_support::access();
    access.operators[1].token = securitybot::http::access::TokenHash::of("changed");
    bench.access.send_replace(Arc::new(access));
    let after = bench.request(Method::GET, "/").header("cookie", &cookie);
    assert_eq!(after.send().await.unwrap().status(), 303);
}

#[actix_web::test]
async fn the_cookie_is_bound_to_the_host_when_it_is_https() {
    let bench = Bench::on(0, "https://bot.example.com").await;
    let response = bench.submit("/login", "", &[("token", "sam-token")]).await;
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-"), "{cookie}");
    for part in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
}

#[actix_web::test]
async fn pages_of_one_outcome_and_rule_within_a_minute_stand_together_each_with_its_button() {
    let bench = Bench::start().await;
    let mut ids = Vec::new();
    for (nth, (who, rule, outcome, state, seconds)) in [
        ("alice", "sudo", "denied", "open", 0),
        ("bob", "sudo", "denied", "open", 30),
        ("carol", "sudo", "denied", "open", 60),
        ("dave", "sudo", "denied", "open", 61),
        ("erin", "nmap", "denied", "open", 10),
        ("frank", "sudo", "no_answer", "open", 10),
        ("grace", "sudo", "denied", "acknowledged", 20),
    ]
    .into_iter()
    .enumerate()
    {
        let sample = Sample {
            employee: Some(who),
            rule,
            state: "closed",
            outcome: Some(outcome),
            ..Sample::default()
        };
        let id = samples::case(&bench.store, nth as u64, &sample);
        let at = samples::ago(4).after(std::time::Duration::from_secs(seconds));
        samples::escalation_at(&bench.store, id, state, "high", Some(id), at);
        ids.push(id);
    }
    let (cookie, csrf) = bench.sign_in("sam-token").await;
    let html = bench.page("/", &cookie).await;
    assert_eq!(html.matches("within 60 s").count(), 1, "{html}");
    let heading = "3 × denied, sudo, within 60 s: alice, bob, carol";
    let (_, below) = html.split_once(heading).expect("the heading");
    let rows: Vec<_> = below.split("<li ").skip(1).take(3).collect();
    for (row, id) in rows.iter().zip(&ids) {
        assert!(row.contains("joined"), "{row}");
        assert!(row.contains(&format!("/cases/{id}/ack")), "{row}");
    }
    assert_eq!(
        html.matches("/ack\"").count(),
        6,
        "what is taken has no button"
    );

    let form = [("csrf", csrf.as_str()), ("back", "list")];
    let response = bench
        .submit(&format!("/cases/{}/ack", ids[1]), &cookie, &form)
        .await;
    assert_eq!(response.headers()["location"], "/");
    assert_eq!(
        bench.log.lock().unwrap().escalated.len(),
        1,
        "one act, for one page"
    );

    let (viewer, _) = bench.sign_in("vera-token").await;
    let html = bench.page("/", &viewer).await;
    for heading in ["within 60 s: alice, carol", "within 60 s: grace, bob"] {
        assert!(html.contains(heading), "what is taken stands apart: {html}");
    }
    assert!(!html.contains("/ack\""), "{html}");
}

#[actix_web::test]
async fn a_post_needs_the_csrf_token_our_own_site_and_the_role() {
    let bench = Bench::start().await;
    let id = samples::case(&bench.store, 1, &Sample::default());
    samples::escalation(&bench.store, id, "open", "high", Some(id));
    let ack = format!("/cases/{id}/ack");
    let (cookie, csrf) = bench.sign_in("sam-token").await;
    let with_token = [("csrf", csrf.as_str())];

    assert_eq!(bench.submit(&ack, &cookie, &[]).await.status(), 403);
    let elsewhere = bench.request(Method::POST, &ack).header("cookie", &cookie);
    let elsewhere = with_form(
        elsewhere.header("sec-fetch-site", "cross-site"),
        &with_token,
    );
    assert_eq!(elsewhere.send().await.unwrap().status(), 403);
    let by_api = bench.request(Method::POST, &format!("/v1/escalations/{id}/ack"));
    let by_api = by_api.header("cookie", &cookie);
    assert_eq!(
        by_api.send().await.unwrap().status(),
        403,
        "a session alone changes nothing"
    );
    let (viewer, viewer_csrf) = bench.sign_in("vera-token").await;
    assert_eq!(
        bench
            .submit(&ack, &viewer, &[("csrf", viewer_csrf.as_str())])
            .await
            .status(),
        403
    );
    assert!(
        !bench
            .page(&format!("/cases/{id}"), &viewer)
            .await
            .contains("Acknowledge")
    );
    assert!(bench.log.lock().unwrap().escalated.is_empty());

    let page = bench.page(&format!("/cases/{id}"), &cookie).await;
    for button in ["Acknowledge", "Resolve", "Close", "Note"] {
        assert!(page.contains(&format!(">{button}</button>")), "{button}");
    }
    assert_eq!(bench.submit(&ack, &cookie, &with_token).await.status(), 303);
    let form = [("csrf", csrf.as_str()), ("reason", "was a drill")];
    assert_eq!(
        bench
            .submit(&format!("/cases/{id}/resolve"), &cookie, &form)
            .await
            .status(),
        303
    );
    assert_eq!(bench.submit(&ack, &cookie, &with_token).await.status(), 409);
    let page = bench.page(&format!("/cases/{id}"), &cookie).await;
    assert!(page.contains("resolved by sam") && !page.contains(">Acknowledge</button>"));
}

#[actix_web::test]
async fn hostile_text_is_inert_on_every_page() {
    let bench = Bench::start().await;
    let sample = Sample {
        employee: None,
        title: HOSTILE,
        rule: HOSTILE,
        evidence: HOSTILE,
        explanation: Some(HOSTILE),
        ..Sample::default()
    };
    let id = samples::case(&bench.store, 1, &sample);
    samples::escalation(&bench.store, id, "open", "high", Some(id));
    samples::quarantined(&bench.store, "q1", HOSTILE);
    samples::snooze(&bench.store, "s1", 60);
    samples::rollup(&bench.store, "hour", 1, HOSTILE);
    samples::record(&bench.store, id, 1, "note_added", Who::Bot, HOSTILE);
    for collection in [Collection::Cases, Collection::Snoozes] {
        let row = bench.store.ids(collection).remove(0);
        bench.store.update(collection, &row, |body| {
            body["context"] = serde_json::json!({HOSTILE: HOSTILE});
            if collection == Collection::Cases {
                body["evidence"][0]["url"] = "javascript:alert(1)".into();
            }
        });
    }
    let (cookie, _) = bench.sign_in("admin-token").await;
    for path in [
        "/",
        "/snoozes",
        "/quarantine",
        "/rollups",
        &format!("/cases/{id}"),
        "/?rule=%22%3E%3Cscript%3E",
    ] {
        let page = bench.page(path, &cookie).await;
        for forbidden in ["<script", "<img", "href=\"javascript", "\u{202e}"] {
            assert!(!page.contains(forbidden), "{path}: {forbidden}");
        }
    }
    assert!(
        bench
            .page(&format!("/cases/{id}"), &cookie)
            .await
            .contains("&#60;script")
    );
}

#[actix_web::test]
async fn pages_may_not_be_cached_framed_or_run_scripts() {
    let bench = Bench::start().await;
    let response = bench.request(Method::GET, "/login").send().await.unwrap();
    let headers = response.headers();
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src"));
    assert!(policy.contains("frame-ancestors 'none'"));
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    assert!(headers.contains_key("x-request-id"));
}

#[actix_web::test]
async fn the_rollup_page_sums_up_and_lists_what_was_suppressed() {
    let bench = Bench::start().await;
    samples::rollup(&bench.store, "hour", 1, "sudo");
    samples::rollup(&bench.store, "day", 2, "nmap");
    let (cookie, _) = bench.sign_in("vera-token").await;
    let page = bench.page("/rollups", &cookie).await;
    assert!(page.find("sudo").unwrap() < page.find("nmap").unwrap());
    for said in [
        "42 s",
        "70 min",
        "2 unsure",
        "<code>a-8</code>",
        "and 1 more",
    ] {
        assert!(page.contains(said), "{said}");
    }
    let daily = bench.page("/rollups?period=day", &cookie).await;
    assert!(daily.contains("nmap") && !daily.contains("sudo"));
}

#[actix_web::test]
async fn escalations_stand_first_the_worst_untaken_on_top() {
    let bench = Bench::start().await;
    for (nth, title, state, urgency) in [
        (1, "low one", "open", "low"),
        (2, "taken one", "acknowledged", "critical"),
        (3, "critical one", "open", "critical"),
    ] {
        let sample = Sample {
            title,
            state: "closed",
            outcome: Some("denied"),
            ..Sample::default()
        };
        let id = samples::case(&bench.store, nth, &sample);
        samples::escalation(&bench.store, id, state, urgency, Some(id));
    }
    let (cookie, _) = bench.sign_in("vera-token").await;
    let page = bench.page("/?employee=nobody", &cookie).await;
    let place = |title: &str| page.find(title).unwrap();
    assert!(place("critical one") < place("low one"));
    assert!(place("low one") < place("taken one"));
    assert!(page.contains("vera is on it") && page.contains("nobody is on it yet"));
}
