//! The accepting commit: alerts of a group of requests, their dedup marks, a Poller's cursor and what
//! was quarantined, in one write. Only what it returns has been accepted (promise P1).

use std::time::Duration;

use metrics::counter;
use sha2::{Digest, Sha256};

use crate::core::alert::Alert;
use crate::core::ids::{AggregateKey, CaseId, SourceId};
use crate::core::machine::{Collection, Row, RowChange};
use crate::core::record::{Record, Who};
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;
use crate::core::world::World;
use crate::plugins::sources::{Incoming, Quarantined};
use crate::store::{Accept, Mark, QueuedAlert, Seen, Write};

use super::{IntakeEnv, Request, verdict};
use crate::actors::checkpointer::Verdict;
use crate::actors::durable::persist;
use crate::actors::messages::{AcceptError, Accepted};
use crate::actors::operations;

/// A quarantined payload is kept this long, and its stored form is cut at this size.
const QUARANTINE_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
const MAX_PAYLOAD: usize = 64 * 1024;

/// What a successful acceptance leaves to be delivered.
pub(super) struct Done {
    pub next: u64,
    pub alerts: Vec<Queued>,
}

/// One alert in the store's queue.
pub(super) struct Queued {
    pub number: u64,
    pub receiver: String,
    pub alert: Alert,
}

/// Accepts a group of requests and answers each; `None` when the queue must be read again first.
pub(super) async fn accept(
    env: &IntakeEnv,
    world: &World,
    source: &SourceId,
    key: &AggregateKey,
    next: u64,
    group: Vec<Request>,
) -> Option<Done> {
    let now = (env.now)();
    let mut group = group;
    let sizes: Vec<usize> = group
        .iter()
        .map(|request| request.message.alerts.len())
        .collect();
    let mut alerts: Vec<Incoming> = group
        .iter_mut()
        .flat_map(|request| std::mem::take(&mut request.message.alerts))
        .collect();
    for incoming in &mut alerts {
        incoming.alert.accepted_at = now;
    }
    let receivers: Vec<String> = alerts
        .iter()
        .map(|incoming| receiver(world, &incoming.alert))
        .collect();
    let mut seen: Vec<Option<Seen>> = vec![None; alerts.len()];
    let quarantine: Vec<(String, String)> = group
        .iter_mut()
        .flat_map(|r| std::mem::take(&mut r.message.quarantined))
        .collect();
    let cursor = group
        .iter()
        .rev()
        .find_map(|request| request.message.cursor.clone());

    if let Some((_, error)) = quarantine.first()
        && let Err(why) = page_quarantine(env, world, source, now, error).await
    {
        refuse(group, &why);
        return Some(Done {
            next,
            alerts: Vec::new(),
        });
    }

    // The first answer names all that stands already; marks that expire meanwhile may need another.
    for _ in 0..4 {
        let (write, records) = build(Build {
            world,
            source,
            key,
            next,
            now,
            alerts: &alerts,
            receivers: &receivers,
            seen: &seen,
            quarantine: &quarantine,
            cursor: cursor.as_deref(),
        });
        match persist(&env.checkpointers, key.partition, write, records).await {
            Verdict::Committed => {
                count(source, &seen);
                counter!("securitybot_alerts_quarantined_total", "source" => source.to_string())
                    .increment(quarantine.len() as u64);
                answer_all(group, &sizes, &alerts, &seen);
                let alerts = queued(next, alerts, receivers, &seen);
                return Some(Done {
                    next: next + alerts.len() as u64,
                    alerts,
                });
            }
            Verdict::Duplicate(duplicates) => {
                let sent: Vec<usize> = (0..alerts.len())
                    .filter(|i| has_mark(&alerts[*i], seen[*i]))
                    .collect();
                for (index, verdict) in duplicates {
                    if let Some(alert) = sent.get(index) {
                        seen[*alert] = Some(verdict);
                    }
                }
            }
            Verdict::Failed(why) => {
                refuse(group, &why);
                // Certain: nothing was written, the queue is as it was.
                return Some(Done {
                    next,
                    alerts: Vec::new(),
                });
            }
            Verdict::Unreplicated(why) | Verdict::Unknown(why) => {
                refuse(group, &why);
                return None;
            }
            Verdict::Conflict { found } => {
                refuse(group, &format!("the queue went on to {found} without us"));
                return None;
            }
        }
    }
    refuse(group, "the same alerts keep arriving elsewhere");
    None
}

/// Altered bodies carry no mark: the standing one is not theirs to renew. Nor is a mark of ten minutes
/// renewed: it only tells a retry from a new event.
fn has_mark(incoming: &Incoming, seen: Option<Seen>) -> bool {
    match seen {
        None => true,
        Some(Seen::Same) => incoming.mark_for.is_none(),
        Some(Seen::Altered) => false,
    }
}

struct Build<'a> {
    world: &'a World,
    source: &'a SourceId,
    key: &'a AggregateKey,
    next: u64,
    now: Timestamp,
    alerts: &'a [Incoming],
    receivers: &'a [String],
    seen: &'a [Option<Seen>],
    quarantine: &'a [(String, String)],
    cursor: Option<&'a str>,
}

