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
    let sizes = Sizes::of(x)?;
    let y = sizes.forward(tape, x)?;
    tape.differentiable(y, &[x], move |tape, dy| {
        let Some(dx) = tape.gradient(x)? else { return Ok(()) };
        let words = sizes.words;
        let backward = sizes.params(Launch::new(&SHADER, "backward").on("ACCUMULATE", dx.accumulate));
        tape.launch(backward.bind("dy", dy).bind("dx", dx.tensor).groups(words.div_ceil(256)).work(Work::new(words, words)))
    });
    Ok(y)
}

/// The mean of the losses of a batch, for a loss that brings the gradient of the mean itself. Raises the guard where it, or
/// a number of `also`, which has the shape of the losses, is not finite.
pub(super) fn guarded_mean(tape: &mut Tape, losses: Tensor, also: Tensor) -> Result<Tensor> {
    let sizes = Sizes::of(losses)?;
    let (guard, y) = (tape.guard()?, tape.output("mean", &[1], Layout::Rows)?);
    let launch = sizes.params(Launch::new(&SHADER, "guarded")).bind("x", losses).bind("also", also);
    tape.launch(launch.bind("y", y).bind("guard", guard).groups(1).work(Work::new(sizes.words, 2 * sizes.words)))?;
    Ok(y)
}

#[derive(Clone, Copy)]
struct Sizes {
    words: usize,
    row: usize,
    cols: usize,
    count: usize,
}

impl Sizes {
    fn of(x: Tensor) -> Result<Self> {
        let (words, count) = (x.words(), x.shape().count());
        if count == 0 || x.layout() != Layout::Rows {
            return Err(Error::shape("mean", "x", "at least one element, in rows", x.shape()));
        }
        let (row, cols) = match *x.shape().dims() {
            [_, c, _, _] | [_, c] | [c] => (crate::shape::padded(c), c),
            _ => return Err(Error::shape("mean", "x", "one, two or four dimensions", x.shape())),
        };
        super::within_rounds("mean", words.div_ceil(256))?;
        Ok(Self { words, row, cols, count })
    }

    fn params(self, launch: Launch) -> Launch {
        let launch = launch.param("words", self.words).param("row", self.row).param("cols", self.cols);
        launch.param("count", self.count as f32)
    }

    fn forward(self, tape: &mut Tape, x: Tensor) -> Result<Tensor> {
        let y = tape.output("mean", &[1], Layout::Rows)?;
        let forward = self.params(Launch::new(&SHADER, "forward")).bind("x", x).bind("y", y);
        tape.launch(forward.groups(1).work(Work::new(self.words, self.words)))?;
        Ok(y)
    }
}
