use super::epilogue::Epilogue;
use super::gemm::{Operands, Sizes as Product};
use super::{Algorithm, Direction, Form, Tile, conv2d};
use crate::error::Result;
use crate::gpu::{Gpu, Shader, Value, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Gradient, Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "winograd.wgsl", text: include_str!("../../shaders/winograd.wgsl") };

/// Lanes a workgroup of a transform.
const LANES: usize = 64;

/// Tiles that a lane of `output` does in turn where a batch norm wants sums over them: one part of these.
const EACH: usize = 4;

/// A 3×3 convolution with stride 1 of one group as F(`outputs`², 3²): transforms of its tensors, and products between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Winograd {
    pub(super) sizes: conv2d::Sizes,
    /// Results in a row of a tile: 2 or 4.
    pub(super) outputs: usize,
}

/// The algorithms of this file that compute `direction` on `gpu`: none where its choices leave them out.
pub(super) fn candidates(gpu: &Gpu, direction: Direction, sizes: conv2d::Sizes) -> Vec<Algorithm> {
    let all = [4, 2].map(|outputs| Winograd { sizes, outputs }).into_iter().filter(|by| by.applies(gpu));
    all.flat_map(|by| by.tiles(gpu, direction).into_iter().map(move |tile| by.algorithm(tile))).collect()
}

/// Which of them does well on `gpu` without measuring, if one does. On software adapters that is so where there are tiles
/// enough to pay for the transform of the weight, and channels for those of the images (benches/README.md has the numbers).
pub(super) fn preferred(gpu: &Gpu, direction: Direction, sizes: conv2d::Sizes) -> Option<Algorithm> {
    const TILES: usize = 64;
    let does_well = |by: &Winograd, least: usize| {
        let (tiles, [oh, ow]) = (by.tiles_over(sizes.result()).count(), sizes.result());
        // Where tiles hang over the edges, half of the multiplications must be saved still.
        let saves = || 2 * by.places() * tiles <= 9 * sizes.n * oh * ow;
        gpu.facts().software && by.applies(gpu) && sizes.ci.min(sizes.co) >= least && tiles >= TILES && saves()
    };
    let all = [(4, 32), (2, 128)].map(|(outputs, least)| (Winograd { sizes, outputs }, least));
    let (by, _) = all.into_iter().find(|(by, least)| does_well(by, *least))?;
    let (form, product) = by.product(direction);
    Some(by.algorithm(Tile::preferred(gpu, product.product(form), false)))
}

/// The tiles over an image that a direction computes, or whose gradient it takes.
#[derive(Clone, Copy, Debug)]
struct Tiles {
    n: usize,
    down: usize,
    across: usize,
    outputs: usize,
}

impl Tiles {
    fn count(self) -> usize {
        self.n.saturating_mul(self.down).saturating_mul(self.across)
    }

    /// A transform of images of `[h, w]` with so many channels, whose first tile begins `shift` pixels late; `each` tiles a lane.
    fn launch(self, entry: &'static str, [h, w]: [usize; 2], channels: usize, shift: i32, each: usize) -> Launch {
        let vectors = padded(channels) / 4;
        let launch = Launch::new(&SHADER, entry).tune("OUTPUTS", self.outputs as u32).param("n", self.n).param("zero", 0u32);
        let launch = launch.param("h", h).param("w", w).param("down", self.down).param("across", self.across);
        let launch = launch.param("vectors", vectors).param("shift", Value::I32(shift)).param("flip", false);
        let side = self.outputs + 2;
        let words = 4 * self.count() * vectors * (side * side + self.outputs * self.outputs);
        launch
            .param("each", each)
            .work(Work::new(4 * words, words))
            .groups((self.count().div_ceil(each) * vectors).div_ceil(LANES))
    }

    /// The transform to the results, which `epilogue` goes over.
    fn output(self, sides: [usize; 2], channels: usize, epilogue: Epilogue) -> Launch {
        let each = if matches!(epilogue, Epilogue::Plain) { 1 } else { EACH };
        epilogue.of(self.launch("output", sides, channels, 0, each))
    }
}

