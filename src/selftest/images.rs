//! Cases of the ops on images.

use super::{Case, Numbers, Tiny};
use crate::ops::{self, Augmentation, Conv};
use crate::rng::{self, Stream};
use crate::shape::{Layout, padded};
use crate::tape::{Tape, Tensor};
use crate::twin::{self, Reference};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = convolutions();
    cases.extend(pools());
    cases.extend(batch_norms());
    cases.extend(augmentations());
    cases
}

fn large(words: usize) -> Tiny {
    if words > 16_384 { Tiny::Limit } else { Tiny::Runs }
}

/// n, channels a group in and out, sides, window, and stride, padding and groups.
type Shape = ([usize; 3], [usize; 2], [usize; 2], [usize; 3]);

fn convolutions() -> Vec<Case> {
    let mut shapes: Vec<Shape> = vec![
        ([1, 1, 1], [1, 1], [1, 1], [1, 0, 1]),
        ([2, 3, 5], [7, 7], [3, 3], [1, 1, 1]),
        ([1, 3, 8], [14, 15], [7, 7], [2, 3, 1]),
        ([2, 4, 4], [6, 6], [1, 1], [1, 0, 1]),
        ([1, 8, 17], [5, 9], [1, 1], [2, 0, 1]),
        ([2, 5, 16], [8, 8], [3, 3], [2, 1, 1]),
        ([1, 4, 4], [9, 9], [3, 3], [3, 0, 1]),
        ([1, 2, 3], [5, 5], [5, 5], [1, 2, 1]),
        ([1, 3, 2], [4, 6], [2, 3], [1, 1, 1]),
        ([1, 16, 33], [3, 3], [3, 3], [1, 1, 1]),
        ([3, 7, 12], [4, 4], [2, 2], [2, 0, 1]),
        // Groups on whole vectors.
        ([2, 4, 4], [6, 5], [3, 3], [1, 1, 2]),
        ([1, 8, 4], [5, 5], [3, 3], [2, 1, 3]),
        // Groups that are not: two, three and one channel each.
        ([2, 2, 2], [5, 6], [3, 3], [1, 1, 2]),
        ([1, 3, 5], [6, 5], [3, 3], [2, 1, 3]),
        ([1, 1, 1], [6, 6], [3, 3], [1, 1, 7]),
        ([2, 1, 2], [5, 5], [3, 3], [2, 1, 4]),
        ([1, 6, 1], [4, 4], [1, 1], [1, 0, 2]),
        // Every channel by itself: in more than one tile, at both strides; a line that is no square's; more padding than a window.
        ([2, 1, 1], [9, 11], [3, 3], [1, 1, 9]),
        ([1, 1, 1], [10, 19], [3, 3], [2, 1, 6]),
        ([1, 1, 1], [9, 9], [5, 5], [1, 2, 4]),
        ([1, 1, 1], [5, 6], [1, 3], [1, 1, 5]),
        ([1, 1, 1], [3, 2], [2, 2], [1, 3, 5]),
        // The gradient of its input at stride 2, by patches; and of one tap or few.
        ([1, 1, 1], [7, 9], [3, 3], [2, 0, 5]),
        ([1, 1, 1], [6, 5], [2, 3], [2, 3, 5]),
        ([1, 1, 1], [11, 12], [5, 5], [2, 2, 4]),
        ([1, 1, 1], [4, 5], [1, 1], [1, 0, 5]),
        ([2, 1, 1], [5, 6], [2, 2], [1, 1, 5]),
        // Strips of pixels that end in a line, at both strides; more than one vector a group; few channels of an image.
        ([2, 8, 8], [5, 35], [3, 3], [1, 1, 2]),
        ([1, 8, 12], [6, 37], [3, 3], [2, 1, 2]),
        ([2, 12, 4], [5, 18], [2, 3], [2, 2, 2]),
        ([2, 3, 20], [7, 19], [3, 2], [1, 1, 1]),
        // Stride above the window, padding above the image, a window as large as the image.
        ([1, 3, 4], [9, 8], [1, 2], [4, 0, 1]),
        ([1, 2, 3], [2, 2], [3, 3], [1, 4, 1]),
        ([2, 4, 5], [6, 6], [6, 6], [1, 0, 1]),
        ([1, 4, 4], [7, 7], [3, 3], [2, 2, 1]),
        // Many rows: weight gradients in parts, aligned and not, and of Winograd's algorithms too.
        ([3, 4, 4], [40, 37], [1, 1], [1, 0, 1]),
        ([2, 4, 4], [64, 64], [3, 3], [1, 1, 1]),
        ([2, 1, 1], [40, 37], [3, 3], [1, 1, 3]),
        // Lanes that go down an image: every padding at stride 2, sums over one to four vectors, runs of lines of which one is short.
        ([2, 8, 8], [9, 11], [3, 3], [2, 0, 2]),
        ([1, 8, 8], [8, 7], [3, 3], [2, 2, 3]),
        ([2, 8, 4], [7, 10], [2, 2], [2, 1, 2]),
        ([1, 4, 16], [9, 6], [3, 3], [2, 1, 2]),
        ([2, 16, 8], [6, 7], [3, 3], [2, 1, 2]),
        ([3, 4, 4], [49, 40], [3, 3], [1, 1, 2]),
        // Lanes that go down several images, the last of them down fewer (where there are not too many cores).
        ([129, 4, 4], [3, 4], [3, 3], [1, 1, 16]),
        ([65, 8, 8], [4, 3], [3, 3], [2, 1, 8]),
    ];
    let mut random = Numbers::new(50);
    for _ in 0..8 {
        let groups = [1, 1, 2, 3][random.below(4)];
        let window = [1 + random.below(4), 1 + random.below(4)];
        let pad = random.below(3);
        let side = |random: &mut Numbers, k: usize| k.saturating_sub(2 * pad).max(1) + random.below(8);
        let sides = [side(&mut random, window[0]), side(&mut random, window[1])];
        let channels = [1 + random.below(2), 1 + random.below(9), 1 + random.below(9)];
        shapes.push((channels, sides, window, [1 + random.below(3), pad, groups]));
    }
    let mut cases: Vec<_> = shapes.into_iter().enumerate().map(|(i, shape)| convolution(shape, 5000 + i)).collect();
    // Whole multiples of every tile, in each direction: forward and weight gradient, the same with the weight gradient in parts,
    // all at one tap, input gradient; and of small tiles, by Winograd's algorithms.
    for (i, shape) in [
        ([2, 32, 128], [9, 9], [2, 2], [1, 0, 1]),
        ([2, 32, 128], [17, 17], [2, 2], [1, 0, 1]),
        ([2, 128, 128], [16, 16], [1, 1], [2, 0, 1]),
        ([2, 128, 16], [8, 8], [3, 3], [1, 1, 1]),
        ([8, 32, 32], [8, 8], [3, 3], [1, 1, 1]),
    ]
    .into_iter()
    .enumerate()
    {
        cases.push(convolution(shape, 5200 + i).samples(3).tiny(Tiny::Limit));
    }
    // Algorithms that may be chosen nowhere else. Winograd's: whole tiles and ragged ones, more padding than a window, one pixel.
    let winograd = [
        ([2, 5, 9], [8, 4], [3, 3], [1, 1, 1]),
        ([1, 3, 2], [7, 5], [3, 3], [1, 0, 1]),
        ([2, 4, 1], [3, 6], [3, 3], [1, 2, 1]),
        ([1, 1, 6], [2, 1], [3, 3], [1, 3, 1]),
    ];
    // For GPUs: strides and groups, a weight gradient in parts, and a rest in every direction.
    let tiled = [([2, 4, 8], [7, 9], [3, 2], [2, 1, 2]), ([2, 5, 3], [19, 33], [3, 3], [1, 1, 1])];
    let by = |shapes: &[Shape], algorithm| shapes.iter().map(move |shape| (*shape, algorithm)).collect::<Vec<_>>();
    let chosen =
        [by(&winograd, "winograd2 lanes 8x4"), by(&winograd, "winograd4 lanes 8x4"), by(&tiled, "direct tiled 32x32x16 4x4")];
    for (i, (shape, algorithm)) in chosen.concat().into_iter().enumerate() {
        let mut case = convolution(shape, 5300 + i);
        case.label = format!("{}, {algorithm}", case.label);
        case.algorithm = Some(algorithm);
        cases.push(case.tiny(Tiny::Runs));
    }
    // Weight gradients down tall images, below the rounds that a lane may loop, and above them but for parts. By line buffers alone
    // (with run-time checks, where these do not go down so far, by the preferred ones): by every algorithm they would take long.
    for (i, sides) in [[47_000, 2], [20_000, 16]].into_iter().enumerate() {
        let (mut case, algorithm) = (convolution(([1, 4, 4], sides, [3, 3], [1, 1, 2]), 5350 + i), "line_buffer lanes 4x1");
        case.label = format!("{}, {algorithm}", case.label);
        case.algorithm = Some(algorithm);
        cases.push(case.samples(1).tiny(Tiny::Limit));
    }
    // Above the rounds that a lane may loop: rows of the weight gradient, in both families.
    cases.push(convolution(([1, 1, 1], [300, 700], [1, 1], [1, 0, 1]), 5100).samples(1));
    cases.push(convolution(([1, 1, 1], [300, 350], [1, 1], [1, 0, 2]), 5101).samples(1));
    cases
}

