//! The table of cases that every op must pass, and the checks that are made of each: `instdisc selftest` runs a part
//! of it on a user's adapter, `tests/ops` all of it.
//!
//! A [`Case`] says how an op is recorded, what its f64 twin returns for the same inputs, how deep the op's sums are, and
//! whether it fits a device with tiny limits. The checks are the same for all:
//!
//! - the forward result lies within the bound that the twin's magnitudes and the depth prove ([`twin::compare`]);
//! - the gradient of each differentiable input agrees with central differences of the twin, for a random upstream;
//! - with any subset of inputs tracked the gradients have the same bits, and those of a second record are added;
//! - every word of every result is written, and none beside it; padding stays zero;
//! - a second run and a second program give the same bits.
//!
//! [`twin::compare`]: crate::twin::compare

mod check;
mod images;
mod losses;
mod matrices;
mod vectors;

pub use check::{Passed, check, record};

use crate::error::Result;
use crate::gpu::Gpu;
use crate::rng::{Sequence, Stream};
use crate::shape::Layout;
use crate::tape::{Step, Tape, Tensor};
use crate::twin::Reference;

/// A tensor of floats that a case feeds.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: &'static str,
    /// Its shape.
    pub dims: Vec<usize>,
    /// How the device stores it.
    pub layout: Layout,
    /// Its values in the user's order.
    pub values: Vec<f32>,
    /// Whether the op has a gradient for it.
    pub differentiable: bool,
    /// Whether the device stores it in 16 bits; its values are such numbers.
    pub half: bool,
}

/// A tensor of integers that a case feeds.
#[derive(Clone, Debug)]
pub struct Integers {
    /// Its name.
    pub name: &'static str,
    /// Its shape.
    pub dims: Vec<usize>,
    /// Its values.
    pub values: Vec<u32>,
}

/// What a case does on a device with tiny limits (64 KiB a binding, 4 workgroups a dimension).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiny {
    /// It gives its normal result.
    Runs,
    /// It returns [`Error::Limit`](crate::Error::Limit) before anything is dispatched.
    Limit,
}

/// Records an op on inputs and integers and returns its results, the differentiable one first.
type Record = Box<dyn Fn(&mut Tape, &[Tensor], &[Tensor]) -> Result<Vec<Tensor>> + Send + Sync>;
/// The references of those results from the inputs, and from what the op returned: for ops that draw random numbers.
type Twin = Box<dyn Fn(&[Vec<f64>], &[Vec<f32>]) -> Vec<Reference> + Send + Sync>;
/// Makes the input tensors where the op takes them in memory of its own kind.
type Bind = Box<dyn Fn(&mut Tape) -> Result<Vec<Tensor>> + Send + Sync>;

/// One set of shapes and values for an op.
pub struct Case {
    /// The op, by its name in [`OPS`](crate::ops::OPS).
    pub op: &'static str,
    /// What is special about the case, with its shapes.
    pub label: String,
    /// Its floats.
    pub inputs: Vec<Input>,
    /// Its integers.
    pub integers: Vec<Integers>,
    /// Additions in a row, as the shader's `Order:` line has them.
    pub depth: f64,
    /// What it does on a device with tiny limits.
    pub tiny: Tiny,
    /// Whether it belongs to the quick selection.
    pub quick: bool,
    /// The step, seed and learning rate it is run with.
    pub step: Step,
    /// How many elements of each input's gradient are compared with differences.
    pub samples: usize,
    /// Whether gradients need only be finite: the function has a kink there, or they are nothing but cancelled terms.
    pub kinks: bool,
    /// The algorithm of its products and convolutions; without one, what the device has chosen or prefers.
    pub algorithm: Option<&'static str>,
    record: Record,
    twin: Twin,
    /// For algorithms whose text begins so: the depth, and the twin with magnitudes of their own.
    others: Vec<(&'static str, f64, Twin)>,
    bind: Option<Bind>,
}

impl Case {
    fn new(op: &'static str, label: impl Into<String>) -> Self {
        Self {
            op,
            label: label.into(),
            inputs: Vec::new(),
            integers: Vec::new(),
            depth: 1.0,
            tiny: Tiny::Runs,
            quick: false,
            step: Step { number: 3, seed: 0x1234_5678_9abc, lr: 0.125 },
            samples: 10,
            kinks: false,
            algorithm: None,
            record: Box::new(|_, _, _| Ok(Vec::new())),
            twin: Box::new(|_, _| Vec::new()),
            others: Vec::new(),
            bind: None,
        }
    }

    fn input(mut self, name: &'static str, dims: &[usize], layout: Layout, values: Vec<f32>) -> Self {
        self.inputs.push(Input { name, dims: dims.to_vec(), layout, values, differentiable: false, half: false });
        self
    }

    fn tracked(self, name: &'static str, dims: &[usize], layout: Layout, values: Vec<f32>) -> Self {
        let mut case = self.input(name, dims, layout, values);
        if let Some(last) = case.inputs.last_mut() {
            last.differentiable = true;
        }
        case
    }

    fn integers(mut self, name: &'static str, dims: &[usize], values: Vec<u32>) -> Self {
        self.integers.push(Integers { name, dims: dims.to_vec(), values });
        self
    }

