use super::expect;
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Element, Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "batch_norm.wgsl", text: include_str!("../../shaders/batch_norm.wgsl") };

/// What [`batch_norm`] returns.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// The normalised tensor.
    pub y: Tensor,
    /// `[3, c]`: mean, 1 / √(variance + eps) and biased variance of the batch.
    pub stats: Tensor,
}

#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    c: usize,
    chunks: usize,
    chunk_rows: usize,
    eps: f32,
}

impl Sizes {
    fn of(x: Tensor, eps: f32) -> Result<Self> {
        let (rows, c) = match (x.shape().dims(), x.layout()) {
            (&[n, c, h, w], Layout::Rows) => (n * h * w, c),
            (&[n, c], Layout::Rows) => (n, c),
            _ => return Err(Error::shape("batch_norm", "x", "[n, c, h, w] or [n, c]", x.shape())),
        };
        if rows == 0 {
            return Err(Error::shape("batch_norm", "x", "at least one row", x.shape()));
        }
        super::positive("batch_norm", "eps", eps)?;
        let chunk_rows = rows.div_ceil(rows.div_ceil(128).min(128).max(rows.div_ceil(16_384)));
        Ok(Self { rows, c, chunks: rows.div_ceil(chunk_rows), chunk_rows, eps })
    }

    fn launch(self, entry: &'static str, momentum: f32) -> Launch {
        let launch = Launch::new(&SHADER, entry).param("rows", self.rows).param("channels", self.c);
        let launch = launch.param("c4", padded(self.c) / 4);
        let launch = launch.param("chunks", self.chunks).param("chunk_rows", self.chunk_rows);
        launch.param("eps", self.eps).param("momentum", momentum)
    }

    /// Workgroups with a lane a vec4 of channels, a chunk, or a row.
    fn groups(self, of: usize) -> usize {
        (of * padded(self.c) / 4).div_ceil(64)
    }

    fn words(self) -> usize {
        self.rows * padded(self.c)
    }
}

/// Batch normalisation with the statistics of the batch.
///
/// y = (x − mean) / √(var + `eps`) · `gamma` + `beta`, with mean and biased variance over all but the channels.
/// The running statistics are a matter of their own: [`batch_norm_running`].
///
/// **Shapes**: `x` `[n, c, h, w]` or `[n, c]`; `gamma`, `beta` `[c]`. **Source**: Ioffe and Szegedy 2015, algorithm 1.
///
/// # Errors
/// [`Error::Shape`] for other shapes or no row, [`Error::Value`] for an `eps` not above 0; those of [`Tape::launch`].
pub fn batch_norm(tape: &mut Tape, x: Tensor, gamma: Tensor, beta: Tensor, eps: f32) -> Result<BatchNorm> {
    let sizes = Sizes::of(x, eps)?;
    let stats = tape.output("stats", &[3, sizes.c], Layout::Rows)?;
    let parts = tape.output("parts", &[2 * sizes.chunks, sizes.c], Layout::Rows)?;
    let words = sizes.words();
    let partial = sizes.launch("partial", 0.0).bind("x", x).bind("parts_out", parts);
    tape.launch(partial.groups(sizes.groups(sizes.chunks)).work(Work::new(4 * words, words)))?;
    let merge = sizes.launch("merge", 0.0).bind("parts", parts).bind("stats_out", stats);
    tape.launch(merge.groups(sizes.groups(1)).work(Work::new(8 * parts.words(), parts.words())))?;
    let y = apply(tape, sizes, x, gamma, beta, stats, false)?;
    Ok(BatchNorm { y, stats })
}

/// Batch normalisation with given statistics, as in evaluation.
///
/// **Shapes**: as [`batch_norm`]; `mean`, `var` `[c]`, which no gradient reaches.
///
/// # Errors
/// As [`batch_norm`].
pub fn batch_norm_frozen(tape: &mut Tape, x: Tensor, affine: [Tensor; 2], statistics: [Tensor; 2], eps: f32) -> Result<Tensor> {
    let sizes = Sizes::of(x, eps)?;
    let [mean, var] = statistics;
    expect("batch_norm_frozen", "mean", mean, &[sizes.c], Element::F32)?;
    expect("batch_norm_frozen", "var", var, &[sizes.c], Element::F32)?;
    let stats = tape.output("stats", &[3, sizes.c], Layout::Rows)?;
    let frozen = sizes.launch("frozen", 0.0).bind("frozen_mean", mean).bind("frozen_var", var).bind("stats_out", stats);
    tape.launch(frozen.groups(sizes.groups(1)))?;
    apply(tape, sizes, x, affine[0], affine[1], stats, true)
}

