//! One training step as a program: images in, weights and bank updated.

use crate::data::Batch;
use crate::error::{Error, Result};
use crate::gpu::{Bound, Gpu, Uploads};
use crate::nn::{Mode, ResNet};
use crate::npid::{Loss, Method};
use crate::ops::{self, Augmentation};
use crate::optim::{Sgd, sgd};
use crate::shape::Layout;
use crate::tape::{Element, Footprint, Program, Step, Store, Tape, Tensor};

/// Where a step's images come from.
#[derive(Clone, Debug)]
pub enum Images {
    /// The host writes `[b, 3, side, side]`, ready for the network.
    Given {
        /// Side of the square images.
        side: usize,
    },
    /// The device crops and colours packed 8-bit pixels.
    Augmented {
        /// How.
        settings: Augmentation,
        /// Where they are.
        pixels: Pixels,
    },
}

/// Where the packed pixels of a step's images are.
#[derive(Clone, Debug)]
pub enum Pixels {
    /// The host writes those of a step at a time into room for so many words.
    Written {
        /// The words.
        words: usize,
    },
    /// Those of all images are on the device, here; of a step the host writes the table alone.
    Resident(Bound),
}

impl Pixels {
    /// How many words there are.
    pub fn words(&self) -> usize {
        match self {
            Self::Written { words } => *words,
            Self::Resident(range) => range.words,
        }
    }
}

/// What goes into a step's program.
#[derive(Clone, Debug)]
pub struct StepOptions {
    /// Images a step, or a part of one.
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
///
/// # Parts
///
/// A step may take its images in several parts ([`TrainingStep::in_parts`]), one after the other through the same memory. It
/// is then the step on all of them together, but for batch norm:
///
/// - The loss is the mean over all images; gradients are summed part by part, in order, each scaled by 1 / parts.
/// - Batch norm takes its statistics from each part alone, as PyTorch does when gradients are accumulated, and the running
///   statistics move once a part (the segment `statistics`). Where a later part raises the guard, earlier ones have moved them.
/// - The bank and Z stay as they were until all parts are done; then all rows are moved in one pass, and Z is estimated from
///   all images. The guard looks at every part's loss and at the sum of the gradients.
/// - A part draws its augmentation and negatives from a step number of its own, step · parts + part.
pub struct TrainingStep {
    program: Program,
    options: StepOptions,
    tensors: Tensors,
    uploads: Uploads,
    whole: Option<Whole>,
    clear: Vec<Bound>,
}

/// What the host writes and reads.
#[derive(Clone, Copy)]
struct Tensors {
    x: Option<Tensor>,
    packed: Option<Packed>,
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

/// Of a step in parts: what is collected from them, and what the host still has to hand to each.
struct Whole {
    parts: usize,
    own: Tensor,
    embedding: Tensor,
    /// From a part's tensor to that of all parts.
    copies: Vec<(Tensor, Tensor)>,
    images: Vec<f32>,
    table: Vec<[u32; 4]>,
    rows: Vec<u32>,
    noise: Vec<u32>,
}

impl TrainingStep {
    /// Record and compile the step of `net` and `method`, whose parameters and state `store` holds.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::OutOfMemory`], [`Error::Value`], [`Error::Shape`].
    pub fn new(gpu: &Gpu, net: &ResNet, store: &Store, options: StepOptions) -> Result<Self> {
        Self::in_parts(gpu, net, store, options, 1)
    }

    /// A step on `parts` times as many images as `options.batch`, which take memory for one batch.
    ///
    /// # Errors
    /// As [`TrainingStep::new`]; [`Error::Value`] for no parts.
    pub fn in_parts(gpu: &Gpu, net: &ResNet, store: &Store, options: StepOptions, parts: usize) -> Result<Self> {
        let (tape, tensors, whole) = record(gpu, net, store, &options, parts)?;
        Ok(Self { program: tape.compile()?, options, tensors, uploads: gpu.uploads(), whole, clear: store.gradients() })
    }

