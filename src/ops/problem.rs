//! What can be computed by several algorithms: the products and convolutions of this crate, by their shapes.

use super::tiled::Product;
use super::{Algorithm, Tile, conv2d, depthwise, gemm, line_buffer, window, winograd};
use crate::gpu::{Gpu, Work};
use crate::tape::Tape;
use std::fmt;

/// What a convolution computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The result.
    Forward,
    /// The gradient of the input.
    Input,
    /// The gradient of the weight.
    Weight,
}

/// How the operands of a product stand in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `[rows, depth]` · `[depth, cols]`
    Nn,
    /// `[rows, depth]` · `[cols, depth]`ᵀ
    Nt,
    /// `[depth, rows]`ᵀ · `[depth, cols]`
    Tn,
}

/// A product or a convolution of given shapes. Its text, as `conv2d.forward b4 64->64 32x32 k3 s1`, is the key of
/// [`Choices`](crate::gpu::Choices) and the name of a case of the benchmark; height and width are the input's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    /// One direction of a convolution.
    Conv(Direction, conv2d::Sizes),
    /// A product of matrices.
    Gemm(Form, gemm::Sizes),
}

impl Problem {
    /// A direction of a convolution as it is computed: a product of matrices where every pixel is for itself.
    pub fn of(direction: Direction, sizes: conv2d::Sizes) -> Self {
        let Some(map) = sizes.pointwise() else { return Self::Conv(direction, sizes) };
        let (form, product) = map.product(direction);
        Self::Gemm(form, product)
    }

    /// What it costs by the plain algorithm, with unpadded channels: operands and result moved once.
    pub fn work(&self) -> Work {
        match *self {
            Self::Conv(_, sizes) => sizes.work(),
            Self::Gemm(_, sizes) => sizes.work(),
        }
    }

    /// Every algorithm that solves it on `gpu`, but for those that `gpu`'s choices exclude, the promising ones first.
    pub fn candidates(&self, gpu: &Gpu) -> Vec<Algorithm> {
        let direct = Tile::all(gpu, self.product(), self.takes_large_tiles()).into_iter().map(Algorithm::Direct);
        match self {
            Self::Conv(direction, sizes) if !sizes.aligned() => {
                let depthwise = depthwise::candidates(gpu, *direction, *sizes);
                depthwise.into_iter().chain([Algorithm::Scalar]).collect()
            }
            Self::Conv(direction, sizes) => {
                let winograd = winograd::candidates(gpu, *direction, *sizes);
                let window = window::candidates(gpu, *direction, *sizes);
                let line_buffer = line_buffer::candidates(gpu, *direction, *sizes);
                direct.chain(window).chain(line_buffer).chain(winograd).chain([Algorithm::Scalar]).collect()
            }
            Self::Gemm(..) => direct.collect(),
        }
    }

    /// What does well on `gpu` without measuring: the static table.
    pub fn preferred(&self, gpu: &Gpu) -> Algorithm {
        let faster = match self {
            Self::Conv(direction, sizes) if !sizes.aligned() => {
                let depthwise = depthwise::candidates(gpu, *direction, *sizes);
                return depthwise.first().copied().unwrap_or(Algorithm::Scalar);
            }
            Self::Conv(direction, sizes) => {
                let few = line_buffer::for_few_channels(gpu, *direction, *sizes);
                let few = few.or_else(|| window::preferred(gpu, *direction, *sizes));
                let fast = few.or_else(|| winograd::preferred(gpu, *direction, *sizes));
                fast.or_else(|| line_buffer::for_weights(gpu, *direction, *sizes))
            }
            Self::Gemm(..) => None,
        };
        faster.unwrap_or_else(|| Algorithm::Direct(Tile::preferred(gpu, self.product(), self.takes_large_tiles())))
    }

    fn product(&self) -> Product {
        match self {
            Self::Conv(direction, sizes) => sizes.product(*direction),
            Self::Gemm(form, sizes) => sizes.product(*form),
        }
    }

    /// Whether the largest tile for processors is worth its time to compile: where B is read line by line, in loops over taps.
    /// (In a plain product it makes one long run of instructions: 17 GFLOP/s against 38 by half of it, measured.)
    fn takes_large_tiles(&self) -> bool {
        matches!(self, Self::Conv(Direction::Forward, _))
    }

    /// What `tape`'s device has chosen for it, or else what is preferred; noted on the tape.
    pub(super) fn algorithm(&self, tape: &mut Tape) -> Algorithm {
        let problem = self.to_string();
        let gpu = tape.gpu();
        let chosen = gpu.choices().get(&problem).and_then(|text| {
            let all = self.candidates(gpu);
            all.into_iter().find(|algorithm| algorithm.to_string() == text)
        });
        let algorithm = chosen.unwrap_or_else(|| self.preferred(gpu));
        tape.chose(problem, algorithm.to_string());
        algorithm
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conv(Direction::Forward, sizes) => write!(f, "conv2d.forward {sizes}"),
            Self::Conv(Direction::Input, sizes) => write!(f, "conv2d.grad_input {sizes}"),
            Self::Conv(Direction::Weight, sizes) => write!(f, "conv2d.grad_weight {sizes}"),
            Self::Gemm(Form::Nn, sizes) => write!(f, "gemm.nn {sizes}"),
            Self::Gemm(Form::Nt, sizes) => write!(f, "gemm.nt {sizes}"),
            Self::Gemm(Form::Tn, sizes) => write!(f, "gemm.tn {sizes}"),
        }
    }
}
