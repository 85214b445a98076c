//! instdisc as one of the peers: says on a line of JSON what runs, then reads a case a line from standard input and answers each
//! with a line of JSON. `--tuned` takes the kernels that `instdisc tune` found and kept; `--list ARCH WIDTH BATCH SIDE` prints the
//! cases of a network instead. See ../README.md.

mod measure;

use instdisc::Result;
use instdisc::gpu::{Gpu, OpenOptions};
use instdisc::train::bench::{Options, cases};
use instdisc::train::tune::{Cache, Found, Report, cache_folder};
use measure::Timed;
use serde_json::json;
use std::io::{BufRead, Write};
use std::process::ExitCode;

/// Seconds that a sample takes at least, where `--seconds` does not say.
const SECONDS: f64 = 0.05;
/// Samples a request, where `--samples` does not say.
const SAMPLES: usize = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().position(|word| word == "--list") {
        Some(at) => list(&words[at + 1..]),
        None => serve(&words),
    };
    done.map_or_else(
        |error| {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

/// The value after `name` among the arguments.
fn option<T: std::str::FromStr>(words: &[String], name: &str) -> Option<T> {
    words.iter().position(|w| w == name).and_then(|at| words.get(at + 1)).and_then(|w| w.parse().ok())
}

/// Print the distinct convolutions of a network, forward and forward with backward, the products and the training step.
fn list(words: &[String]) -> Result<()> {
    let number = |at: usize, default| words.get(at).and_then(|w| w.parse().ok()).unwrap_or(default);
    let arch = words.first().map_or("resnet18", String::as_str).to_owned();
    let options = Options { arch, width: number(1, 64), batch: number(2, 4), size: number(3, 32), filter: None };
    let all = cases(&options)?;
    let forward: Vec<_> = all.iter().filter(|case| case.name == "conv2d.forward").collect();
    for name in ["conv2d.forward", "conv2d.forward+backward"] {
        forward.iter().for_each(|case| println!("{name} {}", case.shape));
    }
    for case in all.iter().filter(|case| ["gemm", "train_step"].contains(&case.name)) {
        println!("{} {}", case.name, case.shape);
    }
    Ok(())
}

fn serve(words: &[String]) -> Result<()> {
    let mut gpu = Gpu::open(&OpenOptions { adapter: option(words, "--adapter"), ..Default::default() })?;
    let mut kernels = "static table".to_owned();
    if words.iter().any(|word| word == "--tuned") {
        let found = kept(&gpu);
        kernels = format!("{} tuned problems", found.len());
        gpu = gpu.with_choices(Report { found, ..Report::default() }.choices(gpu.choices().clone()));
    }
    let facts = gpu.facts();
    say(&json!({
        "name": "instdisc", "options": kernels, "adapter": facts.name, "driver": facts.driver, "backend": facts.backend,
        "software": facts.software,
    }));
    let samples = option(words, "--samples").unwrap_or(SAMPLES);
    let seconds = option(words, "--seconds").unwrap_or(SECONDS);
    // The last case stays prepared, so that asking again costs its samples alone.
    let mut held: Option<(String, Timed)> = None;
    for line in std::io::stdin().lock().lines().map_while(std::io::Result::ok) {
        if held.as_ref().is_none_or(|(name, _)| *name != line) {
            held = None;
            match Timed::new(&gpu, &line, seconds) {
                Ok(timed) => held = Some((line.clone(), timed)),
                Err(error) => say(&json!({ "case": line, "error": error.to_string() })),
            }
        }
        if let Some((_, timed)) = &mut held {
            say(&timed.sample(&line, samples).unwrap_or_else(|error| json!({ "case": line, "error": error.to_string() })));
        }
    }
    Ok(())
}

/// What `instdisc tune` kept of this adapter.
fn kept(gpu: &Gpu) -> Vec<Found> {
    let Some(folder) = cache_folder() else { return Vec::new() };
    let (cache, word) = Cache::open(&folder, gpu);
    word.iter().for_each(|word| eprintln!("note: {word}"));
    cache.all(gpu)
}

fn say(line: &serde_json::Value) {
    let mut out = std::io::stdout().lock();
    // Whoever asked has gone when this fails; the end of standard input will say so too.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
