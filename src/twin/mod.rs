//! The f64 reference of every op: written like the formula, slow, and right to the eye.
//!
//! This room knows no op and no shader. It shares with them only what is a specification of both: the
//! keyed random numbers of [`crate::rng`]. Data is in the user's layout and without padding: images
//! `[n, c, h, w]`, weights `[out, in, kh, kw]`, matrices row after row.
//!
//! There are forward references only. A gradient is checked against differences of the forward reference
//! ([`difference`]), so that no second hand-written backward can repeat a mistake of the first.
//!
//! A reference returns with each value the *magnitude* M: the sum of the absolute terms that were added up,
//! and for a value that is computed from inexact ones, those errors carried along. A result of 32-bit
//! arithmetic whose sums are d additions deep lies within `(d + 2) · 2⁻²³ · M` ([`compare::within_bound`]).
//! M = 0 says that the result is exact: nothing was rounded.
//!
//! Sizes are trusted here: lengths are checked by `debug_assert`, and a wrong one panics, as in a test it should.

pub mod add;
pub mod augment;
pub mod avg_pool;
pub mod bank_update;
pub mod batch_norm;
pub mod compare;
pub mod conv2d;
pub mod difference;
pub mod finite;
pub mod l2norm;
pub mod linear;
pub mod max_pool;
pub mod mean;
pub mod nce;
pub mod negatives;
pub mod prox;
pub mod relu;
pub mod sgd;
pub mod softmax;
pub mod top_k;
pub mod winograd;

/// The distance of 1 to the next 32-bit number: the error of one operation, as WGSL fixes no rounding direction.
pub const UNIT: f64 = 1.0 / 8_388_608.0;

/// What an op should return.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
    /// The shape of the result.
    pub dims: Vec<usize>,
    /// The values, in the user's layout.
    pub value: Vec<f64>,
    /// The sum of absolute terms behind each value.
    pub magnitude: Vec<f64>,
}

impl Reference {
    /// The shape `dims` with a pair of (value, magnitude) for each element.
    pub fn new(dims: &[usize], pairs: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let (value, magnitude): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        debug_assert_eq!(value.len(), dims.iter().product::<usize>());
        Self { dims: dims.to_vec(), value, magnitude }
    }

    /// `Σ value · upstream`: the scalar whose gradient a backward pass with this upstream gradient computes.
    pub fn dot(&self, upstream: &[f64]) -> f64 {
        debug_assert_eq!(self.value.len(), upstream.len());
        self.value.iter().zip(upstream).map(|(a, b)| a * b).sum()
    }
}

/// 32-bit numbers as the references take them.
pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// `Σ a·b` and `Σ |a·b|`.
fn dot(a: &[f64], b: &[f64]) -> (f64, f64) {
    debug_assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold((0.0, 0.0), |(sum, all), (a, b)| (sum + a * b, all + (a * b).abs()))
}

/// Row `r` of a matrix with `cols` columns.
fn row(x: &[f64], cols: usize, r: usize) -> &[f64] {
    &x[r * cols..(r + 1) * cols]
}

/// Side of the output of a window of `k` over a side of `size` with `pad` on both ends; 0 if it does not fit.
fn windows(size: usize, k: usize, stride: usize, pad: usize) -> usize {
    (size + 2 * pad).checked_sub(k).map_or(0, |free| free / stride + 1)
}

/// The source position of window place `k` of output `o`; nothing in the padding.
fn source(o: usize, k: usize, stride: usize, pad: usize, size: usize) -> Option<usize> {
    (o * stride + k).checked_sub(pad).filter(|&i| i < size)
}

/// Every index of a four-dimensional shape, the last one running fastest.
fn indices([a, b, c, d]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).flat_map(move |k| (0..d).map(move |l| [i, j, k, l]))))
}

#[cfg(test)]
mod tests {
    //! The magnitudes must be neither too small nor far too large for plain 32-bit arithmetic.

    use super::compare::within_bound;
    use super::*;
    use crate::rng::{Sequence, Stream};

    fn numbers(n: usize, step: u32) -> Vec<f32> {
        let mut random = Sequence::new(11, Stream::Test, step);
        (0..n).map(|_| random.normal()).collect()
    }

    /// The bound holds, and is less than ten thousand times the largest error (a worst case: errors rarely add up).
    fn holds(name: &str, got: &[f32], reference: &Reference, depth: f64) {
        match within_bound(got, reference, depth) {
            Ok(report) => assert!(report.worst > 1e-4, "{name}: {report:?} is too loose"),
            Err(e) => panic!("{name}: {e}"),
        }
    }

    fn single_norm(x: &[f32]) -> f32 {
        x.iter().map(|x| x * x).sum::<f32>().sqrt()
    }

