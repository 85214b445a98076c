//! What a convolution does with its results beside storing them: a part of the work of the batch norm next to it.

use crate::error::Result;
use crate::gpu::Gpu;
use crate::shape::{Layout, padded};
use crate::tape::{Launch, Tape, Tensor, Wanted};

/// Rows of a result whose sums are one part; as in `lib/gemm_lanes.wgsl`.
pub(super) const PART: usize = 8;

/// What stands in place of `lib/plain.wgsl`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Epilogue {
    /// Nothing.
    Plain,
    /// Leaves parts of the moments of its results, for the batch norm that follows.
    Moments {
        /// `[3 parts, c]`
        parts: Tensor,
    },
    /// Masks its results, the gradient of a batch norm with ReLU, and leaves parts of their slopes.
    Slopes {
        /// What was normalised.
        x: Tensor,
        /// The norm's statistics.
        stats: Tensor,
        /// `[2 parts, c]`
        parts: Tensor,
    },
    /// Sends its results through a batch norm with known statistics.
    Affine {
        /// The statistics.
        stats: Tensor,
        /// What is added.
        addend: Option<Tensor>,
        /// Whether a ReLU follows.
        relu: bool,
    },
}

impl Epilogue {
    /// `launch` with the piece and its buffers.
    pub(super) fn of(self, launch: Launch) -> Launch {
        const PLAIN: &str = "lib/plain.wgsl";
        match self {
            Self::Plain => launch,
            Self::Moments { parts } => {
                let launch = launch.swap(PLAIN, "lib/moments.wgsl").more_bytes(4 * parts.words());
                launch.bind("moments_out", parts)
            }
            Self::Slopes { x, stats, parts } => {
                let launch = launch.swap(PLAIN, "lib/slopes.wgsl");
                launch
                    .more_bytes(4 * (x.words() + parts.words()))
                    .bind("norm_x", x)
                    .bind("stats", stats)
                    .bind("slopes_out", parts)
            }
            Self::Affine { stats, addend, relu } => {
                let launch = launch.swap(PLAIN, "lib/affine.wgsl").on("RELU", relu).on("ADD", addend.is_some());
                let launch = launch.more_bytes(addend.map_or(0, |addend| 4 * addend.words()));
                launch.bind("stats", stats).bind("addend", addend.unwrap_or(stats))
            }
        }
    }

    /// What a kernel that is about to write into the gradient of `x` does for the batch norm that made `x`: nothing, unless it is the
    /// last to write there and can leave sums, in so many `parts`.
    pub(super) fn of_gradient(tape: &mut Tape, x: Tensor, parts: Option<usize>) -> Result<Self> {
        let (Some(Wanted { x: norm_x, stats }), Some(parts)) = (tape.wanted(x), parts) else { return Ok(Self::Plain) };
        let parts = Self::slopes(tape, parts, x.shape()[1])?;
        tape.give_slopes(x, parts);
        Ok(Self::Slopes { x: norm_x, stats, parts })
    }

    /// Room for the moments of `channels` in so many parts.
    pub(super) fn moments(tape: &mut Tape, parts: usize, channels: usize) -> Result<Tensor> {
        tape.output("moments", &[3 * parts, channels], Layout::Rows)
    }

    /// Room for the slopes of `channels` in so many parts.
    pub(super) fn slopes(tape: &mut Tape, parts: usize, channels: usize) -> Result<Tensor> {
        tape.output("slopes", &[2 * parts, channels], Layout::Rows)
    }
}

/// How the rows of a tensor are shared out among lanes, each with a vec4 of channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strands {
    /// How many.
    pub(super) count: usize,
    /// Rows of each but the last.
    pub(super) each: usize,
}

impl Strands {
    /// Of `rows` of `channels`: on a processor just enough for its threads, so that what each lane does before its first row
    /// costs little, and on a GPU many.
    pub(super) fn of(gpu: &Gpu, rows: usize, channels: usize) -> Self {
        let each = if gpu.facts().software {
            let lanes = 128 / (padded(channels) / 4).max(1);
            rows.div_ceil(lanes.max(1)).min(16_384)
        } else {
            rows.min(8)
        };
        let each = each.max(1);
        Self { count: rows.div_ceil(each), each }
    }
}
