use crate::error::Result;
use crate::gpu::{Shader, Work};
use crate::tape::{Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "relu.wgsl", text: include_str!("../../shaders/relu.wgsl") };

/// The larger of `x` and 0, element by element. NaN stays NaN.
///
/// **Shapes**: `x` any in rows or as a weight; the result has the same.
///
/// ```
/// # use instdisc::{gpu::Gpu, ops, shape::Layout, tape::Tape};
/// # let Ok(gpu) = Gpu::open(&Default::default()) else { return Ok(()) };
/// let mut tape = Tape::new(&gpu);
/// let x = tape.input("x", &[3], Layout::Rows)?;
/// let y = ops::relu(&mut tape, x)?;
/// tape.keep(y)?;
/// let mut program = tape.compile()?;
/// program.write(x, &[-1.0, 0.5, 2.0])?;
/// program.run()?;
/// assert_eq!(program.read(y)?, [0.0, 0.5, 2.0]);
/// # Ok::<(), instdisc::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) for integers, or words that are no multiple of four; those of [`Tape::launch`].
pub fn relu(tape: &mut Tape, x: Tensor) -> Result<Tensor> {
    let words = super::vectors("relu", "x", x)?;
    let y = tape.output("relu", x.shape().dims(), x.layout())?;
    let forward = Launch::new(&SHADER, "forward").param("words", words).bind("x", x).bind("y_out", y);
    tape.launch(forward.groups(words.div_ceil(1024)).work(Work::new(words, 2 * words)))?;
    tape.differentiable(y, &[x], move |tape, dy| {
        let Some(dx) = tape.gradient(x)? else { return Ok(()) };
        let backward = Launch::new(&SHADER, "backward").on("ACCUMULATE", dx.accumulate).param("words", words);
        let backward = backward.bind("y", y).bind("dy", dy).bind("dx", dx.tensor);
        tape.launch(backward.groups(words.div_ceil(1024)).work(Work::new(words, 3 * words)))
    });
    Ok(y)
}
