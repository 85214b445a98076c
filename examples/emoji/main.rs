//! The demo: learns to tell 256 emoji apart within 150 seconds on a processor, then shows which it finds alike.
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

use draw::Curve;
use indicatif::{ProgressBar, ProgressStyle};
use instdisc::eval::Embedder;
use instdisc::gpu::{Gpu, OpenOptions};
use instdisc::{Error, checkpoint};
use measure::{Judge, RawPixels, Score};
use options::{Options, USAGE};
use pictures::Pictures;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use train::{BATCH, Plan, SIDE, Training, WORDS, augmentation};

/// Epochs between two points of recall@1 in the plot.
const EVERY: usize = 20;
/// Neighbours in a row of the gallery.
const SHOWN: usize = 8;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

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
            let driver = matches!(error.downcast_ref(), Some(Error::NoAdapter { .. })) && options.adapter.is_none();
            eprintln!("error: {error}{}", if driver { "; `sh setup.sh` sees to it" } else { "" });
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Outcome<()> {
    let start = Instant::now();
    let gpu = Gpu::open(&OpenOptions { adapter: options.adapter.clone(), ..Default::default() })?;
    let mut plan = Plan::of(&gpu);
    plan.epochs = options.epochs.unwrap_or(plan.epochs);
    plan.pictures = options.pictures.unwrap_or(plan.pictures);
    let pictures = Pictures::load(plan.pictures, SIDE as u32)?;
    let (facts, n) = (gpu.facts(), pictures.originals.len());
    println!("{} ({}, {})", facts.name, facts.backend, facts.driver);
    println!("{n} emoji, {SIDE}×{SIDE}, seed {}; epochs: {}, at most {} s", options.seed, plan.epochs, options.seconds);

    let judge = Judge::new(&gpu, &pictures, BATCH, options.seed)?;
    let raw = judge.score(|augmentation| RawPixels::new(&gpu, augmentation, BATCH, WORDS))?;
    let deadline = start + Duration::from_secs(options.seconds.into());
    let mut training = Training::new(&gpu, &pictures, &plan, options.seed, deadline)?;
    let score = |training: &Training| {
        judge.score(|augmentation| Embedder::new(&gpu, &training.net, &training.store, augmentation, BATCH, WORDS))
    };
    let untrained = score(&training)?;
    let mut curve = Curve { raw: raw.recall, loss: Vec::new(), recall: vec![(0, untrained.recall)] };
    train(&gpu, &mut training, &judge, plan.epochs, &mut curve)?;
    let trained = score(&training)?;

    let epochs = curve.loss.len();
    if !epochs.is_multiple_of(EVERY) {
        curve.recall.push((epochs, trained.recall));
    }
    let why = if epochs < plan.epochs { ", for the time was up" } else { "" };
    println!("stopped after epoch {epochs}{why}; {:.0} s since the start\n", start.elapsed().as_secs_f64());
    report(&[("raw pixels", &raw), ("untrained", &untrained), ("trained", &trained)]);
    println!("recall@1 is {:.2} times that of raw pixels\n", trained.recall / raw.recall);

    std::fs::create_dir_all(&options.out).map_err(|e| Error::io("creating", &options.out, e))?;
    let neighbours = measure::nearest(&gpu, &trained.vectors, SHOWN)?;
    for (name, png) in [("gallery.png", draw::gallery(&pictures, &neighbours)?), ("plot.png", draw::plot(&curve)?)] {
        let path = options.out.join(name);
        checkpoint::write(&path, &png)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Train to the end of the schedule or of the time: a bar on a terminal, a line now and then elsewhere.
fn train(gpu: &Gpu, training: &mut Training, judge: &Judge<'_>, epochs: usize, curve: &mut Curve) -> Outcome<()> {
    let mut views = Embedder::new(gpu, &training.net, &training.store, augmentation(), BATCH, WORDS)?;
    let style = ProgressStyle::with_template("{wide_bar} epoch {pos}/{len}  {msg}  {elapsed}")?;
    let bar = ProgressBar::new(epochs as u64).with_style(style);
    let mut recall = format!("{:.1}", 100.0 * curve.recall[0].1);
    while let Some(epoch) =
        training.epoch(|loss, speed| bar.set_message(format!("loss {loss:.2}  {speed:.0} images/s  recall@1 {recall} %")))?
    {
        curve.loss.push((epoch.done, epoch.loss));
        bar.set_position(epoch.done as u64);
        if epoch.done % EVERY == 0 {
            let share = judge.recall(&mut views)?;
            curve.recall.push((epoch.done, share));
            recall = format!("{:.1}", 100.0 * share);
            if bar.is_hidden() {
                let (done, loss, speed) = (epoch.done, epoch.loss, epoch.speed);
                println!("epoch {done:3}/{epochs}  loss {loss:.2}  {speed:.0} images/s  recall@1 {recall} %");
            }
        }
    }
    bar.finish_and_clear();
    if curve.loss.is_empty() { Err("there was no time for a single step; allow more with --seconds".into()) } else { Ok(()) }
}

/// A table: a column for each kind of vectors.
fn report(scores: &[(&str, &Score)]) {
    let line = |name: &str, cells: &mut dyn Iterator<Item = String>| {
        println!("{name:<28}{}", cells.map(|cell| format!("{cell:>12}")).collect::<String>());
    };
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    line("", &mut scores.iter().map(|(name, _)| (*name).to_owned()));
    line("recall@1", &mut scores.iter().map(|(_, score)| percent(score.recall)));
    line("kNN accuracy for the group", &mut scores.iter().map(|(_, score)| percent(score.group)));
}
