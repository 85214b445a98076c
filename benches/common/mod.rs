//! Cases of `instdisc::train::bench` for criterion.

use criterion::Criterion;
use instdisc::gpu::Gpu;
use instdisc::train::bench::{Options, Prepared, cases};
use std::time::Duration;

/// Measure the cases called `name` (or with such a beginning) whose shape holds `shape`. Prints adapter and driver first.
pub(crate) fn measure(criterion: &mut Criterion, name: &str, shape: &str) {
    if let Err(error) = try_measure(criterion, name, shape) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn try_measure(criterion: &mut Criterion, name: &str, shape: &str) -> instdisc::Result<()> {
    let gpu = Gpu::open(&Default::default())?;
    eprintln!("{} · {}", gpu.facts().name, gpu.facts().driver);
    let width = if shape == "w8" { 8 } else { 64 };
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    for case in cases(&Options { width, ..Options::default() })? {
        if !case.name.starts_with(name) || !case.shape.contains(shape) {
            continue;
        }
        let Some(mut prepared) = Prepared::new(&gpu, &case)? else { continue };
        let mut fault = None;
        group.bench_function(format!("{} {}", case.name, case.shape), |bencher| {
            bencher.iter_custom(|times| match prepared.seconds(times as usize) {
                Ok(seconds) => Duration::from_secs_f64(seconds * times as f64),
                Err(error) => {
                    fault = Some(error);
                    Duration::from_secs(1)
                }
            });
        });
        fault.map_or(Ok(()), Err)?;
    }
    group.finish();
    Ok(())
}
