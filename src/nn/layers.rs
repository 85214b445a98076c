//! Layers: what they declare in a store and what they record on a tape.

use crate::error::Result;
use crate::gpu::Bound;
use crate::ops;
use crate::rng::{Sequence, Stream};
use crate::shape::Layout;
use crate::tape::{Element, Store, StoreBuilder, Tape, Tensor};
use std::ops::Range;

/// Whether batch norm uses the batch's statistics or the running ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The batch's.
    Train,
    /// The batch's, with every sum, addition and ReLU in a pass of its own: to compare the fused passes with.
    Unfused,
    /// The running ones, folded into the convolutions. No gradient can be asked for.
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

    /// The weight, for recording.
    fn weight(&self, tape: &mut Tape, store: &Store) -> Result<(Tensor, ops::Conv)> {
        tape.scope(&self.name);
        let weight = tape.parameter(store, &format!("{}.weight", self.name))?;
        Ok((weight, ops::Conv { stride: self.stride, pad: self.pad, groups: self.groups }))
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

const EPS: f32 = 1e-5;
const MOMENTUM: f32 = 0.1;
/// The groups of states that hold all running statistics of a network.
const GROUPS: [&str; 2] = ["running_mean", "running_var"];

impl BatchNorm2d {
    /// Declare weight and bias, and the running statistics.
    ///
    /// # Errors
    /// [`Error::Value`](crate::Error::Value) for an impossible shape.
    pub fn declare(&self, builder: &mut StoreBuilder) -> Result<()> {
        let (name, c) = (&self.name, self.channels);
        let [weight, bias] = self.affine();
        builder.pair([&weight, &bias], [vec![1.0; c], vec![0.0; c]])?;
        for (group, value) in GROUPS.into_iter().zip([0.0, 1.0]) {
            builder.grouped(group, &format!("{name}.{group}"), &[c], vec![value; c])?;
        }
        Ok(())
    }

    fn affine(&self) -> [String; 2] {
        ["weight", "bias"].map(|part| format!("{}.{part}", self.name))
    }
}

/// The statistics of all batch norms of a network in one batch, side by side as their running ones are in the store, which one
/// dispatch in the segment `update` moves towards them.
#[derive(Clone, Debug)]
pub struct Statistics {
    range: Bound,
    /// Words of the running ones, from the first norm that was recorded to the last: a network declares its norms together, and
    /// the store may hold others before them and behind.
    recorded: Option<Range<usize>>,
}

impl Statistics {
    /// Room for them on `tape`'s device.
    ///
    /// # Errors
    /// [`Error::Value`](crate::Error::Value) for a store without batch norms; [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn new(tape: &mut Tape, store: &Store) -> Result<Self> {
        let words = 5 * store.group(GROUPS[0])?.words;
        Ok(Self { range: tape.room("statistics", words)?, recorded: None })
    }

    /// Those of one norm.
    fn of(&mut self, tape: &mut Tape, store: &Store, norm: &BatchNorm2d) -> Result<ops::Norm> {
        tape.scope(&norm.name);
        let running = store.state(&format!("{}.{}", norm.name, GROUPS[0]))?.range()?;
        let words = running.offset..running.offset + running.words;
        let range = self.of_words(&words);
        let all = self.recorded.get_or_insert_with(|| words.clone());
        *all = all.start.min(words.start)..all.end.max(words.end);
        let stats = tape.bound("stats", &[range.words / 4, 4], Layout::Rows, Element::F32, range)?;
        let [weight, bias] = norm.affine();
        Ok(ops::Norm { affine: tape.pair(store, [&weight, &bias])?, stats, eps: EPS })
    }

    /// Those of the norms whose running ones are these words.
    fn of_words(&self, words: &Range<usize>) -> Bound {
        Bound { offset: 5 * words.start, words: 5 * words.len(), ..self.range.clone() }
    }

    /// Record the move of the running statistics of the norms that were recorded. They are moved together, from the first to the
    /// last: a norm that is declared between two of them must be recorded too.
    ///
    /// # Errors
    /// Those of [`ops::batch_norm_running`].
    pub fn update(&self, tape: &mut Tape, store: &Store) -> Result<()> {
        let Some(recorded) = &self.recorded else { return Ok(()) };
        tape.scope("norms");
        let (words, range) = (recorded.len(), self.of_words(recorded));
        let stats = tape.bound("stats", &[5 * words / 4, 4], Layout::Rows, Element::F32, range)?;
        let mut running = |group: &str| {
            let range = Bound { offset: recorded.start, words, ..store.group(group)?.clone() };
            tape.bound(group, &[words], Layout::Rows, Element::F32, range)
        };
        let (mean, var) = (running(GROUPS[0])?, running(GROUPS[1])?);
        ops::batch_norm_running(tape, stats, mean, var, MOMENTUM)
    }
}

/// What networks are recorded into, and how.
pub(super) struct Recording<'a> {
    pub(super) tape: &'a mut Tape,
    pub(super) store: &'a Store,
    pub(super) mode: Mode,
    pub(super) statistics: Statistics,
}

impl Recording<'_> {
    /// A convolution and the batch norm behind it, with what follows that.
    pub(super) fn conv_norm(&mut self, conv: &Conv2d, norm: &BatchNorm2d, x: Tensor, then: ops::Then) -> Result<Tensor> {
        let Self { tape, store, mode, statistics } = self;
        let (weight, how) = conv.weight(tape, store)?;
        match mode {
            Mode::Evaluate => {
                let known = statistics.of(tape, store, norm)?;
                let [mean, var] = GROUPS.map(|group| tape.state(store, &format!("{}.{group}", norm.name)));
                ops::batch_norm_freeze(tape, known, mean?, var?)?;
                tape.scope(&conv.name);
                ops::conv2d_then_norm(tape, x, weight, how, known, then)
            }
            Mode::Train => {
                let (y, moments) = ops::conv2d_with_moments(tape, x, weight, how)?;
                let own = statistics.of(tape, store, norm)?;
                ops::batch_norm(tape, y, own, then, moments)
            }
            Mode::Unfused => {
                let y = ops::conv2d(tape, x, weight, how)?;
                let own = statistics.of(tape, store, norm)?;
                let mut y = ops::batch_norm(tape, y, own, ops::Then::default(), None)?;
                if let Some(addend) = then.addend {
                    y = ops::add(tape, y, addend)?;
                }
                if then.relu { ops::relu(tape, y) } else { Ok(y) }
            }
        }
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
