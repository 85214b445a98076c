use super::algorithm::{GPU_LANES, LANES};
use super::batch_norm::{Norm, Then, batch_norm_frozen};
use super::depthwise::Depthwise;
use super::epilogue::Epilogue;
use super::gemm::Linear;
use super::line_buffer::LineBuffer;
use super::tiled::{self, Product};
use super::window::Window;
use super::winograd::Winograd;
use super::{Algorithm, Direction, Problem, Tile, images};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "conv2d.wgsl", text: include_str!("../../shaders/conv2d.wgsl") };
pub(super) static SCALAR: Shader = Shader { file: "conv2d_scalar.wgsl", text: include_str!("../../shaders/conv2d_scalar.wgsl") };
pub(super) static TILED: Shader = Shader { file: "conv2d_tiled.wgsl", text: include_str!("../../shaders/conv2d_tiled.wgsl") };

/// Stride, padding and groups of a convolution, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// The sizes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sizes {
    /// Images.
    pub n: usize,
    /// Height of the input.
    pub h: usize,
    /// Width of the input.
    pub w: usize,
    /// Input channels of a group.
    pub ci: usize,
    /// Output channels of all groups.
    pub co: usize,
    /// Height of the kernel.
    pub kh: usize,
    /// Width of the kernel.
    pub kw: usize,
    /// Stride, padding and groups.
    pub conv: Conv,
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { n, h, w, ci, co, kh, kw, conv: Conv { stride, pad, groups } } = *self;
        write!(f, "b{n} {}->{co} {h}x{w} k{kh}", ci * groups)?;
        if kw != kh {
            write!(f, "x{kw}")?;
        }
        write!(f, " s{stride}")?;
        if pad != kh / 2 {
            write!(f, " p{pad}")?;
        }
        if groups != 1 {
            write!(f, " g{groups}")?;
        }
        Ok(())
    }
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
        if h + 2 * pad < kh || w + 2 * pad < kw {
            return Err(Error::shape("conv2d", "x", format!("at least {kh}x{kw} pixels with padding"), x.shape()));
        }
        if n > 0 && h * w == 0 {
            return Err(Error::shape("conv2d", "x", "images with pixels", x.shape()));
        }
        Ok(Self { n, h, w, ci, co, kh, kw, conv })
    }

    /// Height and width of the result.
    pub fn result(&self) -> [usize; 2] {
        let windows = |side: usize, k: usize| (side + 2 * self.conv.pad).saturating_sub(k) / self.conv.stride + 1;
        [windows(self.h, self.kh), windows(self.w, self.kw)]
    }

    /// Whether every group's channels stand on whole vec4, so that the fast kernels apply.
    pub(super) fn aligned(self) -> bool {
        self.conv.groups == 1 || (self.ci.is_multiple_of(4) && (self.co / self.conv.groups).is_multiple_of(4))
    }

    /// Input and output channels of a group in vec4.
    pub(super) fn vectors(self) -> (usize, usize) {
        (self.ci.div_ceil(4), padded(self.co) / 4 / self.conv.groups)
    }

    /// Whether it is a product of matrices: of pixels by channels.
    pub(super) fn pointwise(self) -> Option<Linear> {
        let plain = self.kh == 1 && self.kw == 1 && self.conv == Conv::default();
        plain.then_some(Linear { m: self.n * self.h * self.w, k: self.ci, n: self.co })
    }

    /// Pixels of the result, of all images.
    fn pixels(self) -> usize {
        let [oh, ow] = self.result();
        self.n * oh * ow
    }

    /// A weight in words.
    pub(super) fn weight_words(self) -> usize {
        self.kh * self.kw * padded(self.ci) * padded(self.co)
    }

    pub(super) fn work(self) -> Work {
        let (outputs, inputs) = (self.pixels() * self.co, self.n * self.h * self.w * self.ci * self.conv.groups);
        let weight = self.co * self.ci * self.kh * self.kw;
        Work::new(2 * self.pixels() * weight, outputs + inputs + weight)
    }

    /// What the launch of `direction` computes, for all classes of pixels and groups.
    pub(super) fn product(self, direction: Direction) -> Product {
        let (ci4, co4) = self.vectors();
        let (inputs, outputs, Conv { stride, groups, .. }) = (4 * ci4, 4 * co4, self.conv);
        let of = |rows, cols, depth, times| Product { rows, cols, depth, times: times * groups };
        match direction {
            Direction::Forward => of(self.pixels(), outputs, self.kh * self.kw * inputs, 1),
            Direction::Input => {
                let taps = self.kh.div_ceil(stride) * self.kw.div_ceil(stride);
                of(self.n * self.h.div_ceil(stride) * self.w.div_ceil(stride), inputs, taps * outputs, stride * stride)
            }
            Direction::Weight => {
                let parts = tiled::parts(1, self.pixels());
                of(self.kh * self.kw * inputs, outputs, self.pixels().div_ceil(parts), parts)
            }
        }
    }

    /// Parts of the weight gradient's sum: a function of the shapes and the tile's family and size alone, since it decides
    /// the order of the sum. Enough to give some 512 lanes a tile, or to fill a GPU, and to stay under the rounds that one
    /// lane may loop.
    fn split(self, gpu: &Gpu, algorithm: Algorithm) -> usize {
        let Product { rows, cols, .. } = self.product(Direction::Weight);
        let [oh, ow] = self.result();
        let lines = self.n * oh;
        let (wanted, rounds) = match algorithm {
            Algorithm::Direct(Tile::Tiled(tile)) => {
                // At most twice the pixels; not less, since the number of parts decides bits.
                (tiled::parts(tile.groups(rows, cols) * self.conv.groups, self.pixels()), lines * (2 * ow + 4))
            }
            Algorithm::Window(tile) | Algorithm::LineBuffer(tile) => {
                return self.line_buffer(Direction::Weight).parts(gpu, tile);
            }
            Algorithm::Depthwise { high, wide } => return self.depthwise(Direction::Weight, high, wide).parts(),
            Algorithm::Direct(_) | Algorithm::Scalar | Algorithm::Winograd { .. } => {
                let tiles = rows.div_ceil(8) * self.conv.groups * cols.div_ceil(16);
                (512usize.div_ceil(tiles.max(1)).min(lines.div_ceil(4)), lines * (ow + 1) * algorithm.loops(gpu))
            }
        };
        wanted.max(rounds.div_ceil(super::MAX_ROUNDS)).clamp(1, lines.max(1))
    }

    /// `launch` with the parameters of every kernel here.
    pub(super) fn params(self, launch: Launch, split: usize) -> Launch {
        let Conv { stride, pad, groups } = self.conv;
        let [oh, ow] = self.result();
        let launch = launch.param("n", self.n).param("h", self.h).param("w", self.w).param("ci", self.ci);
        let launch = launch.param("ci_stride", padded(self.ci * groups)).param("oh", oh).param("ow", ow);
        let launch = launch.param("co", self.co).param("co_stride", padded(self.co)).param("kh", self.kh).param("kw", self.kw);
        launch.param("stride", stride).param("pad", pad).param("groups", groups).param("split", split).work(self.work())
    }

    fn winograd(self, outputs: u32) -> Winograd {
        Winograd { sizes: self, outputs: outputs as usize }
    }

    fn window(self, direction: Direction) -> Window {
        Window { direction, sizes: self }
    }

    fn line_buffer(self, direction: Direction) -> LineBuffer {
        LineBuffer { direction, sizes: self }
    }

    fn depthwise(self, direction: Direction, high: u32, wide: u32) -> Depthwise {
        Depthwise { direction, sizes: self, high, wide }
    }

    /// A launch of the scalar kernel `entry`, of a lane for each of `vectors`.
    fn scalar(self, gpu: &Gpu, entry: &'static str, vectors: usize, split: usize) -> Launch {
        let lanes = if gpu.facts().software { LANES } else { GPU_LANES };
        self.params(Launch::new(&SCALAR, entry).tune("LANES", lanes as u32), split).groups(vectors.div_ceil(lanes))
    }

    /// A launch of `entry` by tiles, in `split` parts.
    fn tiles(self, tile: Tile, entry: &'static str, direction: Direction, split: usize) -> Launch {
        let Product { rows, cols, depth, times } = self.product(direction);
        let (times, whole) = match direction {
            Direction::Forward => (times, tile.divides(rows, cols, depth)),
            Direction::Input => {
                // Some classes meet fewer taps than others, and some fewer pixels.
                let even = self.h.is_multiple_of(self.conv.stride) && self.w.is_multiple_of(self.conv.stride);
                (times, even && tile.divides(rows, cols, 4 * self.vectors().1))
            }
            Direction::Weight => {
                let [oh, ow] = self.result();
                let lines = self.n * oh;
                (split * self.conv.groups, lines.is_multiple_of(split) && tile.divides(rows, cols, lines / split * ow))
            }
        };
        let launch = self.params(tile.tune(Launch::new(tile.shader(&SHADER, &TILED), entry)), split);
        launch.on("ALIGNED", whole).groups(tile.groups(rows, cols / 4, times))
    }

    /// Refuse a sum over so many vec4 of channels at every tap that would make a lane loop more often than drivers let it.
    fn within_rounds(self, gpu: &Gpu, algorithm: Algorithm, direction: Direction, vectors: usize) -> Result<()> {
        let taps = self.kh * self.kw;
        let rounds = match algorithm {
            Algorithm::Direct(Tile::Tiled(tile)) => tile.rounds(self.product(direction).depth).saturating_add(taps),
            Algorithm::Direct(_) => taps.saturating_mul(vectors * algorithm.loops(gpu) + 2),
            Algorithm::Scalar => taps.saturating_mul(4 * vectors + 2),
            Algorithm::Window(_) => self.kh.saturating_mul(vectors + 2),
            Algorithm::LineBuffer(_) => return Ok(()), // a lane goes down no more lines
            Algorithm::Depthwise { .. } => return Ok(()), // all unrolled
            Algorithm::Winograd { .. } => return Ok(()), // its products see to it
        };
        super::within_rounds("conv2d", rounds)
    }

    /// In how many parts `algorithm` leaves sums over the results of `direction`; none where it cannot. It is the same for all
    /// tiles that can, and so are the sums to the bit.
    fn parts(self, algorithm: Algorithm, direction: Direction) -> Option<usize> {
        match algorithm {
            Algorithm::Direct(tile) => {
                let Product { rows, times, .. } = self.product(direction);
                tile.parts(rows).map(|parts| times / self.conv.groups * parts)
            }
            Algorithm::Winograd { outputs, .. } => Some(self.winograd(outputs).parts(direction)),
            Algorithm::Window(tile) => self.window(direction).sums(tile),
            Algorithm::Scalar | Algorithm::LineBuffer(_) | Algorithm::Depthwise { .. } => None,
        }
    }

    /// Record the result by what was chosen for [`Problem::of`] it.
    fn record(self, tape: &mut Tape, algorithm: Algorithm, [x, weight, y]: [Tensor; 3], epilogue: Epilogue) -> Result<()> {
        match self.pointwise() {
            Some(map) => map.forward_by(tape, algorithm, [x, weight, y], epilogue),
            None => self.forward(tape, algorithm, x, weight, y, epilogue),
        }
    }

    pub(super) fn forward(
        self,
        tape: &mut Tape,
        algorithm: Algorithm,
        x: Tensor,
        weight: Tensor,
        y: Tensor,
        epilogue: Epilogue,
    ) -> Result<()> {
        self.within_rounds(tape.gpu(), algorithm, Direction::Forward, self.ci.div_ceil(4))?;
        let launch = match algorithm {
            Algorithm::Scalar => self.scalar(tape.gpu(), "forward_any", self.pixels() * padded(self.co) / 4, 1),
            Algorithm::Direct(tile) => self.tiles(tile, "forward", Direction::Forward, 1),
            Algorithm::Window(tile) => self.window(Direction::Forward).launch(tile),
            Algorithm::LineBuffer(tile) => self.line_buffer(Direction::Forward).launch(tape.gpu(), tile, 1),
            Algorithm::Depthwise { high, wide } => self.depthwise(Direction::Forward, high, wide).launch(tape.gpu(), 1),
            Algorithm::Winograd { outputs, tile } => {
                return self.winograd(outputs).forward(tape, tile, [x, weight, y], epilogue);
            }
        };
        tape.launch(epilogue.of(launch.bind("x", x).bind("weight", weight).bind("result", y)))
    }

    pub(super) fn grad_input(self, tape: &mut Tape, x: Tensor, weight: Tensor, dy: Tensor) -> Result<()> {
        let Some(dx) = tape.gradient(x)? else { return Ok(()) };
        let algorithm = Problem::Conv(Direction::Input, self).algorithm(tape);
        let epilogue = Epilogue::of_gradient(tape, x, self.parts(algorithm, Direction::Input))?;
        self.within_rounds(tape.gpu(), algorithm, Direction::Input, (self.co / self.conv.groups).div_ceil(4))?;
        let mut reads = "dy";
        let launch = match algorithm {
            Algorithm::Scalar => {
                self.scalar(tape.gpu(), "grad_input_any", self.n * self.h * self.w * padded(self.ci * self.conv.groups) / 4, 1)
            }
            Algorithm::Direct(tile) => self.tiles(tile, "grad_input", Direction::Input, 1),
            Algorithm::Window(tile) => self.window(Direction::Input).launch(tile),
            Algorithm::LineBuffer(tile) => self.line_buffer(Direction::Input).launch(tape.gpu(), tile, 1),
            Algorithm::Depthwise { high, wide } => {
                let by = self.depthwise(Direction::Input, high, wide);
                reads = by.reads();
                by.launch(tape.gpu(), 1)
            }
            Algorithm::Winograd { outputs, tile } => {
                return self.winograd(outputs).grad_input(tape, tile, weight, dy, dx, epilogue);
            }
        };
        let launch = launch.on("ACCUMULATE", dx.accumulate).bind(reads, dy).bind("weight", weight).bind("result", dx.tensor);
        tape.launch(epilogue.of(launch))
    }

    pub(super) fn grad_weight(self, tape: &mut Tape, x: Tensor, weight: Tensor, dy: Tensor) -> Result<()> {
        let Some(dw) = tape.gradient(weight)? else { return Ok(()) };
        let algorithm = Problem::Conv(Direction::Weight, self).algorithm(tape);
        let split = self.split(tape.gpu(), algorithm);
        let (launch, sum, lanes) = match algorithm {
            Algorithm::Scalar => {
                (self.scalar(tape.gpu(), "grad_weight_any", split * self.weight_words() / 4, split), &SHADER, LANES)
            }
            Algorithm::Direct(tile) => {
                let launch = self.tiles(tile, "grad_weight", Direction::Weight, split);
                (launch, tile.shader(&SHADER, &TILED), tile.sum_lanes())
            }
            Algorithm::Depthwise { high, wide } => {
                (self.depthwise(Direction::Weight, high, wide).launch(tape.gpu(), split), &SHADER, LANES)
            }
            // Strips along a line are no candidates for a weight.
            Algorithm::Window(tile) | Algorithm::LineBuffer(tile) => {
                (self.line_buffer(Direction::Weight).launch(tape.gpu(), tile, split), &SHADER, LANES)
            }
            Algorithm::Winograd { outputs, tile } => return self.winograd(outputs).grad_weight(tape, tile, x, dy, dw),
        };
        let launch = launch.bind("x", x).bind("dy", dy);
        if split == 1 {
            return tape.launch(launch.on("ACCUMULATE", dw.accumulate).bind("result", dw.tensor));
        }
        let parts = tape.output("parts", &[split, self.weight_words()], Layout::Rows)?;
        tape.launch(launch.bind("result", parts))?;
        let sum = self.params(Launch::new(sum, "grad_weight_sum"), split).on("ACCUMULATE", dw.accumulate);
        let sum = sum.bind("x", parts).bind("result", dw.tensor).work(Work::new(parts.words(), parts.words()));
        tape.launch(sum.groups((self.weight_words() / 4).div_ceil(lanes)))
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
    let (y, _) = record(tape, x, weight, conv, false)?;
    Ok(y)
}

