//! Training runs: same bits, resume, faults, small sets, the loss at the start. Each goal prints a line that begins with
//! `scorecard` (seen with `cargo test --test train -- --nocapture`).
#![allow(clippy::print_stdout, reason = "the scorecard is assembled from standard output")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod bits;
mod broken;
mod feed;
mod kernels;
mod labels;
mod learning;
mod lost;
mod memory;
mod names;
mod not_finite;
mod pace;
mod parts;
mod profile;
#[cfg(feature = "selftest")]
mod refused;
mod resume;
mod room;
#[cfg(feature = "images")]
mod scans;
mod shards;
mod small;
mod start;
mod steady;
mod submissions;

use instdisc::data::{Dataset, Image, Memory};
use instdisc::gpu::Gpu;
use instdisc::nn::{Block, ResNetConfig, Stem};
use instdisc::npid::{Loss, Method, ZRule};
use instdisc::ops::Augmentation;
use instdisc::optim::Schedule;
use instdisc::train::{Config, Event, Outcome, Run, RunOptions};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The device that the tests share, so that its pipelines are made once; one test at a time has it.
struct Device {
    gpu: Gpu,
    _turn: MutexGuard<'static, ()>,
}

fn device() -> Device {
    static TURN: Mutex<()> = Mutex::new(());
    static SHARED: OnceLock<Gpu> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Device { gpu: SHARED.get_or_init(open).clone(), _turn: turn }
}

/// A device of its own, to be lost.
fn open() -> Gpu {
    Gpu::open(&Default::default()).unwrap()
}

impl Deref for Device {
    type Target = Gpu;
    fn deref(&self) -> &Gpu {
        &self.gpu
    }
}

impl Drop for Device {
    /// R18: no test may leave an error that nobody asked for.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.gpu.uncaptured_errors(), 0, "errors outside of all scopes");
        }
    }
}

/// `n` pictures of `side` pixels, each with stripes and colours of its own.
fn images(n: usize, side: u32) -> Vec<Image> {
    let picture = |i: usize| {
        let byte = |x: u32, y: u32, c: usize| {
            let (slope, period) = (1 + i as u32 % 3, 3 + i as u32 % 5);
            let stripe = (x * slope + y * (i as u32 / 3 % 4)) / period % 2;
            (40 + stripe * 120 + (i as u32 * (37 + 41 * c as u32)) % 96) as u8
        };
        let places = (0..side).flat_map(|y| (0..side).map(move |x| (x, y)));
        Image::new(side, side, places.flat_map(|(x, y)| [byte(x, y, 0), byte(x, y, 1), byte(x, y, 2)]).collect()).unwrap()
    };
    (0..n).map(picture).collect()
}

fn pictures(n: usize) -> Arc<dyn Dataset> {
    Arc::new(Memory::new(images(n, 16)).unwrap())
}

const NCE: Loss = Loss::Nce { negatives: 12, z: ZRule::Ema, exclude_own: true };
const LOSSES: [(&str, Loss); 2] = [("softmax", Loss::Softmax), ("nce", NCE)];

/// A small network on 16 × 16 pictures in batches of four. Widths are no multiples of four, so that there is padding.
fn config(images: usize, loss: Loss, epochs: usize) -> Config {
    let net = ResNetConfig { block: Block::Basic, blocks: vec![1, 1], width: 6, groups: 1, stem: Stem::Half, dim: 18 };
    Config {
        images,
        names: 0,
        limit: None,
        exclude: Vec::new(),
        net,
        method: Method { loss, tau: 0.1, bank_keep: 0.5, prox: 0.0, ..Method::default() },
        augmentation: Augmentation { flip: 0.5, ..Augmentation::paper(16) },
        batch: 4,
        accumulate: 1,
        epochs,
        lr: 0.03,
        schedule: Schedule::Step,
        momentum: 0.9,
        weight_decay: 5e-4,
        seed: 3,
    }
}

/// Images of the run of fifty steps: five steps an epoch, and two images left over in each.
const IMAGES: usize = 22;

fn fifty_steps(loss: Loss) -> Config {
    config(IMAGES, loss, 10)
}

fn options() -> RunOptions {
    RunOptions { eval_every: 0, ..RunOptions::default() }
}

/// The state as a checkpoint's bytes, and the losses of steps and epochs by their numbers, as bits.
#[derive(Clone, Debug, Default, PartialEq)]
struct Trail {
    state: Vec<u8>,
    losses: BTreeMap<u64, u32>,
    epochs: BTreeMap<usize, u64>,
}

impl Trail {
    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.state);
        self.losses.iter().for_each(|(step, loss)| hasher.write_u64((step << 32) | u64::from(*loss)));
        self.epochs.values().for_each(|loss| hasher.write_u64(*loss));
        hasher.finish()
    }

    /// Train, keep the losses, and do `also` after each step.
    fn train(&mut self, run: &mut Run, options: &RunOptions, mut also: impl FnMut(u64)) -> instdisc::Result<Outcome> {
        let outcome = run.train(options, &mut |event| match event {
            Event::Step { step, loss, .. } => {
                self.losses.insert(step, loss.to_bits());
                also(step);
            }
            Event::Epoch { epoch, loss, .. } => {
                self.epochs.insert(epoch, loss.to_bits());
            }
            Event::Skipped { .. } | Event::NotJudged { .. } => {}
        })?;
        self.state = state(run);
        Ok(outcome)
    }
}

fn state(run: &Run) -> Vec<u8> {
    run.capture().unwrap().encode().unwrap()
}

/// The run that nothing interrupts, without a folder.
fn uninterrupted(gpu: &Gpu, config: &Config, options: &RunOptions) -> Trail {
    let mut run = Run::new(gpu, config.clone(), pictures(config.images), None).unwrap();
    let mut trail = Trail::default();
    assert_eq!(trail.train(&mut run, options, |_| {}).unwrap(), Outcome::Done);
    assert_eq!(trail.losses.len() as u64, config.steps_per_epoch() * config.epochs as u64);
    trail
}

/// Go on with the run in `folder` to its end, adding to `trail`.
fn go_on(gpu: &Gpu, config: &Config, folder: &Path, trail: &mut Trail) {
    let (mut run, note) = Run::resume(gpu, config.clone(), pictures(config.images), folder).unwrap();
    assert_eq!(note, None, "the adapter is the same");
    assert_eq!(trail.train(&mut run, &options(), |_| {}).unwrap(), Outcome::Done);
}

/// This test binary again, for one test that is a child's work.
fn child(test: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command
}
