//! `instdisc train`: its arguments, and what they mean to the library.

mod dry_run;
mod images;
mod print;
mod progress;
mod run;

pub(crate) use run::run;

use crate::kernels::{KernelArgs, OnOff};
use crate::show::DataArgs;
use clap::ValueEnum;
use instdisc::data::Dataset;
use instdisc::nn::Stem;
use instdisc::npid::{BankFormat, ZRule};
use instdisc::optim::Schedule;
use instdisc::train::{Choices, Feed, Preset, Source};
use std::path::PathBuf;
use std::sync::Arc;

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
    /// Write a checkpoint after so many minutes, beside those at the end of each epoch; 0 for none
    #[arg(long, value_name = "MINUTES", default_value_t = 10.0, allow_negative_numbers = true)]
    save_every: f64,
    /// Go on with the run in --out. Settings that are not given are as in its config.json; --epochs may be more
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
            limit: self.limit,
            exclude: self.images.exclude.clone(),
            preset: self.preset.map(|p| match p {
                PresetArg::PaperCifar => Preset::PaperCifar,
                PresetArg::PaperImagenet => Preset::PaperImagenet,
            }),
        }
    }
}
