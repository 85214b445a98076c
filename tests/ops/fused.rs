//! A convolution that does a part of the work of the batch norm next to it, against the two one after the other: what it
//! stores is the same to the bit, and its sums agree within what rounding allows.

use crate::gpu;
use instdisc::gpu::Gpu;
use instdisc::nn::{Block, Mode, ResNet, ResNetConfig, Stem};
use instdisc::npid::Method;
use instdisc::ops::{self, Conv, Norm, Problem, Then};
use instdisc::rng::{Sequence, Stream};
use instdisc::shape::Layout::{Rows, Weight};
use instdisc::tape::{Part, Program, StoreBuilder, Tape, Tensor};
use instdisc::twin::compare::{relative_norm, within_bound};
use instdisc::twin::{self, Reference, wide};
use std::collections::{BTreeMap, BTreeSet};

/// n, channels in of a group, channels out, height, width, kernel, stride, groups.
const SHAPES: [[usize; 8]; 14] = [
    [1, 1, 1, 3, 3, 3, 1, 1],
    [2, 4, 8, 7, 5, 3, 1, 1],
    [3, 9, 5, 9, 11, 3, 1, 1],
    [2, 16, 24, 8, 8, 3, 2, 1],
    [2, 5, 7, 9, 7, 3, 2, 1],
    [1, 8, 40, 12, 12, 1, 2, 1],
    [2, 8, 16, 6, 10, 3, 1, 2],
    [4, 32, 64, 16, 16, 3, 1, 1],
    [1, 3, 12, 15, 13, 7, 2, 1],
    [2, 20, 35, 9, 7, 1, 1, 1],
    [2, 64, 64, 8, 8, 1, 1, 1],
    [2, 3, 16, 5, 16, 3, 1, 1],
    [1, 8, 16, 6, 24, 3, 1, 2],
    [1, 8, 16, 9, 32, 3, 2, 2],
];

fn numbers(count: usize, number: u32) -> Vec<f32> {
    let mut random = Sequence::new(7, Stream::Test, number);
    (0..count).map(|_| random.normal()).collect()
}

/// Of the tiles for GPUs, which take seconds to compile for a processor and differ in sizes alone, those that stand for all.
const TILES: [&str; 3] = ["tiled 32x32x16 4x4", "tiled 64x64x8 8x8", "tiled 128x8x8 4x4"];

/// What is preferred, and every algorithm for a shape; of the tiles for GPUs some.
fn algorithms(gpu: &Gpu, shape: [usize; 8], tiles: &[&str]) -> Vec<Option<String>> {
    let [n, ci, co, h, w, k, stride, groups] = shape;
    let conv = Conv { stride, pad: k / 2, groups };
    let sizes = ops::ConvSizes { n, h, w, ci, co, kh: k, kw: k, conv };
    let all = Problem::of(ops::Direction::Forward, sizes).candidates(gpu);
    let few = |a: &String| !a.contains("tiled") || tiles.iter().any(|tile| a.ends_with(tile));
    let all = all.into_iter().map(|a| a.to_string()).filter(few);
    [None].into_iter().chain(all.map(Some)).collect()
}

/// What computed a convolution's result or its input's gradient, and whether it leaves sums over it: where a lane or a workgroup
/// holds whole parts of 8 rows of pixels, which by strips takes lines of whole parts too.
fn leaves_sums(program: &Program, shape: [usize; 8], forward: bool) -> (String, bool) {
    let [_, _, _, _, w, k, stride, _] = shape;
    let (keys, line) = if forward {
        (["conv2d.forward", "gemm.nn"], (w + k / 2 * 2 - k) / stride + 1)
    } else {
        (["conv2d.grad_input", "gemm.nt"], w.div_ceil(stride))
    };
    let of = |problem: &str| keys.iter().any(|key| problem.starts_with(key));
    let (_, algorithm) = program.choices().iter().find(|(problem, _)| of(problem)).unwrap();
    let rows = |family: &str| -> Option<usize> { algorithm.strip_prefix(family)?.split('x').next()?.parse().ok() };
    let leaves = algorithm.starts_with("winograd")
        || algorithm.starts_with("direct tiled")
        || rows("direct lanes ").is_some_and(|rows| rows.is_multiple_of(8))
        || rows("window lanes ").is_some_and(|rows| rows.is_multiple_of(8) && line.is_multiple_of(8));
    (algorithm.to_owned(), leaves)
}

