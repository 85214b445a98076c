//! The method: a memory bank with a row for every image, and the losses that tell each image from all others.

use crate::error::{Error, Result};
use crate::ops::{self, Bank, Noise};
use crate::rng::{Sequence, Stream};
use crate::shape::Layout;
use crate::tape::{Element, Split, Store, StoreBuilder, Tape, Tensor};
use serde::{Deserialize, Serialize};

/// How the normalising constant Z of the noise-contrastive loss is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZRule {
    /// The first batch's estimate for good, as in the paper. Does not train on a few thousand images.
    First,
    /// A moving average of the batches' estimates that keeps 0.99 of the old value.
    Ema,
}

/// Which loss tells an image from all others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Loss {
    /// Exact softmax over the whole bank (Wu et al. 2018, equation 2).
    Softmax,
    /// Noise-contrastive estimation (equations 4 to 8).
    Nce {
        /// m, the rows of noise a sample.
        negatives: usize,
        /// How Z is found.
        z: ZRule,
        /// Never draw a sample's own row as noise.
        exclude_own: bool,
    },
}

/// How the bank's numbers are stored. What is computed from them is in 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BankFormat {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats: half the memory, and half the bytes that a loss reads. Each update rounds to the nearest.
    F16,
}

/// The settings of the method.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Method {
    /// The loss.
    pub loss: Loss,
    /// τ, the temperature.
    pub tau: f32,
    /// The weight of the OLD row when the bank is updated.
    pub bank_keep: f32,
    /// λ, the weight of the proximal term; 0 for none (equation 9).
    pub prox: f32,
    /// How the bank is stored.
    #[serde(default)]
    pub bank: BankFormat,
}

impl Default for Method {
    fn default() -> Self {
        Self { loss: Loss::Softmax, tau: 0.1, bank_keep: 0.5, prox: 0.0, bank: BankFormat::F32 }
    }
}

/// The name of the bank in a store: `[n, dim]`.
pub const BANK: &str = "bank";
/// The name of Z's state in a store: ln Z, 1 once it is set, and two zeros.
pub const Z: &str = "z";

/// What a loss records on a tape.
#[derive(Clone, Debug)]
pub struct Objective {
    /// The mean over the batch, a scalar `[1]`.
    pub loss: Tensor,
    /// Of the noise-contrastive loss: what Z is estimated from, with m.
    spread: Option<(Tensor, usize)>,
    bank: Bank,
    z: Tensor,
}

impl Objective {
    /// What Z is estimated from, `[b]`; of the noise-contrastive loss only.
    pub fn spread(&self) -> Option<Tensor> {
        self.spread.map(|(spread, _)| spread)
    }

    /// The same with Z estimated from `spread`, of any number of samples.
    pub fn with_spread(&self, spread: Option<Tensor>) -> Self {
        Self { spread: spread.zip(self.spread).map(|(all, (_, m))| (all, m)), ..self.clone() }
    }
}

/// The bank in `store`, for ops to read.
///
/// # Errors
/// [`Error::Value`] where the store has none.
pub fn bank(tape: &mut Tape, store: &Store) -> Result<Bank> {
    let tile = store.state(BANK)?.tile.unwrap_or(usize::MAX / 2 + 1);
    Bank::new(&tape.state_shards(store, BANK)?, tile)
}

impl Method {
    /// Declare the bank, `n` random unit rows of `dim` numbers, and Z. The bank lies in as few buffers as the device lets it.
    ///
    /// # Errors
    /// [`Error::Value`] for an empty bank.
    pub fn declare(&self, builder: &mut StoreBuilder, n: usize, dim: usize, seed: u64) -> Result<()> {
        self.declare_split(builder, n, dim, seed, Split { tile: ops::bank_tile(dim), shards: 1 })
    }

