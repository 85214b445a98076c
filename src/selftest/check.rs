//! The checks that are made of every case.

use super::{Case, Input, Numbers};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::ops;
use crate::shape::Layout;
use crate::tape::{Element, Memory, Program, Tape, Tensor};
use crate::twin::compare::{gradient_close, within_bound};
use crate::twin::{Reference, UNIT, difference, wide};
use std::collections::BTreeSet;

/// What a case that passed has shown.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// The largest error of a forward result, as a share of the bound.
    pub forward: f64,
    /// The largest error of a gradient, as a share of 10⁻⁵ of max(|numeric|, mean).
    pub gradient: f64,
    /// Elements compared, forward.
    pub elements: usize,
    /// Gradient elements compared with differences.
    pub slopes: usize,
    /// Gradient elements left out since the function has a kink there.
    pub kinks: usize,
    /// Programs with one subset of inputs tracked each, once and twice recorded.
    pub subsets: usize,
    /// The (file, entry point) pairs that were dispatched.
    pub entries: BTreeSet<(&'static str, &'static str)>,
    /// The algorithms by which products and convolutions were computed.
    pub algorithms: BTreeSet<String>,
}

/// The relative error allowed to a gradient.
const GRADIENT: f64 = 1e-5;
/// A result with more elements has an upstream of which most are zero.
const SPARSE: usize = 20_000;
/// An element whose two difference quotients disagree by this share is no fair test.
const DOUBT: f64 = 1e-3;

/// A program of a case.
pub struct Recorded {
    /// The program.
    pub program: Program,
    /// The results.
    pub outputs: Vec<Tensor>,
    inputs: Vec<Tensor>,
    integers: Vec<Tensor>,
    upstream: Option<Tensor>,
    grads: Vec<Option<Tensor>>,
}

/// What a run left: the words of results and of gradients.
#[derive(PartialEq)]
struct Ran {
    outputs: Vec<Vec<u32>>,
    grads: Vec<Option<Vec<u32>>>,
}

/// Record `case` with the inputs of the bit set `tracked` tracked; `twice` over, with half the second
/// result added to the first, so that every gradient is written with one half and has the whole added.
///
/// # Errors
/// Those of the op and of [`Tape::compile`].
pub fn record(gpu: &Gpu, case: &Case, tracked: u32, twice: bool, memory: Memory) -> Result<Recorded> {
    let mut choices = gpu.choices().clone();
    if let Some(algorithm) = case.algorithm {
        choices.set("*", algorithm);
    }
    let mut tape = Tape::new(&gpu.with_choices(choices));
    let inputs = match &case.bind {
        Some(bind) => bind(&mut tape)?,
        None => {
            let input = |i: &Input| if i.half { tape.input_f16(i.name, &i.dims) } else { tape.input(i.name, &i.dims, i.layout) };
            case.inputs.iter().map(input).collect::<Result<_>>()?
        }
    };
    let integers: Vec<_> = case.integers.iter().map(|i| tape.input_u32(i.name, &i.dims)).collect::<Result<_>>()?;
    for (i, input) in inputs.iter().enumerate().filter(|(i, _)| tracked & 1 << i != 0) {
        debug_assert!(case.inputs[i].differentiable);
        tape.track(*input)?;
    }
    let outputs = (case.record)(&mut tape, &inputs, &integers)?;
    let mut last = outputs.first().copied();
    if let (true, Some(first)) = (twice, last) {
        let again = (case.record)(&mut tape, &inputs, &integers)?;
        let half = ops::scale(&mut tape, again[0], 0.5)?;
        last = Some(ops::add(&mut tape, first, half)?);
    }
    for output in &outputs {
        tape.keep(*output)?;
    }
    let mut upstream = None;
    let mut grads = vec![None; inputs.len()];
    if let (true, Some(last)) = (tracked != 0, last) {
        let given = tape.input("upstream", last.shape().dims(), last.layout())?;
        tape.backward_from(last, given)?;
        upstream = Some(given);
        for (grad, input) in grads.iter_mut().zip(&inputs) {
            if tape.tracked(*input) {
                *grad = Some(tape.grad(*input)?);
            }
        }
    }
    let program = match memory {
        Memory::Shared => tape.compile()?,
        Memory::Guarded => tape.compile_guarded()?,
    };
    Ok(Recorded { program, outputs, inputs, integers, upstream, grads })
}

impl Recorded {
    fn run(&mut self, case: &Case, upstream: &[f32]) -> Result<Ran> {
        for (tensor, input) in self.inputs.iter().zip(&case.inputs) {
            self.program.write(*tensor, &input.values)?;
        }
        for (tensor, input) in self.integers.iter().zip(&case.integers) {
            self.program.write_u32(*tensor, &input.values)?;
        }
        if let Some(tensor) = self.upstream {
            self.program.write(tensor, upstream)?;
        }
        self.program.set_step(case.step)?;
        self.program.run()?;
        let words = |tensor: &Tensor| self.program.read_words(*tensor);
        Ok(Ran {
            outputs: self.outputs.iter().map(words).collect::<Result<_>>()?,
            grads: self.grads.iter().map(|g| g.as_ref().map(words).transpose()).collect::<Result<_>>()?,
        })
    }
}

