//! What happens to an aggregate whose state cannot be trusted any more (a panicking step, an unreadable
//! checkpoint): the old bytes are kept aside and [`Machine::rebuilt`] makes a fresh state that pages.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::core::case::CaseView;
use crate::core::ids::AggregateKey;
use crate::core::machine::{Collection, Context, Guard, Machine, Row, RowChange, Step};
use crate::core::world::World;
use crate::store::{RowQuery, Store};

use super::durable::Env;

/// Looks up the open cases, keeps the old bytes aside and decides the fresh start.
pub async fn rebuild<M: Machine>(
    env: &Env<M>,
    key: AggregateKey,
    version: u64,
    old: String,
    guard: Option<Guard>,
    poison: Option<&M::Event>,
    world: &World,
) -> Result<Step<M>, String> {
    let open = open_cases(env.store.as_ref(), &key).await?;
    let now = (env.now)();
    let cx = Context {
        now,
        entropy: rand::random(),
        world,
    };
    let mut step = catch_unwind(AssertUnwindSafe(|| {
        M::rebuilt(&key, guard, open, poison, &cx)
    }))
    .map_err(|_| {
        tracing::error!(%key, "the fresh start panicked too; nothing of it was taken");
        "a fault of the bot: the fresh start failed".to_owned()
    })?;
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
        let mut cursor = None;
        loop {
            let query = RowQuery {
                collection: Collection::Cases,
                fields: vec![(who, key.subject().to_owned()), ("state", state.to_owned())],
                since: None,
                until: None,
                limit: 500,
                cursor,
            };
            let page = store
                .rows(&query)
                .await
                .map_err(|error| error.to_string())?;
            for row in page.rows {
                match serde_json::from_str(&row.body) {
                    Ok(case) => open.push(case),
                    Err(error) => tracing::error!(case = %row.id, %error, "unreadable case row"),
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(open)
}
