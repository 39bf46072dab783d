//! A real prometheus-alertmanager: our pages stand in it and end, its alerts are read by both roads alike,
//! and no page comes back as an alert.

use std::collections::BTreeMap;
use std::time::Duration;

use securitybot::core::ids::{OperatorName, SourceId};
use securitybot::plugins::Health;
use securitybot::plugins::formats::alertmanager::{Options, Parsed, parse_webhook};
use securitybot::plugins::outgoing::http_client;
use securitybot::plugins::pagers::alertmanager::{AlertmanagerPager, DEFAULT_REFRESH};
use securitybot::plugins::pagers::{PAGE_LABEL, Pager, PagerError};
use securitybot::plugins::sources::PolledSource;
use securitybot::plugins::sources::alertmanager_api::AlertmanagerApi;
use serde_json::{Value, json};

use crate::common::alertmanager::Alertmanager;
use crate::common::fake_http::{FakeHttp, Mode};
use crate::{fixed_clock, page, real_clock};

const PATIENCE: Duration = Duration::from_secs(20);

fn repeats(alerts: &[Value]) -> Vec<String> {
    let label =
        |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap_or("-").to_owned();
    let mut all: Vec<_> = alerts
        .iter()
        .map(|alert| format!("{}.{}", label(alert, "level"), label(alert, "repeat")))
        .collect();
    all.sort();
    all
}

fn sam() -> OperatorName {
    OperatorName::new("sam")
}

#[tokio::test]
async fn a_page_stands_until_acknowledged_or_resolved_and_only_the_newest_repeat_does() {
    let receiver = FakeHttp::start();
    let server = Alertmanager::start(&receiver.url()).await;
    let pager = || {
        AlertmanagerPager::new(
            "am",
            server.url(),
            DEFAULT_REFRESH,
            http_client(),
            real_clock(),
        )
    };
    let first = pager();
    assert_eq!(first.health().await, Health::Good);

    first.page(&page(1, 0)).await.unwrap();
    let standing = server
        .until("the page stands", |alerts| alerts.len() == 1)
        .await;
    let (labels, notes) = (&standing[0]["labels"], &standing[0]["annotations"]);
    for (name, value) in [
        ("alertname", "SecuritybotPage"),
        (PAGE_LABEL, page(1, 0).key.as_str()),
        ("kind", "case"),
        ("case", "019ab2c4-8a40-7def-8123-456789abcdef"),
        ("reference", page(1, 0).id.reference().as_str()),
        ("employee", "alice"),
        ("rule", "sudo"),
        ("urgency", "high"),
        ("severity", "critical"),
        ("level", "1"),
        ("repeat", "0"),
    ] {
        assert_eq!(labels[name], value, "{name}");
    }
    let description = notes["description"].as_str().unwrap();
    for part in [
        "Nothing was suppressed.",
        "COMMAND=/bin/bash",
        "root@web-3",
        "denied",
        "acknowledge",
    ] {
        assert!(description.contains(part), "{part}: {description}");
    }
    for text in [description, notes["summary"].as_str().unwrap()] {
        assert!(
            !text.contains(['<', '\u{202e}']) && !text.contains("@here"),
            "{text}"
        );
    }

    // A repeat replaces, a refresh renews, a late refresh of the old one changes nothing.
    first.page(&page(1, 1)).await.unwrap();
    first.page(&page(1, 1)).await.unwrap();
    first.page(&page(1, 0)).await.unwrap();
    server
        .until("the repeat replaces", |alerts| repeats(alerts) == ["1.1"])
        .await;
    first.page(&page(2, 0)).await.unwrap();
    server
        .until("the level replaces", |alerts| repeats(alerts) == ["2.0"])
        .await;
    first.acknowledge(&page(2, 0), &sam()).await.unwrap();
    server
        .until("acknowledged", |alerts| alerts.is_empty())
        .await;

    // The acknowledgement expires, the bot restarts in between and then an operator resolves.
    first.page(&page(2, 1)).await.unwrap();
    server
        .until("pages again", |alerts| repeats(alerts) == ["2.1"])
        .await;
    let second = pager();
    second.page(&page(2, 2)).await.unwrap();
    server
        .until("what another process left standing is replaced", |alerts| {
            repeats(alerts) == ["2.2"]
        })
        .await;
    pager()
        .resolve(&page(2, 3), &sam(), "false alarm")
        .await
        .unwrap();
    server.until("resolved", |alerts| alerts.is_empty()).await;
}