struct Net {
    x: Tensor,
    weight: Tensor,
    affine: Tensor,
    /// Of the convolution.
    y: Tensor,
    /// Of the norm.
    z: Tensor,
}

fn begin(tape: &mut Tape, shape: [usize; 8], fused: bool, then: Then) -> (Net, Norm) {
    let [n, ci, co, h, w, k, stride, groups] = shape;
    let x = tape.input("x", &[n, ci * groups, h, w], Rows).unwrap();
    let weight = tape.input("weight", &[co, ci, k, k], Weight).unwrap();
    let affine = tape.input("affine", &[2, co], Rows).unwrap();
    [x, weight, affine].into_iter().for_each(|t| tape.track(t).unwrap());
    let conv = Conv { stride, pad: k / 2, groups };
    let (y, moments) = if fused {
        ops::conv2d_with_moments(tape, x, weight, conv).unwrap()
    } else {
        (ops::conv2d(tape, x, weight, conv).unwrap(), None)
    };
    let norm = Norm { affine, stats: ops::batch_norm_statistics(tape, co).unwrap(), eps: 1e-3 };
    let z = ops::batch_norm(tape, y, norm, then, moments).unwrap();
    tape.keep(y).unwrap();
    tape.keep(z).unwrap();
    (Net { x, weight, affine, y, z }, norm)
}

fn fill(program: &mut Program, net: &Net) {
    for (i, tensor) in [net.x, net.weight, net.affine].into_iter().enumerate() {
        program.write(tensor, &numbers(tensor.shape().count(), i as u32)).unwrap();
    }
}

#[test]
fn moments_that_a_convolution_leaves_are_those_of_its_result() {
    let (mut count, mut with, mut worst) = (0, 0, 0.0f64);
    for shape in SHAPES {
        let mut direct: Option<Vec<f32>> = None;
        for algorithm in algorithms(gpu(), shape, &TILES[..1]) {
            let mut choices = gpu().choices().clone();
            algorithm.iter().for_each(|a| choices.set("*", a.as_str()));
            let gpu = gpu().with_choices(choices);
            let run = |fused: bool| {
                let mut tape = Tape::new(&gpu);
                let (net, _) = begin(&mut tape, shape, fused, Then { addend: None, relu: true });
                let mut program = tape.compile_guarded().unwrap();
                fill(&mut program, &net);
                program.run().unwrap();
                let found = program.inspect().unwrap();
                assert!(found.overrun.is_empty() && found.unwritten.is_empty(), "{shape:?} {algorithm:?}: {found:?}");
                let leaves = program.dispatches().iter().all(|d| d.kernel.variant.entry != "moments");
                let (by, expected) = leaves_sums(&program, shape, true);
                assert_eq!(leaves, fused && expected, "{shape:?} {by}: whether it leaves moments");
                (program.read(net.y).unwrap(), program.read(net.z).unwrap(), leaves)
            };
            let ((y, z, leaves), (plain, _, apart)) = (run(true), run(false));
            assert_eq!(y, plain, "{shape:?} {algorithm:?}: the convolution itself");
            assert!(!apart);
            let [n, _, co, ..] = shape;
            let places = y.len() / n / co;
            let affine = wide(&numbers(2 * co, 2));
            let reference =
                twin::batch_norm::train(&wide(&y), [n, co, places, 1], &affine[..co], &affine[co..], 1e-3f32.into()).y;
            let value = reference.value.iter().map(|v| v.max(0.0)).collect();
            let report = within_bound(&z, &Reference { value, ..reference }, (n * places) as f64);
            let report = report.unwrap_or_else(|e| panic!("{shape:?} {algorithm:?}: {e}"));
            (count, with, worst) = (count + 1, with + usize::from(leaves), worst.max(report.worst));
            if leaves && algorithm.as_ref().is_some_and(|a| a.starts_with("direct")) {
                assert_eq!(direct.get_or_insert_with(|| z.clone()), &z, "{shape:?} {algorithm:?}: the bits of another tile");
            }
        }
    }
    println!("scorecard fused moments: {with} of {count} convolutions leave them, worst {worst:.4} of the bound");
    assert!(2 * with > count);
}

