//! Which algorithm with which tile for which shape? Every one of a product, and of a convolution with few channels and many
//! pixels and one with many and few. `cargo bench --bench tiles -- "512x512x512/direct lanes"` looks at some of them.
#![allow(missing_docs, reason = "the macros of criterion make public functions")]

mod common;

use criterion::{Criterion, criterion_group, criterion_main};

fn tiles(criterion: &mut Criterion) {
    for (name, shape) in [("gemm", "512x512x512"), ("conv2d.forward", "64->64"), ("conv2d.forward", "512->512")] {
        common::measure_variants(criterion, name, shape);
    }
}

criterion_group!(benches, tiles);
criterion_main!(benches);