    /// The same with the bank split as asked for. Bits depend on the tile, and not on the number of shards.
    ///
    /// # Errors
    /// [`Error::Value`] for an empty bank or tile.
    pub fn declare_split(&self, builder: &mut StoreBuilder, n: usize, dim: usize, seed: u64, split: Split) -> Result<()> {
        if n == 0 {
            return Err(Error::value("npid", "n", "at least one image", n));
        }
        let mut numbers = Sequence::new(seed, Stream::Bank, 0);
        let mut rows: Vec<f32> = (0..n * dim).map(|_| numbers.normal()).collect();
        for row in rows.chunks_mut(dim) {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
            row.iter_mut().for_each(|x| *x /= length);
        }
        let element = if self.bank == BankFormat::F16 { Element::F16 } else { Element::F32 };
        builder.rows(BANK, [n, dim], element, split, rows)?;
        builder.state(Z, &[4], Layout::Rows, vec![0.0; 4])
    }

    /// Record the loss of embeddings `f` `[b, dim]` whose rows in the bank are `own` `[b]`. The rows of noise are drawn
    /// on the device, or are those `given` `[b, m]`. Raises the guard where the loss, or what Z is estimated from, is not
    /// finite.
    ///
    /// # Errors
    /// [`Error::Value`], [`Error::Shape`]: those of the ops.
    pub fn objective(&self, tape: &mut Tape, store: &Store, f: Tensor, own: Tensor, given: Option<Tensor>) -> Result<Objective> {
        let bank = bank(tape, store)?;
        let z = tape.state(store, Z)?;
        tape.scope("loss");
        let (mut loss, spread) = match self.loss {
            Loss::Softmax => (ops::softmax(tape, f, &bank, own, self.tau)?.loss, None),
            Loss::Nce { negatives, exclude_own, .. } => {
                let noise = given.map_or(Noise::Drawn { negatives, exclude_own }, Noise::Given);
                let nce = ops::nce(tape, f, &bank, own, noise, z, self.tau)?;
                (nce.loss, Some((nce.spread, negatives)))
            }
        };
        if self.prox != 0.0 {
            let distances = ops::prox(tape, f, &bank, own)?;
            let distance = ops::mean(tape, distances)?;
            let weighted = ops::scale(tape, distance, self.prox)?;
            loss = ops::add(tape, loss, weighted)?;
            // Here, and not with the gradients: Z is also found from a forward pass alone.
            tape.guard_finite(loss)?;
        }
        tape.keep(loss)?;
        Ok(Objective { loss, spread, bank, z })
    }

    /// Record the estimate of Z, for the segment `z`. Nothing for the softmax, or where Z is given.
    ///
    /// # Errors
    /// Those of [`ops::nce_estimate`].
    pub fn estimate_z(&self, tape: &mut Tape, objective: &Objective) -> Result<()> {
        let (Some((spread, m)), Loss::Nce { z, .. }) = (objective.spread, self.loss) else { return Ok(()) };
        let keep = if z == ZRule::First { 1.0 } else { 0.99 };
        ops::nce_estimate(tape, spread, objective.z, m, objective.bank.rows(), keep)
    }

    /// Record the bank's update, for the segment `bank`.
    ///
    /// # Errors
    /// Those of [`ops::bank_update`].
    pub fn update_bank(&self, tape: &mut Tape, objective: &Objective, f: Tensor, own: Tensor) -> Result<()> {
        tape.scope("bank");
        ops::bank_update(tape, &objective.bank, f, own, self.bank_keep)
    }

    /// The loss that an untrained network with a random bank begins with, to check that a run starts
    /// as it should.
    ///
    /// With the mean of exp(v·f / τ) at exp(1 / (2 D τ²)): about ln(1 + m) + 1 + 1 / (2 D τ²) for NCE, and ln n + 1 / (2 D τ²) for softmax.
    pub fn loss_at_start(&self, n: usize, dim: usize) -> f64 {
        let spread = 1.0 / (2.0 * dim as f64 * f64::from(self.tau).powi(2));
        match self.loss {
            Loss::Softmax => (n as f64).ln() + spread,
            Loss::Nce { negatives, .. } => (1.0 + negatives as f64).ln() + 1.0 + spread,
        }
    }
}
