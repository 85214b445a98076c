//! `instdisc tune`.
#![allow(clippy::print_stdout, reason = "what a command prints is its result")]

use crate::kernels::{self, OnOff};
use crate::say::{result, say};
use crate::show;
use instdisc::gpu::Gpu;
use instdisc::name::shown;
use instdisc::train::tune::{Basis, Effort, Report, Tuner, problems};
use instdisc::train::{Choices, Config};
use instdisc::{Error, Result, checkpoint};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Find the fastest kernels for a network on this adapter, and keep them for `--tune` of other commands
///
/// Every candidate must compute the right result before it is timed. What was measured is kept in a cache folder
/// (INSTDISC_CACHE, or the system's), by adapter, driver and kernels.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The nearest candidates, within 3 seconds on a GPU and 20 on a software adapter [default]
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Every candidate for every problem, however long it takes
    #[arg(long)]
    full: bool,
    /// resnet18, resnet34 or resnet50
    #[arg(long, default_value = "resnet18")]
    arch: String,
    /// Channels of the first stage
    #[arg(long, default_value_t = 64)]
    width: usize,
    /// Side of the images in pixels; up to 64 the network begins as for CIFAR
    #[arg(long, default_value_t = 32)]
    size: usize,
    /// Images a step
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Length of the embedding
    #[arg(long, default_value_t = 128)]
    dim: usize,
    /// softmax or nce
    #[arg(long, value_parser = ["softmax", "nce"])]
    loss: Option<String>,
    /// Images in the memory bank
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    images: usize,
    /// Take the network and batch of the run in this folder
    #[arg(long, value_name = "RUN", conflicts_with_all = ["arch", "width", "size", "batch", "dim", "loss", "images"])]
    shapes_from: Option<PathBuf>,
    /// Whether convolutions may be computed by Winograd's algorithms, which round more [default: on]
    #[arg(long, value_enum)]
    winograd: Option<OnOff>,
    /// Take this many seconds at most
    #[arg(long, value_name = "SECONDS")]
    budget: Option<f64>,
    /// Measure again what was measured earlier; --quick then changes nothing in what --full has kept
    #[arg(long)]
    again: bool,
    /// Take over what FILE holds for this adapter, driver and version first
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
    /// Write everything known of this adapter to FILE, for a machine alike
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// One JSON object a problem
    #[arg(long)]
    json: bool,
    /// Part of the adapter's name, or its number in `instdisc adapters` [default: the best]
    #[arg(long)]
    adapter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    if args.budget.is_some_and(|seconds| !(seconds.is_finite() && seconds >= 0.0)) {
        return Err(Error::value("tune", "--budget", "a number of seconds of at least 0", args.budget.unwrap_or_default()));
    }
    args.export.as_ref().map_or(Ok(()), checkpoint::check_writable)?;
    let config = config(args)?;
    let gpu = kernels::allow(&show::gpu(args.adapter.as_deref())?, args.winograd);
    let mut cache = kernels::cache(&gpu);
    if args.again {
        cache.clear();
    }
    if let Some(path) = &args.import {
        let (count, ignored) = cache.import(path)?;
        say!("{}: {} taken over; {ignored}", shown(path), show::count(count, "measurement"));
        cache.save()?;
    }
    let effort = if args.full { Effort::Full } else { Effort::Quick };
    let budget = args.budget.unwrap_or_else(|| effort.budget(&gpu));
    let problems = problems(&gpu, &config)?;
    // Recording a step has made kernels too, which counts.
    let tuner = Tuner::new(&gpu, effort).budget(budget - start.elapsed().as_secs_f64());
    let report = kernels::tune(&tuner, &problems, &mut cache);
    print(&gpu, &report, args.json);
    gpu.check()?;
    if let Some(path) = &args.export {
        let count = cache.export(path)?;
        say!("{}: {}", shown(path), show::count(count, "measurement"));
    }
    Ok(())
}

/// The run whose step is to be tuned.
fn config(args: &Args) -> Result<Config> {
    if let Some(folder) = &args.shapes_from {
        let path = folder.join("config.json");
        let text = std::fs::read(&path).map_err(|e| Error::io("reading", &path, e))?;
        return serde_json::from_slice(&text).map_err(|e| Error::data(&path, format!("is no run's configuration: {e}")));
    }
    let choices = Choices {
        arch: Some(args.arch.clone()),
        width: Some(args.width),
        size: Some(args.size),
        batch: Some(args.batch),
        dim: Some(args.dim),
        loss: args.loss.clone(),
        ..Choices::default()
    };
    let (config, _) = choices.resolve(args.images, args.size, 0)?;
    Ok(config)
}

fn print(gpu: &Gpu, report: &Report, json: bool) {
    if json {
        for found in &report.found {
            let facts = gpu.facts();
            result!("{}", json!({ "adapter": facts.name, "driver": facts.driver, "gain": found.gain(), "found": found }));
        }
        return;
    }
    let wide = |of: &dyn Fn(usize) -> usize| (0..report.found.len()).map(of).max().unwrap_or(0);
    let problem = wide(&|i| report.found[i].problem.len()).max(7);
    let preferred = wide(&|i| report.found[i].preferred.len()).max(9);
    let chosen = wide(&|i| report.found[i].algorithm.len()).max(6);
    result!(
        "{:problem$}  {:preferred$} {:>9}  {:chosen$} {:>9} {:>6} {:>7}",
        "problem",
        "preferred",
        "ms",
        "chosen",
        "ms",
        "gain",
        "tried"
    );
    let ms = |ms: Option<f64>| ms.map_or("-".into(), |ms| format!("{ms:.3}"));
    for found in &report.found {
        let gain = found.gain().map_or("-".into(), |gain| format!("{gain:.2}x"));
        let note = match found.basis {
            Basis::Measured => "",
            Basis::Cached => " (cached)",
            Basis::OutOfTime => " (no time left)",
            Basis::Failed => " (failed)",
        };
        result!(
            "{:problem$}  {:preferred$} {:>9}  {:chosen$} {:>9} {gain:>6} {:>7}{note}",
            found.problem,
            found.preferred,
            ms(found.preferred_ms),
            found.algorithm,
            ms(found.ms),
            format!("{}/{}", found.tried, found.candidates)
        );
    }
    let out: usize = report.found.iter().map(|found| found.left_out.len()).sum();
    result!(
        "{} in {:.1} s; all together {} as fast as preferred; {} left out",
        show::count(report.found.len(), "problem"),
        report.seconds,
        report.gain().map_or("-".into(), |gain| format!("{gain:.2} times")),
        show::count(out, "candidate")
    );
}
