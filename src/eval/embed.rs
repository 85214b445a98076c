//! Images to vectors, by a network in evaluation mode.

use super::Matrix;
use crate::error::{Error, Result};
use crate::gpu::{Bound, Gpu};
use crate::nn::{Mode, ResNet};
use crate::ops::{self, Augmentation};
use crate::shape::{Layout, padded};
use crate::tape::{Element, Program, Step, Store, Tape, Tensor};

/// Which vectors an image becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layer {
    /// The unit vector that the bank holds.
    #[default]
    Embedding,
    /// The average-pooled last stage, before the projection. Often the better feature for other tasks.
    Backbone,
}

/// A network in evaluation mode, compiled for batches of packed 8-bit images.
pub struct Embedder {
    program: Program,
    pixels: Tensor,
    table: Tensor,
    embedding: Tensor,
    backbone: Tensor,
    batch: usize,
}

impl Embedder {
    /// Compile `net` with the parameters in `store`, for `batch` images at once of `words` words of pixels in all.
    ///
    /// `augmentation` is usually a plain one ([`Augmentation::plain`]); any other gives random views.
    ///
    /// # Errors
    /// [`Error::Value`] for a batch of 0; [`Error::Limit`], [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, net: &ResNet, store: &Store, augmentation: Augmentation, batch: usize, words: usize) -> Result<Self> {
        let mut tape = Tape::new(gpu);
        let pixels = tape.input_u32("pixels", &[words.max(1)])?;
        Self::record(tape, net, store, augmentation, batch, pixels)
    }

    /// The same for images whose pixels are on the device already: [`embed`](Self::embed) then takes none.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn resident(
        gpu: &Gpu,
        net: &ResNet,
        store: &Store,
        augmentation: Augmentation,
        batch: usize,
        pixels: Bound,
    ) -> Result<Self> {
        let mut tape = Tape::new(gpu);
        let pixels = tape.bound("pixels", &[pixels.words], Layout::Plain, Element::U32, pixels)?;
        Self::record(tape, net, store, augmentation, batch, pixels)
    }

    fn record(
        mut tape: Tape,
        net: &ResNet,
        store: &Store,
        augmentation: Augmentation,
        batch: usize,
        pixels: Tensor,
    ) -> Result<Self> {
        if batch == 0 {
            return Err(Error::value("embedder", "batch", "at least 1", batch));
        }
        let table = tape.input_u32("table", &[batch, 4])?;
        let x = ops::augment(&mut tape, pixels, table, augmentation)?;
        let features = net.forward(&mut tape, store, x, Mode::Evaluate)?;
        tape.keep(features.embedding)?;
        tape.keep(features.backbone)?;
        let (embedding, backbone) = (features.embedding, features.backbone);
        Ok(Self { program: tape.compile()?, pixels, table, embedding, backbone, batch })
    }

    /// Images at once.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Room for pixels, in words.
    pub fn words(&self) -> usize {
        self.pixels.words()
    }

    /// Columns of the vectors of `layer`.
    pub fn cols(&self, layer: Layer) -> usize {
        self.tensor(layer).shape()[1]
    }

    fn tensor(&self, layer: Layer) -> Tensor {
        match layer {
            Layer::Embedding => self.embedding,
            Layer::Backbone => self.backbone,
        }
    }

    /// The vectors of up to [`batch`](Self::batch) images. `step` keys the random numbers of an augmentation that is not plain.
    ///
    /// `pixels` and `table` are as for [`ops::augment`]. Where there are fewer images, the last one fills the batch.
    ///
    /// # Errors
    /// [`Error::Shape`] for no image, too many, or too many pixels; [`Error::DeviceLost`].
    pub fn embed(&mut self, pixels: &[u32], table: &[[u32; 4]], layer: Layer, step: Step) -> Result<Matrix> {
        let Some(last) = table.last().filter(|_| table.len() <= self.batch) else {
            return Err(Error::shape("embed", "table", format!("[1 to {}, 4]", self.batch), format!("[{}, 4]", table.len())));
        };
        let mut filled = table.to_vec();
        filled.resize(self.batch, *last);
        if !pixels.is_empty() {
            self.program.write_u32(self.pixels, pixels)?;
        }
        self.program.write_u32(self.table, filled.as_flattened())?;
        self.program.set_step(step)?;
        self.program.run()?;
        let tensor = self.tensor(layer);
        let cols = tensor.shape()[1];
        let words = self.program.read_words(tensor)?;
        let rows = words.chunks_exact(padded(cols)).take(table.len());
        Matrix::new(cols, rows.flat_map(|row| row[..cols].iter().map(|w| f32::from_bits(*w))).collect())
    }
}
