//! `instdisc train`.

use crate::kernels::{self, KernelArgs, OnOff};
use crate::show::{self, DataArgs, Set, count};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use instdisc::data::{Dataset, Split};
use instdisc::error::bytes;
use instdisc::gpu::Gpu;
use instdisc::nn::Stem;
use instdisc::npid::{BankFormat, Loss, Method, ZRule};
use instdisc::optim::Schedule;
use instdisc::train::tune::problems_of;
use instdisc::train::{Choices, Config, Event, Feed, Folder, Outcome, Preset, Run, RunOptions, Source};
use instdisc::{Error, Result};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Learn features of a folder of images, without labels
///
/// DATA is a folder of images, read recursively, or a folder of CIFAR-10/100 binary files. Where there are folders, the first
/// level is the label; labels never reach training, they only judge it. Ctrl-C writes a checkpoint and ends; --resume goes on.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of images, or of CIFAR binary files
    data: PathBuf,
    /// Folder of the run: config.json, images.json, kernels.json, metrics.jsonl, last.safetensors
    #[arg(
        long,
        value_name = "RUN",
        required = false,
        required_unless_present = "dry_run",
        default_value_if("dry_run", "true", ".")
    )]
    out: PathBuf,
    /// Labelled images to judge features with [default: some of DATA against the others; for CIFAR its test part]
    #[arg(long, value_name = "DATA")]
    test: Option<PathBuf>,
    #[command(flatten)]
    images: DataArgs,
    /// Labels from a file with a line `name<TAB>label` an image, instead of from the first folder level
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// resnet18, resnet34 or resnet50 [default: resnet18]
    #[arg(long)]
    arch: Option<String>,
    /// Channels of the first stage [default: 64]
    #[arg(long)]
    width: Option<usize>,
    /// What comes before the first block [default: auto: cifar up to size 64]
    #[arg(long, value_enum, default_value = "auto")]
    stem: StemArg,
    /// Side of the network's input in pixels [default: 32, 64, 128 or 224, after the images]
    #[arg(long)]
    size: Option<usize>,
    /// Length of the embedding [default: 128]
    #[arg(long)]
    dim: Option<usize>,
    /// Exact softmax over the bank, or noise-contrastive estimation [default: softmax up to 262,144 images]
    #[arg(long, value_parser = ["softmax", "nce"])]
    loss: Option<String>,
    /// Rows of noise a sample, for --loss nce [default: 4096]
    #[arg(long, value_name = "M")]
    negatives: Option<usize>,
    /// The constant Z of --loss nce: the first batch's estimate for good, or a moving average [default: ema]
    #[arg(long, value_enum)]
    z: Option<ZArg>,
    /// Temperature [default: 0.1 up to size 64, else 0.07]
    #[arg(long, allow_negative_numbers = true)]
    tau: Option<f32>,
    /// Weight of the OLD row when the bank is updated [default: 0.5]
    #[arg(long, allow_negative_numbers = true)]
    bank_keep: Option<f32>,
    /// Weight of the proximal term [default: 0]
    #[arg(long, allow_negative_numbers = true)]
    prox: Option<f32>,
    /// How the memory bank is stored: f16 halves its memory [default: f32]
    #[arg(long, value_enum)]
    bank: Option<BankArg>,
    /// Images a step [default: 128 up to size 64, else 64]
    #[arg(long)]
    batch: Option<usize>,
    /// Parts of a step, one after the other in the memory of --batch images: a step takes --batch times so many [default: 1]
    #[arg(long, value_name = "PARTS")]
    accumulate: Option<usize>,
    /// Epochs of the schedule [default: 200]
    #[arg(long)]
    epochs: Option<usize>,
    /// First learning rate [default: 0.03]
    #[arg(long, allow_negative_numbers = true)]
    lr: Option<f32>,
    /// How it falls: by ten after 60 % and 80 % of the epochs, or along a cosine [default: step]
    #[arg(long, value_enum)]
    schedule: Option<ScheduleArg>,
    /// Momentum [default: 0.9]
    #[arg(long, allow_negative_numbers = true)]
    momentum: Option<f32>,
    /// Weight decay [default: 5e-4 up to size 64, else 1e-4]
    #[arg(long, allow_negative_numbers = true)]
    weight_decay: Option<f32>,
    /// Seed of everything random [default: 0]
    #[arg(long)]
    seed: Option<u64>,
    /// Mirror half of the images [default: off; on with --preset paper-imagenet]
    #[arg(long, value_enum)]
    flip: Option<OnOff>,
    /// Take only the first so many images of each class
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// The same for the test images
    #[arg(long, value_name = "N")]
    limit_test: Option<usize>,
    /// Stop after this epoch of the schedule, to go on later with --resume
    #[arg(long, value_name = "EPOCH")]
    stop_after: Option<usize>,
    /// Judge features by kNN after every so many epochs; 0 for never
    #[arg(long, value_name = "EPOCHS", default_value_t = 1)]
    eval_every: usize,
    /// Where images are meanwhile: resident, on the device, or streamed, decoded ahead; the results are the same
    #[arg(long, value_enum, default_value = "auto")]
    feed: FeedArg,
    /// Part of the adapter's name, or its number in `instdisc adapters` [default: the best]
    #[arg(long)]
    adapter: Option<String>,
    #[command(flatten)]
    kernels: KernelArgs,
    /// Print the memory that the run takes and the time of a step and an epoch, from a few steps that nothing keeps, and stop
    #[arg(long, conflicts_with_all = ["resume", "profile"])]
    dry_run: bool,
    /// Time so many steps dispatch by dispatch, once the first are done: profile.txt, profile.json and trace.json in --out
    #[arg(long, value_name = "STEPS", default_value_t = 0, hide_default_value = true)]
    profile: usize,
    /// Go on with the run in --out, with the same options
    #[arg(long)]
    resume: bool,
    /// The paper's values for what is left open
    #[arg(long, value_enum)]
    preset: Option<PresetArg>,
}

