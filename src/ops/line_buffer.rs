use super::algorithm::LANES;
use super::conv2d::{Conv, Sizes};
use super::{Algorithm, Direction, MAX_ROUNDS, Tile};
use crate::gpu::{Gpu, Shader};
use crate::tape::Launch;

pub(super) static SHADER: Shader = Shader { file: "line_buffer.wgsl", text: include_str!("../../shaders/line_buffer.wgsl") };

/// A direction of a convolution with very few channels a group, by strips of pixels whose lanes keep all taps, and the lines
/// that a window sees, while they go down the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineBuffer {
    pub(super) direction: Direction,
    pub(super) sizes: Sizes,
}

/// The algorithms of this file that compute `direction` on `gpu`, the one that does well without measuring first. What matters
/// most is that few instructions stand in the loop over lines (benches/README.md has the numbers).
pub(super) fn candidates(gpu: &Gpu, direction: Direction, sizes: Sizes) -> Vec<Algorithm> {
    let by = LineBuffer { direction, sizes };
    let tiles: &[(u32, u32)] = match (direction, by.columns()) {
        _ if !by.applies(gpu) => &[],
        (Direction::Weight, 1) => &[(4, 1), (2, 1)],
        (Direction::Weight, _) if sizes.conv.stride == 1 => &[(2, 2), (4, 2), (4, 1)],
        (Direction::Weight, _) => &[(4, 2), (2, 2), (4, 1)],
        (_, 1) if sizes.conv.stride == 1 => &[(4, 1), (2, 1), (8, 1)],
        (_, 1) => &[(4, 1), (2, 1)],
        (_, 2) => &[(2, 2), (2, 1), (4, 1)],
        _ => &[(2, 4), (4, 2), (4, 4)],
    };
    let tiles = tiles.iter().map(|&(rows, cols)| Tile::Lanes { rows, cols, across: 1, down: 1 });
    tiles.filter(|tile| direction != Direction::Weight || by.holds_sums(gpu, *tile)).map(Algorithm::LineBuffer).collect()
}

/// Which of them does best on `gpu` without measuring, if one does: with few channels in a group on both sides, and with an input
/// of up to 4.
pub(super) fn for_few_channels(gpu: &Gpu, direction: Direction, sizes: Sizes) -> Option<Algorithm> {
    let (ci4, co4) = sizes.vectors();
    let few = match ci4.max(co4) {
        widest if sizes.conv.groups > 1 => widest <= 4,
        widest => (widest <= 2 && sizes.conv.stride == 1) || (ci4 == 1 && direction != Direction::Input),
    };
    candidates(gpu, direction, sizes).into_iter().next().filter(|_| few)
}

/// Which of them does better on `gpu` than a direct product, without measuring: the gradient of any weight at stride 1.
pub(super) fn for_weights(gpu: &Gpu, direction: Direction, sizes: Sizes) -> Option<Algorithm> {
    let pays = direction == Direction::Weight && sizes.conv.stride == 1;
    candidates(gpu, direction, sizes).into_iter().next().filter(|_| pays)
}

impl LineBuffer {
    /// Whether it computes such a convolution, by no more taps than a processor's nearest cache holds.
    fn applies(self, gpu: &Gpu) -> bool {
        let Sizes { kw, kh, conv, .. } = self.sizes;
        let known = (2..=3).contains(&kw) && (2..=3).contains(&kh) && conv.stride <= 2;
        let known = known && conv.pad < kh.min(kw) && self.sizes.aligned();
        let (ci4, co4) = self.sizes.vectors();
        let few = match self.direction {
            Direction::Forward => ci4 <= 2,
            Direction::Weight => true, // a lane holds those of four or eight channels
            // With a stride the windows of a pixel are fewer.
            Direction::Input => co4 <= 2 * conv.stride && ci4 <= 4,
        };
        gpu.facts().software && known && few
    }

    /// Columns of the result of a group, in vec4.
    fn columns(self) -> usize {
        let (ci4, co4) = self.sizes.vectors();
        if self.direction == Direction::Input { ci4 } else { co4 }
    }

    /// Lines of the result that lanes go down, and the pixels of one that strips cut.
    fn lines(self) -> [usize; 2] {
        let Sizes { h, w, conv: Conv { stride, .. }, .. } = self.sizes;
        if self.direction == Direction::Input { [h.div_ceil(stride), w.div_ceil(stride)] } else { self.sizes.result() }
    }

