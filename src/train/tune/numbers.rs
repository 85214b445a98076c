//! Whole numbers for a problem's operands, small enough that no plain sum rounds.

use crate::error::Result;
use crate::gpu::{Bound, Gpu};
use crate::ops::{Operand, Problem};
use crate::rng::{Sequence, Stream};
use crate::shape::{Layout, Shape};
use crate::tape::{Element, Tape, Tensor};

/// Numbers after which an operand repeats itself: a prime, so that no two rows or channels are alike, and few, since
/// filling large operands must not take longer than timing what reads them.
const PERIOD: usize = 65_521;

/// One operand: on the host to compute from, and on the device for all candidates to read.
pub(super) struct Values {
    shape: Shape,
    layout: Layout,
    words: Vec<f32>,
    bound: Bound,
}

/// The largest number m such that sums of so many products of numbers up to m stay within the 24 bits of an f32.
fn largest(depth: usize) -> usize {
    ((1 << 24) / depth.max(1)).isqrt().clamp(1, 127)
}

impl Values {
    /// The operands of `problem`.
    pub(super) fn of(gpu: &Gpu, problem: &Problem) -> Result<[Self; 2]> {
        let most = largest(problem.depth()) as f32;
        let mut random = Sequence::new(0, Stream::Test, 1);
        let block: Vec<f32> = (0..PERIOD).map(|_| (random.unit() * (2.0 * most + 1.0)).floor() - most).collect();
        let [a, b] = problem.operands();
        Ok([Self::new(gpu, &a, &block, 0)?, Self::new(gpu, &b, &block, PERIOD / 2)?])
    }

    fn new(gpu: &Gpu, operand: &Operand, block: &[f32], first: usize) -> Result<Self> {
        let (shape, layout) = (Shape::new(&operand.dims)?, operand.layout);
        let mut words = vec![0.0; layout.count(shape)];
        let mut numbers = block.iter().cycle().skip(first).copied();
        if words.len() == shape.count() {
            words.iter_mut().zip(&mut numbers).for_each(|(word, number)| *word = number);
        } else {
            layout.places(shape).zip(&mut numbers).for_each(|(place, number)| words[place] = number);
        }
        let buffer = gpu.buffer("operand", words.len())?;
        gpu.write(&buffer, 0, bytemuck::cast_slice(&words))?;
        let bound = Bound { buffer, offset: 0, words: words.len() };
        Ok(Self { shape, layout, words, bound })
    }

    /// It as a tensor of `tape`.
    pub(super) fn tensor(&self, tape: &mut Tape, name: &str) -> Result<Tensor> {
        tape.bound(name, self.shape.dims(), self.layout, Element::F32, self.bound.clone())
    }

    /// The number at `index`.
    pub(super) fn at(&self, index: &[usize]) -> f64 {
        f64::from(self.words[self.layout.place(self.shape, index)])
    }
}

#[cfg(test)]
mod tests {
    use super::largest;

    #[test]
    fn no_sum_of_so_many_products_leaves_24_bits() {
        for depth in [1, 9, 27, 576, 4608, 131_072, 1_605_632, 1 << 24] {
            let most = largest(depth);
            assert!(most >= 1 && depth * most * most <= 1 << 24, "{depth}: {most}");
        }
        assert_eq!((largest(576), largest(131_072), largest(usize::MAX)), (127, 11, 1));
    }
}