/// [`conv2d`], with parts of the moments of its result for the [`batch_norm`](super::batch_norm) that follows, where the
/// kernel has them at hand.
///
/// **Shapes**: as [`conv2d`]; the parts `[3 parts, co]`: count, mean and sum of squared deviations of each part.
///
/// # Errors
/// As [`conv2d`].
pub fn conv2d_with_moments(tape: &mut Tape, x: Tensor, weight: Tensor, conv: Conv) -> Result<(Tensor, Option<Tensor>)> {
    record(tape, x, weight, conv, true)
}

fn record(tape: &mut Tape, x: Tensor, weight: Tensor, conv: Conv, moments: bool) -> Result<(Tensor, Option<Tensor>)> {
    let sizes = Sizes::of(x, weight, conv)?;
    let [oh, ow] = sizes.result();
    let y = tape.output("conv2d", &[sizes.n, sizes.co, oh, ow], Layout::Rows)?;
    let algorithm = Problem::of(Direction::Forward, sizes).algorithm(tape);
    let parts = sizes.parts(algorithm, Direction::Forward).filter(|_| moments && sizes.n > 0);
    let parts = parts.map(|parts| Epilogue::moments(tape, parts, sizes.co)).transpose()?;
    let epilogue = parts.map_or(Epilogue::Plain, |parts| Epilogue::Moments { parts });
    sizes.record(tape, algorithm, [x, weight, y], epilogue)?;
    tape.differentiable(y, &[x, weight], move |tape, dy| {
        if let Some(map) = sizes.pointwise() {
            map.grad_input(tape, x, weight, dy)?;
            return map.grad_weight(tape, x, weight, dy);
        }
        sizes.grad_input(tape, x, weight, dy)?;
        sizes.grad_weight(tape, x, weight, dy)
    });
    Ok((y, parts))
}

