//! Cases of the ops that go element by element, and of the mean.

use super::{Case, Numbers, Tiny};
use crate::ops;
use crate::shape::Layout;
use crate::tape::{Element, Store, StoreBuilder};
use crate::twin::{self, Reference};
use std::sync::{Arc, Mutex, PoisonError};

/// One, a prime, a workgroup less and more than whole, vectors, matrices and images, and eight at random.
fn shapes(seed: usize) -> Vec<(Vec<usize>, Layout)> {
    let fixed: [&[usize]; 16] = [
        &[1],
        &[4],
        &[7],
        &[255],
        &[256],
        &[257],
        &[1021],
        &[1, 1],
        &[2, 3],
        &[65, 63],
        &[127, 129],
        &[1, 1, 1, 1],
        &[2, 3, 5, 7],
        &[3, 8, 4, 4],
        &[1, 65, 3, 2],
        &[70_001, 1],
    ];
    let mut shapes: Vec<_> = fixed.iter().map(|dims| (dims.to_vec(), Layout::Rows)).collect();
    shapes.push((vec![5, 3, 3, 2], Layout::Weight));
    shapes.push((vec![6, 9], Layout::Weight));
    let mut random = Numbers::new(seed);
    for i in 0..8 {
        let dims = match i % 3 {
            0 => vec![1 + random.below(2000)],
            1 => vec![1 + random.below(60), 1 + random.below(60)],
            _ => (0..4).map(|_| 1 + random.below(9)).collect(),
        };
        shapes.push((dims, Layout::Rows));
    }
    shapes
}

fn tiny_of(dims: &[usize], layout: Layout) -> Tiny {
    let words = crate::shape::Shape::new(dims).map_or(usize::MAX, |shape| layout.count(shape));
    if words * 4 > 65_536 { Tiny::Limit } else { Tiny::Runs }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, (dims, layout)) in shapes(1).into_iter().enumerate() {
        let (n, label, mut random) = (dims.iter().product(), format!("{dims:?} {layout:?}"), Numbers::new(100 + i));
        let tiny = tiny_of(&dims, layout);
        let case = Case::new("add", &label).tiny(tiny);
        cases.push(case.tracked("a", &dims, layout, random.normal(n)).tracked("b", &dims, layout, random.normal(n)).op(
            0,
            |tape, x, _| Ok(vec![ops::add(tape, x[0], x[1])?]),
            |x, _| vec![twin::add::add(&x[0], &x[1])],
        ));
        let case = Case::new("relu", &label).tiny(tiny);
        cases.push(case.tracked("x", &dims, layout, random.normal(n)).op(
            0,
            |tape, x, _| Ok(vec![ops::relu(tape, x[0])?]),
            |x, _| vec![twin::relu::relu(&x[0])],
        ));
        let by = [1.0, -1.0, 0.0, 0.3, -7.5e3, 1e-6][i % 6];
        let case = Case::new("scale", format!("{label} by {by}")).tiny(tiny);
        cases.push(case.tracked("x", &dims, layout, random.normal(n)).op(
            0,
            move |tape, x, _| Ok(vec![ops::scale(tape, x[0], by)?]),
            move |x, _| {
                let by = f64::from(by);
                vec![Reference::new(&[x[0].len()], x[0].iter().map(|x| (x * by, (x * by).abs())))]
            },
        ));
        if layout == Layout::Rows {
            cases.push(mean(&dims, &mut random, tiny));
        }
    }
    cases.push(edges());
    for dims in [vec![300_000], vec![3, 2, 200, 211], vec![70_000, 5]] {
        cases.push(mean(&dims, &mut Numbers::new(7), Tiny::Limit).samples(4));
    }
    cases.extend(finite());
    cases.extend(sgd());
    cases.extend(scale_by());
    cases
}

/// The bits at the edge of what a ReLU lets pass.
fn edges() -> Case {
    let values = [0.0, -0.0, 1e-40, -1e-40, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, f32::MAX, f32::MIN, 1.0, -1.0].to_vec();
    let mut case = Case::new("relu", "zeros, denormals and the largest").tracked("x", &[10], Layout::Rows, values).op(
        0,
        |tape, x, _| Ok(vec![ops::relu(tape, x[0])?]),
        |x, _| vec![twin::relu::relu(&x[0])],
    );
    case.kinks = true;
    case
}

/// Away from zero, so that the difference quotient of a small share stays exact.
fn mean(dims: &[usize], random: &mut Numbers, tiny: Tiny) -> Case {
    let n = dims.iter().product();
    let words = crate::shape::Shape::new(dims).map_or(n, |shape| Layout::Rows.count(shape));
    let values = random.between(n, 0.5, 2.0).into_iter().zip(random.normal(n)).map(|(x, sign)| x.copysign(sign)).collect();
    Case::new("mean", format!("{dims:?}")).tiny(tiny).tracked("x", dims, Layout::Rows, values).op(
        words.div_ceil(256) + 8,
        |tape, x, _| Ok(vec![ops::mean(tape, x[0])?]),
        |x, _| vec![twin::mean::mean(&x[0])],
    )
}

