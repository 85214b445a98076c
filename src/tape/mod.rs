//! A recording of tensor operations: forward, gradients, and whatever a training step does besides.
//!
//! Model code runs once and appends launches to a [`Tape`]; [`Tape::backward`] appends those of the gradients;
//! [`Tape::compile`] plans memory and makes a [`Program`], which is then replayed for every step. Parameters and
//! other state that outlives a program live in a [`Store`].
//!
//! ```
//! use instdisc::{gpu::Gpu, ops, shape::Layout, tape::Tape};
//! # let Ok(gpu) = Gpu::open(&Default::default()) else { return Ok(()) };
//! let mut tape = Tape::new(&gpu);
//! let x = tape.input("x", &[2, 3], Layout::Rows)?;
//! tape.track(x)?;
//! let y = ops::relu(&mut tape, x)?;
//! let loss = ops::mean(&mut tape, y)?;
//! tape.backward(loss)?;
//! let (dx, mut program) = (tape.grad(x)?, tape.compile()?);
//! program.write(x, &[1.0, -2.0, 3.0, -4.0, 5.0, -6.0])?;
//! program.run()?;
//! assert_eq!(program.read(loss)?, [1.5]);
//! assert_eq!(program.read(dx)?[..2], [1.0 / 6.0, 0.0]);
//! # Ok::<(), instdisc::Error>(())
//! ```

mod finite;
mod plan;
mod program;
mod store;

pub(crate) use finite::SHADER as FINITE;
pub use plan::{Footprint, Memory};
pub use program::{Program, Segment, Step};
pub use store::{Parameter, Part, Split, State, Store, StoreBuilder};

use crate::error::{Error, Result};
use crate::gpu::{Bound, Choices, Dispatch, Gpu, Shader, Value, Variant, Work};
use crate::shape::{Layout, Shape};
use half::f16;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32-bit float.
    F32,
    /// 16-bit float, two in a word: storage alone, read and rounded by the kernels.
    F16,
    /// 32-bit unsigned integer: indices, packed pixels, counters.
    U32,
}

impl Element {
    /// The 32-bit words that `count` elements take.
    pub fn words(self, count: usize) -> usize {
        if self == Self::F16 { count.div_ceil(2) } else { count }
    }

    /// Words of the device for numbers in its layout, rounded to the nearest where they are stored in 16 bits.
    pub(crate) fn pack(self, values: &[f32]) -> Vec<u32> {
        if self != Self::F16 {
            return values.iter().map(|v| v.to_bits()).collect();
        }
        let half = |v: Option<&f32>| u32::from(f16::from_f32(v.copied().unwrap_or_default()).to_bits());
        values.chunks(2).map(|pair| half(pair.first()) | half(pair.get(1)) << 16).collect()
    }

    /// The numbers of [`pack`](Self::pack)ed words.
    pub(crate) fn unpack(self, words: &[u32]) -> Vec<f32> {
        if self != Self::F16 {
            return words.iter().map(|w| f32::from_bits(*w)).collect();
        }
        words.iter().flat_map(|w| [*w as u16, (w >> 16) as u16]).map(|bits| f16::from_bits(bits).to_f32()).collect()
    }
}

/// A handle on a tensor of one [`Tape`]: no data, only its number, shape, layout and element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    tape: u64,
    id: usize,
    shape: Shape,
    layout: Layout,
    element: Element,
}

impl Tensor {
    /// The shape, as the user counts it.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How the device stores it.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The type of its elements.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Its length on the device in 32-bit words, padding included.
    pub fn words(&self) -> usize {
        self.element.words(self.layout.count(self.shape))
    }
}

/// Where a tensor's memory comes from.
#[derive(Clone, Debug)]
enum Place {
    /// The planner finds it; it may be shared with tensors that live at other times.
    Planned,
    /// A buffer of the program that only this tensor uses, with these first contents.
    Own(Vec<u32>),
    /// A range of somebody else's buffer.
    Bound(Bound),
}

#[derive(Debug)]
struct Info {
    name: String,
    tensor: Tensor,
    place: Place,
    tracked: bool,
    /// The gradient, once a backward rule has begun to fill it (for parameters: from the start).
    grad: Option<Tensor>,
    grad_written: bool,
    /// The gradient was passed on to an input and may have been added to since.
    given: bool,
    /// Ops whose gradient it will get a share from, and shares it has got.
    uses: usize,
    shares: usize,
    /// What its op wants of the gradient, and what has been done of that.
    wanted: Option<Wanted>,
    slopes: Option<Tensor>,
}

