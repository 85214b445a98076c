//! Tiles for GPUs: which there are, how they cut a product, and which does well without measuring.

use crate::gpu::Gpu;
use crate::tape::Launch;
use std::fmt;

/// A workgroup's tile of `lib/gemm_tiled.wgsl`: `m` by `n`, whose operands come through workgroup memory `k` steps at a
/// time; a lane holds `rows` by `cols` of it in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tiled {
    /// Rows of the workgroup's tile.
    pub m: u32,
    /// Columns of the workgroup's tile.
    pub n: u32,
    /// Steps of the reduction in a slice.
    pub k: u32,
    /// Rows of a lane.
    pub rows: u32,
    /// Columns of a lane.
    pub cols: u32,
}

/// What a launch computes: `times` products of `rows` by `depth` and `depth` by `cols`, all padded to whole vec4. A sum over
/// rows counts as many products as it is worth to split it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Product {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) depth: usize,
    pub(super) times: usize,
}

const fn tile(m: u32, n: u32, k: u32, rows: u32, cols: u32) -> Tiled {
    Tiled { m, n, k, rows, cols }
}

/// Workgroups that keep a GPU busy: two for each of 32 cores, since no adapter says how many it has.
const BUSY_GROUPS: usize = 64;

/// Lanes that keep it busy: 256 a core, each with many independent sums under way.
const BUSY_LANES: usize = 32 * 256;

/// The fewest steps of a sum that are worth a part of their own.
const FEWEST_STEPS: usize = 256;

/// Parts of a sum of `steps` steps, for a result of so many tiles: four times what keeps a GPU busy, so that the last
/// round of workgroups leaves little of it idle, in parts that are long enough to pay for their own sum.
pub(super) fn parts(tiles: usize, steps: usize) -> usize {
    (4 * BUSY_GROUPS / tiles.max(1)).min(steps / FEWEST_STEPS).max(1)
}

impl Tiled {
    /// Every tile; among equals the first is preferred. The narrow ones are for groups of few channels.
    pub const TABLE: [Self; 14] = [
        tile(128, 128, 8, 8, 8),
        tile(128, 64, 8, 8, 8),
        tile(64, 64, 8, 8, 8),
        tile(64, 64, 16, 8, 8),
        tile(128, 64, 8, 8, 4),
        tile(64, 64, 16, 8, 4),
        tile(64, 64, 8, 8, 4),
        tile(64, 64, 16, 4, 4),
        tile(64, 32, 16, 8, 4),
        tile(32, 32, 16, 4, 4),
        tile(32, 32, 8, 4, 4),
        tile(128, 32, 8, 8, 4),
        tile(128, 16, 8, 8, 4),
        tile(128, 8, 8, 4, 4),
    ];

    /// The tiles that a device can hold. All keep to the limits that WebGPU has everywhere.
    pub(super) fn all(gpu: &Gpu) -> Vec<Self> {
        let (memory, lanes) =
            (gpu.limits().max_compute_workgroup_storage_size, gpu.limits().max_compute_invocations_per_workgroup);
        Self::TABLE.into_iter().filter(|tile| tile.memory() <= memory && tile.lanes() <= lanes).collect()
    }

    /// The tiles that `gpu` can hold, the one that should be the fastest for `product` first.
    pub(super) fn ranked(gpu: &Gpu, product: Product) -> Vec<Self> {
        ranked(Self::all(gpu), product, gpu.facts().few_registers())
    }

    /// Lanes of a workgroup.
    fn lanes(self) -> u32 {
        self.m / self.rows * (self.n / self.cols)
    }

    /// Bytes of workgroup memory: two slices of both operands.
    fn memory(self) -> u32 {
        2 * 4 * self.k * (self.m + self.n)
    }

    /// Workgroups for a result of `rows` by `cols`.
    pub(super) fn groups(self, rows: usize, cols: usize) -> usize {
        rows.div_ceil(self.m as usize) * cols.div_ceil(self.n as usize)
    }

    /// Whether a product of these sizes is cut without a rest.
    pub(super) fn divides(self, rows: usize, cols: usize, depth: usize) -> bool {
        let whole = |size: usize, by: u32| size.is_multiple_of(by as usize);
        whole(rows, self.m) && whole(cols, self.n) && whole(depth, self.k)
    }

    /// Rounds that a lane loops for a sum of `depth` steps.
    pub(super) fn rounds(self, depth: usize) -> usize {
        depth.div_ceil(self.k as usize).saturating_mul(self.k as usize + 1)
    }

    /// Set the constants of `launch`, whose file needs `lib/gemm_tiled.wgsl`.
    pub(super) fn tune(self, launch: Launch) -> Launch {
        let launch = launch.tune("TILE_M", self.m).tune("TILE_N", self.n).tune("TILE_K", self.k);
        launch.tune("ROWS", self.rows).tune("COLS", self.cols)
    }

