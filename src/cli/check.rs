//! `check`: what a valid configuration amounts to, so that a mistake that is valid is seen too; with
//! `--live` how the systems around are.

use std::io::Write;

use super::failure::Failure;
use super::line;
use crate::config::{Config, StoreKind};
use crate::plugins::Health;

/// The configuration has been loaded, so it is valid.
pub fn check(config: &Config, out: &mut dyn Write) -> Result<(), Failure> {
    let store = match config.store.kind {
        StoreKind::Sqlite => "sqlite",
        StoreKind::Redis { .. } => "redis",
    };
    let list = |names: Vec<&str>| match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    };
    line(out, &format!("{} is valid", config.file.display()))?;
    line(
        out,
        &format!(
            "  listens on  {} ({})",
            config.server.listen, config.server.public_url
        ),
    )?;
    line(
        out,
        &format!(
            "  store       {store}, {} partitions",
            config.store.partitions
        ),
    )?;
    line(out, &format!("  chat        {}", config.chat.name()))?;
    line(out, &format!("  employees   {}", config.employees.len()))?;
    let operators = config.operators.iter().map(|o| o.name.as_str());
    line(
        out,
        &format!(
            "  operators   {}",
            list(std::iter::once("admin").chain(operators).collect())
        ),
    )?;
    let sources = config.sources.iter().map(|source| source.name.as_str());
    line(out, &format!("  sources     {}", list(sources.collect())))?;
    line(out, &format!("  rules       {}", config.rules.len()))?;
    let pagers = config.pagers.iter().map(|pager| pager.name.as_str());
    line(out, &format!("  pagers      {}", list(pagers.collect())))?;
    line(
        out,
        &format!(
            "  sinks       {}",
            list(config.sinks.iter().map(|s| s.name.as_str()).collect())
        ),
    )
}

/// One line for each system that was asked (`store sqlite`, `pager duty`); one that is not well fails
/// the check.
pub fn report_live(found: &[(String, Health)], out: &mut dyn Write) -> Result<(), Failure> {
    let mut sick = Vec::new();
    for (name, health) in found {
        match health {
            Health::Good => line(out, &format!("  {name}: good"))?,
            Health::Degraded(why) => {
                line(out, &format!("  {name}: {why}"))?;
                sick.push(format!("{name}: {why}"));
            }
        }
    }
    if sick.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "not everything is well: {}",
        sick.join("; ")
    )))
}
