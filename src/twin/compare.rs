//! The comparators: what decides that a result is right, and so what is tested first (`tests/comparators.rs`).
//!
//! A comparison accepts by `<=` and never rejects by `>`, so that NaN cannot pass. Lengths are compared first, an
//! empty comparison is an error, and both sides must lie in different memory. Infinities do not pass
//! either: only [`kinds_equal`], asked for by name, compares what is not finite, by its kind.

use super::{Reference, UNIT};

/// What a comparison that passed has seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// The largest error as a share of the allowed one: at most 1.
    pub worst: f64,
    /// Where that was.
    pub index: usize,
    /// How many elements were compared.
    pub count: usize,
}

/// Why a comparison did not pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Mismatch {
    /// One element is off, or, where the comparison is of norms, all together are.
    Value {
        /// The first element that is off; 0 for norms.
        index: usize,
        /// The number under test; for norms that of the difference.
        got: f64,
        /// What it should be; for norms that of the expected vector.
        expected: f64,
        /// By how much it may differ.
        allowed: f64,
    },
    /// The sides have different lengths.
    Length {
        /// Elements under test.
        got: usize,
        /// Elements expected.
        expected: usize,
    },
    /// The sides have different shapes.
    Shape {
        /// The shape under test.
        got: Vec<usize>,
        /// The shape expected.
        expected: Vec<usize>,
    },
    /// There is nothing to compare.
    Empty,
    /// Both sides lie in the same memory: something was compared with itself.
    SameBuffer,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value { index, got, expected, allowed } => {
                write!(f, "element {index} is {got:e} and should be {expected:e} within {allowed:e}")
            }
            Self::Length { got, expected } => write!(f, "{got} elements instead of {expected}"),
            Self::Shape { got, expected } => write!(f, "shape {got:?} instead of {expected:?}"),
            Self::Empty => write!(f, "nothing to compare"),
            Self::SameBuffer => write!(f, "both sides lie in the same memory"),
        }
    }
}

impl std::error::Error for Mismatch {}

/// The shapes are equal and not empty.
///
/// # Errors
/// [`Mismatch::Shape`], or [`Mismatch::Empty`] where there are no elements.
pub fn same_shape(got: &[usize], expected: &[usize]) -> Result<(), Mismatch> {
    if got != expected {
        return Err(Mismatch::Shape { got: got.to_vec(), expected: expected.to_vec() });
    }
    if got.iter().product::<usize>() == 0 { Err(Mismatch::Empty) } else { Ok(()) }
}

/// Each result of 32-bit arithmetic lies within `(depth + 2) · (2⁻²³ · M + 2⁻¹²⁶)` of its reference.
///
/// The last summand excuses numbers below the smallest normal one, which a device may take for zero; it is left out
/// where M = 0, which asks for the very value.
///
/// # Errors
/// [`Mismatch`] with the first element that is off.
pub fn within_bound(got: &[f32], reference: &Reference, depth: f64) -> Result<Report, Mismatch> {
    comparable(got, &reference.magnitude)?;
    each(got, &reference.value, |i, _| {
        let m = reference.magnitude[i];
        if m == 0.0 { 0.0 } else { (depth + 2.0) * (UNIT * m + f64::from(f32::MIN_POSITIVE)) }
    })
}

/// `|got − numeric| ≤ rel · max(|numeric|, mean of |numeric|)` for each element of a gradient.
///
/// # Errors
/// [`Mismatch`] with the first element that is off.
pub fn gradient_close(got: &[f32], numeric: &[f64], rel: f64) -> Result<Report, Mismatch> {
    let mean = numeric.iter().map(|x| x.abs()).sum::<f64>() / numeric.len() as f64;
    each(got, numeric, |_, x| rel * if x.abs() >= mean { x.abs() } else { mean })
}

