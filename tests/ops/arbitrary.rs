//! R45: arbitrary shapes, layouts and numbers over the public functions of the ops: an error or a recording, never a
//! panic; and what is small and is recorded also runs.

use crate::gpu;
use instdisc::ops::{self, Augmentation, Conv};
use instdisc::shape::Layout;
use instdisc::tape::{Tape, Tensor};
use instdisc::{Error, Result};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::Cell;

/// Sizes that ops meet, at their edges, and that none can hold.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        12 => 1usize..10,
        2 => Just(0usize),
        2 => prop::sample::select(vec![16, 31, 64, 65, 127, 128, 257, 512, 513]),
        1 => prop::sample::select(vec![65_536, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 40, usize::MAX / 2, usize::MAX]),
    ]
}

fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => 0.01f32..2.0,
        1 => prop::sample::select(vec![0.0, -0.0, -1.0, 1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, f32::MAX]),
    ]
}

#[derive(Clone, Debug)]
struct Call {
    op: usize,
    /// One in so many calls is made of shapes that fit each other.
    fitting: bool,
    dims: Vec<usize>,
    ranks: Vec<usize>,
    layouts: Vec<usize>,
    numbers: Vec<f32>,
    tracked: u32,
}

fn call() -> impl Strategy<Value = Call> {
    let lists = (prop::collection::vec(size(), 24), prop::collection::vec(0usize..6, 6), prop::collection::vec(0usize..7, 6));
    (0..OPS, prop::bool::weighted(0.7), lists, prop::collection::vec(number(), 4), any::<u32>()).prop_map(
        |(op, fitting, (dims, ranks, layouts), numbers, tracked)| Call { op, fitting, dims, ranks, layouts, numbers, tracked },
    )
}

const OPS: usize = 20;

impl Call {
    /// Tensor `i` of the call: of shape `fit`, or of anything.
    fn tensor(&self, tape: &mut Tape, i: usize, fit: &[usize], layout: Layout) -> Result<Tensor> {
        let rank = self.ranks[i % 6];
        let dims = if self.fitting { fit } else { &self.dims[4 * (i % 5)..][..rank.min(4)] };
        let layout = if self.fitting {
            layout
        } else {
            [Layout::Rows, Layout::Rows, Layout::Rows, Layout::Weight, Layout::Plain][self.layouts[i % 6] % 5]
        };
        if !self.fitting && self.layouts[i % 6] == 6 {
            return tape.input_u32("u", dims);
        }
        let x = tape.input("x", dims, layout)?;
        if self.tracked >> i & 1 == 1 {
            tape.track(x)?;
        }
        Ok(x)
    }

    fn integers(&self, tape: &mut Tape, i: usize, fit: &[usize]) -> Result<Tensor> {
        if self.fitting {
            tape.input_u32("u", fit)
        } else if self.layouts[i] < 4 {
            tape.input_u32("u", &self.dims[i..i + 1 + i % 2])
        } else {
            self.tensor(tape, i, fit, Layout::Rows)
        }
    }