    /// Lines that a lane may go down, and one for every strip, before drivers end its loops. They unroll the loops within a line;
    /// with run-time checks they leave some, and all are counted here, for a weight's gradient with the round that ends each.
    fn longest(self, gpu: &Gpu, tile: Tile) -> usize {
        let Tile::Lanes { rows, cols, .. } = tile else { return 0 };
        if !gpu.checked() {
            return MAX_ROUNDS;
        }
        let Sizes { kh, kw, conv, .. } = self.sizes;
        let loads = kh * (rows as usize * conv.stride + kw) * (self.fours() + 1);
        let products = kh * kw * self.fours() * (2 + rows as usize * (5 + 4 * cols as usize));
        MAX_ROUNDS / if self.direction == Direction::Weight { 2 * (loads + products) } else { loads + products }
    }

    /// Whether a lane may go down a strip for a weight's gradient, and the parts of its sum fit into a binding: there are many
    /// where it may go down few.
    fn holds_sums(self, gpu: &Gpu, tile: Tile) -> bool {
        let bytes = 4 * (self.parts(gpu, tile) as u64).saturating_mul(self.sizes.weight_words() as u64);
        self.lines()[0] < self.longest(gpu, tile) && bytes <= gpu.limits().max_storage_buffer_binding_size
    }

    /// Vectors of channels whose taps a lane holds: all that a sum goes over, and of a weight's input channels one, or two where
    /// loads bound it, at stride 2: a load of dy serves both, and a pixel's neighbours in memory are used at once.
    fn fours(self) -> usize {
        let (ci4, co4) = self.sizes.vectors();
        match self.direction {
            Direction::Forward => ci4,
            Direction::Input => co4,
            Direction::Weight if self.sizes.conv.stride == 2 && ci4.is_multiple_of(2) => 2,
            Direction::Weight => 1,
        }
    }

    /// Parts of the sum behind a weight's gradient: every lane has one of its own, and some 128 lanes are wanted, with four strips
    /// or more unless those are too long or too few. (The machine's cores do not count here: they would change the bits.)
    pub(super) fn parts(self, gpu: &Gpu, tile: Tile) -> usize {
        let Tile::Lanes { rows, cols, .. } = tile else { return 1 };
        let (ci4, [lines, wide]) = (self.sizes.vectors().0, self.lines());
        let strips = self.sizes.n * wide.div_ceil(rows as usize);
        let tiles = self.sizes.conv.groups * (ci4 / self.fours()) * self.columns().div_ceil(cols as usize);
        let most = (self.longest(gpu, tile) / (lines + 1)).max(1);
        128usize.div_ceil(tiles.max(1)).min(strips / 4).max(strips.div_ceil(most)).clamp(1, strips.max(1))
    }

    /// Its launch, for a weight's gradient in `split` parts.
    pub(super) fn launch(self, gpu: &Gpu, tile: Tile, split: usize) -> Launch {
        let (Sizes { n, kh, kw, ci, conv, .. }, ci4) = (self.sizes, self.sizes.vectors().0);
        let (entry, channels) = match self.direction {
            Direction::Forward => ("forward", ci.min(4)),
            Direction::Input => ("grad_input", 4),
            Direction::Weight => ("grad_weight", ci.min(4)),
        };
        let launch = tile.tune(Launch::new(&SHADER, entry)).tune("KH", kh as u32).tune("KW", kw as u32);
        let launch = launch.tune("STRIDE", conv.stride as u32).tune("PAD", conv.pad as u32);
        let launch = launch.tune("FOURS_IN", self.fours() as u32).tune("CHANNELS", channels as u32);
        let Tile::Lanes { rows, cols, .. } = tile else { return launch };
        let columns = self.columns().div_ceil(cols as usize) * conv.groups;
        if self.direction == Direction::Weight {
            return self.sizes.params(launch, split).groups((split * (ci4 / self.fours()) * columns).div_ceil(LANES));
        }
        let [lines, wide] = self.lines().map(|side| side.max(1));
        let strips = n * wide.div_ceil(rows as usize);
        let at_once = run(strips * columns, lines, self.longest(gpu, tile));
        let paths = (strips * lines.div_ceil(at_once)).div_ceil((at_once / lines).max(1));
        self.sizes.params(launch, at_once).groups((paths * columns).div_ceil(LANES))
    }
}

/// Lines that a lane goes down with the taps that it has loaded, of `tiles` strips of so many lines: some of a strip where whole
/// ones are too few for all cores or too long, and so many times all of it where there are more than enough.
fn run(tiles: usize, lines: usize, longest: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let enough = cores * WORKGROUPS * LANES;
    let strips = (tiles / enough).min(longest / (lines + 1));
    if strips > 0 {
        return strips * lines;
    }
    let runs = enough.div_ceil(tiles.max(1)).min(lines.div_ceil(RUN)).max(lines.div_ceil(longest));
    lines.div_ceil(runs)
}

/// Workgroups that keep a core busy to the end: with fewer the taps are hardly cheaper, and with more they are loaded more often.
const WORKGROUPS: usize = 8;
/// Lines that a run has at least, so that it pays to load the taps for it.
const RUN: usize = 4;
