//! One training step as a program: images in, weights and bank updated.

use crate::data::Batch;
use crate::error::{Error, Result};
use crate::gpu::{Bound, Gpu, Uploads};
use crate::nn::{Mode, ResNet};
use crate::npid::{Loss, Method};
use crate::ops::{self, Augmentation};
use crate::optim::{Sgd, sgd};
use crate::shape::Layout;
use crate::tape::{Element, Program, Step, Store, Tape, Tensor};

/// Where a step's images come from.
#[derive(Clone, Copy, Debug)]
pub enum Images {
    /// The host writes `[b, 3, side, side]`, ready for the network.
    Given {
        /// Side of the square images.
        side: usize,
    },
    /// The host writes packed 8-bit pixels, and the device crops and colours them.
    Augmented {
        /// How.
        settings: Augmentation,
        /// Room for the pixels of a batch, in words.
        words: usize,
    },
}

/// What goes into a step's program.
#[derive(Clone, Copy, Debug)]
pub struct StepOptions {
    /// Images a step.
    pub batch: usize,
    /// Where they come from.
    pub images: Images,
    /// The loss and the bank.
    pub method: Method,
    /// The optimiser.
    pub sgd: Sgd,
    /// The host writes the rows of noise too, instead of their being drawn on the device.
    pub given_negatives: bool,
}

/// A training step on one device: the segments `forward`, `backward`, `update`, `z` and `bank`.
pub struct TrainingStep {
    program: Program,
    options: StepOptions,
    x: Option<Tensor>,
    packed: Option<Packed>,
    uploads: Uploads,
    own: Tensor,
    negatives: Option<Tensor>,
    loss: Tensor,
    embedding: Tensor,
}

/// Where a step finds packed pixels.
#[derive(Clone, Copy)]
struct Packed {
    pixels: Tensor,
    table: Tensor,
    /// The pixels of all images are there already.
    resident: bool,
}

impl TrainingStep {
    /// Record and compile the step of `net` and `method`, whose parameters and state `store` holds.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::OutOfMemory`], [`Error::Value`], [`Error::Shape`].
    pub fn new(gpu: &Gpu, net: &ResNet, store: &Store, options: StepOptions) -> Result<Self> {
        Self::with_pixels(gpu, net, store, options, None)
    }

    /// As [`new`](Self::new), but the packed pixels of all images are in `resident` already, as many words as `options` say: of
    /// a batch only the table is written then.
    ///
    /// # Errors
    /// Those of [`new`](Self::new); [`Error::Value`] where the images are [`Images::Given`].
    pub fn with_pixels(gpu: &Gpu, net: &ResNet, store: &Store, options: StepOptions, resident: Option<&Bound>) -> Result<Self> {
        let StepOptions { batch, method, .. } = options;
        let mut tape = Tape::new(gpu);
        let own = tape.input_u32("own", &[batch])?;
        let (x, packed, network_input) = match options.images {
            Images::Given { .. } if resident.is_some() => {
                return Err(Error::value("step", "images", "packed pixels", "floats"));
            }
            Images::Given { side } => {
                let x = tape.input("x", &[batch, 3, side, side], Layout::Rows)?;
                (Some(x), None, x)
            }
            Images::Augmented { settings, words } => {
                let pixels = match resident {
                    Some(range) => tape.bound("pixels", &[words], Layout::Plain, Element::U32, range.clone())?,
                    None => tape.input_u32("pixels", &[words])?,
                };
                let table = tape.input_u32("table", &[batch, 4])?;
                let packed = Packed { pixels, table, resident: resident.is_some() };
                (None, Some(packed), ops::augment(&mut tape, pixels, table, settings)?)
            }
        };
        let negatives = match (method.loss, options.given_negatives) {
            (Loss::Nce { negatives, .. }, true) => Some(tape.input_u32("negatives", &[batch, negatives])?),
            _ => None,
        };
        let features = net.forward(&mut tape, store, network_input, Mode::Train)?;
        let objective = method.objective(&mut tape, store, features.embedding, own, negatives)?;
        tape.backward(objective.loss)?;
        tape.segment("update");
        ops::guard_gradients(&mut tape, store)?;
        sgd(&mut tape, store, options.sgd)?;
        features.statistics.update(&mut tape, store)?;
        tape.segment("z");
        method.estimate_z(&mut tape, &objective)?;
        tape.segment("bank");
        method.update_bank(&mut tape, &objective, features.embedding, own)?;
        tape.keep(features.embedding)?;
        let program = tape.compile()?;
        let (uploads, loss, embedding) = (gpu.uploads(), objective.loss, features.embedding);
        Ok(Self { program, options, x, packed, uploads, own, negatives, loss, embedding })
    }

