//! How fast the kernels are on an adapter, against what the adapter itself does.
//!
//! [`cases`] lists what can be measured and [`Bench::run`] measures one of them. Each sample of a case is taken next to a
//! sample of the adapter's own rates ([`PeakMeter`](crate::gpu::PeakMeter)), so that `fraction_of_peak` holds on a machine that
//! others use too.
//!
//! - A case of one op is a one-op tape whose dispatches run over and over in one submission, for at least 50 ms a sample, or by
//!   the device's own clock over fewer of them where it has one.
//! - `train_step` is timed as `train` runs it: the host writes a batch, submits the step, and reads losses two steps late.
//! - `gflops` counts two for each multiply-add of the plain algorithm with unpadded channels, whatever is run; of a
//!   training step it counts three times the forward convolutions and nothing else.
//! - `fraction_of_peak` is of the multiply-add rate for convolutions, products, the softmax and the training step, and of
//!   the copy rate for what memory bounds: batch norm, augmentation, the update, noise-contrastive estimation.
//!
//! A product or convolution can be measured by every algorithm ([`Case::variants`]), a measurement held against the adapter's
//! [`Roofline`], drawn under it ([`plot()`]), and compared with earlier ones ([`compare()`]).
//!
//! ```no_run
//! use instdisc::{gpu::Gpu, train::bench};
//! let bench = bench::Bench::new(&Gpu::open(&Default::default())?)?;
//! for case in bench::cases(&Default::default())? {
//!     println!("{}", bench.run(&case)?.json());
//! }
//! # Ok::<(), instdisc::Error>(())
//! ```

mod cases;
mod compare;
mod compiled;
mod measure;
mod named;
mod plot;
mod prepare;
mod profile;
mod recording;
mod roofline;
mod trainer;

pub use cases::{Case, Options, cases, filter, step_flops};
pub use compare::{Change, Comparison, compare, read};
pub use compiled::{Compiled, compiled};
pub use measure::{Bench, Measurement, mark_fastest, run};
pub use plot::plot;
pub use prepare::Prepared;
pub use profile::profile;
pub use roofline::Roofline;

/// Rows of the bank, the length of a row, and the negatives a sample.
const BANK: (usize, usize, usize) = (50_000, 128, 4096);

/// The value in the middle; of an even number of values, the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let [low, high] = [values.len().saturating_sub(1) / 2, values.len() / 2].map(|i| values.get(i).copied());
    low.zip(high).map_or(f64::NAN, |(low, high)| (low + high) / 2.0)
}

#[cfg(test)]
mod testing {
    use super::Measurement;

    /// A measurement of a made-up adapter, in one round without any spread.
    pub(super) fn row(case: &str, shape: &str, fraction_of_peak: f64) -> Measurement {
        Measurement {
            case: case.into(),
            shape: shape.into(),
            algorithm: None,
            preferred: None,
            fastest: None,
            median_ms: 1.0,
            spread: 0.0,
            gflops: None,
            gbps: None,
            fraction_of_peak,
            fraction_spread: Some(0.0),
            flop_per_byte: None,
            attainable_gflops: None,
            fraction_of_attainable: None,
            peak_gflops: None,
            peak_gbps: None,
            variant: "made up".into(),
            adapter: "made up".into(),
            driver: None,
            processor: None,
            rounds: Some(1),
            dispatches: None,
            dispatches_apart: None,
            barriers: None,
            peak_bytes: None,
            images_per_second: None,
        }
    }
}
