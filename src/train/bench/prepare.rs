//! A case made ready to run.

use super::BANK;
use super::cases::{Case, Kind, Options, step_flops};
use super::recording::{Fill, Recording};
use super::trainer::{SGD, Trainer, pixels};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Work};
use crate::ops::{self, Augmentation, Norm, Then};
use crate::shape::Layout;
use crate::tape::{Program, Step, Store, StoreBuilder};
use std::ops::Range;

/// Seconds that a sample of one op takes at least, and of the training step.
const SAMPLE: f64 = 0.05;
const STEP_SAMPLE: f64 = 0.5;

/// A case with its program, to time it by other means than [`Bench::run`](super::Bench::run).
pub struct Prepared {
    pub(super) run: Run,
    pub(super) work: Work,
    pub(super) variant: String,
    pub(super) algorithm: Option<String>,
    /// Kept alive for the program.
    _store: Option<Store>,
}

pub(super) enum Run {
    Dispatches(Box<Program>, Range<usize>),
    Train(Box<Trainer>),
}

impl Prepared {
    /// Record and compile `case` and fill its inputs with random numbers; `None` for the adapter's own rates.
    ///
    /// # Errors
    /// [`Error::Limit`] and [`Error::OutOfMemory`] where the device cannot hold it; [`Error::Value`] for an algorithm that
    /// does not solve it; [`Error::DeviceLost`].
    pub fn new(gpu: &Gpu, case: &Case) -> Result<Option<Self>> {
        let problem = case.problem();
        let mut choices = gpu.choices().clone();
        if let (Some(problem), Some(algorithm)) = (problem, case.algorithm) {
            choices.set(problem.to_string(), algorithm.to_string());
        }
        let mut builder = Recording::new(&gpu.with_choices(choices));
        let mut store = None;
        match &case.kind {
            Kind::PeakMultiply | Kind::PeakCopy => return Ok(None),
            Kind::Train(options) => return Ok(Some(Self::training(gpu, options)?)),
            &Kind::Conv(direction, sizes) => builder.conv(direction, sizes)?,
            &Kind::Gemm(form, sizes) => builder.gemm(form, sizes)?,
            &Kind::BatchNorm([n, c, side], backward) => {
                let x = builder.floats("x", &[n, c, side, side], Layout::Rows)?;
                let affine = builder.floats("affine", &[2, c], Layout::Rows)?;
                if backward {
                    [x, affine].into_iter().try_for_each(|t| builder.tape.track(t))?;
                }
                let norm = Norm { affine, stats: ops::batch_norm_statistics(&mut builder.tape, c)?, eps: 1e-5 };
                let y = ops::batch_norm(&mut builder.tape, x, norm, Then { addend: None, relu: true }, None)?;
                if backward {
                    builder.backward(y)?;
                }
            }
            &Kind::Nce(batch) => {
                let (n, dim, m) = BANK;
                let (f, bank, own) = builder.against_bank(batch)?;
                let z = builder.tape.input("z", &[4], Layout::Rows)?;
                builder.fills.push((z, Fill::Floats(vec![(n as f32).ln(), 1.0, 0.0, 0.0])));
                let noise = ops::Noise::Drawn { negatives: m, exclude_own: false };
                ops::nce(&mut builder.tape, f, bank, own, noise, z, 0.07)?;
                debug_assert_eq!(f.shape()[1], dim);
            }
            &Kind::Softmax(batch) => {
                let (f, bank, own) = builder.against_bank(batch)?;
                ops::softmax(&mut builder.tape, f, bank, own, 0.07)?;
            }
            &Kind::TopK(queries, k) => {
                let (f, bank, _) = builder.against_bank(queries)?;
                ops::top_k(&mut builder.tape, f, bank, k)?;
            }
            &Kind::Augment(batch, side) => {
                let words = pixels(side) / 4;
                let packed = builder.integers("pixels", &[batch * words], u32::MAX)?;
                let table = builder.tape.input_u32("table", &[batch, 4])?;
                let rows = (0..batch as u32).flat_map(|i| [i * words as u32, side as u32, side as u32, i]).collect();
                builder.fills.push((table, Fill::Integers(rows)));
                ops::augment(&mut builder.tape, packed, table, Augmentation::paper(side))?;
            }
            Kind::Sgd(options) => {
                let mut declared = StoreBuilder::default();
                options.net()?.declare(&mut declared, 0)?;
                let own = declared.build(gpu)?;
                ops::sgd(&mut builder.tape, &own, SGD)?;
                store = Some(own);
            }
        }
        let wanted = if builder.backward { "backward" } else { "forward" };
        let mut program = builder.compile()?;
        program.set_step(Step { number: 0, seed: 0, lr: 0.0 })?;
        let segment = program.segments().iter().find(|s| s.name == wanted).map(|s| s.range.clone());
        let range = segment.unwrap_or(0..program.dispatches().len());
        let dispatches = &program.dispatches()[range.clone()];
        let all = dispatches.iter().map(|d| d.work);
        let all = all.fold(Work::default(), |a, b| Work { flops: a.flops + b.flops, bytes: a.bytes + b.bytes });
        // A problem costs the same by every algorithm, so that their rates can be compared.
        let work = problem.map_or(all, |problem| problem.work());
        let variants: Vec<String> = dispatches.iter().map(|d| d.kernel.variant.to_string()).collect();
        let variant = variants.join(", ");
        let algorithm = problem.and_then(|problem| program.choices().get(&problem.to_string()).map(str::to_owned));
        if let Some(asked) = case.algorithm.map(|a| a.to_string()).filter(|asked| algorithm.as_ref() != Some(asked)) {
            return Err(Error::value("bench", "algorithm", format!("one that solves {} {}", case.name, case.shape), asked));
        }
        Ok(Some(Self { run: Run::Dispatches(Box::new(program), range), work, variant, algorithm, _store: store }))
    }

