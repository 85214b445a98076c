//! The command line of instdisc.

mod adapters;
mod array;
mod bench;
mod classes;
mod embed;
mod kernels;
mod knn;
mod say;
mod selftest;
mod show;
mod signals;
mod train;
mod tune;
mod watch;

use crate::say::say;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Learn image features without labels, by telling every image apart from every other one, on any Vulkan, Metal or DX12 GPU.
///
/// Begin with `instdisc adapters`, then `instdisc train FOLDER --out RUN`.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Adapters(adapters::Args),
    Train(Box<train::Args>),
    Embed(embed::Args),
    Knn(knn::Args),
    Bench(bench::Args),
    Tune(Box<tune::Args>),
    Selftest(selftest::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Adapters(args) => adapters::run(&args),
        Command::Train(args) => match train::run(&args) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Embed(args) => embed::run(&args),
        Command::Knn(args) => knn::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::Tune(args) => tune::run(&args),
        Command::Selftest(args) => selftest::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