fn convolution((channels, sides, window, how): Shape, seed: usize) -> Case {
    let ([n, ci, co], [h, w], [kh, kw], [stride, pad, groups]) = (channels, sides, window, how);
    let mut random = Numbers::new(seed);
    let (xs, ws) = ([n, ci * groups, h, w], [co * groups, ci, kh, kw]);
    let label = format!("x {xs:?}, weight {ws:?}, stride {stride}, pad {pad}, groups {groups}");
    let case = Case::new("conv2d", label);
    let case = case.tracked("x", &xs, Layout::Rows, random.normal(xs.iter().product()));
    let case = case.tracked("weight", &ws, Layout::Weight, random.normal(ws.iter().product()));
    // The kernels for groups of any width take a lane a vec4: more workgroups than a tiny device has. Those for channels by
    // themselves do not.
    let alone = ci == 1 && co == 1 && kh.max(kw) <= 5 && stride == 1;
    let any = groups > 1 && !alone && (ci % 4 != 0 || co % 4 != 0);
    let (xs4, ys4) = (padded(ci * groups) / 4, padded(co * groups) / 4);
    let lanes = (n * h * w * xs4).max(kh * kw * padded(ci) * ys4);
    let tiny = if any && lanes > 64 * 8 { Tiny::Limit } else { large(n * h * w * padded(ci * groups)) };
    let plain = move |x: &[Vec<f64>]| twin::conv2d::conv2d(&x[0], xs, &x[1], ws, stride, pad, groups);
    let case = case.tiny(tiny).op(
        ci * kh * kw,
        move |tape, x, _| Ok(vec![ops::conv2d(tape, x[0], x[1], Conv { stride, pad, groups })?]),
        move |x, _| vec![plain(x)],
    );
    [("winograd2", 2), ("winograd4", 4)].into_iter().fold(case, |case, (algorithm, outputs)| {
        let depth = ci + twin::winograd::Transforms::new(outputs).roundings().0;
        case.judged(algorithm, depth, move |x, _| {
            let magnitude = twin::winograd::conv2d(outputs, &x[0], xs, &x[1], ws, pad).magnitude;
            vec![Reference { magnitude, ..plain(x) }]
        })
    })
}

