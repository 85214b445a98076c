//! Tapes of one op, with random numbers for inputs.

use super::BANK;
use super::cases::{Convolution, Direction};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::ops;
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

    pub(super) fn conv(&mut self, direction: Direction, c: Convolution) -> Result<()> {
        let x = self.floats("x", &[c.batch, c.input, c.side, c.side], Layout::Rows)?;
        let weight = self.floats("w", &[c.output, c.input / c.conv.groups, c.kernel, c.kernel], Layout::Weight)?;
        match direction {
            Direction::Forward => {}
            Direction::Input => self.tape.track(x)?,
            Direction::Weight => self.tape.track(weight)?,
        }
        let y = ops::conv2d(&mut self.tape, x, weight, c.conv)?;
        if direction == Direction::Forward { Ok(()) } else { self.backward(y) }
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
