//! The handle on a tensor that ops pass on, and the type of its elements.

use crate::shape::{Layout, Shape};
use half::f16;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32-bit float.
    F32,
    /// 16-bit float, two in a word: storage alone, read and rounded by the kernels.
    F16,
    /// 32-bit unsigned integer: indices, packed pixels, counters.
    U32,
}

impl Element {
    /// The 32-bit words that `count` elements take.
    pub fn words(self, count: usize) -> usize {
        if self == Self::F16 { count.div_ceil(2) } else { count }
    }

    /// Words of the device for numbers in its layout, rounded to the nearest where they are stored in 16 bits.
    pub(crate) fn pack(self, values: &[f32]) -> Vec<u32> {
        if self != Self::F16 {
            return values.iter().map(|v| v.to_bits()).collect();
        }
        let half = |v: Option<&f32>| u32::from(f16::from_f32(v.copied().unwrap_or_default()).to_bits());
        values.chunks(2).map(|pair| half(pair.first()) | half(pair.get(1)) << 16).collect()
    }

    /// The numbers of [`pack`](Self::pack)ed words.
    pub(crate) fn unpack(self, words: &[u32]) -> Vec<f32> {
        if self != Self::F16 {
            return words.iter().map(|w| f32::from_bits(*w)).collect();
        }
        words.iter().flat_map(|w| [*w as u16, (w >> 16) as u16]).map(|bits| f16::from_bits(bits).to_f32()).collect()
    }
}

/// A handle on a tensor of one [`Tape`](super::Tape): no data, only its number, shape, layout and element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub(super) tape: u64,
    pub(super) id: usize,
    pub(super) shape: Shape,
    pub(super) layout: Layout,
    pub(super) element: Element,
}

impl Tensor {
    /// The shape, as the user counts it.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How the device stores it.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The type of its elements.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Its length on the device in 32-bit words, padding included.
    pub fn words(&self) -> usize {
        self.element.words(self.layout.count(self.shape))
    }
}
