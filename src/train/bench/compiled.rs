//! How long the kernels of a training step take to make ready.

use super::cases::Options;
use super::trainer::Trainer;
use crate::error::Result;
use crate::gpu::Gpu;
use serde::Serialize;

/// What it takes to make a kernel ready.
#[derive(Clone, Debug, Serialize)]
pub struct Compiled {
    /// The kernel, as `conv2d:forward rows=8 cols=4`.
    pub variant: String,
    /// Milliseconds for its pipeline: WGSL read and translated, and compiled by the driver of a GPU.
    pub pipeline_ms: f64,
    /// Milliseconds that its first run takes, with nothing to do: a software driver compiles then, or reads what it has compiled.
    pub first_ms: f64,
    /// Milliseconds that another such run takes.
    pub again_ms: f64,
}

/// How long each kernel of a training step takes to make ready, the slowest first. Its driver may have them in a cache, as
/// Mesa has, unless `MESA_SHADER_CACHE_DISABLE=true`.
///
/// # Errors
/// As [`Bench::run`](super::Bench::run).
pub fn compiled(gpu: &Gpu, options: &Options) -> Result<Vec<Compiled>> {
    let (mut trainer, _store) = Trainer::unprepared(gpu, options)?;
    let row = |kernel: std::sync::Arc<crate::gpu::Kernel>| {
        let first_ms = 1e3 * gpu.seconds_to_run(&kernel)?;
        let again_ms = 1e3 * gpu.seconds_to_run(&kernel)?;
        Ok(Compiled { variant: kernel.variant.to_string(), pipeline_ms: 1e3 * kernel.seconds, first_ms, again_ms })
    };
    let mut rows = trainer.step.program().kernels().into_iter().map(row).collect::<Result<Vec<_>>>()?;
    rows.sort_by(|a, b| (b.pipeline_ms + b.first_ms).total_cmp(&(a.pipeline_ms + a.first_ms)));
    Ok(rows)
}