#[derive(Clone, Copy, ValueEnum)]
enum StemArg {
    /// cifar up to size 64, imagenet above
    Auto,
    /// 3x3 at stride 1
    Cifar,
    /// 7x7 at stride 2 and a max-pool
    Imagenet,
}

#[derive(Clone, Copy, ValueEnum)]
enum FeedArg {
    /// resident if they are small enough
    Auto,
    Resident,
    Streamed,
}

#[derive(Clone, Copy, ValueEnum)]
enum BankArg {
    F32,
    F16,
}

#[derive(Clone, Copy, ValueEnum)]
enum ZArg {
    First,
    Ema,
}

#[derive(Clone, Copy, ValueEnum)]
enum ScheduleArg {
    Step,
    Cosine,
}

#[derive(Clone, Copy, ValueEnum)]
enum PresetArg {
    PaperCifar,
    PaperImagenet,
}

impl Args {
    fn source(&self, dataset: Arc<dyn Dataset>) -> Source {
        let feed = match self.feed {
            FeedArg::Auto => Feed::Auto,
            FeedArg::Resident => Feed::Resident,
            FeedArg::Streamed => Feed::Streamed,
        };
        Source { dataset, feed, threads: self.images.threads, skip_broken: self.images.skip_broken }
    }

    fn choices(&self) -> Choices {
        Choices {
            arch: self.arch.clone(),
            width: self.width,
            stem: match self.stem {
                StemArg::Auto => None,
                StemArg::Cifar => Some(Stem::Cifar),
                StemArg::Imagenet => Some(Stem::Imagenet),
            },
            size: self.size,
            dim: self.dim,
            loss: self.loss.clone(),
            negatives: self.negatives,
            z: self.z.map(|z| if matches!(z, ZArg::First) { ZRule::First } else { ZRule::Ema }),
            tau: self.tau,
            bank_keep: self.bank_keep,
            prox: self.prox,
            bank: self.bank.map(|b| if matches!(b, BankArg::F16) { BankFormat::F16 } else { BankFormat::F32 }),
            batch: self.batch,
            accumulate: self.accumulate,
            epochs: self.epochs,
            lr: self.lr,
            schedule: self.schedule.map(|s| if matches!(s, ScheduleArg::Step) { Schedule::Step } else { Schedule::Cosine }),
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            seed: self.seed,
            flip: self.flip.map(|f| f == OnOff::On),
            preset: self.preset.map(|p| match p {
                PresetArg::PaperCifar => Preset::PaperCifar,
                PresetArg::PaperImagenet => Preset::PaperImagenet,
            }),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    let gpu = show::gpu(args.adapter.as_deref())?;
    // Enough for a crop of half the area at full resolution; without --size the images decide, and 224 is the largest choice.
    let first = Config::decode_side(args.size.unwrap_or(224));
    let set = Set {
        labels: args.labels.as_deref(),
        limit: args.limit,
        // What broke since the run began keeps its row of the bank.
        names: if args.resume && args.images.skip_broken { Folder::images(&args.out)?.map(Arc::from) } else { None },
        ..Set::of(&args.data)
    };
    let mut dataset = show::images(&set, &args.images, first)?;
    let (config, notes) =
        args.choices().resolve(dataset.len(), median_side(&*dataset, args.images.skip_broken)?, names(&*dataset))?;
    let side = Config::decode_side(config.augmentation.side);
    if side != first {
        // The network turns out to take smaller images: what it sees must not depend on whether --size was given.
        eprintln!("at most {side} pixels on the shorter side, for a network that takes {}", config.augmentation.side);
        dataset = Arc::from(show::open_images(&set, &args.images, side)?.dataset);
    }
    let test = if args.eval_every > 0 { test_images(args, side)? } else { None };
    print(&config);
    notes.iter().for_each(|note| eprintln!("note: {note}"));
    if args.dry_run {
        return dry_run(args, &gpu, config, args.source(dataset));
    }
    let mut run = begin(args, &gpu, config, args.source(dataset))?;
    eprintln!("images: {}", run.feed());
    print_memory(&gpu, &mut run);
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    // A second Ctrl-C ends at once: the checkpoint on disk is whole in any case.
    let handler = ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step; Ctrl-C again to end at once");
    });
    handler.map_err(|e| Error::value("train", "Ctrl-C", "free for this program", e))?;
    let (eval_every, stop_after, profile, threads) = (args.eval_every, args.stop_after, args.profile, args.images.threads);
    let options = RunOptions { test, eval_every, stop_after, threads, profile, stop, ..RunOptions::default() };
    let mut progress = Progress::new(run.config(), args);
    let mut first = true;
    let outcome = run.train(&options, &mut |event| {
        if std::mem::take(&mut first) {
            let seconds = started.elapsed().as_secs_f64();
            progress.say(&format!("first step after {seconds:.1} s, {}", count(gpu.pipelines(), "pipeline")));
        }
        progress.show(event);
    })?;
    progress.bar.finish_and_clear();
    match run.profile() {
        Some(profile) => {
            let folder = args.out.display();
            eprint!("{}{}", profile.kernel_table(), profile.summary());
            eprintln!("by dispatch: {folder}/profile.txt; trace for ui.perfetto.dev: {folder}/trace.json");
        }
        None if args.profile > 0 => eprintln!("note: nothing was profiled: there were too few steps"),
        None => {}
    }
    match outcome {
        Outcome::Stopped => eprintln!("stopped at step {}; the same command with --resume goes on", run.progress().step),
        Outcome::Done => eprintln!(
            "done: step {}; features with `instdisc embed {} DATA --out FILE.npy`",
            run.progress().step,
            args.out.display()
        ),
    }
    Ok(())
}