/// z = relu(norm(x)), whose gradient comes from a convolution of it, and before that from an addition; with a weight and a gradient of
/// `whole` numbers all sums of the convolution are exact. What the norm's inputs get, and what wrote the convolution's gradient if it
/// left the slopes.
fn gradients(gpu: &Gpu, shape: [usize; 8], shared: bool, wanted: bool, whole: bool) -> (Vec<Vec<f32>>, Option<String>) {
    let [n, ci, co, h, w, k, stride, groups] = shape;
    let mut tape = Tape::new(gpu);
    let c = ci * groups;
    let x = tape.input("x", &[n, c, h, w], Rows).unwrap();
    let weight = tape.input("weight", &[co, ci, k, k], Weight).unwrap();
    let affine = tape.input("affine", &[2, c], Rows).unwrap();
    let other = tape.input("other", &[n, c, h, w], Rows).unwrap();
    [x, affine].into_iter().for_each(|t| tape.track(t).unwrap());
    let norm = Norm { affine, stats: ops::batch_norm_statistics(&mut tape, c).unwrap(), eps: 1e-3 };
    let z = ops::batch_norm(&mut tape, x, norm, Then { addend: None, relu: true }, None).unwrap();
    // What is recorded first gets its share last: without the wish an op that knows nothing of it.
    let nothing = (!wanted).then(|| ops::scale(&mut tape, z, 0.0).unwrap());
    let conv = |tape: &mut Tape, z| ops::conv2d(tape, z, weight, Conv { stride, pad: k / 2, groups }).unwrap();
    let mut y = conv(&mut tape, z);
    let sum = shared.then(|| ops::add(&mut tape, other, z).unwrap());
    for more in [nothing, sum].into_iter().flatten() {
        let more = conv(&mut tape, more);
        y = ops::add(&mut tape, y, more).unwrap();
    }
    let upstream = tape.input("upstream", y.shape().dims(), Rows).unwrap();
    tape.backward_from(y, upstream).unwrap();
    let (dx, daffine) = (tape.grad(x).unwrap(), tape.grad(affine).unwrap());
    let mut program = tape.compile_guarded().unwrap();
    for (i, tensor) in [x, affine, weight, upstream].into_iter().enumerate() {
        let values = numbers(tensor.shape().count(), i as u32);
        let values = values.into_iter().map(|v| if whole && i > 1 { (4.0 * v).round() } else { v });
        program.write(tensor, &values.collect::<Vec<_>>()).unwrap();
    }
    program.run().unwrap();
    let found = program.inspect().unwrap();
    assert!(found.overrun.is_empty() && found.unwritten.is_empty(), "{shape:?}: {found:?}");
    let left = program.dispatches().iter().all(|d| d.kernel.variant.entry != "slopes");
    let (by, expected) = leaves_sums(&program, shape, false);
    assert_eq!(left, wanted && expected, "{shape:?} {by}: whether it leaves slopes");
    (vec![program.read(dx).unwrap(), program.read(daffine).unwrap()], left.then_some(by))
}