/// Make every check of `case`, and say what was found or what is wrong.
///
/// # Errors
/// The first thing that is wrong, in words.
pub fn check(gpu: &Gpu, case: &Case) -> std::result::Result<Passed, String> {
    let mut passed = Passed::default();
    let all = case.inputs.iter().enumerate().filter(|(_, input)| input.differentiable).fold(0, |set, (i, _)| set | 1 << i);
    let says = |e: crate::Error| e.to_string();

    let mut first = record(gpu, case, all, false, Memory::Guarded).map_err(says)?;
    let Some(result) = first.outputs.first().copied() else { return Err("the op returned nothing".into()) };
    let mut upstream = Numbers::new(case.elements()).normal(result.shape().count());
    if upstream.len() > SPARSE {
        // Long sums of either sign cancel, and say little: some of them, spread over all and up to the last.
        let (apart, last) = ((upstream.len() / 256) | 1, upstream.len() - 1);
        upstream.iter_mut().enumerate().for_each(|(i, u)| *u *= f32::from(u8::from((last - i) % apart == 0)));
    }
    let ran = first.run(case, &upstream).map_err(says)?;
    let entry = |d: &crate::gpu::Dispatch| (d.kernel.variant.file, d.kernel.variant.entry);
    passed.entries.extend(first.program.dispatches().iter().map(entry));
    passed.algorithms.extend(first.program.choices().iter().map(|(_, algorithm)| algorithm.to_owned()));
    let found = first.program.inspect().map_err(says)?;
    if !found.overrun.is_empty() || !found.unwritten.is_empty() {
        return Err(format!("{found:?}"));
    }
    forward(case, &first, &ran.outputs, &mut passed)?;
    padding(case, &first, &ran)?;
    gradients(case, &first, &ran, &upstream, &mut passed)?;
    if first.run(case, &upstream).map_err(says)? != ran {
        return Err("a second run gives other bits".into());
    }
    let mut second = record(gpu, case, all, false, Memory::Shared).map_err(says)?;
    if second.run(case, &upstream).map_err(says)? != ran {
        return Err("a second program, with shared memory, gives other bits".into());
    }
    drop(second);

    let mut subset = all;
    while subset != 0 {
        for twice in [false, true] {
            if subset == all && !twice {
                continue;
            }
            let memory = if subset == all { Memory::Guarded } else { Memory::Shared };
            let mut program = record(gpu, case, subset, twice, memory).map_err(says)?;
            let other = program.run(case, &upstream).map_err(says)?;
            passed.entries.extend(program.program.dispatches().iter().map(entry));
            let found = program.program.inspect().map_err(says)?;
            if !found.overrun.is_empty() || !found.unwritten.is_empty() {
                return Err(format!("tracked {subset:b}, twice {twice}: {found:?}"));
            }
            for (i, (grad, full)) in other.grads.iter().zip(&ran.grads).enumerate() {
                let (Some(grad), Some(full)) = (grad, full) else { continue };
                // Half of a gradient has the same digits; their sum is rounded, once or (with a fused multiply-add) not quite.
                let same = |(a, b): (&u32, &u32)| {
                    let (a, b) = (f64::from(f32::from_bits(*a)), 1.5 * f64::from(f32::from_bits(*b)));
                    let off = 2.0 * UNIT * b.abs() + f64::from(f32::MIN_POSITIVE);
                    if twice { (a - b).abs() <= off } else { a * 1.5 == b }
                };
                if !grad.iter().zip(full).all(same) {
                    let what = if twice {
                        "recorded once and a half, the gradient is not half as large again"
                    } else {
                        "the gradient has other bits"
                    };
                    return Err(format!("tracked {subset:b}: {what} for `{}`", case.inputs[i].name));
                }
            }
            passed.subsets += 1;
        }
        subset = (subset - 1) & all;
    }
    Ok(passed)
}

