//! Cases of `instdisc::train::bench` for criterion.
#![allow(dead_code, reason = "each bench asks one of the questions")]

use criterion::{BenchmarkId, Criterion};
use instdisc::gpu::Gpu;
use instdisc::train::bench::{Case, Options, Prepared, cases};
use std::time::Duration;

/// Measure the cases called `name` (or with such a beginning) whose shape holds `shape`. Prints adapter and driver first.
pub(crate) fn measure(criterion: &mut Criterion, name: &str, shape: &str) {
    or_exit(try_measure(criterion, name, shape, false));
}

/// The same by every algorithm.
pub(crate) fn measure_variants(criterion: &mut Criterion, name: &str, shape: &str) {
    or_exit(try_measure(criterion, name, shape, true));
}

fn or_exit(result: instdisc::Result<()>) {
    if let Err(error) = result {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn try_measure(criterion: &mut Criterion, name: &str, shape: &str, variants: bool) -> instdisc::Result<()> {
    let gpu = Gpu::open(&Default::default())?;
    eprintln!("{} · {}", gpu.facts().name, gpu.facts().driver);
    let width = if shape == "w8" { 8 } else { 64 };
    let cases = cases(&Options { width, ..Options::default() })?.into_iter();
    for case in cases.filter(|case| case.name.starts_with(name) && case.shape.contains(shape)) {
        let mut group = criterion.benchmark_group(case.name);
        let seconds = if variants { 0.5 } else { 2.0 };
        group.sample_size(10).warm_up_time(Duration::from_secs_f64(seconds / 2.0));
        group.measurement_time(Duration::from_secs_f64(seconds));
        for case in if variants { case.variants(&gpu) } else { vec![case] } {
            let id = match case.algorithm {
                Some(algorithm) => BenchmarkId::new(&case.shape, algorithm),
                None => BenchmarkId::from_parameter(&case.shape),
            };
            let mut run = Lazy { gpu: &gpu, case: &case, prepared: None, fault: None };
            group.bench_function(id, |bencher| bencher.iter_custom(|times| run.time(times)));
            run.fault.map_or(Ok(()), Err)?;
        }
        group.finish();
    }
    Ok(())
}

/// A case that is prepared when it is first timed: what criterion passes over is not even compiled.
struct Lazy<'a> {
    gpu: &'a Gpu,
    case: &'a Case,
    prepared: Option<Prepared>,
    fault: Option<instdisc::Error>,
}

impl Lazy<'_> {
    fn time(&mut self, times: u64) -> Duration {
        let seconds = self.seconds(times as usize);
        seconds.map_or_else(
            |error| {
                self.fault = Some(error);
                Duration::from_secs(1)
            },
            |seconds| Duration::from_secs_f64(seconds * times as f64),
        )
    }

    fn seconds(&mut self, times: usize) -> instdisc::Result<f64> {
        if self.prepared.is_none() {
            self.prepared = Prepared::new(self.gpu, self.case)?;
        }
        self.prepared.as_mut().map_or(Ok(0.0), |prepared| prepared.seconds(times))
    }
}