fn pools() -> Vec<Case> {
    // n, c, h, w, size, stride
    let mut shapes = vec![
        [1, 1, 1, 1, 1, 1],
        [2, 3, 5, 7, 2, 2],
        [1, 5, 6, 6, 3, 2],
        [3, 4, 8, 8, 3, 1],
        [1, 1, 9, 4, 4, 3],
        [2, 7, 7, 7, 7, 1],
        [1, 65, 3, 3, 2, 1],
        [1, 2, 13, 11, 3, 5],
        [2, 4, 16, 16, 2, 2],
        [1, 3, 10, 10, 5, 4],
        [5, 1, 4, 4, 2, 2],
        [1, 257, 2, 2, 1, 1],
        [1, 4, 31, 2, 2, 7],
        [2, 9, 6, 5, 3, 3],
        [1, 1, 17, 17, 6, 1],
        [1, 3, 200, 170, 3, 2],
    ];
    let mut random = Numbers::new(60);
    for _ in 0..8 {
        let [h, w] = [1 + random.below(12), 1 + random.below(12)];
        shapes.push([1 + random.below(3), 1 + random.below(9), h, w, 1 + random.below(h.min(w)), 1 + random.below(4)]);
    }
    let mut cases = Vec::new();
    for (i, [n, c, h, w, size, stride]) in shapes.into_iter().enumerate() {
        let (xs, mut random) = ([n, c, h, w], Numbers::new(6000 + i));
        let count = xs.iter().product();
        let tiny = large(n * h * w * padded(c));
        let case = Case::new("avg_pool", format!("{xs:?}, size {size}, stride {stride}")).tiny(tiny);
        cases.push(case.tracked("x", &xs, Layout::Rows, random.normal(count)).op(
            size * size,
            move |tape, x, _| Ok(vec![ops::avg_pool(tape, x[0], size, stride)?]),
            move |x, _| vec![twin::avg_pool::avg_pool(&x[0], xs, size, stride, 0)],
        ));
        if i % 3 == 0 {
            let case = Case::new("avg_pool", format!("{xs:?}, global")).tiny(tiny);
            cases.push(case.tracked("x", &xs, Layout::Rows, random.normal(count)).op(
                h * w,
                |tape, x, _| Ok(vec![ops::global_avg_pool(tape, x[0])?]),
                move |x, _| vec![twin::avg_pool::global_avg_pool(&x[0], xs)],
            ));
        }
        let pad = i % (size / 2 + 1);
        let case = Case::new("max_pool", format!("{xs:?}, size {size}, stride {stride}, pad {pad}")).tiny(tiny);
        // Negative numbers alone in every third case: padding must not win.
        let values = random.normal(count).into_iter().map(|x| if i % 3 == 0 { -x.abs() } else { x }).collect();
        cases.push(case.tracked("x", &xs, Layout::Rows, values).op(
            0,
            move |tape, x, _| Ok(vec![ops::max_pool(tape, x[0], size, stride, pad)?]),
            move |x, _| vec![twin::max_pool::max_pool(&x[0], xs, size, stride, pad)],
        ));
    }
    cases
}

