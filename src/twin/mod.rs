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
        debug_assert_eq!(value.len(), dims.iter().product());
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