fn build(b: Build<'_>) -> (Write, Vec<Record>) {
    let mut number = b.next;
    let mut alerts = Vec::with_capacity(b.alerts.len());
    let mut marks = Vec::with_capacity(b.alerts.len());
    let mut records = Vec::new();
    for (index, incoming) in b.alerts.iter().enumerate() {
        match b.seen[index] {
            None => {
                let alert = &incoming.alert;
                alerts.push(QueuedAlert {
                    number,
                    receiver: b.receivers[index].clone(),
                    body: serde_json::to_string(alert).expect("an alert is plain data"),
                });
                number += 1;
                marks.push(mark(incoming, b.now, b.world.policy.dedup));
                if let Some(noted) = &incoming.noted {
                    records.push(about_source(&b, "alert_noted", noted.clone()));
                }
            }
            Some(Seen::Same) if has_mark(incoming, b.seen[index]) => {
                marks.push(Mark {
                    renew: true,
                    ..mark(incoming, b.now, b.world.policy.dedup)
                });
            }
            Some(Seen::Same) => {}
            Some(Seen::Altered) => {
                let id = &incoming.alert.id;
                let detail = format!("alert {id} came again with another body and was refused");
                records.push(about_source(&b, "alert_altered", detail));
            }
        }
    }
    let rows: Vec<RowChange> = b
        .quarantine
        .iter()
        .enumerate()
        .map(|(nth, (payload, error))| quarantined(&b, nth, payload, error))
        .collect();
    let accept = Accept {
        source: b.key.clone(),
        first: b.next,
        alerts,
        marks,
        cursor: b.cursor.map(str::to_owned),
        rows,
    };
    (Write::Accept(accept), records)
}

/// What the queue holds now, under the numbers that [`build`] gave.
fn queued(
    next: u64,
    alerts: Vec<Incoming>,
    receivers: Vec<String>,
    seen: &[Option<Seen>],
) -> Vec<Queued> {
    let all = alerts.into_iter().zip(receivers).zip(seen);
    let fresh = all.filter(|(_, seen)| seen.is_none());
    fresh
        .zip(next..)
        .map(|(((incoming, receiver), _), number)| Queued {
            number,
            receiver,
            alert: incoming.alert,
        })
        .collect()
}

fn about_source(b: &Build<'_>, event: &str, detail: String) -> Record {
    Record::new(b.now, event, Who::Source(b.source.clone())).detail(detail)
}

fn quarantined(b: &Build<'_>, nth: usize, payload: &str, error: &str) -> RowChange {
    let entropy = u128::from_be_bytes(
        Sha256::digest(payload.as_bytes())[..16]
            .try_into()
            .expect("16 of 32 bytes"),
    );
    let id = CaseId::new(b.now, entropy, nth as u64).to_string();
    let payload = Untrusted::new(payload).bounded(MAX_PAYLOAD);
    let body = Quarantined {
        id: id.clone(),
        source: b.source.clone(),
        at: b.now,
        error: error.to_owned(),
        payload: payload.raw().to_owned(),
    };
    RowChange::Put(Row {
        collection: Collection::Quarantine,
        id,
        at: b.now,
        fields: vec![("source", b.source.to_string())],
        body: serde_json::to_string(&body).expect("plain data"),
        expires: Some(b.now.after(QUARANTINE_KEPT)),
    })
}

/// Who takes the alert, decided now: later directory changes do not re-route it.
fn receiver(world: &World, alert: &Alert) -> String {
    let principal = alert.principal.raw();
    match world.directory.resolve(principal) {
        Some(employee) => AggregateKey::employee(&employee.id, world.partitions).name,
        None => AggregateKey::unknown(&alert.principal, world.partitions).name,
    }
}

fn mark(incoming: &Incoming, now: Timestamp, dedup: Duration) -> Mark {
    let id = &incoming.alert.id;
    Mark {
        identity: Sha256::digest(incoming.mark_id().as_bytes()).into(),
        body: Sha256::digest(incoming.canonical.as_bytes()).into(),
        expires: now.after(incoming.mark_for.unwrap_or(dedup)),
        renew: false,
        alert: id.to_string(),
    }
}

fn count(source: &SourceId, seen: &[Option<Seen>]) {
    for (result, wanted) in [
        ("accepted", None),
        ("duplicate", Some(Seen::Same)),
        ("altered", Some(Seen::Altered)),
    ] {
        let n = seen.iter().filter(|seen| **seen == wanted).count();
        if n > 0 {
            counter!("securitybot_alerts_total", "source" => source.to_string(), "result" => result)
                .increment(n as u64);
        }
    }
}

fn answer_all(group: Vec<Request>, sizes: &[usize], alerts: &[Incoming], seen: &[Option<Seen>]) {
    let mut from = 0;
    for (request, size) in group.into_iter().zip(sizes) {
        let alerts = (from..from + size)
            .map(|index| verdict(&alerts[index].alert.id, seen[index]))
            .collect();
        from += size;
        let _ = request.reply.send(Ok(Accepted { alerts }));
    }
}

fn refuse(group: Vec<Request>, why: &str) {
    for request in group {
        let _ = request
            .reply
            .send(Err(AcceptError::Unavailable(why.to_owned())));
    }
}

/// One operations page an hour and source. It is durable before the payloads are: a crash in between
/// leaves a page about something that will be sent again, never a payload that nobody hears of.
async fn page_quarantine(
    env: &IntakeEnv,
    world: &World,
    source: &SourceId,
    now: Timestamp,
    error: &str,
) -> Result<(), String> {
    let error = Untrusted::new(error).line(200);
    let summary = format!("Source {source} sent what cannot be an alert: {error}");
    let about = format!("quarantine/{source}");
    let mut raise = operations::page(world, &about, operations::this_hour(now), summary);
    raise.notes.push(
        "See `securitybot quarantine list`; after mending the source: `securitybot quarantine \
         replay ID`. At most one such page an hour and source."
            .to_owned(),
    );
    env.page(raise, world.partitions).await
}
