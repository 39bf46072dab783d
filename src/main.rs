//! `securitybot`: the command line in, an exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    securitybot::app::main()
}
