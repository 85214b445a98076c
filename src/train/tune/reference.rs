//! Single elements of a result, in f64, straight from the operands.

use super::numbers::Values;
use crate::ops::{ConvSizes, Direction, Form, Problem};

/// An element as the formula has it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Element {
    /// Its value.
    pub(super) value: f64,
    /// The sum of the absolute terms behind it.
    pub(super) magnitude: f64,
}

impl Element {
    fn add(&mut self, a: f64, b: f64) {
        self.value += a * b;
        self.magnitude += (a * b).abs();
    }
}

/// The element at `index` of the result of `problem`, whose index is that of [`Problem::record`]'s result.
pub(super) fn element(problem: &Problem, [a, b]: [&Values; 2], index: &[usize]) -> Element {
    let mut sum = Element::default();
    match (problem, index) {
        (Problem::Conv(Direction::Forward, s), &[n, o, i, j]) => {
            let first = o / (s.co / s.conv.groups) * s.ci;
            for [c, p, q] in three([s.ci, s.kh, s.kw]) {
                if let Some([y, x]) = source(s, [i, j], [p, q]) {
                    sum.add(a.at(&[n, first + c, y, x]), b.at(&[o, c, p, q]));
                }
            }
        }
        (Problem::Conv(Direction::Input, s), &[n, channel, y, x]) => {
            let outputs = s.co / s.conv.groups;
            let (group, c) = (channel / s.ci, channel % s.ci);
            for [o, p, q] in three([outputs, s.kh, s.kw]) {
                if let Some([i, j]) = target(s, [y, x], [p, q]) {
                    let o = group * outputs + o;
                    sum.add(a.at(&[n, o, i, j]), b.at(&[o, c, p, q]));
                }
            }
        }
        (Problem::Conv(Direction::Weight, s), &[o, c, p, q]) => {
            let channel = o / (s.co / s.conv.groups) * s.ci + c;
            let [oh, ow] = s.result();
            for [n, i, j] in three([s.n, oh, ow]) {
                if let Some([y, x]) = source(s, [i, j], [p, q]) {
                    sum.add(a.at(&[n, channel, y, x]), b.at(&[n, o, i, j]));
                }
            }
        }
        (Problem::Gemm(Form::Nn | Form::Nt, s), &[row, col]) => {
            (0..s.depth).for_each(|d| sum.add(a.at(&[row, d]), b.at(&[col, d])));
        }
        (Problem::Gemm(Form::Tn, s), &[col, row]) => {
            (0..s.depth).for_each(|d| sum.add(a.at(&[d, row]), b.at(&[d, col])));
        }
        // No result has another number of dimensions; NaN equals nothing.
        _ => sum.value = f64::NAN,
    }
    sum
}

/// The pixel that tap (p, q) of result pixel (i, j) reads; none in the padding.
fn source(s: &ConvSizes, [i, j]: [usize; 2], [p, q]: [usize; 2]) -> Option<[usize; 2]> {
    let side = |o: usize, k: usize, size: usize| (o * s.conv.stride + k).checked_sub(s.conv.pad).filter(|at| *at < size);
    Some([side(i, p, s.h)?, side(j, q, s.w)?])
}

/// The result pixel whose tap (p, q) reads pixel (y, x), if there is one.
fn target(s: &ConvSizes, [y, x]: [usize; 2], [p, q]: [usize; 2]) -> Option<[usize; 2]> {
    let [oh, ow] = s.result();
    let side = |at: usize, k: usize, size: usize| {
        let from = (at + s.conv.pad).checked_sub(k).filter(|from| from.is_multiple_of(s.conv.stride))?;
        Some(from / s.conv.stride).filter(|o| *o < size)
    };
    Some([side(y, p, oh)?, side(x, q, ow)?])
}

/// Every index of three dimensions.
fn three([a, b, c]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| [i, j, k])))
}
