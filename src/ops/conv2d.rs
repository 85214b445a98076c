use super::images;
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "conv2d.wgsl", text: include_str!("../../shaders/conv2d.wgsl") };

/// Stride, padding and groups of a convolution, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Pixels between windows.
    pub stride: usize,
    /// Zeros around the image.
    pub pad: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl Default for Conv {
    fn default() -> Self {
        Self { stride: 1, pad: 0, groups: 1 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Sizes {
    n: usize,
    h: usize,
    w: usize,
    ci: usize,
    co: usize,
    oh: usize,
    ow: usize,
    kh: usize,
    kw: usize,
    conv: Conv,
}

/// Lanes a workgroup; each owns a tile of rows by vec4 columns.
const LANES: usize = 8;

/// Rows and vec4 columns of a lane's tile, for so many vec4 columns a group. The result's bits do not depend on it.
fn tile(columns: usize) -> (usize, usize) {
    (8, columns.next_power_of_two().clamp(1, 4))
}

impl Sizes {
    fn of(x: Tensor, weight: Tensor, conv: Conv) -> Result<Self> {
        let [n, channels, h, w] = images("conv2d", "x", x)?;
        let Conv { stride, pad, groups } = conv;
        if stride == 0 || groups == 0 || pad > 1 << 20 || stride > 1 << 20 {
            let expected = "a stride and groups of at least 1, stride and padding of at most 2^20";
            return Err(Error::value("conv2d", "conv", expected, format!("{conv:?}")));
        }
        let (co, ci, kh, kw) = match (weight.shape().dims(), weight.layout()) {
            (&[co, ci, kh, kw], Layout::Weight) => (co, ci, kh, kw),
            _ => return Err(Error::shape("conv2d", "weight", "[out, in / groups, kh, kw] as a weight", weight.shape())),
        };
        if ci == 0 || co == 0 || kh * kw == 0 || ci.checked_mul(groups) != Some(channels) || co % groups != 0 {
            let expected = format!("[out, {channels} / {groups}, kh, kw], none 0, out a multiple of {groups}");
            return Err(Error::shape("conv2d", "weight", expected, weight.shape()));
        }
        let windows = |side: usize, k: usize| (side + 2 * pad).checked_sub(k).map(|free| free / stride + 1);
        let (Some(oh), Some(ow)) = (windows(h, kh), windows(w, kw)) else {
            return Err(Error::shape("conv2d", "x", format!("at least {kh}x{kw} pixels with padding"), x.shape()));
        };
        if n > 0 && h * w == 0 {
            return Err(Error::shape("conv2d", "x", "images with pixels", x.shape()));
        }
        Ok(Self { n, h, w, ci, co, oh, ow, kh, kw, conv })
    }

    /// Whether every group's channels stand on whole vec4, so that the fast kernels apply.
    fn aligned(self) -> bool {
        self.conv.groups == 1 || (self.ci.is_multiple_of(4) && (self.co / self.conv.groups).is_multiple_of(4))
    }

    /// Input and output channels of a group in vec4.
    fn vectors(self) -> (usize, usize) {
        (self.ci.div_ceil(4), padded(self.co) / 4 / self.conv.groups)
    }

    /// A weight in words.
    fn weight_words(self) -> usize {
        self.kh * self.kw * padded(self.ci) * padded(self.co)
    }

    fn work(self) -> Work {
        let outputs = self.n * self.oh * self.ow;
        let moved =
            outputs * self.co + self.n * self.h * self.w * self.ci * self.conv.groups + self.co * self.ci * self.kh * self.kw;
        Work::new(2 * outputs * self.co * self.ci * self.kh * self.kw, moved)
    }

    /// Parts of the weight gradient's sum: a function of the shapes alone, since it decides the order of the sum. Enough
    /// to give some 512 lanes a tile, and to stay under the rounds that one lane may loop.
    fn split(self) -> usize {
        let (ci4, co4) = self.vectors();
        let tiles = self.kh * self.kw * (4 * ci4).div_ceil(8) * self.conv.groups * co4.div_ceil(4);
        let lines = self.n * self.oh;
        let wanted = 512usize.div_ceil(tiles.max(1)).min(lines.div_ceil(4));
        wanted.max((lines * (self.ow + 1)).div_ceil(super::MAX_ROUNDS)).clamp(1, lines.max(1))
    }

    fn launch(self, entry: &'static str, tile: (usize, usize), split: usize) -> Launch {
        let Conv { stride, pad, groups } = self.conv;
        let launch = Launch::new(&SHADER, entry).tune("ROWS", tile.0 as u32).tune("COLS", tile.1 as u32);
        let launch = launch.param("n", self.n).param("h", self.h).param("w", self.w).param("ci", self.ci);
        let launch = launch.param("ci_stride", padded(self.ci * groups)).param("oh", self.oh).param("ow", self.ow);
        let launch = launch.param("co", self.co).param("co_stride", padded(self.co)).param("kh", self.kh).param("kw", self.kw);
        launch.param("stride", stride).param("pad", pad).param("groups", groups).param("split", split).work(self.work())
    }

    fn forward(self, tape: &mut Tape, x: Tensor, weight: Tensor, y: Tensor) -> Result<()> {
        let (ci4, co4) = self.vectors();
        let depth = if self.aligned() { ci4 } else { self.ci };
        super::within_rounds("conv2d", (self.kh * self.kw).saturating_mul(depth + 2))?;
        let pixels = self.n * self.oh * self.ow;
        let (launch, tiles) = if self.aligned() {
            let tile = tile(co4);
            (self.launch("forward", tile, 1), pixels.div_ceil(tile.0) * self.conv.groups * co4.div_ceil(tile.1))
        } else {
            (self.launch("forward_any", (8, 1), 1), pixels * padded(self.co) / 4)
        };
        tape.launch(launch.bind("x", x).bind("weight", weight).bind("result", y).groups(tiles.div_ceil(LANES)))
    }

    fn grad_input(self, tape: &mut Tape, x: Tensor, weight: Tensor, dy: Tensor) -> Result<()> {
        let Some(dx) = tape.gradient(x)? else { return Ok(()) };
        let (ci4, co4) = self.vectors();
        let depth = if self.aligned() { co4 } else { self.co / self.conv.groups };
        super::within_rounds("conv2d", (self.kh * self.kw).saturating_mul(depth + 2))?;
        let stride = self.conv.stride;
        let (launch, tiles) = if self.aligned() {
            let pixels = self.n * self.h.div_ceil(stride) * self.w.div_ceil(stride);
            let tile = tile(ci4);
            let tiles = stride * stride * pixels.div_ceil(tile.0) * self.conv.groups * ci4.div_ceil(tile.1);
            (self.launch("grad_input", tile, 1), tiles)
        } else {
            (self.launch("grad_input_any", (8, 1), 1), self.n * self.h * self.w * padded(self.ci * self.conv.groups) / 4)
        };
        let launch = launch.on("ACCUMULATE", dx.accumulate).bind("dy", dy).bind("weight", weight).bind("result", dx.tensor);
        tape.launch(launch.groups(tiles.div_ceil(LANES)))
    }

    fn grad_weight(self, tape: &mut Tape, x: Tensor, weight: Tensor, dy: Tensor) -> Result<()> {
        let Some(dw) = tape.gradient(weight)? else { return Ok(()) };
        let (ci4, co4) = self.vectors();
        let split = self.split();
        let taps = self.kh * self.kw;
        let (launch, tiles) = if self.aligned() {
            let tile = tile(co4);
            let tiles = split * taps * (4 * ci4).div_ceil(tile.0) * self.conv.groups * co4.div_ceil(tile.1);
            (self.launch("grad_weight", tile, split), tiles)
        } else {
            (self.launch("grad_weight_any", (8, 1), split), split * taps * 4 * ci4 * padded(self.co) / 4)
        };
        let launch = launch.bind("x", x).bind("dy", dy).groups(tiles.div_ceil(LANES));
        if split == 1 {
            return tape.launch(launch.on("ACCUMULATE", dw.accumulate).bind("result", dw.tensor));
        }
        let parts = tape.output("parts", &[split, self.weight_words()], Layout::Rows)?;
        tape.launch(launch.bind("result", parts))?;
        let sum = self.launch("grad_weight_sum", (8, 1), split).on("ACCUMULATE", dw.accumulate);
        let sum = sum.bind("x", parts).bind("result", dw.tensor).work(Work::new(parts.words(), parts.words()));
        tape.launch(sum.groups((self.weight_words() / 4).div_ceil(LANES)))
    }
}

/// A convolution without bias, as PyTorch's: a correlation of every window with the weight.
///
/// **Shapes**: `x` `[n, ci, h, w]`; `weight` `[co, ci / groups, kh, kw]` in [`Layout::Weight`]; the result
/// `[n, co, (h + 2 pad − kh) / stride + 1, (w + 2 pad − kw) / stride + 1]`.
///
/// # Errors
/// [`Error::Shape`] where these do not fit, [`Error::Value`] for a stride or groups of 0; those of [`Tape::launch`].
pub fn conv2d(tape: &mut Tape, x: Tensor, weight: Tensor, conv: Conv) -> Result<Tensor> {
    let sizes = Sizes::of(x, weight, conv)?;
    let y = tape.output("conv2d", &[sizes.n, sizes.co, sizes.oh, sizes.ow], Layout::Rows)?;
    sizes.forward(tape, x, weight, y)?;
    tape.differentiable(y, &[x, weight], move |tape, dy| {
        sizes.grad_input(tape, x, weight, dy)?;
        sizes.grad_weight(tape, x, weight, dy)
    });
    Ok(y)
}
