use super::vectors;
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::tape::{Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "add.wgsl", text: include_str!("../../shaders/add.wgsl") };

/// The sum of two tensors of one shape.
///
/// **Shapes**: `a` and `b` the same; the result too.
///
/// # Errors
/// [`Error::Shape`] where they differ; those of [`Tape::launch`].
pub fn add(tape: &mut Tape, a: Tensor, b: Tensor) -> Result<Tensor> {
    let words = vectors("add", "a", a)?;
    vectors("add", "b", b)?;
    if a.shape() != b.shape() || a.layout() != b.layout() {
        let of = |x: Tensor| format!("{} in {:?}", x.shape(), x.layout());
        return Err(Error::shape("add", "b", of(a), of(b)));
    }
    let y = tape.output("add", a.shape().dims(), a.layout())?;
    let forward = Launch::new(&SHADER, "forward").param("words", words).bind("a", a).bind("b", b).bind("y", y);
    tape.launch(forward.groups(words.div_ceil(256)).work(Work::new(words, 3 * words)))?;
    tape.differentiable(y, &[a, b], move |tape, dy| {
        pass_on(tape, a, dy)?;
        pass_on_or_give(tape, b, dy)
    });
    Ok(y)
}

/// Let `dy`, which has no other use, be the gradient of `x` as it is, or add it to what `x` has.
pub(super) fn pass_on_or_give(tape: &mut Tape, x: Tensor, dy: Tensor) -> Result<()> {
    if tape.tracked(x) && tape.give_gradient(x, dy) { Ok(()) } else { pass_on(tape, x, dy) }
}

fn pass_on(tape: &mut Tape, x: Tensor, dy: Tensor) -> Result<()> {
    let Some(dx) = tape.gradient(x)? else { return Ok(()) };
    let words = x.words();
    let backward = Launch::new(&SHADER, "backward").on("ACCUMULATE", dx.accumulate).param("words", words);
    tape.launch(backward.bind("dy", dy).bind("dx", dx.tensor).groups(words.div_ceil(256)).work(Work::new(0, 2 * words)))
}
