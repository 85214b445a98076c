//! A 3×3 convolution with stride 1 by Winograd's F(m², 3²), m = 2 or 4: the same numbers as [`conv2d`](super::conv2d), with
//! the magnitudes of sums that pass through the transforms.
//!
//! In one dimension, with T = m + 2 places t, T − 1 of them points p and the last one infinity,
//! `y[i] = Σ_t A[i,t] · (Σ_k G[t,k] w[k]) · (Σ_k B[t,k] x[k])` for i < m (Cook and Toom): `A[i,t] = pᵢ`, to the power i;
//! `G[t,k] = p_t^k / Π_{s≠t} (p_t − p_s)`; `B[t]` holds the coefficients of `Π_{s≠t} (z − p_s)`; at infinity A and G pick the
//! last one, and B runs over all points. In two dimensions each is applied to rows and to columns.
//!
//! The magnitude of a result is this sum with every factor replaced by its absolute value: it bounds every intermediate
//! result on the way, so 32-bit arithmetic that passes through d roundings at most lies within d · 2⁻²³ of it (Higham,
//! "Accuracy and Stability of Numerical Algorithms", section 3.1). Against the magnitude of the plain sum it is larger by
//! [`Transforms::amplification`] at most, where all inputs are of one size.

use super::{Reference, indices, windows};

/// The three matrices of F(m, 3).
#[derive(Clone, Debug)]
pub struct Transforms {
    /// m.
    pub outputs: usize,
    /// A, transposed: m rows of T.
    pub output: Vec<Vec<f64>>,
    /// G: T rows of 3.
    pub weight: Vec<Vec<f64>>,
    /// B, transposed: T rows of T.
    pub input: Vec<Vec<f64>>,
}

impl Transforms {
    /// F(2, 3) from the points 0, ±1, or F(4, 3) from 0, ±5/8, ±13/8.
    pub fn new(outputs: usize) -> Self {
        let points: &[f64] = if outputs == 2 { &[0.0, 1.0, -1.0] } else { &[0.0, 0.625, -0.625, 1.625, -1.625] };
        debug_assert!(points.len() == outputs + 1);
        let finite = points.len();
        let last = |at: usize, length: usize| (0..length).map(|k| f64::from(u8::from(k == at))).collect::<Vec<_>>();
        let others = |t: usize| points.iter().enumerate().filter(move |(s, _)| *s != t).map(|(_, p)| *p);
        let mut weight: Vec<Vec<f64>> = (0..finite)
            .map(|t| {
                let scale: f64 = others(t).map(|p| points[t] - p).product();
                (0..3).map(|k| points[t].powi(k) / scale).collect()
            })
            .collect();
        weight.push(last(2, 3));
        let output = (0..outputs)
            .map(|i| {
                let powers = points.iter().map(|p| p.powi(i as i32));
                powers.chain([f64::from(u8::from(i + 1 == outputs))]).collect()
            })
            .collect();
        // At t = finite no point is left out.
        let input = (0..=finite).map(|t| product(others(t), finite + 1)).collect();
        Self { outputs, output, weight, input }
    }

    /// Places in a row.
    pub fn side(&self) -> usize {
        self.outputs + 2
    }

    /// By how much the magnitude of a result (first) and of a weight's gradient (second) grows at most against the plain
    /// sum's, for inputs of one size, and with it the bound on the error, but for the length of the sums:
    /// `(max_i Σ_t |A[i,t]| ‖G[t]‖₁ ‖B[t]‖₁ / 3)²` and `(max_k Σ_t |G[t,k]| ‖B[t]‖₁ ‖A[·,t]‖₁ / m)²`.
    pub fn amplification(&self) -> (f64, f64) {
        let norm = |row: &[f64]| row.iter().map(|v| v.abs()).sum::<f64>();
        let turned = turn(&self.output);
        let most = |rows: &[Vec<f64>], others: &[Vec<f64>], terms: usize| {
            let sums = rows
                .iter()
                .map(|row| (0..self.side()).map(|t| row[t].abs() * norm(&others[t]) * norm(&self.input[t])).sum::<f64>());
            (sums.fold(0.0, f64::max) / terms as f64).powi(2)
        };
        (most(&self.output, &self.weight, 3), most(&turn(&self.weight), &turned, self.outputs))
    }

    /// Roundings on the longest way through the transforms of a result (first) and of a weight's gradient (second), for
    /// matrices applied line by line by multiplications and additions of two numbers: at most 4 for a line of B or A, 5 for G
    /// (with the rounding of its factors) and for the sum of a result, 7 for G transposed; 1, 3, 2 and 3 for F(2, 3). Every
    /// line counts twice, for rows and columns.
    pub fn roundings(&self) -> (usize, usize) {
        if self.outputs == 2 { (2 * (1 + 3 + 2), 2 * (1 + 1 + 3)) } else { (2 * (4 + 5 + 5), 2 * (4 + 4 + 7)) }
    }

