use super::gemm::{Operands, Sizes as Product};
use super::{Algorithm, Tile, conv2d};
use crate::error::Result;
use crate::gpu::{Gpu, Shader, Value, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Gradient, Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "winograd.wgsl", text: include_str!("../../shaders/winograd.wgsl") };

/// Lanes a workgroup of a transform.
const LANES: usize = 64;

/// The algorithms of this file that compute a convolution of `sizes` on `gpu`: those that its choices allow, for 3×3 with
/// stride 1 and one group, where every transform fits into a binding; with one of `tiles` for its products.
pub(super) fn candidates(gpu: &Gpu, sizes: conv2d::Sizes, tiles: &[Tile]) -> Vec<Algorithm> {
    let all = [2, 4].into_iter().flat_map(|outputs| tiles.iter().map(move |&tile| (outputs, tile)));
    let all = all.filter(|&(outputs, tile)| Winograd { sizes, outputs: outputs as usize, tile }.applies(gpu));
    all.map(|(outputs, tile)| Algorithm::Winograd { outputs, tile }).collect()
}

/// Which of them does well on `gpu` without measuring, if one does: where there are enough tiles to pay for the transform of
/// the weight, and channels to pay for those of the images, on software adapters (benches/README.md has the numbers).
pub(super) fn preferred(gpu: &Gpu, sizes: conv2d::Sizes, tile: Tile) -> Option<Algorithm> {
    const TILES: usize = 64;
    let channels = sizes.ci.min(sizes.co);
    let does_well = |&(outputs, least): &(usize, usize)| {
        let by = Winograd { sizes, outputs, tile };
        let tiles = Tiles::over(sizes.result(), sizes.n, outputs).count();
        let [oh, ow] = sizes.result();
        // At tiles that hang over the edges, half of the products must be saved still.
        let saves = 2 * by.places() * tiles <= 9 * sizes.n * oh * ow;
        gpu.facts().software && by.applies(gpu) && channels >= least && tiles >= TILES && saves
    };
    let found = [(4, 16), (2, 128)].into_iter().find(does_well);
    found.map(|(outputs, _)| Algorithm::Winograd { outputs: outputs as u32, tile })
}

/// A 3×3 convolution with stride 1 of one group as F(`outputs`², 3²): transforms of its tensors, and products between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Winograd {
    pub(super) sizes: conv2d::Sizes,
    /// Results in a row of a tile: 2 or 4.
    pub(super) outputs: usize,
    /// The tile of the products.
    pub(super) tile: Tile,
}

/// The tiles over the image that a direction computes, or whose gradient it takes.
#[derive(Clone, Copy, Debug)]
struct Tiles {
    n: usize,
    down: usize,
    across: usize,
    outputs: usize,
}

impl Tiles {
    fn over([h, w]: [usize; 2], n: usize, outputs: usize) -> Self {
        Self { n, down: h.div_ceil(outputs), across: w.div_ceil(outputs), outputs }
    }

    fn count(self) -> usize {
        self.n * self.down * self.across
    }

    /// A transform of images of `side` with so many channels, whose tiles begin `shift` pixels late.
    fn launch(self, entry: &'static str, [h, w]: [usize; 2], channels: usize, shift: i32) -> Launch {
        let vectors = padded(channels) / 4;
        let launch = Launch::new(&SHADER, entry).tune("OUTPUTS", self.outputs as u32).param("n", self.n);
        let launch = launch.param("h", h).param("w", w).param("down", self.down).param("across", self.across);
        let launch = launch.param("vectors", vectors).param("shift", Value::I32(shift)).param("flip", false).param("zero", 0u32);
        let side = self.outputs + 2;
        let words = 4 * self.count() * vectors * (side * side + self.outputs * self.outputs);
        launch.work(Work::new(4 * words, words)).groups((self.count() * vectors).div_ceil(LANES))
    }
}

impl Winograd {
    fn places(self) -> usize {
        (self.outputs + 2) * (self.outputs + 2)
    }

    fn applies(self, gpu: &Gpu) -> bool {
        let conv2d::Sizes { n, h, w, ci, co, kh, kw, conv } = self.sizes;
        let tiles = [self.sizes.result(), [h, w]].map(|sides| Tiles::over(sides, n, self.outputs).count());
        let rows = tiles[0].max(tiles[1]).max(padded(ci));
        let bytes = (4 * self.places() * rows).saturating_mul(padded(ci).max(padded(co))) as u64;
        let known = kh == 3 && kw == 3 && conv.stride == 1 && conv.groups == 1;
        known && gpu.choices().allows_winograd() && bytes <= gpu.limits().max_storage_buffer_binding_size
    }

