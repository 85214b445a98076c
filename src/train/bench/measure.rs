//! Measuring a case beside the adapter's own rates.

use super::cases::{Case, Kind};
use super::median;
use super::prepare::{Prepared, Run};
use super::roofline::Roofline;
use crate::error::Result;
use crate::gpu::{Gpu, Peak, PeakMeter, Work, processor};
use crate::ops::apart;
use serde::{Deserialize, Serialize};

/// Samples of a case.
const SAMPLES: usize = 7;

/// What was measured of a [`Case`]. [`json`](Self::json) makes one line of it; fields that say nothing of a case are left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    /// [`Case::name`].
    pub case: String,
    /// [`Case::shape`].
    pub shape: String,
    /// What a product or convolution was computed by, as `direct lanes 8x4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Whether that is what the static table prefers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred: Option<bool>,
    /// Whether it reached more than every other algorithm, where all were measured: see [`mark_fastest`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fastest: Option<bool>,
    /// Milliseconds a run, the median of the samples.
    pub median_ms: f64,
    /// How far the samples lie apart: (slowest − fastest) / median. Of several rounds, how far their medians do.
    pub spread: f64,
    /// 10⁹ operations a second, two for a multiply-add; of what memory bounds they are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gflops: Option<f64>,
    /// 10⁹ bytes a second that must move at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gbps: Option<f64>,
    /// The share of the adapter's own rate: the median of the samples' shares, each of a rate sampled next to it.
    pub fraction_of_peak: f64,
    /// How far these shares lie apart: (highest − lowest) / median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fraction_spread: Option<f64>,
    /// Operations for each byte that must move at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flop_per_byte: Option<f64>,
    /// 10⁹ operations a second that the adapter's [`Roofline`] allows at that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attainable_gflops: Option<f64>,
    /// The share of it that was reached, as `fraction_of_peak`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fraction_of_attainable: Option<f64>,
    /// The adapter's own multiply-adds beside the samples, 10⁹ operations a second, the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_gflops: Option<f64>,
    /// The adapter's own copy beside the samples, 10⁹ bytes a second, the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_gbps: Option<f64>,
    /// The kernels, as `conv2d:forward rows=8 cols=4`.
    pub variant: String,
    /// The adapter's name.
    pub adapter: String,
    /// Its driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The processor, where it stands in for a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
    /// Rounds behind the numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounds: Option<usize>,
    /// Dispatches a run, but for those of `dispatches_apart`; of training steps only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispatches: Option<usize>,
    /// Dispatches for Winograd's transforms and for the sums of partial sums; of training steps only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispatches_apart: Option<usize>,
    /// Dispatches that wait for those before them, see [`Program::barriers`](crate::tape::Program::barriers); of training steps only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barriers: Option<usize>,
    /// Bytes of device memory for network, bank and step; of training steps only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Images a second; of training steps only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_per_second: Option<f64>,
}

impl Measurement {
    /// One line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// One measurement of several of the same case: the medians of theirs. `None` where there are none.
    pub fn of_rounds(rounds: &[Self]) -> Option<Self> {
        let first = rounds.first()?;
        let over = |field: fn(&Self) -> Option<f64>| {
            let values: Vec<f64> = rounds.iter().filter_map(field).collect();
            (!values.is_empty()).then(|| median(values))
        };
        let (ms, share): (Vec<f64>, Vec<f64>) = rounds.iter().map(|m| (m.median_ms, m.fraction_of_peak)).unzip();
        Some(Self {
            median_ms: median(ms.clone()),
            // A single round has nothing but its samples to tell by.
            spread: if rounds.len() == 1 { first.spread } else { spread(&ms) },
            gflops: over(|m| m.gflops),
            gbps: over(|m| m.gbps),
            fraction_of_peak: median(share.clone()),
            fraction_spread: if rounds.len() == 1 { first.fraction_spread } else { Some(spread(&share)) },
            attainable_gflops: over(|m| m.attainable_gflops),
            fraction_of_attainable: over(|m| m.fraction_of_attainable),
            peak_gflops: over(|m| m.peak_gflops),
            peak_gbps: over(|m| m.peak_gbps),
            rounds: Some(rounds.iter().filter_map(|m| m.rounds).sum()),
            images_per_second: over(|m| m.images_per_second),
            ..first.clone()
        })
    }
}

/// (highest − lowest) / median.
fn spread(values: &[f64]) -> f64 {
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    (highest - lowest) / median(values.to_vec())
}

/// Among `rows` of one case by several algorithms, mark the one that reached the largest share of the adapter's own rate.
pub fn mark_fastest(rows: &mut [Measurement]) {
    let best = rows.iter().map(|row| row.fraction_of_peak).fold(f64::NEG_INFINITY, f64::max);
    for row in rows.iter_mut().filter(|row| row.algorithm.is_some()) {
        row.fastest = Some(row.fraction_of_peak == best);
    }
}

/// Measures cases on one device.
pub struct Bench {
    gpu: Gpu,
    meter: PeakMeter,
}

/// Measure one case on `gpu`. For several, a [`Bench`] prepares the adapter's own kernels once.
///
/// # Errors
/// As [`Bench::run`].
pub fn run(gpu: &Gpu, case: &Case) -> Result<Measurement> {
    Bench::new(gpu)?.run(case)
}

/// A run of a case, and the adapter's rates right before it.
struct Sample {
    peak: Peak,
    seconds: f64,
}

