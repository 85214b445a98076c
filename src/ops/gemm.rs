use super::{expect, matrix};
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Element, Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "gemm.wgsl", text: include_str!("../../shaders/gemm.wgsl") };

/// The sizes of y `[m, n]` = x `[m, k]` · w `[k, n]`; its two gradients are products of the same sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) m: usize,
    pub(super) k: usize,
    pub(super) n: usize,
}

/// Lanes a workgroup; each owns a tile of `rows` by 4 · `cols`.
const LANES: usize = 8;

/// Rows and vec4 columns of a lane's tile. The result's bits do not depend on it.
fn tile(columns: usize) -> (usize, usize) {
    (8, (padded(columns) / 4).next_power_of_two().clamp(1, 4))
}

/// Parts of a sum over m rows: a function of the sizes alone, since it decides the order of the sum. Enough to give some
/// 512 lanes a tile, and to stay under the rounds that one lane may loop (see `MAX_ROUNDS`).
fn split(sizes: Sizes) -> usize {
    let tiles = sizes.k.div_ceil(8) * padded(sizes.n).div_ceil(16);
    let wanted = 512usize.div_ceil(tiles.max(1)).min(sizes.m.div_ceil(16));
    wanted.max(sizes.m.div_ceil(4 * super::MAX_ROUNDS)).clamp(1, sizes.m.max(1))
}

impl Sizes {
    fn launch(self, entry: &'static str, columns: usize, split: usize) -> Launch {
        let (rows, cols) = tile(columns);
        let launch = Launch::new(&SHADER, entry).tune("ROWS", rows as u32).tune("COLS", cols as u32);
        let launch = launch.param("m", self.m).param("k", self.k).param("n", self.n).param("k_rows", padded(self.k));
        launch.param("split", split).work(self.work())
    }

    fn work(self) -> Work {
        Work::new(2 * self.m * self.k * self.n, self.m * self.k + self.k * self.n + self.m * self.n)
    }

    /// Workgroups for tiles over `rows` by `columns`, `parts` times over.
    fn groups(rows: usize, columns: usize, parts: usize) -> usize {
        let (tile_rows, tile_cols) = tile(columns);
        (rows.div_ceil(tile_rows) * padded(columns).div_ceil(4 * tile_cols) * parts).div_ceil(LANES)
    }

    /// Record y = x · w (+ bias), w as `[k][n]`.
    pub(super) fn forward(self, tape: &mut Tape, x: Tensor, w: Tensor, bias: Option<Tensor>, y: Tensor) -> Result<()> {
        super::within_rounds("linear", self.k.div_ceil(4))?;
        let launch = self.launch("nn", self.n, 1).param("has_bias", bias.is_some());
        let launch = launch.bind("x", x).bind("w", w).bind("bias", bias.unwrap_or(w)).bind("y", y);
        tape.launch(launch.groups(Self::groups(self.m, self.n, 1)))
    }

    /// Record dx = dy · wᵀ, if a gradient of x is wanted.
    pub(super) fn grad_input(self, tape: &mut Tape, x: Tensor, w: Tensor, dy: Tensor) -> Result<()> {
        let Some(dx) = tape.gradient(x)? else { return Ok(()) };
        self.transposed(tape, dy, w, dx.tensor, dx.accumulate)
    }

    /// Record y `[m, k]` = x `[m, n]` · wᵀ, w as `[k][n]`.
    fn transposed(self, tape: &mut Tape, x: Tensor, w: Tensor, y: Tensor, accumulate: bool) -> Result<()> {
        super::within_rounds("gemm", self.n.div_ceil(4))?;
        let launch = self.launch("nt", self.k, 1).on("ACCUMULATE", accumulate);
        let launch = launch.bind("x", x).bind("w", w).bind("y", y);
        tape.launch(launch.param("has_bias", 0u32).groups(Self::groups(self.m, self.k, 1)))
    }