fn apply(tape: &mut Tape, sizes: Sizes, x: Tensor, gamma: Tensor, beta: Tensor, stats: Tensor, frozen: bool) -> Result<Tensor> {
    expect("batch_norm", "gamma", gamma, &[sizes.c], Element::F32)?;
    expect("batch_norm", "beta", beta, &[sizes.c], Element::F32)?;
    let words = sizes.words();
    let y = tape.output("batch_norm", x.shape().dims(), Layout::Rows)?;
    let forward =
        sizes.launch("apply", 0.0).bind("x", x).bind("stats", stats).bind("gamma", gamma).bind("beta", beta).bind("y", y);
    tape.launch(forward.groups(sizes.groups(sizes.rows)).work(Work::new(4 * words, 2 * words)))?;
    tape.differentiable(y, &[x, gamma, beta], move |tape, dy| backward(tape, sizes, x, gamma, beta, stats, frozen, dy));
    Ok(y)
}

#[allow(clippy::too_many_arguments, reason = "the operands of one formula")]
fn backward(
    tape: &mut Tape,
    sizes: Sizes,
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    stats: Tensor,
    frozen: bool,
    dy: Tensor,
) -> Result<()> {
    let words = sizes.words();
    let parts = tape.output("parts.grad", &[2 * sizes.chunks, sizes.c], Layout::Rows)?;
    let sums = tape.output("sums", &[2, sizes.c], Layout::Rows)?;
    let partial = sizes.launch("backward_partial", 0.0).bind("x", x).bind("dy", dy).bind("stats", stats).bind("parts_out", parts);
    tape.launch(partial.groups(sizes.groups(sizes.chunks)).work(Work::new(5 * words, 2 * words)))?;
    let (dgamma, on_gamma) = target(tape, gamma, sizes.c)?;
    let (dbeta, on_beta) = target(tape, beta, sizes.c)?;
    let merge = sizes.launch("backward_merge", 0.0).on("ACCUMULATE_GAMMA", on_gamma).on("ACCUMULATE_BETA", on_beta);
    let merge = merge.bind("parts", parts).bind("sums_out", sums);
    let merge = merge.bind("dgamma", dgamma).bind("dbeta", dbeta).groups(sizes.groups(1));
    tape.launch(merge.work(Work::new(parts.words(), parts.words())))?;
    let Some(dx) = tape.gradient(x)? else { return Ok(()) };
    let apply = sizes.launch("backward_apply", 0.0).on("ACCUMULATE", dx.accumulate).on("FROZEN", frozen);
    let apply =
        apply.bind("x", x).bind("stats", stats).bind("gamma", gamma).bind("sums", sums).bind("dy", dy).bind("dx", dx.tensor);
    tape.launch(apply.groups(sizes.groups(sizes.rows)).work(Work::new(8 * words, 3 * words)))
}

/// The gradient of a parameter, or a scratch tensor where none is wanted: one kernel writes both parameters'.
fn target(tape: &mut Tape, parameter: Tensor, c: usize) -> Result<(Tensor, bool)> {
    match tape.gradient(parameter)? {
        Some(gradient) => Ok((gradient.tensor, gradient.accumulate)),
        None => Ok((tape.output("unwanted", &[c], Layout::Rows)?, false)),
    }
}

/// Move running statistics towards those of the batch: running = (1 − `momentum`) running + `momentum` batch, with
/// the unbiased variance, as in PyTorch. Belongs into the segment `update`; nothing happens while the guard is up.
///
/// **Shapes**: `x` is what was normalised, for its number of rows; `stats` is [`BatchNorm::stats`]; `mean`, `var` `[c]`.
///
/// # Errors
/// As [`batch_norm`].
pub fn batch_norm_running(tape: &mut Tape, x: Tensor, stats: Tensor, mean: Tensor, var: Tensor, momentum: f32) -> Result<()> {
    let sizes = Sizes::of(x, 1.0)?;
    expect("batch_norm_running", "stats", stats, &[3, sizes.c], Element::F32)?;
    expect("batch_norm_running", "mean", mean, &[sizes.c], Element::F32)?;
    expect("batch_norm_running", "var", var, &[sizes.c], Element::F32)?;
    let flag = tape.guard()?;
    let launch = sizes.launch("running", momentum).bind("stats", stats).bind("flag", flag);
    tape.launch(launch.bind("running_mean", mean).bind("running_var", var).groups(sizes.groups(1)))
}
