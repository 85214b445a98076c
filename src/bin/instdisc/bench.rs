//! `instdisc bench`: how fast the kernels are on this adapter.
#![allow(clippy::print_stdout, reason = "what a command prints is its result")]

mod date;
mod table;

use crate::kernels::KernelArgs;
use crate::say::{result, say};
use instdisc::gpu::{Gpu, OpenOptions, copy_rate, processor};
use instdisc::name::shown;
use instdisc::ops::{Form, GemmSizes, Problem};
use instdisc::train::bench::{self, Bench, Case, Measurement, Options, cases, mark_fastest, profile};
use instdisc::train::{Choices, tune};
use instdisc::{Error, Result, checkpoint};
use std::path::{Path, PathBuf};
use table::Table;

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
    /// A network at its usual size instead of --arch and --size: ResNet-18 for CIFAR, ResNet-50 for ImageNet, or both.
    #[arg(long, value_enum, conflicts_with_all = ["arch", "size"])]
    set: Option<Set>,
    /// Every algorithm that solves a product or convolution, a row each; with a text, those whose name holds it, beside the
    /// preferred one.
    #[arg(long, value_name = "TEXT", num_args = 0..=1, default_missing_value = "")]
    variants: Option<String>,
    /// Rounds over all cases; with more than one, medians of the rounds are shown, and how far these lie apart.
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: usize,
    /// A second table: what the adapter allows each case by its operations a byte, and the share of it that is reached.
    #[arg(long)]
    roofline: bool,
    /// The same as a picture.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Another table: ratios to an earlier output of --json, with a mark where they differ by more than the spreads.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Where the time of a training step goes, dispatch by dispatch and kernel by kernel, instead of the cases.
    #[arg(long, conflicts_with_all = ["filter", "variants", "repeat", "roofline", "plot", "compare"])]
    profile: bool,
    /// The same as a trace that ui.perfetto.dev opens.
    #[arg(long, value_name = "FILE.json", requires = "profile")]
    trace: Option<PathBuf>,
    /// How long each kernel of a training step takes to make ready, the slowest first, instead of the cases.
    #[arg(long, conflicts_with_all = ["filter", "variants", "repeat", "roofline", "plot", "compare", "profile"])]
    compile: bool,
    #[command(flatten)]
    kernels: KernelArgs,
    /// JSON Lines on standard output.
    #[arg(long)]
    json: bool,
    /// Part of the adapter's name, or its number.
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq)]
enum Set {
    Cifar,
    Imagenet,
    Both,
}

impl Args {
    fn options(&self) -> Vec<Options> {
        let of = |arch: &str, size| Options { batch: self.batch, arch: arch.to_owned(), width: self.width, size, filter: None };
        let (cifar, imagenet) = (of("resnet18", 32), of("resnet50", 224));
        match self.set {
            None => vec![of(&self.arch, self.size)],
            Some(Set::Cifar) => vec![cifar],
            Some(Set::Imagenet) => vec![imagenet],
            Some(Set::Both) => vec![cifar, imagenet],
        }
    }

    /// Everything to measure, each case once: it is enough that one of two sets meets the filter.
    fn cases(&self) -> Result<Vec<Case>> {
        let mut all: Vec<Case> = Vec::new();
        for options in self.options() {
            for case in cases(&options)? {
                if !all.iter().any(|other| (other.name, &other.shape) == (case.name, &case.shape)) {
                    all.push(case);
                }
            }
        }
        match &self.filter {
            Some(text) => bench::filter(all, text),
            None => Ok(all),
        }
    }

    /// It by the algorithms that are asked for.
    fn group(&self, gpu: &Gpu, case: Case) -> Group {
        let Some(text) = &self.variants else { return Group(vec![(case, Vec::new())]) };
        let preferred = case.problem().map(|problem| problem.preferred(gpu));
        let mut all = case.variants(gpu);
        all.retain(|case| case.algorithm == preferred || case.algorithm.is_none_or(|a| a.to_string().contains(text.as_str())));
        Group(all.into_iter().map(|case| (case, Vec::new())).collect())
    }
}

/// A case by one algorithm or by all, each with a measurement of every round.
struct Group(Vec<(Case, Vec<Measurement>)>);

