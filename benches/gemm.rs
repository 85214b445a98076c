//! How long do a product of 512³ and the scores of 128 queries against a bank of 50,000 take?
#![allow(missing_docs, reason = "the macros of criterion make public functions")]

mod common;

use criterion::{Criterion, criterion_group, criterion_main};

fn gemm(criterion: &mut Criterion) {
    common::measure(criterion, "gemm", "");
}

criterion_group!(benches, gemm);
criterion_main!(benches);
