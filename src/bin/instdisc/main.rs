//! The command line of instdisc.

mod bench;

use clap::Parser;
use std::process::ExitCode;

/// Image features without labels, trained on any GPU.
#[derive(Parser)]
#[command(version)]
enum Cli {
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse() {
        Cli::Bench(args) => bench::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
