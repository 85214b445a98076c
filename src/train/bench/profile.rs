//! Where the time of a training step goes.

use super::cases::Options;
use super::trainer::Trainer;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::train::Profile;

/// Steps to warm up, and steps that are timed in each way.
const WARM_UP: usize = 2;
const STEPS: usize = 5;

/// Where the time of a training step goes, of steps as `train` runs them: five timed whole, then five dispatch by dispatch.
///
/// # Errors
/// As [`Bench::run`](super::Bench::run).
pub fn profile(gpu: &Gpu, options: &Options) -> Result<Profile> {
    let (mut trainer, _store) = Trainer::new(gpu, options)?;
    trainer.seconds(WARM_UP)?;
    let seconds = trainer.seconds(STEPS)?;
    trainer.profile(STEPS, seconds)
}