    fn training(gpu: &Gpu, options: &Options) -> Result<Self> {
        let (mut trainer, store) = Trainer::new(gpu, options)?;
        let flops = step_flops(&options.net()?, options.batch, options.size);
        let work = Work { flops, ..trainer.step.program().work() };
        let variant = "train: forward, backward, update, z, bank".into();
        Ok(Self { run: Run::Train(Box::new(trainer)), work, variant, algorithm: None, _store: Some(store) })
    }

    /// Operations that count for a run, two for a multiply-add.
    pub fn flops(&self) -> f64 {
        self.work.flops
    }

    /// Run a few times, so that drivers compile, and say how many runs make a sample.
    pub(super) fn warm_up(&mut self) -> Result<usize> {
        let (wanted, mut times) = match &self.run {
            Run::Dispatches(..) => (SAMPLE, 1),
            Run::Train(_) => (STEP_SAMPLE, 2),
        };
        self.seconds(1)?;
        loop {
            let each = self.seconds(times)?;
            if each * times as f64 >= 0.8 * wanted || times >= 1 << 20 {
                return Ok(times.max((wanted / each.max(1e-9)).ceil() as usize));
            }
            times = ((wanted / each.max(1e-9)).ceil() as usize).clamp(2 * times, 1 << 20);
        }
    }

    /// Seconds a run by the wall clock, as the mean of `times`.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Gpu`].
    pub fn seconds(&mut self, times: usize) -> Result<f64> {
        match &mut self.run {
            Run::Dispatches(program, range) => program.time(range.clone(), times),
            Run::Train(trainer) => trainer.seconds(times),
        }
    }

    /// The same by the device's own clock where it has one (see [`Program::time_on_device`]); of training steps, to which the host
    /// belongs, by the wall clock.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Gpu`].
    pub fn seconds_on_device(&mut self, times: usize) -> Result<f64> {
        match &mut self.run {
            Run::Dispatches(program, range) => program.time_on_device(range.clone(), times),
            Run::Train(trainer) => trainer.seconds(times),
        }
    }
}
