//! How fast the kernels are on an adapter, against what the adapter itself does.
//!
//! [`cases`] lists what can be measured and [`Bench::run`] measures one of them. Each sample of a case is taken next to a
//! sample of the adapter's own rate ([`PeakMeter`]), so that `fraction_of_peak` holds on a machine that others use too.
//!
//! - A case of one op is a one-op tape whose dispatches run over and over in one submission, for at least 50 ms a sample.
//! - `train_step` is timed as `train` runs it: the host writes a batch, submits the step, and reads losses two steps late.
//! - `gflops` counts two for each multiply-add of the plain algorithm with unpadded channels, whatever is run; of a
//!   training step it counts three times the forward convolutions and nothing else.
//! - `fraction_of_peak` is of the multiply-add rate for convolutions, products, the softmax and the training step, and of
//!   the copy rate for what memory bounds: batch norm, augmentation, the update, noise-contrastive estimation.
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
mod measure;
mod prepare;
mod profile;
mod recording;
mod trainer;

pub use cases::{Case, Options, cases, step_flops};
pub use measure::{Bench, Measurement, run};
pub use prepare::Prepared;
pub use profile::{Share, profile};

/// Rows of the bank, the length of a row, and the negatives a sample.
const BANK: (usize, usize, usize) = (50_000, 128, 4096);

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