/// [`conv2d`] and the batch norm of evaluation behind it, in the convolution's own pass where its kernel can do that.
///
/// **Shapes**: as [`conv2d`]; `norm` as in [`batch_norm_frozen`], its statistics written before.
///
/// # Errors
/// As those two. There is no gradient: to ask for one is an [`Error::Value`].
pub fn conv2d_then_norm(tape: &mut Tape, x: Tensor, weight: Tensor, conv: Conv, norm: Norm, then: Then) -> Result<Tensor> {
    let sizes = Sizes::of(x, weight, conv)?;
    let algorithm = Problem::of(Direction::Forward, sizes).algorithm(tape);
    let y = if sizes.parts(algorithm, Direction::Forward).is_none() {
        let y = conv2d(tape, x, weight, conv)?;
        batch_norm_frozen(tape, y, norm, then)?
    } else {
        let [oh, ow] = sizes.result();
        let y = tape.output("conv2d", &[sizes.n, sizes.co, oh, ow], Layout::Rows)?;
        norm.fits("conv2d_then_norm", sizes.co)?;
        if let Some(addend) = then.addend {
            super::expect("conv2d_then_norm", "addend", addend, y.shape().dims(), crate::tape::Element::F32)?;
        }
        let epilogue = Epilogue::Affine { stats: norm.stats, addend: then.addend, relu: then.relu };
        sizes.record(tape, algorithm, [x, weight, y], epilogue)?;
        tape.differentiable(y, &[x, weight, norm.affine], |_, _| {
            let expected = "with the statistics of the batch, or conv2d and batch_norm_frozen one after the other";
            Err(Error::value("conv2d_then_norm", "gradient", expected, "folded into the convolution"))
        });
        y
    };
    Ok(y)
}
