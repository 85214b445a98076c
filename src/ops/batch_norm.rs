use super::epilogue::{Epilogue, Strands};
use super::expect;
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Element, Launch, Tape, Tensor, Wanted};

pub(super) static SHADER: Shader = Shader { file: "batch_norm.wgsl", text: include_str!("../../shaders/batch_norm.wgsl") };

/// What [`batch_norm`] does beside normalising.
#[derive(Clone, Copy, Debug, Default)]
pub struct Then {
    /// Added after the scaling, of the shape of the result: the shortcut of a residual block.
    pub addend: Option<Tensor>,
    /// Negative numbers become zero, last of all.
    pub relu: bool,
}

/// Scale, shift and statistics of a batch norm.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// `[2, columns]` with at least as many columns as channels: γ and β.
    pub affine: Tensor,
    /// From [`batch_norm_statistics`]: written in training, and read by the gradient.
    pub stats: Tensor,
    /// Added to the variance.
    pub eps: f32,
}

impl Norm {
    /// Refuse one that is not for `c` channels.
    pub(super) fn fits(self, op: &'static str, c: usize) -> Result<()> {
        super::positive(op, "eps", self.eps)?;
        expect(op, "stats", self.stats, &[5 * padded(c) / 4, 4], Element::F32)?;
        match (self.affine.shape().dims(), self.affine.layout()) {
            (&[2, columns], Layout::Rows) if columns >= c => Ok(()),
            _ => Err(Error::shape(op, "affine", format!("[2, {c} or more]"), self.affine.shape())),
        }
    }

    /// From one row of its affine tensor to the other, in vec4.
    fn stride(self) -> usize {
        padded(self.affine.shape()[1]) / 4
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    c: usize,
    a4: usize,
    eps: f32,
}

/// Whether parts are so few that each lane may join them all before it does its rows: a part takes longer than a row, and a
/// dispatch that joins them as long as some.
fn few(parts: usize, strands: Strands) -> bool {
    parts <= strands.each.min(FEW).max(strands.each / 16)
}

/// More parts than these are not few, but for strands of sixteen times as many rows.
const FEW: usize = 512;

/// Parts that are joined to one where they are not few.
const JOINED: usize = 64;

impl Sizes {
    fn of(x: Tensor, norm: Norm) -> Result<Self> {
        let (rows, c) = match (x.shape().dims(), x.layout()) {
            (&[n, c, h, w], Layout::Rows) => (n * h * w, c),
            (&[n, c], Layout::Rows) => (n, c),
            _ => return Err(Error::shape("batch_norm", "x", "[n, c, h, w] or [n, c]", x.shape())),
        };
        if rows == 0 {
            return Err(Error::shape("batch_norm", "x", "at least one row", x.shape()));
        }
        norm.fits("batch_norm", c)?;
        Ok(Self { rows, c, a4: norm.stride(), eps: norm.eps })
    }

    fn c4(self) -> usize {
        padded(self.c) / 4
    }

    fn words(self) -> usize {
        self.rows * padded(self.c)
    }

    /// A launch with a lane a vec4 of each of `lanes`.
    fn launch(self, tape: &Tape, entry: &'static str, lanes: usize, parts: usize, each: usize) -> Launch {
        launch(tape, entry, self.c4() * lanes)
            .param("rows", self.rows)
            .param("channels", self.c)
            .param("c4", self.c4())
            .param("a4", self.a4)
            .param("parts", parts)
            .param("each", each)
            .param("eps", self.eps)
            .param("momentum", 0.0f32)
    }

    /// Chunks of rows whose sums are parts: few enough to be joined quickly.
    fn chunks(self, tape: &Tape) -> Strands {
        let strands = Strands::of(tape.gpu(), self.rows, self.c);
        let each = strands.each.max(self.rows.div_ceil(1024)).min(16_384);
        Strands { count: self.rows.div_ceil(each), each }
    }

