//! How long does a whole training step of ResNet-18 take, at an eighth of its width?
#![allow(missing_docs, reason = "the macros of criterion make public functions")]

mod common;

use criterion::{Criterion, criterion_group, criterion_main};

fn train_step(criterion: &mut Criterion) {
    common::measure(criterion, "train_step", "w8");
}

criterion_group!(benches, train_step);
criterion_main!(benches);