fn batch_norms() -> Vec<Case> {
    // n, c, h, w; the last is left out for a matrix.
    let mut shapes = vec![
        vec![2, 1, 1, 1],
        vec![2, 3, 2, 2],
        vec![4, 4, 3, 5],
        vec![1, 5, 7, 7],
        vec![3, 8, 8, 8],
        vec![2, 16, 5, 5],
        vec![7, 3],
        vec![128, 4],
        vec![129, 2],
        vec![127, 5],
        vec![257, 1],
        vec![64, 257],
        vec![5, 65],
        vec![2, 7, 13, 11],
        vec![1, 1, 1, 1021],
        vec![1, 3, 200, 90],
        vec![70_000, 1],
    ];
    let mut random = Numbers::new(70);
    shapes.extend((0..8).map(|i| {
        let [n, c] = [2 + random.below(20), 1 + random.below(12)];
        if i % 2 == 0 { vec![n, c] } else { vec![n, c, 1 + random.below(6), 1 + random.below(6)] }
    }));
    let mut cases = Vec::new();
    for (i, dims) in shapes.into_iter().enumerate() {
        let scale = [(1.0, 0.0), (0.5, 1.5), (5.0, -2.0)][i % 3];
        let values = Numbers::new(7000 + i).normal(dims.iter().product()).into_iter().map(|x| x * scale.0 + scale.1).collect();
        cases.push(batch_norm(format!("{dims:?} around {} by {}", scale.1, scale.0), &dims, values, i));
    }
    let mut one = batch_norm("one row".into(), &[1, 6], Numbers::new(71).normal(6), 0);
    one.kinks = true;
    cases.push(one);
    let mut constant = batch_norm("constant channels".into(), &[2, 3, 4, 4], vec![0.75; 96], 0);
    constant.kinks = true;
    cases.push(constant);
    // The mean is rounded to 32 bits: 2e-7 of 3, and so 2e-6 of a deviation of 0.1, which the gradient of gamma shows. The
    // forward bound counts it.
    let values = Numbers::new(73).normal(960).into_iter().map(|x| x * 0.1 + 3.0).collect();
    let mut narrow = batch_norm("[8, 4, 5, 6] around 3 by 0.1".into(), &[8, 4, 5, 6], values, 0);
    narrow.kinks = true;
    cases.push(narrow);
    // A mean so large that its square, less the square of the mean, would have nothing left of the variance.
    let values = Numbers::new(74).normal(24).into_iter().map(|x| x + 3000.0).collect();
    let mut far = batch_norm("[8, 3] around 3000 by 1".into(), &[8, 3], values, 0);
    far.kinks = true;
    cases.push(far);
    // One channel group with so many rows that there are more than the usual 128 chunks.
    let rows = 2_200_000;
    let mut long = batch_norm(format!("[{rows}, 1]"), &[rows, 1], Numbers::new(72).normal(rows), 0).samples(0);
    long.inputs[0].differentiable = false;
    cases.push(long);
    cases
}