    /// A tensor of matrices `[rows, columns padded]`, one for each place.
    fn matrices(self, tape: &mut Tape, name: &str, rows: usize, columns: usize) -> Result<Tensor> {
        tape.output(name, &[self.places(), rows, padded(columns)], Layout::Rows)
    }

    /// A transform of a weight, or to the gradient of one.
    fn weight(self, entry: &'static str, flip: bool) -> Launch {
        let vectors = padded(self.sizes.ci) * padded(self.sizes.co) / 4;
        let launch = Launch::new(&SHADER, entry).tune("OUTPUTS", self.outputs as u32).param("n", 0u32);
        let launch = launch.param("h", 0u32).param("w", 0u32).param("down", 0u32).param("across", 0u32);
        let launch = launch.param("vectors", vectors).param("shift", Value::I32(0)).param("flip", flip).param("zero", 0u32);
        let words = 4 * vectors * (9 + self.places());
        launch.work(Work::new(4 * words, words)).groups(vectors.div_ceil(LANES))
    }

    fn spread_weight(self, tape: &mut Tape, weight: Tensor, flip: bool) -> Result<Tensor> {
        let spread = self.matrices(tape, "spread.weight", padded(self.sizes.ci), self.sizes.co)?;
        tape.launch(self.weight("weight", flip).bind("x", weight).bind("y", spread))?;
        Ok(spread)
    }

    /// Record the result.
    pub(super) fn forward(self, tape: &mut Tape, x: Tensor, weight: Tensor, y: Tensor) -> Result<()> {
        let conv2d::Sizes { n, h, w, ci, co, conv, .. } = self.sizes;
        let tiles = Tiles::over(self.sizes.result(), n, self.outputs);
        let v = self.matrices(tape, "spread.x", tiles.count(), ci)?;
        tape.launch(tiles.launch("input", [h, w], ci, -(conv.pad as i32)).bind("x", x).bind("y", v))?;
        let u = self.spread_weight(tape, weight, false)?;
        let m = self.matrices(tape, "spread.y", tiles.count(), co)?;
        let product = Product { batch: self.places(), rows: tiles.count(), depth: padded(ci), cols: padded(co) };
        product.nn_by(tape, self.tile, Operands { x: v, w: u, y: m, accumulate: false }, None)?;
        tape.launch(tiles.launch("output", self.sizes.result(), co, 0).bind("x", m).bind("y", y))
    }

    /// Record the gradient of the input: the convolution of `dy` with the turned weight.
    pub(super) fn grad_input(self, tape: &mut Tape, weight: Tensor, dy: Tensor, dx: Gradient) -> Result<()> {
        let conv2d::Sizes { n, h, w, ci, co, conv, .. } = self.sizes;
        let tiles = Tiles::over([h, w], n, self.outputs);
        let v = self.matrices(tape, "spread.dy", tiles.count(), co)?;
        let launch = tiles.launch("input", self.sizes.result(), co, conv.pad as i32 - 2);
        tape.launch(launch.bind("x", dy).bind("y", v))?;
        let u = self.spread_weight(tape, weight, true)?;
        let m = self.matrices(tape, "spread.dx", tiles.count(), ci)?;
        let product = Product { batch: self.places(), rows: tiles.count(), depth: padded(co), cols: padded(ci) };
        product.nt_by(tape, self.tile, Operands { x: v, w: u, y: m, accumulate: false })?;
        let launch = tiles.launch("output", [h, w], ci, 0).on("ACCUMULATE", dx.accumulate);
        tape.launch(launch.bind("x", m).bind("y", dx.tensor))
    }

    /// Record the gradient of the weight.
    pub(super) fn grad_weight(self, tape: &mut Tape, x: Tensor, dy: Tensor, dw: Gradient) -> Result<()> {
        let conv2d::Sizes { n, h, w, ci, co, conv, .. } = self.sizes;
        let tiles = Tiles::over(self.sizes.result(), n, self.outputs);
        let v = self.matrices(tape, "spread.x", tiles.count(), ci)?;
        tape.launch(tiles.launch("input", [h, w], ci, -(conv.pad as i32)).bind("x", x).bind("y", v))?;
        let dm = self.matrices(tape, "spread.dy", tiles.count(), co)?;
        tape.launch(tiles.launch("grad_output", self.sizes.result(), co, 0).bind("x", dy).bind("y", dm))?;
        let du = self.matrices(tape, "spread.dw", padded(ci), co)?;
        let product = Product { batch: self.places(), rows: padded(ci), depth: tiles.count(), cols: padded(co) };
        product.tn_by(tape, self.tile, Operands { x: v, w: dm, y: du, accumulate: false })?;
        let launch = self.weight("grad_weight", false).on("ACCUMULATE", dw.accumulate);
        tape.launch(launch.bind("x", du).bind("y", dw.tensor))
    }
}