#[test]
fn slopes_that_a_gradient_leaves_give_the_norm_the_gradient_of_a_pass_of_its_own() {
    let (mut count, mut with, mut worst) = (0, 0, 0.0f64);
    for shape in SHAPES {
        for algorithm in algorithms(gpu(), shape, &TILES[..1]) {
            let mut choices = gpu().choices().clone();
            algorithm.iter().for_each(|a| choices.set("*", a.as_str()));
            let gpu = gpu().with_choices(choices);
            for shared in [false, true] {
                let (fused, left) = gradients(&gpu, shape, shared, true, false);
                let (apart, never) = gradients(&gpu, shape, shared, false, false);
                assert!(never.is_none());
                (count, with) = (count + 1, with + usize::from(left.is_some()));
                for (fused, apart) in fused.iter().zip(&apart) {
                    // Both sums are of the same terms in other orders.
                    let most = apart.iter().fold(0.0f64, |most, v| most.max(f64::from(v.abs())));
                    for (a, b) in fused.iter().zip(apart) {
                        let off = (f64::from(*a) - f64::from(*b)).abs() / most;
                        assert!(off <= 2e-6, "{shape:?} {algorithm:?} shared {shared}: {a} and {b}, of at most {most}");
                        worst = worst.max(off);
                    }
                }
            }
        }
    }
    println!("scorecard fused slopes: {with} of {count} gradients leave them, worst {worst:.1e} of the largest element");
    assert!(2 * with > count);
}

/// Whether it was masked would depend on the algorithm that wrote it last.
#[test]
fn the_gradient_of_a_norms_relu_is_whole_where_it_was_asked_for_before_and_refused_elsewhere() {
    let [n, ci, co, h, w, k, ..] = SHAPES[7];
    let conv = Conv { stride: 1, pad: k / 2, groups: 1 };
    for algorithm in algorithms(gpu(), SHAPES[7], &TILES) {
        let mut choices = gpu().choices().clone();
        algorithm.iter().for_each(|a| choices.set("*", a.as_str()));
        let gpu = gpu().with_choices(choices);
        // Behind a norm with its ReLU, or as an input of which a convolution knows nothing.
        let gradient = |normed: bool, tracked: bool| {
            let mut tape = Tape::new(&gpu);
            let x = tape.input("x", &[n, ci, h, w], Rows).unwrap();
            let weight = tape.input("weight", &[co, ci, k, k], Weight).unwrap();
            let affine = tape.input("affine", &[2, ci], Rows).unwrap();
            tape.track(x).unwrap();
            let norm = Norm { affine, stats: ops::batch_norm_statistics(&mut tape, ci).unwrap(), eps: 1e-3 };
            let z =
                if normed { ops::batch_norm(&mut tape, x, norm, Then { addend: None, relu: true }, None).unwrap() } else { x };
            if tracked {
                tape.track(z).unwrap();
            }
            let y = ops::conv2d(&mut tape, z, weight, conv).unwrap();
            let upstream = tape.input("upstream", y.shape().dims(), Rows).unwrap();
            tape.backward_from(y, upstream).unwrap();
            let dz = tape.grad(z)?;
            let mut program = tape.compile_guarded().unwrap();
            for (i, tensor) in [x, weight, affine, upstream].into_iter().enumerate() {
                program.write(tensor, &numbers(tensor.shape().count(), i as u32)).unwrap();
            }
            program.run().unwrap();
            program.read(dz)
        };
        assert!(gradient(true, true).unwrap() == gradient(false, true).unwrap(), "{algorithm:?}");
        let error = gradient(true, false).err().unwrap_or_else(|| panic!("{algorithm:?}: no error")).to_string();
        assert!(error.contains("`Tape::track`"), "{error}");
    }
}

