use crate::error::Result;
use crate::gpu::{Shader, Work};
use crate::tape::{Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "scale_rows.wgsl", text: include_str!("../../shaders/scale_rows.wgsl") };

/// The backward rule of a loss that keeps its gradient for an upstream of 1: df[r] = dl[r] · slope[r].
pub(super) fn scale_rows(tape: &mut Tape, slope: Tensor, dl: Tensor, f: Tensor) -> Result<()> {
    let Some(df) = tape.gradient(f)? else { return Ok(()) };
    let (rows, words) = (f.shape()[0], f.words());
    let launch =
        Launch::new(&SHADER, "scale").on("ACCUMULATE", df.accumulate).param("rows", rows).param("c4", words / rows.max(1) / 4);
    let launch = launch.bind("x", slope).bind("s", dl).bind("y", df.tensor);
    tape.launch(launch.groups(words.div_ceil(256)).work(Work::new(words, 2 * words)))
}
