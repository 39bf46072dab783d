//! The command line. Everything but `run`, `check` and an offline `journal verify` asks the running
//! service through its API, so that the command line can do nothing that is not recorded.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration. An error is one line on standard
//! error that says what to do.

mod alert;
mod api;
mod args;
mod check;
mod employee;
mod failure;
mod journal;
mod lists;

use std::io::Write;

use serde_json::{Value, json};

pub use api::Api;
pub use args::{
    AlertCommand, ApiCommand, Args, Command, JournalCommand, ListFilter, PageCommand,
    QuarantineCommand, SendAlert, parse,
};
pub use check::{check, report_live};
pub use failure::{Failure, exit};
pub use journal::verify_offline;
pub use lists::ListCommand;

use api::encoded;

/// Carries out one command against the service; what it says goes to `out`.
pub async fn run(command: &ApiCommand, api: &Api, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        ApiCommand::Alert(AlertCommand::Send(alert)) => alert::send(api, alert, out).await,
        ApiCommand::Explain { file } => alert::explain(api, file, out).await,
        ApiCommand::Enroll { employee, link } => {
            if *link {
                employee::link(api, employee, "enroll", out).await
            } else {
                employee::enroll(api, employee, out).await
            }
        }
        ApiCommand::ChatLink { employee } => employee::link(api, employee, "chat", out).await,
        ApiCommand::Unlock { employee } => employee::unlock(api, employee, out).await,
        ApiCommand::Page(PageCommand::Test) => {
            let answer = api.post("/v1/pages/test", &json!({})).await?;
            line(
                out,
                answer["id"].as_str().unwrap_or("a test page is on its way"),
            )
        }
        ApiCommand::Cases(ListCommand::List(filter)) => {
            lists::list(api, &lists::CASES, filter, out).await
        }
        ApiCommand::Snoozes(ListCommand::List(filter)) => {
            lists::list(api, &lists::SNOOZES, filter, out).await
        }
        ApiCommand::Escalations(ListCommand::List(filter)) => {
            lists::list(api, &lists::ESCALATIONS, filter, out).await
        }
        ApiCommand::Quarantine(QuarantineCommand::List(filter)) => {
            lists::list(api, &lists::QUARANTINE, filter, out).await
        }
        ApiCommand::Quarantine(QuarantineCommand::Replay { id }) => {
            let path = format!("/v1/quarantine/{}/replay", encoded(id));
            replayed(&api.post(&path, &json!({})).await?)?;
            line(out, &format!("{id} was read again and accepted"))
        }
        ApiCommand::Journal(JournalCommand::Verify { .. }) => journal::verify(api, out).await,
    }
}

/// A replay answers as ingest does: what is still wrong with the payload is a failure.
fn replayed(answer: &Value) -> Result<(), Failure> {
    match answer["rejected"]
        .as_array()
        .and_then(|rejected| rejected.first())
    {
        None => Ok(()),
        Some(first) => Err(Failure::failed(format!(
            "the payload still cannot be accepted: {}",
            first["error"].as_str().unwrap_or("no reason was given")
        ))),
    }
}

/// One line of output.
fn line(out: &mut dyn Write, text: &str) -> Result<(), Failure> {
    writeln!(out, "{text}").map_err(Failure::output)
}
