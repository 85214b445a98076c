use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::shape::Layout;
use crate::tape::{Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "mean.wgsl", text: include_str!("../../shaders/mean.wgsl") };

/// The mean of all elements, as a scalar `[1]`.
///
/// **Shapes**: `x` a vector `[n]` or matrix `[rows, cols]`, or images.
///
/// # Errors
/// [`Error::Shape`] for an empty tensor; those of [`Tape::launch`].
pub fn mean(tape: &mut Tape, x: Tensor) -> Result<Tensor> {
    let (words, count) = (x.words(), x.shape().count());
    if count == 0 || x.layout() != Layout::Rows {
        return Err(Error::shape("mean", "x", "at least one element, in rows", x.shape()));
    }
    let (row, cols) = match *x.shape().dims() {
        [_, c, _, _] | [_, c] | [c] => (crate::shape::padded(c), c),
        _ => return Err(Error::shape("mean", "x", "one, two or four dimensions", x.shape())),
    };
    super::within_rounds("mean", words.div_ceil(256))?;
    let y = tape.output("mean", &[1], Layout::Rows)?;
    let sizes = move |l: Launch| l.param("words", words).param("row", row).param("cols", cols).param("count", count as f32);
    let forward = sizes(Launch::new(&SHADER, "forward")).bind("x", x).bind("y", y);
    tape.launch(forward.groups(1).work(Work::new(words, words)))?;
    tape.differentiable(y, &[x], move |tape, dy| {
        let Some(dx) = tape.gradient(x)? else { return Ok(()) };
        let backward = sizes(Launch::new(&SHADER, "backward").on("ACCUMULATE", dx.accumulate));
        tape.launch(backward.bind("dy", dy).bind("dx", dx.tensor).groups(words.div_ceil(256)).work(Work::new(words, words)))
    });
    Ok(y)
}