    /// Write a batch of images that are ready for the network, `[b, 3, side, side]`, and their rows in the bank.
    ///
    /// # Errors
    /// [`Error::Value`] where the step takes packed pixels; [`Error::Shape`] for another number of values.
    pub fn write_images(&mut self, values: &[f32], own: &[u32]) -> Result<()> {
        let x = self.x.ok_or_else(|| Error::value("step", "images", "packed pixels", "floats"))?;
        self.program.write(x, values)?;
        self.write_own(own)
    }

    /// Write a batch of packed images, or where they are among those that are on the device; the rows in the bank are the
    /// images' numbers in the data set.
    ///
    /// # Errors
    /// [`Error::Value`] where the step takes floats, or has its pixels and the batch has some too; [`Error::Shape`] for more
    /// pixels than there is room for.
    pub fn write_batch(&mut self, batch: &Batch) -> Result<()> {
        let packed = self.packed.ok_or_else(|| Error::value("step", "images", "floats", "packed pixels"))?;
        let Packed { pixels, table, resident } = packed;
        if resident {
            if !batch.pixels.is_empty() {
                return Err(Error::value("step", "batch", "places of pixels that are on the device", "pixels"));
            }
        } else {
            let room = self.program.range(pixels)?;
            if batch.pixels.len() > pixels.words() {
                let expected = format!("at most {} words", pixels.words());
                return Err(Error::shape("step", "pixels", expected, batch.pixels.len()));
            }
            self.uploads.write(&room.buffer, room.offset, &batch.pixels)?;
        }
        self.program.write_u32(table, batch.table.as_flattened())?;
        let own: Vec<u32> = batch.table.iter().map(|row| row[3]).collect();
        self.write_own(&own)
    }

    fn write_own(&mut self, own: &[u32]) -> Result<()> {
        if own.len() != self.options.batch {
            return Err(Error::shape("step", "own", format!("[{}]", self.options.batch), format!("[{}]", own.len())));
        }
        self.program.write_u32(self.own, own)
    }

    /// Write the rows of noise, `[b, m]`, of a step that was made with `given_negatives`.
    ///
    /// # Errors
    /// [`Error::Value`] for a step that draws them itself, [`Error::Shape`] for too many.
    pub fn write_negatives(&mut self, rows: &[u32]) -> Result<()> {
        let tensor = self.negatives.ok_or_else(|| Error::value("step", "negatives", "drawn on the device", "given"))?;
        self.program.write_u32(tensor, rows)
    }

    /// Find Z from the batch that was written, before the first step of a run with NCE: a pass for the scores alone.
    /// Nothing happens to weights, running statistics or bank; nor to Z where the pass raises the guard.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Gpu`].
    pub fn find_z(&mut self, step: Step) -> Result<()> {
        self.program.set_step(step)?;
        self.program.run_segment("forward")?;
        self.program.run_segment("z")
    }

    /// Run one step on the batch that was written. Returns when it is submitted, not when it is done.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Gpu`].
    pub fn run(&mut self, step: Step) -> Result<()> {
        self.program.set_step(step)?;
        let moving = matches!(self.options.method.loss, Loss::Nce { z: crate::npid::ZRule::Ema, .. });
        for name in ["forward", "backward", "update"] {
            self.program.run_segment(name)?;
        }
        if moving && !self.options.given_negatives {
            self.program.run_segment("z")?;
        }
        self.program.run_segment("bank")
    }

    /// Run the forward segment alone: the loss without any update.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Gpu`].
    pub fn run_forward(&mut self, step: Step) -> Result<()> {
        self.program.set_step(step)?;
        self.program.run_segment("forward")
    }

    /// The program, to read tensors or to look at its dispatches.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// The mean loss of the batch, `[1]`.
    pub fn loss(&self) -> Tensor {
        self.loss
    }

    /// The embeddings, `[b, dim]`.
    pub fn embedding(&self) -> Tensor {
        self.embedding
    }
}