    /// Join parts of `width` rows each by `entry` until there are few for each of `strands`.
    fn join(
        self,
        tape: &mut Tape,
        entry: &'static str,
        width: usize,
        strands: Strands,
        mut parts: Tensor,
    ) -> Result<(Tensor, usize)> {
        let mut count = parts.shape()[0] / width;
        while !few(count, strands) {
            let to = count.div_ceil(JOINED);
            let joined = tape.output("joined", &[width * to, self.c], Layout::Rows)?;
            let join = self.launch(tape, entry, to, count, JOINED).bind("parts", parts).bind("parts_out", joined);
            tape.launch(join.work(Work::new(4 * parts.words(), parts.words())))?;
            (parts, count) = (joined, to);
        }
        Ok((parts, count))
    }
}

/// A launch with so many lanes: in workgroups of one subgroup on processors, where few lanes must do for all threads.
fn launch(tape: &Tape, entry: &'static str, lanes: usize) -> Launch {
    let each = if tape.gpu().facts().software { 8 } else { 64 };
    Launch::new(&SHADER, entry).tune("LANES", each).groups(lanes.div_ceil(each as usize))
}

/// Room for the statistics of a batch norm over `channels`, on `tape`.
///
/// For every four channels five rows of four numbers: mean, 1 / √(variance + eps), γ times that, β, and the unbiased variance.
///
/// # Errors
/// [`Error::Value`] for an impossible number.
pub fn batch_norm_statistics(tape: &mut Tape, channels: usize) -> Result<Tensor> {
    tape.output("stats", &[5 * padded(channels) / 4, 4], Layout::Rows)
}

/// Batch normalisation with the statistics of the batch, and what follows it, in one pass.
///
/// y = (x − mean) / √(var + eps) · γ + β, with mean and biased variance over all but the channels; then the addend and the
/// ReLU of `then`. The running statistics are a matter of their own: [`batch_norm_running`].
/// `parts` are those of the moments of `x` that [`conv2d_with_moments`](super::conv2d_with_moments) left; without them there
/// is a pass over `x` for them.
///
/// **Shapes**: `x` `[n, c, h, w]` or `[n, c]`; the result the same. **Source**: Ioffe and Szegedy 2015, algorithm 1.
///
/// # Errors
/// [`Error::Shape`] for other shapes or no row, [`Error::Value`] for an `eps` not above 0; those of [`Tape::launch`].
pub fn batch_norm(tape: &mut Tape, x: Tensor, norm: Norm, then: Then, parts: Option<Tensor>) -> Result<Tensor> {
    let sizes = Sizes::of(x, norm)?;
    let strands = Strands::of(tape.gpu(), sizes.rows, sizes.c);
    let words = sizes.words();
    let parts = match parts {
        Some(parts) => {
            let rows = parts.shape().dims().first().map_or(3, |rows| rows.div_ceil(3).max(1) * 3);
            expect("batch_norm", "parts", parts, &[rows, sizes.c], Element::F32)?;
            parts
        }
        None => {
            let chunks = sizes.chunks(tape);
            let parts = Epilogue::moments(tape, chunks.count, sizes.c)?;
            let moments = sizes.launch(tape, "moments", chunks.count, chunks.count, chunks.each);
            tape.launch(moments.bind("x", x).bind("parts_out", parts).work(Work::new(4 * words, words)))?;
            parts
        }
    };
    let (parts, count) = sizes.join(tape, "join", 3, strands, parts)?;
    let y = result(tape, x, then)?;
    let apply = sizes.launch(tape, "apply", strands.count, count, strands.each).bind("parts", parts);
    let apply = apply.bind("affine_in", norm.affine).bind("stats_out", norm.stats);
    tape.launch(then.on(apply, x).bind("y", y).work(then.work(words)))?;
    differentiable(tape, sizes, x, norm, then, y, false);
    Ok(y)
}

/// The statistics of a batch norm from the running ones, for evaluation.
///
/// **Shapes**: `mean`, `var` `[c]`, which no gradient reaches.
///
/// # Errors
/// As [`batch_norm`].
pub fn batch_norm_freeze(tape: &mut Tape, norm: Norm, mean: Tensor, var: Tensor) -> Result<()> {
    let c = mean.shape().count();
    expect("batch_norm_freeze", "mean", mean, &[c], Element::F32)?;
    expect("batch_norm_freeze", "var", var, &[c], Element::F32)?;
    norm.fits("batch_norm_freeze", c)?;
    let sizes = Sizes { rows: 1, c, a4: norm.stride(), eps: norm.eps };
    let frozen = sizes.launch(tape, "frozen", 1, 0, 0).bind("running_mean", mean).bind("running_var", var);
    let frozen = frozen.bind("affine_in", norm.affine).bind("stats_out", norm.stats);
    tape.launch(frozen.work(Work::new(4 * padded(c), 9 * padded(c))))
}

/// Batch normalisation with the statistics that [`batch_norm_freeze`] wrote, as in evaluation.
///
/// **Shapes**: as [`batch_norm`].
///
/// # Errors
/// As [`batch_norm`].
pub fn batch_norm_frozen(tape: &mut Tape, x: Tensor, norm: Norm, then: Then) -> Result<Tensor> {
    let sizes = Sizes::of(x, norm)?;
    let strands = Strands::of(tape.gpu(), sizes.rows, sizes.c);
    let y = result(tape, x, then)?;
    let affine = sizes.launch(tape, "affine", strands.count, 0, strands.each).bind("stats", norm.stats);
    tape.launch(then.on(affine, x).bind("y", y).work(then.work(sizes.words())))?;
    differentiable(tape, sizes, x, norm, then, y, true);
    Ok(y)
}

fn result(tape: &mut Tape, x: Tensor, then: Then) -> Result<Tensor> {
    if let Some(addend) = then.addend {
        expect("batch_norm", "addend", addend, x.shape().dims(), Element::F32)?;
    }
    tape.output("batch_norm", x.shape().dims(), Layout::Rows)
}

impl Then {
    fn on(self, launch: Launch, x: Tensor) -> Launch {
        let launch = launch.on("RELU", self.relu).on("ADD", self.addend.is_some()).bind("x", x);
        launch.bind("addend", self.addend.unwrap_or(x))
    }

