//! A compiled tape: replayed for every step, written and read by the host in between.

mod compile;
mod faults;

use super::{Element, Footprint, Memory, Tensor};
use crate::error::{Error, Result};
use crate::gpu::{Bound, Choices, Dispatch, Dispatches, Gpu, Kernel, Read, Watch, Work};
use crate::rng;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// A named part of a program.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its name, as `forward`.
    pub name: String,
    /// Its dispatches.
    pub range: Range<usize>,
}

/// What changes from one step to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The number of the step, from 0.
    pub number: u32,
    /// The seed of the run.
    pub seed: u64,
    /// The learning rate.
    pub lr: f32,
}

/// A tensor of a program: its name and where it lives.
struct Slot {
    name: String,
    tensor: Tensor,
    bound: Option<Bound>,
    /// Others may stand in the same memory at another time of the run.
    shared: bool,
}

/// Recorded work with its memory: write the inputs, run, read the outputs.
pub struct Program {
    gpu: Gpu,
    id: u64,
    dispatches: Dispatches,
    written: Vec<Vec<usize>>,
    segments: Vec<Segment>,
    slots: Vec<Slot>,
    step: Option<Tensor>,
    guard: Option<Tensor>,
    memory: Memory,
    choices: Choices,
    footprint: Footprint,
    watch: Option<Watch>,
}

impl Program {
    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The segments, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The dispatches, in order.
    pub fn dispatches(&self) -> &[Dispatch] {
        self.dispatches.all()
    }

    /// Its kernels, each once, in the order in which they first run.
    pub fn kernels(&self) -> Vec<Arc<Kernel>> {
        let mut seen = HashSet::new();
        let all = self.dispatches().iter().map(|dispatch| &dispatch.kernel);
        all.filter(|kernel| seen.insert(Arc::as_ptr(kernel))).cloned().collect()
    }

    /// Compile its kernels now, on every core, where the driver of a software adapter would do it when they first run, one by one.
    /// Calls `ready` after each with how many are ready, and how many there are. On GPUs they were compiled when they were made.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`], [`Error::Timeout`].
    pub fn make_ready(&self, ready: impl Fn(usize, usize) + Sync) -> Result<()> {
        let kernels = self.kernels();
        self.gpu.make_ready(&kernels, |done| ready(done, kernels.len()))
    }

    /// How its products and convolutions are computed: with these choices the same recording gives the same bits, whatever
    /// another version prefers.
    pub fn choices(&self) -> &Choices {
        &self.choices
    }

    /// The device memory it holds, besides that of its store.
    pub fn footprint(&self) -> Footprint {
        self.footprint
    }

    /// How many dispatches have to wait for those before them when all run once in one pass: by wgpu's rule, which puts a
    /// barrier before one that reads a buffer written last or writes one used before, whichever dispatches stand between. The
    /// others may overlap with the one before them.
    pub fn barriers(&self) -> usize {
        let mut written: HashMap<usize, bool> = HashMap::new();
        let waits = self.dispatches().iter().filter(|dispatch| {
            let bindings = dispatch.kernel.point.bindings.iter().filter(|b| b.name != "params");
            let uses = bindings.zip(&dispatch.bound).map(|(b, range)| (range.buffer.address(), b.writable));
            let waits = uses.clone().any(|(buffer, writes)| written.get(&buffer).is_some_and(|before| *before || writes));
            uses.for_each(|(buffer, writes)| {
                written.insert(buffer, writes);
            });
            waits
        });
        waits.count()
    }

    /// What one run costs.
    pub fn work(&self) -> Work {
        let all = self.dispatches().iter().map(|d| d.work);
        all.fold(Work::default(), |a, b| Work { flops: a.flops + b.flops, bytes: a.bytes + b.bytes })
    }

    /// The memory of a tensor that has it to itself.
    fn slot(&self, tensor: Tensor, op: &'static str) -> Result<&Bound> {
        let slot = self.slots.get(tensor.id).filter(|_| tensor.tape == self.id);
        let slot = slot.ok_or_else(|| Error::value(op, "tensor", "of this program", "of another"))?;
        if slot.shared {
            let expected = "an input, state, or kept with `Tape::keep` before compiling";
            return Err(Error::value(op, "tensor", expected, format!("`{}`, whose memory others use too", slot.name)));
        }
        slot.bound.as_ref().ok_or_else(|| Error::value(op, "tensor", "used by the program", &slot.name))
    }

    /// The range of device memory that holds `tensor`, to share it with an application.
    ///
    /// # Errors
    /// [`Error::Value`] for a tensor of another program, or one whose memory others use too: see
    /// [`Tape::keep`](super::Tape::keep).
    pub fn range(&self, tensor: Tensor) -> Result<Bound> {
        self.slot(tensor, "range").cloned()
    }

