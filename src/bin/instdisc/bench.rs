//! `instdisc bench`: how fast the kernels are on this adapter.
#![allow(clippy::print_stdout, reason = "what a command prints is its result")]

use crate::kernels::KernelArgs;
use instdisc::Result;
use instdisc::gpu::{Gpu, OpenOptions};
use instdisc::ops::{Form, GemmSizes, Problem};
use instdisc::train::bench::{Bench, Options, cases, profile};
use instdisc::train::{Choices, tune};

/// Time kernels and training steps, against what the adapter itself does.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only cases whose name or shape holds this text, as `conv2d` or `64->64`, beside the adapter's own rates.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Images a batch.
    #[arg(long, value_name = "N", default_value_t = 4)]
    batch: usize,
    /// resnet18, resnet34 or resnet50.
    #[arg(long, default_value = "resnet18")]
    arch: String,
    /// Channels of the first stage.
    #[arg(long, default_value_t = 64)]
    width: usize,
    /// Side of the images.
    #[arg(long, default_value_t = 32)]
    size: usize,
    /// Where the time of a training step goes, kernel by kernel, instead of the cases.
    #[arg(long)]
    profile: bool,
    #[command(flatten)]
    kernels: KernelArgs,
    /// JSON Lines on standard output.
    #[arg(long)]
    json: bool,
    /// Part of the adapter's name, or its number.
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let gpu = Gpu::open(&OpenOptions { adapter: args.adapter, limits: None })?;
    let options = Options { batch: args.batch, arch: args.arch, width: args.width, size: args.size, filter: args.filter };
    let gpu = args.kernels.tuned(&gpu, |gpu| problems(gpu, &options))?;
    if !args.json {
        println!("{} · {} · {}", gpu.facts().name, gpu.facts().driver, gpu.facts().backend);
    }
    if args.profile {
        return print_profile(&gpu, &options, args.json);
    }
    let all = cases(&options)?;
    let (name, shape) = all.iter().fold((4, 5), |(n, s), c| (n.max(c.name.len()), s.max(c.shape.chars().count())));
    if !args.json {
        println!(
            "{:name$}  {:shape$} {:>10} {:>7} {:>8} {:>8} {:>8}",
            "case", "shape", "ms", "spread", "GFLOP/s", "GB/s", "of peak"
        );
    }
    let bench = Bench::new(&gpu)?;
    for case in all {
        let found = bench.run(&case)?;
        if args.json {
            println!("{}", found.json());
            continue;
        }
        let rate = |rate: Option<f64>| rate.map_or("-".into(), |r| format!("{r:.2}"));
        let peak = found.variant == "peak";
        let ms = if peak { "-".into() } else { format!("{:.3}", found.median_ms) };
        let share = if peak { "-".into() } else { format!("{:.3}", found.fraction_of_peak) };
        println!(
            "{:name$}  {:shape$} {ms:>10} {:>6.0}% {:>8} {:>8} {share:>8}",
            found.case,
            found.shape,
            found.spread * 100.0,
            rate(found.gflops),
            rate(found.gbps)
        );
        if let (Some(dispatches), Some(bytes), Some(images)) = (found.dispatches, found.peak_bytes, found.images_per_second) {
            println!("{:name$}  {dispatches} dispatches, {} MiB, {images:.2} images/s", "", bytes >> 20);
        }
    }
    Ok(())
}

/// The problems of the step that is measured, and the products of the case `gemm`.
fn problems(gpu: &Gpu, options: &Options) -> Result<Vec<Problem>> {
    let Options { batch, arch, width, size, .. } = options;
    let choices = Choices {
        arch: Some(arch.clone()),
        width: Some(*width),
        size: Some(*size),
        batch: Some(*batch),
        loss: Some("nce".into()),
        ..Choices::default()
    };
    let (config, _) = choices.resolve(50_000, *size, 0)?;
    let mut all = tune::problems(gpu, &config)?;
    all.push(Problem::Gemm(Form::Nn, GemmSizes { batch: 1, rows: 512, depth: 512, cols: 512 }));
    Ok(all)
}

fn print_profile(gpu: &Gpu, options: &Options, json: bool) -> Result<()> {
    let shares = profile(gpu, options)?;
    if json {
        shares.iter().for_each(|s| println!("{}", serde_json::to_string(s).unwrap_or_default()));
        return Ok(());
    }
    let wide = shares.iter().map(|s| s.variant.len()).max().unwrap_or(0);
    println!("{:wide$} {:>5} {:>10} {:>6} {:>8} {:>8}", "kernel", "times", "ms", "share", "GFLOP/s", "GB/s");
    for s in &shares {
        let share = s.share * 100.0;
        println!("{:wide$} {:>5} {:>10.3} {share:>5.1}% {:>8.2} {:>8.2}", s.variant, s.dispatches, s.ms, s.gflops, s.gbps);
    }
    println!("{:wide$} {:>5} {:>10.3}", "all", "", shares.iter().map(|s| s.ms).sum::<f64>());
    Ok(())
}