    fn work(self, words: usize) -> Work {
        Work::new(4 * words, (2 + usize::from(self.addend.is_some())) * words)
    }
}

fn differentiable(tape: &mut Tape, sizes: Sizes, x: Tensor, norm: Norm, then: Then, y: Tensor, frozen: bool) {
    let inputs = [Some(x), Some(norm.affine), then.addend];
    let inputs: Vec<Tensor> = inputs.into_iter().flatten().collect();
    if then.relu && then.addend.is_none() {
        tape.want_slopes(y, Wanted { x, stats: norm.stats });
    }
    tape.differentiable(y, &inputs, move |tape, dy| backward(tape, sizes, x, norm, then, [y, dy], frozen));
}

fn backward(tape: &mut Tape, sizes: Sizes, x: Tensor, norm: Norm, then: Then, [y, dy]: [Tensor; 2], frozen: bool) -> Result<()> {
    let Sizes { c, .. } = sizes;
    let words = sizes.words();
    let strands = Strands::of(tape.gpu(), sizes.rows, c);
    let chunks = sizes.chunks(tape);
    let given = tape.slopes(y);
    let masks = then.relu && then.addend.is_some();
    let (dy, parts) = match given {
        Some(parts) => (dy, parts),
        None => {
            let parts = Epilogue::slopes(tape, chunks.count, c)?;
            let entry = if masks { "mask" } else { "slopes" };
            let launch = sizes.launch(tape, entry, chunks.count, chunks.count, chunks.each).bind("x", x).bind("dy", dy);
            let launch = launch.bind("stats", norm.stats).bind("parts_out", parts);
            if masks {
                let masked = tape.output("masked", x.shape().dims(), Layout::Rows)?;
                tape.launch(launch.bind("result", y).bind("masked", masked).work(Work::new(4 * words, 4 * words)))?;
                (masked, parts)
            } else {
                tape.launch(launch.on("RELU", then.relu).work(Work::new(6 * words, 2 * words)))?;
                (dy, parts)
            }
        }
    };
    let (parts, count) = sizes.join(tape, "join_slopes", 2, strands, parts)?;
    let (daffine, on_affine) = match tape.gradient(norm.affine)? {
        Some(gradient) => (gradient.tensor, gradient.accumulate),
        None => (tape.output("unwanted", norm.affine.shape().dims(), Layout::Rows)?, false),
    };
    let dx = tape.gradient(x)?;
    let (target, accumulate) = match dx {
        Some(dx) => (dx.tensor, dx.accumulate),
        None => (tape.output("unwanted", x.shape().dims(), Layout::Rows)?, false),
    };
    let launch = sizes.launch(tape, "backward", strands.count, count, strands.each).on("ACCUMULATE", accumulate);
    let launch = launch.on("ACCUMULATE_AFFINE", on_affine).on("FROZEN", frozen);
    let launch = launch.on("RELU", then.relu && given.is_none() && !masks).bind("x", x).bind("dy", dy);
    let launch = launch.bind("stats", norm.stats).bind("parts", parts).bind("daffine", daffine).bind("dx", target);
    tape.launch(launch.work(Work::new(8 * words, 3 * words)))?;
    let Some(addend) = then.addend else { return Ok(()) };
    // The masked gradient has no other use; the whole one may be passed on where nothing masks it.
    super::add::pass_on_or_give(tape, addend, dy)
}

/// Move running statistics towards those of the batch: running = (1 − `momentum`) running + `momentum` batch, with
/// the unbiased variance, as in PyTorch. Belongs into the segment `update`; nothing happens while the guard is up.
///
/// **Shapes**: `stats` from [`batch_norm_statistics`], or those of many norms side by side; `mean`, `var` vectors with their
/// channels, padded alike.
///
/// # Errors
/// As [`batch_norm`].
pub fn batch_norm_running(tape: &mut Tape, stats: Tensor, mean: Tensor, var: Tensor, momentum: f32) -> Result<()> {
    let c4 = mean.words() / 4;
    expect("batch_norm_running", "stats", stats, &[5 * c4, 4], Element::F32)?;
    expect("batch_norm_running", "var", var, mean.shape().dims(), Element::F32)?;
    let flag = tape.guard()?;
    let launch = launch(tape, "running", c4).param("rows", 0u32).param("channels", 0u32).param("c4", c4).param("a4", 0u32);
    let launch = launch.param("parts", 0u32).param("each", 0u32).param("eps", 0.0f32).param("momentum", momentum);
    let launch = launch.bind("stats", stats).bind("flag", flag).bind("running_mean", mean).bind("running_var", var);
    tape.launch(launch.work(Work::new(4 * mean.words(), 6 * mean.words())))
}
