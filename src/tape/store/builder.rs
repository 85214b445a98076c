//! A store in the making: what a network and a method declare, and the buffers that it comes to.

use super::{Parameter, Part, Slab, State, Store, counted};
use crate::error::{Error, Result};
use crate::gpu::{Bound, Gpu};
use crate::shape::{Layout, Shape};
use crate::tape::Element;
use std::collections::BTreeMap;

/// How a state of rows may be split over several buffers: rows from `k · tile` up to the next tile stay in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Rows that stay together. What is computed from them depends on it, and not on how many buffers there are.
    pub tile: usize,
    /// So many buffers, as far as whole tiles allow; more where the device's largest binding asks for it.
    pub shards: usize,
}

impl Split {
    /// The shapes of the parts of `[rows, cols]`, of which each but the last has whole tiles and none more than `most` words.
    /// Where not even a tile fits, the buffer's own error says so.
    fn shapes(self, shape: Shape, element: Element, most: usize) -> Result<Vec<Shape>> {
        let [rows, cols] = [shape[0], shape[1]];
        let words = element.words(self.tile * crate::shape::padded(cols)).max(1);
        let tiles = rows.div_ceil(self.tile).max(1);
        let own = (most / words).max(1).min(tiles.div_ceil(self.shards.max(1))) * self.tile;
        (0..rows.max(1)).step_by(own).map(|first| Shape::new(&[own.min(rows - first), cols])).collect()
    }
}

/// A [`Store`] in the making: what a network and a method declare, with first values.
#[derive(Default)]
pub struct StoreBuilder {
    parameters: Vec<Declared>,
    states: Vec<Declared>,
}

struct Declared {
    name: String,
    shape: Shape,
    layout: Layout,
    element: Element,
    values: Vec<f32>,
    /// The next one must stand right behind it.
    with_next: bool,
    /// States of one group stand side by side in one buffer.
    group: Option<&'static str>,
    /// It may lie in several buffers.
    split: Option<Split>,
}

impl Declared {
    /// One that stands by itself.
    fn new(name: &str, shape: Shape, layout: Layout, values: Vec<f32>) -> Self {
        let name = name.into();
        Self { name, shape, layout, element: Element::F32, values, with_next: false, group: None, split: None }
    }
}

impl StoreBuilder {
    /// Declare a parameter with its first values in the user's order.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of values than `shape` has.
    pub fn parameter(&mut self, name: &str, shape: &[usize], layout: Layout, values: Vec<f32>) -> Result<()> {
        let shape = counted(shape, values.len())?;
        self.parameters.push(Declared::new(name, shape, layout, values));
        Ok(())
    }

    /// Declare two vectors of one length that kernels use as one tensor: see [`Tape::pair`](crate::tape::Tape::pair).
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible length, [`Error::Shape`] where the two differ.
    pub fn pair(&mut self, names: [&str; 2], values: [Vec<f32>; 2]) -> Result<()> {
        let length = values[0].len();
        for ((name, values), first) in names.into_iter().zip(values).zip([true, false]) {
            self.parameter(name, &[length], Layout::Rows, values)?;
            self.parameters.iter_mut().next_back().into_iter().for_each(|last| last.with_next = first);
        }
        Ok(())
    }

    /// Declare a state of floats with its first values in the user's order.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of values than `shape` has.
    pub fn state(&mut self, name: &str, shape: &[usize], layout: Layout, values: Vec<f32>) -> Result<()> {
        let shape = counted(shape, values.len())?;
        self.states.push(Declared::new(name, shape, layout, values));
        Ok(())
    }

    /// Declare a state that stands side by side with all others of `group`, so that one dispatch moves them all: see
    /// [`Store::group`].
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub fn grouped(&mut self, group: &'static str, name: &str, shape: &[usize], values: Vec<f32>) -> Result<()> {
        self.state(name, shape, Layout::Rows, values)?;
        self.states.iter_mut().next_back().into_iter().for_each(|last| last.group = Some(group));
        Ok(())
    }

