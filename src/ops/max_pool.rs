use super::images;
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "max_pool.wgsl", text: include_str!("../../shaders/max_pool.wgsl") };

/// The largest value in windows of `size` × `size`, `stride` apart, the image padded by `pad` on every side with
/// values that never win. Among equals the first in row order is taken, as in PyTorch; NaN wins.
///
/// **Shapes**: `x` `[n, c, h, w]`; the result `[n, c, (h + 2 pad − size) / stride + 1, …]`.
///
/// # Errors
/// [`Error::Value`] for a stride of 0, a window larger than the padded image, or a padding above half the window;
/// [`Error::Shape`] for no images; those of [`Tape::launch`].
pub fn max_pool(tape: &mut Tape, x: Tensor, size: usize, stride: usize, pad: usize) -> Result<Tensor> {
    let [n, c, h, w] = images("max_pool", "x", x)?;
    if stride == 0 || pad > size / 2 {
        let expected = "a stride of at least 1, a padding of at most half the window";
        return Err(Error::value("max_pool", "stride, pad", expected, format!("{stride}, {pad}")));
    }
    if size == 0 || size - 2 * pad > h.min(w) || h * w == 0 {
        return Err(Error::value("max_pool", "size", format!("between 1 and {} and the padding", h.min(w)), size));
    }
    super::within_rounds("max_pool", size.saturating_mul(size.saturating_add(1)))?;
    let (oh, ow) = ((h + 2 * pad - size) / stride + 1, (w + 2 * pad - size) / stride + 1);
    let y = tape.output("max_pool", &[n, c, oh, ow], Layout::Rows)?;
    let chosen = tape.output_u32("chosen", &[n * oh * ow * padded(c)])?;
    let sizes = move |l: Launch| {
        let l = l.param("n", n).param("h", h).param("w", w).param("c4", padded(c) / 4).param("oh", oh).param("ow", ow);
        l.param("k", size).param("stride", stride).param("pad", pad)
    };
    let forward = sizes(Launch::new(&SHADER, "forward")).bind("x", x).bind("y", y).bind("chosen_out", chosen);
    let work = Work::new(y.words() * size * size, x.words() + 2 * y.words());
    tape.launch(forward.groups(y.words().div_ceil(256)).work(work))?;
    tape.differentiable(y, &[x], move |tape, dy| {
        let Some(dx) = tape.gradient(x)? else { return Ok(()) };
        let backward = sizes(Launch::new(&SHADER, "backward").on("ACCUMULATE", dx.accumulate));
        let backward = backward.bind("chosen", chosen).bind("dy", dy).bind("dx", dx.tensor);
        tape.launch(backward.groups(x.words().div_ceil(256)).work(work))
    });
    Ok(y)
}
