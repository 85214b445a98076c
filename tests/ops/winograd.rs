//! Winograd's algorithms: every direction lies within the bound that the transforms prove, and what the error really is.

use crate::gpu;
use instdisc::Result;
use instdisc::gpu::{Choices, Gpu};
use instdisc::ops::{self, Conv, ConvSizes, Direction, Problem};
use instdisc::rng::{Sequence, Stream};
use instdisc::shape::Layout;
use instdisc::tape::Tape;
use instdisc::twin::compare::within_bound;
use instdisc::twin::winograd::{Transforms, conv2d, grad_weight};
use instdisc::twin::{Reference, wide};

/// n, input channels, height, width, output channels, padding; stride 1, a window of 3×3.
type Shape = [usize; 6];

struct Data {
    x: Vec<f32>,
    weight: Vec<f32>,
    dy: Vec<f32>,
}

fn result([_, _, h, w, _, pad]: Shape) -> [usize; 2] {
    [h + 2 * pad - 2, w + 2 * pad - 2]
}

fn data(shape: Shape) -> Data {
    let ([n, ci, h, w, co, _], [oh, ow]) = (shape, result(shape));
    let mut random = Sequence::new(3, Stream::Test, (n * ci * h * w * co) as u32);
    let mut normal = |count: usize| (0..count).map(|_| random.normal()).collect();
    Data { x: normal(n * ci * h * w), weight: normal(co * ci * 9), dy: normal(n * co * oh * ow) }
}

/// The result, and the gradients of input and weight, by `algorithm`.
fn run(gpu: &Gpu, shape: Shape, data: &Data, algorithm: &str) -> Result<[Vec<f32>; 3]> {
    let ([n, ci, h, w, co, pad], [oh, ow]) = (shape, result(shape));
    let mut choices = Choices::default();
    choices.set("*", algorithm);
    let mut tape = Tape::new(&gpu.with_choices(choices));
    let x = tape.input("x", &[n, ci, h, w], Layout::Rows)?;
    let weight = tape.input("weight", &[co, ci, 3, 3], Layout::Weight)?;
    let dy = tape.input("dy", &[n, co, oh, ow], Layout::Rows)?;
    tape.track(x)?;
    tape.track(weight)?;
    let y = ops::conv2d(&mut tape, x, weight, Conv { stride: 1, pad, groups: 1 })?;
    tape.backward_from(y, dy)?;
    let (dx, dw) = (tape.grad(x)?, tape.grad(weight)?);
    let mut program = tape.compile()?;
    assert!(program.choices().iter().all(|(_, by)| by == algorithm), "{shape:?}: {:?}", program.choices());
    program.write(x, &data.x)?;
    program.write(weight, &data.weight)?;
    program.write(dy, &data.dy)?;
    program.run()?;
    Ok([program.read(y)?, program.read(dx)?, program.read(dw)?])
}

/// The references of the three, and the roundings that each may suffer.
fn references(outputs: usize, shape: Shape, data: &Data) -> [(Reference, f64); 3] {
    let ([n, ci, h, w, co, pad], [oh, ow]) = (shape, result(shape));
    let [x, weight, dy] = [&data.x, &data.weight, &data.dy].map(|values| wide(values));
    // The gradient of the input convolves dy with the weight turned round, its channels exchanged.
    let turned: Vec<f64> = (0..ci)
        .flat_map(|c| (0..co).flat_map(move |o| (0..9).map(move |tap| (o * ci + c) * 9 + 8 - tap)))
        .map(|at| weight[at])
        .collect();
    let (way, way_of_weight) = Transforms::new(outputs).roundings();
    let tiles = n * oh.div_ceil(outputs) * ow.div_ceil(outputs);
    [
        (conv2d(outputs, &x, [n, ci, h, w], &weight, [co, ci, 3, 3], pad), (way + ci) as f64),
        (conv2d(outputs, &dy, [n, co, oh, ow], &turned, [ci, co, 3, 3], 2 - pad), (way + co) as f64),
        // The sum over the tiles may stand in parts, which takes an addition more.
        (grad_weight(outputs, &x, [n, ci, h, w], &dy, co, pad), (way_of_weight + tiles + 2) as f64),
    ]
}

/// ‖got − expected‖ / ‖expected‖.
fn error(got: &[f32], expected: &[f64]) -> f64 {
    let (off, size) = got.iter().zip(expected).fold((0.0, 0.0), |(off, size), (&a, b)| {
        let a = f64::from(a);
        (off + (a - b) * (a - b), size + b * b)
    });
    (off / size).sqrt()
}

