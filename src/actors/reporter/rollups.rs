//! Rollups are made from the journal alone, from where the last one ended: made again after a crash, one
//! is the same to the letter. It is kept with the sinks that still wait for it until all have it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::machine::{Collection, Row, RowChange};
use crate::core::record::Record;
use crate::core::rollup::{self, Period, Rollup};
use crate::core::time::Timestamp;
use crate::core::working_hours;
use crate::plugins::sinks::{Report, Sink};
use crate::store::{RowQuery, Store};

/// Records committed at the end of a period may carry its last moment: wait for them.
const GRACE: Duration = Duration::from_secs(2);
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
const BATCH: usize = 500;
/// Rollups of missed periods made per run.
const MAX_CATCH_UP: usize = 48;

/// The value of the field `rollup` that every kept rollup has.
pub const ANY: &str = "any";

#[derive(Clone, Debug, Default)]
pub struct RollupPlan {
    pub hourly: bool,
    pub daily_at: Option<jiff::civil::Time>,
    /// IANA zone of `daily_at`.
    pub time_zone: String,
    /// Names of the sinks that get them.
    pub sinks: Vec<String>,
}

/// Where the last rollup of a period ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Progress {
    to: Timestamp,
    /// By partition: the last record that was counted.
    seqs: BTreeMap<u16, u64>,
}

/// A finished rollup and who still waits for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    rollup: Value,
    waiting: Vec<String>,
}

impl Kept {
    /// What lists find it by: whether a sink waits for it, its period, and that it is one at all.
    fn fields(&self) -> Vec<(&'static str, String)> {
        let state = match self.waiting.is_empty() {
            true => "done",
            false => "waiting",
        };
        let period = self.rollup["period"].as_str().unwrap_or_default();
        vec![
            ("rollup", state.to_owned()),
            ("rollup", ANY.to_owned()),
            ("period", period.to_owned()),
        ]
    }
}

/// Makes what is due and delivers what waits.
pub async fn run(
    store: &dyn Store,
    plan: &RollupPlan,
    sinks: &[Arc<dyn Sink>],
    now: Timestamp,
) -> Result<(), String> {
    if plan.hourly {
        make_due(store, plan, Period::Hour, now).await?;
    }
    if plan.daily_at.is_some() {
        make_due(store, plan, Period::Day, now).await?;
    }
    deliver_waiting(store, sinks).await
}

async fn make_due(
    store: &dyn Store,
    plan: &RollupPlan,
    period: Period,
    now: Timestamp,
) -> Result<(), String> {
    let id = format!("rollup-progress/{}", period.name());
    let stored = document(store, &id).await?;
    let mut progress = match stored.and_then(|body| serde_json::from_str::<Progress>(&body).ok()) {
        Some(progress) => progress,
        None => {
            // The first period begins with the store.
            let (_, to) = last(plan, period, now);
            let progress = Progress {
                to,
                seqs: BTreeMap::new(),
            };
            return put(store, &id, &progress, None, Vec::new(), now).await;
        }
    };
    for _ in 0..MAX_CATCH_UP {
        // A changed `daily_at` makes one shorter or longer day, never a hole.
        let (from, to) = (progress.to, end(plan, period, progress.to));
        if now < to.after(GRACE) {
            return Ok(());
        }
        let (value, next) = make(store, period, from, to, &progress).await?;
        let text = rollup::to_text(&value).replace('\n', "; ");
        tracing::info!(rollup = %text, "rollup");
        let name = value["id"].as_str().unwrap_or_default().to_owned();
        let kept = Kept {
            rollup: value,
            waiting: plan.sinks.clone(),
        };
        // In lists it stands where its period ends, however late it was made.
        put(
            store,
            &name,
            &kept,
            Some(now.after(KEPT)),
            kept.fields(),
            to,
        )
        .await?;
        put(store, &id, &next, None, Vec::new(), now).await?;
        progress = next;
    }
    Ok(())
}

/// The end of the period that begins at `from`: the last complete one as seen a little more than a
/// period later (a day has 23 to 25 hours).
fn end(plan: &RollupPlan, period: Period, from: Timestamp) -> Timestamp {
    const HOUR: Duration = Duration::from_secs(3600);
    let later = match period {
        Period::Hour => HOUR,
        Period::Day => 26 * HOUR,
    };
    last(plan, period, from.after(later)).1
}

