//! NaN and infinity, found by their bits: comparisons may be compiled as if there were none. The guard says that there was one.

use super::{Element, Launch, Place, Tape, Tensor};
use crate::error::Result;
use crate::gpu::{Shader, Work};
use crate::shape::Layout;

/// The kernel that raises the guard.
pub(crate) static SHADER: Shader = Shader { file: "finite.wgsl", text: include_str!("../../shaders/finite.wgsl") };

impl Tape {
    /// The flag that [`guard_finite`](Self::guard_finite) raises: the update and the bank write nothing while it is up.
    ///
    /// # Errors
    /// None in practice: the shape is fixed.
    pub fn guard(&mut self) -> Result<Tensor> {
        if let Some(guard) = self.guard {
            return Ok(guard);
        }
        let guard = self.add("guard", &[4], Layout::Plain, Element::U32, Place::Own(vec![0; 4]))?;
        self.guard = Some(guard);
        Ok(guard)
    }

    /// Raise the guard's flag if `tensor` holds a NaN or an infinity.
    ///
    /// # Errors
    /// As [`launch`](Self::launch).
    pub fn guard_finite(&mut self, tensor: Tensor) -> Result<()> {
        let guard = self.guard()?;
        self.launch(raise(tensor, guard))
    }
}

fn raise(tensor: Tensor, guard: Tensor) -> Launch {
    // Floats stand in whole vec4: rows and weights are padded, and every buffer has at least four words.
    let vectors = tensor.words().div_ceil(4);
    Launch::new(&SHADER, "raise")
        .param("vectors", vectors)
        .bind("x", tensor)
        .bind("flag", guard)
        .groups(vectors.div_ceil(512))
        .work(Work::new(0, tensor.words()))
}

/// The place of the first NaN or infinity.
pub(super) fn first(words: &[u32]) -> Option<usize> {
    words.iter().position(|w| w & 0x7f80_0000 == 0x7f80_0000)
}