const DIRECTIONS: [&str; 3] = ["forward", "grad_input", "grad_weight"];

/// Check every direction of every shape by both algorithms against its proven bound; the errors, and those of the direct one.
fn judge(shapes: &[Shape]) -> Vec<(Shape, usize, [f64; 3], [f64; 3])> {
    let mut rows = Vec::new();
    for &shape in shapes {
        let data = data(shape);
        let direct = run(gpu(), shape, &data, "direct lanes 8x4").unwrap();
        for outputs in [2, 4] {
            let got = run(gpu(), shape, &data, &format!("winograd{outputs} lanes 8x4")).unwrap();
            let references = references(outputs, shape, &data);
            for ((got, (reference, depth)), direction) in got.iter().zip(&references).zip(DIRECTIONS) {
                within_bound(got, reference, *depth).unwrap_or_else(|e| panic!("F{outputs} {direction} {shape:?}: {e}"));
            }
            let errors = |of: &[Vec<f32>; 3]| [0, 1, 2].map(|i| error(&of[i], &references[i].0.value));
            rows.push((shape, outputs, errors(&got), errors(&direct)));
        }
    }
    rows
}

#[test]
fn every_direction_lies_within_the_proven_bound() {
    let mut shapes = vec![
        [1, 1, 3, 3, 1, 0],
        [2, 3, 5, 7, 6, 1],
        [1, 5, 8, 8, 4, 0],
        [1, 4, 9, 10, 3, 2],
        [3, 17, 4, 4, 33, 1],
        [1, 2, 1, 1, 2, 1],
        [1, 3, 2, 13, 5, 2],
        [2, 64, 6, 5, 8, 1],
    ];
    // Enough tiles for a sum in parts.
    shapes.push([4, 3, 61, 33, 2, 1]);
    let rows = judge(&shapes);
    println!("scorecard Winograd {} shapes in three directions by F(2x2) and F(4x4), all within the proven bound", shapes.len());
    assert_eq!(rows.len(), 2 * shapes.len());
}

#[test]
fn errors_of_the_shapes_of_a_resnet() {
    let shapes = [[1, 64, 32, 32, 64, 1], [1, 128, 16, 16, 128, 1], [1, 256, 8, 8, 256, 1], [1, 512, 4, 4, 512, 1]];
    for outputs in [2, 4] {
        let (result, weight) = Transforms::new(outputs).amplification();
        println!("scorecard Winograd F({outputs}x{outputs}) amplifies at most {result:.1} times, weight gradients {weight:.1}");
    }
    for ([_, ci, side, _, co, _], outputs, errors, direct) in judge(&shapes) {
        let text: Vec<String> =
            (0..3).map(|i| format!("{} {:.2e} (direct {:.2e})", DIRECTIONS[i], errors[i], direct[i])).collect();
        println!("scorecard Winograd F({outputs}x{outputs}) {ci}->{co} {side}x{side}: {}", text.join(", "));
    }
}

#[test]
fn the_choices_of_a_device_leave_it_out() {
    let sizes = ConvSizes { n: 8, h: 16, w: 16, ci: 64, co: 64, kh: 3, kw: 3, conv: Conv { stride: 1, pad: 1, groups: 1 } };
    let offers = |gpu: &Gpu, sizes: ConvSizes| {
        [Direction::Forward, Direction::Input, Direction::Weight].map(|direction| {
            let problem = Problem::Conv(direction, sizes);
            let all = problem.candidates(gpu).into_iter().chain([problem.preferred(gpu)]);
            all.filter(|algorithm| algorithm.to_string().starts_with("winograd")).count()
        })
    };
    assert!(offers(gpu(), sizes).iter().all(|count| *count > 2));
    let mut choices = Choices::default();
    choices.allow_winograd(false);
    assert_eq!(offers(&gpu().with_choices(choices), sizes), [0; 3]);
    let conv = sizes.conv;
    for other in [
        ConvSizes { kh: 1, ..sizes },
        ConvSizes { kw: 5, ..sizes },
        ConvSizes { conv: Conv { stride: 2, ..conv }, ..sizes },
        ConvSizes { ci: 32, conv: Conv { groups: 2, ..conv }, ..sizes },
        // Transforms that fit into no binding.
        ConvSizes { n: 1 << 20, ..sizes },
    ] {
        assert_eq!(offers(gpu(), other), [0; 3], "{other:?}");
    }
}
