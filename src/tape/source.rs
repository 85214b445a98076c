//! Where the tensors of a tape come from: the host, an op, an application's buffer, a store.

use super::{Element, Info, Place, Store, Tape, Tensor};
use crate::error::{Error, Result};
use crate::gpu::Bound;
use crate::shape::{Layout, Shape};

impl Tape {
    /// A tensor that the host writes between runs. It keeps its contents until written again.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible shape.
    pub fn input(&mut self, name: &str, shape: &[usize], layout: Layout) -> Result<Tensor> {
        self.add(name, shape, layout, Element::F32, Place::Own(Vec::new()))
    }

    /// An input of unsigned integers, without padding.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible shape.
    pub fn input_u32(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.add(name, shape, Layout::Plain, Element::U32, Place::Own(Vec::new()))
    }

    /// An input of 16-bit floats, in rows.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible shape.
    pub fn input_f16(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.add(name, shape, Layout::Rows, Element::F16, Place::Own(Vec::new()))
    }

    /// A vector with contents that never change.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible shape.
    pub fn constant(&mut self, name: &str, values: &[f32]) -> Result<Tensor> {
        let mut words: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        words.resize(crate::shape::padded(values.len()), 0);
        self.add(name, &[values.len()], Layout::Rows, Element::F32, Place::Own(words))
    }

    /// A tensor for an op to write.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible shape.
    pub fn output(&mut self, name: &str, shape: &[usize], layout: Layout) -> Result<Tensor> {
        self.add(name, shape, layout, Element::F32, Place::Planned)
    }

    /// A tensor of unsigned integers for an op to write.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible shape.
    pub fn output_u32(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.add(name, shape, Layout::Plain, Element::U32, Place::Planned)
    }

    /// A tensor over a buffer that this tape does not own: an application's, or a part of a [`Store`].
    ///
    /// # Errors
    /// [`Error::Shape`] where the range has another length than `shape` in `layout`.
    pub fn bound(&mut self, name: &str, shape: &[usize], layout: Layout, element: Element, range: Bound) -> Result<Tensor> {
        let tensor = self.add(name, shape, layout, element, Place::Bound(range.clone()))?;
        if tensor.words().max(4) != range.words.max(4) {
            return Err(Error::shape("bound", "range", format!("{} words", tensor.words()), range.words));
        }
        Ok(tensor)
    }

    /// A buffer that the program keeps besides those that are planned, for tensors that stand side by side.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::OutOfMemory`].
    pub(crate) fn room(&mut self, name: &str, words: usize) -> Result<Bound> {
        let buffer = self.gpu.buffer(name, words)?;
        self.rooms += 4 * buffer.words() as u64;
        Ok(Bound { buffer, offset: 0, words })
    }

    /// A parameter of `store`, with its gradient.
    ///
    /// # Errors
    /// [`Error::Value`] where there is none of that name.
    pub fn parameter(&mut self, store: &Store, name: &str) -> Result<Tensor> {
        let parameter = store.parameter(name)?;
        let ranges = [store.value_range(parameter), store.grad_range(parameter)];
        self.trained(name, parameter.shape.dims(), parameter.layout, ranges)
    }

    /// Two parameters of `store` that were declared as a pair, `[2, columns]` with what pads the first: see
    /// [`StoreBuilder::pair`](super::StoreBuilder::pair).
    ///
    /// # Errors
    /// [`Error::Value`] where they are none.
    pub fn pair(&mut self, store: &Store, names: [&str; 2]) -> Result<Tensor> {
        let ranges = store.pair_ranges(names)?;
        for name in names {
            self.parameter(store, name)?; // by which a number that is not finite is reported
        }
        let shape = [2, ranges[0].words / 2];
        self.trained(&names.join(" and "), &shape, Layout::Rows, ranges)
    }

    /// A tensor over trained values, and one over their gradient. Used a second time it is the same, so that its gradients add up.
    fn trained(&mut self, name: &str, shape: &[usize], layout: Layout, [value, grad]: [Bound; 2]) -> Result<Tensor> {
        let same = |info: &&Info| match &info.place {
            Place::Bound(b) => b.offset == value.offset && b.buffer.same(&value.buffer) && info.tensor.shape.dims() == shape,
            _ => false,
        };
        if let Some(info) = self.infos.iter().filter(|info| info.tracked).find(same) {
            return Ok(info.tensor);
        }
        let scope = std::mem::take(&mut self.scope);
        let value = self.bound(name, shape, layout, Element::F32, value);
        let grad = self.bound(&format!("{name}.grad"), shape, layout, Element::F32, grad);
        self.scope = scope;
        let (value, grad) = (value?, grad?);
        self.infos[value.id].tracked = true;
        self.infos[value.id].grad = Some(grad);
        self.infos[value.id].grad_written = self.sums;
        Ok(value)
    }

    /// A state of `store`: running statistics, Z.
    ///
    /// # Errors
    /// [`Error::Value`] where there is none of that name, or it is split over several buffers.
    pub fn state(&mut self, store: &Store, name: &str) -> Result<Tensor> {
        let state = store.state(name)?;
        let scope = std::mem::take(&mut self.scope);
        let range = state.range();
        let tensor = range.and_then(|range| self.bound(name, state.shape.dims(), state.layout, state.element, range));
        self.scope = scope;
        tensor
    }

    /// A state of `store` that may be split over several buffers: the bank. Its rows follow each other from shard to shard.
    ///
    /// # Errors
    /// [`Error::Value`] where there is none of that name.
    pub fn state_shards(&mut self, store: &Store, name: &str) -> Result<Vec<Tensor>> {
        let state = store.state(name)?;
        let scope = std::mem::take(&mut self.scope);
        let mut bind = |(shape, range): (Shape, Bound)| self.bound(name, shape.dims(), state.layout, state.element, range);
        let shards = state.shards().map(&mut bind).collect();
        self.scope = scope;
        shards
    }
}
