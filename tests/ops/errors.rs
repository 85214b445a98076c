//! Error inputs of every op: wrong rank, sizes that disagree, numbers out of range. And what is not refused but clamped.

use crate::gpu;
use instdisc::ops::{self, Augmentation, Conv, Norm, Then};
use instdisc::shape::Layout::{self, Plain, Rows, Weight};
use instdisc::tape::{Tape, Tensor};
use instdisc::{Error, Result};

/// What the error must be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Shape,
    Value,
    Limit,
}
use Kind::{Limit, Shape, Value};

fn x(t: &mut Tape, dims: &[usize]) -> Tensor {
    at(t, dims, Rows)
}
fn at(t: &mut Tape, dims: &[usize], layout: Layout) -> Tensor {
    t.input("x", dims, layout).unwrap()
}
fn u(t: &mut Tape, dims: &[usize]) -> Tensor {
    t.input_u32("u", dims).unwrap()
}

fn conv(t: &mut Tape, xs: &[usize], ws: &[usize], layout: Layout, conv: [usize; 3]) -> Result<()> {
    let (a, w) = (x(t, xs), at(t, ws, layout));
    ops::conv2d(t, a, w, Conv { stride: conv[0], pad: conv[1], groups: conv[2] }).map(drop)
}
fn linear(t: &mut Tape, xs: &[usize], ws: &[usize], bias: Option<&[usize]>) -> Result<()> {
    let (a, w, b) = (x(t, xs), at(t, ws, Weight), bias.map(|b| x(t, b)));
    ops::linear(t, a, w, b).map(drop)
}
fn norm(t: &mut Tape, xs: &[usize], affine: &[usize], stats: &[usize], eps: f32) -> Result<()> {
    let (a, affine, stats) = (x(t, xs), x(t, affine), x(t, stats));
    ops::batch_norm(t, a, Norm { affine, stats, eps }, Then::default(), None).map(drop)
}
fn nce(t: &mut Tape, f: &[usize], bank: &[usize], own: &[usize], rows: &[usize], z: &[usize], tau: f32) -> Result<()> {
    let (f, v, o, r, z) = (x(t, f), x(t, bank), u(t, own), u(t, rows), x(t, z));
    ops::nce(t, f, v, o, r, z, tau).map(drop)
}
fn soft(t: &mut Tape, f: &[usize], bank: &[usize], own: &[usize], tau: f32) -> Result<()> {
    let (f, v, o) = (x(t, f), x(t, bank), u(t, own));
    ops::softmax(t, f, v, o, tau).map(drop)
}
fn near(t: &mut Tape, f: &[usize], bank: &[usize], own: &[usize]) -> Result<()> {
    let (f, v, o) = (x(t, f), x(t, bank), u(t, own));
    ops::prox(t, f, v, o).map(drop)
}
fn update(t: &mut Tape, f: &[usize], bank: &[usize], own: &[usize], keep: f32) -> Result<()> {
    let (f, v, o) = (x(t, f), x(t, bank), u(t, own));
    ops::bank_update(t, v, f, o, keep)
}
fn best(t: &mut Tape, f: &[usize], bank: &[usize], k: usize) -> Result<()> {
    let (f, v) = (x(t, f), x(t, bank));
    ops::top_k(t, f, v, k).map(drop)
}
fn augment(t: &mut Tape, table: &[usize], change: fn(&mut Augmentation)) -> Result<()> {
    let (pixels, table) = (u(t, &[12]), u(t, table));
    let mut settings = Augmentation::paper(4);
    change(&mut settings);
    ops::augment(t, pixels, table, settings).map(drop)
}