    /// The device memory that [`in_parts`](Self::in_parts) would take besides the store's and that of resident pixels, without
    /// allocating it.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::Value`], [`Error::Shape`].
    pub fn footprint(gpu: &Gpu, net: &ResNet, store: &Store, options: &StepOptions, parts: usize) -> Result<Footprint> {
        record(gpu, net, store, options, parts)?.0.footprint()
    }

    /// Give back the memory of the program. Until the step is replaced by another it can do nothing.
    pub(super) fn release(&mut self, gpu: &Gpu) -> Result<()> {
        self.program = Tape::new(gpu).compile()?;
        self.uploads = gpu.uploads();
        Ok(())
    }

    /// Images a step.
    pub fn images(&self) -> usize {
        self.options.batch * self.parts()
    }

    fn parts(&self) -> usize {
        self.whole.as_ref().map_or(1, |whole| whole.parts)
    }

    /// Write a batch of images that are ready for the network, `[b, 3, side, side]`, and their rows in the bank.
    ///
    /// # Errors
    /// [`Error::Value`] where the step takes packed pixels; [`Error::Shape`] for another number of values.
    pub fn write_images(&mut self, values: &[f32], own: &[u32]) -> Result<()> {
        let x = self.tensors.x.ok_or_else(|| Error::value("step", "images", "packed pixels", "floats"))?;
        match &mut self.whole {
            None => self.program.write(x, values)?,
            Some(whole) if values.len() == whole.parts * x.shape().count() => whole.images = values.to_vec(),
            Some(whole) => {
                return Err(Error::shape("step", "images", format!("{} times {}", whole.parts, x.shape()), values.len()));
            }
        }
        self.write_own(own)
    }

    /// Write a batch of packed images, or where they are among those that are on the device; the rows in the bank are the
    /// images' numbers in the data set.
    ///
    /// # Errors
    /// [`Error::Value`] where the step takes floats, or has its pixels and the batch has some too; [`Error::Shape`] for more
    /// pixels than there is room for.
    pub fn write_batch(&mut self, batch: &Batch) -> Result<()> {
        let packed = self.tensors.packed.ok_or_else(|| Error::value("step", "images", "floats", "packed pixels"))?;
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
        let own: Vec<u32> = batch.table.iter().map(|row| row[3]).collect();
        self.write_own(&own)?;
        match &mut self.whole {
            None => self.program.write_u32(table, batch.table.as_flattened()),
            Some(whole) => {
                whole.table.clone_from(&batch.table);
                Ok(())
            }
        }
    }

    fn write_own(&mut self, own: &[u32]) -> Result<()> {
        if own.len() != self.images() {
            return Err(Error::shape("step", "own", format!("[{}]", self.images()), format!("[{}]", own.len())));
        }
        match &mut self.whole {
            None => self.program.write_u32(self.tensors.own, own),
            Some(whole) => {
                whole.rows = own.to_vec();
                self.program.write_u32(whole.own, own)
            }
        }
    }

    /// Write the rows of noise, `[b, m]`, of a step that was made with `given_negatives`.
    ///
    /// # Errors
    /// [`Error::Value`] for a step that draws them itself, [`Error::Shape`] for too many.
    pub fn write_negatives(&mut self, rows: &[u32]) -> Result<()> {
        let negatives = self.tensors.negatives;
        let tensor = negatives.ok_or_else(|| Error::value("step", "negatives", "drawn on the device", "given"))?;
        match &mut self.whole {
            None => self.program.write_u32(tensor, rows),
            Some(whole) if rows.len() == whole.parts * tensor.shape().count() => {
                whole.noise = rows.to_vec();
                Ok(())
            }
            Some(whole) => {
                Err(Error::shape("step", "negatives", format!("{} times {}", whole.parts, tensor.shape()), rows.len()))
            }
        }
    }

