//! The checker alone: `cargo run --example check_history -- FILE` judges a recorded history.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

#[path = "checker/mod.rs"]
mod checker;
#[path = "history.rs"]
#[allow(dead_code, reason = "the harness writes with it")]
mod history;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("usage: check_history FILE");
        return ExitCode::from(2);
    };
    let trace = match checker::Trace::read(file.as_ref()) {
        Ok(trace) => trace,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let view = checker::View::of(&trace);
    println!("{}", checker::summary(&view));
    for (name, says, _) in checker::INVARIANTS {
        println!("checked {name}: {says}");
    }
    let broken = checker::check(&view);
    for violation in &broken {
        println!("{violation}");
    }
    println!("{} broken", broken.len());
    ExitCode::from(u8::from(!broken.is_empty()))
}
