use super::epilogue::Epilogue;
use super::tiled::{self, Product};
use super::{Algorithm, Direction, Form, Problem, Tile, expect, matrix};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Element, Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "gemm.wgsl", text: include_str!("../../shaders/gemm.wgsl") };
pub(super) static TILED: Shader = Shader { file: "gemm_tiled.wgsl", text: include_str!("../../shaders/gemm_tiled.wgsl") };

/// A product of `rows` by `depth` and `depth` by `cols`, `batch` times side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sizes {
    /// Independent products.
    pub batch: usize,
    /// Rows of the result.
    pub rows: usize,
    /// Terms of a sum.
    pub depth: usize,
    /// Columns of the result.
    pub cols: usize,
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.batch != 1 {
            write!(f, "{} of ", self.batch)?;
        }
        write!(f, "{}x{}x{}", self.rows, self.depth, self.cols)
    }
}

/// What a product reads and writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operands {
    /// The left matrix, transposed in the form tn.
    pub(super) x: Tensor,
    /// The right one, transposed in the form nt.
    pub(super) w: Tensor,
    /// The result.
    pub(super) y: Tensor,
    /// Add to the result instead of overwriting it.
    pub(super) accumulate: bool,
}

impl Sizes {
    pub(super) fn work(self) -> Work {
        let Self { batch, rows, depth, cols } = self;
        Work::new(2 * batch * rows * depth * cols, batch * (rows * depth + depth * cols + rows * cols))
    }

    /// Parts of a sum over `depth` in the form tn: a function of the sizes and the tile's family and size alone, since it
    /// decides the order of the sum. Enough to give some 512 lanes a tile, or to fill a GPU, and to stay under the rounds
    /// that one lane may loop (see `MAX_ROUNDS`).
    fn split(self, gpu: &Gpu, tile: Tile) -> usize {
        let (wanted, rounds) = match tile {
            Tile::Lanes { .. } => {
                let tiles = self.batch * self.rows.div_ceil(8) * padded(self.cols).div_ceil(16);
                (512usize.div_ceil(tiles.max(1)).min(self.depth.div_ceil(16)), self.depth.div_ceil(4) * tile.loops(gpu))
            }
            Tile::Tiled(tile) => {
                let tiles = self.batch * tile.groups(padded(self.rows), self.cols);
                (tiled::parts(tiles, self.depth), 2 * self.depth)
            }
        };
        wanted.max(rounds.div_ceil(super::MAX_ROUNDS)).clamp(1, self.depth.max(1))
    }

    /// What the launch of `form` computes.
    pub(super) fn product(self, form: Form) -> Product {
        let Self { batch, rows, depth, cols } = self;
        let parts = if form == Form::Tn { tiled::parts(1, depth) } else { 1 };
        Product { rows: padded(rows), cols: padded(cols), depth: padded(depth).div_ceil(parts), times: batch * parts }
    }

    /// Refuse a sum that would make a lane loop more often than drivers let it.
    fn within_rounds(self, gpu: &Gpu, tile: Tile) -> Result<()> {
        let rounds = match tile {
            Tile::Lanes { .. } => self.depth.div_ceil(4) * tile.loops(gpu),
            Tile::Tiled(tile) => tile.rounds(self.depth),
        };
        super::within_rounds("gemm", rounds)
    }

    fn launch(self, tile: Tile, entry: &'static str, depth: usize) -> Launch {
        let launch = tile.tune(Launch::new(tile.shader(&SHADER, &TILED), entry));
        launch.on("ALIGNED", tile.divides(self.rows, self.cols, depth)).work(self.work())
    }

    /// The tile that this product is to be computed with.
    fn tile(self, tape: &mut Tape, form: Form) -> Tile {
        let algorithm = Problem::Gemm(form, self).algorithm(tape);
        self.tile_of(algorithm)
    }

