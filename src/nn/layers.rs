//! Layers: what they declare in a store and what they record on a tape.

use crate::error::Result;
use crate::ops;
use crate::rng::{Sequence, Stream};
use crate::shape::Layout;
use crate::tape::{Store, StoreBuilder, Tape, Tensor};

/// Whether batch norm uses the batch's statistics or the running ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The batch's.
    Train,
    /// The running ones.
    Evaluate,
}

/// First weights as PyTorch's: uniform within ±1 / √fan_in. Each parameter has numbers of its own, by its name.
fn uniform(name: &str, count: usize, fan_in: usize, seed: u64) -> Vec<f32> {
    let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
    let mut numbers = Sequence::new(seed, Stream::Weights, crc32c::crc32c(name.as_bytes()));
    (0..count).map(|_| (2.0 * numbers.unit() - 1.0) * bound).collect()
}

/// A convolution without bias.
#[derive(Clone, Debug)]
pub struct Conv2d {
    /// Its name; the weight is `<name>.weight`.
    pub name: String,
    /// Channels in.
    pub input: usize,
    /// Channels out.
    pub output: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride, in both directions.
    pub stride: usize,
    /// Zeros around the image.
    pub pad: usize,
    /// Groups of channels.
    pub groups: usize,
}

impl Conv2d {
    /// Side of the square result for square images of `side`; 0 where the window does not fit.
    pub fn side(&self, side: usize) -> usize {
        (side + 2 * self.pad).checked_sub(self.kernel).map_or(0, |free| free / self.stride.max(1) + 1)
    }

    /// Declare the weight.
    ///
    /// # Errors
    /// [`Error::Value`](crate::Error::Value) for an impossible shape.
    pub fn declare(&self, builder: &mut StoreBuilder, seed: u64) -> Result<()> {
        let name = format!("{}.weight", self.name);
        let shape = [self.output, self.input / self.groups.max(1), self.kernel, self.kernel];
        let fan_in = shape[1] * self.kernel * self.kernel;
        builder.parameter(&name, &shape, Layout::Weight, uniform(&name, shape.iter().product(), fan_in, seed))
    }

    /// Record it.
    ///
    /// # Errors
    /// Those of [`ops::conv2d`].
    pub fn forward(&self, tape: &mut Tape, store: &Store, x: Tensor) -> Result<Tensor> {
        tape.scope(&self.name);
        let weight = tape.parameter(store, &format!("{}.weight", self.name))?;
        ops::conv2d(tape, x, weight, ops::Conv { stride: self.stride, pad: self.pad, groups: self.groups })
    }
}

/// Batch normalisation over the channels of images, with PyTorch's `eps` of 1e-5 and momentum of 0.1.
#[derive(Clone, Debug)]
pub struct BatchNorm2d {
    /// Its name, before `.weight`, `.bias`, `.running_mean` and `.running_var`.
    pub name: String,
    /// Channels.
    pub channels: usize,
}

/// A batch norm whose running statistics are still to be moved, in the segment `update`.
#[derive(Clone, Debug)]
pub struct Running {
    name: String,
    x: Tensor,
    stats: Tensor,
}

const EPS: f32 = 1e-5;
const MOMENTUM: f32 = 0.1;

impl BatchNorm2d {
    /// Declare weight and bias, and the running statistics.
    ///
    /// # Errors
    /// [`Error::Value`](crate::Error::Value) for an impossible shape.
    pub fn declare(&self, builder: &mut StoreBuilder) -> Result<()> {
        let (name, c) = (&self.name, self.channels);
        builder.parameter(&format!("{name}.weight"), &[c], Layout::Rows, vec![1.0; c])?;
        builder.parameter(&format!("{name}.bias"), &[c], Layout::Rows, vec![0.0; c])?;
        builder.state(&format!("{name}.running_mean"), &[c], Layout::Rows, vec![0.0; c])?;
        builder.state(&format!("{name}.running_var"), &[c], Layout::Rows, vec![1.0; c])
    }

    /// Record it. In training mode the running statistics are left to `running`.
    ///
    /// # Errors
    /// Those of [`ops::batch_norm`].
    pub fn forward(&self, tape: &mut Tape, store: &Store, x: Tensor, mode: Mode, running: &mut Vec<Running>) -> Result<Tensor> {
        let name = &self.name;
        tape.scope(name);
        let gamma = tape.parameter(store, &format!("{name}.weight"))?;
        let beta = tape.parameter(store, &format!("{name}.bias"))?;
        if mode == Mode::Evaluate {
            let mean = tape.state(store, &format!("{name}.running_mean"))?;
            let var = tape.state(store, &format!("{name}.running_var"))?;
            return ops::batch_norm_frozen(tape, x, [gamma, beta], [mean, var], EPS);
        }
        let normal = ops::batch_norm(tape, x, gamma, beta, EPS)?;
        running.push(Running { name: name.clone(), x, stats: normal.stats });
        Ok(normal.y)
    }
}

impl Running {
    /// Record the move of the running statistics.
    ///
    /// # Errors
    /// Those of [`ops::batch_norm_running`].
    pub fn update(&self, tape: &mut Tape, store: &Store) -> Result<()> {
        tape.scope(&self.name);
        let mean = tape.state(store, &format!("{}.running_mean", self.name))?;
        let var = tape.state(store, &format!("{}.running_var", self.name))?;
        ops::batch_norm_running(tape, self.x, self.stats, mean, var, MOMENTUM)
    }
}

/// A linear layer with bias.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Its name, before `.weight` and `.bias`.
    pub name: String,
    /// Columns in.
    pub input: usize,
    /// Columns out.
    pub output: usize,
}

impl Linear {
    /// Declare weight and bias.
    ///
    /// # Errors
    /// [`Error::Value`](crate::Error::Value) for an impossible shape.
    pub fn declare(&self, builder: &mut StoreBuilder, seed: u64) -> Result<()> {
        let (weight, bias) = (format!("{}.weight", self.name), format!("{}.bias", self.name));
        let values = uniform(&weight, self.output * self.input, self.input, seed);
        builder.parameter(&weight, &[self.output, self.input], Layout::Weight, values)?;
        builder.parameter(&bias, &[self.output], Layout::Rows, uniform(&bias, self.output, self.input, seed))
    }

    /// Record it.
    ///
    /// # Errors
    /// Those of [`ops::linear`].
    pub fn forward(&self, tape: &mut Tape, store: &Store, x: Tensor) -> Result<Tensor> {
        tape.scope(&self.name);
        let weight = tape.parameter(store, &format!("{}.weight", self.name))?;
        let bias = tape.parameter(store, &format!("{}.bias", self.name))?;
        ops::linear(tape, x, weight, Some(bias))
    }
}
