//! How long does each direction of a convolution take, at the first and the last width of ResNet-18?
#![allow(missing_docs, reason = "the macros of criterion make public functions")]

mod common;

use criterion::{Criterion, criterion_group, criterion_main};

fn conv2d(criterion: &mut Criterion) {
    for shape in ["64->64", "512->512"] {
        common::measure(criterion, "conv2d", shape);
    }
}

criterion_group!(benches, conv2d);
criterion_main!(benches);
