//! What happens to an aggregate whose state cannot be trusted any more (a panicking step, an unreadable
//! checkpoint): the old bytes are kept aside and [`Machine::rebuilt`] makes a fresh state that pages.
//! What the store's rows and queues still say keeps an alert from being taken twice and a snooze that
//! nothing upholds any more from being listed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use litemap::LiteMap;

use crate::core::alert::Alert;
use crate::core::case::CaseView;
use crate::core::ids::AggregateKey;
use crate::core::machine::{Collection, Context, Guard, Machine, Remains, Row, RowChange, Step};
use crate::core::world::World;
use crate::store::{QueuedChunk, RowQuery, Store};

use super::durable::Env;

/// Queued alerts read at once.
const QUEUE_PAGE: usize = 500;

/// Looks up what remains, keeps the old bytes aside and decides the fresh start.
pub async fn rebuild<M: Machine>(
    env: &Env<M>,
    key: AggregateKey,
    version: u64,
    old: String,
    guard: Option<Guard>,
    poison: Option<&M::Event>,
    world: &World,
) -> Result<Step<M>, String> {
    let store = env.store.as_ref();
    let mut remains = Remains {
        open: open_cases(store, &key).await?,
        ..Remains::default()
    };
    if guard.is_none() {
        remains.taken = taken(store, &key).await?;
        remains.factors = factors(store, &key).await?;
    }
    let snoozes = snoozes(store, &key).await?;
    let now = (env.now)();
    let cx = Context {
        now,
        entropy: rand::random(),
        world,
    };
    let mut step = catch_unwind(AssertUnwindSafe(|| {
        M::rebuilt(&key, guard, remains, poison, &cx)
    }))
    .map_err(|_| {
        tracing::error!(%key, "the fresh start panicked too; nothing of it was taken");
        "a fault of the bot: the fresh start failed".to_owned()
    })?;
    step.rows.extend(snoozes);
    step.rows.push(RowChange::Put(Row {
        collection: Collection::Documents,
        id: format!("aside/{key}/{version}"),
        at: now,
        fields: Vec::new(),
        body: old,
        expires: None,
    }));
    Ok(step)
}

/// The case rows of this conversation that are not closed.
async fn open_cases(store: &dyn Store, key: &AggregateKey) -> Result<Vec<CaseView>, String> {
    let who = match key.kind() {
        "employee" => "employee",
        "unknown" => "principal",
        _ => return Ok(Vec::new()),
    };
    let mut open = Vec::new();
    for state in ["queued", "asked", "verifying"] {
        let fields = vec![(who, key.subject().to_owned()), ("state", state.to_owned())];
        for row in rows(store, Collection::Cases, fields).await? {
            match serde_json::from_str(&row.body) {
                Ok(case) => open.push(case),
                Err(error) => tracing::error!(case = %row.id, %error, "unreadable case row"),
            }
        }
    }
    Ok(open)
}

/// By source, the last queued alert of this receiver that stands in a case. Alerts are taken in order,
/// so the first one without a case ends the search.
async fn taken(store: &dyn Store, key: &AggregateKey) -> Result<LiteMap<String, u64>, String> {
    let mut taken = LiteMap::new();
    if !matches!(key.kind(), "employee" | "unknown") {
        return Ok(taken);
    }
    for partition in 0..store.partitions() {
        for source in store.sources(partition).await.map_err(text)? {
            if let Some(number) = taken_from(store, key, &source).await? {
                taken.insert(source.subject().to_owned(), number);
            }
        }
    }
    Ok(taken)
}

async fn taken_from(
    store: &dyn Store,
    key: &AggregateKey,
    source: &AggregateKey,
) -> Result<Option<u64>, String> {
    let (mut last, mut after) = (None, 0);
    loop {
        let chunks = store
            .queued(source, after, QUEUE_PAGE)
            .await
            .map_err(text)?;
        let Some(end) = chunks.last().map(QueuedChunk::last) else {
            return Ok(last);
        };
        let alerts = chunks.iter().filter_map(|chunk| chunk.alerts.as_ref().ok());
        for alert in alerts.flatten().filter(|alert| alert.receiver == key.name) {
            let Ok(read) = serde_json::from_str::<Alert>(&alert.body) else {
                continue;
            };
            if read.resolved {
                continue;
            }
            if !has_case(store, &read).await? {
                return Ok(last);
            }
            last = Some(alert.number);
        }
        after = end;
    }
}

async fn has_case(store: &dyn Store, alert: &Alert) -> Result<bool, String> {
    let fields = vec![("alert", alert.id.to_string())];
    let rows = rows(store, Collection::Cases, fields).await?;
    Ok(rows.iter().any(|row| {
        serde_json::from_str::<CaseView>(&row.body).is_ok_and(|case| {
            let mut alerts = case.alerts.iter();
            alerts.any(|known| known.source == alert.source && known.id == alert.id)
        })
    }))
}

/// The kind of factor whose sealed seed is kept for this employee.
async fn factors(store: &dyn Store, key: &AggregateKey) -> Result<Vec<String>, String> {
    if key.kind() != "employee" {
        return Ok(Vec::new());
    }
    let row = store
        .row_in(key.partition, Collection::Factors, key.subject())
        .await;
    let body = row.map_err(text)?.map(|row| row.body);
    let factor = body.and_then(|body| {
        let body: serde_json::Value = serde_json::from_str(&body).ok()?;
        Some(body.get("factor")?.as_str()?.to_owned())
    });
    Ok(factor.into_iter().collect())
}

/// Takes the rows of snoozes away: the state that upheld them is gone.
async fn snoozes(store: &dyn Store, key: &AggregateKey) -> Result<Vec<RowChange>, String> {
    if key.kind() != "employee" {
        return Ok(Vec::new());
    }
    let fields = vec![("employee", key.subject().to_owned())];
    let rows = rows(store, Collection::Snoozes, fields).await?;
    let gone = rows.into_iter().map(|row| RowChange::Delete {
        collection: Collection::Snoozes,
        id: row.id,
    });
    Ok(gone.collect())
}

async fn rows(
    store: &dyn Store,
    collection: Collection,
    fields: Vec<(&'static str, String)>,
) -> Result<Vec<Row>, String> {
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let query = RowQuery {
            collection,
            fields: fields.clone(),
            since: None,
            until: None,
            limit: 500,
            cursor,
        };
        let page = store.rows(&query).await.map_err(text)?;
        found.extend(page.rows);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

fn text(error: crate::store::StoreError) -> String {
    error.to_string()
}
