use super::vectors;
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::tape::{Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "scale.wgsl", text: include_str!("../../shaders/scale.wgsl") };

/// `x` times the number `by`.
///
/// **Shapes**: `x` any in rows or as a weight; the result has the same.
///
/// # Errors
/// [`Error::Shape`] for integers, or words that are no multiple of four; [`Error::Value`] for a `by` that is not finite; those of [`Tape::launch`].
pub fn scale(tape: &mut Tape, x: Tensor, by: f32) -> Result<Tensor> {
    vectors("scale", "x", x)?;
    if !by.is_finite() {
        return Err(Error::value("scale", "by", "finite", by));
    }
    let y = tape.output("scale", x.shape().dims(), x.layout())?;
    run(tape, x, y, by, false)?;
    tape.differentiable(y, &[x], move |tape, dy| match tape.gradient(x)? {
        Some(dx) => run(tape, dy, dx.tensor, by, dx.accumulate),
        None => Ok(()),
    });
    Ok(y)
}

fn run(tape: &mut Tape, x: Tensor, y: Tensor, by: f32, accumulate: bool) -> Result<()> {
    let words = x.words();
    let launch = Launch::new(&SHADER, "scale").on("ACCUMULATE", accumulate).param("words", words).param("by", by);
    tape.launch(launch.bind("x", x).bind("y", y).groups(words.div_ceil(256)).work(Work::new(words, 2 * words)))
}
