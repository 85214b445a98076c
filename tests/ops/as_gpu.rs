//! What runs on GPUs alone, tried on any adapter.

use instdisc::gpu::{Gpu, OpenOptions};
use instdisc::selftest::{check, record, table};
use instdisc::tape::Memory;

/// The ops whose kernels for GPUs are candidates on every adapter, and checked as such.
const CHOSEN: [&str; 2] = ["conv2d", "gemm"];

#[test]
fn every_case_passes_with_the_kernels_that_a_gpu_would_run() {
    let gpu = Gpu::open(&OpenOptions { as_gpu: true, ..Default::default() }).expect("an adapter");
    let cases: Vec<_> = table().into_iter().filter(|case| !CHOSEN.contains(&case.op)).collect();
    let failed: Vec<_> =
        cases.iter().filter_map(|case| check(&gpu, case).err().map(|text| format!("{case:?}: {text}"))).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    for (op, file) in [("nce", "nce_tiled.wgsl"), ("softmax", "softmax_tiled.wgsl")] {
        let own = cases.iter().filter(|case| case.op == op).filter_map(|case| record(&gpu, case, 1, false, Memory::Shared).ok());
        let files = own.flat_map(|r| r.program.dispatches().iter().map(|d| d.kernel.variant.file).collect::<Vec<_>>());
        assert!(files.into_iter().any(|used| used == file), "{op} runs as on processors");
    }
    println!("scorecard as-gpu {} cases pass with the kernels of GPUs", cases.len());
}
