//! Measuring a case beside the adapter's own rate.

use super::cases::{Case, Kind};
use super::median;
use super::prepare::{Prepared, Run};
use crate::error::Result;
use crate::gpu::{Gpu, PeakMeter, Work};
use serde::Serialize;

/// Samples of a case.
const SAMPLES: usize = 7;

/// What was measured of a [`Case`]. [`json`](Self::json) makes one line of it.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// [`Case::name`].
    pub case: &'static str,
    /// [`Case::shape`].
    pub shape: String,
    /// Milliseconds a run, the median of the samples.
    pub median_ms: f64,
    /// How far the samples lie apart: (slowest − fastest) / median.
    pub spread: f64,
    /// 10⁹ operations a second, two for a multiply-add.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gflops: Option<f64>,
    /// 10⁹ bytes a second that must move at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gbps: Option<f64>,
    /// The share of the adapter's own rate: the median of the samples' shares, each of a rate sampled next to it.
    pub fraction_of_peak: f64,
    /// The kernels, as `conv2d:forward rows=8 cols=4`.
    pub variant: String,
    /// The adapter's name.
    pub adapter: String,
    /// Dispatches a run; of training steps only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispatches: Option<usize>,
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
    /// [`Error::Limit`] and [`Error::OutOfMemory`] where the device cannot hold it; [`Error::DeviceLost`].
    pub fn run(&self, case: &Case) -> Result<Measurement> {
        let mut prepared = Prepared::new(&self.gpu, case)?;
        let times = prepared.as_mut().map_or(Ok(1), Prepared::warm_up)?;
        let peak = || if case.bandwidth_bound() { self.meter.bytes_per_second() } else { self.meter.flops() };
        let mut samples = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            let before = peak()?;
            // Without a program the rate itself is the case.
            let seconds = prepared.as_mut().map(|p| p.seconds(times)).transpose()?;
            samples.push((before, seconds));
        }
        let bandwidth = case.bandwidth_bound();
        let own = self.meter.work();
        let own = if bandwidth { Work { flops: 0.0, ..own } } else { Work { bytes: 0.0, ..own } };
        let work = prepared.as_ref().map_or(own, |p| p.work);
        let amount = if bandwidth { work.bytes } else { work.flops };
        let (times, shares): (Vec<f64>, Vec<f64>) = samples
            .iter()
            .map(|&(rate, seconds)| (seconds.unwrap_or(amount / rate), seconds.map_or(1.0, |s| amount / s / rate)))
            .unzip();
        let median = median(times.clone());
        let spread = times.iter().copied().fold(0.0, f64::max) - times.iter().copied().fold(f64::INFINITY, f64::min);
        let of = |amount: f64| (amount > 0.0).then_some(amount / median / 1e9);
        let mut found = Measurement {
            case: case.name,
            shape: case.shape.clone(),
            median_ms: median * 1e3,
            spread: spread / median,
            gflops: of(work.flops),
            gbps: of(work.bytes),
            fraction_of_peak: self::median(shares),
            variant: prepared.as_ref().map_or("peak".into(), |p| p.variant.clone()),
            adapter: self.gpu.facts().name.clone(),
            dispatches: None,
            peak_bytes: None,
            images_per_second: None,
        };
        if let (Some(Prepared { run: Run::Train(trainer), .. }), Kind::Train(options)) = (&mut prepared, &case.kind) {
            found.dispatches = Some(trainer.step.program().dispatches().len());
            found.peak_bytes = Some(trainer.bytes);
            found.images_per_second = Some(options.batch as f64 / median);
        }
        Ok(found)
    }
}
