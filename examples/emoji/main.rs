//! The demo: learns to tell 256 emoji apart in two minutes on a processor, then shows what it takes for alike.
//!
//! `sh setup.sh && cargo run --release --example emoji` (`-- --help` lists the options). It trains on pictures of the crate
//! `twemoji-assets` without their names or groups, and measures before and after, beside raw pixels:
//!
//! - recall@1: of two random augmentations of each picture, is the nearest neighbour of one the other?
//! - kNN accuracy: do the 20 nearest other pictures vote for the emoji's group?
//!
//! It writes `gallery.png`, pictures with their 8 nearest neighbours, and `plot.png`, the loss and recall@1 over the epochs.
//! Emoji art: Twemoji, © Twitter and contributors, CC BY 4.0.
#![allow(clippy::print_stdout, reason = "a demo tells on standard output")]

mod draw;
mod measure;
mod options;
mod pictures;
mod train;

use indicatif::{ProgressBar, ProgressStyle};
use instdisc::eval::{Embedder, Matrix};
use instdisc::gpu::{Gpu, OpenOptions};
use instdisc::ops::Augmentation;
use instdisc::{Error, checkpoint};
use measure::{RawPixels, Vectors};
use options::{Options, USAGE};
use pictures::Pictures;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use train::{BATCH, Epoch, Plan, SIDE, Training, WORDS, augmentation};

/// Epochs between two points of recall@1 in the plot.
const EVERY: usize = 10;
/// Neighbours in a row of the gallery.
const SHOWN: usize = 8;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(words.into_iter()) {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("error: {fault}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let advice =
                if matches!(error.downcast_ref(), Some(Error::NoAdapter { .. })) { "; `sh setup.sh` does that" } else { "" };
            eprintln!("error: {error}{advice}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let gpu = Gpu::open(&OpenOptions { adapter: options.adapter.clone(), limits: None })?;
    let mut plan = Plan::of(&gpu);
    plan.epochs = options.epochs.unwrap_or(plan.epochs);
    let pictures = Pictures::load(options.pictures.unwrap_or(plan.pictures), SIDE as u32)?;
    let facts = gpu.facts();
    println!("{} ({}, {})", facts.name, facts.backend, facts.driver);
    println!(
        "{} emoji at {SIDE}×{SIDE}, seed {}, {} epochs or {} s",
        pictures.originals.len(),
        options.seed,
        plan.epochs,
        options.seconds
    );

    let judge = Judge { gpu: &gpu, pictures: &pictures, batches: pictures.batches(BATCH)?, seed: !options.seed };
    let plain = Augmentation { plain: true, ..augmentation() };
    let raw = judge.score(|augmentation| RawPixels::new(&gpu, augmentation, BATCH, WORDS))?;
    let deadline = start + Duration::from_secs_f64(options.seconds);
    let mut training = Training::new(&gpu, &pictures, &plan, options.seed, deadline)?;
    let embedder = |training: &Training, settings| Embedder::new(&gpu, &training.net, &training.store, settings, BATCH, WORDS);
    let untrained = judge.score(|settings| embedder(&training, settings))?;

    let mut views = embedder(&training, augmentation())?;
    let mut curve = draw::Curve { raw: raw.recall, loss: Vec::new(), recall: vec![(0, untrained.recall)] };
    let bar = progress_bar(plan.epochs);
    while let Some(epoch) = training.epoch(|loss, speed| bar.set_message(format!("loss {loss:.2}, {speed:.0} pictures/s")))? {
        let Epoch { done, epochs, loss, speed } = epoch;
        bar.set_length(epochs as u64);
        bar.set_position(done as u64);
        curve.loss.push((done, loss));
        if done % EVERY == 0 {
            let recall = judge.recall(&mut views)?;
            curve.recall.push((done, recall));
            if bar.is_hidden() {
                println!("epoch {done:3}/{epochs}  loss {loss:.3}  {speed:.0} pictures/s  recall@1 {:.1} %", 100.0 * recall);
            }
        }
    }
    bar.finish_and_clear();
    let epochs = curve.loss.len();
    println!("trained for {epochs} epochs; {:.0} s since the start", start.elapsed().as_secs_f64());
    if epochs < plan.epochs {
        println!("(fewer than {}: the learning rate was made to fall in the time there was)", plan.epochs);
    }

    let trained = judge.score(|settings| embedder(&training, settings))?;
    if epochs % EVERY != 0 {
        curve.recall.push((epochs, trained.recall));
    }
    println!("\n{:28}{:>12}{:>12}{:>12}", "", "raw pixels", "untrained", "trained");
    let row = |name: &str, of: &dyn Fn(&Score) -> f64| {
        let [a, b, c] = [&raw, &untrained, &trained].map(|score| format!("{:.1} %", 100.0 * of(score)));
        println!("{name:28}{a:>12}{b:>12}{c:>12}");
    };
    row("recall@1", &|score| score.recall);
    row("kNN accuracy for the group", &|score| score.group);

    std::fs::create_dir_all(&options.out).map_err(|e| Error::io("creating", &options.out, e))?;
    let clean = measure::all(&judge.batches, &mut embedder(&training, plain)?, 0, 0)?;
    let neighbours = measure::nearest(&gpu, &clean, SHOWN)?;
    for (name, png) in [("gallery.png", draw::gallery(&pictures, &neighbours)?), ("plot.png", draw::plot(&curve)?)] {
        checkpoint::write(options.out.join(name), &png)?;
        println!("wrote {}", options.out.join(name).display());
    }
    Ok(())
}

/// How vectors did: shares.
struct Score {
    recall: f64,
    group: f64,
}

/// Measures vectors of all pictures, always with the same augmentations.
struct Judge<'a> {
    gpu: &'a Gpu,
    pictures: &'a Pictures,
    batches: Vec<instdisc::data::Batch>,
    seed: u64,
}

impl Judge<'_> {
    fn recall(&self, vectors: &mut dyn Vectors) -> instdisc::Result<f64> {
        measure::recall(self.gpu, &self.batches, vectors, self.seed)
    }

    /// `make` gives what makes vectors, under training's augmentations and under none.
    fn score<V: Vectors>(&self, make: impl Fn(Augmentation) -> instdisc::Result<V>) -> instdisc::Result<Score> {
        let recall = self.recall(&mut make(augmentation())?)?;
        let clean: Matrix = measure::all(&self.batches, &mut make(Augmentation { plain: true, ..augmentation() })?, 0, 0)?;
        Ok(Score { recall, group: measure::group_accuracy(self.gpu, &clean, &self.pictures.groups)? })
    }
}

/// A bar on a terminal; nothing elsewhere.
fn progress_bar(epochs: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} epoch {pos}/{len}  {msg}  {elapsed}");
    ProgressBar::new(epochs as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
