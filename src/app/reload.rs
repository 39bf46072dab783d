//! SIGHUP: a validated new config replaces the old one as a whole, or nothing changes and the log says why.
//!
//! What is opened at start (addresses, the store, the chat, sources and sinks) needs a restart; what
//! decides (employees, operators, rules, severities, ladders, pagers) does not.

use std::fmt::Debug;
use std::sync::Arc;

use crate::actors::checkpoint;
use crate::actors::escalator::Pagers;
use crate::config::Config;
use crate::core::escalation::Escalation;
use crate::core::ids::{AggregateKey, CaseId};
use crate::core::machine::Collection;
use crate::core::world::World;
use crate::store::{RowQuery, Store};

use super::{App, doors, plugins, world};

impl App {
    /// Reads the config file again. Failing is harmless.
    pub async fn reload(&self) {
        match self.try_reload().await {
            Ok(()) => {
                metrics::counter!("securitybot_reloads_total", "result" => "done").increment(1);
                tracing::info!("the configuration was read again");
            }
            Err(why) => {
                metrics::counter!("securitybot_reloads_total", "result" => "refused").increment(1);
                tracing::error!(%why, "the configuration was not reloaded; the old one stays");
            }
        }
    }

    async fn try_reload(&self) -> Result<(), String> {
        // Seconds for a big directory: the actors go on meanwhile.
        let file = self.config.file.clone();
        let load = move || Config::load(&file, super::environment());
        let config = tokio::task::spawn_blocking(load)
            .await
            .map_err(|error| format!("reading the file ended early: {error}"))?
            .map_err(|errors| errors.to_string())?;
        for (what, same) in self.unchanged(&config) {
            if !same {
                tracing::warn!(
                    section = what,
                    "changed in the file: it takes effect at a restart"
                );
            }
        }
        let pagers = Arc::new(
            plugins::pagers(&config, &self.now, self.slack.as_ref())
                .map_err(|error| error.to_string())?,
        );
        let mut next = world(&config, &pagers, self.people.with_config(&config));
        next.partitions = self.store.partitions();
        check_ladders(self.store.as_ref(), &next, &pagers).await?;
        let next = Arc::new(next);
        self.people.set_config(&config);
        self.desk.set_config(&config);
        self.pagers.send_replace(pagers);
        self.access
            .send_replace(Arc::new(doors::access(&config, &self.data.token)));
        self.world.send_replace(next.clone());
        self.system.reconfigure(&next);
        Ok(())
    }

    fn unchanged(&self, new: &Config) -> [(&'static str, bool); 7] {
        let old = &self.config;
        let secrets = |config: &Config, section: &str| -> Vec<(String, u64)> {
            let of_section = |key: &str| key.split(['.', '[']).next() == Some(section);
            let all = config.fingerprints.iter();
            let these = all.filter(|(key, _)| of_section(key));
            these.map(|(key, print)| (key.clone(), *print)).collect()
        };
        let same = |section: &'static str, old_part: &dyn Debug, new_part: &dyn Debug| {
            let same_part = format!("{old_part:?}") == format!("{new_part:?}");
            // Producers' tokens are taken over at once.
            let same_secrets =
                section == "sources" || secrets(old, section) == secrets(new, section);
            (section, same_part && same_secrets)
        };
        [
            same("server", &old.server, &new.server),
            same("store", &old.store, &new.store),
            same("chat", &old.chat, &new.chat),
            same("factors", &old.factors, &new.factors),
            same("sources", &old.sources, &new.sources),
            same("sinks", &old.sinks, &new.sinks),
            same("rollups", &old.rollups, &new.rollups),
        ]
    }
}

/// An open escalation whose ladder names no pager that exists would page nobody.
pub async fn check_ladders(
    store: &dyn Store,
    world: &World,
    pagers: &Pagers,
) -> Result<(), String> {
    for state in ["open", "acknowledged"] {
        let mut cursor = None;
        loop {
            let query = RowQuery {
                collection: Collection::Escalations,
                fields: vec![("state", state.to_owned())],
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
                let Some(id) = CaseId::parse(&row.id) else {
                    continue;
                };
                if let Some(names) = pagers_of(store, world, id).await?
                    && !names.iter().any(|name| pagers.by_name.contains_key(name))
                {
                    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
                    return Err(format!(
                        "pagers: escalation {id} is still open and would be left without a pager: \
                         keep one of {}, or resolve it first",
                        names.join(", ")
                    ));
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// The pagers an escalation's own ladder names; `None` when its state cannot be read (its rebuilt form
/// pages everybody).
async fn pagers_of(
    store: &dyn Store,
    world: &World,
    id: CaseId,
) -> Result<Option<Vec<crate::core::ids::PagerName>>, String> {
    for partition in 0..world.partitions {
        let key = AggregateKey::escalation(id, partition);
        if let Some(stored) = store.load(&key).await.map_err(|error| error.to_string())? {
            let state = checkpoint::decode::<Escalation>(&key.name, &stored.state);
            return Ok(state.ok().map(|(escalation, _)| escalation.pagers()));
        }
    }
    Ok(None)
}