    /// The share of a GPU's multiply-adds that does what is wanted, reasoned and not yet measured: the part of the tiles that
    /// is used, the part of the device that is busy, and what is left by the vec4 that a lane reads from workgroup memory
    /// (each takes the time of 16 multiply-adds), by what a workgroup reads from outside it, and by registers that spill.
    fn score(self, product: Product, few_registers: bool) -> f64 {
        let Product { rows, cols, depth, times } = product;
        let share = |size: usize, by: u32| size as f64 / (size.div_ceil(by as usize) * by as usize).max(1) as f64;
        let use_of_it = share(rows, self.m) * share(cols, self.n) * share(depth, self.k);
        let groups = (self.groups(rows, cols) * times) as f64;
        let busy = (groups / BUSY_GROUPS as f64).min(groups * f64::from(self.lanes()) / BUSY_LANES as f64).min(1.0);
        let [m, n, r, c] = [self.m, self.n, self.rows, self.cols].map(f64::from);
        let inner = (r * c / (4.0 * (r + c))).min(1.0);
        let outer = m * n / (m * n + 8.0 * (m + n));
        let spilt = if few_registers && self.rows * self.cols > 32 { 0.3 } else { 1.0 };
        use_of_it * busy * inner * outer * spilt
    }
}

/// `tiles` by falling score; equals stay in their order.
fn ranked(mut tiles: Vec<Tiled>, product: Product, few_registers: bool) -> Vec<Tiled> {
    tiles.sort_by(|a, b| b.score(product, few_registers).total_cmp(&a.score(product, few_registers)));
    tiles
}

impl fmt::Display for Tiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tiled {}x{}x{} {}x{}", self.m, self.n, self.k, self.rows, self.cols)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: usize, cols: usize, depth: usize, times: usize) -> String {
        let product = Product { rows, cols, depth, times };
        ranked(Tiled::TABLE.to_vec(), product, false)[0].to_string()
    }

    #[test]
    fn every_tile_is_what_the_core_can_hold() {
        for tile in Tiled::TABLE {
            let Tiled { m, n, k, rows, cols } = tile;
            let lanes = tile.lanes();
            assert!(tile.memory() <= 16_384 && (64..=256).contains(&lanes), "{tile}");
            assert!([m, n, k, rows, cols].iter().all(|size| size.is_power_of_two()) && k % 4 == 0, "{tile}");
            // In lines a lane fetches 1, 2 or 4 vec4 of a slice, of one column; in blocks at most one.
            for side in [m, n] {
                assert!(k * side / 4 / lanes <= 4 && lanes % (side / 4) == 0, "{tile}: {side} in lines");
                assert!(k / 4 * side / 4 <= lanes, "{tile}: {side} in blocks");
            }
            // 32 lanes are a strip of at most 8 across.
            let across = (n / cols).min(8);
            assert!((m / rows).is_multiple_of(32 / across) && (n / cols).is_multiple_of(across), "{tile}");
        }
    }

    #[test]
    fn a_large_product_takes_the_largest_tile_and_a_small_one_keeps_the_device_busy() {
        assert_eq!(of(4096, 4096, 4096, 1), "tiled 128x128x8 8x8");
        assert_eq!(of(512, 512, 512, 1), "tiled 64x64x16 8x4");
        assert_eq!(of(64, 512, 4608, 1), "tiled 32x32x16 4x4");
    }

    #[test]
    fn columns_are_not_wasted() {
        // CIFAR ResNet-18 at batch 128: layers 1 and 4 forward, and a 7x7 stem of three channels.
        assert_eq!(of(131_072, 64, 576, 1), "tiled 128x64x8 8x8");
        assert_eq!(of(2048, 512, 4608, 1), "tiled 128x128x8 8x8");
        assert_eq!(of(1_605_632, 64, 196, 1), "tiled 128x64x8 8x8");
        // ResNeXt's groups of 4, 8, 16 and 32 channels.
        assert_eq!(of(400_000, 4, 36, 32), "tiled 128x8x8 4x4");
        assert_eq!(of(400_000, 8, 72, 32), "tiled 128x8x8 4x4");
        assert_eq!(of(100_000, 16, 144, 32), "tiled 128x16x8 8x4");
        assert_eq!(of(25_000, 32, 288, 32), "tiled 128x32x8 8x4");
    }

    #[test]
    fn a_device_with_few_registers_takes_small_lanes() {
        let product = Product { rows: 4096, cols: 4096, depth: 4096, times: 1 };
        assert_eq!(ranked(Tiled::TABLE.to_vec(), product, true)[0].cols, 4);
    }

    #[test]
    fn a_sum_is_split_to_fill_the_device_and_no_further() {
        assert_eq!(parts(9, 131_072), 28);
        assert_eq!(parts(144, 2048), 1);
        assert_eq!(parts(2, 700), 2);
        assert_eq!(parts(1, 10), 1);
        assert_eq!(parts(0, 0), 1);
    }
}
