//! The device memory of a run, known before it is allocated.

use super::{Config, Images, Pixels, StepOptions, TrainingStep};
use crate::error::{Error, Result, bytes};
use crate::gpu::{Gpu, Uploads};
use crate::nn::ResNet;
use crate::optim::Sgd;
use crate::tape::{Footprint, Store};

/// Bytes of device memory that a run holds, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Weights.
    pub parameters: u64,
    /// Their gradients.
    pub gradients: u64,
    /// Their momentum.
    pub momentum: u64,
    /// The bank, Z, and running statistics.
    pub state: u64,
    /// Images that stay on the device, or the ring through which they go up.
    pub images: u64,
    /// The step's program.
    pub step: Footprint,
}

impl Needs {
    pub(super) fn new(store: &Store, pixels: &Pixels, step: Footprint) -> Self {
        let [parameters, gradients, momentum, state] = store.bytes();
        let images = 4 * match pixels {
            Pixels::Written { words } => Uploads::held(*words),
            Pixels::Resident(range) => range.words,
        } as u64;
        Self { parameters, gradients, momentum, state, images, step }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.parameters + self.gradients + self.momentum + self.state + self.images + self.step.total()
    }
}

impl std::fmt::Display for Needs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { parameters, gradients, momentum, state, images, step } = *self;
        let part = |n| bytes(n);
        write!(
            f,
            "{}: weights {}, gradients {}, momentum {}, bank and statistics {}, activations {} ({} without sharing), images and other inputs {}, constants and results {}",
            part(self.total()),
            part(parameters),
            part(gradients),
            part(momentum),
            part(state),
            part(step.activations),
            part(step.unshared),
            part(images + step.inputs),
            part(step.constants + step.kept)
        )
    }
}

/// The options of a step of a run by `config`.
pub(super) fn step_options(config: &Config, pixels: &Pixels) -> StepOptions {
    StepOptions {
        batch: config.batch,
        images: Images::Augmented { settings: config.augmentation, pixels: pixels.clone() },
        method: config.method,
        sgd: Sgd { momentum: config.momentum, weight_decay: config.weight_decay },
        given_negatives: false,
    }
}

/// What a run needs beside what `gpu` holds, and refuse it where that is more than there is.
///
/// # Errors
/// [`Error::Memory`], with a batch that fits; those of [`TrainingStep::footprint`].
pub(super) fn check(gpu: &Gpu, config: &Config, net: &ResNet, store: &Store, pixels: &Pixels) -> Result<Needs> {
    let needs = needs(gpu, config, net, store, pixels)?;
    let coming = if matches!(pixels, Pixels::Written { .. }) { needs.images } else { 0 };
    let own = needs.total() - needs.step.total() - coming;
    // The store is there already, and so are images that stay.
    let others = gpu.bytes().0.saturating_sub(own);
    match gpu.memory() {
        Some(most) if needs.total() + others > most => Err(too_large(gpu, config, net, store, pixels, most - most.min(others))),
        _ => Ok(needs),
    }
}

fn needs(gpu: &Gpu, config: &Config, net: &ResNet, store: &Store, pixels: &Pixels) -> Result<Needs> {
    let footprint = TrainingStep::footprint(gpu, net, store, &step_options(config, pixels), config.accumulate)?;
    Ok(Needs::new(store, pixels, footprint))
}

/// Say that the run does not fit into `available` bytes, and which batch would.
pub(super) fn too_large(gpu: &Gpu, config: &Config, net: &ResNet, store: &Store, pixels: &Pixels, available: u64) -> Error {
    // As many images a step as were asked for, in parts.
    let of = |batch: usize| {
        let accumulate = config.step_images().div_ceil(batch.max(1));
        needs(gpu, &Config { batch, accumulate, ..config.clone() }, net, store, pixels).map(|needs| needs.total())
    };
    let needed = match of(config.batch) {
        Ok(needed) => needed,
        Err(error) => return error,
    };
    let fits = largest(config.batch, available, |batch| of(batch).unwrap_or(u64::MAX));
    Error::Memory { needed, available, batch: config.batch, fits }
}

/// The most images of less than `batch` that take no more than `available` bytes, or not many fewer: bytes grow with the
/// images evenly, but for rounding and for kernels that change with the shape.
fn largest(batch: usize, available: u64, of: impl Fn(usize) -> u64) -> Option<usize> {
    let (mut low, mut high) = (0, batch);
    // To an eighth: nobody trains at a batch of 117 because one of 118 is too large.
    while high - low > (low / 8).max(1) {
        let middle = low + (high - low) / 2;
        if of(middle) <= available { low = middle } else { high = middle }
    }
    (low > 0).then_some(low)
}

#[cfg(test)]
mod tests {
    use super::largest;

    #[test]
    fn the_batch_that_is_proposed_fits_and_is_not_much_too_small() {
        for most in [1u64, 2, 3, 7, 30, 99, 100] {
            let found = largest(128, 1000 + 10 * most, |batch| 1000 + 10 * batch as u64).unwrap() as u64;
            assert!(found <= most && found + found / 8 + 1 > most, "{found} of {most}");
        }
        assert_eq!(largest(128, 1005, |batch| 1000 + 10 * batch as u64), None);
        assert_eq!(largest(1, 0, |_| 1), None);
    }
}
