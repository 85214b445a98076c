//! What outlives a program: parameters with gradients and momentum, and named state.

mod builder;

pub use builder::{Split, StoreBuilder};

use super::Element;
use crate::error::{Error, Result};
use crate::gpu::{Bound, Gpu};
use crate::shape::{Layout, Shape};
use std::collections::BTreeMap;

/// A trained tensor: a slice of a slab, at the same place in its values, gradients and momentum.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name, as `layer1.0.conv1.weight`.
    pub name: String,
    /// Its shape in PyTorch's order.
    pub shape: Shape,
    /// How the device stores it.
    pub layout: Layout,
    slab: usize,
    offset: usize,
}

/// A named tensor that training carries along but no gradient reaches.
#[derive(Clone, Debug)]
pub struct State {
    /// Its name, as `bn1.running_mean`.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// How the device stores it.
    pub layout: Layout,
    /// The type of its elements.
    pub element: Element,
    /// Rows that stay together, where it may be split.
    pub tile: Option<usize>,
    /// The shape and memory of each part: one, or several of whole tiles of rows.
    shards: Vec<(Shape, Bound)>,
}

impl State {
    /// Where it lives, which must be one buffer.
    pub(crate) fn range(&self) -> Result<Bound> {
        match self.shards.as_slice() {
            [(_, whole)] => Ok(whole.clone()),
            shards => Err(Error::value("state", "name", "in one buffer", format!("`{}`, in {}", self.name, shards.len()))),
        }
    }

    /// The shape and memory of each part.
    pub(super) fn shards(&self) -> impl Iterator<Item = (Shape, Bound)> {
        self.shards.iter().cloned()
    }

    /// In how many buffers it lies.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }
}

/// Parameters side by side in one buffer, so that the optimiser is one dispatch.
pub(crate) struct Slab {
    pub(crate) values: Bound,
    pub(crate) grads: Bound,
    pub(crate) momentum: Bound,
}

/// Which part of a parameter to read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The weights.
    Value,
    /// The gradient of the last backward run.
    Grad,
    /// The optimiser's velocity.
    Momentum,
}

/// Parameters and state, shared by programs of several batch sizes and by evaluation.
pub struct Store {
    gpu: Gpu,
    parameters: BTreeMap<String, Parameter>,
    states: BTreeMap<String, State>,
    slabs: Vec<Slab>,
    groups: BTreeMap<&'static str, Bound>,
}