/// Rows that a lane takes in turn, and parts that it joins, are the most additions in a row.
fn norm_depth(rows: usize, c: usize) -> usize {
    let each = rows.div_ceil((128 / (padded(c) / 4)).max(1)).max(rows.div_ceil(1024)).min(16_384);
    each + rows.div_ceil(each)
}

/// The i-th of a row of cases: every second with an addend, every third with a ReLU, every fourth in evaluation.
fn batch_norm(label: String, dims: &[usize], values: Vec<f32>, i: usize) -> Case {
    let c = dims[1];
    let rows = values.len() / c.max(1);
    let xs = [dims[0], c, dims.get(2).copied().unwrap_or(1), dims.get(3).copied().unwrap_or(1)];
    // Of two rows the gradient is eps / (var + eps) of its terms: with a small eps nothing of it is left in 32 bits.
    let (eps, momentum) = (if rows == 2 { 0.5f32 } else { 1e-5 }, 0.1f32);
    let mut random = Numbers::new(7500 + i);
    let (frozen, relu, add) = (i % 4 == 3, i % 3 == 1, i % 2 == 1);
    let shape = dims.to_vec();
    let what = [(frozen, ", frozen"), (add, ", addend"), (relu, ", ReLU")];
    let what: String = what.into_iter().filter_map(|(is, text)| is.then_some(text)).collect();
    let case = Case::new("batch_norm", format!("{label}{what}"));
    let affine = [random.between(c, -1.5, 1.5), random.normal(c)].concat();
    let added = if add { random.normal(values.len()) } else { Vec::new() };
    let case = case.tracked("x", dims, Layout::Rows, values).tracked("affine", &[2, c], Layout::Rows, affine);
    let case = case.input("mean", &[c], Layout::Rows, random.normal(c));
    let case = case.input("var", &[c], Layout::Rows, random.between(c, 0.1, 2.0));
    let case = if add { case.tracked("addend", dims, Layout::Rows, added) } else { case };
    let case = case.tiny(large(rows * padded(c)));
    let (wide_eps, wide_momentum) = (f64::from(eps), f64::from(momentum));
    let then = move |x: &[Tensor]| ops::Then { addend: add.then(|| x[4]), relu };
    let followed = move |y: Reference, x: &[Vec<f64>]| {
        let mut y = Reference { dims: shape.clone(), ..y };
        for (i, (value, magnitude)) in y.value.iter_mut().zip(&mut y.magnitude).enumerate() {
            let added = if add { x[4][i] } else { 0.0 };
            *value += added;
            *magnitude += added.abs();
            if relu {
                *value = value.max(0.0);
            }
        }
        y
    };
    let norm = move |tape: &mut Tape, affine| Ok(ops::Norm { affine, stats: ops::batch_norm_statistics(tape, c)?, eps });
    if frozen {
        return case.op(
            2,
            move |tape, x, _| {
                let norm: ops::Norm = norm(tape, x[1])?;
                ops::batch_norm_freeze(tape, norm, x[2], x[3])?;
                Ok(vec![ops::batch_norm_frozen(tape, x[0], norm, then(x))?])
            },
            move |x, _| vec![followed(twin::batch_norm::eval(&x[0], xs, &x[1][..c], &x[1][c..], &x[2], &x[3], wide_eps), x)],
        );
    }
    case.op(
        norm_depth(rows, c),
        move |tape, x, _| {
            let norm: ops::Norm = norm(tape, x[1])?;
            let y = ops::batch_norm(tape, x[0], norm, then(x), None)?;
            ops::batch_norm_running(tape, norm.stats, x[2], x[3], momentum)?;
            Ok(vec![y, x[2], x[3]])
        },
        move |x, got| {
            let batch = twin::batch_norm::train(&x[0], xs, &x[1][..c], &x[1][c..], wide_eps);
            let y = followed(batch.y.clone(), x);
            if got.is_empty() {
                return vec![y]; // for differences only the first result counts
            }
            let (mean, var) = twin::batch_norm::running(&x[2], &x[3], &batch, rows, wide_momentum);
            vec![y, mean, var]
        },
    )
}

