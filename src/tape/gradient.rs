//! Gradients: how one reaches the inputs of an op, who writes which share of it, and the segment `backward`.

use super::{Element, Place, Tape, Tensor};
use crate::error::{Error, Result};

/// What the batch norm behind a tensor wants of its gradient, from whoever has it in registers last: see
/// [`Tape::want_slopes`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// What was normalised, as the tensor.
    pub(crate) x: Tensor,
    /// The statistics.
    pub(crate) stats: Tensor,
}

type Rule = Box<dyn FnOnce(&mut Tape, Tensor) -> Result<()>>;

/// An op on the way back: what it made, and its rule.
pub(super) struct Node {
    output: Tensor,
    scope: String,
    rule: Rule,
}

/// Where a backward rule writes a gradient, and whether it adds to what is there.
#[derive(Clone, Copy, Debug)]
pub struct Gradient {
    /// The tensor to write.
    pub tensor: Tensor,
    /// Add instead of overwrite: an earlier rule has written already.
    pub accumulate: bool,
}

impl Tape {
    /// Let `backward` add to what the gradients of parameters hold, for parameters named from here on: several runs then sum
    /// theirs, until somebody clears them.
    pub(crate) fn sum_gradients(&mut self) {
        self.sums = true;
    }

    /// Ask for the gradient of an input, or for the whole one of relu(batch norm): see [`grad`](Self::grad).
    ///
    /// # Errors
    /// [`Error::Value`] for a tensor of another tape.
    pub fn track(&mut self, tensor: Tensor) -> Result<()> {
        self.own(tensor, "track")?;
        self.infos[tensor.id].tracked = true;
        self.infos[tensor.id].wanted = None;
        Ok(())
    }

    /// Whether a gradient of `tensor` is wanted.
    pub fn tracked(&self, tensor: Tensor) -> bool {
        self.infos.get(tensor.id).is_some_and(|info| info.tracked)
    }

    /// Whether `tensor` is the constant 1 that [`backward`](Self::backward) begins with.
    pub(crate) fn is_one(&self, tensor: Tensor) -> bool {
        tensor.shape.count() == 1
            && matches!(&self.infos[tensor.id].place, Place::Own(words) if words.first() == Some(&1f32.to_bits()))
    }

    /// Say how the gradient of `output` reaches the inputs it was computed from, unless none of `inputs` is tracked.
    pub fn differentiable(
        &mut self,
        output: Tensor,
        inputs: &[Tensor],
        rule: impl FnOnce(&mut Tape, Tensor) -> Result<()> + 'static,
    ) {
        if inputs.iter().any(|x| self.tracked(*x)) {
            inputs.iter().for_each(|x| self.infos[x.id].uses += 1);
            self.infos[output.id].tracked = true;
            self.nodes.push(Node { output, scope: self.scope.clone(), rule: Box::new(rule) });
        }
    }

    /// Where to write the gradient of `x`, or `None` where none is wanted. Each call counts as a write.
    ///
    /// # Errors
    /// None in practice: the shape is that of `x`.
    pub fn gradient(&mut self, x: Tensor) -> Result<Option<Gradient>> {
        if !self.tracked(x) {
            return Ok(None);
        }
        let tensor = match self.infos[x.id].grad {
            Some(grad) => grad,
            None => {
                let scope = std::mem::take(&mut self.scope);
                let name = format!("{}.grad", self.infos[x.id].name);
                let grad = self.add(&name, x.shape.dims(), x.layout, Element::F32, Place::Planned);
                self.scope = scope;
                grad?
            }
        };
        let info = &mut self.infos[x.id];
        info.grad = Some(tensor);
        let accumulate = std::mem::replace(&mut info.grad_written, true);
        info.shares += 1;
        info.slopes = None; // they were not those of the whole gradient
        Ok(Some(Gradient { tensor, accumulate }))
    }

    /// Ask whoever writes the last share of the gradient of `y` = relu(batch norm) to mask it and to sum its slopes, since that
    /// saves a pass over both; [`slopes`](Self::slopes) says whether it was done.
    pub(crate) fn want_slopes(&mut self, y: Tensor, wanted: Wanted) {
        self.infos[y.id].wanted = Some(wanted);
    }

