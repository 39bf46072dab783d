//! From the arguments to whoever carries them out.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;

use crate::cli::{self, Api, ApiCommand, Args, Command, Failure, JournalCommand};
use crate::clock::Clock;
use crate::config::{Config, Log, LogFormat, StoreKind};
use crate::plugins::Health;
use crate::plugins::chat::Chat;
use crate::store::memory::MemoryStore;
use crate::store::{Head, JournalRow, Store, journal};

use super::{StartError, plugins, readiness, server};

/// What the binary does.
pub fn main() -> ExitCode {
    // One TLS provider, chosen before anything connects: with none chosen, TLS panics when first used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = cli::parse();
    let config = match Config::load(&args.config, super::environment()) {
        Ok(config) => config,
        Err(errors) => return cli::exit(Err(errors.into())),
    };
    let result = actix_rt::System::new().block_on(carry_out(&args, config));
    cli::exit(result)
}

async fn carry_out(args: &Args, config: Config) -> Result<(), Failure> {
    let out = &mut io::stdout();
    match &args.command {
        None | Some(Command::Run) => {
            start_log(&config.log);
            server::run(config).await.map_err(refused)
        }
        Some(Command::Check { live }) => {
            cli::check(&config, out)?;
            if *live {
                check_live(&config, out).await
            } else {
                Ok(())
            }
        }
        Some(Command::Api(ApiCommand::Journal(JournalCommand::Verify { offline: true }))) => {
            let store = plugins::store(&config).await.map_err(refused)?;
            let chain = |head: &Head, rows: &[JournalRow]| journal::verify(head, rows);
            cli::verify_offline(store.as_ref(), chain, out).await
        }
        Some(Command::Api(command)) => {
            let api = Api::new(&config, args.server.as_deref(), args.token.as_deref())?;
            cli::run(command, &api, out).await
        }
    }
}

fn refused(error: StartError) -> Failure {
    match error {
        StartError::Config(_) => Failure::usage(error.to_string()),
        _ => Failure::failed(error.to_string()),
    }
}

/// Asks the store, the chat and every pager how they are, without starting anything.
async fn check_live(config: &Config, out: &mut dyn Write) -> Result<(), Failure> {
    let clock = Clock::system();
    let now = plugins::now_of(&clock);
    let (store, mut found) = store_as_it_is(config).await?;
    let slack = super::slack(config, &store, &now);
    if let Some(slack) = &slack {
        let health = readiness::ask(slack.health()).await;
        found.push((format!("chat {}", slack.name()), health));
    }
    if let Some(push) = plugins::push(config, &now) {
        let health = readiness::ask(push.health()).await;
        found.push((format!("factor {}", push.name()), health));
    }
    let pagers = plugins::pagers(config, &now, slack.as_ref()).map_err(refused)?;
    for (name, pager) in &pagers.by_name {
        found.push((
            format!("pager {name}"),
            readiness::ask(pager.health()).await,
        ));
    }
    cli::report_live(&found, out)
}

/// The store and how it is. Before the first start there is no file, and a look makes none.
async fn store_as_it_is(
    config: &Config,
) -> Result<(Arc<dyn Store>, Vec<(String, Health)>), Failure> {
    let is_new =
        matches!(config.store.kind, StoreKind::Sqlite) && !plugins::database(config).exists();
    if is_new {
        let store = Arc::new(MemoryStore::new(config.store.partitions));
        let name = "store sqlite (to be made at the first start)".to_owned();
        return Ok((store, vec![(name, Health::Good)]));
    }
    let store = plugins::store(config).await.map_err(refused)?;
    let health = store.health().await;
    let problems: Vec<_> = health.failing.into_iter().chain(health.degraded).collect();
    let health = match problems.is_empty() {
        true => Health::Good,
        false => Health::Degraded(problems.join("; ")),
    };
    let name = format!("store {}", store.kind());
    Ok((store, vec![(name, health)]))
}

fn start_log(log: &Log) {
    // The HTTP server tells of every worker thread; a level of its own in the config wins.
    let directives = format!("actix_server=warn,{}", log.level);
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match log.format {
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
        LogFormat::Pretty => subscriber.with_ansi(io::stderr().is_terminal()).init(),
    }
}