    /// Record dw = xᵀ · dy, if a gradient of w is wanted: in a fixed number of parts over the rows, summed in order.
    pub(super) fn grad_weight(self, tape: &mut Tape, x: Tensor, w: Tensor, dy: Tensor) -> Result<()> {
        let Some(dw) = tape.gradient(w)? else { return Ok(()) };
        let parts = split(self);
        let groups = Self::groups(padded(self.k), self.n, parts);
        if parts == 1 {
            let launch = self.launch("tn", self.n, 1).on("ACCUMULATE", dw.accumulate).param("has_bias", 0u32);
            return tape.launch(launch.bind("x", x).bind("w", dy).bind("y", dw.tensor).groups(groups));
        }
        let part = tape.output("parts", &[parts, w.words()], Layout::Rows)?;
        let launch = self.launch("tn", self.n, parts).param("has_bias", 0u32);
        tape.launch(launch.bind("x", x).bind("w", dy).bind("y", part).groups(groups))?;
        let sum = self.launch("tn_sum", self.n, parts).on("ACCUMULATE", dw.accumulate).param("has_bias", 0u32);
        let sum = sum.bind("x", part).bind("y", dw.tensor).work(Work::new(part.words(), part.words()));
        tape.launch(sum.groups((w.words() / 4).div_ceil(LANES)))
    }
}

/// A linear layer: y = x · Wᵀ + b, with W `[out, in]` as PyTorch has it.
///
/// **Shapes**: `x` `[rows, in]`; `weight` `[out, in]` in [`Layout::Weight`]; `bias` `[out]`; the result `[rows, out]`.
///
/// # Errors
/// [`Error::Shape`] for other shapes or an empty `in`; those of [`Tape::launch`].
pub fn linear(tape: &mut Tape, x: Tensor, weight: Tensor, bias: Option<Tensor>) -> Result<Tensor> {
    let [m, k] = matrix("linear", "x", x)?;
    let n = match (weight.shape().dims(), weight.layout()) {
        (&[n, of], Layout::Weight) if of == k && k > 0 => n,
        _ => return Err(Error::shape("linear", "weight", format!("[out, {k}] as a weight, {k} above 0"), weight.shape())),
    };
    if let Some(bias) = bias {
        expect("linear", "bias", bias, &[n], Element::F32)?;
    }
    let sizes = Sizes { m, k, n };
    let y = tape.output("linear", &[m, n], Layout::Rows)?;
    sizes.forward(tape, x, weight, bias, y)?;
    let inputs = [Some(x), Some(weight), bias];
    let inputs: Vec<Tensor> = inputs.into_iter().flatten().collect();
    tape.differentiable(y, &inputs, move |tape, dy| {
        sizes.grad_input(tape, x, weight, dy)?;
        sizes.grad_weight(tape, x, weight, dy)?;
        bias.map_or(Ok(()), |bias| super::column_sums(tape, dy, bias))
    });
    Ok(y)
}

/// The scores of queries against the rows of a bank: y[i, j] = f_i · v_j. Has no gradient.
///
/// **Shapes**: `f` `[rows, dim]`; `bank` `[n, dim]`; the result `[rows, n]`.
///
/// # Errors
/// [`Error::Shape`] for other shapes; those of [`Tape::launch`].
pub fn scores(tape: &mut Tape, f: Tensor, bank: Tensor) -> Result<Tensor> {
    let [m, dim] = matrix("scores", "f", f)?;
    let [n, _] = matrix("scores", "bank", bank)?;
    expect("scores", "bank", bank, &[n, dim], Element::F32)?;
    if dim == 0 {
        return Err(Error::shape("scores", "f", "at least one column", f.shape()));
    }
    let y = tape.output("scores", &[m, n], Layout::Rows)?;
    Sizes { m, k: n, n: dim }.transposed(tape, f, bank, y, false)?;
    Ok(y)
}
