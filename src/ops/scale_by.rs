use crate::error::Result;
use crate::gpu::{Shader, Work};
use crate::tape::{Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "scale_by.wgsl", text: include_str!("../../shaders/scale_by.wgsl") };

/// The backward rule of a loss that keeps its gradient for an upstream of 1: df = dl · slope. Of an upstream that is the
/// constant 1 the slope itself is the gradient, where f has none yet.
pub(super) fn scale_by(tape: &mut Tape, slope: Tensor, dl: Tensor, f: Tensor) -> Result<()> {
    if tape.tracked(f) && tape.is_one(dl) && tape.give_gradient(f, slope) {
        return Ok(());
    }
    let Some(df) = tape.gradient(f)? else { return Ok(()) };
    let words = f.words();
    let launch = Launch::new(&SHADER, "scale").on("ACCUMULATE", df.accumulate).param("vectors", words / 4);
    let launch = launch.bind("x", slope).bind("s", dl).bind("y", df.tensor);
    tape.launch(launch.groups(words.div_ceil(256)).work(Work::new(words, 2 * words)))
}