    fn record(&self, t: &mut Tape) -> Result<Option<Tensor>> {
        let d = &self.dims;
        let (rows, plain) = (Layout::Rows, |v: usize| v);
        let [v, w] = [self.numbers[0], self.numbers[1]];
        // Fitting channels: many widths would each want a pipeline of its own.
        let dim = [1, 4, 5, 8][d[1] % 4];
        let image = [d[0], d[1], d[2], d[3]];
        Ok(Some(match self.op {
            0 => {
                let (a, b) = (self.tensor(t, 0, &image, rows)?, self.tensor(t, 1, &image, rows)?);
                ops::add(t, a, b)?
            }
            1 => {
                let a = self.tensor(t, 0, &image, rows)?;
                ops::relu(t, a)?
            }
            2 => {
                let a = self.tensor(t, 0, &image, rows)?;
                ops::scale(t, a, v)?
            }
            3 => {
                let a = self.tensor(t, 0, &image[..2], rows)?;
                ops::mean(t, a)?
            }
            4 => {
                let a = self.tensor(t, 0, &image[..2], rows)?;
                ops::l2norm(t, a, v)?
            }
            5 => {
                let a = self.tensor(t, 0, &image, rows)?;
                ops::avg_pool(t, a, d[4], d[5])?
            }
            6 => {
                let a = self.tensor(t, 0, &image, rows)?;
                ops::global_avg_pool(t, a)?
            }
            7 => {
                let a = self.tensor(t, 0, &image, rows)?;
                ops::max_pool(t, a, d[4], d[5], d[6])?
            }
            8 | 9 => {
                let (x, affine) = (self.tensor(t, 0, &image, rows)?, self.tensor(t, 1, &[2, image[1]], rows)?);
                let norm = ops::Norm { affine, stats: ops::batch_norm_statistics(t, image[1])?, eps: v };
                let [mean, var] = [3, 4].map(|i| self.tensor(t, i, &image[1..2], rows));
                let then = ops::Then { addend: None, relu: d[5].is_multiple_of(2) };
                if self.op == 8 {
                    let y = ops::batch_norm(t, x, norm, then, None)?;
                    ops::batch_norm_running(t, norm.stats, mean?, var?, w)?;
                    y
                } else {
                    ops::batch_norm_freeze(t, norm, mean?, var?)?;
                    ops::batch_norm_frozen(t, x, norm, then)?
                }
            }
            10 | 11 => {
                let groups = plain(d[7]);
                let x = self.tensor(t, 0, &[d[0], d[1].saturating_mul(groups), d[2], d[3]], rows)?;
                let weight = self.tensor(t, 1, &[d[4].saturating_mul(groups), d[1], d[5] % 8, d[6] % 8], Layout::Weight)?;
                ops::conv2d(t, x, weight, Conv { stride: d[8], pad: d[9], groups })?
            }
            12 => {
                let (x, weight, b) = (
                    self.tensor(t, 0, &[d[0], d[1]], rows)?,
                    self.tensor(t, 1, &[d[2], d[1]], Layout::Weight)?,
                    self.tensor(t, 2, &[d[2]], rows)?,
                );
                ops::linear(t, x, weight, (d[3].is_multiple_of(2)).then_some(b))?
            }
            13 => {
                let (f, bank) = (self.tensor(t, 0, &[d[0], d[1]], rows)?, self.tensor(t, 1, &[d[2], d[1]], rows)?);
                ops::scores(t, f, bank)?
            }
            14 => {
                let (f, bank, z) = (
                    self.tensor(t, 0, &[d[0], dim], rows)?,
                    self.tensor(t, 1, &[d[2], dim], rows)?,
                    self.tensor(t, 2, &[4], rows)?,
                );
                let (own, noise) = (self.integers(t, 3, &[d[0]])?, self.integers(t, 4, &[d[0], d[3]])?);
                let nce = ops::nce(t, f, bank, own, noise, z, v)?;
                ops::nce_estimate(t, nce.spread, z, d[3], d[2], w)?;
                nce.loss
            }
            15 => {
                let (f, bank, own) = (
                    self.tensor(t, 0, &[d[0], dim], rows)?,
                    self.tensor(t, 1, &[d[2], dim], rows)?,
                    self.integers(t, 3, &[d[0]])?,
                );
                ops::softmax(t, f, bank, own, v)?.loss
            }
            16 => {
                let (f, bank, own) = (
                    self.tensor(t, 0, &[d[0], d[1]], rows)?,
                    self.tensor(t, 1, &[d[2], d[1]], rows)?,
                    self.integers(t, 3, &[d[0]])?,
                );
                ops::prox(t, f, bank, own)?
            }
            17 => {
                let own = self.integers(t, 0, &[d[0]])?;
                ops::negatives(t, own, d[1], d[2], d[3].is_multiple_of(2))?
            }
            18 => {
                let (f, bank, own) = (
                    self.tensor(t, 0, &[d[0], d[1]], rows)?,
                    self.tensor(t, 1, &[d[2], d[1]], rows)?,
                    self.integers(t, 3, &[d[0]])?,
                );
                ops::bank_update(t, bank, f, own, v)?;
                return Ok(None);
            }
            _ => {
                let (pixels, table) = (self.integers(t, 0, &[d[1]])?, self.integers(t, 1, &[d[0], 4])?);
                let settings =
                    Augmentation { hue: v, aspect: w, area: [self.numbers[2], self.numbers[3]], ..Augmentation::paper(d[2]) };
                ops::augment(t, pixels, table, settings)?
            }
        }))
    }
}

/// Record, differentiate, and one time in eight compile and run what is small.
fn attempt(call: &Call, run: bool) -> Result<bool> {
    let mut tape = Tape::new(gpu());
    let y = call.record(&mut tape)?;
    let mut small = call.dims[..10].iter().all(|d| *d <= 600);
    if let Some(y) = y {
        small &= y.words() < 1 << 20;
        tape.keep(y)?;
        if tape.tracked(y) {
            let upstream = tape.input("upstream", y.shape().dims(), y.layout())?;
            tape.backward_from(y, upstream)?;
        }
    }
    if !(run && small) {
        return Ok(false);
    }
    let mut program = tape.compile_guarded()?;
    if program.work().flops > 1e7 {
        return Ok(false);
    }
    program.run()?;
    assert_eq!(program.inspect()?.overrun, Vec::<String>::new(), "{call:?}");
    Ok(true)
}

#[test]
fn arbitrary_calls_never_panic() {
    let cases = std::env::var("INSTDISC_CALLS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let counts: [Cell<u32>; 5] = Default::default();
    let number = Cell::new(0);
    let result = runner.run(&call(), |call| {
        number.set(number.get() + 1);
        let place = match attempt(&call, number.get() % 8 == 0) {
            Ok(ran) => usize::from(ran),
            Err(Error::Shape { .. } | Error::Value { .. }) => 2,
            Err(Error::Limit { asked, allowed, .. }) => {
                prop_assert!(asked > allowed);
                3
            }
            Err(Error::OutOfMemory { .. }) => 4,
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        };
        counts[place].set(counts[place].get() + 1);
        Ok(())
    });
    let [recorded, ran, refused, limit, memory] = counts.map(Cell::into_inner);
    println!(
        "scorecard R45 {cases} calls: {recorded} recorded, {ran} also run, {refused} Shape or Value, {limit} Limit, {memory} out of memory, 0 panics"
    );
    if let Err(e) = result {
        panic!("{e}");
    }
    assert!(ran > cases / 100 && recorded > cases / 10, "too few calls are recorded");
    assert_eq!(gpu().uncaptured_errors(), 0);
}