impl Group {
    /// Go through it once more. One of several algorithms that fails is named and left out.
    fn measure(&mut self, bench: &Bench) -> Result<()> {
        let mut going = Vec::new();
        for (case, mut rounds) in self.0.drain(..) {
            match (bench.run(&case), case.algorithm) {
                (Ok(found), _) => {
                    rounds.push(found);
                    going.push((case, rounds));
                }
                (Err(error), None) | (Err(error @ Error::DeviceLost { .. }), _) => return Err(error),
                (Err(error), Some(algorithm)) => {
                    say!("note: {} {} by {algorithm} is left out: {error}", case.name, case.shape);
                }
            }
        }
        self.0 = going;
        Ok(())
    }

    fn rows(&self, variants: bool) -> Vec<Measurement> {
        let mut rows: Vec<_> = self.0.iter().filter_map(|(_, rounds)| Measurement::of_rounds(rounds)).collect();
        if variants {
            mark_fastest(&mut rows);
        }
        rows
    }
}

pub(crate) fn run(args: Args) -> Result<()> {
    if args.repeat == 0 {
        return Err(Error::value("bench", "--repeat", "at least 1", args.repeat));
    }
    // What can be refused is refused before minutes of measuring.
    let earlier = args.compare.as_deref().map(bench::read).transpose()?;
    args.plot.as_deref().map_or(Ok(()), can_draw)?;
    let gpu = Gpu::open(&OpenOptions { adapter: args.adapter.clone(), ..Default::default() })?;
    let gpu = args.kernels.tuned(&gpu, |gpu| problems(gpu, &args.options()))?;
    if !args.json {
        result!("{} · {} · {}", gpu.facts().name, gpu.facts().driver, gpu.facts().backend);
        if gpu.facts().software {
            result!("on {}, which copies {:.1} GB/s of memory by itself", processor(), copy_rate() / 1e9);
        }
    }
    if args.compile {
        return args.options().iter().try_for_each(|options| print_compiled(&gpu, options, &args));
    }
    if args.profile {
        return args.options().iter().try_for_each(|options| print_profile(&gpu, options, &args));
    }
    let rows = measure(&gpu, &args)?;
    if args.roofline && !args.json {
        table::roofline(&rows, args.variants.is_some());
    }
    if let Some(path) = &args.plot {
        checkpoint::write(path, bench::plot(&rows, &date::today())?.as_bytes())?;
        say!("drawn: {}", shown(path));
    }
    if let Some(then) = earlier {
        compare(then, &rows, &args);
    }
    Ok(())
}

/// Measure everything asked for and print it, group by group in the last round.
fn measure(gpu: &Gpu, args: &Args) -> Result<Vec<Measurement>> {
    let mut groups: Vec<Group> = args.cases()?.into_iter().map(|case| args.group(gpu, case)).collect();
    let table = Table::of(groups.iter().flat_map(|group| group.0.iter().map(|(case, _)| case)));
    if !args.json {
        table.head();
    }
    let bench = Bench::new(gpu)?;
    let mut all = Vec::new();
    for round in 1..=args.repeat {
        if args.repeat > 1 {
            say!("round {round} of {}", args.repeat);
        }
        for group in &mut groups {
            group.measure(&bench)?;
            if round == args.repeat {
                let rows = group.rows(args.variants.is_some());
                rows.iter().for_each(|row| if args.json { result!("{}", row.json()) } else { table.row(row) });
                all.extend(rows);
            }
        }
    }
    Ok(all)
}

fn can_draw(path: &Path) -> Result<()> {
    if path.extension().is_none_or(|end| !end.eq_ignore_ascii_case("svg")) {
        return Err(Error::value("bench", "--plot", "a file that ends in .svg", shown(path)));
    }
    match path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(folder) => Err(Error::data(folder, "is no folder to draw into; make it first")),
        None => checkpoint::check_writable(path),
    }
}

fn compare(mut then: Vec<Measurement>, now: &[Measurement], args: &Args) {
    if let (Some(old), Some(new)) = (then.first(), now.first())
        && old.adapter != new.adapter
    {
        say!("note: compared with another adapter: {}", old.adapter);
    }
    if let Some(text) = &args.filter {
        let meets = |row: &Measurement| row.case.contains(text.as_str()) || row.shape.contains(text.as_str());
        then.retain(|row| meets(row) || row.case.starts_with("peak."));
    }
    let found = bench::compare(&then, now);
    if args.json {
        found.iter().for_each(|comparison| result!("{}", comparison.json()));
    } else {
        table::comparison(&found, args.variants.is_some());
    }
}

