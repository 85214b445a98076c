//! A run from its first step or its last checkpoint to its end.

use super::progress::Progress;
use super::{Args, dry_run, images, print};
use crate::kernels;
use crate::say::say;
use crate::show::{self, Set, count};
use crate::signals::Stop;
use instdisc::gpu::Gpu;
use instdisc::name::shown;
use instdisc::train::tune::problems_of;
use instdisc::train::{Config, Folder, Outcome, Run, RunOptions, Source};
use instdisc::{Error, Result};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let started = Instant::now();
    if !(0.0..=1e6).contains(&args.save_every) {
        return Err(Error::value("train", "--save-every", "minutes, between 0 and a million", args.save_every));
    }
    if !args.resume {
        args.choices().check()?;
    }
    let stored = if args.resume { Some(resumed(args)?) } else { None };
    if stored.is_none() && !args.dry_run {
        Folder::check_new(&args.out)?;
    }
    let gpu = show::gpu(args.adapter.as_deref())?;
    // Enough for a crop of half the area at full resolution; without --size the images decide, and 224 is the largest choice.
    let size = stored.as_ref().map(|config| config.augmentation.side).or(args.size);
    let first = Config::decode_side(size.unwrap_or(224));
    let mut set = Set {
        labels: args.labels.as_deref(),
        limit: stored.as_ref().map_or(args.limit, |config| config.limit),
        exclude: stored.as_ref().map(|config| config.exclude.clone()),
        // What broke since the run began keeps its row of the bank.
        names: if args.resume && args.images.skip_broken { Folder::images(&args.out)?.map(Arc::from) } else { None },
        ..Set::of(&args.data)
    };
    let mut dataset = show::images(&set, &args.images, first)?;
    let (config, notes) = match stored {
        Some(config) => {
            if let Some(names) = images::same_but_written_otherwise(args, &*dataset)? {
                set.names = Some(names.into());
                dataset = Arc::from(show::open_images(&set, &args.images, first)?.dataset);
            }
            images::check_same(args, &*dataset)?;
            (Config { images: dataset.len(), names: images::names(&*dataset), ..config }, Vec::new())
        }
        None => {
            let side = images::median_side(&*dataset, args.images.skip_broken)?;
            args.choices().resolve(dataset.len(), side, images::names(&*dataset))?
        }
    };
    let side = Config::decode_side(config.augmentation.side);
    if side != first {
        // The network turns out to take smaller images: what it sees must not depend on whether --size was given.
        say!("at most {side} pixels on the shorter side, for a network that takes {}", config.augmentation.side);
        dataset = Arc::from(show::open_images(&set, &args.images, side)?.dataset);
    }
    let test = if args.eval_every > 0 { images::of_test(args, &config, side)? } else { None };
    images::check_judging(args, &*dataset, test.as_deref())?;
    print::config(&config);
    notes.iter().for_each(|note| say!("note: {note}"));
    if args.dry_run {
        dry_run::run(args, &gpu, config, args.source(dataset))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut run = begin(args, &gpu, config, args.source(dataset))?;
    say!("images: {}", run.feed());
    print::memory(&gpu, &mut run);
    kernels::make_ready(&mut run)?;
    let stop = Stop::listen()?;
    let (eval_every, stop_after, profile, threads) = (args.eval_every, args.stop_after, args.profile, args.images.threads);
    let save_every = (args.save_every > 0.0).then(|| Duration::from_secs_f64(60.0 * args.save_every));
    let raised = stop.raised.clone();
    let options =
        RunOptions { test, eval_every, stop_after, threads, save_every, profile, stop: raised, ..RunOptions::default() };
    let mut progress = Progress::new(run.config(), args);
    let mut first = true;
    let outcome = run.train(&options, &mut |event| {
        if std::mem::take(&mut first) {
            let seconds = started.elapsed().as_secs_f64();
            progress.say(&format!("first step after {seconds:.1} s, {}", count(gpu.pipelines(), "pipeline")));
        }
        progress.show(event);
    })?;
    progress.end();
    match run.profile() {
        Some(profile) => {
            let folder = shown(&args.out);
            say!("{}{}", profile.kernel_table(), profile.summary().trim_end());
            say!("by dispatch: {folder}/profile.txt; trace for ui.perfetto.dev: {folder}/trace.json");
        }
        None if args.profile > 0 => say!("note: nothing was profiled: there were too few steps"),
        None => {}
    }
    let (step, config) = (run.progress().step, run.config());
    let per_epoch = config.steps_per_epoch();
    let (steps, epochs) = (per_epoch * config.epochs as u64, config.epochs as u64);
    match outcome {
        Outcome::Stopped => {
            let epoch = step / per_epoch + 1;
            say!("stopped at step {step} of {steps} (epoch {epoch} of {epochs}); the same command with --resume goes on");
            return Ok(stop.code());
        }
        Outcome::Done if step < steps => {
            let left = epochs - step / per_epoch;
            say!("done: step {step}, epoch {} of {epochs}; --resume goes on with the other {left}", epochs - left);
        }
        Outcome::Done => {
            say!("done: step {step}; features with `instdisc embed {} DATA --out FILE.npy`", shown(&args.out));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings with which the run in `--out` goes on: its own, but for epochs.
fn resumed(args: &Args) -> Result<Config> {
    let stored = Folder::config(&args.out)?;
    Folder::check_free(&args.out)?;
    let asked = args.choices().over(&stored)?;
    if let Some(difference) = stored.difference(&asked) {
        let reason = format!(
            "the run began with other settings ({difference}); leave these options out to go on with the run's own, or begin a new run with another --out"
        );
        return Err(Error::data(args.out.join("config.json"), reason));
    }
    if asked.epochs > stored.epochs {
        say!(
            "note: {} epochs instead of {}: from here on the learning rate is that of the longer schedule",
            asked.epochs,
            stored.epochs
        );
    }
    Ok(asked)
}

fn begin(args: &Args, gpu: &Gpu, config: Config, source: Source) -> Result<Run> {
    let gpu = &args.kernels.allow(gpu);
    if args.resume {
        if args.kernels.given() {
            say!("note: --tune and --winograd are for new runs; this one goes on by the kernels it began with");
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
    say!("going on from step {}", run.progress().step);
    note.iter().for_each(|note| say!("note: {note}"));
    Ok(run)
}