/// `‖got − expected‖ ≤ tolerance · ‖expected‖`, for whole tensors of a network.
///
/// # Errors
/// [`Mismatch`]; where a norm is too large, [`Mismatch::Value`] holds the norms, and where an element is not
/// finite, that element.
pub fn relative_norm<A, B>(got: &[A], expected: &[B], tolerance: f64) -> Result<Report, Mismatch>
where
    A: Copy + Into<f64>,
    B: Copy + Into<f64>,
{
    each(got, expected, |_, _| f64::MAX)?;
    // Divided by the largest element, so that no square overflows or vanishes.
    let (a, b): (Vec<f64>, Vec<f64>) = got.iter().zip(expected).map(|(&a, &b)| (a.into(), b.into())).unzip();
    let top = a.iter().chain(&b).fold(0.0, |top: f64, x| top.max(x.abs()));
    let norm = |x: &mut dyn Iterator<Item = f64>| if top > 0.0 { x.map(|x| (x / top).powi(2)).sum::<f64>().sqrt() } else { 0.0 };
    let off = norm(&mut a.iter().zip(&b).map(|(a, b)| a - b));
    let size = norm(&mut b.iter().copied());
    let worst = judge(0, off, size, off, tolerance * size).map_err(|_| Mismatch::Value {
        index: 0,
        got: off * top,
        expected: size * top,
        allowed: tolerance * size * top,
    })?;
    Ok(Report { worst, index: 0, count: a.len() })
}

/// The same bits in every element; NaN does not pass.
///
/// # Errors
/// [`Mismatch`] with the first element that differs.
pub fn bits_equal(got: &[f32], expected: &[f32]) -> Result<Report, Mismatch> {
    comparable(got, expected)?;
    for (index, (a, b)) in got.iter().zip(expected).enumerate() {
        if a.is_nan() || a.to_bits() != b.to_bits() {
            return Err(Mismatch::Value { index, got: f64::from(*a), expected: f64::from(*b), allowed: 0.0 });
        }
    }
    Ok(Report { worst: 0.0, index: 0, count: got.len() })
}

/// The same kind in every element: NaN, +∞, −∞ or finite. For tests of what should not be finite, and only those.
///
/// # Errors
/// [`Mismatch`] with the first element that differs in kind.
pub fn kinds_equal(got: &[f32], expected: &[f64]) -> Result<Report, Mismatch> {
    comparable(got, expected)?;
    let kind = |x: f64| (x.is_nan(), x == f64::INFINITY, x == f64::NEG_INFINITY);
    for (index, (&a, &b)) in got.iter().zip(expected).enumerate() {
        if kind(f64::from(a)) != kind(b) {
            return Err(Mismatch::Value { index, got: f64::from(a), expected: b, allowed: 0.0 });
        }
    }
    Ok(Report { worst: 0.0, index: 0, count: got.len() })
}

fn each<A, B>(got: &[A], expected: &[B], allowed: impl Fn(usize, f64) -> f64) -> Result<Report, Mismatch>
where
    A: Copy + Into<f64>,
    B: Copy + Into<f64>,
{
    comparable(got, expected)?;
    let mut report = Report { worst: 0.0, index: 0, count: got.len() };
    for (index, (&a, &b)) in got.iter().zip(expected).enumerate() {
        let (a, b) = (a.into(), b.into());
        let share = judge(index, a, b, (a - b).abs(), allowed(index, b))?;
        if share > report.worst {
            report = Report { worst: share, index, ..report };
        }
    }
    Ok(report)
}

/// The error as a share of the allowed one, if everything is finite and the error is at most that.
fn judge(index: usize, got: f64, expected: f64, off: f64, allowed: f64) -> Result<f64, Mismatch> {
    if got.is_finite() && expected.is_finite() && allowed.is_finite() && off <= allowed {
        Ok(if off == 0.0 { 0.0 } else { off / allowed })
    } else {
        Err(Mismatch::Value { index, got, expected, allowed })
    }
}

fn comparable<A, B>(got: &[A], expected: &[B]) -> Result<(), Mismatch> {
    if got.len() != expected.len() {
        return Err(Mismatch::Length { got: got.len(), expected: expected.len() });
    }
    if got.is_empty() {
        return Err(Mismatch::Empty);
    }
    separate(got, expected)
}

/// The two share no byte.
fn separate<A, B>(a: &[A], b: &[B]) -> Result<(), Mismatch> {
    let (a, b) = (a.as_ptr_range(), b.as_ptr_range());
    let (a, b) = (a.start.addr()..a.end.addr(), b.start.addr()..b.end.addr());
    if a.start < b.end && b.start < a.end { Err(Mismatch::SameBuffer) } else { Ok(()) }
}
