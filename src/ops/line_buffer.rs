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
        (Direction::Weight, _) => &[(2, 2), (4, 2), (4, 1)],
        (_, 1) if sizes.conv.stride == 1 => &[(4, 1), (2, 1), (8, 1)],
        (_, 1) => &[(4, 1), (2, 1)],
        (_, 2) => &[(2, 2), (2, 1), (4, 1)],
        _ => &[(4, 2), (2, 4), (4, 4)],
    };
    tiles.iter().map(|&(rows, cols)| Algorithm::LineBuffer(Tile::Lanes { rows, cols, across: 1, down: 1 })).collect()
}

/// Which of them does well on `gpu` without measuring, if one does: with groups of few channels on both sides, and with an
/// input of up to 4.
pub(super) fn preferred(gpu: &Gpu, direction: Direction, sizes: Sizes) -> Option<Algorithm> {
    let (ci4, co4) = sizes.vectors();
    let grouped = sizes.conv.groups > 1 && ci4 <= 4 && co4 <= 4;
    let few = grouped || (sizes.conv.groups == 1 && ci4 == 1 && direction != Direction::Input);
    candidates(gpu, direction, sizes).into_iter().next().filter(|_| few)
}

impl LineBuffer {
    /// Whether it computes such a convolution, by no more taps than a processor's nearest cache holds. With run-time checks the
    /// driver compiles some of them for more than ten minutes, and may not unroll the inner loops, which are not counted.
    fn applies(self, gpu: &Gpu) -> bool {
        let Sizes { kw, kh, conv, .. } = self.sizes;
        let known = (2..=3).contains(&kw) && (2..=3).contains(&kh) && conv.stride <= 2;
        let known = known && conv.pad < kh.min(kw) && self.sizes.aligned();
        let lines = self.sizes.h.max(self.sizes.result()[0]);
        let (ci4, co4) = self.sizes.vectors();
        let few = match self.direction {
            Direction::Forward => ci4 <= 2,
            Direction::Weight => true, // a lane holds those of four channels
            // With a stride the windows of a pixel are fewer.
            Direction::Input => co4 <= 2 * conv.stride && ci4 <= 4,
        };
        gpu.facts().software && !gpu.checked() && known && few && lines <= MAX_ROUNDS
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

    /// Parts of the sum behind a weight's gradient: lanes have parts of their own, and some 256 have one, of four strips or more
    /// unless those are too long or too few.
    pub(super) fn parts(self, tile: Tile) -> usize {
        let Tile::Lanes { rows, cols, .. } = tile else { return 1 };
        let (ci4, [lines, wide]) = (self.sizes.vectors().0, self.lines());
        let strips = self.sizes.n * wide.div_ceil(rows as usize);
        let tiles = self.sizes.conv.groups * ci4 * self.columns().div_ceil(cols as usize);
        let longest = (MAX_ROUNDS / (lines + 1)).max(1);
        256usize.div_ceil(tiles.max(1)).min(strips / 4).max(strips.div_ceil(longest)).clamp(1, strips.max(1))
    }

    /// Its launch, for a weight's gradient in `split` parts. Else images are cut into runs of lines where whole ones make too
    /// few workgroups.
    pub(super) fn launch(self, tile: Tile, split: usize) -> Launch {
        let (Sizes { n, kh, kw, ci, conv, .. }, (ci4, co4)) = (self.sizes, self.sizes.vectors());
        let (entry, fours, channels) = match self.direction {
            Direction::Forward => ("forward", ci4, ci.min(4)),
            Direction::Input => ("grad_input", co4, 4),
            Direction::Weight => ("grad_weight", 1, ci.min(4)),
        };
        let launch = tile.tune(Launch::new(&SHADER, entry)).tune("KH", kh as u32).tune("KW", kw as u32);
        let launch = launch.tune("STRIDE", conv.stride as u32).tune("PAD", conv.pad as u32);
        let launch = launch.tune("FOURS_IN", fours as u32).tune("CHANNELS", channels as u32);
        let Tile::Lanes { rows, cols, .. } = tile else { return launch };
        let columns = self.columns().div_ceil(cols as usize) * conv.groups;
        if self.direction == Direction::Weight {
            return self.sizes.params(launch, split).groups((split * ci4 * columns).div_ceil(LANES));
        }
        let [high, wide] = self.lines();
        let strips = wide.div_ceil(rows as usize);
        let tiles = n * strips * columns;
        let split = (WORKGROUPS * LANES).div_ceil(tiles.max(1)).clamp(1, high.div_ceil(RUN).max(1));
        self.sizes.params(launch, split).groups((split * tiles).div_ceil(LANES))
    }
}

/// Workgroups that keep all cores of a processor busy to the end.
const WORKGROUPS: usize = 64;
/// Lines that a run has at least, so that it pays to load the taps for it.
const RUN: usize = 4;
