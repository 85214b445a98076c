//! `--dry-run`: the memory and the time of a run.

use super::{Args, print};
use crate::kernels;
use crate::say::say;
use crate::show::count;
use instdisc::Result;
use instdisc::gpu::Gpu;
use instdisc::train::{Config, Event, Run, RunOptions, Source};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Steps that a dry run times, after the first, in which drivers compile.
const TIMED: usize = 3;

/// What the run would take, by doing a few of its steps.
pub(super) fn run(args: &Args, gpu: &Gpu, config: Config, source: Source) -> Result<()> {
    let (steps, epochs) = (config.steps_per_epoch(), config.epochs as u64);
    let tuned = args.kernels.remembered(gpu);
    // Enough steps to time, however few the run has; the memory is the same.
    let config = Config { epochs: config.epochs.max(TIMED + 2), ..config };
    let mut run = Run::new(&tuned, config, source, None)?;
    say!("images: {}", run.feed());
    if args.kernels.effort().is_some() {
        kernels::print_known(&tuned, run.kernels());
    }
    print::memory(gpu, &mut run);
    let stop = Arc::new(AtomicBool::new(false));
    // Each step is waited for: the losses of several under way would come in one burst when the run ends.
    let options =
        RunOptions { eval_every: 0, ahead: 0, threads: args.images.threads, stop: stop.clone(), ..RunOptions::default() };
    let mut ends = Vec::new();
    run.train(&options, &mut |event| {
        if matches!(event, Event::Step { .. }) && ends.len() <= TIMED {
            ends.push(Instant::now());
            stop.store(ends.len() > TIMED, Ordering::SeqCst);
        }
    })?;
    let timed = ends.len().saturating_sub(1);
    let (Some(first), Some(last), true) = (ends.first(), ends.last(), timed > 0) else {
        say!("time: not measured, for too few steps were done");
        return Ok(());
    };
    let each = last.duration_since(*first).as_secs_f64() / timed as f64;
    let (epoch, all) = (each * steps as f64, each * (steps * epochs) as f64);
    say!(
        "time, by {}: {each:.*} s a step, {} an epoch of {}, {} for {}; without judging the features",
        count(timed, "timed step"),
        if each < 1.0 { 4 } else { 2 },
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
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
