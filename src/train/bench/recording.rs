//! Tapes of one op, with random numbers for inputs.

use super::BANK;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::ops::{self, ConvSizes, Direction, Form, GemmSizes};
use crate::rng::{Sequence, Stream};
use crate::shape::Layout;
use crate::tape::{Program, Tape, Tensor};

pub(super) enum Fill {
    Floats(Vec<f32>),
    Integers(Vec<u32>),
}

/// A one-op tape with what is to be written into its inputs.
pub(super) struct Recording {
    pub(super) tape: Tape,
    pub(super) fills: Vec<(Tensor, Fill)>,
    numbers: Sequence,
    pub(super) backward: bool,
}

impl Recording {
    pub(super) fn new(gpu: &Gpu) -> Self {
        Self { tape: Tape::new(gpu), fills: Vec::new(), numbers: Sequence::new(0, Stream::Test, 0), backward: false }
    }

    pub(super) fn floats(&mut self, name: &str, shape: &[usize], layout: Layout) -> Result<Tensor> {
        let tensor = self.tape.input(name, shape, layout)?;
        let values = (0..tensor.shape().count()).map(|_| self.numbers.unit() - 0.5).collect();
        self.fills.push((tensor, Fill::Floats(values)));
        Ok(tensor)
    }

    pub(super) fn integers(&mut self, name: &str, shape: &[usize], below: u32) -> Result<Tensor> {
        let tensor = self.tape.input_u32(name, shape)?;
        let values = (0..tensor.shape().count()).map(|_| (f64::from(self.numbers.unit()) * f64::from(below)) as u32).collect();
        self.fills.push((tensor, Fill::Integers(values)));
        Ok(tensor)
    }

    /// Embeddings, a bank and the samples' rows in it.
    pub(super) fn against_bank(&mut self, batch: usize) -> Result<(Tensor, Tensor, Tensor)> {
        let (n, dim, _) = BANK;
        let f = self.floats("f", &[batch, dim], Layout::Rows)?;
        let bank = self.floats("bank", &[n, dim], Layout::Rows)?;
        let own = self.integers("own", &[batch], n as u32)?;
        Ok((f, bank, own))
    }

    pub(super) fn backward(&mut self, y: Tensor) -> Result<()> {
        let upstream = self.floats("dy", y.shape().dims(), y.layout())?;
        self.backward = true;
        self.tape.backward_from(y, upstream)
    }

    pub(super) fn conv(&mut self, direction: Direction, sizes: ConvSizes) -> Result<()> {
        let ConvSizes { n, h, w, ci, co, kh, kw, conv } = sizes;
        let x = self.floats("x", &[n, ci * conv.groups, h, w], Layout::Rows)?;
        let weight = self.floats("w", &[co, ci, kh, kw], Layout::Weight)?;
        match direction {
            Direction::Forward => {}
            Direction::Input => self.tape.track(x)?,
            Direction::Weight => self.tape.track(weight)?,
        }
        let y = ops::conv2d(&mut self.tape, x, weight, conv)?;
        if direction == Direction::Forward { Ok(()) } else { self.backward(y) }
    }

    /// A linear layer in the form nn, the gradient of its weight in the form tn, and the scores against a bank in the form nt.
    pub(super) fn gemm(&mut self, form: Form, sizes: GemmSizes) -> Result<()> {
        let GemmSizes { rows, depth, cols, .. } = sizes;
        if form == Form::Nt {
            let f = self.floats("f", &[rows, depth], Layout::Rows)?;
            let bank = self.floats("bank", &[cols, depth], Layout::Rows)?;
            return ops::scores(&mut self.tape, f, bank).map(|_| ());
        }
        let (m, k) = if form == Form::Nn { (rows, depth) } else { (depth, rows) };
        let x = self.floats("x", &[m, k], Layout::Rows)?;
        let w = self.floats("w", &[cols, k], Layout::Weight)?;
        if form == Form::Tn {
            self.tape.track(w)?;
        }
        let y = ops::linear(&mut self.tape, x, w, None)?;
        if form == Form::Tn { self.backward(y) } else { Ok(()) }
    }

    pub(super) fn compile(self) -> Result<Program> {
        let mut program = self.tape.compile()?;
        for (tensor, fill) in self.fills {
            match fill {
                Fill::Floats(values) => program.write(tensor, &values)?,
                Fill::Integers(values) => program.write_u32(tensor, &values)?,
            }
        }
        Ok(program)
    }
}
