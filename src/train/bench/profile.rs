//! Where the time of a training step goes.

use super::cases::Options;
use super::median;
use super::trainer::Trainer;
use crate::error::Result;
use crate::gpu::{Gpu, Work};
use serde::Serialize;

/// A kernel's part in a training step.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// The kernel, as `conv2d:forward rows=8 cols=4`.
    pub variant: String,
    /// Its dispatches in a step.
    pub dispatches: usize,
    /// Milliseconds of all of them.
    pub ms: f64,
    /// Their part of the whole.
    pub share: f64,
    /// 10⁹ operations a second.
    pub gflops: f64,
    /// 10⁹ bytes a second.
    pub gbps: f64,
}

/// Where the time of a training step goes: each dispatch timed alone, summed by kernel, the dearest first.
///
/// # Errors
/// As [`Bench::run`](super::Bench::run).
pub fn profile(gpu: &Gpu, options: &Options) -> Result<Vec<Share>> {
    let (mut trainer, _store) = Trainer::new(gpu, options)?;
    trainer.seconds(1)?;
    let program = trainer.step.program();
    let mut shares: Vec<(Share, Work)> = Vec::new();
    for i in 0..program.dispatches().len() {
        let first = program.time(i..i + 1, 2)?;
        let times = (0.005 / first.max(1e-9)).ceil().clamp(1.0, 200.0) as usize;
        let seconds = median((0..3).map(|_| program.time(i..i + 1, times)).collect::<Result<_>>()?);
        let dispatch = &program.dispatches()[i];
        let variant = dispatch.kernel.variant.to_string();
        let place = shares.iter().position(|(s, _)| s.variant == variant).unwrap_or_else(|| {
            let empty = Share { variant, dispatches: 0, ms: 0.0, share: 0.0, gflops: 0.0, gbps: 0.0 };
            shares.push((empty, Work::default()));
            shares.len() - 1
        });
        let (share, work) = &mut shares[place];
        share.dispatches += 1;
        share.ms += seconds * 1e3;
        work.flops += dispatch.work.flops;
        work.bytes += dispatch.work.bytes;
    }
    let total: f64 = shares.iter().map(|(s, _)| s.ms).sum();
    let mut shares: Vec<Share> = shares
        .into_iter()
        .map(|(s, work)| Share { share: s.ms / total, gflops: work.flops / s.ms / 1e6, gbps: work.bytes / s.ms / 1e6, ..s })
        .collect();
    shares.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    Ok(shares)
}