    /// Write floats in the user's order; padding becomes zero.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of values, [`Error::Value`] for a tensor of another program or one that was
    /// not kept.
    pub fn write(&mut self, tensor: Tensor, values: &[f32]) -> Result<()> {
        if values.len() != tensor.shape.count() || tensor.element == Element::U32 {
            return Err(Error::shape("write", "values", format!("{} floats", tensor.shape.count()), values.len()));
        }
        let mut laid = vec![0.0; tensor.layout.count(tensor.shape)];
        for (place, value) in tensor.layout.places(tensor.shape).zip(values) {
            laid[place] = *value;
        }
        let words = tensor.element.pack(&laid);
        let bound = self.slot(tensor, "write")?;
        self.gpu.write(&bound.buffer, bound.offset, &words)
    }

    /// Write unsigned integers from the start of a tensor of them.
    ///
    /// # Errors
    /// [`Error::Shape`] for more values than it holds, [`Error::Value`] for a tensor of another program or one that was
    /// not kept.
    pub fn write_u32(&mut self, tensor: Tensor, values: &[u32]) -> Result<()> {
        if values.len() > tensor.shape.count() || tensor.element != Element::U32 {
            return Err(Error::shape("write_u32", "values", format!("at most {} integers", tensor.shape.count()), values.len()));
        }
        let bound = self.slot(tensor, "write_u32")?;
        self.gpu.write(&bound.buffer, bound.offset, values)
    }

