//! What a keeper loads, it loads in groups: few calls for many people, each with their own events in order, and
//! what is wrong with one is felt by that one.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use securitybot::actors::messages::DeliverError;

use super::*;

fn key(name: &str) -> AggregateKey {
    AggregateKey::employee(&EmployeeId::from(name), PARTITIONS)
}

/// The local source's alert of that number for somebody.
fn arrived(name: &str, number: u64) -> Deliver {
    Deliver {
        to: key(name),
        event: Event::AlertsArrived {
            source: SourceId::from("local"),
            alerts: [(number, alert(&format!("{name}-{number}")))].into(),
        },
    }
}

/// Somebody else whose conversation lies in the same partition as alice's.
fn beside_alice() -> String {
    let names = (0..).map(|n: u32| format!("bob-{n}"));
    let home = key("alice").partition;
    let mut beside = names.filter(|name| key(name).partition == home);
    beside.next().unwrap()
}

type Answers = Vec<Result<conversation::Reply, DeliverError>>;

/// All at once, in this order.
async fn send(shell: &Shell<Conversation>, events: impl IntoIterator<Item = Deliver>) -> Answers {
    let sent: Vec<_> = events
        .into_iter()
        .map(|one| shell.keeper.send(one))
        .collect();
    let answers = join_all(sent).await.into_iter();
    answers.map(|answer| answer.unwrap()).collect()
}

/// The alerts that stand in cases.
async fn in_cases(store: &MemoryStore) -> BTreeSet<String> {
    let cases = rows(store, Collection::Cases).await.into_iter();
    let cases = cases.map(|row| serde_json::from_str::<CaseView>(&row.body).unwrap());
    cases
        .flat_map(|case| case.alerts.into_iter().map(|alert| alert.id.to_string()))
        .collect()
}

#[actix_web::test]
async fn the_first_events_of_many_make_few_loads_and_come_in_order() {
    let names: Vec<String> = (0..150).map(|n| format!("person-{n}")).collect();
    let store = Arc::new(MemoryStore::new(PARTITIONS));
    let world = world_of(names.iter().map(String::as_str));
    let shell = shell::<Conversation>(store.clone(), world, chat_is_down());
    // Its mailbox is made larger when it starts.
    tokio::time::sleep(Duration::from_millis(10)).await;

    // An alert with a lower number than one that was taken counts as taken: out of order it would be missing.
    let each = (1..=3).flat_map(|number| names.iter().map(move |name| (name, number)));
    let events = each.clone().map(|(name, number)| arrived(name, number));
    let answers = send(&shell, events).await;
    assert_eq!(answers, vec![Ok(conversation::Reply::Taken); 450]);
    let loads = store.loads();
    assert!(loads <= 2 * u64::from(PARTITIONS), "{loads} calls");
    let all = each.map(|(name, number)| format!("{name}-{number}"));
    assert_eq!(in_cases(&store).await, all.collect());
}

#[actix_web::test]
async fn who_waits_for_a_load_that_fails_is_told_to_try_again() {
    let bob = beside_alice();
    let store = Arc::new(MemoryStore::new(PARTITIONS));
    let shell = shell::<Conversation>(store.clone(), world_of(["alice", &bob]), chat_is_down());
    let events = || [arrived("alice", 1), arrived(&bob, 2), arrived("alice", 3)];
    store.inject(Fault::FailLoad);
    for answer in send(&shell, events()).await {
        assert!(
            matches!(answer, Err(DeliverError::TryAgain(_))),
            "{answer:?}"
        );
    }
    assert_eq!(store.loads(), 1);
    let answers = send(&shell, events()).await;
    assert_eq!(answers, vec![Ok(conversation::Reply::Taken); 3]);
    assert_eq!(store.loads(), 2);
}

#[actix_web::test]
async fn an_unreadable_one_is_begun_anew_and_spoils_no_other_of_its_group() {
    let bob = beside_alice();
    let store = Arc::new(MemoryStore::new(PARTITIONS));
    let world = world_of(["alice", &bob]);
    broken_conversation(&store, &world).await;
    let shell = shell::<Conversation>(store.clone(), world, chat_is_down());
    let events = [arrived("alice", 8), arrived(&bob, 1), arrived("alice", 9)];
    let answers = send(&shell, events).await;
    assert_eq!(answers, vec![Ok(conversation::Reply::Taken); 3]);
    assert_eq!(store.loads(), 1);
    let taken = in_cases(&store).await;
    let expected = ["a1", "alice-8", "alice-9", &format!("{bob}-1")].map(str::to_owned);
    assert_eq!(taken, expected.into());
}
