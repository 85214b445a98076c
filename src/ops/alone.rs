//! A problem recorded alone, with nothing before or after it: for tuners and benchmarks.

use super::epilogue::Epilogue;
use super::gemm::Operands;
use super::{Direction, Form, Problem};
use crate::error::{Error, Result};
use crate::shape::Layout;
use crate::tape::{Tape, Tensor};

/// What a problem reads: the shape of a tensor, as the user counts it, and how the device stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The shape.
    pub dims: Vec<usize>,
    /// The layout.
    pub layout: Layout,
}

impl Operand {
    fn rows(dims: &[usize]) -> Self {
        Self { dims: dims.to_vec(), layout: Layout::Rows }
    }

    fn weight(dims: &[usize]) -> Self {
        Self { dims: dims.to_vec(), layout: Layout::Weight }
    }
}

impl Problem {
    /// What it reads, in the order that [`record`](Self::record) takes them: image and weight, gradient and weight, or
    /// image and gradient of a convolution; left and right matrix of a product.
    pub fn operands(&self) -> [Operand; 2] {
        match *self {
            Self::Conv(direction, s) => {
                let [oh, ow] = s.result();
                let x = Operand::rows(&[s.n, s.ci * s.conv.groups, s.h, s.w]);
                let weight = Operand::weight(&[s.co, s.ci, s.kh, s.kw]);
                let dy = Operand::rows(&[s.n, s.co, oh, ow]);
                match direction {
                    Direction::Forward => [x, weight],
                    Direction::Input => [dy, weight],
                    Direction::Weight => [x, dy],
                }
            }
            Self::Gemm(form, s) => match form {
                Form::Nn => [Operand::rows(&[s.rows, s.depth]), Operand::weight(&[s.cols, s.depth])],
                Form::Nt => [Operand::rows(&[s.rows, s.depth]), Operand::rows(&[s.cols, s.depth])],
                Form::Tn => [Operand::rows(&[s.depth, s.rows]), Operand::rows(&[s.depth, s.cols])],
            },
        }
    }

    /// Record it on `tape` with these operands and return the result: an image, a weight (also of the form tn, as
    /// `[cols, rows]`), or a matrix.
    ///
    /// # Errors
    /// [`Error::Value`] for several products side by side, which no op asks for by itself; those of the op.
    pub fn record(&self, tape: &mut Tape, [a, b]: [Tensor; 2]) -> Result<Tensor> {
        match *self {
            Self::Conv(Direction::Forward, s) => {
                let [oh, ow] = s.result();
                let y = tape.output("conv2d", &[s.n, s.co, oh, ow], Layout::Rows)?;
                let algorithm = self.algorithm(tape);
                s.forward(tape, algorithm, a, b, y, Epilogue::Plain)?;
                Ok(y)
            }
            // A gradient has the shape of what it belongs to, which itself is not read.
            Self::Conv(Direction::Input, s) => {
                let x = tape.output("x", &[s.n, s.ci * s.conv.groups, s.h, s.w], Layout::Rows)?;
                tape.track(x)?;
                s.grad_input(tape, x, b, a)?;
                tape.grad(x)
            }
            Self::Conv(Direction::Weight, s) => {
                let weight = tape.output("weight", &[s.co, s.ci, s.kh, s.kw], Layout::Weight)?;
                tape.track(weight)?;
                s.grad_weight(tape, a, weight, b)?;
                tape.grad(weight)
            }
            Self::Gemm(form, s) => {
                if s.batch != 1 {
                    return Err(Error::value("gemm", "problem", "a single product", self));
                }
                let y = match form {
                    Form::Nn | Form::Nt => tape.output("gemm", &[s.rows, s.cols], Layout::Rows)?,
                    Form::Tn => tape.output("gemm", &[s.cols, s.rows], Layout::Weight)?,
                };
                let operands = Operands { x: a, w: b, y, accumulate: false };
                match form {
                    Form::Nn => s.nn(tape, operands, None)?,
                    Form::Nt => s.nt(tape, operands)?,
                    Form::Tn => s.tn(tape, operands)?,
                }
                Ok(y)
            }
        }
    }

    /// Terms in the longest sum behind an element of the result.
    pub fn depth(&self) -> usize {
        match *self {
            Self::Conv(direction, s) => {
                let [oh, ow] = s.result();
                match direction {
                    Direction::Forward => s.ci * s.kh * s.kw,
                    Direction::Input => s.co / s.conv.groups * s.kh * s.kw,
                    Direction::Weight => s.n * oh * ow,
                }
            }
            Self::Gemm(_, s) => s.depth,
        }
    }
}
