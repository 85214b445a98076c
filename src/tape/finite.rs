//! NaN and infinity, found by their bits: comparisons may be compiled as if there were none.

use super::{Launch, Tensor};
use crate::gpu::{Shader, Work};

/// The kernel that raises the guard.
pub(crate) static SHADER: Shader = Shader { file: "finite.wgsl", text: include_str!("../../shaders/finite.wgsl") };

pub(super) fn raise(tensor: Tensor, guard: Tensor) -> Launch {
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