#[tokio::test]
async fn an_alert_is_the_same_by_both_roads_and_our_own_page_by_neither() {
    let receiver = FakeHttp::start();
    let server = Alertmanager::start(&receiver.url()).await;
    let pager = AlertmanagerPager::new(
        "am",
        server.url(),
        DEFAULT_REFRESH,
        http_client(),
        real_clock(),
    );
    pager.page(&page(1, 0)).await.unwrap();
    let now = real_clock()();
    let labels =
        json!({"alertname": "SudoShell", "user": "alice", "severity": "page", "host": "web-3"});
    let firing = json!([{
        "labels": labels, "annotations": {"summary": "sudo -i on web-3"}, "startsAt": now.to_rfc3339(),
        "generatorURL": "http://prometheus.example/graph",
    }]);
    server.fire(&firing).await;

    let source = SourceId::new("am");
    let mut api = AlertmanagerApi::new(
        source.clone(),
        server.url(),
        Duration::from_secs(15),
        Options::default(),
        http_client(),
    );
    server.until("both fire", |alerts| alerts.len() == 2).await;
    let polled = api.poll(None).await.unwrap();
    assert_eq!(
        (polled.alerts.len(), polled.quarantined.len(), polled.more),
        (1, 0, false)
    );

    let read = |body: &[u8]| parse_webhook(body, &source, &Options::default());
    let pushed: Vec<Parsed> = receiver
        .wait_for(2, PATIENCE)
        .iter()
        .map(|r| read(&r.body))
        .collect();
    assert_eq!(
        pushed.iter().map(|parsed| parsed.own_pages).sum::<usize>(),
        1
    );
    assert!(pushed.iter().all(|parsed| parsed.quarantined.is_empty()));
    let taken: Vec<_> = pushed
        .into_iter()
        .flat_map(|parsed| parsed.alerts)
        .collect();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].alert.id, polled.alerts[0].alert.id);
    assert_eq!(taken[0].canonical, polled.alerts[0].canonical);
    assert_eq!(taken[0].alert.title.raw(), "sudo -i on web-3");

    // It ends: the same identity, marked as over.
    let mut over = firing.clone();
    over[0]["endsAt"] = json!(real_clock()().to_rfc3339());
    server.fire(&over).await;
    let last = receiver.wait_for(3, PATIENCE).pop().unwrap();
    let ended = read(&last.body).alerts.remove(0);
    assert!(ended.alert.resolved);
    assert_eq!(ended.alert.id, taken[0].alert.id);
}

#[tokio::test]
async fn an_end_that_alertmanager_did_not_confirm_is_sent_again() {
    let server = FakeHttp::start();
    let (clock, now) = fixed_clock();
    let pager = AlertmanagerPager::new("am", &server.url(), DEFAULT_REFRESH, http_client(), clock);
    pager.page(&page(1, 0)).await.unwrap();
    server.set(Mode::Status(500));
    now.fetch_add(60_000, std::sync::atomic::Ordering::SeqCst);
    assert!(matches!(
        pager.page(&page(1, 1)).await,
        Err(PagerError::Unavailable(_))
    ));
    server.set(Mode::Ok);
    for (expected, count) in [
        (BTreeMap::from([("0", true), ("1", false)]), 2),
        (BTreeMap::from([("1", false)]), 1),
    ] {
        pager.page(&page(1, 1)).await.unwrap();
        let sent = server.requests().pop().unwrap().json();
        let alerts = sent.as_array().unwrap();
        assert_eq!(alerts.len(), count);
        for alert in alerts {
            let repeat = alert["labels"]["repeat"].as_str().unwrap();
            let is_over = alert["endsAt"] == "2026-11-24T02:14:00.000Z";
            assert_eq!(expected.get(repeat), Some(&is_over), "{alert}");
            if !is_over {
                assert_eq!(
                    alert["endsAt"], "2026-11-24T02:17:00.000Z",
                    "twice the refresh ahead"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_long_list_is_walked_in_batches_and_then_from_the_start() {
    let server = FakeHttp::start();
    let list: Vec<Value> = (0..1_500)
        .map(|n| {
            json!({
                "labels": {"alertname": "A", "user": "alice"}, "annotations": {}, "status": {"state": "active"},
                "startsAt": "2026-11-24T02:14:00Z", "fingerprint": format!("{n:016x}"),
            })
        })
        .rev()
        .collect();
    server.set(Mode::Json(json!(list).to_string()));
    let id = SourceId::new("am");
    let mut api = AlertmanagerApi::new(
        id,
        &server.url(),
        PATIENCE,
        Options::default(),
        http_client(),
    );
    let first = api.poll(None).await.unwrap();
    assert_eq!((first.alerts.len(), first.more), (1_000, true));
    let second = api.poll(Some(&first.cursor)).await.unwrap();
    assert_eq!((second.alerts.len(), second.more), (500, false));
    let again = api.poll(Some(&second.cursor)).await.unwrap();
    assert_eq!(again.alerts[0].alert.id, first.alerts[0].alert.id);
    // One that names no employee is quarantined when it comes, not with every poll.
    let stray = r#"[{"labels": {"alertname": "A"}, "startsAt": "2026-11-24T02:14:00Z", "fingerprint": "f"}]"#;
    for (body, quarantined) in [(stray, 1), (stray, 0), ("[]", 0), (stray, 1)] {
        server.set(Mode::Json(body.to_owned()));
        assert_eq!(api.poll(None).await.unwrap().quarantined.len(), quarantined);
    }
    for mode in [Mode::Status(500), Mode::Json("{".to_owned()), Mode::Cut] {
        server.set(mode);
        assert!(api.poll(None).await.is_err());
    }
    assert!(server.requests()[0].path.contains("silenced=false"));
}