impl Bench {
    /// Prepare to measure on `gpu`.
    ///
    /// # Errors
    /// As [`PeakMeter::new`].
    pub fn new(gpu: &Gpu) -> Result<Self> {
        Ok(Self { gpu: gpu.clone(), meter: PeakMeter::new(gpu)? })
    }

    /// Measure `case`.
    ///
    /// # Errors
    /// As [`Prepared::new`].
    pub fn run(&self, case: &Case) -> Result<Measurement> {
        let mut prepared = Prepared::new(&self.gpu, case)?;
        let times = prepared.as_mut().map_or(Ok(1), Prepared::warm_up)?;
        let bandwidth = case.bandwidth_bound();
        let own = self.meter.work();
        let own = if bandwidth { Work { flops: 0.0, ..own } } else { Work { bytes: 0.0, ..own } };
        let work = prepared.as_ref().map_or(own, |p| p.work);
        let least = |peak: Peak| if bandwidth { work.bytes / peak.bytes_per_second } else { work.flops / peak.flops };
        let mut samples = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            let peak = self.meter.sample()?;
            // Without a program the rate itself is the case.
            let seconds = prepared.as_mut().map_or(Ok(least(peak)), |p| p.seconds_on_device(times))?;
            samples.push(Sample { peak, seconds });
        }
        let over = |value: &dyn Fn(&Sample) -> f64| samples.iter().map(value).collect::<Vec<f64>>();
        let times = over(&|s| s.seconds);
        let shares = over(&|s| least(s.peak) / s.seconds);
        let seconds = median(times.clone());
        let rate = |amount: f64| (amount > 0.0).then_some(amount / seconds / 1e9);
        let roof = |s: &Sample| Roofline::from(s.peak).seconds(work);
        let a_case = prepared.is_some();
        let preferred = case.problem().map(|problem| problem.preferred(&self.gpu).to_string());
        let algorithm = prepared.as_ref().and_then(|p| p.algorithm.clone());
        let mut found = Measurement {
            case: case.name.into(),
            shape: case.shape.clone(),
            preferred: preferred.map(|preferred| algorithm.as_ref() == Some(&preferred)),
            algorithm,
            fastest: None,
            median_ms: seconds * 1e3,
            spread: spread(&times),
            gflops: rate(if bandwidth { 0.0 } else { work.flops }),
            gbps: rate(work.bytes),
            fraction_of_peak: median(shares.clone()),
            fraction_spread: Some(spread(&shares)),
            flop_per_byte: a_case.then_some(work.flops / work.bytes),
            attainable_gflops: a_case.then(|| median(over(&|s| work.flops / roof(s) / 1e9))),
            fraction_of_attainable: a_case.then(|| median(over(&|s| roof(s) / s.seconds))),
            peak_gflops: Some(median(over(&|s| s.peak.flops / 1e9))),
            peak_gbps: Some(median(over(&|s| s.peak.bytes_per_second / 1e9))),
            variant: prepared.as_ref().map_or("peak".into(), |p| p.variant.clone()),
            adapter: self.gpu.facts().name.clone(),
            driver: Some(self.gpu.facts().driver.clone()),
            processor: self.gpu.facts().software.then(processor),
            rounds: Some(1),
            dispatches: None,
            dispatches_apart: None,
            barriers: None,
            peak_bytes: None,
            images_per_second: None,
        };
        if let (Some(Prepared { run: Run::Train(trainer), .. }), Kind::Train(options)) = (&mut prepared, &case.kind) {
            let program = trainer.step.program();
            let apart = program.dispatches().iter().filter(|dispatch| apart(dispatch)).count();
            found.dispatches = Some(program.dispatches().len() - apart);
            found.dispatches_apart = Some(apart);
            found.barriers = Some(program.barriers());
            found.peak_bytes = Some(trainer.bytes);
            found.images_per_second = Some(options.batch as f64 / seconds);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::bench::testing::row;

    #[test]
    fn rounds_give_the_median_of_medians_and_how_far_those_lie_apart() {
        let rounds = [(4.0, 0.20), (1.0, 0.40), (2.0, 0.25)].map(|(ms, share)| Measurement {
            median_ms: ms,
            spread: 9.0,
            gflops: Some(8.0 / ms),
            ..row("gemm", "8x8x8", share)
        });
        let all = Measurement::of_rounds(&rounds).unwrap();
        assert_eq!((all.median_ms, all.spread, all.gflops, all.rounds), (2.0, 1.5, Some(4.0), Some(3)));
        assert_eq!((all.fraction_of_peak, all.gbps), (0.25, None));
        assert!((all.fraction_spread.unwrap() - 0.8).abs() < 1e-12);
        let two = Measurement::of_rounds(&rounds[..2]).unwrap();
        assert_eq!(two.median_ms, 2.5);
        assert_eq!(Measurement::of_rounds(&rounds[..1]).unwrap().spread, 9.0);
        assert!(Measurement::of_rounds(&[]).is_none());
    }

    #[test]
    fn the_fastest_algorithm_is_the_one_with_the_largest_share() {
        let mut rows = [0.1, 0.3, 0.2].map(|share| Measurement { algorithm: Some("a".into()), ..row("gemm", "8x8x8", share) });
        mark_fastest(&mut rows);
        assert_eq!(rows.map(|row| row.fastest), [Some(false), Some(true), Some(false)]);
        let mut alone = [row("nce", "b4", 0.5)];
        mark_fastest(&mut alone);
        assert_eq!(alone[0].fastest, None);
    }
}
