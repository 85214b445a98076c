use super::images;
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "avg_pool.wgsl", text: include_str!("../../shaders/avg_pool.wgsl") };

/// The mean over windows of `size` × `size`, `stride` apart, without padding.
///
/// **Shapes**: `x` `[n, c, h, w]`; the result `[n, c, (h − size) / stride + 1, (w − size) / stride + 1]`.
///
/// # Errors
/// [`Error::Value`] for a window of size 0 or larger than the image, or a stride of 0; [`Error::Shape`] for no images;
/// those of [`Tape::launch`].
pub fn avg_pool(tape: &mut Tape, x: Tensor, size: usize, stride: usize) -> Result<Tensor> {
    let [n, c, h, w] = images("avg_pool", "x", x)?;
    if size == 0 || size > h.min(w) {
        return Err(Error::value("avg_pool", "size", format!("between 1 and {}", h.min(w)), size));
    }
    if stride == 0 {
        return Err(Error::value("avg_pool", "stride", "at least 1", stride));
    }
    let (oh, ow) = ((h - size) / stride + 1, (w - size) / stride + 1);
    let y = tape.output("avg_pool", &[n, c, oh, ow], Layout::Rows)?;
    pool(tape, x, y, [oh, ow], [size, size], stride)
}

/// The mean of every channel over the whole image.
///
/// **Shapes**: `x` `[n, c, h, w]`; the result is the matrix `[n, c]`.
///
/// # Errors
/// [`Error::Shape`] for no images or images without a pixel; those of [`Tape::launch`].
pub fn global_avg_pool(tape: &mut Tape, x: Tensor) -> Result<Tensor> {
    let [n, c, h, w] = images("global_avg_pool", "x", x)?;
    if h * w == 0 {
        return Err(Error::shape("global_avg_pool", "x", "at least one pixel an image", x.shape()));
    }
    let y = tape.output("global_avg_pool", &[n, c], Layout::Rows)?;
    pool(tape, x, y, [1, 1], [h, w], 1)
}

fn pool(tape: &mut Tape, x: Tensor, y: Tensor, out: [usize; 2], window: [usize; 2], stride: usize) -> Result<Tensor> {
    super::within_rounds("avg_pool", window[0] * (window[1] + 1))?;
    let [n, c, h, w] = images("avg_pool", "x", x)?;
    let sizes = move |l: Launch| {
        let l = l.param("n", n).param("h", h).param("w", w).param("c4", padded(c) / 4).param("oh", out[0]).param("ow", out[1]);
        l.param("kh", window[0]).param("kw", window[1]).param("stride", stride)
    };
    let work = Work::new(y.words() * window[0] * window[1], x.words() + y.words());
    let forward = sizes(Launch::new(&SHADER, "forward")).bind("x", x).bind("y", y);
    tape.launch(forward.groups(y.words().div_ceil(256)).work(work))?;
    tape.differentiable(y, &[x], move |tape, dy| {
        let Some(dx) = tape.gradient(x)? else { return Ok(()) };
        let backward = sizes(Launch::new(&SHADER, "backward").on("ACCUMULATE", dx.accumulate));
        tape.launch(backward.bind("dy", dy).bind("dx", dx.tensor).groups(x.words().div_ceil(256)).work(work))
    });
    Ok(y)
}