fn finite() -> Vec<Case> {
    let mut random = Numbers::new(9);
    let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -f32::MAX, 1e-40];
    let mut cases = Vec::new();
    for (i, n) in [1, 2, 4, 63, 64, 65, 255, 4095, 4096, 4097, 8192, 10_007, 300_001].into_iter().enumerate() {
        for k in 0..3 {
            // Nothing bad, then a bad (or only large) number first, last or anywhere.
            let mut values = random.normal(n);
            let mut label = format!("[{n}] finite");
            if k > 0 {
                let value = bad[(2 * i + k) % 6];
                let place = [0, n - 1, random.below(n)][(i + k) % 3];
                values[place] = value;
                label = format!("[{n}] with {value} at {place}");
            }
            let case = Case::new("finite", label).tiny(if n > 16_384 { Tiny::Limit } else { Tiny::Runs });
            cases.push(case.input("x", &[n], Layout::Rows, values).op(
                0,
                |tape, x, _| {
                    tape.guard_finite(x[0])?;
                    Ok(vec![tape.guard()?])
                },
                |x, _| {
                    let flag = f64::from(u8::from(twin::finite::first_non_finite(&x[0]).is_some()));
                    vec![Reference::new(&[4], [(flag, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)])]
                },
            ));
        }
    }
    cases
}

/// A store's slab is all of one parameter here: a multiple of 64 words, so that no device's alignment widens it.
fn sgd() -> Vec<Case> {
    let mut random = Numbers::new(10);
    let mut sizes = vec![64, 128, 192, 256, 320, 448, 960, 1024, 1088, 2048, 4096, 8000, 16_320, 16_384, 131_072, 640_000];
    sizes.extend((0..10).map(|_| 64 * (1 + random.below(200))));
    let mut cases = Vec::new();
    for (i, n) in sizes.into_iter().enumerate() {
        let (momentum, decay) = [(0.9, 5e-4), (0.0, 0.0), (0.9, 0.0), (0.0, 0.1), (0.999, 1.0)][i % 5];
        let raised = i % 7 == 3;
        let label = format!("[{n}] momentum {momentum}, decay {decay}{}", if raised { ", the guard up" } else { "" });
        let mut case = Case::new("sgd", label).tiny(if n > 16_384 { Tiny::Limit } else { Tiny::Runs });
        for name in ["w", "g", "v"] {
            case = case.input(name, &[n], Layout::Plain, random.normal(n));
        }
        if raised {
            case.inputs[1].values[n / 2] = f32::INFINITY;
        }
        case.step.lr = [0.03, 0.0, 1.5][i % 3];
        let lr = f64::from(case.step.lr);
        let (momentum64, decay64) = (f64::from(momentum), f64::from(decay));
        // The store is made with the inputs, and read when the op is recorded.
        let made: Arc<Mutex<Option<Store>>> = Arc::default();
        let used = made.clone();
        let mut case = case.op(
            1,
            move |tape, x, _| {
                if let Some(store) = &*used.lock().unwrap_or_else(PoisonError::into_inner) {
                    ops::guard_gradients(tape, store)?;
                    ops::sgd(tape, store, ops::Sgd { momentum, weight_decay: decay })?;
                }
                Ok(vec![x[0], x[2]])
            },
            move |x, _| {
                let exact = |values: &[f64]| Reference::new(&[values.len()], values.iter().map(|v| (*v, 0.0)));
                if raised {
                    return vec![exact(&x[0]), exact(&x[2])];
                }
                let (w, v) = twin::sgd::sgd(&x[0], &x[1], &x[2], lr, momentum64, decay64);
                vec![w, v]
            },
        );
        case.bind = Some(Box::new(move |tape| {
            let mut builder = StoreBuilder::default();
            builder.parameter("w", &[n], Layout::Plain, vec![0.0; n])?;
            let store = builder.build(tape.gpu())?;
            let slab = &store.slabs()[0];
            let parts = [("w", &slab.values), ("g", &slab.grads), ("v", &slab.momentum)];
            let tensors = parts.map(|(name, range)| tape.bound(name, &[n], Layout::Plain, Element::F32, range.clone()));
            let tensors = tensors.into_iter().collect();
            *made.lock().unwrap_or_else(PoisonError::into_inner) = Some(store);
            tensors
        }));
        cases.push(case);
    }
    cases
}

/// The backward rule of the losses has no function of its own: it is reached through the softmax, for an upstream that is
/// not the constant 1.
fn scale_by() -> Vec<Case> {
    let mut random = Numbers::new(11);
    let mut sizes: Vec<(usize, usize)> = [1, 2, 3, 4, 5, 31, 63, 64, 65, 127, 257, 512].map(|b| (b, 4)).to_vec();
    sizes.extend([1, 3, 4, 5, 8, 128].map(|dim| (7, dim)));
    sizes.extend((0..8).map(|_| (1 + random.below(100), [1, 3, 4, 5, 8, 128][random.below(6)])));
    let row = |(i, (b, dim)): (usize, (usize, usize))| {
        let (n, mut random) = (9, Numbers::new(1100 + i));
        let case = Case::new("scale_by", format!("[{b}, {dim}]"));
        let case = case.tracked("f", &[b, dim], Layout::Rows, random.unit_rows(b, dim));
        let case = case.input("bank", &[n, dim], Layout::Rows, random.unit_rows(n, dim));
        let case = case.integers("own", &[b], random.indices(b, n));
        let own = case.integers[0].values.clone();
        let tiny = if b * crate::shape::padded(dim) > 16_384 { Tiny::Limit } else { Tiny::Runs };
        case.tiny(tiny).op(
            crate::shape::padded(dim) / 4 + 3 + n + b.div_ceil(256) + 8,
            |tape, x, own| Ok(vec![ops::softmax(tape, x[0], x[1], own[0], 0.5)?.loss]),
            move |x, _| vec![twin::mean::of(&twin::softmax::softmax(&x[0], &x[1], dim, &own, 0.5))],
        )
    };
    sizes.into_iter().enumerate().map(row).collect()
}
