//! NaN and infinity, found by their bits: comparisons may be compiled as if there were none.

use super::{Launch, Tensor};
use crate::gpu::{Shader, Work};

/// The kernel that raises the guard.
pub(crate) static SHADER: Shader = Shader { file: "finite.wgsl", text: include_str!("../../shaders/finite.wgsl") };

pub(super) fn raise(tensor: Tensor, guard: Tensor) -> Launch {
    let words = tensor.words();
    Launch::new(&SHADER, "raise")
        .param("words", words)
        .bind("x", tensor)
        .bind("flag", guard)
        .groups(words.div_ceil(4096))
        .work(Work::new(0, words))
}

/// The place of the first NaN or infinity.
pub(super) fn first(words: &[u32]) -> Option<usize> {
    words.iter().position(|w| w & 0x7f80_0000 == 0x7f80_0000)
}