/// The last complete period before `now`.
fn last(plan: &RollupPlan, period: Period, now: Timestamp) -> (Timestamp, Timestamp) {
    match period {
        Period::Hour => rollup::hour_of(now),
        Period::Day => {
            let zone = working_hours::zone(&plan.time_zone);
            rollup::day_of(now, plan.daily_at.unwrap_or_default(), &zone)
        }
    }
}

async fn make(
    store: &dyn Store,
    period: Period,
    from: Timestamp,
    to: Timestamp,
    progress: &Progress,
) -> Result<(Value, Progress), String> {
    let mut rollup = Rollup::new(period, from, to);
    let mut next = Progress {
        to,
        seqs: progress.seqs.clone(),
    };
    let mut heads = BTreeMap::new();
    for partition in 0..store.partitions() {
        let mut after = progress.seqs.get(&partition).copied().unwrap_or(0);
        'partition: loop {
            let rows = store
                .journal(partition, after, BATCH)
                .await
                .map_err(|error| error.to_string())?;
            let full = rows.len() == BATCH;
            for row in rows {
                if row.at >= to {
                    break 'partition;
                }
                after = row.seq;
                heads.insert(partition, row.hash.clone());
                match serde_json::from_str::<Record>(&row.body) {
                    Ok(record) => rollup.add(&record),
                    Err(error) => tracing::error!(partition, seq = row.seq, %error,
                        "an unreadable journal record is not in the rollup"),
                }
            }
            if !full {
                break;
            }
        }
        next.seqs.insert(partition, after);
    }
    Ok((rollup.finish(heads), next))
}

/// Oldest first to each sink. One that fails waits for the next run with all that it still has to get; the
/// others do not wait with it.
async fn deliver_waiting(store: &dyn Store, sinks: &[Arc<dyn Sink>]) -> Result<(), String> {
    let mut failed: BTreeMap<String, String> = BTreeMap::new();
    for row in waiting(store).await?.into_iter().rev() {
        let Ok(mut kept) = serde_json::from_str::<Kept>(&row.body) else {
            continue;
        };
        let report = [Report::Rollup(kept.rollup.clone())];
        let before = kept.waiting.len();
        let mut still = Vec::new();
        for name in std::mem::take(&mut kept.waiting) {
            // A sink that was taken out of the config waits no more.
            let Some(sink) = sinks.iter().find(|sink| sink.name() == name) else {
                continue;
            };
            if !failed.contains_key(&name) {
                match sink.deliver(&report).await {
                    Ok(()) => continue,
                    Err(error) => failed.insert(name.clone(), error.to_string()),
                };
            }
            still.push(name);
        }
        kept.waiting = still;
        if kept.waiting.len() < before {
            put(store, &row.id, &kept, row.expires, kept.fields(), row.at).await?;
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let problems = failed.iter().map(|(sink, why)| format!("{sink}: {why}"));
    Err(problems.collect::<Vec<_>>().join("; "))
}

/// The rollups that some sink waits for, newest first.
async fn waiting(store: &dyn Store) -> Result<Vec<Row>, String> {
    let mut query = RowQuery {
        collection: Collection::Documents,
        fields: vec![("rollup", "waiting".to_owned())],
        since: None,
        until: None,
        limit: 100,
        cursor: None,
    };
    let mut rows = Vec::new();
    loop {
        let page = store.rows(&query).await;
        let page = page.map_err(|error| error.to_string())?;
        rows.extend(page.rows);
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(rows);
        }
    }
}

async fn document(store: &dyn Store, id: &str) -> Result<Option<String>, String> {
    let row = store
        .row(Collection::Documents, id)
        .await
        .map_err(|error| error.to_string())?;
    Ok(row.map(|row| row.body))
}

async fn put<T: Serialize>(
    store: &dyn Store,
    id: &str,
    body: &T,
    expires: Option<Timestamp>,
    fields: Vec<(&'static str, String)>,
    at: Timestamp,
) -> Result<(), String> {
    let row = Row {
        collection: Collection::Documents,
        id: id.to_owned(),
        at,
        fields,
        body: serde_json::to_string(body).expect("plain data"),
        expires,
    };
    let partition = crate::core::ids::partition_of(id, store.partitions());
    store
        .put_rows(partition, &[RowChange::Put(row)], false)
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}