type Row = (&'static str, Kind, fn(&mut Tape) -> Result<()>);

const ROWS: &[Row] = &[
    ("add", Shape, |t| {
        let (a, b) = (x(t, &[2, 3]), x(t, &[3, 2]));
        ops::add(t, a, b).map(drop)
    }),
    ("add", Shape, |t| {
        let (a, b) = (x(t, &[6]), x(t, &[2, 3]));
        ops::add(t, a, b).map(drop)
    }),
    ("add", Shape, |t| {
        let (a, b) = (at(t, &[4, 4], Weight), x(t, &[4, 4]));
        ops::add(t, a, b).map(drop)
    }),
    ("add", Shape, |t| {
        let (a, b) = (u(t, &[4]), u(t, &[4]));
        ops::add(t, a, b).map(drop)
    }),
    ("add", Shape, |t| {
        let (a, b) = (at(t, &[5], Plain), at(t, &[5], Plain));
        ops::add(t, a, b).map(drop)
    }),
    ("relu", Shape, |t| {
        let a = u(t, &[4]);
        ops::relu(t, a).map(drop)
    }),
    ("relu", Shape, |t| {
        let a = at(t, &[5], Plain);
        ops::relu(t, a).map(drop)
    }),
    ("relu", Shape, |t| {
        let a = x(t, &[2, 3, 5]);
        ops::relu(t, a).map(drop)
    }),
    ("scale", Shape, |t| {
        let a = at(t, &[3], Plain);
        ops::scale(t, a, 1.0).map(drop)
    }),
    ("scale", Value, |t| {
        let a = x(t, &[3]);
        ops::scale(t, a, f32::NAN).map(drop)
    }),
    ("scale", Value, |t| {
        let a = x(t, &[3]);
        ops::scale(t, a, f32::INFINITY).map(drop)
    }),
    ("mean", Shape, |t| {
        let a = x(t, &[2, 3, 5]);
        ops::mean(t, a).map(drop)
    }),
    ("mean", Shape, |t| {
        let a = at(t, &[8], Plain);
        ops::mean(t, a).map(drop)
    }),
    ("mean", Limit, |t| {
        let a = x(t, &[20_000_000]);
        ops::mean(t, a).map(drop)
    }),
    ("l2norm", Shape, |t| {
        let a = x(t, &[4]);
        ops::l2norm(t, a, 1e-6).map(drop)
    }),
    ("l2norm", Shape, |t| {
        let a = at(t, &[4, 4], Weight);
        ops::l2norm(t, a, 1e-6).map(drop)
    }),
    ("l2norm", Value, |t| {
        let a = x(t, &[4, 4]);
        ops::l2norm(t, a, 0.0).map(drop)
    }),
    ("l2norm", Value, |t| {
        let a = x(t, &[4, 4]);
        ops::l2norm(t, a, f32::NAN).map(drop)
    }),
    ("l2norm", Limit, |t| {
        let a = x(t, &[1, 3_000_000]);
        ops::l2norm(t, a, 1e-6).map(drop)
    }),
    ("avg_pool", Shape, |t| {
        let a = x(t, &[4, 4]);
        ops::avg_pool(t, a, 2, 2).map(drop)
    }),
    ("avg_pool", Value, |t| {
        let a = x(t, &[1, 1, 4, 4]);
        ops::avg_pool(t, a, 5, 1).map(drop)
    }),
    ("avg_pool", Value, |t| {
        let a = x(t, &[1, 1, 4, 4]);
        ops::avg_pool(t, a, 2, 0).map(drop)
    }),
    ("avg_pool", Limit, |t| {
        let a = x(t, &[1, 1, 400, 400]);
        ops::global_avg_pool(t, a).map(drop)
    }),
    ("max_pool", Shape, |t| {
        let a = x(t, &[4]);
        ops::max_pool(t, a, 2, 2, 0).map(drop)
    }),
    ("max_pool", Value, |t| {
        let a = x(t, &[1, 1, 4, 4]);
        ops::max_pool(t, a, 7, 1, 1).map(drop)
    }),
    ("max_pool", Value, |t| {
        let a = x(t, &[1, 1, 4, 4]);
        ops::max_pool(t, a, 3, 0, 0).map(drop)
    }),
    ("max_pool", Value, |t| {
        let a = x(t, &[1, 1, 4, 4]);
        ops::max_pool(t, a, 3, 1, 2).map(drop)
    }),
    ("max_pool", Value, |t| {
        let a = x(t, &[1, 1, 4, 4]);
        ops::max_pool(t, a, 3, 1, usize::MAX).map(drop)
    }),
    ("max_pool", Limit, |t| {
        let a = x(t, &[1, 1, 300, 300]);
        ops::max_pool(t, a, 300, 1, 0).map(drop)
    }),
    ("batch_norm", Shape, |t| norm(t, &[4], &[2, 4], &[5, 4], 1e-5)),
    ("batch_norm", Shape, |t| norm(t, &[4, 3], &[2, 2], &[5, 4], 1e-5)),
    ("batch_norm", Shape, |t| norm(t, &[4, 3], &[3, 3], &[5, 4], 1e-5)),
    ("batch_norm", Shape, |t| norm(t, &[4, 3], &[2, 3], &[4, 4], 1e-5)),
    ("batch_norm", Value, |t| norm(t, &[4, 3], &[2, 3], &[5, 4], -1.0)),
    ("batch_norm", Shape, |t| {
        let (a, affine, stats) = (x(t, &[4, 4]), at(t, &[2, 4], Plain), x(t, &[5, 4]));
        ops::batch_norm(t, a, Norm { affine, stats, eps: 1e-5 }, Then::default(), None).map(drop)
    }),
    ("batch_norm", Shape, |t| {
        let (a, affine, stats, other) = (x(t, &[4, 4]), x(t, &[2, 4]), x(t, &[5, 4]), x(t, &[4, 5]));
        let then = Then { addend: Some(other), relu: true };
        ops::batch_norm(t, a, Norm { affine, stats, eps: 1e-5 }, then, None).map(drop)
    }),
    ("batch_norm", Shape, |t| {
        let (a, affine, stats, parts) = (x(t, &[4, 8]), x(t, &[2, 8]), x(t, &[10, 4]), x(t, &[3, 4]));
        ops::batch_norm(t, a, Norm { affine, stats, eps: 1e-5 }, Then::default(), Some(parts)).map(drop)
    }),
    ("batch_norm", Shape, |t| {
        let (a, affine, stats, parts) = (x(t, &[4, 8]), x(t, &[2, 8]), x(t, &[10, 4]), x(t, &[4, 8]));
        ops::batch_norm(t, a, Norm { affine, stats, eps: 1e-5 }, Then::default(), Some(parts)).map(drop)
    }),
    ("batch_norm", Shape, |t| {
        let (affine, stats, m, v) = (x(t, &[2, 5]), x(t, &[10, 4]), x(t, &[5]), x(t, &[4]));
        ops::batch_norm_freeze(t, Norm { affine, stats, eps: 1e-5 }, m, v)
    }),
    ("batch_norm", Shape, |t| {
        let (s, m, v) = (x(t, &[2, 5]), x(t, &[5]), x(t, &[5]));
        ops::batch_norm_running(t, s, m, v, 0.1)
    }),
    ("conv2d", Shape, |t| conv(t, &[3, 4, 4], &[2, 3, 1, 1], Weight, [1, 0, 1])),
    ("conv2d", Shape, |t| conv(t, &[1, 3, 4, 4], &[2, 4, 1, 1], Weight, [1, 0, 1])),
    ("conv2d", Shape, |t| conv(t, &[1, 3, 4, 4], &[2, 3, 1, 1], Rows, [1, 0, 1])),
    ("conv2d", Shape, |t| conv(t, &[1, 4, 4, 4], &[3, 2, 1, 1], Weight, [1, 0, 2])),
    ("conv2d", Shape, |t| conv(t, &[1, 3, 4, 4], &[2, 3, 7, 7], Weight, [1, 1, 1])),
    ("conv2d", Value, |t| conv(t, &[1, 3, 4, 4], &[2, 3, 1, 1], Weight, [0, 0, 1])),
    ("conv2d", Value, |t| conv(t, &[1, 3, 4, 4], &[2, 3, 1, 1], Weight, [1, 0, 0])),
    ("conv2d", Value, |t| conv(t, &[1, 3, 4, 4], &[2, 3, 1, 1], Weight, [1, usize::MAX, 1])),
    ("conv2d", Shape, |t| conv(t, &[1, 3, 4, 4], &[2, 3, 1, 1], Weight, [1, 0, usize::MAX])),
    ("conv2d", Limit, |t| conv(t, &[1, 3, 224, 224], &[2, 3, 224, 224], Weight, [1, 0, 1])),
    ("gemm", Shape, |t| linear(t, &[4], &[3, 4], None)),
    ("gemm", Shape, |t| linear(t, &[2, 4], &[3, 5], None)),
    ("gemm", Shape, |t| linear(t, &[2, 4], &[3, 4], Some(&[4]))),
    ("gemm", Shape, |t| {
        let (a, w) = (x(t, &[2, 4]), x(t, &[3, 4]));
        ops::linear(t, a, w, None).map(drop)
    }),
    ("gemm", Shape, |t| {
        let (f, v) = (x(t, &[2, 4]), x(t, &[3, 5]));
        ops::scores(t, f, v).map(drop)
    }),
    ("gemm", Limit, |t| linear(t, &[1, 300_000], &[4, 300_000], None)),
    ("column_sums", Shape, |t| linear(t, &[2, 4], &[3, 4], Some(&[3, 1]))),
    ("scale_by", Shape, |t| soft(t, &[2, 4], &[3, 4], &[3], 0.1)),
    ("nce", Shape, |t| nce(t, &[4], &[5, 4], &[4], &[4, 2], &[4], 0.1)),
    ("nce", Shape, |t| nce(t, &[2, 4], &[5, 3], &[2], &[2, 3], &[4], 0.1)),
    ("nce", Shape, |t| nce(t, &[2, 4], &[5, 4], &[3], &[2, 3], &[4], 0.1)),
    ("nce", Shape, |t| nce(t, &[2, 4], &[5, 4], &[2], &[6], &[4], 0.1)),
    ("nce", Shape, |t| nce(t, &[2, 4], &[5, 4], &[2], &[2, 3], &[1], 0.1)),
    ("nce", Value, |t| nce(t, &[2, 4], &[5, 4], &[2], &[2, 3], &[4], 0.0)),
    ("nce", Value, |t| nce(t, &[2, 4], &[5, 4], &[2], &[2, 3], &[4], f32::NAN)),
    ("nce", Value, |t| nce(t, &[2, 513], &[5, 513], &[2], &[2, 3], &[4], 0.1)),
    ("nce", Limit, |t| nce(t, &[1, 512], &[5, 512], &[1], &[1, 1_000_000], &[4], 0.1)),
    ("nce", Value, |t| {
        let (s, z) = (x(t, &[2]), x(t, &[4]));
        ops::nce_estimate(t, s, z, 3, 5, 1.5)
    }),
    ("nce", Shape, |t| {
        let (s, z) = (x(t, &[2]), x(t, &[5]));
        ops::nce_estimate(t, s, z, 3, 5, 0.5)
    }),
    ("nce", Limit, |t| {
        let (s, z) = (x(t, &[40_000]), x(t, &[4]));
        ops::nce_estimate(t, s, z, 3, 5, 0.5)
    }),
    ("softmax", Shape, |t| soft(t, &[2, 4], &[3, 5], &[2], 0.1)),
    ("softmax", Shape, |t| soft(t, &[2, 4], &[3, 4, 1, 1], &[2], 0.1)),
    ("softmax", Value, |t| soft(t, &[2, 4], &[3, 4], &[2], -0.1)),
    ("softmax", Value, |t| soft(t, &[2, 600], &[3, 600], &[2], 0.1)),
    ("top_k", Shape, |t| best(t, &[2, 4], &[3, 5], 1)),
    ("top_k", Shape, |t| best(t, &[2, 0], &[3, 0], 1)),
    ("top_k", Value, |t| best(t, &[2, 4], &[3, 4], 0)),
    ("top_k", Value, |t| best(t, &[2, 4], &[3, 4], 4)),
    ("top_k", Limit, |t| best(t, &[2, 4], &[9000, 4], 9000)),
    ("prox", Shape, |t| near(t, &[2, 4], &[3, 5], &[2])),
    ("prox", Shape, |t| near(t, &[2, 4], &[3, 4], &[2, 1])),
    ("prox", Shape, |t| near(t, &[2, 4], &[0, 4], &[2])),
    ("prox", Shape, |t| {
        let (f, v, o) = (x(t, &[2, 4]), x(t, &[3, 4]), x(t, &[2]));
        ops::prox(t, f, v, o).map(drop)
    }),
    ("bank_update", Shape, |t| update(t, &[2, 4], &[3, 5], &[2], 0.5)),
    ("bank_update", Shape, |t| update(t, &[2, 4], &[3, 4], &[3], 0.5)),
    ("bank_update", Value, |t| update(t, &[2, 4], &[3, 4], &[2], 1.5)),
    ("bank_update", Value, |t| update(t, &[2, 4], &[3, 4], &[2], f32::NAN)),
    ("negatives", Value, |t| {
        let o = u(t, &[2]);
        ops::negatives(t, o, 0, 5, true).map(drop)
    }),
    ("negatives", Value, |t| {
        let o = u(t, &[2]);
        ops::negatives(t, o, 3, 1, true).map(drop)
    }),
    ("negatives", Shape, |t| {
        let o = x(t, &[2]);
        ops::negatives(t, o, 3, 5, true).map(drop)
    }),
    ("negatives", Shape, |t| {
        let o = u(t, &[2, 2]);
        ops::negatives(t, o, 3, 5, true).map(drop)
    }),
    ("augment", Shape, |t| augment(t, &[2, 3], |_| ())),
    ("augment", Shape, |t| augment(t, &[8], |_| ())),
    ("augment", Value, |t| augment(t, &[2, 4], |s| s.side = 0)),
    ("augment", Value, |t| augment(t, &[2, 4], |s| s.area = [0.5, 0.2])),
    ("augment", Value, |t| augment(t, &[2, 4], |s| s.aspect = 0.5)),
    ("augment", Value, |t| augment(t, &[2, 4], |s| s.deviation[1] = 0.0)),
    ("augment", Value, |t| augment(t, &[2, 4], |s| s.hue = f32::NAN)),
    ("sgd", Value, |t| sgd(t, 1.0, 0.0)),
    ("sgd", Value, |t| sgd(t, -0.1, 0.0)),
    ("sgd", Value, |t| sgd(t, 0.9, -1.0)),
    ("sgd", Value, |t| sgd(t, 0.9, f32::NAN)),
    ("finite", Value, |t| {
        let mut other = Tape::new(gpu());
        let a = x(&mut other, &[4]);
        t.guard_finite(a)
    }),
];

fn sgd(t: &mut Tape, momentum: f32, weight_decay: f32) -> Result<()> {
    let store = instdisc::tape::StoreBuilder::default().build(gpu())?;
    ops::sgd(t, &store, ops::Sgd { momentum, weight_decay })
}

#[test]
fn every_error_input_has_its_variant_and_the_device_works_on() {
    let mut wrong = Vec::new();
    for (i, (op, kind, record)) in ROWS.iter().enumerate() {
        let got = record(&mut Tape::new(gpu()));
        let fits = match (&got, kind) {
            (Err(Error::Shape { .. }), Shape) | (Err(Error::Value { .. }), Value) => true,
            (Err(Error::Limit { asked, allowed, .. }), Limit) => asked > allowed,
            _ => false,
        };
        if !fits {
            wrong.push(format!("row {i}, {op}: {kind:?} expected, got {got:?}"));
        }
    }
    let ops: std::collections::BTreeSet<_> = ROWS.iter().map(|(op, ..)| *op).collect();
    println!("scorecard errors {} error inputs of {} ops, {} wrong", ROWS.len(), ops.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(ops.len(), ops::OPS.len(), "{ops:?}");
    works();
}

/// The device computes a small thing right, and nothing reached the handler.
fn works() {
    let mut tape = Tape::new(gpu());
    let a = x(&mut tape, &[3]);
    let y = ops::scale(&mut tape, a, 2.0).unwrap();
    tape.keep(y).unwrap();
    let mut program = tape.compile().unwrap();
    program.write(a, &[1.0, -1.0, 2.0]).unwrap();
    program.run().unwrap();
    assert_eq!(program.read(y).unwrap(), [2.0, -2.0, 4.0]);
    assert_eq!(gpu().uncaptured_errors(), 0);
}

/// What `record` gives with these indices, every result in a buffer of its own with guard words.
fn with_indices(own: &[u32], rows: &[u32]) -> Vec<Vec<f32>> {
    let (b, dim, n, m) = (3, 5, 7, 4);
    let numbers = |count: usize, k: usize| (0..count).map(|i| ((i * k) % 11) as f32 * 0.1 - 0.5).collect::<Vec<_>>();
    let mut t = Tape::new(gpu());
    let (f, bank, z) = (x(&mut t, &[b, dim]), x(&mut t, &[n, dim]), x(&mut t, &[4]));
    let changed = x(&mut t, &[n, dim]);
    let (o, r) = (u(&mut t, &[b]), u(&mut t, &[b, m]));
    t.track(f).unwrap();
    let nce = ops::nce(&mut t, f, bank, o, r, z, 0.1).unwrap();
    let soft = ops::softmax(&mut t, f, bank, o, 0.1).unwrap();
    let near = ops::prox(&mut t, f, bank, o).unwrap();
    let sum = ops::add(&mut t, nce.loss, soft.loss).unwrap();
    let mean = ops::mean(&mut t, near).unwrap();
    let loss = ops::add(&mut t, sum, mean).unwrap();
    t.backward(loss).unwrap();
    ops::bank_update(&mut t, changed, f, o, 0.5).unwrap();
    let drawn = ops::negatives(&mut t, o, m, n, true).unwrap();
    let results = [nce.losses, nce.spread, soft.losses, near, t.grad(f).unwrap(), changed];
    results.iter().chain([&drawn]).for_each(|result| t.keep(*result).unwrap());
    let mut program = t.compile_guarded().unwrap();
    program.write(f, &numbers(b * dim, 3)).unwrap();
    program.write(bank, &numbers(n * dim, 7)).unwrap();
    program.write(changed, &numbers(n * dim, 7)).unwrap();
    program.write(z, &[2.0, 1.0, 0.0, 0.0]).unwrap();
    program.write_u32(o, own).unwrap();
    program.write_u32(r, rows).unwrap();
    program.run().unwrap();
    let found = program.inspect().unwrap();
    assert!(found.overrun.is_empty() && found.unwritten.is_empty(), "{found:?}");
    assert!(program.read_words(drawn).unwrap().iter().all(|row| (*row as usize) < n), "a negative outside the bank");
    results.iter().map(|result| program.read(*result).unwrap()).collect()
}

#[test]
fn indices_out_of_range_are_clamped() {
    let last = with_indices(&[6, 1, 6], &[6, 6, 0, 6, 1, 2, 6, 6, 0, 0, 0, 6]);
    for far in [7, 8, 1000, 1 << 20, u32::MAX - 1, u32::MAX] {
        let got = with_indices(&[far, 1, far], &[far, far, 0, 6, 1, 2, far, far, 0, 0, 0, far]);
        assert_eq!(got, last, "{far}");
    }
    works();
}

#[test]
fn wild_tables_of_images_stay_inside_the_pixels() {
    let mut t = Tape::new(gpu());
    let (pixels, table) = (u(&mut t, &[30]), u(&mut t, &[7, 4]));
    let y = ops::augment(&mut t, pixels, table, Augmentation::paper(9)).unwrap();
    t.keep(y).unwrap();
    let mut program = t.compile_guarded().unwrap();
    program.write_u32(pixels, &[0x80_40_20_10; 30]).unwrap();
    let far = u32::MAX;
    let rows =
        [[0, 5, 5, 0], [far, 5, 5, 0], [29, 60_000, 60_000, 1], [0, far, far, 0], [7, 0, 0, 0], [0, 0, 9, 0], [0, 1, far, 0]];
    program.write_u32(table, &rows.concat()).unwrap();
    program.run().unwrap();
    assert_eq!(program.inspect().unwrap().overrun, Vec::<String>::new());
    assert!(program.read(y).unwrap()[..3 * 81].iter().all(|v| v.is_finite()));
    works();
}

/// NaN and infinity are passed on, and not hidden.
#[test]
fn not_a_number_is_passed_on() {
    let mut t = Tape::new(gpu());
    let a = x(&mut t, &[1, 1, 2, 4]);
    let outputs = [ops::relu(&mut t, a), ops::max_pool(&mut t, a, 2, 2, 0), ops::scale(&mut t, a, 0.5)].map(Result::unwrap);
    let pooled = ops::global_avg_pool(&mut t, a).unwrap();
    let unit = ops::l2norm(&mut t, pooled, 1e-6).unwrap();
    outputs.iter().chain([&pooled, &unit]).for_each(|o| t.keep(*o).unwrap());
    let mut program = t.compile().unwrap();
    for value in [f32::NAN, -f32::NAN, f32::INFINITY] {
        for place in 0..8 {
            let mut values = [-1.0; 8];
            values[place] = value;
            program.write(a, &values).unwrap();
            program.run().unwrap();
            for output in outputs.iter().chain([&pooled, &unit]) {
                let got = program.read(*output).unwrap();
                assert!(got.iter().any(|v| !v.is_finite()), "{value} at {place} is lost in {output:?}: {got:?}");
            }
        }
    }
}

/// Among equals the first has the gradient; zero of either sign has none.
#[test]
fn ties_and_zeros_are_as_stated() {
    let mut t = Tape::new(gpu());
    let (image, vector) = (x(&mut t, &[1, 1, 4, 4]), x(&mut t, &[8]));
    t.track(image).unwrap();
    t.track(vector).unwrap();
    let pooled = ops::max_pool(&mut t, image, 2, 2, 0).unwrap();
    let pooled = ops::mean(&mut t, pooled).unwrap();
    let above = ops::relu(&mut t, vector).unwrap();
    let mean = ops::mean(&mut t, above).unwrap();
    let loss = ops::add(&mut t, pooled, mean).unwrap();
    t.backward(loss).unwrap();
    let grads = [image, vector].map(|x| t.grad(x).unwrap());
    t.keep(above).unwrap();
    let mut program = t.compile().unwrap();
    program.write(image, &[0.5; 16]).unwrap();
    program.write(vector, &[0.0, -0.0, -1e-40, 1.0, -1.0, f32::MIN_POSITIVE, f32::NEG_INFINITY, 3.0]).unwrap();
    program.run().unwrap();
    let q = 0.25;
    assert_eq!(program.read(grads[0]).unwrap(), [q, 0., q, 0., 0., 0., 0., 0., q, 0., q, 0., 0., 0., 0., 0.]);
    let e = 0.125;
    assert_eq!(program.read(grads[1]).unwrap(), [0., 0., 0., e, 0., e, 0., e]);
    assert!(program.read_words(above).unwrap()[..3].iter().all(|bits| *bits == 0), "zero without a sign");
}

/// A gradient that the host has given is not written over: an `add` hands its own on to one of its inputs.
#[test]
fn a_given_upstream_stays_as_it_is() {
    let mut t = Tape::new(gpu());
    let a = x(&mut t, &[4]);
    t.track(a).unwrap();
    let y = ops::relu(&mut t, a).unwrap();
    let sum = ops::add(&mut t, y, a).unwrap();
    let upstream = x(&mut t, &[4]);
    t.backward_from(sum, upstream).unwrap();
    let grad = t.grad(a).unwrap();
    let mut program = t.compile().unwrap();
    program.write(a, &[1.0, -1.0, 2.0, -2.0]).unwrap();
    program.write(upstream, &[1.0, 2.0, 3.0, 4.0]).unwrap();
    for _ in 0..3 {
        program.run().unwrap();
        assert_eq!(program.read(grad).unwrap(), [2.0, 2.0, 6.0, 4.0]);
        assert_eq!(program.read(upstream).unwrap(), [1.0, 2.0, 3.0, 4.0]);
    }
}