/// What the batch norm behind a tensor wants of its gradient, from whoever has it in registers last: see
/// [`Tape::want_slopes`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// What was normalised, as the tensor.
    pub(crate) x: Tensor,
    /// The statistics.
    pub(crate) stats: Tensor,
}

/// One kernel launch on tensors: what an op records. Made by this crate's ops alone, since kernels run without checks.
#[derive(Debug)]
pub struct Launch {
    shader: &'static Shader,
    variant: Variant,
    params: Vec<(&'static str, Value)>,
    bound: Vec<(&'static str, Tensor)>,
    groups: usize,
    work: Work,
}

impl Launch {
    /// A launch of `entry` in `shader`.
    pub(crate) fn new(shader: &'static Shader, entry: &'static str) -> Self {
        Self {
            shader,
            variant: Variant::new(shader.file, entry),
            params: Vec::new(),
            bound: Vec::new(),
            groups: 0,
            work: Work::default(),
        }
    }

    /// Turn a boolean `override` constant on.
    pub fn on(mut self, name: &'static str, on: bool) -> Self {
        if on {
            self.variant.on.push(name);
        }
        self
    }

    /// Set a constant that stands under `// tune`.
    pub fn tune(mut self, name: &'static str, value: u32) -> Self {
        self.variant.tune.push((name, value));
        self
    }

    /// Take a piece of `lib/` in place of another that offers the same functions.
    pub fn swap(mut self, from: &'static str, to: &'static str) -> Self {
        self.variant.swap.push((from, to));
        self
    }

    /// Set a field of `params`.
    pub fn param(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.params.push((name, value.into()));
        self
    }

    /// Bind a tensor to a buffer of the kernel, by its name in the file.
    pub fn bind(mut self, name: &'static str, tensor: Tensor) -> Self {
        self.bound.push((name, tensor));
        self
    }

    /// Set the number of workgroups. With none the launch is dropped: there is nothing to do.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// It moves so many bytes more.
    pub(crate) fn more_bytes(mut self, bytes: usize) -> Self {
        self.work.bytes += bytes as f64;
        self
    }

    /// State what it costs.
    pub fn work(mut self, work: Work) -> Self {
        self.work = work;
        self
    }
}

/// A recorded launch: its kernel and, for each binding, the tensor and whether it is written.
struct Recorded {
    dispatch: Dispatch,
    tensors: Vec<(usize, bool)>,
}

type Rule = Box<dyn FnOnce(&mut Tape, Tensor) -> Result<()>>;

struct Node {
    output: Tensor,
    scope: String,
    rule: Rule,
}

/// Where a backward rule writes a gradient, and whether it adds to what is there.
#[derive(Clone, Copy, Debug)]
pub struct Gradient {
    /// The tensor to write.
    pub tensor: Tensor,
    /// Add instead of overwrite: an earlier rule has written already.
    pub accumulate: bool,
}

/// A recording in the making.
pub struct Tape {
    gpu: Gpu,
    id: u64,
    infos: Vec<Info>,
    recorded: Vec<Recorded>,
    nodes: Vec<Node>,
    segments: Vec<(String, usize)>,
    scope: String,
    step: Option<Tensor>,
    guard: Option<Tensor>,
    chosen: Choices,
    sums: bool,
    rooms: u64,
}

impl Tape {
    /// An empty tape, in the segment `forward`.
    pub fn new(gpu: &Gpu) -> Self {
        let mut chosen = Choices::default();
        chosen.allow_winograd(gpu.choices().allows_winograd());
        Self {
            gpu: gpu.clone(),
            id: gpu.unique(),
            infos: Vec::new(),
            recorded: Vec::new(),
            nodes: Vec::new(),
            segments: vec![("forward".into(), 0)],
            scope: String::new(),
            step: None,
            guard: None,
            chosen,
            sums: false,
            rooms: 0,
        }
    }

    /// The device it records for.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Note that an op solves `problem` by `algorithm`; see [`Program::choices`].
    pub(crate) fn chose(&mut self, problem: String, algorithm: String) {
        self.chosen.set(problem, algorithm);
    }

    /// Name what is recorded from here on, as `layer1.0.conv1`, for labels and error messages.
    pub fn scope(&mut self, name: impl Into<String>) {
        self.scope = name.into();
    }

    /// Begin a segment: a part of the program that can be run by its name.
    pub fn segment(&mut self, name: &str) {
        self.segments.push((name.to_owned(), self.recorded.len()));
    }

    fn add(&mut self, name: &str, shape: &[usize], layout: Layout, element: Element, place: Place) -> Result<Tensor> {
        let tensor = Tensor { tape: self.id, id: self.infos.len(), shape: Shape::new(shape)?, layout, element };
        let name = if self.scope.is_empty() { name.to_owned() } else { format!("{}.{name}", self.scope) };
        self.infos.push(Info {
            name,
            tensor,
            place,
            tracked: false,
            grad: None,
            grad_written: false,
            given: false,
            uses: 0,
            shares: 0,
            wanted: None,
            slopes: None,
        });
        Ok(tensor)
    }

    /// A tensor that the host writes between runs. It keeps its contents until written again.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible shape.
    pub fn input(&mut self, name: &str, shape: &[usize], layout: Layout) -> Result<Tensor> {
        self.add(name, shape, layout, Element::F32, Place::Own(Vec::new()))
    }

    /// An input of unsigned integers, without padding.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible shape.
    pub fn input_u32(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.add(name, shape, Layout::Plain, Element::U32, Place::Own(Vec::new()))
    }

    /// An input of 16-bit floats, in rows.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible shape.
    pub fn input_f16(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.add(name, shape, Layout::Rows, Element::F16, Place::Own(Vec::new()))
    }

    /// A vector with contents that never change.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible shape.
    pub fn constant(&mut self, name: &str, values: &[f32]) -> Result<Tensor> {
        let mut words: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        words.resize(crate::shape::padded(values.len()), 0);
        self.add(name, &[values.len()], Layout::Rows, Element::F32, Place::Own(words))
    }

    /// A tensor for an op to write.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible shape.
    pub fn output(&mut self, name: &str, shape: &[usize], layout: Layout) -> Result<Tensor> {
        self.add(name, shape, layout, Element::F32, Place::Planned)
    }

    /// A tensor of unsigned integers for an op to write.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible shape.
    pub fn output_u32(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.add(name, shape, Layout::Plain, Element::U32, Place::Planned)
    }

    /// A tensor over a buffer that this tape does not own: an application's, or a part of a [`Store`].
    ///
    /// # Errors
    /// [`Error::Shape`] where the range has another length than `shape` in `layout`.
    pub fn bound(&mut self, name: &str, shape: &[usize], layout: Layout, element: Element, range: Bound) -> Result<Tensor> {
        let tensor = self.add(name, shape, layout, element, Place::Bound(range.clone()))?;
        if tensor.words().max(4) != range.words.max(4) {
            return Err(Error::shape("bound", "range", format!("{} words", tensor.words()), range.words));
        }
        Ok(tensor)
    }

    /// Let `backward` add to what the gradients of parameters hold, for parameters named from here on: several runs then sum
    /// theirs, until somebody clears them.
    pub(crate) fn sum_gradients(&mut self) {
        self.sums = true;
    }

    /// A buffer that the program keeps besides those that are planned, for tensors that stand side by side.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::OutOfMemory`].
    pub(crate) fn room(&mut self, name: &str, words: usize) -> Result<Bound> {
        let buffer = self.gpu.buffer(name, words)?;
        self.rooms += 4 * buffer.words() as u64;
        Ok(Bound { buffer, offset: 0, words })
    }

    /// A parameter of `store`, with its gradient.
    ///
    /// # Errors
    /// [`Error::Value`] where there is none of that name.
    pub fn parameter(&mut self, store: &Store, name: &str) -> Result<Tensor> {
        let parameter = store.parameter(name)?;
        let ranges = [store.value_range(parameter), store.grad_range(parameter)];
        self.trained(name, parameter.shape.dims(), parameter.layout, ranges)
    }

    /// Two parameters of `store` that were declared as a pair, `[2, columns]` with what pads the first: see
    /// [`StoreBuilder::pair`].
    ///
    /// # Errors
    /// [`Error::Value`] where they are none.
    pub fn pair(&mut self, store: &Store, names: [&str; 2]) -> Result<Tensor> {
        let ranges = store.pair_ranges(names)?;
        for name in names {
            self.parameter(store, name)?; // by which a number that is not finite is reported
        }
        let shape = [2, ranges[0].words / 2];
        self.trained(&names.join(" and "), &shape, Layout::Rows, ranges)
    }

    /// A tensor over trained values, and one over their gradient. Used a second time it is the same, so that its gradients add up.
    fn trained(&mut self, name: &str, shape: &[usize], layout: Layout, [value, grad]: [Bound; 2]) -> Result<Tensor> {
        let same = |info: &&Info| match &info.place {
            Place::Bound(b) => b.offset == value.offset && b.buffer.same(&value.buffer) && info.tensor.shape.dims() == shape,
            _ => false,
        };
        if let Some(info) = self.infos.iter().filter(|info| info.tracked).find(same) {
            return Ok(info.tensor);
        }
        let scope = std::mem::take(&mut self.scope);
        let value = self.bound(name, shape, layout, Element::F32, value);
        let grad = self.bound(&format!("{name}.grad"), shape, layout, Element::F32, grad);
        self.scope = scope;
        let (value, grad) = (value?, grad?);
        self.infos[value.id].tracked = true;
        self.infos[value.id].grad = Some(grad);
        self.infos[value.id].grad_written = self.sums;
        Ok(value)
    }

    /// A state of `store`: running statistics, Z.
    ///
    /// # Errors
    /// [`Error::Value`] where there is none of that name, or it is split over several buffers.
    pub fn state(&mut self, store: &Store, name: &str) -> Result<Tensor> {
        let state = store.state(name)?;
        let scope = std::mem::take(&mut self.scope);
        let range = state.range();
        let tensor = range.and_then(|range| self.bound(name, state.shape.dims(), state.layout, state.element, range));
        self.scope = scope;
        tensor
    }

    /// A state of `store` that may be split over several buffers: the bank. Its rows follow each other from shard to shard.
    ///
    /// # Errors
    /// [`Error::Value`] where there is none of that name.
    pub fn state_shards(&mut self, store: &Store, name: &str) -> Result<Vec<Tensor>> {
        let state = store.state(name)?;
        let scope = std::mem::take(&mut self.scope);
        let mut bind = |(shape, range): (Shape, Bound)| self.bound(name, shape.dims(), state.layout, state.element, range);
        let shards = state.shards().map(&mut bind).collect();
        self.scope = scope;
        shards
    }

    /// Ask for the gradient of an input, or for the whole one of relu(batch norm): see [`grad`](Self::grad).
    ///
    /// # Errors
    /// [`Error::Value`] for a tensor of another tape.
    pub fn track(&mut self, tensor: Tensor) -> Result<()> {
        self.own(tensor, "track")?;
        self.infos[tensor.id].tracked = true;
        self.infos[tensor.id].wanted = None;
        Ok(())
    }

    /// Keep a tensor's contents until the end of the program, so that the host can read them.
    ///
    /// # Errors
    /// [`Error::Value`] for a tensor of another tape.
    pub fn keep(&mut self, tensor: Tensor) -> Result<()> {
        self.own(tensor, "keep")?;
        if matches!(self.infos[tensor.id].place, Place::Planned) {
            self.infos[tensor.id].place = Place::Own(Vec::new());
        }
        Ok(())
    }

    /// Whether a gradient of `tensor` is wanted.
    pub fn tracked(&self, tensor: Tensor) -> bool {
        self.infos.get(tensor.id).is_some_and(|info| info.tracked)
    }

    /// Whether `tensor` is the constant 1 that [`backward`](Self::backward) begins with.
    pub(crate) fn is_one(&self, tensor: Tensor) -> bool {
        tensor.shape.count() == 1
            && matches!(&self.infos[tensor.id].place, Place::Own(words) if words.first() == Some(&1f32.to_bits()))
    }

    /// The name of `tensor`.
    pub fn name(&self, tensor: Tensor) -> &str {
        self.infos.get(tensor.id).map_or("?", |info| &info.name)
    }

    fn own(&self, tensor: Tensor, op: &'static str) -> Result<()> {
        if tensor.tape == self.id { Ok(()) } else { Err(Error::value(op, "tensor", "of this tape", "of another tape")) }
    }

    /// What changes from step to step (number, seed, learning rate), for kernels that bind `step`.
    ///
    /// # Errors
    /// None in practice: the shape is fixed.
    pub fn step_block(&mut self) -> Result<Tensor> {
        if let Some(step) = self.step {
            return Ok(step);
        }
        let step = self.input_u32("step", &[4])?;
        self.step = Some(step);
        Ok(step)
    }

    /// The flag that [`guard_finite`](Self::guard_finite) raises: the update and the bank write nothing while it is up.
    ///
    /// # Errors
    /// None in practice: the shape is fixed.
    pub fn guard(&mut self) -> Result<Tensor> {
        if let Some(guard) = self.guard {
            return Ok(guard);
        }
        let guard = self.add("guard", &[4], Layout::Plain, Element::U32, Place::Own(vec![0; 4]))?;
        self.guard = Some(guard);
        Ok(guard)
    }

    /// Append a launch.
    ///
    /// # Errors
    /// [`Error::Limit`] where the device cannot run it, [`Error::Gpu`] for a binding or parameter that the kernel
    /// does not have, [`Error::Value`] for a tensor of another tape.
    pub fn launch(&mut self, launch: Launch) -> Result<()> {
        if launch.groups == 0 {
            return Ok(());
        }
        let kernel = self.gpu.kernel(launch.shader, launch.variant)?;
        let label = format!("{}: {}", self.scope, kernel.variant);
        let fault = |text: String| Error::Gpu { label: label.clone(), text };
        let mut tensors = Vec::new();
        for binding in kernel.point.bindings.iter().filter(|b| b.name != "params") {
            let given = launch.bound.iter().find(|(name, _)| *name == binding.name);
            let (_, tensor) = given.ok_or_else(|| fault(format!("no tensor for `{}`", binding.name)))?;
            self.own(*tensor, "launch")?;
            tensors.push((tensor.id, binding.writable));
        }
        if tensors.len() != launch.bound.len() {
            return Err(fault(format!("{} tensors for {} bindings", launch.bound.len(), tensors.len())));
        }
        let params = Dispatch::params(&kernel, &launch.params)?;
        let groups = self.gpu.grid(&label, launch.groups)?;
        let dispatch = Dispatch { kernel, label, bound: Vec::new(), params, groups, work: launch.work };
        self.recorded.push(Recorded { dispatch, tensors });
        Ok(())
    }

    /// Say how the gradient of `output` reaches the inputs it was computed from, unless none of `inputs` is tracked.
    pub fn differentiable(
        &mut self,
        output: Tensor,
        inputs: &[Tensor],
        rule: impl FnOnce(&mut Tape, Tensor) -> Result<()> + 'static,
    ) {
        if inputs.iter().any(|x| self.tracked(*x)) {
            inputs.iter().for_each(|x| self.infos[x.id].uses += 1);
            self.infos[output.id].tracked = true;
            self.nodes.push(Node { output, scope: self.scope.clone(), rule: Box::new(rule) });
        }
    }

    /// Where to write the gradient of `x`, or `None` where none is wanted. Each call counts as a write.
    ///
    /// # Errors
    /// None in practice: the shape is that of `x`.
    pub fn gradient(&mut self, x: Tensor) -> Result<Option<Gradient>> {
        if !self.tracked(x) {
            return Ok(None);
        }
        let tensor = match self.infos[x.id].grad {
            Some(grad) => grad,
            None => {
                let scope = std::mem::take(&mut self.scope);
                let name = format!("{}.grad", self.infos[x.id].name);
                let grad = self.add(&name, x.shape.dims(), x.layout, Element::F32, Place::Planned);
                self.scope = scope;
                grad?
            }
        };
        let info = &mut self.infos[x.id];
        info.grad = Some(tensor);
        let accumulate = std::mem::replace(&mut info.grad_written, true);
        info.shares += 1;
        info.slopes = None; // they were not those of the whole gradient
        Ok(Some(Gradient { tensor, accumulate }))
    }

    /// Ask whoever writes the last share of the gradient of `y` = relu(batch norm) to mask it and to sum its slopes, since that
    /// saves a pass over both; [`slopes`](Self::slopes) says whether it was done.
    pub(crate) fn want_slopes(&mut self, y: Tensor, wanted: Wanted) {
        self.infos[y.id].wanted = Some(wanted);
    }

    /// What is wanted of the gradient of `x`, if the share that was just asked for with [`gradient`](Self::gradient) is the last.
    pub(crate) fn wanted(&self, x: Tensor) -> Option<Wanted> {
        let info = &self.infos[x.id];
        info.wanted.filter(|_| info.shares == info.uses)
    }

    /// The gradient of `x` is whole and masked, and these are the parts of its slopes.
    pub(crate) fn give_slopes(&mut self, x: Tensor, parts: Tensor) {
        self.infos[x.id].slopes = Some(parts);
    }

    /// What was given for the gradient of `y`.
    pub(crate) fn slopes(&self, y: Tensor) -> Option<Tensor> {
        self.infos[y.id].slopes
    }

    /// Let `grad`, which nobody needs any more, be the gradient of `x`. `false` where `x` has one already, so that
    /// it must be added to.
    pub fn give_gradient(&mut self, x: Tensor, grad: Tensor) -> bool {
        let planned = matches!(self.infos[grad.id].place, Place::Planned);
        let info = &mut self.infos[x.id];
        if !planned || info.grad.is_some() || info.tensor.layout != grad.layout {
            return false; // memory that the host fills must keep what it holds
        }
        info.grad = Some(grad);
        info.grad_written = true;
        info.shares += 1;
        self.infos.iter_mut().filter(|i| i.grad == Some(grad) && i.tensor != x).for_each(|i| i.given = true);
        true
    }

    /// Append the gradients of the scalar `loss` with respect to every tracked tensor, in a segment `backward`.
    ///
    /// # Errors
    /// [`Error::Shape`] where `loss` is no scalar; [`Error::Value`] where nothing tracked leads to it.
    pub fn backward(&mut self, loss: Tensor) -> Result<()> {
        self.own(loss, "backward")?;
        if loss.shape.count() != 1 {
            return Err(Error::shape("backward", "loss", "[1]", loss.shape));
        }
        let one = self.constant("one", &[1.0])?;
        self.backward_from(loss, one)
    }

    /// Append the gradients of ⟨`upstream`, `output`⟩ with respect to every tracked tensor.
    ///
    /// # Errors
    /// [`Error::Shape`] where the two differ; [`Error::Value`] where nothing tracked leads to `output`.
    pub fn backward_from(&mut self, output: Tensor, upstream: Tensor) -> Result<()> {
        self.own(output, "backward")?;
        self.own(upstream, "backward")?;
        if output.shape != upstream.shape || output.layout != upstream.layout {
            return Err(Error::shape("backward", "upstream", output.shape.to_string(), upstream.shape));
        }
        if !self.tracked(output) {
            return Err(Error::value("backward", "output", "computed from a tracked tensor", self.name(output)));
        }
        self.segment("backward");
        self.keep(output)?;
        self.infos[output.id].grad = Some(upstream);
        self.infos[output.id].grad_written = true;
        while let Some(node) = self.nodes.pop() {
            let info = &self.infos[node.output.id];
            if let (Some(grad), true) = (info.grad, info.grad_written) {
                self.scope = node.scope;
                (node.rule)(self, grad)?;
            }
        }
        self.scope.clear();
        Ok(())
    }

    /// The gradient of `x`, kept for the host to read.
    ///
    /// # Errors
    /// [`Error::Value`] before [`backward`](Self::backward) or where no gradient reached `x`; for a sum that has passed its gradient
    /// on; and for relu(batch norm), which whoever writes its gradient may mask, unless it was [`track`](Self::track)ed before.
    pub fn grad(&mut self, x: Tensor) -> Result<Tensor> {
        self.own(x, "grad")?;
        let info = &self.infos[x.id];
        match info.grad {
            Some(_) if info.given => Err(Error::value("grad", "tensor", "no sum, whose gradient is passed on", &info.name)),
            Some(_) if info.wanted.is_some() || info.slopes.is_some() => {
                let expected = "no norm with its ReLU, whose gradient may be masked: `Tape::track` it before `backward`";
                Err(Error::value("grad", "tensor", expected, &info.name))
            }
            Some(grad) if info.grad_written => {
                self.keep(grad)?;
                Ok(grad)
            }
            _ => Err(Error::value("grad", "tensor", "reached by a gradient", &info.name)),
        }
    }

    /// Raise the guard's flag if `tensor` holds a NaN or an infinity.
    ///
    /// # Errors
    /// As [`launch`](Self::launch).
    pub fn guard_finite(&mut self, tensor: Tensor) -> Result<()> {
        let guard = self.guard()?;
        self.launch(finite::raise(tensor, guard))
    }

    /// Plan memory, make pipelines and bind groups, and return the program.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Limit`], [`Error::Gpu`].
    pub fn compile(self) -> Result<Program> {
        program::compile(self, Memory::Shared)
    }

    /// What a program of this tape would hold, without allocating it.
    ///
    /// # Errors
    /// [`Error::Gpu`] where a dispatch reads what nothing has written.
    pub fn footprint(self) -> Result<Footprint> {
        program::footprint(self)
    }

    /// Compile with every tensor in a buffer of its own that is filled with a NaN pattern and followed by guard
    /// words, to find what a kernel forgets to write or writes where it should not.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn compile_guarded(self) -> Result<Program> {
        program::compile(self, Memory::Guarded)
    }
}
