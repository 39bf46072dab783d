//! How a command ends: a code for scripts, a line for people.

use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigErrors;

/// Why a command did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// 1 failed, 2 wrong usage or configuration.
    pub code: u8,
    /// One line that says what to do.
    pub message: String,
}

impl Failure {
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            message: message.into(),
        }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            message: message.into(),
        }
    }

    pub(super) fn output(error: std::io::Error) -> Self {
        Self::failed(format!("the output cannot be written: {error}"))
    }
}

/// A configuration is the one thing that has several lines to say, one a fault.
impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::usage(errors.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Says it on standard error and gives the code.
pub fn exit(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.code)
        }
    }
}