    /// Set the step, and hand over what belongs to `part` of the images that were written.
    fn begin_part(&mut self, part: usize, step: Step) -> Result<()> {
        let Some(whole) = &self.whole else { return self.program.set_step(step) };
        let number = step.number.wrapping_mul(whole.parts as u32).wrapping_add(part as u32);
        self.program.set_step(Step { number, ..step })?;
        let of = |length: usize| length * part..length * (part + 1);
        let batch = self.options.batch;
        let own = whole.rows.get(of(batch)).unwrap_or_default();
        self.program.write_u32(self.tensors.own, own)?;
        if let Some(Packed { table, .. }) = self.tensors.packed {
            self.program.write_u32(table, whole.table.get(of(batch)).unwrap_or_default().as_flattened())?;
        }
        if let (Some(x), false) = (self.tensors.x, whole.images.is_empty()) {
            self.program.write(x, whole.images.get(of(x.shape().count())).unwrap_or_default())?;
        }
        if let (Some(negatives), false) = (self.tensors.negatives, whole.noise.is_empty()) {
            self.program.write_u32(negatives, whole.noise.get(of(negatives.shape().count())).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Collect what the end of the step needs from a part.
    fn end_part(&mut self, part: usize) -> Result<()> {
        match &self.whole {
            None => Ok(()),
            Some(whole) => self.program.copy_parts(part, &whole.copies),
        }
    }

    /// Find Z from the batch that was written, before the first step of a run with NCE: a pass for the scores alone.
    /// Nothing happens to weights, running statistics or bank; nor to Z where the pass raises the guard.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Gpu`].
    pub fn find_z(&mut self, step: Step) -> Result<()> {
        for part in 0..self.parts() {
            self.begin_part(part, step)?;
            self.program.run_segment("forward")?;
            self.end_part(part)?;
        }
        self.program.run_segment("z")
    }

    /// Run one step on the batch that was written. Returns when it is submitted, not when it is done.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Gpu`].
    pub fn run(&mut self, step: Step) -> Result<()> {
        let moving = matches!(self.options.method.loss, Loss::Nce { z: crate::npid::ZRule::Ema, .. });
        let moving = moving && !self.options.given_negatives;
        let last = if moving { "bank" } else { "update" };
        if self.whole.is_none() {
            self.begin_part(0, step)?;
            self.program.run_segments("forward", last)?;
        } else {
            self.program.gpu().clear(&self.clear)?;
            for part in 0..self.parts() {
                self.begin_part(part, step)?;
                self.program.run_segments("forward", "statistics")?;
                self.end_part(part)?;
            }
            self.program.run_segments("loss", last)?;
        }
        if moving { Ok(()) } else { self.program.run_segment("bank") }
    }

    /// Do the step that raised the guard once more, on the same batch, and return [`Error::NotFinite`] for the first tensor
    /// that holds a NaN or an infinity.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where one is found; [`Error::DeviceLost`].
    pub fn find_non_finite(&mut self, step: Step) -> Result<()> {
        let number = u64::from(step.number);
        if self.whole.is_none() {
            self.program.set_step(step)?;
            return self.program.find_non_finite(number);
        }
        self.program.gpu().clear(&self.clear)?;
        for part in 0..self.parts() {
            self.begin_part(part, step)?;
            self.program.find_non_finite_between("forward", "backward", number)?;
            self.end_part(part)?;
        }
        self.program.find_non_finite_between("update", "update", number)
    }

    /// Run the forward segment alone: the loss without any update.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Gpu`].
    pub fn run_forward(&mut self, step: Step) -> Result<()> {
        for part in 0..self.parts() {
            self.begin_part(part, step)?;
            self.program.run_segment("forward")?;
            self.end_part(part)?;
        }
        if self.whole.is_some() { self.program.run_segment("loss") } else { Ok(()) }
    }

    /// The program, to read tensors or to look at its dispatches.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// The mean loss of the batch, `[1]`.
    pub fn loss(&self) -> Tensor {
        self.tensors.loss
    }

    /// The embeddings, `[b, dim]`.
    pub fn embedding(&self) -> Tensor {
        self.whole.as_ref().map_or(self.tensors.embedding, |whole| whole.embedding)
    }
}

/// Record the step.
fn record(gpu: &Gpu, net: &ResNet, store: &Store, options: &StepOptions, parts: usize) -> Result<(Tape, Tensors, Option<Whole>)> {
    let StepOptions { batch, method, .. } = *options;
    if parts == 0 {
        return Err(Error::value("step", "parts", "at least 1", parts));
    }
    let mut tape = Tape::new(gpu);
    let own = tape.input_u32("own", &[batch])?;
    let (x, packed, network_input) = match &options.images {
        &Images::Given { side } => {
            let x = tape.input("x", &[batch, 3, side, side], Layout::Rows)?;
            (Some(x), None, x)
        }
        Images::Augmented { settings, pixels } => {
            let words = [pixels.words()];
            let (pixels, resident) = match pixels {
                Pixels::Resident(range) => (tape.bound("pixels", &words, Layout::Plain, Element::U32, range.clone())?, true),
                Pixels::Written { .. } => (tape.input_u32("pixels", &words)?, false),
            };
            let table = tape.input_u32("table", &[batch, 4])?;
            (None, Some(Packed { pixels, table, resident }), ops::augment(&mut tape, pixels, table, *settings)?)
        }
    };
    let negatives = match (method.loss, options.given_negatives) {
        (Loss::Nce { negatives, .. }, true) => Some(tape.input_u32("negatives", &[batch, negatives])?),
        _ => None,
    };
    if parts > 1 {
        tape.sum_gradients();
    }
    let features = net.forward(&mut tape, store, network_input, Mode::Train)?;
    let objective = method.objective(&mut tape, store, features.embedding, own, negatives)?;
    let one = tape.constant("share", &[1.0 / parts as f32])?;
    tape.backward_from(objective.loss, one)?;
    let mut tensors = Tensors { x, packed, own, negatives, loss: objective.loss, embedding: features.embedding };
    tape.keep(features.embedding)?;
    let whole = if parts == 1 {
        None
    } else {
        tape.segment("statistics");
        features.statistics.update(&mut tape, store)?;
        let whole = collect(&mut tape, &tensors, objective.spread(), batch, parts)?;
        tape.segment("loss");
        // The copies stand in the order of `collect`: losses first.
        tensors.loss = ops::mean(&mut tape, whole.copies[0].1)?;
        tape.keep(tensors.loss)?;
        Some(whole)
    };
    tape.segment("update");
    ops::guard_gradients(&mut tape, store)?;
    sgd(&mut tape, store, options.sgd)?;
    if whole.is_none() {
        features.statistics.update(&mut tape, store)?;
    }
    let spread = whole.as_ref().map_or(objective.spread(), |whole| whole.copies.get(2).map(|(_, all)| *all));
    let (all, rows) = whole.as_ref().map_or((features.embedding, own), |whole| (whole.embedding, whole.own));
    tape.segment("z");
    method.estimate_z(&mut tape, &objective.with_spread(spread))?;
    tape.segment("bank");
    method.update_bank(&mut tape, &objective, all, rows)?;
    Ok((tape, tensors, whole))
}

/// Tensors for what all parts leave: their losses, their embeddings, and what Z is estimated from.
fn collect(tape: &mut Tape, of: &Tensors, spread: Option<Tensor>, batch: usize, parts: usize) -> Result<Whole> {
    let images = parts * batch;
    tape.scope("");
    let losses = tape.input("losses", &[parts], Layout::Rows)?;
    let embedding = tape.input("embeddings", &[images, of.embedding.shape()[1]], Layout::Rows)?;
    let mut copies = vec![(of.loss, losses), (of.embedding, embedding)];
    if let Some(spread) = spread {
        tape.keep(spread)?;
        copies.push((spread, tape.input("spreads", &[images], Layout::Rows)?));
    }
    let own = tape.input_u32("owns", &[images])?;
    let (images, table, rows, noise) = Default::default();
    Ok(Whole { parts, own, embedding, copies, images, table, rows, noise })
}
