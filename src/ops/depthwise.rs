use super::algorithm::{GPU_LANES, LANES};
use super::conv2d::{Conv, Sizes};
use super::{Algorithm, Direction, MAX_ROUNDS};
use crate::gpu::{Gpu, Shader};
use crate::tape::Launch;

pub(super) static SHADER: Shader = Shader { file: "depthwise.wgsl", text: include_str!("../../shaders/depthwise.wgsl") };

/// A direction of a convolution of every channel by itself, by tiles of `high` lines by `wide` pixels that a lane holds (for an
/// input's gradient of stride times as many).
#[derive(Clone, Copy, Debug)]
pub(super) struct Depthwise {
    pub(super) direction: Direction,
    pub(super) sizes: Sizes,
    pub(super) high: u32,
    pub(super) wide: u32,
}

/// The algorithms of this file that compute `direction`, the one that does well without measuring first: by large tiles where
/// lines fill them, and on GPUs of eight vec4 (reasoned, not measured). Not all depends on both sizes of a tile.
pub(super) fn candidates(gpu: &Gpu, direction: Direction, sizes: Sizes) -> Vec<Algorithm> {
    let [_, ow] = sizes.result();
    let tiles: &[(u32, u32)] = match direction {
        Direction::Weight => &[(4, 4), (4, 8)],
        Direction::Input if sizes.conv.stride > 1 => &[(2, 4), (2, 2), (1, 4)],
        _ if !gpu.facts().software => &[(2, 4), (4, 4), (2, 8), (4, 8)],
        _ if ow <= 4 => &[(4, 4), (2, 4)],
        _ => &[(4, 8), (2, 8), (4, 4), (2, 4)],
    };
    let all = tiles.iter().map(|&(high, wide)| Depthwise { direction, sizes, high, wide }).filter(|by| by.applies());
    all.map(|Depthwise { high, wide, .. }| Algorithm::Depthwise { high, wide }).collect()
}

impl Depthwise {
    /// Whether it computes such a convolution, in loops that drivers unroll.
    fn applies(self) -> bool {
        let Sizes { ci, co, kh, kw, conv: Conv { stride, groups, .. }, .. } = self.sizes;
        let span = |k: usize, tile: u32| (tile as usize - 1) * stride + k <= 32;
        let unrolls = stride <= 2 && span(kh, self.high) && span(kw, self.wide);
        groups > 1 && ci == 1 && co == groups && kh <= 5 && kw <= 5 && unrolls
    }

    /// Whether the input's gradient is the convolution of dy with the weight turned round.
    fn turned(self) -> bool {
        let Sizes { kh, kw, conv: Conv { stride, pad, .. }, .. } = self.sizes;
        self.direction == Direction::Input && stride == 1 && kh == kw && pad < kh
    }

    /// Parts of the sum behind a weight's gradient, for some 256 lanes.
    pub(super) fn parts(self) -> usize {
        let [oh, ow] = self.sizes.result();
        let lines = self.sizes.n * oh;
        let rounds = lines * (ow.div_ceil(self.wide as usize) + 1);
        256usize.div_ceil(self.sizes.co.div_ceil(4)).max(rounds.div_ceil(MAX_ROUNDS)).clamp(1, lines.max(1))
    }

    /// Its launch, for a weight's gradient in `split` parts. Where it is [`turned`](Self::turned), `x` is what it reads.
    pub(super) fn launch(self, gpu: &Gpu, split: usize) -> Launch {
        let Sizes { n, h, w, co, kh, kw, conv, .. } = self.sizes;
        let ([oh, ow], (high, wide)) = (self.sizes.result(), (self.high as usize, self.wide as usize));
        let tiles = |h: usize, w: usize| n * h.div_ceil(high) * w.div_ceil(wide);
        let (entry, sizes, of_channels) = match self.direction {
            Direction::Forward => ("forward", self.sizes, tiles(oh, ow)),
            Direction::Input if self.turned() => {
                let conv = Conv { pad: kh - 1 - conv.pad, ..conv };
                ("forward", Sizes { h: oh, w: ow, conv, ..self.sizes }, tiles(h, w))
            }
            Direction::Input => ("grad_input", self.sizes, tiles(h.div_ceil(conv.stride), w.div_ceil(conv.stride))),
            Direction::Weight => ("grad_weight", self.sizes, split),
        };
        let lanes = if gpu.facts().software { LANES } else { GPU_LANES };
        let launch = Launch::new(&SHADER, entry).tune("LANES", lanes as u32).tune("HIGH", self.high).tune("WIDE", self.wide);
        let launch = launch.tune("KH", kh as u32).tune("KW", kw as u32).tune("STRIDE", conv.stride as u32);
        let launch = launch.tune("PAD", conv.pad as u32);
        let launch = if entry == "forward" { launch.on("TURNED", self.turned()) } else { launch };
        sizes.params(launch, split).groups((of_channels * co.div_ceil(4)).div_ceil(lanes))
    }

    /// What a direction of it binds the gradient of the result to.
    pub(super) fn reads(self) -> &'static str {
        if self.turned() { "x" } else { "dy" }
    }
}