    fn absolute(&self) -> Self {
        let positive = |m: &[Vec<f64>]| m.iter().map(|row| row.iter().map(|v| v.abs()).collect()).collect();
        let (output, weight, input) = (positive(&self.output), positive(&self.weight), positive(&self.input));
        Self { outputs: self.outputs, output, weight, input }
    }
}

/// The coefficients of Π (z − p), lowest first, `length` of them.
fn product(points: impl Iterator<Item = f64>, length: usize) -> Vec<f64> {
    let mut all = vec![0.0; length];
    all[0] = 1.0;
    for p in points {
        for k in (0..length).rev() {
            all[k] = if k > 0 { all[k - 1] } else { 0.0 } - p * all[k];
        }
    }
    all
}

fn turn(m: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..m[0].len()).map(|j| m.iter().map(|row| row[j]).collect()).collect()
}

/// m x mᵀ, for square x.
fn both(m: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
    let (rows, side) = (m.len(), m[0].len());
    debug_assert_eq!(x.len(), side * side);
    let half: Vec<f64> =
        indices([1, 1, rows, side]).map(|[.., i, j]| (0..side).map(|k| m[i][k] * x[k * side + j]).sum()).collect();
    indices([1, 1, rows, rows]).map(|[.., i, j]| (0..side).map(|k| m[j][k] * half[i * side + k]).sum()).collect()
}

/// A square of an image from (top, left) on, 0 outside.
fn square(image: &[f64], [h, w]: [usize; 2], top: isize, left: isize, side: usize) -> Vec<f64> {
    let at = |i: isize, size: usize| usize::try_from(i).ok().filter(|i| *i < size);
    let places = indices([1, 1, side, side]).map(|[.., i, j]| (at(top + i as isize, h), at(left + j as isize, w)));
    places.map(|(i, j)| i.zip(j).map_or(0.0, |(i, j)| image[i * w + j])).collect()
}

/// The convolution of `x` `[n, ci, h, w]` with `weight` `[co, ci, 3, 3]`.
pub fn conv2d(outputs: usize, x: &[f64], xs: [usize; 4], weight: &[f64], ws: [usize; 4], pad: usize) -> Reference {
    let by = Transforms::new(outputs);
    let values = forward(&by, x, xs, weight, ws[0], pad);
    let sizes = |x: &[f64]| x.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let magnitudes = forward(&by.absolute(), &sizes(x), xs, &sizes(weight), ws[0], pad);
    let dims = [xs[0], ws[0], windows(xs[2], 3, 1, pad), windows(xs[3], 3, 1, pad)];
    Reference::new(&dims, values.into_iter().zip(magnitudes))
}

fn forward(by: &Transforms, x: &[f64], xs: [usize; 4], weight: &[f64], co: usize, pad: usize) -> Vec<f64> {
    let ([n, ci, h, w], m, side) = (xs, by.outputs, by.side());
    let (oh, ow) = (windows(h, 3, 1, pad), windows(w, 3, 1, pad));
    let weights: Vec<Vec<f64>> = weight.chunks(9).map(|taps| both(&by.weight, taps)).collect();
    let mut y = vec![0.0; n * co * oh * ow];
    for [b, _, i, j] in indices([n, 1, oh.div_ceil(m), ow.div_ceil(m)]) {
        let corner = |at: usize| (at * m) as isize - pad as isize;
        let spread: Vec<Vec<f64>> = x[b * ci * h * w..(b + 1) * ci * h * w]
            .chunks(h * w)
            .map(|image| both(&by.input, &square(image, [h, w], corner(i), corner(j), side)))
            .collect();
        for o in 0..co {
            let product: Vec<f64> =
                (0..side * side).map(|t| (0..ci).map(|c| spread[c][t] * weights[o * ci + c][t]).sum()).collect();
            let tile = both(&by.output, &product);
            for [.., r, s] in indices([1, 1, m.min(oh - i * m), m.min(ow - j * m)]) {
                y[((b * co + o) * oh + i * m + r) * ow + j * m + s] = tile[r * m + s];
            }
        }
    }
    y
}

/// The gradient `[co, ci, 3, 3]` of the weight, for `dy` `[n, co, …]`.
pub fn grad_weight(outputs: usize, x: &[f64], xs: [usize; 4], dy: &[f64], co: usize, pad: usize) -> Reference {
    let by = Transforms::new(outputs);
    let values = backward(&by, x, xs, dy, co, pad);
    let sizes = |x: &[f64]| x.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let magnitudes = backward(&by.absolute(), &sizes(x), xs, &sizes(dy), co, pad);
    Reference::new(&[co, xs[1], 3, 3], values.into_iter().zip(magnitudes))
}