impl Store {
    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// All parameters, by name.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.values()
    }

    /// All state, by name.
    pub fn states(&self) -> impl Iterator<Item = &State> {
        self.states.values()
    }

    /// The parameter called `name`.
    ///
    /// # Errors
    /// [`Error::Value`] where there is none.
    pub fn parameter(&self, name: &str) -> Result<&Parameter> {
        self.parameters.get(name).ok_or_else(|| Error::value("store", "name", "a parameter", name))
    }

    /// The state called `name`.
    ///
    /// # Errors
    /// [`Error::Value`] where there is none.
    pub fn state(&self, name: &str) -> Result<&State> {
        self.states.get(name).ok_or_else(|| Error::value("store", "name", "a state", name))
    }

    /// Where all states of `group` stand, side by side with zeros between them.
    ///
    /// # Errors
    /// [`Error::Value`] where there is no such group.
    pub fn group(&self, group: &str) -> Result<&Bound> {
        self.groups.get(group).ok_or_else(|| Error::value("store", "group", "a group of states", group))
    }

    /// The values and the gradients of a pair.
    pub(super) fn pair_ranges(&self, names: [&str; 2]) -> Result<[Bound; 2]> {
        let (first, second) = (self.parameter(names[0])?, self.parameter(names[1])?);
        let words = second.offset.saturating_sub(first.offset);
        if first.slab != second.slab || words < first.layout.count(first.shape) || first.shape != second.shape {
            return Err(Error::value("store", "names", "two parameters that were declared as a pair", format!("{names:?}")));
        }
        Ok([Part::Value, Part::Grad].map(|part| Bound { words: 2 * words, ..self.range(first, part) }))
    }

    /// The ranges that hold all gradients.
    pub(crate) fn gradients(&self) -> Vec<Bound> {
        self.slabs.iter().map(|slab| slab.grads.clone()).collect()
    }

    /// Bytes of device memory for parameters, their gradients, their momentum, and state.
    pub fn bytes(&self) -> [u64; 4] {
        let slabs = 4 * self.slabs.iter().map(|slab| slab.values.words as u64).sum::<u64>();
        let shards = self.states.values().flat_map(State::shards);
        let buffers: BTreeMap<usize, usize> = shards.map(|(_, range)| (range.buffer.address(), range.buffer.words())).collect();
        [slabs, slabs, slabs, 4 * buffers.values().sum::<usize>() as u64]
    }

    pub(crate) fn slabs(&self) -> &[Slab] {
        &self.slabs
    }

    fn range(&self, parameter: &Parameter, part: Part) -> Bound {
        let slab = &self.slabs[parameter.slab];
        let whole = match part {
            Part::Value => &slab.values,
            Part::Grad => &slab.grads,
            Part::Momentum => &slab.momentum,
        };
        Bound { buffer: whole.buffer.clone(), offset: parameter.offset, words: parameter.layout.count(parameter.shape).max(4) }
    }

    pub(super) fn value_range(&self, parameter: &Parameter) -> Bound {
        self.range(parameter, Part::Value)
    }

    pub(super) fn grad_range(&self, parameter: &Parameter) -> Bound {
        self.range(parameter, Part::Grad)
    }

    /// Write a part of a parameter, in the user's order.
    ///
    /// # Errors
    /// [`Error::Value`] for an unknown name, [`Error::Shape`] for another number of values.
    pub fn write(&mut self, name: &str, part: Part, values: &[f32]) -> Result<()> {
        let parameter = self.parameter(name)?;
        counted(parameter.shape.dims(), values.len())?;
        let words: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        write_words(&self.gpu, &self.range(parameter, part), parameter.shape, parameter.layout, &words)
    }

    /// Read a part of a parameter, in the user's order, and wait for it.
    ///
    /// # Errors
    /// [`Error::Value`] for an unknown name; [`Error::DeviceLost`].
    pub fn read(&self, name: &str, part: Part) -> Result<Vec<f32>> {
        let parameter = self.parameter(name)?;
        let words = read_words(&self.gpu, &self.range(parameter, part), parameter.shape, parameter.layout)?;
        Ok(words.into_iter().map(f32::from_bits).collect())
    }

    /// Write a state of floats, in the user's order; 16-bit ones are rounded to the nearest, ties to even.
    ///
    /// # Errors
    /// [`Error::Value`] for an unknown name, [`Error::Shape`] for another number of values.
    pub fn write_state(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let state = self.state(name)?;
        counted(state.shape.dims(), values.len())?;
        let mut rest = values;
        for (shape, range) in state.shards() {
            let (own, others) = rest.split_at(shape.count());
            rest = others;
            let mut laid = vec![0.0; state.layout.count(shape)];
            for (place, value) in state.layout.places(shape).zip(own) {
                laid[place] = *value;
            }
            self.gpu.write(&range.buffer, range.offset, &state.element.pack(&laid))?;
        }
        Ok(())
    }

    /// Read a state of floats, in the user's order and from all its buffers, and wait for it.
    ///
    /// # Errors
    /// [`Error::Value`] for an unknown name; [`Error::DeviceLost`].
    pub fn read_state(&self, name: &str) -> Result<Vec<f32>> {
        let state = self.state(name)?;
        let mut values = Vec::with_capacity(state.shape.count());
        for (shape, range) in state.shards() {
            let words = self.gpu.read_now(&range.buffer, range.offset, state.element.words(state.layout.count(shape)))?;
            let laid = state.element.unpack(&words);
            values.extend(state.layout.places(shape).map(|place| laid[place]));
        }
        Ok(values)
    }

    /// Whether all padding of weights, gradients and momentum is zero, as every kernel keeps it.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn padding_is_zero(&self) -> Result<bool> {
        for parameter in self.parameters.values() {
            for part in [Part::Value, Part::Grad, Part::Momentum] {
                let range = self.range(parameter, part);
                let mut words = self.gpu.read_now(&range.buffer, range.offset, range.words)?;
                parameter.layout.places(parameter.shape).for_each(|place| words[place] = 0);
                if words.iter().any(|w| w & 0x7fff_ffff != 0) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

fn counted(shape: &[usize], values: usize) -> Result<Shape> {
    let shape = Shape::new(shape)?;
    if shape.count() != values {
        return Err(Error::shape("store", "values", shape.to_string(), format!("{values} values")));
    }
    Ok(shape)
}

fn write_words(gpu: &Gpu, range: &Bound, shape: Shape, layout: Layout, values: &[u32]) -> Result<()> {
    let mut words = vec![0; layout.count(shape)];
    for (place, value) in layout.places(shape).zip(values) {
        words[place] = *value;
    }
    gpu.write(&range.buffer, range.offset, &words)
}

fn read_words(gpu: &Gpu, range: &Bound, shape: Shape, layout: Layout) -> Result<Vec<u32>> {
    let words = gpu.read_now(&range.buffer, range.offset, layout.count(shape))?;
    Ok(layout.places(shape).map(|place| words[place]).collect())
}