    #[test]
    fn single_precision_batch_norm_lies_within_the_bound() {
        for (offset, spread) in [(0.0, 1.0), (100.0, 1.0), (-3.0, 0.01), (0.5, 20.0)] {
            let x: Vec<f32> = numbers(256, 1).iter().map(|x| x * spread + offset).collect();
            let (gamma, beta, eps) = (1.5f32, -0.25f32, 1e-5f32);
            let mean = x.iter().sum::<f32>() / 256.0;
            let var = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / 256.0;
            let y: Vec<f32> = x.iter().map(|x| gamma * (x - mean) / (var + eps).sqrt() + beta).collect();
            let twin = batch_norm::train(&wide(&x), [4, 1, 8, 8], &[1.5], &[-0.25], f64::from(eps));
            assert!(within_bound(&[mean], &twin.mean, 256.0).is_ok());
            holds("y", &y, &twin.y, 256.0);
            assert!(within_bound(&[var], &twin.var, 256.0).is_ok());
            let twin = batch_norm::eval(&wide(&x), [4, 1, 8, 8], &[1.5], &[-0.25], &[0.125], &[2.0], f64::from(eps));
            let y: Vec<f32> = x.iter().map(|x| gamma * (x - 0.125) / (2.0 + eps).sqrt() + beta).collect();
            holds("eval", &y, &twin, 1.0);
        }
    }

    #[test]
    fn single_precision_losses_lie_within_the_bound() {
        let (n, dim, b, m) = (200, 32, 8, 64);
        for tau in [0.5f32, 0.07, 0.01] {
            let unit = |x: Vec<f32>| -> Vec<f32> {
                x.chunks(dim).flat_map(|r| r.iter().map(|x| x / single_norm(r)).collect::<Vec<_>>()).collect()
            };
            let (bank, f) = (unit(numbers(n * dim, 2)), unit(numbers(b * dim, 3)));
            let own: Vec<u32> = (0..b as u32).collect();
            let key = crate::rng::key(1, Stream::Negatives);
            let negatives = negatives::negatives(key, 0, &own, m, n as u32, true);
            let score = |b: usize, v: u32| -> f32 {
                let terms = (0..dim).map(|c| f[b * dim + c] * bank[v as usize * dim + c]);
                terms.sum::<f32>() / tau
            };
            let (wf, wb, wtau) = (wide(&f), wide(&bank), f64::from(tau));
            let depth = (dim + n) as f64;

            let ln_z = nce::ln_z(&wf, &wb, dim, &own, &negatives, wtau);
            let z = ln_z.value[0] as f32;
            let ln_k = (m as f32 / n as f32).ln();
            let softplus = |a: f32| a.max(0.0) + (-a.abs()).exp().ln_1p();
            let loss: Vec<f32> = (0..b)
                .map(|b| {
                    let own = softplus(z + ln_k - score(b, own[b]));
                    negatives[b * m as usize..][..m as usize].iter().fold(own, |s, &v| s + softplus(score(b, v) - z - ln_k))
                })
                .collect();
            holds("nce", &loss, &nce::nce(&wf, &wb, dim, &own, &negatives, wtau, f64::from(z)), depth);

            let loss: Vec<f32> = (0..b)
                .map(|b| {
                    let scores: Vec<f32> = (0..n as u32).map(|v| score(b, v)).collect();
                    let top = scores.iter().copied().fold(f32::MIN, f32::max);
                    top + scores.iter().map(|s| (s - top).exp()).sum::<f32>().ln() - scores[b]
                })
                .collect();
            holds("softmax", &loss, &softmax::softmax(&wf, &wb, dim, &own, wtau), depth);

            let mut new = bank.clone();
            for (i, at) in own.iter().enumerate() {
                let row: Vec<f32> = (0..dim).map(|c| 0.5 * bank[*at as usize * dim + c] + 0.5 * f[i * dim + c]).collect();
                let length = single_norm(&row);
                new[*at as usize * dim..][..dim].copy_from_slice(&row.iter().map(|x| x / length).collect::<Vec<_>>());
            }
            holds("bank_update", &new, &bank_update::bank_update(&wb, &wf, dim, &own, 0.5, 1e-12), dim as f64);
        }
    }

    #[test]
    fn single_precision_convolution_and_norm_lie_within_the_bound() {
        let (x, w) = (numbers(2 * 6 * 5 * 5, 4), numbers(4 * 6 * 9, 5));
        let twin = conv2d::conv2d(&wide(&x), [2, 6, 5, 5], &wide(&w), [4, 6, 3, 3], 1, 0, 1);
        let y: Vec<f32> = indices([2, 4, 3, 3])
            .map(|[n, o, i, j]| {
                let terms = indices([1, 6, 3, 3])
                    .map(|[_, c, p, q]| x[((n * 6 + c) * 5 + i + p) * 5 + j + q] * w[((o * 6 + c) * 3 + p) * 3 + q]);
                terms.sum::<f32>()
            })
            .collect();
        holds("conv2d", &y, &twin, 54.0);
        let y: Vec<f32> = x.chunks(6).flat_map(|r| r.iter().map(|v| v / single_norm(r)).collect::<Vec<_>>()).collect();
        holds("l2norm", &y, &l2norm::l2norm(&wide(&x), [50, 6], 1e-12), 6.0);
    }
}