    /// The tile of an algorithm that was chosen for this product.
    fn tile_of(self, algorithm: Algorithm) -> Tile {
        match algorithm {
            Algorithm::Direct(tile)
            | Algorithm::Window(tile)
            | Algorithm::LineBuffer(tile)
            | Algorithm::Winograd { tile, .. } => tile,
            Algorithm::Scalar | Algorithm::Depthwise { .. } => Tile::everywhere(padded(self.cols) / 4),
        }
    }

    /// Record y = x · w (+ bias), w as `[depth][cols]`, with the chosen tile.
    pub(super) fn nn(self, tape: &mut Tape, operands: Operands, bias: Option<Tensor>) -> Result<()> {
        let tile = self.tile(tape, Form::Nn);
        self.nn_by(tape, tile, operands, bias, Epilogue::Plain)
    }

    /// The same with `tile`, and what `epilogue` does with the result: nothing where there is a bias or more than one product.
    pub(super) fn nn_by(
        self,
        tape: &mut Tape,
        tile: Tile,
        operands: Operands,
        bias: Option<Tensor>,
        epilogue: Epilogue,
    ) -> Result<()> {
        self.within_rounds(tape.gpu(), tile)?;
        let Operands { x, w, y, accumulate } = operands;
        let launch = self.launch(tile, "nn", self.depth).on("ACCUMULATE", accumulate);
        let launch = launch.param("batch", self.batch).param("m", self.rows).param("k", self.depth).param("n", self.cols);
        let launch = launch.param("k_rows", padded(self.depth)).param("split", 1u32).param("has_bias", bias.is_some());
        let launch = launch.bind("x", x).bind("w", w).bind("bias", bias.unwrap_or(w)).bind("y", y);
        tape.launch(epilogue.of(launch.groups(tile.groups(self.rows, padded(self.cols) / 4, self.batch))))
    }

    /// Record y = x · wᵀ, w as `[cols][depth]`, with the chosen tile.
    pub(super) fn nt(self, tape: &mut Tape, operands: Operands) -> Result<()> {
        let tile = self.tile(tape, Form::Nt);
        self.nt_by(tape, tile, operands, Epilogue::Plain)
    }

    /// The same with `tile`, and what `epilogue` does with the result: nothing where there is more than one product.
    pub(super) fn nt_by(self, tape: &mut Tape, tile: Tile, operands: Operands, epilogue: Epilogue) -> Result<()> {
        self.within_rounds(tape.gpu(), tile)?;
        let Operands { x, w, y, accumulate } = operands;
        let launch = self.launch(tile, "nt", self.depth).on("ACCUMULATE", accumulate);
        let launch = launch.param("batch", self.batch).param("m", self.rows).param("k", self.cols).param("n", self.depth);
        let launch = launch.param("k_rows", padded(self.cols)).param("split", 1u32).param("has_bias", 0u32);
        let launch = launch.bind("x", x).bind("w", w).bind("y", y);
        tape.launch(epilogue.of(launch.groups(tile.groups(self.rows, padded(self.cols) / 4, self.batch))))
    }

    /// Record y = xᵀ · w with the chosen tile, in a fixed number of parts over `depth`, summed in order. The result has
    /// padded rows.
    pub(super) fn tn(self, tape: &mut Tape, operands: Operands) -> Result<()> {
        let tile = self.tile(tape, Form::Tn);
        self.tn_by(tape, tile, operands)
    }

    /// The same with `tile`.
    pub(super) fn tn_by(self, tape: &mut Tape, tile: Tile, operands: Operands) -> Result<()> {
        let Operands { x, w, y, accumulate } = operands;
        let parts = self.split(tape.gpu(), tile);
        let params = |launch: Launch| {
            let launch = launch.param("batch", self.batch).param("m", self.depth).param("k", self.rows).param("n", self.cols);
            launch.param("k_rows", padded(self.rows)).param("split", parts).param("has_bias", 0u32)
        };
        // Parts of one length, or none is known to be whole.
        let depth = if self.depth.is_multiple_of(parts) { self.depth / parts } else { 1 };
        let launch = params(self.launch(tile, "tn", depth)).bind("x", x).bind("w", w);
        let launch = launch.groups(tile.groups(padded(self.rows), padded(self.cols) / 4, parts * self.batch));
        if parts == 1 {
            return tape.launch(launch.on("ACCUMULATE", accumulate).bind("y", y));
        }
        let part = tape.output("parts", &[parts, y.words()], Layout::Rows)?;
        tape.launch(launch.bind("y", part))?;
        let sum = params(Launch::new(tile.shader(&SHADER, &TILED), "tn_sum")).on("ACCUMULATE", accumulate);
        let sum = sum.bind("x", part).bind("y", y).work(Work::new(part.words(), part.words()));
        tape.launch(sum.groups((y.words() / 4).div_ceil(tile.sum_lanes())))
    }
}

