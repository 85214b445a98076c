//! How a product of matrices or a convolution can be computed.

use crate::gpu::Gpu;
use crate::tape::Launch;
use std::fmt;

/// How the result of a product is cut into tiles, and who holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tile {
    /// For adapters without a GPU, in registers alone: `together` lanes hold `rows` by 4 `cols` `together`.
    Lanes {
        /// Rows of the tile, a multiple of 4 and of `together`.
        rows: u32,
        /// Columns of a lane, in vec4.
        cols: u32,
        /// Lanes that share a tile: 1, or [`Gpu::together`].
        together: u32,
    },
}

/// An algorithm. Its text, as `direct lanes 8x4`, is what [`Choices`](crate::gpu::Choices) hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// A lane for every four numbers of the result, with guarded scalar loads: for any groups, and as the reference.
    Scalar,
    /// A matrix product, implicit for convolutions.
    Direct(Tile),
}

impl Tile {
    /// What needs no feature of the device, for a result of so many vec4 columns.
    pub(super) fn everywhere(columns: usize) -> Self {
        Self::Lanes { rows: 8, cols: columns.next_power_of_two().clamp(1, 4) as u32, together: 1 }
    }

    /// All tiles that `gpu` can hold.
    pub(super) fn all(gpu: &Gpu) -> Vec<Self> {
        let mut all = [1, 2, 4].map(|cols| Self::Lanes { rows: 8, cols, together: 1 }).to_vec();
        let together = gpu.together();
        if together > 1 {
            let shapes = [(16, 1), (32, 1), (16, 2), (32, 2)];
            all.extend(shapes.map(|(rows, cols)| Self::Lanes { rows, cols, together }));
        }
        all
    }

    /// What does well on `gpu` without measuring, for a result of so many vec4 columns.
    pub(super) fn preferred(gpu: &Gpu, columns: usize) -> Self {
        let together = gpu.together();
        if together > 1 && columns >= together as usize {
            return Self::Lanes { rows: 4 * together, cols: 1, together };
        }
        Self::everywhere(columns)
    }

    /// Set the constants of `launch`, whose file needs `lib/gemm_lanes.wgsl`.
    pub(super) fn tune(self, launch: Launch) -> Launch {
        let Self::Lanes { rows, cols, together } = self;
        let launch = launch.tune("ROWS", rows).tune("COLS", cols);
        if together == 1 {
            return launch;
        }
        launch.tune("LANES", together).tune("TOGETHER", together).swap("lib/apart.wgsl", "lib/together.wgsl")
    }

    /// Workgroups for a result of `rows` by `columns` vec4, so many times over.
    pub(super) fn groups(self, rows: usize, columns: usize, times: usize) -> usize {
        let Self::Lanes { rows: tile_rows, cols, together } = self;
        let tiles = rows.div_ceil(tile_rows as usize) * columns.div_ceil((cols * together) as usize) * times;
        if together == 1 { tiles.div_ceil(LANES) } else { tiles }
    }
}

/// Lanes a workgroup where each has a tile of its own.
pub(super) const LANES: usize = 8;

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lanes { rows, cols, together: 1 } => write!(f, "lanes {rows}x{cols}"),
            Self::Lanes { rows, cols, together } => write!(f, "lanes {rows}x{cols} together {together}"),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar => write!(f, "scalar"),
            Self::Direct(tile) => write!(f, "direct {tile}"),
        }
    }
}
