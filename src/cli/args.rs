//! The arguments, as CONTRACT's "Command line" promises them to scripts.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use super::lists::ListCommand;
use crate::core::alert::Severity;

/// Asks employees about their own security alerts, has the answer proved, and pages when it is not.
#[derive(Clone, Debug, Parser)]
#[command(name = "securitybot", version)]
pub struct Args {
    /// The configuration file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "config.toml",
        env = "SECURITYBOT_CONFIG"
    )]
    pub config: PathBuf,

    /// Where the service answers (default: from the configuration)
    #[arg(long, global = true, value_name = "URL", env = "SECURITYBOT_SERVER")]
    pub server: Option<String>,

    /// An operator's token (default: the file `token` in data_dir)
    #[arg(long, global = true, env = "SECURITYBOT_TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the service (the default)
    Run,
    /// Validate the configuration
    Check {
        /// Ask store, chat and pagers too
        #[arg(long)]
        live: bool,
    },
    #[command(flatten)]
    Api(ApiCommand),
}

#[derive(Clone, Debug, Subcommand)]
pub enum ApiCommand {
    /// Send an alert
    #[command(subcommand)]
    Alert(AlertCommand),
    /// Tell what would happen with an alert; nothing is sent
    Explain {
        /// A file with one alert as JSON; - is standard input
        file: PathBuf,
    },
    /// Give an employee a new authenticator code: prints its URI and a QR code
    Enroll {
        employee: String,
        /// Print a one-time link for the employee instead
        #[arg(long)]
        link: bool,
    },
    /// Print a one-time sign-in link to the web chat
    ChatLink { employee: String },
    /// End a lock after wrong codes
    Unlock { employee: String },
    /// Try the pagers
    #[command(subcommand)]
    Page(PageCommand),
    /// Questions to employees
    #[command(subcommand)]
    Cases(ListCommand),
    /// What is not asked again for now
    #[command(subcommand)]
    Snoozes(ListCommand),
    /// What the security team was paged about
    #[command(subcommand)]
    Escalations(ListCommand),
    /// What came in and could not be accepted
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// The record of everything that happened
    #[command(subcommand)]
    Journal(JournalCommand),
}

#[derive(Clone, Debug, Subcommand)]
pub enum AlertCommand {
    /// Send one alert and print its id
    Send(SendAlert),
}

#[derive(Clone, Debug, ClapArgs)]
pub struct SendAlert {
    /// Who did it: id, alias or e-mail
    #[arg(long)]
    pub employee: String,
    /// The name of the detection rule
    #[arg(long)]
    pub rule: String,
    /// What happened, in one line
    #[arg(long)]
    pub title: String,
    #[arg(long)]
    pub description: Option<String>,
    /// The evidence
    #[arg(long)]
    pub reason: Option<String>,
    /// low, medium, high or critical
    #[arg(long, value_parser = severity)]
    pub severity: Option<Severity>,
    /// What it is about, such as host=web-3; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub context: Vec<(String, String)>,
    /// Where to read more
    #[arg(long)]
    pub url: Option<String>,
    /// The alert's id (default: a new one)
    #[arg(long)]
    pub id: Option<String>,
}

#[derive(Clone, Debug, Subcommand)]
pub enum PageCommand {
    /// Send a test page through the default ladder
    Test,
}

#[derive(Clone, Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List it, newest first
    List(ListFilter),
    /// Read one payload again
    Replay { id: String },
}

#[derive(Clone, Debug, Subcommand)]
pub enum JournalCommand {
    /// Find edits, deletions, swaps, insertions and a cut tail
    Verify {
        /// Read the store itself; the service must not run
        #[arg(long)]
        offline: bool,
    },
}

#[derive(Clone, Debug, Default, ClapArgs)]
pub struct ListFilter {
    /// Print the API's JSON
    #[arg(long)]
    pub json: bool,
    /// At most this many (1 to 500)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub limit: Option<u16>,
    /// Where an earlier list ended
    #[arg(long)]
    pub cursor: Option<String>,
    /// Only this state, for cases and escalations
    #[arg(long)]
    pub state: Option<String>,
    /// Only this employee, for cases
    #[arg(long)]
    pub employee: Option<String>,
    /// Only this rule, for cases
    #[arg(long)]
    pub rule: Option<String>,
    /// Only this outcome, for cases
    #[arg(long)]
    pub outcome: Option<String>,
}

/// Wrong usage ends the process with code 2.
pub fn parse() -> Args {
    Args::parse()
}

fn severity(word: &str) -> Result<Severity, String> {
    Severity::parse(word).ok_or_else(|| "expected low, medium, high or critical".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, such as host=web-3".to_owned()),
    }
}