/// The linear map y = x · w (+ bias) of `x` `[m, k]` by a weight stored as `[k][n]`, and its gradients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear {
    pub(super) m: usize,
    pub(super) k: usize,
    pub(super) n: usize,
}

impl Linear {
    /// The product that is its `direction`.
    pub(super) fn product(self, direction: Direction) -> (Form, Sizes) {
        let Self { m, k, n } = self;
        let (form, rows, depth, cols) = match direction {
            Direction::Forward => (Form::Nn, m, k, n),
            Direction::Input => (Form::Nt, m, n, k),
            Direction::Weight => (Form::Tn, k, m, n),
        };
        (form, Sizes { batch: 1, rows, depth, cols })
    }

    /// Record y = x · w by an algorithm that was chosen for it.
    pub(super) fn forward_by(
        self,
        tape: &mut Tape,
        algorithm: Algorithm,
        [x, w, y]: [Tensor; 3],
        epilogue: Epilogue,
    ) -> Result<()> {
        let (_, sizes) = self.product(Direction::Forward);
        sizes.nn_by(tape, sizes.tile_of(algorithm), Operands { x, w, y, accumulate: false }, None, epilogue)
    }

    pub(super) fn forward(self, tape: &mut Tape, x: Tensor, w: Tensor, bias: Option<Tensor>, y: Tensor) -> Result<()> {
        let (_, sizes) = self.product(Direction::Forward);
        sizes.nn(tape, Operands { x, w, y, accumulate: false }, bias)
    }

    /// Record dx = dy · wᵀ, if a gradient of x is wanted.
    pub(super) fn grad_input(self, tape: &mut Tape, x: Tensor, w: Tensor, dy: Tensor) -> Result<()> {
        let Some(dx) = tape.gradient(x)? else { return Ok(()) };
        let (form, sizes) = self.product(Direction::Input);
        let tile = sizes.tile(tape, form);
        let epilogue = Epilogue::of_gradient(tape, x, tile.parts(self.m))?;
        sizes.nt_by(tape, tile, Operands { x: dy, w, y: dx.tensor, accumulate: dx.accumulate }, epilogue)
    }

    /// Record dw = xᵀ · dy, if a gradient of w is wanted.
    pub(super) fn grad_weight(self, tape: &mut Tape, x: Tensor, w: Tensor, dy: Tensor) -> Result<()> {
        let Some(dw) = tape.gradient(w)? else { return Ok(()) };
        let (_, sizes) = self.product(Direction::Weight);
        sizes.tn(tape, Operands { x, w: dy, y: dw.tensor, accumulate: dw.accumulate })
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
    let map = Linear { m, k, n };
    let y = tape.output("linear", &[m, n], Layout::Rows)?;
    map.forward(tape, x, weight, bias, y)?;
    let inputs = [Some(x), Some(weight), bias];
    let inputs: Vec<Tensor> = inputs.into_iter().flatten().collect();
    tape.differentiable(y, &inputs, move |tape, dy| {
        map.grad_input(tape, x, weight, dy)?;
        map.grad_weight(tape, x, weight, dy)?;
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
    Sizes { batch: 1, rows: m, depth: dim, cols: n }.nt(tape, Operands { x: f, w: bank, y, accumulate: false })?;
    Ok(y)
}