impl Winograd {
    fn algorithm(self, tile: Tile) -> Algorithm {
        Algorithm::Winograd { outputs: self.outputs as u32, tile }
    }

    /// Whether it computes such a convolution, `gpu` has not left it out, and every transform fits into a binding.
    fn applies(self, gpu: &Gpu) -> bool {
        let conv2d::Sizes { h, w, ci, co, kh, kw, conv, .. } = self.sizes;
        let known = kh == 3 && kw == 3 && conv.stride == 1 && conv.groups == 1;
        let tiles = [self.sizes.result(), [h, w]].map(|sides| self.tiles_over(sides).count());
        let rows = tiles[0].max(tiles[1]).max(padded(ci));
        let bytes = rows.saturating_mul(4 * self.places()).saturating_mul(padded(ci).max(padded(co))) as u64;
        known && gpu.choices().allows_winograd() && bytes <= gpu.limits().max_storage_buffer_binding_size
    }

    /// Independent products: places of a tile's transform.
    fn places(self) -> usize {
        (self.outputs + 2) * (self.outputs + 2)
    }

    fn tiles_over(self, [h, w]: [usize; 2]) -> Tiles {
        let Self { sizes, outputs } = self;
        Tiles { n: sizes.n, down: h.div_ceil(outputs), across: w.div_ceil(outputs), outputs }
    }

    /// Parts of the sums over the results of `direction`.
    pub(super) fn parts(self, direction: Direction) -> usize {
        let sides = if direction == Direction::Input { [self.sizes.h, self.sizes.w] } else { self.sizes.result() };
        self.tiles_over(sides).count().div_ceil(EACH)
    }

    /// The products of `direction`.
    fn product(self, direction: Direction) -> (Form, Product) {
        let (batch, ci, co) = (self.places(), padded(self.sizes.ci), padded(self.sizes.co));
        let results = self.tiles_over(self.sizes.result()).count();
        match direction {
            Direction::Forward => (Form::Nn, Product { batch, rows: results, depth: ci, cols: co }),
            Direction::Input => {
                let inputs = self.tiles_over([self.sizes.h, self.sizes.w]).count();
                (Form::Nt, Product { batch, rows: inputs, depth: co, cols: ci })
            }
            Direction::Weight => (Form::Tn, Product { batch, rows: ci, depth: results, cols: co }),
        }
    }

    /// The tiles that the products of `direction` can have. Small ones never win where Winograd's algorithms pay, and the
    /// largest do not in sums so short (measured): those whose lanes hold 32 vec4, and of the tiles for GPUs the three that
    /// should be the fastest.
    fn tiles(self, gpu: &Gpu, direction: Direction) -> Vec<Tile> {
        let (form, product) = self.product(direction);
        let all = Tile::all(gpu, product.product(form), false).into_iter();
        let (lanes, tiled): (Vec<_>, Vec<_>) = all.partition(|tile| matches!(tile, Tile::Lanes { .. }));
        let preferred = Tile::preferred(gpu, product.product(form), false);
        let full = |tile: &Tile| matches!(tile, Tile::Lanes { rows, cols, .. } if rows * cols == 32) || *tile == preferred;
        let full = lanes.into_iter().filter(full);
        let (full, tiled) = (full.collect::<Vec<_>>(), tiled.into_iter().take(3).collect::<Vec<_>>());
        if gpu.facts().software { [full, tiled].concat() } else { [tiled, full].concat() }
    }

    /// A tensor of matrices `[rows, columns padded]`, one for each place.
    fn matrices(self, tape: &mut Tape, name: &str, rows: usize, columns: usize) -> Result<Tensor> {
        tape.output(name, &[self.places(), rows, padded(columns)], Layout::Rows)
    }

    /// A transform of a weight, or to the gradient of one.
    fn of_weight(self, entry: &'static str, flip: bool) -> Launch {
        let vectors = padded(self.sizes.ci) * padded(self.sizes.co) / 4;
        let launch = Launch::new(&SHADER, entry).tune("OUTPUTS", self.outputs as u32).param("n", 0u32).param("zero", 0u32);
        let launch = launch.param("h", 0u32).param("w", 0u32).param("down", 0u32).param("across", 0u32);
        let launch = launch.param("vectors", vectors).param("shift", Value::I32(0)).param("flip", flip).param("each", 1u32);
        let words = 4 * vectors * (9 + self.places());
        launch.work(Work::new(4 * words, words)).groups(vectors.div_ceil(LANES))
    }