    fn op(
        mut self,
        depth: usize,
        record: impl Fn(&mut Tape, &[Tensor], &[Tensor]) -> Result<Vec<Tensor>> + Send + Sync + 'static,
        twin: impl Fn(&[Vec<f64>], &[Vec<f32>]) -> Vec<Reference> + Send + Sync + 'static,
    ) -> Self {
        self.depth = depth as f64;
        self.record = Box::new(record);
        self.twin = Box::new(twin);
        self
    }

    /// Judge results of `algorithm` by another depth and twin: it adds other terms.
    fn judged(
        mut self,
        algorithm: &'static str,
        depth: usize,
        twin: impl Fn(&[Vec<f64>], &[Vec<f32>]) -> Vec<Reference> + Send + Sync + 'static,
    ) -> Self {
        self.others.push((algorithm, depth as f64, Box::new(twin)));
        self
    }

    fn samples(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }

    fn tiny(mut self, tiny: Tiny) -> Self {
        self.tiny = tiny;
        self
    }

    /// The number of elements it feeds.
    pub fn elements(&self) -> usize {
        self.inputs.iter().map(|i| i.values.len()).sum::<usize>() + self.integers.iter().map(|i| i.values.len()).sum::<usize>()
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.op, self.label)
    }
}

/// Every case of every op, in the order of [`OPS`](crate::ops::OPS).
pub fn table() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(vectors::cases());
    cases.extend(matrices::cases());
    cases.extend(images::cases());
    cases.extend(losses::cases());
    let place = |op: &str| crate::ops::OPS.iter().position(|o| o.name == op);
    cases.sort_by_key(|case| place(case.op));
    // The quick selection: the first cases of every op, and every eighth, but for what takes long.
    let mut count = 0;
    for i in 0..cases.len() {
        count = if i > 0 && cases[i - 1].op == cases[i].op { count + 1 } else { 0 };
        cases[i].quick = (count < 4 || count % 8 == 7) && cases[i].elements() < 20_000;
    }
    cases
}

/// Which cases to run.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only ops whose names hold this.
    pub filter: Option<String>,
    /// Only the quick part: some ten cases an op.
    pub quick: bool,
}

/// What came of an op.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The op.
    pub op: &'static str,
    /// How many cases were run.
    pub cases: usize,
    /// The largest error of a forward result, as a share of the allowed one.
    pub worst_forward: f64,
    /// The largest error of a gradient, as a share of the allowed one.
    pub worst_gradient: f64,
    /// Whether all cases passed.
    pub passed: bool,
    /// What failed first, empty where nothing did.
    pub message: String,
}

/// Run the selected cases and hand each op's verdict to `on_result` as it comes.
pub fn run(gpu: &Gpu, selection: &Selection, mut on_result: impl FnMut(&Verdict)) -> Vec<Verdict> {
    let cases = table();
    let mut verdicts = Vec::new();
    for op in crate::ops::OPS {
        if selection.filter.as_ref().is_some_and(|filter| !op.name.contains(filter.as_str())) {
            continue;
        }
        let mut verdict =
            Verdict { op: op.name, cases: 0, worst_forward: 0.0, worst_gradient: 0.0, passed: true, message: String::new() };
        for case in cases.iter().filter(|case| case.op == op.name && (case.quick || !selection.quick)) {
            verdict.cases += 1;
            match check(gpu, case) {
                Ok(passed) => {
                    verdict.worst_forward = verdict.worst_forward.max(passed.forward);
                    verdict.worst_gradient = verdict.worst_gradient.max(passed.gradient);
                }
                Err(text) if verdict.passed => {
                    verdict.passed = false;
                    verdict.message = format!("{}: {text}", case.label);
                }
                Err(_) => {}
            }
        }
        if verdict.cases == 0 {
            verdict.passed = false;
            verdict.message = "no case was run".into();
        }
        on_result(&verdict);
        verdicts.push(verdict);
    }
    verdicts
}

/// Random numbers for a case, the same in every run.
struct Numbers(Sequence);

impl Numbers {
    fn new(number: usize) -> Self {
        Self(Sequence::new(2018, Stream::Test, number as u32))
    }

    fn normal(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.0.normal()).collect()
    }

    /// In [low, high).
    fn between(&mut self, n: usize, low: f32, high: f32) -> Vec<f32> {
        (0..n).map(|_| low + (high - low) * self.0.unit()).collect()
    }

    /// In 0..n.
    fn below(&mut self, n: usize) -> usize {
        ((f64::from(self.0.unit()) * n as f64) as usize).min(n.saturating_sub(1))
    }

    fn indices(&mut self, count: usize, n: usize) -> Vec<u32> {
        (0..count).map(|_| self.below(n) as u32).collect()
    }

    /// `rows` rows of unit length.
    fn unit_rows(&mut self, rows: usize, dim: usize) -> Vec<f32> {
        let mut x = self.normal(rows * dim);
        for row in x.chunks_mut(dim.max(1)) {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-6);
            row.iter_mut().for_each(|x| *x /= length);
        }
        x
    }
}