/// The problems of the steps that are measured, and the products of the case `gemm`.
fn problems(gpu: &Gpu, options: &[Options]) -> Result<Vec<Problem>> {
    let mut all = vec![Problem::Gemm(Form::Nn, GemmSizes { batch: 1, rows: 512, depth: 512, cols: 512 })];
    for Options { batch, arch, width, size, .. } in options {
        let choices = Choices {
            arch: Some(arch.clone()),
            width: Some(*width),
            size: Some(*size),
            batch: Some(*batch),
            loss: Some("nce".into()),
            ..Choices::default()
        };
        let (config, _) = choices.resolve(50_000, *size, 0)?;
        all.extend(tune::problems(gpu, &config)?);
    }
    Ok(all)
}

fn print_compiled(gpu: &Gpu, options: &Options, args: &Args) -> Result<()> {
    let rows = bench::compiled(gpu, options)?;
    if args.json {
        rows.iter().for_each(|row| result!("{}", serde_json::to_string(row).unwrap_or_default()));
        return Ok(());
    }
    let width = rows.iter().map(|row| row.variant.len()).max().unwrap_or(0);
    result!("{:width$}  pipeline ms  first run ms  again ms", "kernel");
    for row in &rows {
        result!("{:width$}  {:>11.1}  {:>12.1}  {:>8.2}", row.variant, row.pipeline_ms, row.first_ms, row.again_ms);
    }
    let sum = |of: fn(&bench::Compiled) -> f64| rows.iter().map(of).sum::<f64>() / 1e3;
    let (pipelines, runs) = (sum(|row| row.pipeline_ms), sum(|row| row.first_ms));
    result!("{} kernels: pipelines {pipelines:.1} s, first runs {runs:.1} s", rows.len());
    Ok(())
}

fn print_profile(gpu: &Gpu, options: &Options, args: &Args) -> Result<()> {
    let found = profile(gpu, options)?;
    if args.json {
        result!("{}", serde_json::to_string(&found).unwrap_or_default())
    } else {
        result!("{}", found.text().trim_end())
    }
    if let Some(path) = &args.trace {
        checkpoint::write(path, found.trace().as_bytes())?;
        say!("trace: {}, for ui.perfetto.dev", shown(path));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &[&str]) -> Args {
        Line::try_parse_from([&["bench"], line].concat()).unwrap().args
    }

    #[test]
    fn both_sets_hold_every_case_of_each_once() {
        let of = |line: &[&str]| {
            let cases = parse(line).cases().unwrap().into_iter();
            cases.map(|case| format!("{} {}", case.name, case.shape)).collect::<Vec<_>>()
        };
        let (cifar, imagenet, both) = (of(&[]), of(&["--arch", "resnet50", "--size", "224"]), of(&["--set", "both"]));
        assert_eq!((of(&["--set", "cifar"]), of(&["--set", "imagenet"])), (cifar.clone(), imagenet.clone()));
        assert!(cifar.iter().chain(&imagenet).all(|name| both.iter().filter(|other| *other == name).count() == 1));
        assert!(both.len() < cifar.len() + imagenet.len(), "the rates and the losses are the same");
        assert_eq!(of(&["--set", "both", "--filter", "k7 s2"]).len(), 5, "the stem in three directions, and the rates");
        for part in ["conv2d.grad_input b4 3->64 224x224 k7 s2", "conv2d.forward b4 2048->512 7x7 k1 s1", "sgd resnet18 w64"] {
            assert!(both.iter().any(|name| name == part), "{part}");
        }
    }

    #[test]
    fn a_set_has_its_own_network_and_size() {
        assert!(Line::try_parse_from(["bench", "--set", "both", "--size", "64"]).is_err());
        assert!(Line::try_parse_from(["bench", "--profile", "--compare", "x"]).is_err());
        assert_eq!(parse(&["--variants"]).variants.as_deref(), Some(""));
    }
}