    /// Declare a state of rows `[rows, cols]`, stored as `element`, that may lie in several buffers.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of values than `shape` has, [`Error::Value`] for integers or an empty tile.
    pub fn rows(&mut self, name: &str, shape: [usize; 2], element: Element, split: Split, values: Vec<f32>) -> Result<()> {
        let shape = counted(&shape, values.len())?;
        if element == Element::U32 || split.tile == 0 {
            return Err(Error::value("store", "rows", "floats in tiles of at least one row", format!("{element:?}, {split:?}")));
        }
        self.states.push(Declared { element, split: Some(split), ..Declared::new(name, shape, Layout::Rows, values) });
        Ok(())
    }

    /// Bytes of device memory that a store of what was declared takes, but for the padding between parameters.
    pub fn bytes(&self) -> u64 {
        let words = |shape: &Shape, layout: &Layout| layout.count(*shape).max(4) as u64;
        let parameters: u64 = self.parameters.iter().map(|p| 3 * words(&p.shape, &p.layout)).sum();
        let states: u64 = self.states.iter().map(|s| s.element.words(words(&s.shape, &s.layout) as usize) as u64).sum();
        4 * (parameters + states)
    }

    /// Allocate everything on the device and fill it.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::OutOfMemory`]; [`Error::Value`] for a name that is declared twice.
    pub fn build(self, gpu: &Gpu) -> Result<Store> {
        let align = gpu.limits().min_storage_buffer_offset_alignment as usize / 4;
        let most = (gpu.limits().max_storage_buffer_binding_size.min(gpu.limits().max_buffer_size) / 4) as usize;
        let mut lengths: Vec<usize> = Vec::new();
        let mut parameters = BTreeMap::new();
        let aligned = |shape: Shape, layout: Layout| layout.count(shape).max(4).div_ceil(align) * align;
        for Declared { name, shape, layout, with_next, .. } in &self.parameters {
            let words = aligned(*shape, *layout);
            let together = if *with_next { 2 * words } else { words };
            if lengths.last().is_none_or(|used| used + together > most) {
                lengths.push(0);
            }
            let slab = lengths.len() - 1;
            let parameter = Parameter { name: name.clone(), shape: *shape, layout: *layout, slab, offset: lengths[slab] };
            lengths[slab] += words;
            if parameters.insert(name.clone(), parameter).is_some() {
                return Err(Error::value("store", "name", "declared once", name));
            }
        }
        let whole = |label: &str, words| Ok(Bound { buffer: gpu.buffer(label, words)?, offset: 0, words });
        let slab = |&words: &usize| {
            Ok(Slab {
                values: whole("parameters", words)?,
                grads: whole("gradients", words)?,
                momentum: whole("momentum", words)?,
            })
        };
        let slabs = lengths.iter().map(slab).collect::<Result<_>>()?;
        let mut groups: BTreeMap<&'static str, usize> = BTreeMap::new();
        for Declared { shape, layout, group, .. } in &self.states {
            group.iter().for_each(|group| *groups.entry(group).or_default() += aligned(*shape, *layout));
        }
        let groups = groups.into_iter().map(|(group, words)| Ok((group, whole(group, words)?))).collect::<Result<_>>()?;
        let mut store = Store { gpu: gpu.clone(), parameters, states: BTreeMap::new(), slabs, groups };
        for Declared { name, values, .. } in &self.parameters {
            store.write(name, Part::Value, values)?;
        }
        let mut filled: BTreeMap<&'static str, usize> = BTreeMap::new();
        for Declared { name, shape, layout, element, values, group, split, .. } in self.states {
            let words = |shape| element.words(layout.count(shape)).max(4);
            let shards = match (group.and_then(|group| Some((group, store.groups.get(group)?))), split) {
                (Some((group, whole)), _) => {
                    let used = filled.entry(group).or_default();
                    let offset = std::mem::replace(used, *used + aligned(shape, layout));
                    vec![(shape, Bound { buffer: whole.buffer.clone(), offset, words: words(shape) })]
                }
                (None, None) => vec![(shape, whole(&name, words(shape))?)],
                (None, Some(split)) => {
                    let shapes = split.shapes(shape, element, most)?.into_iter();
                    shapes.map(|shape| Ok((shape, whole(&name, words(shape))?))).collect::<Result<_>>()?
                }
            };
            let state = State { name: name.clone(), shape, layout, element, tile: split.map(|s| s.tile), shards };
            if store.states.insert(name.clone(), state).is_some() || store.parameters.contains_key(&name) {
                return Err(Error::value("store", "name", "declared once", name));
            }
            store.write_state(&name, &values)?;
        }
        Ok(store)
    }
}