/// The parts of the moments that a convolution of whole numbers leaves, and what left them.
fn moments(gpu: &Gpu, shape: [usize; 8]) -> Option<(Vec<Vec<f32>>, String)> {
    let [n, ci, co, h, w, k, stride, groups] = shape;
    let mut tape = Tape::new(gpu);
    let x = tape.input("x", &[n, ci * groups, h, w], Rows).unwrap();
    let weight = tape.input("weight", &[co, ci, k, k], Weight).unwrap();
    let (y, parts) = ops::conv2d_with_moments(&mut tape, x, weight, Conv { stride, pad: k / 2, groups }).unwrap();
    let parts = parts?;
    [y, parts].into_iter().for_each(|t| tape.keep(t).unwrap());
    let mut program = tape.compile().unwrap();
    for (i, tensor) in [x, weight].into_iter().enumerate() {
        let values = numbers(tensor.shape().count(), i as u32).into_iter().map(|v| (4.0 * v).round());
        program.write(tensor, &values.collect::<Vec<_>>()).unwrap();
    }
    program.run().unwrap();
    let (by, _) = leaves_sums(&program, shape, true);
    Some((vec![program.read(y).unwrap(), program.read(parts).unwrap()], by))
}

/// Winograd's kernels have other parts.
#[test]
fn sums_have_the_same_bits_whatever_kernel_leaves_them() {
    let mut seen = [BTreeSet::new(), BTreeSet::new()];
    for shape in SHAPES {
        let mut first: [Option<(Vec<Vec<f32>>, String)>; 2] = [None, None];
        for algorithm in algorithms(gpu(), shape, &TILES).into_iter().flatten() {
            let mut choices = gpu().choices().clone();
            choices.allow_winograd(false);
            choices.set("*", algorithm.as_str());
            let gpu = gpu().with_choices(choices);
            let (slopes, left) = gradients(&gpu, shape, false, true, true);
            for (i, found) in [moments(&gpu, shape), left.map(|by| (slopes, by))].into_iter().enumerate() {
                let Some((sums, by)) = found else { continue };
                let (expected, whose) = first[i].get_or_insert_with(|| (sums.clone(), by.clone()));
                assert!(sums == *expected, "{shape:?} {}: {by} and {whose} leave other bits", ["moments", "slopes"][i]);
                seen[i].insert(by);
            }
        }
    }
    for (what, seen) in ["moments", "slopes"].iter().zip(&seen) {
        println!("scorecard fused {what}: the same bits by {} kernels", seen.len());
        let families = ["direct lanes", "direct tiled", "window lanes"];
        assert!(families.iter().all(|family| seen.iter().any(|by| by.starts_with(family))), "{what}: {seen:?}");
    }
}

#[test]
fn a_folded_norm_gives_what_the_norm_behind_the_convolution_gives() {
    for shape in SHAPES {
        let [n, ci, co, h, w, k, stride, groups] = shape;
        for algorithm in algorithms(gpu(), shape, &TILES[..1]) {
            for add in [false, true] {
                let mut choices = gpu().choices().clone();
                algorithm.iter().for_each(|a| choices.set("*", a.as_str()));
                let mut tape = Tape::new(&gpu().with_choices(choices));
                let x = tape.input("x", &[n, ci * groups, h, w], Rows).unwrap();
                let weight = tape.input("weight", &[co, ci, k, k], Weight).unwrap();
                let affine = tape.input("affine", &[2, co], Rows).unwrap();
                let [mean, var] = ["mean", "var"].map(|name| tape.input(name, &[co], Rows).unwrap());
                let conv = Conv { stride, pad: k / 2, groups };
                let norm = Norm { affine, stats: ops::batch_norm_statistics(&mut tape, co).unwrap(), eps: 1e-3 };
                ops::batch_norm_freeze(&mut tape, norm, mean, var).unwrap();
                let y = ops::conv2d(&mut tape, x, weight, conv).unwrap();
                let then = Then { addend: add.then_some(y), relu: true };
                let apart = ops::batch_norm_frozen(&mut tape, y, norm, then).unwrap();
                let folded = ops::conv2d_then_norm(&mut tape, x, weight, conv, norm, then).unwrap();
                [apart, folded].into_iter().for_each(|t| tape.keep(t).unwrap());
                let mut program = tape.compile_guarded().unwrap();
                for (i, tensor) in [x, weight, affine, mean].into_iter().enumerate() {
                    program.write(tensor, &numbers(tensor.shape().count(), i as u32)).unwrap();
                }
                program.write(var, &vec![0.75; co]).unwrap();
                program.run().unwrap();
                let found = program.inspect().unwrap();
                assert!(found.overrun.is_empty() && found.unwritten.is_empty(), "{shape:?}: {found:?}");
                let words = |t| program.read_words(t).unwrap();
                assert_eq!(words(apart), words(folded), "{shape:?} {algorithm:?} addend {add}");
            }
        }
    }
}

