//! `securitybot`: the command line in, an exit code out.

use std::process::ExitCode;

/// A case is many small strings that come and go: with the system's allocator a third of the time went into
/// it, and a flood's memory was never given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    securitybot::app::main()
}
