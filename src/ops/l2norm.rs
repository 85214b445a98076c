use super::{matrix, positive};
use crate::error::Result;
use crate::gpu::{Shader, Work};
use crate::shape::Layout;
use crate::tape::{Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "l2norm.wgsl", text: include_str!("../../shaders/l2norm.wgsl") };

/// Every row of `x` scaled to unit length: x / max(|x|, `eps`).
///
/// **Shapes**: `x` `[rows, cols]`; the result too. **Units**: `eps` is a length; PyTorch uses 1e-12.
/// **Source**: the unit-length embedding of Wu et al. 2018, section 3.1.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) for no matrix, [`Error::Value`](crate::Error::Value) for an `eps` not above 0;
/// those of [`Tape::launch`].
pub fn l2norm(tape: &mut Tape, x: Tensor, eps: f32) -> Result<Tensor> {
    let [rows, _] = matrix("l2norm", "x", x)?;
    positive("l2norm", "eps", eps)?;
    let words = x.words();
    let cols = words.checked_div(rows).unwrap_or(0);
    super::within_rounds("l2norm", 2 * cols.div_ceil(64))?;
    let y = tape.output("l2norm", x.shape().dims(), Layout::Rows)?;
    let len = tape.output("length", &[rows], Layout::Rows)?;
    let sizes = move |l: Launch| l.param("rows", rows).param("cols", cols).param("eps", eps);
    let groups = if words == 0 { 0 } else { len.words() };
    let forward = sizes(Launch::new(&SHADER, "forward")).bind("x", x).bind("y_out", y).bind("len_out", len);
    tape.launch(forward.groups(groups).work(Work::new(3 * words, 2 * words)))?;
    tape.differentiable(y, &[x], move |tape, dy| {
        let Some(dx) = tape.gradient(x)? else { return Ok(()) };
        let backward = sizes(Launch::new(&SHADER, "backward").on("ACCUMULATE", dx.accumulate));
        let backward = backward.bind("y", y).bind("len", len).bind("dy", dy).bind("dx", dx.tensor);
        tape.launch(backward.groups(if words == 0 { 0 } else { rows }).work(Work::new(5 * words, 3 * words)))
    });
    Ok(y)
}