/// The embeddings of a step and the gradient of every parameter.
fn step(config: &ResNetConfig, side: usize, mode: Mode) -> (Vec<f32>, BTreeMap<String, Vec<f32>>) {
    let net = ResNet::new(config.clone()).unwrap();
    let (mut builder, method) = (StoreBuilder::default(), Method::default());
    net.declare(&mut builder, 3).unwrap();
    method.declare(&mut builder, 8, config.dim, 3).unwrap();
    let mut store = builder.build(gpu()).unwrap();
    // β of 0 and γ of 1 would hide a mistake in either.
    let norms: Vec<(String, usize)> = store
        .parameters()
        .filter(|p| p.name.contains("bn") || p.name.contains("downsample.1"))
        .map(|p| (p.name.clone(), p.shape.count()))
        .collect();
    for (i, (name, count)) in norms.iter().enumerate() {
        let values: Vec<f32> = numbers(*count, 100 + i as u32);
        let scaled = values.iter().map(|v| if name.ends_with("weight") { 1.0 + 0.2 * v } else { 0.3 * v });
        store.write(name, Part::Value, &scaled.collect::<Vec<_>>()).unwrap();
    }
    let mut tape = Tape::new(gpu());
    let x = tape.input("x", &[4, 3, side, side], Rows).unwrap();
    let own = tape.input_u32("own", &[4]).unwrap();
    let features = net.forward(&mut tape, &store, x, mode).unwrap();
    let objective = method.objective(&mut tape, &store, features.embedding, own, None).unwrap();
    tape.backward(objective.loss).unwrap();
    tape.keep(features.embedding).unwrap();
    let mut program = tape.compile().unwrap();
    program.write(x, &numbers(4 * 3 * side * side, 9)).unwrap();
    program.write_u32(own, &[5, 0, 3, 6]).unwrap();
    program.run().unwrap();
    let names: Vec<String> = store.parameters().map(|p| p.name.clone()).collect();
    let grads = names.into_iter().map(|name| (name.clone(), store.read(&name, Part::Grad).unwrap())).collect();
    (program.read(features.embedding).unwrap(), grads)
}

#[test]
fn a_fused_step_is_the_step_with_every_op_in_a_pass_of_its_own() {
    let basic = ResNetConfig { block: Block::Basic, blocks: vec![2, 1, 1], width: 16, groups: 1, stem: Stem::Cifar, dim: 16 };
    let deep = ResNetConfig { block: Block::Bottleneck, groups: 4, stem: Stem::Imagenet, blocks: vec![1, 2], ..basic.clone() };
    let mut worst = [0.0f64; 2];
    for (config, side) in [(basic, 16), (deep, 32)] {
        let ((f, fused), (g, apart)) = (step(&config, side, Mode::Train), step(&config, side, Mode::Unfused));
        let near = |a: &[f32], b: &[f32], most: f64, what: &str| {
            relative_norm(a, b, most).unwrap_or_else(|e| panic!("{config:?} {what}: {e}")).worst * most
        };
        worst[0] = worst[0].max(near(&f, &g, 2e-6, "embedding"));
        assert_eq!(fused.len(), apart.len());
        for (name, grad) in &fused {
            worst[1] = worst[1].max(near(grad, &apart[name], 2e-5, name));
        }
    }
    println!("scorecard fused step: embeddings within {:.1e} of 2e-6, gradients within {:.1e} of 2e-5", worst[0], worst[1]);
}
