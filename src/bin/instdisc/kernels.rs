//! What several commands share about kernels: their options, and tuning with a bar.

use crate::say::say;
use crate::show;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use instdisc::Result;
use instdisc::gpu::{Choices, Gpu};
use instdisc::ops::Problem;
use instdisc::train::Run;
use instdisc::train::tune::{Cache, Effort, Report, Tuner, cache_folder};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When a line says that kernels are being compiled, and then how far that is.
const SILENT: Duration = Duration::from_secs(2);

/// Compile a run's kernels before its first step; say so where it takes long.
pub(crate) fn make_ready(run: &mut Run) -> Result<()> {
    let said = Mutex::new(Instant::now());
    run.make_ready(|done, all| {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.elapsed() >= SILENT {
            *said = Instant::now();
            say!("kernels: {done} of {all} compiled for this adapter; its driver keeps them for later");
        }
    })
}

/// Which kernels may compute, and whether to look for the fastest.
#[derive(clap::Args, Debug, Clone, Copy)]
pub(crate) struct KernelArgs {
    /// Measure which kernels are fastest here, or use what was measured earlier [default: off: a static table]
    #[arg(long, value_enum, value_name = "HOW")]
    tune: Option<Tune>,
    /// Whether convolutions may be computed by Winograd's algorithms, which round more [default: on]
    #[arg(long, value_enum)]
    winograd: Option<OnOff>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum OnOff {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tune {
    /// What the static table prefers
    Off,
    /// Within 3 seconds on a GPU, 20 on a software adapter
    Quick,
    /// Every candidate
    Full,
}

impl KernelArgs {
    /// `gpu` with the algorithms that may be used.
    pub(crate) fn allow(&self, gpu: &Gpu) -> Gpu {
        allow(gpu, self.winograd)
    }

    /// The same, with everything that is known from earlier tuning, if tuning was asked for.
    pub(crate) fn remembered(&self, gpu: &Gpu) -> Gpu {
        let gpu = self.allow(gpu);
        if self.effort().is_some() { known(&gpu, &cache(&gpu)) } else { gpu }
    }

    /// [`allow`](Self::allow)ed, and tuned for `problems` if that was asked for.
    pub(crate) fn tuned(&self, gpu: &Gpu, problems: impl FnOnce(&Gpu) -> Result<Vec<Problem>>) -> Result<Gpu> {
        let gpu = self.allow(gpu);
        let Some(effort) = self.effort() else { return Ok(gpu) };
        let choices = choose(&gpu, effort, &problems(&gpu)?, &mut cache(&gpu))?;
        Ok(gpu.with_choices(choices))
    }

    /// Whether something was said of kernels.
    pub(crate) fn given(&self) -> bool {
        self.tune.is_some() || self.winograd.is_some()
    }

    /// How much trouble to take, if any.
    pub(crate) fn effort(&self) -> Option<Effort> {
        match self.tune? {
            Tune::Off => None,
            Tune::Quick => Some(Effort::Quick),
            Tune::Full => Some(Effort::Full),
        }
    }
}

/// `gpu` with Winograd's algorithms or without.
pub(crate) fn allow(gpu: &Gpu, winograd: Option<OnOff>) -> Gpu {
    let mut choices = gpu.choices().clone();
    choices.allow_winograd(winograd != Some(OnOff::Off));
    gpu.with_choices(choices)
}

/// The cache of `gpu`, and a word where something in it was passed over or there is none.
pub(crate) fn cache(gpu: &Gpu) -> Cache {
    let Some(folder) = cache_folder() else {
        say!("note: no folder for a cache; set INSTDISC_CACHE to keep what is measured");
        return Cache::in_memory(gpu);
    };
    let (cache, word) = Cache::open(&folder, gpu);
    word.iter().for_each(|word| say!("note: {word}"));
    cache
}

/// `gpu` with everything that `cache` knows, before anything is measured.
pub(crate) fn known(gpu: &Gpu, cache: &Cache) -> Gpu {
    let report = Report { found: cache.all(gpu), ..Report::default() };
    gpu.with_choices(report.choices(gpu.choices().clone()))
}

/// Say how many of the problems that are solved as `used` says were tuned, where `gpu` has everything [`known`] and nothing else.
pub(crate) fn print_known(gpu: &Gpu, used: &Choices) {
    let tuned = used.iter().filter(|(problem, _)| gpu.choices().get(problem).is_some()).count();
    match tuned {
        0 => say!("note: no kernel of this run was tuned here yet, and a dry run tunes none: the static table chooses"),
        _ => say!("kernels: {tuned} of {} tuned earlier; a dry run tunes none", show::count(used.iter().count(), "problem")),
    }
}

/// Tune with a bar on a terminal, keep what was found, and say what there is to say.
pub(crate) fn tune(tuner: &Tuner, problems: &[Problem], cache: &mut Cache) -> Report {
    let unknown = tuner.unknown(problems, cache);
    let (estimate, budget) = (tuner.estimate(&unknown), tuner.seconds_at_most());
    let about = match unknown.len() {
        0 => String::new(),
        _ if budget.is_finite() => format!(": {:.0} s at most", budget.max(0.0)),
        _ => format!(": about {estimate:.0} s"),
    };
    say!("kernels: {}, {} to measure{about}", show::count(problems.len(), "problem"), unknown.len());
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("tuning {wide_bar} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let mut measured = 0;
    let report = tuner.run(problems, cache, &mut |found, left| {
        measured += 1;
        bar.set_length((measured + left) as u64);
        bar.set_position(measured as u64);
        bar.set_message(found.problem.clone());
    });
    bar.finish_and_clear();
    if let Err(error) = if measured > 0 { cache.save() } else { Ok(()) } {
        say!("note: what was measured is not kept: {error}");
    }
    for found in &report.found {
        for out in &found.left_out {
            say!("note: {}: `{}` is left out: it {}", found.problem, out.algorithm, out.why);
        }
    }
    let left = report.out_of_time();
    if left > 0 {
        say!(
            "note: no time was left for {left} of {}, where the preferred kernels stay; tune again to go on",
            show::count(report.found.len(), "problem")
        );
    }
    report
}

/// Tune the problems that a recording by the choices of `gpu` uses, and return what is to be in force.
pub(crate) fn choose(gpu: &Gpu, effort: Effort, problems: &[Problem], cache: &mut Cache) -> Result<Choices> {
    let report = tune(&Tuner::new(gpu, effort), problems, cache);
    gpu.check()?;
    let faster = report.found.iter().filter(|found| found.algorithm != found.preferred).count();
    say!("kernels: {faster} computed otherwise than the static table prefers; {:.2} s", report.seconds);
    let mut choices = Choices::default();
    choices.allow_winograd(gpu.choices().allows_winograd());
    Ok(report.choices(choices))
}
