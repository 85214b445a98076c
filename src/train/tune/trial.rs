//! A candidate on the device: made, checked, timed.

use super::Candidate;
use super::numbers::Values;
use super::reference::{self, Element};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::ops::Problem;
use crate::shape::Layout;
use crate::tape::{Program, Tape, Tensor};

/// Elements of a result that are computed on the host.
const SAMPLES: usize = 32;
/// Multiply-adds on the host for a result that nothing else confirms.
const WHOLE: usize = 20_000_000;

/// The problem at hand, with what every candidate is given and held against.
pub(super) struct Task {
    problem: Problem,
    values: [Values; 2],
    samples: Vec<(Vec<usize>, Element)>,
    /// The largest magnitude among them: what rounds may do so by all that it reads, not by the terms of one element.
    magnitude: f64,
}

/// The index of element `number` in the user's order.
fn index(dims: &[usize], mut number: usize) -> Vec<usize> {
    let mut index = vec![0; dims.len()];
    for (at, size) in index.iter_mut().zip(dims).rev() {
        (*at, number) = (number % size, number / size);
    }
    index
}

/// A program of one candidate.
pub(super) struct Trial {
    program: Program,
    result: Tensor,
    tolerance: f64,
}

impl Task {
    /// Fill the operands of `problem` and compute some elements of its result.
    pub(super) fn new(gpu: &Gpu, problem: &Problem) -> Result<Self> {
        let values = Values::of(gpu, problem)?;
        Ok(Self { problem: *problem, values, samples: Vec::new(), magnitude: 0.0 })
    }

    /// The element at `index` of the right result.
    fn element(&self, index: &[usize]) -> Element {
        reference::element(&self.problem, [&self.values[0], &self.values[1]], index)
    }

    /// Some elements of a result of shape `dims`: the first, the last, and others in between.
    fn sample(&mut self, dims: &[usize]) {
        if !self.samples.is_empty() {
            return;
        }
        let count = dims.iter().product::<usize>().max(1);
        for i in 0..SAMPLES {
            // Steps of the golden ratio visit rows, channels and corners alike.
            let part = (i as f64 * 0.618_033_988_749_895).fract();
            let number = if i == 1 { count - 1 } else { (part * count as f64) as usize };
            let index = index(dims, number.min(count - 1));
            let element = self.element(&index);
            self.magnitude = self.magnitude.max(element.magnitude);
            self.samples.push((index, element));
        }
    }
}

impl Trial {
    /// Record and compile `candidate`, in guarded memory.
    pub(super) fn new(gpu: &Gpu, task: &Task, candidate: &Candidate) -> Result<Self> {
        let mut choices = gpu.choices().clone();
        choices.set(task.problem.to_string(), &candidate.name);
        let mut tape = Tape::new(&gpu.with_choices(choices));
        let operands = [task.values[0].tensor(&mut tape, "a")?, task.values[1].tensor(&mut tape, "b")?];
        let result = (candidate.record)(&mut tape, operands)?;
        tape.keep(result)?;
        Ok(Self { program: tape.compile_guarded()?, result, tolerance: candidate.tolerance })
    }

    /// Run it once and return the words of its result, if nothing is wrong with them.
    pub(super) fn check(&mut self, task: &mut Task) -> Result<std::result::Result<Vec<f32>, String>> {
        self.program.run()?;
        let found = self.program.inspect()?;
        let words: Vec<f32> = self.program.read_words(self.result)?.into_iter().map(f32::from_bits).collect();
        task.sample(self.result.shape().dims());
        let fault = (!found.overrun.is_empty())
            .then(|| format!("writes behind {}", found.overrun.join(", ")))
            .or_else(|| {
                (!found.unwritten.is_empty()).then(|| format!("leaves a part of {} unwritten", found.unwritten.join(", ")))
            })
            .or_else(|| words.iter().position(|word| !word.is_finite()).map(|at| format!("{} in its result", words[at])))
            .or_else(|| self.beside(&words))
            .or_else(|| task.samples.iter().find_map(|(index, element)| self.off(task, &words, index, *element)));
        Ok(fault.map_or(Ok(words), Err))
    }

    /// What is wrong with the padding.
    fn beside(&self, words: &[f32]) -> Option<String> {
        let (shape, layout) = (self.result.shape(), self.result.layout());
        if words.len() == shape.count() || layout == Layout::Plain {
            return None;
        }
        let mut rest = words.to_vec();
        layout.places(shape).for_each(|place| rest[place] = 0.0);
        rest.iter().any(|word| *word != 0.0).then(|| "padding that is not zero".to_owned())
    }

    /// What is wrong with the element at `index`.
    fn off(&self, task: &Task, words: &[f32], index: &[usize], right: Element) -> Option<String> {
        let got = f64::from(words[self.result.layout().place(self.result.shape(), index)]);
        let allowed = self.tolerance * task.magnitude;
        let fine = (got - right.value).abs() <= allowed;
        (!fine).then(|| format!("{got} at {index:?} instead of {} within {allowed:e}", right.value))
    }

    /// Compare the words of this candidate with those of `other`, which passed [`check`](Self::check) too; where they differ, the
    /// reference says who is wrong: `Err` with what is wrong here, `Ok` with what is wrong there, if anything.
    pub(super) fn compare(
        &self,
        task: &Task,
        words: &[f32],
        other: (&Self, &[f32]),
    ) -> std::result::Result<Option<String>, String> {
        let (shape, layout) = (self.result.shape(), self.result.layout());
        if words.len() != other.1.len() {
            return Err(format!("{} words instead of {}", words.len(), other.1.len()));
        }
        let slack = (self.tolerance + other.0.tolerance) * task.magnitude;
        let close = |a: f32, b: f32| (f64::from(a) - f64::from(b)).abs() <= slack;
        if words.iter().zip(other.1).all(|(a, b)| close(*a, *b)) {
            return Ok(None);
        }
        let dims = shape.dims();
        for (number, place) in layout.places(shape).enumerate().filter(|(_, place)| !close(words[*place], other.1[*place])) {
            let index = index(dims, number);
            debug_assert_eq!(layout.place(shape, &index), place);
            let right = task.element(&index);
            if let Some(fault) = self.off(task, words, &index, right) {
                return Err(fault);
            }
            if let Some(fault) = other.0.off(task, other.1, &index, right) {
                return Ok(Some(fault));
            }
        }
        Ok(None)
    }

    /// What is wrong with `words`, element by element; of a large result only every so many.
    pub(super) fn whole(&self, task: &Task, words: &[f32]) -> Option<String> {
        let dims = self.result.shape().dims().to_vec();
        let count = self.result.shape().count();
        let step = (count.saturating_mul(task.problem.depth()) / WHOLE) | 1;
        (0..count).step_by(step).map(|number| index(&dims, number)).find_map(|at| self.off(task, words, &at, task.element(&at)))
    }

    /// Seconds a run, as the mean of `times`.
    pub(super) fn seconds(&mut self, times: usize) -> Result<f64> {
        self.program.time_on_device(0..self.program.dispatches().len(), times)
    }
}