fn forward(case: &Case, recorded: &Recorded, words: &[Vec<u32>], passed: &mut Passed) -> std::result::Result<(), String> {
    let inputs: Vec<Vec<f64>> = case.inputs.iter().map(|i| wide(&i.values)).collect();
    let (tensors, name) = (&recorded.outputs, format!("{}.forward ", case.op));
    let by = recorded.program.choices().iter().find(|(problem, _)| problem.starts_with(&name)).map_or("", |(_, by)| by);
    let other = case.others.iter().find(|(algorithm, ..)| by.starts_with(algorithm));
    let (depth, twin) = other.map_or((case.depth, &case.twin), |(_, depth, twin)| (*depth, twin));
    let got: Vec<Vec<f32>> = tensors.iter().zip(words).map(|(t, w)| Program::unpack(*t, w)).collect();
    let references = twin(&inputs, &got);
    if references.len() != tensors.len() {
        return Err(format!("{} results for {} references", tensors.len(), references.len()));
    }
    for (i, ((tensor, reference), got)) in tensors.iter().zip(&references).zip(&got).enumerate() {
        if reference.dims.len() > 1 && reference.dims != tensor.shape().dims() {
            return Err(format!("result {i} has shape {} instead of {:?}", tensor.shape(), reference.dims));
        }
        if tensor.element() == Element::U32 {
            let same = words[i].len() == reference.value.len()
                && words[i].iter().zip(&reference.value).all(|(a, b)| f64::from(*a) == *b);
            if !same {
                return Err(format!("result {i} has other integers than its reference"));
            }
            passed.elements += words[i].len();
            continue;
        }
        let report = within_bound(got, reference, depth).map_err(|e| format!("forward, result {i}: {e}"))?;
        passed.forward = passed.forward.max(report.worst);
        passed.elements += report.count;
    }
    Ok(())
}

fn padding(case: &Case, recorded: &Recorded, ran: &Ran) -> std::result::Result<(), String> {
    let outputs = recorded.outputs.iter().zip(&ran.outputs).enumerate();
    let outputs = outputs.map(|(i, (t, w))| (format!("result {i}"), t, w));
    let grads = recorded.grads.iter().zip(&ran.grads).zip(&case.inputs);
    let grads = grads.filter_map(|((t, w), i)| Some((format!("the gradient of `{}`", i.name), t.as_ref()?, w.as_ref()?)));
    for (name, tensor, words) in outputs.chain(grads) {
        if tensor.layout() == Layout::Plain {
            continue;
        }
        let mut rest = words.clone();
        tensor.layout().places(tensor.shape()).for_each(|place| rest[place] = 0);
        if rest.iter().any(|w| w & 0x7fff_ffff != 0) {
            return Err(format!("the padding of {name} is not zero"));
        }
    }
    Ok(())
}

fn gradients(
    case: &Case,
    recorded: &Recorded,
    ran: &Ran,
    upstream: &[f32],
    passed: &mut Passed,
) -> std::result::Result<(), String> {
    let inputs: Vec<Vec<f64>> = case.inputs.iter().map(|i| wide(&i.values)).collect();
    let (weights, mut random) = (wide(upstream), Numbers::new(case.elements() + 1));
    let result = |inputs: &[Vec<f64>]| -> Reference { (case.twin)(inputs, &[]).into_iter().next().unwrap_or_default() };
    let mut base = None;
    for (i, (tensor, words)) in recorded.grads.iter().zip(&ran.grads).enumerate() {
        let (Some(tensor), Some(words), name) = (tensor, words, case.inputs[i].name) else { continue };
        let got = Program::unpack(*tensor, words);
        if let Some(place) = got.iter().position(|g| !g.is_finite()) {
            return Err(format!("the gradient of `{name}` is {} at {place}", got[place]));
        }
        if case.kinks {
            continue;
        }
        let base = &*base.get_or_insert_with(|| result(&inputs).value);
        let n = got.len();
        let mut at: Vec<usize> = (0..case.samples.min(n)).map(|_| random.below(n)).chain([n - 1]).collect();
        at.sort_unstable();
        at.dedup();
        let mut moved = inputs.clone();
        let moved = std::cell::RefCell::new(&mut moved);
        // The difference to the result at x is what counts: results that do not move cancel exactly.
        let objective = |x: &[f64]| {
            let mut moved = moved.borrow_mut();
            moved[i].copy_from_slice(x);
            result(&moved).value.iter().zip(base).zip(&weights).map(|((y, y0), w)| (y - y0) * w).sum()
        };
        let slopes = difference::gradient(objective, &inputs[i], &at);
        let mean = slopes.iter().map(|s| s.value.abs()).sum::<f64>() / slopes.len() as f64;
        let fair: Vec<usize> = (0..at.len()).filter(|&k| slopes[k].doubt <= DOUBT * slopes[k].value.abs().max(mean)).collect();
        passed.kinks += at.len() - fair.len();
        if fair.len() * 2 < at.len() {
            return Err(format!("`{name}` has a kink at {} of {} places", at.len() - fair.len(), at.len()));
        }
        let numeric: Vec<f64> = fair.iter().map(|&k| slopes[k].value).collect();
        let own: Vec<f32> = fair.iter().map(|&k| got[at[k]]).collect();
        let report = gradient_close(&own, &numeric, GRADIENT).map_err(|e| format!("the gradient of `{name}` at {at:?}: {e}"))?;
        passed.gradient = passed.gradient.max(report.worst);
        passed.slopes += report.count;
    }
    Ok(())
}