fn backward(by: &Transforms, x: &[f64], xs: [usize; 4], dy: &[f64], co: usize, pad: usize) -> Vec<f64> {
    let ([n, ci, h, w], m, side) = (xs, by.outputs, by.side());
    let (oh, ow) = (windows(h, 3, 1, pad), windows(w, 3, 1, pad));
    let (output, weight) = (turn(&by.output), turn(&by.weight));
    let mut spread = vec![vec![0.0; side * side]; co * ci];
    for [b, _, i, j] in indices([n, 1, oh.div_ceil(m), ow.div_ceil(m)]) {
        let corner = |at: usize| (at * m) as isize - pad as isize;
        let inputs: Vec<Vec<f64>> = (0..ci)
            .map(|c| square(&x[(b * ci + c) * h * w..][..h * w], [h, w], corner(i), corner(j), side))
            .map(|square| both(&by.input, &square))
            .collect();
        for o in 0..co {
            let image = &dy[(b * co + o) * oh * ow..][..oh * ow];
            let results = both(&output, &square(image, [oh, ow], (i * m) as isize, (j * m) as isize, m));
            for (c, input) in inputs.iter().enumerate() {
                spread[o * ci + c].iter_mut().zip(input).zip(&results).for_each(|((sum, x), y)| *sum += x * y);
            }
        }
    }
    spread.iter().flat_map(|products| both(&weight, products)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{conv2d as plain, difference};
    use super::*;
    use crate::rng::{Sequence, Stream};

    fn numbers(n: usize, step: u32) -> Vec<f64> {
        let mut random = Sequence::new(5, Stream::Test, step);
        (0..n).map(|_| f64::from(random.normal())).collect()
    }

    /// n, ci, h, w, co, pad: whole and ragged tiles, images smaller than a tile, padding beyond the window.
    const SHAPES: [[usize; 6]; 5] =
        [[1, 1, 4, 4, 1, 1], [2, 3, 7, 9, 2, 1], [1, 2, 5, 3, 3, 0], [1, 2, 1, 2, 2, 1], [1, 1, 2, 3, 2, 3]];

    #[test]
    fn it_equals_the_plain_convolution_and_its_magnitude_is_no_smaller() {
        for (i, [n, ci, h, w, co, pad]) in SHAPES.into_iter().enumerate() {
            let (x, weight) = (numbers(n * ci * h * w, i as u32), numbers(co * ci * 9, 100 + i as u32));
            let expected = plain::conv2d(&x, [n, ci, h, w], &weight, [co, ci, 3, 3], 1, pad, 1);
            for outputs in [2, 4] {
                let got = conv2d(outputs, &x, [n, ci, h, w], &weight, [co, ci, 3, 3], pad);
                assert_eq!(got.dims, expected.dims);
                for (k, (a, b)) in got.value.iter().zip(&expected.value).enumerate() {
                    assert!((a - b).abs() <= 1e-12 * got.magnitude[k], "F{outputs}: {a} for {b}");
                    assert!(got.magnitude[k] >= expected.magnitude[k] * (1.0 - 1e-12));
                }
            }
        }
    }

    #[test]
    fn the_weight_gradient_is_that_of_the_plain_convolution() {
        for (i, [n, ci, h, w, co, pad]) in SHAPES.into_iter().enumerate() {
            let (x, weight) = (numbers(n * ci * h * w, i as u32), numbers(co * ci * 9, 100 + i as u32));
            let (xs, ws) = ([n, ci, h, w], [co, ci, 3, 3]);
            let y = plain::conv2d(&x, xs, &weight, ws, 1, pad, 1);
            let dy = numbers(y.value.len(), 200 + i as u32);
            let objective = |weight: &[f64]| plain::conv2d(&x, xs, weight, ws, 1, pad, 1).dot(&dy);
            let all: Vec<usize> = (0..weight.len()).collect();
            let expected = difference::values(&difference::gradient(objective, &weight, &all));
            for outputs in [2, 4] {
                let got = grad_weight(outputs, &x, xs, &dy, co, pad);
                for (k, (a, b)) in got.value.iter().zip(&expected).enumerate() {
                    assert!((a - b).abs() <= 1e-9 * got.magnitude[k], "F{outputs}: {a} for {b}");
                }
            }
        }
    }

    #[test]
    fn the_matrices_of_f2_are_those_of_the_source_but_for_signs() {
        let by = Transforms::new(2);
        assert_eq!(by.input, [[-1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, -1.0, 1.0, 0.0], [0.0, -1.0, 0.0, 1.0]]);
        assert_eq!(by.weight, [[-1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]]);
        assert_eq!(by.output, [[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, -1.0, 1.0]]);
    }

    #[test]
    fn the_points_of_f4_amplify_less_than_those_of_the_source() {
        let (two, four) = (Transforms::new(2).amplification(), Transforms::new(4).amplification());
        assert!((two.0 - (8.0f64 / 3.0).powi(2)).abs() < 1e-12);
        // 0, ±1, ±2 of Lavin and Gray give 256.
        assert!(four.0 < 56.0, "{four:?}");
    }
}