    /// The transform of `x`, an image of `sides` with so many channels, by tiles that begin `shift` pixels late.
    fn input(self, tape: &mut Tape, tiles: Tiles, x: Tensor, channels: usize, shift: i32) -> Result<Tensor> {
        let [_, _, h, w] = super::images("conv2d", "x", x)?;
        let spread = self.matrices(tape, "spread.input", tiles.count(), channels)?;
        tape.launch(tiles.launch("input", [h, w], channels, shift, 1).bind("x", x).bind("y", spread))?;
        Ok(spread)
    }

    fn weight(self, tape: &mut Tape, weight: Tensor, flip: bool) -> Result<Tensor> {
        let spread = self.matrices(tape, "spread.weight", padded(self.sizes.ci), self.sizes.co)?;
        tape.launch(self.of_weight("weight", flip).bind("x", weight).bind("y", spread))?;
        Ok(spread)
    }

    /// Record the result.
    pub(super) fn forward(self, tape: &mut Tape, tile: Tile, [x, weight, y]: [Tensor; 3], epilogue: Epilogue) -> Result<()> {
        let conv2d::Sizes { ci, co, conv, .. } = self.sizes;
        let tiles = self.tiles_over(self.sizes.result());
        let v = self.input(tape, tiles, x, ci, -(conv.pad as i32))?;
        let u = self.weight(tape, weight, false)?;
        let m = self.matrices(tape, "spread.y", tiles.count(), co)?;
        let (_, product) = self.product(Direction::Forward);
        product.nn_by(tape, tile, Operands { x: v, w: u, y: m, accumulate: false }, None, Epilogue::Plain)?;
        tape.launch(tiles.output(self.sizes.result(), co, epilogue).bind("x", m).bind("y", y))
    }

    /// Record the gradient of the input: the convolution of `dy` with the weight turned round.
    pub(super) fn grad_input(
        self,
        tape: &mut Tape,
        tile: Tile,
        weight: Tensor,
        dy: Tensor,
        dx: Gradient,
        epilogue: Epilogue,
    ) -> Result<()> {
        let conv2d::Sizes { h, w, ci, co, conv, .. } = self.sizes;
        let tiles = self.tiles_over([h, w]);
        let v = self.input(tape, tiles, dy, co, conv.pad as i32 - 2)?;
        let u = self.weight(tape, weight, true)?;
        let m = self.matrices(tape, "spread.dx", tiles.count(), ci)?;
        let (_, product) = self.product(Direction::Input);
        product.nt_by(tape, tile, Operands { x: v, w: u, y: m, accumulate: false }, Epilogue::Plain)?;
        let launch = tiles.output([h, w], ci, epilogue).on("ACCUMULATE", dx.accumulate);
        tape.launch(launch.bind("x", m).bind("y", dx.tensor))
    }

    /// Record the gradient of the weight.
    pub(super) fn grad_weight(self, tape: &mut Tape, tile: Tile, x: Tensor, dy: Tensor, dw: Gradient) -> Result<()> {
        let conv2d::Sizes { ci, co, conv, .. } = self.sizes;
        let tiles = self.tiles_over(self.sizes.result());
        let v = self.input(tape, tiles, x, ci, -(conv.pad as i32))?;
        let dm = self.matrices(tape, "spread.dy", tiles.count(), co)?;
        tape.launch(tiles.launch("grad_output", self.sizes.result(), co, 0, 1).bind("x", dy).bind("y", dm))?;
        let du = self.matrices(tape, "spread.dw", padded(ci), co)?;
        let (_, product) = self.product(Direction::Weight);
        product.tn_by(tape, tile, Operands { x: v, w: dm, y: du, accumulate: false })?;
        let launch = self.of_weight("grad_weight", false).on("ACCUMULATE", dw.accumulate);
        tape.launch(launch.bind("x", du).bind("y", dw.tensor))
    }
}
