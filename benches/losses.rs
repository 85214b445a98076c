//! How long do the two losses take against a bank of 50,000 rows, with their gradients?
#![allow(missing_docs, reason = "the macros of criterion make public functions")]

mod common;

use criterion::{Criterion, criterion_group, criterion_main};

fn losses(criterion: &mut Criterion) {
    for name in ["nce", "softmax"] {
        common::measure(criterion, name, "n50000");
    }
}

criterion_group!(benches, losses);
criterion_main!(benches);
