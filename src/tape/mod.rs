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
mod gradient;
mod launch;
mod plan;
mod program;
mod source;
mod store;
mod tensor;

pub(crate) use finite::SHADER as FINITE;
pub use gradient::Gradient;
pub(crate) use gradient::Wanted;
pub use launch::Launch;
pub use plan::{Footprint, Memory};
pub use program::{Program, Segment, Step};
pub use store::{Parameter, Part, Split, State, Store, StoreBuilder};
pub use tensor::{Element, Tensor};

use crate::error::{Error, Result};
use crate::gpu::{Bound, Choices, Gpu};
use crate::shape::{Layout, Shape};
use gradient::Node;
use launch::Recorded;

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
}