fn print_memory(gpu: &Gpu, run: &mut Run) {
    let there_is =
        gpu.memory().map_or("how much there is, the driver does not say".into(), |most| format!("there are {}", bytes(most)));
    eprintln!("device memory: {}; {there_is}", run.needs());
}

/// Steps that a dry run times, after the first, in which drivers compile.
const TIMED: usize = 3;

/// What the run would take, by doing a few of its steps.
fn dry_run(args: &Args, gpu: &Gpu, config: Config, source: Source) -> Result<()> {
    let (steps, epochs) = (config.steps_per_epoch(), config.epochs as u64);
    let tuned = args.kernels.remembered(gpu);
    let mut run = Run::new(&tuned, config, source, None)?;
    eprintln!("images: {}", run.feed());
    if args.kernels.effort().is_some() {
        kernels::print_known(&tuned, run.kernels());
    }
    print_memory(gpu, &mut run);
    let stop = Arc::new(AtomicBool::new(false));
    let options = RunOptions { eval_every: 0, threads: args.images.threads, stop: stop.clone(), ..RunOptions::default() };
    let mut ends = Vec::new();
    run.train(&options, &mut |event| {
        // Steps that end after the stop were submitted before it: their ends lie closer together than those of a run.
        if matches!(event, Event::Step { .. }) && ends.len() <= TIMED {
            ends.push(Instant::now());
            stop.store(ends.len() > TIMED, Ordering::SeqCst);
        }
    })?;
    let timed = ends.len().saturating_sub(1);
    let (Some(first), Some(last), true) = (ends.first(), ends.last(), timed > 0) else {
        eprintln!("time: the run has a single step, and the first is no measure");
        return Ok(());
    };
    let each = last.duration_since(*first).as_secs_f64() / timed as f64;
    let (epoch, all) = (each * steps as f64, each * (steps * epochs) as f64);
    eprintln!(
        "time, by {}: {each:.3} s a step, {} an epoch of {}, {} for {}; without judging the features",
        count(timed, "timed step"),
        duration(epoch),
        count(steps, "step"),
        duration(all),
        count(epochs, "epoch")
    );
    Ok(())
}

