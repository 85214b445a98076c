//! How a product of matrices or a convolution can be computed.

use super::epilogue::PART;
use super::tiled::Product;
use super::{MAX_ROUNDS, Tiled};
use crate::gpu::{Gpu, Shader};
use crate::tape::Launch;
use std::fmt;

/// How the result of a product is cut into tiles, and who holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tile {
    /// For adapters without a GPU, in registers alone: a lane holds `rows` by 4 `cols`, alone or together with
    /// [`Gpu::together`] lanes across, which hold the same rows, or down, which hold the same columns.
    Lanes {
        /// Rows of a lane, a multiple of 4 and of `across`.
        rows: u32,
        /// Columns of a lane, in vec4.
        cols: u32,
        /// Lanes side by side.
        across: u32,
        /// Lanes one below the other.
        down: u32,
    },
    /// For GPUs, through workgroup memory.
    Tiled(Tiled),
}

/// An algorithm. Its text, as `direct lanes 8x4`, is what [`Choices`](crate::gpu::Choices) hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// A lane for every four numbers of the result, with guarded scalar loads: for any groups, and as the reference.
    Scalar,
    /// A matrix product, implicit for convolutions.
    Direct(Tile),
    /// A convolution by strips of pixels along a line, which every tap that meets a pixel shares: for few channels a group.
    Window(Tile),
    /// A convolution by strips of pixels that go down the image with all taps and the lines that a window sees: for very few
    /// channels a group.
    LineBuffer(Tile),
    /// A convolution of every channel by itself: a lane holds four channels of `high` lines by `wide` pixels.
    Depthwise {
        /// Lines of a tile.
        high: u32,
        /// Pixels of a line of it.
        wide: u32,
    },
    /// Winograd's, for 3×3 convolutions with stride 1 of one group: transforms of tiles of `outputs`² results, and products
    /// between them.
    Winograd {
        /// Results in a row of a tile: 2 or 4.
        outputs: u32,
        /// The tile of the products.
        tile: Tile,
    },
}

impl Tile {
    /// What needs no feature of the device, for a result of so many vec4 columns.
    pub(super) fn everywhere(columns: usize) -> Self {
        Self::Lanes { rows: 8, cols: columns.next_power_of_two().clamp(1, 4) as u32, across: 1, down: 1 }
    }

    /// All tiles that `gpu` can hold, those of the family that is made for it first, and of those for GPUs the one that should
    /// be the fastest for `product`. The largest for processors only where it is worth its time to compile.
    pub(super) fn all(gpu: &Gpu, product: Product, large: bool) -> Vec<Self> {
        let mut lanes = [1, 2, 4].map(|cols| Self::Lanes { rows: 8, cols, across: 1, down: 1 }).to_vec();
        let together = gpu.together();
        if together > 1 {
            lanes.extend([(16, 1), (32, 1), (16, 2)].map(|(rows, cols)| Self::across(rows, cols, together)));
            lanes.extend(large.then(|| Self::across(32, 2, together)));
            lanes.extend(
                [(8, 1), (16, 1), (4, 2), (8, 2), (16, 2), (4, 4), (8, 4)].map(|(rows, cols)| Self::down(rows, cols, together)),
            );
        }
        // Where each of their loops counts, those of many rows do not get through long sums.
        lanes.retain(|tile| product.depth / 4 * tile.loops(gpu) <= MAX_ROUNDS);
        let tiled = Tiled::ranked(gpu, product).into_iter().map(Self::Tiled);
        if gpu.facts().software { lanes.into_iter().chain(tiled).collect() } else { tiled.chain(lanes).collect() }
    }

    /// What does well on `gpu` without measuring.
    pub(super) fn preferred(gpu: &Gpu, product: Product, large: bool) -> Self {
        let (columns, together) = (product.cols / 4, gpu.together());
        if !gpu.facts().software {
            let mut tiles = Tiled::ranked(gpu, product).into_iter();
            // With some room for a convolution's steps from tap to tap.
            let within = tiles.find(|tile| tile.rounds(product.depth) + 1024 <= MAX_ROUNDS);
            return within.map_or(Self::everywhere(columns), Self::Tiled);
        }
        // Mesa 24 and later leave a tile of more than 16 vec4 in an array that lanes index one by one (docs/llvmpipe.md).
        let small = gpu.facts().unrolls_little();
        match columns {
            _ if together == 1 => Self::everywhere(columns),
            0..=4 => Self::down(if small { 4 } else { 8 }, columns.next_power_of_two().max(1) as u32, together),
            _ if small => Self::across(2 * together, 1, together),
            16.. if large => Self::across(4 * together, 2, together),
            _ => Self::across(4 * together, 1, together),
        }
    }

    /// Rounds of loops that a lane goes through for a round over the reduction: drivers unroll the loops over rows within it,
    /// but with run-time checks llvmpipe does not where much stands in them. Measured there: 1 + rows of A read, for nn and nt,
    /// and up to 5 for tiles across, for tn.
    pub(super) fn loops(self, gpu: &Gpu) -> usize {
        match self {
            Self::Lanes { rows, across, .. } if gpu.checked() => 1 + (rows / across.min(4)) as usize,
            Self::Lanes { .. } | Self::Tiled(_) => 1,
        }
    }

