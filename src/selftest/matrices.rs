//! Cases of products of matrices, of what goes with them, and of rows of unit length.

use super::{Case, Numbers, Tiny};
use crate::ops;
use crate::shape::{Layout, padded};
use crate::twin;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // m, k, n: one, primes, tiles of 8 rows and 16 columns less and more than whole, and sums in one and many parts.
    let mut sizes = vec![
        [1, 1, 1],
        [1, 5, 3],
        [7, 1, 1],
        [8, 4, 4],
        [9, 5, 17],
        [7, 3, 15],
        [8, 16, 16],
        [15, 17, 33],
        [16, 7, 1],
        [17, 31, 5],
        [64, 64, 64],
        [31, 128, 10],
        [100, 3, 130],
        [129, 67, 12],
        [300, 9, 8],
        [1024, 5, 7],
    ];
    let mut random = Numbers::new(20);
    sizes.extend((0..8).map(|_| [1 + random.below(70), 1 + random.below(50), 1 + random.below(50)]));
    for (i, [m, k, n]) in sizes.into_iter().enumerate() {
        // The sum of a weight gradient's parts takes a lane a vec4: more workgroups than a tiny device has.
        let parts = m > 16 && padded(k) * padded(n) / 4 > 64 * 8;
        let tiny = if parts { Tiny::Limit } else { Tiny::Runs };
        cases.push(linear("gemm", [m, k, n], i % 3 != 0, 2000 + i).tiny(tiny));
    }
    // Whole multiples of every tile, the sum over rows in parts and in one.
    for (i, m) in [512, 128].into_iter().enumerate() {
        cases.push(linear("gemm", [m, 128, 128], true, 2102 + 10 * i).samples(3).tiny(Tiny::Limit));
    }
    // A tile for GPUs, which may be chosen nowhere else, with a rest in every direction and a sum in parts.
    let mut tiled = linear("gemm", [700, 9, 37], true, 2103).tiny(Tiny::Limit);
    tiled.algorithm = Some("direct tiled 32x32x16 4x4");
    tiled.label = format!("{}, {}", tiled.label, "direct tiled 32x32x16 4x4");
    cases.push(tiled);
    // Above the rounds that a lane may loop, by rows; and a score against many rows of a bank.
    cases.push(linear("gemm", [270_000, 1, 2], true, 2100).samples(2).tiny(Tiny::Limit));
    cases.push(linear("gemm", [2, 20_000, 3], true, 2101).samples(4).tiny(Tiny::Limit));
    for (i, [b, n, dim]) in [[1, 1, 1], [3, 7, 5], [8, 33, 16], [17, 100, 128], [2, 5000, 3], [5, 63, 9]].into_iter().enumerate()
    {
        let mut random = Numbers::new(2200 + i);
        let case = Case::new("gemm", format!("scores of [{b}, {dim}] against [{n}, {dim}]"));
        let case = case.input("f", &[b, dim], Layout::Rows, random.normal(b * dim));
        let case = case.input("bank", &[n, dim], Layout::Rows, random.normal(n * dim));
        cases.push(case.tiny(if n * padded(dim) > 16_384 { Tiny::Limit } else { Tiny::Runs }).op(
            dim,
            |tape, x, _| Ok(vec![ops::scores(tape, x[0], x[1])?]),
            move |x, _| vec![twin::linear::linear(&x[0], &x[1], None, [b, dim, n])],
        ));
    }
    cases.extend(column_sums());
    cases.extend(l2norm());
    cases
}

fn linear(op: &'static str, [m, k, n]: [usize; 3], bias: bool, seed: usize) -> Case {
    let mut random = Numbers::new(seed);
    let mut case = Case::new(op, format!("[{m}, {k}] by [{n}, {k}]{}", if bias { " and bias" } else { "" }));
    case = case.tracked("x", &[m, k], Layout::Rows, random.normal(m * k));
    case = case.tracked("weight", &[n, k], Layout::Weight, random.normal(n * k));
    if bias {
        case = case.tracked("bias", &[n], Layout::Rows, random.normal(n));
    }
    case.op(
        k + 1,
        |tape, x, _| Ok(vec![ops::linear(tape, x[0], x[1], x.get(2).copied())?]),
        move |x, _| vec![twin::linear::linear(&x[0], &x[1], x.get(2).map(Vec::as_slice), [m, k, n])],
    )
}

/// The gradient of a bias has no function of its own: it is reached through a linear layer of which only the bias is
/// tracked.
fn column_sums() -> Vec<Case> {
    let mut random = Numbers::new(30);
    let mut sizes: Vec<[usize; 2]> = [1, 2, 63, 64, 65, 127, 255, 256, 257, 509, 1024].map(|rows| [rows, 3]).to_vec();
    sizes.extend([1, 4, 5, 255, 256, 257].map(|n| [11, n]));
    sizes.extend((0..8).map(|_| [1 + random.below(300), 1 + random.below(40)]));
    sizes.extend([[65_536, 1], [70_001, 5]]);
    let row = |(i, [rows, n]): (usize, [usize; 2])| {
        let mut case = linear("column_sums", [rows, 1, n], true, 3000 + i);
        case.label = format!("[{rows}, {n}]");
        case.inputs[0].differentiable = false;
        case.inputs[1].differentiable = false;
        let large = rows * padded(n) > 16_384;
        case.samples(if large { 4 } else { 10 }).tiny(if large { Tiny::Limit } else { Tiny::Runs })
    };
    sizes.into_iter().enumerate().map(row).collect()
}

fn l2norm() -> Vec<Case> {
    let mut random = Numbers::new(40);
    let mut sizes = vec![
        [1, 1],
        [1, 2],
        [3, 3],
        [5, 4],
        [2, 63],
        [7, 64],
        [3, 65],
        [1, 127],
        [31, 128],
        [4, 129],
        [64, 5],
        [65, 7],
        [1, 1021],
        [255, 17],
        [70_001, 2],
        [2, 40_000],
    ];
    sizes.extend((0..8).map(|_| [1 + random.below(40), 1 + random.below(200)]));
    let mut cases = Vec::new();
    for (i, [rows, cols]) in sizes.into_iter().enumerate() {
        let scale = [1.0, 1e-3, 300.0][i % 3];
        let values = Numbers::new(4000 + i).normal(rows * cols).into_iter().map(|x| x * scale).collect();
        // A row is a workgroup.
        let large = padded(cols) * rows > 16_384 || rows > 64;
        let case = row_norm(format!("[{rows}, {cols}] of size {scale}"), [rows, cols], values, 1e-12);
        cases.push(case.samples(if large { 4 } else { 10 }).tiny(if large { Tiny::Limit } else { Tiny::Runs }));
    }
    let mut short = Numbers::new(41).normal(5 * 9);
    short.iter_mut().for_each(|x| *x *= 1e-4);
    cases.push(row_norm("rows shorter than eps".into(), [5, 9], short, 0.01));
    let mut zero = row_norm("a row of zeros".into(), [3, 9], vec![0.0; 27], 1e-12);
    zero.kinks = true;
    cases.push(zero);
    cases
}

fn row_norm(label: String, [rows, cols]: [usize; 2], values: Vec<f32>, eps: f32) -> Case {
    Case::new("l2norm", label).tracked("x", &[rows, cols], Layout::Rows, values).op(
        padded(cols).div_ceil(64) + 6,
        move |tape, x, _| Ok(vec![ops::l2norm(tape, x[0], eps)?]),
        move |x, _| vec![twin::l2norm::l2norm(&x[0], [rows, cols], f64::from(eps))],
    )
}