/// Seconds for people.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn begin(args: &Args, gpu: &Gpu, config: Config, source: Source) -> Result<Run> {
    let gpu = &args.kernels.allow(gpu);
    if args.resume {
        if args.kernels.given() {
            eprintln!("note: --tune and --winograd are for new runs; this one goes on by the kernels it began with");
        }
        return resume(args, gpu, config, source);
    }
    let Some(effort) = args.kernels.effort() else { return Run::new(gpu, config, source, Some(&args.out)) };
    let mut cache = kernels::cache(gpu);
    Run::new_by(&kernels::known(gpu, &cache), config, source, Some(&args.out), |used| {
        kernels::choose(gpu, effort, &problems_of(used)?, &mut cache).map(Some)
    })
}

fn resume(args: &Args, gpu: &Gpu, config: Config, source: Source) -> Result<Run> {
    let (run, note) = Run::resume(gpu, config, source, &args.out)?;
    eprintln!("going on from step {}", run.progress().step);
    note.iter().for_each(|note| eprintln!("note: {note}"));
    Ok(run)
}

fn test_images(args: &Args, side: usize) -> Result<Option<Arc<dyn Dataset>>> {
    let cifar = instdisc::data::CifarBinary::is_at(&args.data);
    let path = args.test.as_ref().or(cifar.then_some(&args.data));
    let set = |path| Set { split: Split::Test, limit: args.limit_test, ..Set::of(path) };
    path.map(|path| show::images(&set(path), &args.images, side)).transpose()
}

/// The median of the shorter sides of up to 101 images, evenly spread.
fn median_side(dataset: &dyn Dataset, skip_broken: bool) -> Result<usize> {
    let count = dataset.len().clamp(1, 101);
    let side = |i| dataset.image(i * dataset.len() / count).map(|image| image.width.min(image.height));
    let (mut sides, mut broken) = (Vec::with_capacity(count), None);
    for side in (0..count).map(side) {
        match side {
            Ok(side) => sides.push(side),
            Err(error @ (Error::Data { .. } | Error::Io { .. })) if skip_broken => broken = Some(error),
            Err(error) => return Err(error),
        }
    }
    sides.sort_unstable();
    match (sides.get(sides.len() / 2), broken) {
        (Some(side), _) => Ok(*side as usize),
        (None, Some(error)) => Err(error),
        (None, None) => Err(Error::value("train", "images", "at least 2 images", 0)),
    }
}