    /// Set the step's number, seed and learning rate for the runs that follow.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn set_step(&mut self, step: Step) -> Result<()> {
        let Some(tensor) = self.step else { return Ok(()) };
        let [low, mix] = rng::seed_words(step.seed);
        self.write_u32(tensor, &[step.number, low, mix, step.lr.to_bits()])
    }

    /// Run all segments once.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Gpu`].
    pub fn run(&mut self) -> Result<()> {
        self.run_range(0..self.dispatches().len())
    }

    /// Run some of the [`dispatches`](Self::dispatches) once: to look at tensors, or change them, in between.
    ///
    /// # Errors
    /// [`Error::Value`] for a range that goes past the last one; [`Error::DeviceLost`], [`Error::Gpu`].
    pub fn run_range(&mut self, range: Range<usize>) -> Result<()> {
        let range = self.within(range, "run_range")?;
        match &mut self.watch {
            None => self.dispatches.submit(&self.gpu, range, 1),
            Some(watch) => watch.run(&self.dispatches, range),
        }
    }

    /// Time every dispatch that runs from here on.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`].
    pub(crate) fn watch(&mut self) -> Result<()> {
        self.watch = Some(Watch::new(&self.gpu)?);
        Ok(())
    }

    /// What was timed so far.
    pub(crate) fn watched(&mut self) -> Option<&mut Watch> {
        self.watch.as_mut()
    }

    /// Time no more.
    pub(crate) fn unwatch(&mut self) -> Option<Watch> {
        self.watch.take()
    }

    fn within(&self, range: Range<usize>, op: &'static str) -> Result<Range<usize>> {
        let count = self.dispatches().len();
        if range.start <= range.end && range.end <= count {
            return Ok(range);
        }
        Err(Error::value(op, "range", format!("within 0..{count}"), format!("{range:?}")))
    }

    /// The same in `submissions` parts of about as many dispatches each, or as many as there are: the bits are the same, and
    /// an application keeps the device to itself for less time at once.
    ///
    /// # Errors
    /// As [`run_range`](Self::run_range).
    pub fn run_split(&mut self, range: Range<usize>, submissions: usize) -> Result<()> {
        let range = self.within(range, "run_split")?;
        let parts = submissions.clamp(1, range.len().max(1));
        let edge = |part: usize| range.start + range.len() * part / parts;
        (0..parts).try_for_each(|part| self.run_range(edge(part)..edge(part + 1)))
    }

    /// The dispatches from the first segment of a name to the end of the last, which stand one after the other.
    fn between(&self, first: &str, last: &str) -> Result<Range<usize>> {
        let of = |name: &str| {
            let segment = self.segments.iter().find(|s| s.name == name);
            segment.map(|s| s.range.clone()).ok_or_else(|| Error::value("run_segment", "name", "a segment of the program", name))
        };
        Ok(of(first)?.start..of(last)?.end)
    }

    /// Run the segments from `first` to `last` once, together.
    ///
    /// # Errors
    /// As [`run_segment`](Self::run_segment).
    pub fn run_segments(&mut self, first: &str, last: &str) -> Result<()> {
        self.run_range(self.between(first, last)?)
    }

    /// Run one segment once.
    ///
    /// # Errors
    /// [`Error::Value`] where there is none of that name; [`Error::DeviceLost`], [`Error::Gpu`].
    pub fn run_segment(&mut self, name: &str) -> Result<()> {
        self.run_segments(name, name)
    }

    /// Record all segments into an application's encoder; the application submits it.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        self.dispatches.encode(encoder, 0..self.dispatches().len());
    }

    /// Copy tensors into parts of others that are several times as long: each of `copies` names the part, counted from 0.
    ///
    /// # Errors
    /// [`Error::Value`] for tensors that share their memory, or a part that the longer one does not have.
    pub(crate) fn copy_parts(&mut self, part: usize, copies: &[(Tensor, Tensor)]) -> Result<()> {
        let range = |&(from, to): &(Tensor, Tensor)| {
            // Rows follow each other without a gap; only a vector's end is padded.
            let words = if from.shape.dims().len() > 1 { from.words() } else { from.shape.count() };
            let (source, target) = (self.slot(from, "copy")?, self.slot(to, "copy")?);
            if (part + 1) * words > target.words {
                return Err(Error::value("copy", "part", format!("within {} words", target.words), part));
            }
            let target = Bound { buffer: target.buffer.clone(), offset: target.offset + part * words, words };
            Ok((Bound { words, ..source.clone() }, target))
        };
        let pairs = copies.iter().map(range).collect::<Result<Vec<_>>>()?;
        self.gpu.copy(&pairs)
    }

    /// Seconds a run of `range` takes, as the mean of `times` runs.
    ///
    /// # Errors
    /// As [`run_range`](Self::run_range).
    pub fn time(&mut self, range: Range<usize>, times: usize) -> Result<f64> {
        self.gpu.time(&self.dispatches, self.within(range, "time")?, times)
    }

    /// The same by the device's own clock ([`Gpu::has_clock`]), which knows nothing of what submitting costs, and over fewer
    /// runs where so many would take long; by the wall clock where there is none.
    ///
    /// # Errors
    /// As [`time`](Self::time).
    pub fn time_on_device(&mut self, range: Range<usize>, times: usize) -> Result<f64> {
        self.gpu.time_on_device(&self.dispatches, self.within(range, "time")?, times)
    }

    /// Begin to read a tensor; the words come in the device's layout. See [`unpack`](Self::unpack).
    ///
    /// # Errors
    /// [`Error::Value`] for a tensor of another program, or one whose memory others use too: see
    /// [`Tape::keep`](super::Tape::keep); [`Error::DeviceLost`].
    pub fn read_later(&self, tensor: Tensor) -> Result<Read> {
        let bound = self.slot(tensor, "read")?;
        self.gpu.read(&bound.buffer, bound.offset, tensor.words())
    }

    /// Floats in the user's order from words in the device's layout.
    pub fn unpack(tensor: Tensor, words: &[u32]) -> Vec<f32> {
        let laid = tensor.element.unpack(words);
        tensor.layout.places(tensor.shape).map(|place| laid.get(place).copied().unwrap_or(f32::NAN)).collect()
    }

    /// Read a tensor of floats in the user's order, and wait for it.
    ///
    /// # Errors
    /// As [`read_later`](Self::read_later) and [`Read::wait`].
    pub fn read(&self, tensor: Tensor) -> Result<Vec<f32>> {
        Ok(Self::unpack(tensor, &self.read_words(tensor)?))
    }

    /// Read a tensor's words as the device holds them, padding included, and wait for them.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_words(&self, tensor: Tensor) -> Result<Vec<u32>> {
        self.read_later(tensor)?.wait()
    }

    /// The guard's flag on its way: not zero once a guarded tensor held a NaN or an infinity.
    ///
    /// # Errors
    /// As [`read_later`](Self::read_later).
    pub fn read_guard(&self) -> Result<Option<Read>> {
        self.guard.map(|guard| self.read_later(guard)).transpose()
    }

    /// A tensor's words, and behind them those of the guard if there is one, by one read.
    ///
    /// # Errors
    /// As [`read_later`](Self::read_later).
    pub fn read_with_guard(&self, tensor: Tensor) -> Result<Read> {
        let bounds = [Some(tensor), self.guard].into_iter().flatten().map(|t| Ok((self.slot(t, "read")?, t.words())));
        let bounds = bounds.collect::<Result<Vec<_>>>()?;
        self.gpu.read_all(&bounds.iter().map(|(bound, words)| (&bound.buffer, bound.offset, *words)).collect::<Vec<_>>())
    }

    /// Lower the guard's flag.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn clear_guard(&mut self) -> Result<()> {
        let Some(guard) = self.guard else { return Ok(()) };
        self.write_u32(guard, &[0; 4])
    }

    /// The tensors of a guarded program that can be poisoned, by name, with their memory: for tests that inject
    /// values.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, Tensor, &Bound)> {
        self.slots.iter().filter_map(|s| Some((s.name.as_str(), s.tensor, s.bound.as_ref()?)))
    }
}
