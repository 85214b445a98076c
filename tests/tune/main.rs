//! Tuning: budgets, candidates that must not win, and the file that keeps what was found. Goals print a line that begins
//! with `scorecard`.
#![allow(clippy::print_stdout, reason = "the scorecard is assembled from standard output")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod budget;
mod cache;
mod faults;
mod problems;

use instdisc::gpu::Gpu;
use instdisc::ops::Problem;
use instdisc::train::tune::{Cache, Effort, Report, Tuner};
use instdisc::train::{Choices, Config};
use std::sync::OnceLock;

/// The device that the tests share, so that its pipelines are made once.
fn gpu() -> &'static Gpu {
    static SHARED: OnceLock<Gpu> = OnceLock::new();
    SHARED.get_or_init(|| Gpu::open(&Default::default()).unwrap())
}

/// A small network: CIFAR's stem and a ResNet-18 of width 8 on 16 × 16 pixels.
fn small() -> Config {
    let choices = Choices {
        arch: Some("resnet18".into()),
        width: Some(8),
        size: Some(16),
        batch: Some(2),
        dim: Some(16),
        ..Choices::default()
    };
    choices.resolve(100, 16, 0).unwrap().0
}

fn problem(text: &str) -> Problem {
    text.parse().unwrap()
}

/// Tune without a file.
fn tuned(tuner: &Tuner, problems: &[Problem]) -> Report {
    tuner.run(problems, &mut Cache::in_memory(gpu()), &mut |_, _| {})
}

/// A few small problems of every kind.
fn few() -> Vec<Problem> {
    let texts = [
        "conv2d.forward b2 8->16 9x7 k3 s1",
        "conv2d.forward b1 6->8 8x8 k3 s2 g2",
        "conv2d.grad_input b2 8->12 9x7 k3 s2",
        "conv2d.grad_input b1 8->8 5x5 k1x3 s1 g2",
        "conv2d.grad_weight b3 5->16 8x9 k3 s1",
        "conv2d.grad_weight b1 8->8 6x6 k5 s3 p0 g2",
        "gemm.nn 9x17x33",
        "gemm.nt 5x16x130",
        "gemm.tn 6x70x10",
    ];
    texts.map(problem).to_vec()
}

/// Every candidate of this crate, however slow.
fn full() -> Tuner {
    Tuner::new(gpu(), Effort::Full)
}