fn names(dataset: &dyn Dataset) -> u32 {
    (0..dataset.len()).fold(0, |sum, i| crc32c::crc32c_append(crc32c::crc32c_append(sum, dataset.name(i).as_bytes()), b"\n"))
}

fn print(config: &Config) {
    let Config { net, method, augmentation, .. } = config;
    let loss = match method.loss {
        Loss::Softmax => "exact softmax".to_owned(),
        Loss::Nce { negatives, z, .. } => format!("NCE, {}, Z {z:?}", count(negatives, "negative")),
    };
    eprintln!(
        "network: {:?} {:?}, width {}, stem {:?}, side {}, {}",
        net.block,
        net.blocks,
        net.width,
        net.stem,
        augmentation.side,
        count(net.dim, "number")
    );
    let Method { tau, bank_keep, prox, bank, .. } = method;
    eprintln!("loss: {loss}, tau {tau}, bank {bank:?}, bank_keep {bank_keep}, prox {prox}");
    eprintln!(
        "training: batch {}{}, {} of {}, lr {} ({:?}), momentum {}, weight decay {}, seed {}, flip {}",
        config.batch,
        if config.accumulate > 1 { format!(" x {} parts", config.accumulate) } else { String::new() },
        count(config.epochs, "epoch"),
        count(config.steps_per_epoch(), "step"),
        config.lr,
        config.schedule,
        config.momentum,
        config.weight_decay,
        config.seed,
        if augmentation.flip > 0.0 { "on" } else { "off" }
    );
}

/// A bar on a terminal, a line an epoch (and now and then a step) otherwise.
struct Progress {
    bar: ProgressBar,
    steps: u64,
    terminal: bool,
    epochs: usize,
    /// Images that were skipped and named.
    named: BTreeSet<PathBuf>,
}

impl Progress {
    fn new(config: &Config, args: &Args) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let steps = config.steps_per_epoch();
        let bar = if terminal { ProgressBar::new(steps) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self { bar, steps, terminal, epochs: args.stop_after.unwrap_or(config.epochs).min(config.epochs), named: BTreeSet::new() }
    }

    /// A line that stays.
    fn say(&self, line: &str) {
        if self.terminal { self.bar.println(line) } else { eprintln!("{line}") }
    }

    fn show(&mut self, event: Event) {
        match event {
            Event::Step { step, epoch, loss, lr, images_per_second } => {
                let text = format!("loss {loss:.4} lr {lr:.5} {images_per_second:.1} images/s");
                if self.terminal {
                    self.bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
                    self.bar.set_position((step - 1) % self.steps + 1);
                    self.bar.set_message(text);
                } else if step % 50 == 0 || step == 1 {
                    eprintln!("step {step} epoch {epoch}/{} {text}", self.epochs);
                }
            }
            Event::Skipped { epoch, path, reason } => {
                // Its turn comes again in every epoch, and when features are judged.
                let line = format!("skipped in epoch {epoch}: {}: {reason}", path.display());
                if self.named.insert(path) {
                    self.say(&line);
                }
            }
            Event::NotJudged { epoch, reason } => self.say(&format!("the features of epoch {epoch} were not judged: {reason}")),
            Event::Epoch { epoch, loss, seconds, waited, skipped, evaluation } => {
                let knn = evaluation.map_or(String::new(), |e| {
                    format!(", kNN bank {:.1} % clean {:.1} % ({})", 100.0 * e.bank, 100.0 * e.clean, count(e.queries, "image"))
                });
                let epochs = self.epochs;
                let skipped = if skipped == 0 { String::new() } else { format!(", {} skipped", count(skipped, "image")) };
                self.say(&format!(
                    "epoch {epoch}/{epochs}: loss {loss:.4}, {seconds:.1} s ({waited:.1} s waiting for images){skipped}{knn}"
                ));
            }
        }
    }
}
