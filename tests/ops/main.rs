//! The ops, on any adapter: every case of the table, and what must be refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]
#![cfg(feature = "selftest")]
#![allow(clippy::print_stdout, reason = "scorecard lines are printed by design")]

mod algorithms;
mod arbitrary;
mod as_gpu;
mod bank;
mod complete;
mod errors;
mod fused;
mod kept;
mod limits;
mod networks;
mod table;
mod winograd;
mod zero;

use instdisc::gpu::Gpu;
use std::sync::OnceLock;

/// One device for all tests, so that each pipeline is made once.
fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| Gpu::open(&Default::default()).expect("an adapter"))
}