/// The gradient flows to the first result only; its running statistics move at every run, so they are fed anew.
fn augmentations() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut random = Numbers::new(80);
    // Images of [w, h], and the side that comes out.
    let mut shapes: Vec<(Vec<[usize; 2]>, usize)> = vec![
        (vec![[1, 1]], 1),
        (vec![[4, 4]], 4),
        (vec![[5, 3], [3, 5]], 4),
        (vec![[16, 16]; 3], 8),
        (vec![[32, 24], [24, 32], [9, 40]], 15),
        (vec![[17, 31]; 5], 16),
        (vec![[7, 7]; 2], 17),
        (vec![[64, 48]], 12),
        (vec![[1, 9], [9, 1]], 3),
        (vec![[33, 33]; 4], 1),
        (vec![[20, 20]; 2], 31),
        (vec![[50, 10]], 32),
        (vec![[8, 8]; 16], 2),
        (vec![[13, 11]; 3], 7),
        (vec![[100, 75]], 20),
        (vec![[3, 2]; 2], 64),
    ];
    shapes.extend((0..8).map(|_| {
        let sizes = (0..1 + random.below(3)).map(|_| [1 + random.below(40), 1 + random.below(40)]).collect();
        (sizes, 1 + random.below(24))
    }));
    for (i, (sizes, side)) in shapes.into_iter().enumerate() {
        cases.push(augmentation(sizes, side, i));
    }
    cases
}

fn augmentation(sizes: Vec<[usize; 2]>, side: usize, i: usize) -> Case {
    let mut random = Numbers::new(8000 + i);
    let plain = i % 4 == 1;
    let settings = Augmentation { plain, flip: 0.5, ..Augmentation::paper(side) };
    let (mut bytes, mut table, mut images) = (Vec::new(), Vec::new(), Vec::new());
    for [w, h] in &sizes {
        let image: Vec<u8> = (0..w * h * 3).map(|_| random.below(256) as u8).collect();
        table.extend([(bytes.len() / 4) as u32, *w as u32, *h as u32, 0]);
        bytes.extend(&image);
        bytes.resize(bytes.len().div_ceil(4) * 4, 0);
        images.push(image);
    }
    let pixels: Vec<u32> = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let b = sizes.len();
    let label = format!("{sizes:?} to {side}{}", if plain { ", plain" } else { "" });
    let mut case = Case::new("augment", label).tiny(large(b * side * side * 4));
    case = case.integers("pixels", &[pixels.len()], pixels).integers("table", &[b, 4], table);
    case.step.number = i as u32;
    let step = case.step;
    case.op(
        (side * side).div_ceil(256) + 8,
        move |tape, _, own| {
            let (y, drawn) = ops::augment_drawn(tape, own[0], own[1], settings)?;
            Ok(vec![y, drawn])
        },
        move |_, got| {
            let key = rng::key(step.seed, Stream::Augment);
            let strength = twin::augment::Strength {
                area: settings.area.map(f64::from),
                aspect: f64::from(settings.aspect),
                jitter: settings.jitter.map(f64::from),
                hue: f64::from(settings.hue),
                grey: f64::from(settings.grey),
                flip: f64::from(settings.flip),
            };
            let (mut y, mut drawn) = (Reference::default(), Reference::default());
            for (i, size) in sizes.iter().enumerate() {
                let own = match plain {
                    true => twin::augment::Drawn::plain(*size),
                    false => twin::augment::Drawn::new(key, step.number, i as u32, *size, &strength),
                };
                // What was drawn is compared first; then the kernel's own numbers are given to the twin.
                let [w, h] = size.map(|side| side as f64);
                let numbers = own.crop.iter().zip([w, h, w, h]).map(|(v, m)| (*v, m));
                let numbers = numbers.chain(own.factor.iter().chain([&own.hue]).map(|v| (*v, 1.0)));
                let exact = [f64::from(u8::from(own.flip)), f64::from(u8::from(own.grey)), f64::from(own.order), 0.0];
                for (v, m) in numbers.chain(exact.map(|v| (v, 0.0))) {
                    drawn.value.push(v);
                    drawn.magnitude.push(m);
                }
                let d = |k: usize| got.get(1).map_or(0.0, |d| f64::from(d[i * 12 + k]));
                let theirs =
                    twin::augment::Drawn { crop: [d(0), d(1), d(2), d(3)], factor: [d(4), d(5), d(6)], hue: d(7), ..own };
                let image = twin::augment::augment(
                    &images[i],
                    *size,
                    side,
                    &theirs,
                    settings.mean.map(f64::from),
                    settings.deviation.map(f64::from),
                );
                y.value.extend(image.value);
                y.magnitude.extend(image.magnitude);
            }
            y.dims = vec![sizes.len(), 3, side, side];
            drawn.dims = vec![sizes.len(), 12];
            vec![y, drawn]
        },
    )
}