    /// What is wanted of the gradient of `x`, if the share that was just asked for with [`gradient`](Self::gradient) is the last.
    pub(crate) fn wanted(&self, x: Tensor) -> Option<Wanted> {
        let info = &self.infos[x.id];
        info.wanted.filter(|_| info.shares == info.uses)
    }

    /// The gradient of `x` is whole and masked, and these are the parts of its slopes.
    pub(crate) fn give_slopes(&mut self, x: Tensor, parts: Tensor) {
        self.infos[x.id].slopes = Some(parts);
    }

    /// What was given for the gradient of `y`.
    pub(crate) fn slopes(&self, y: Tensor) -> Option<Tensor> {
        self.infos[y.id].slopes
    }

    /// Let `grad`, which nobody needs any more, be the gradient of `x`. `false` where `x` has one already, so that
    /// it must be added to.
    pub fn give_gradient(&mut self, x: Tensor, grad: Tensor) -> bool {
        let planned = matches!(self.infos[grad.id].place, Place::Planned);
        let info = &mut self.infos[x.id];
        if !planned || info.grad.is_some() || info.tensor.layout != grad.layout {
            return false; // memory that the host fills must keep what it holds
        }
        info.grad = Some(grad);
        info.grad_written = true;
        info.shares += 1;
        self.infos.iter_mut().filter(|i| i.grad == Some(grad) && i.tensor != x).for_each(|i| i.given = true);
        true
    }

    /// Append the gradients of the scalar `loss` with respect to every tracked tensor, in a segment `backward`.
    ///
    /// # Errors
    /// [`Error::Shape`] where `loss` is no scalar; [`Error::Value`] where nothing tracked leads to it.
    pub fn backward(&mut self, loss: Tensor) -> Result<()> {
        self.own(loss, "backward")?;
        if loss.shape.count() != 1 {
            return Err(Error::shape("backward", "loss", "[1]", loss.shape));
        }
        let one = self.constant("one", &[1.0])?;
        self.backward_from(loss, one)
    }

    /// Append the gradients of ⟨`upstream`, `output`⟩ with respect to every tracked tensor.
    ///
    /// # Errors
    /// [`Error::Shape`] where the two differ; [`Error::Value`] where nothing tracked leads to `output`.
    pub fn backward_from(&mut self, output: Tensor, upstream: Tensor) -> Result<()> {
        self.own(output, "backward")?;
        self.own(upstream, "backward")?;
        if output.shape != upstream.shape || output.layout != upstream.layout {
            return Err(Error::shape("backward", "upstream", output.shape.to_string(), upstream.shape));
        }
        if !self.tracked(output) {
            return Err(Error::value("backward", "output", "computed from a tracked tensor", self.name(output)));
        }
        self.segment("backward");
        self.keep(output)?;
        self.infos[output.id].grad = Some(upstream);
        self.infos[output.id].grad_written = true;
        while let Some(node) = self.nodes.pop() {
            let info = &self.infos[node.output.id];
            if let (Some(grad), true) = (info.grad, info.grad_written) {
                self.scope = node.scope;
                (node.rule)(self, grad)?;
            }
        }
        self.scope.clear();
        Ok(())
    }

    /// The gradient of `x`, kept for the host to read.
    ///
    /// # Errors
    /// [`Error::Value`] before [`backward`](Self::backward) or where no gradient reached `x`; for a sum that has passed its gradient
    /// on; and for relu(batch norm), which whoever writes its gradient may mask, unless it was [`track`](Self::track)ed before.
    pub fn grad(&mut self, x: Tensor) -> Result<Tensor> {
        self.own(x, "grad")?;
        let info = &self.infos[x.id];
        match info.grad {
            Some(_) if info.given => Err(Error::value("grad", "tensor", "no sum, whose gradient is passed on", &info.name)),
            Some(_) if info.wanted.is_some() || info.slopes.is_some() => {
                let expected = "no norm with its ReLU, whose gradient may be masked: `Tape::track` it before `backward`";
                Err(Error::value("grad", "tensor", expected, &info.name))
            }
            Some(grad) if info.grad_written => {
                self.keep(grad)?;
                Ok(grad)
            }
            _ => Err(Error::value("grad", "tensor", "reached by a gradient", &info.name)),
        }
    }
}
