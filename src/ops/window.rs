use super::algorithm::LANES;
use super::conv2d::Sizes;
use super::epilogue::PART;
use super::tiled::Product;
use super::{Algorithm, Direction, Tile};
use crate::gpu::{Gpu, Shader};
use crate::tape::Launch;

pub(super) static SHADER: Shader = Shader { file: "window.wgsl", text: include_str!("../../shaders/window.wgsl") };

/// The result of a convolution with few channels a group, or the gradient of its input, by strips of pixels along a line: a
/// pixel is loaded once for all the taps that meet it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) direction: Direction,
    pub(super) sizes: Sizes,
}

/// The algorithms of this file that compute `direction` on `gpu`.
pub(super) fn candidates(gpu: &Gpu, direction: Direction, sizes: Sizes) -> Vec<Algorithm> {
    let by = Window { direction, sizes };
    let (columns, together) = (by.columns(), gpu.together());
    let tiles: &[(u32, u32, u32)] = match direction {
        Direction::Weight => &[], // line buffers do better, so that no other function here meets it
        _ if !by.applies(gpu) => &[],
        _ if together == 1 => &[(16, 2, 1), (8, 1, 1)],
        _ => &[(16, 2, 8), (8, 2, 8), (4, 4, 8), (4, 2, 8), (8, 1, 8), (16, 1, 8), (16, 2, 1), (8, 1, 1)],
    };
    let narrow = tiles.iter().filter(|(rows, cols, _)| *cols as usize <= columns.next_power_of_two() && by.unrolls(*rows));
    narrow.map(|&(rows, cols, down)| by.algorithm(rows, cols, down.min(together))).collect()
}

/// Which of them does well on `gpu` without measuring, if one does: where groups have up to 16 channels, one group only at
/// stride 1, and where there are up to 4 channels on one side (benches/README.md has the numbers).
pub(super) fn preferred(gpu: &Gpu, direction: Direction, sizes: Sizes) -> Option<Algorithm> {
    let by = Window { direction, sizes };
    let ((ci4, co4), together) = (sizes.vectors(), gpu.together());
    let pays = sizes.conv.groups > 1 || sizes.conv.stride == 1;
    let does_well = match direction {
        Direction::Forward => ci4 == 1 || (pays && co4 <= 4),
        Direction::Input => pays && ci4 <= 4,
        Direction::Weight => false,
    };
    if !by.applies(gpu) || !does_well || gpu.facts().unrolls_little() {
        return None;
    }
    let long = by.strip_line() >= 12 && by.unrolls(16);
    let (rows, cols) = match by.columns() {
        columns if together == 1 => {
            if long && columns > 1 {
                (16, 2)
            } else {
                (8, 1)
            }
        }
        columns @ 1..=2 => (if long { 16 } else { 8 }, columns as u32),
        _ => (4, 4),
    };
    Some(by.algorithm(rows, cols, together))
}

impl Window {
    fn algorithm(self, rows: u32, cols: u32, down: u32) -> Algorithm {
        Algorithm::Window(Tile::Lanes { rows, cols, across: 1, down })
    }

    /// Whether it computes such a convolution: of few channels a group, or to few. Longer lines of taps take half a minute to
    /// compile.
    fn applies(self, gpu: &Gpu) -> bool {
        let Sizes { kw, kh, conv, .. } = self.sizes;
        let (ci4, co4) = self.sizes.vectors();
        let summed = if self.direction == Direction::Input { co4 } else { ci4 };
        let known = (2..=3).contains(&kw) && kh <= 3 && conv.stride <= 2 && self.sizes.aligned();
        gpu.facts().software && known && (summed <= 4 || self.columns() == 1)
    }

    /// Whether the pixels under a strip are few enough for the driver to unroll the loop over them: otherwise a fortieth of
    /// the speed is left.
    fn unrolls(self, rows: u32) -> bool {
        let (kw, stride) = self.taps();
        (rows as usize - 1) * stride + kw <= 32
    }

    /// Pixels of a line that strips divide.
    fn strip_line(self) -> usize {
        match self.direction {
            Direction::Input => self.sizes.w.div_ceil(self.sizes.conv.stride),
            Direction::Forward | Direction::Weight => self.sizes.result()[1],
        }
    }

    /// Columns of the result of a group, in vec4.
    fn columns(self) -> usize {
        let (ci4, co4) = self.sizes.vectors();
        if self.direction == Direction::Input { ci4 } else { co4 }
    }

    /// Taps that a pixel of a line meets at most, and the stride between their windows.
    fn taps(self) -> (usize, usize) {
        match self.direction {
            Direction::Input => (self.sizes.kw.div_ceil(self.sizes.conv.stride), 1),
            Direction::Forward | Direction::Weight => (self.sizes.kw, self.sizes.conv.stride),
        }
    }

    /// In how many parts it leaves sums over its results, the same as for a direct product; none where a strip is no whole parts.
    pub(super) fn sums(self, tile: Tile) -> Option<usize> {
        let Product { rows, times, .. } = self.sizes.product(self.direction);
        let parts = tile.parts(rows).filter(|_| self.strip_line().is_multiple_of(PART));
        parts.map(|parts| times / self.sizes.conv.groups * parts)
    }

    /// Tiles of the result.
    fn tiles(self, tile: Tile) -> usize {
        let Tile::Lanes { rows, cols, down, .. } = tile else { return 0 };
        let (rows, cols, down) = (rows as usize, cols as usize, down as usize);
        let Sizes { n, h, w, conv, .. } = self.sizes;
        let ([oh, ow], (ci4, co4)) = (self.sizes.result(), self.sizes.vectors());
        conv.groups
            * match self.direction {
                Direction::Forward => (n * oh * ow.div_ceil(rows)).div_ceil(down) * co4.div_ceil(cols),
                Direction::Input => {
                    let (high, wide) = (h.div_ceil(conv.stride), w.div_ceil(conv.stride));
                    conv.stride * conv.stride * (n * high * wide.div_ceil(rows)).div_ceil(down) * ci4.div_ceil(cols)
                }
                Direction::Weight => 0,
            }
    }

    /// Its launch.
    pub(super) fn launch(self, tile: Tile) -> Launch {
        let entry = if self.direction == Direction::Input { "grad_input" } else { "forward" };
        let (kw, stride) = self.taps();
        let channels = if self.direction == Direction::Input { 4 } else { self.sizes.ci.min(4) };
        let launch = tile.tune(Launch::new(&SHADER, entry)).tune("KW", kw as u32).tune("STRIDE", stride as u32);
        let launch = launch.tune("CHANNELS", channels as u32);
        let Tile::Lanes { down, .. } = tile else { return launch };
        let tiles = self.tiles(tile);
        self.sizes.params(launch, 1).groups(if down == 1 { tiles.div_ceil(LANES) } else { tiles })
    }
}