    fn across(rows: u32, cols: u32, lanes: u32) -> Self {
        Self::Lanes { rows, cols, across: lanes, down: 1 }
    }

    fn down(rows: u32, cols: u32, lanes: u32) -> Self {
        Self::Lanes { rows, cols, across: 1, down: lanes }
    }

    /// The file of its family.
    pub(super) fn shader(self, lanes: &'static Shader, tiled: &'static Shader) -> &'static Shader {
        if matches!(self, Self::Tiled(_)) { tiled } else { lanes }
    }

    /// Set the constants of `launch`, which is one of that file.
    pub(super) fn tune(self, launch: Launch) -> Launch {
        let (rows, cols, across, down) = match self {
            Self::Tiled(tile) => return tile.tune(launch),
            Self::Lanes { rows, cols, across, down } => (rows, cols, across, down),
        };
        let launch = launch.tune("ROWS", rows).tune("COLS", cols);
        if across * down == 1 {
            return launch;
        }
        let launch = launch.tune("LANES", across * down).tune("ACROSS", across).tune("DOWN", down);
        launch.swap("lib/apart.wgsl", "lib/together.wgsl")
    }

    /// Workgroups for a result of `rows` by `columns` vec4, so many times over.
    pub(super) fn groups(self, rows: usize, columns: usize, times: usize) -> usize {
        match self {
            Self::Tiled(tile) => tile.groups(rows, 4 * columns) * times,
            Self::Lanes { rows: held, cols, across, down } => {
                let tiles = rows.div_ceil((held * down) as usize) * columns.div_ceil((cols * across) as usize) * times;
                if across * down == 1 { tiles.div_ceil(LANES) } else { tiles }
            }
        }
    }

    /// Whether it cuts a product of these sizes without a rest, so that tests can be left out.
    pub(super) fn divides(self, rows: usize, cols: usize, depth: usize) -> bool {
        matches!(self, Self::Tiled(tile) if tile.divides(rows, cols, depth))
    }

    /// In how many parts it leaves sums over `rows` of a result; none where a lane's rows are no whole parts.
    pub(super) fn parts(self, rows: usize) -> Option<usize> {
        match self {
            Self::Lanes { rows: held, .. } => (held as usize).is_multiple_of(PART).then(|| rows.div_ceil(PART)),
            Self::Tiled(_) => Some(rows.div_ceil(PART)),
        }
    }

    /// Lanes of a workgroup that sums parts.
    pub(super) fn sum_lanes(self) -> usize {
        match self {
            Self::Lanes { .. } => LANES,
            Self::Tiled(_) => GPU_LANES,
        }
    }
}

impl Algorithm {
    /// As [`Tile::loops`].
    pub(super) fn loops(self, gpu: &Gpu) -> usize {
        match self {
            Self::Direct(tile) | Self::Winograd { tile, .. } => tile.loops(gpu),
            Self::Scalar | Self::Window(_) | Self::LineBuffer(_) | Self::Depthwise { .. } => 1,
        }
    }

    /// How far it may be off where plain sums are exact, as on small whole numbers: a share of the sum of the absolute
    /// terms behind an element. What multiplies and adds the numbers themselves must then be exact, in any order. Winograd's
    /// algorithms are allowed ten times the most that was seen over the shapes of a ResNet-18 (1.8e-7); what is proven of them
    /// allows a thousand times that, and would let mistakes pass.
    pub fn tolerance(&self) -> f64 {
        match self {
            Self::Scalar | Self::Direct(_) | Self::Window(_) | Self::LineBuffer(_) | Self::Depthwise { .. } => 0.0,
            Self::Winograd { .. } => 2e-6,
        }
    }
}

/// Lanes a workgroup where each has a tile of its own.
pub(super) const LANES: usize = 8;

/// Lanes a workgroup where each has one vec4 and a GPU runs them; `SUM_LANES` of `lib/gemm_tiled.wgsl`.
pub(super) const GPU_LANES: usize = 64;

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lanes { rows, cols, across: 1, down: 1 } => write!(f, "lanes {rows}x{cols}"),
            Self::Lanes { rows, cols, across, down: 1 } => write!(f, "lanes {rows}x{cols} across {across}"),
            Self::Lanes { rows, cols, down, .. } => write!(f, "lanes {rows}x{cols} down {down}"),
            Self::Tiled(tile) => write!(f, "{tile}"),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar => write!(f, "scalar"),
            Self::Direct(tile) => write!(f, "direct {tile}"),
            Self::Window(tile) => write!(f, "window {tile}"),
            Self::LineBuffer(tile) => write!(f, "line_buffer {tile}"),
            Self::Depthwise { high, wide } => write!(f, "depthwise {high}x{wide}"),
            Self::Winograd { outputs, tile } => write!(f, "winograd{outputs} {tile}"),
        }
    }
}
