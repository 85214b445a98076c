//! Problems from their texts, as runs and caches store them.

use super::{Conv, ConvSizes, Direction, Form, GemmSizes, Problem};
use crate::error::{Error, Result};
use std::str::FromStr;

impl FromStr for Problem {
    type Err = Error;

    /// The problem that prints as `text`.
    fn from_str(text: &str) -> Result<Self> {
        let fault = || Error::value("problem", "text", "as `conv2d.forward b4 64->64 32x32 k3 s1` or `gemm.nn 4x512x128`", text);
        let (name, sizes) = text.split_once(' ').ok_or_else(fault)?;
        let problem = match name {
            "conv2d.forward" => conv(sizes).map(|sizes| Self::Conv(Direction::Forward, sizes)),
            "conv2d.grad_input" => conv(sizes).map(|sizes| Self::Conv(Direction::Input, sizes)),
            "conv2d.grad_weight" => conv(sizes).map(|sizes| Self::Conv(Direction::Weight, sizes)),
            "gemm.nn" => gemm(sizes).map(|sizes| Self::Gemm(Form::Nn, sizes)),
            "gemm.nt" => gemm(sizes).map(|sizes| Self::Gemm(Form::Nt, sizes)),
            "gemm.tn" => gemm(sizes).map(|sizes| Self::Gemm(Form::Tn, sizes)),
            _ => None,
        };
        // What prints otherwise is no problem of ours: `k03`, or a padding that goes without saying.
        problem.filter(|problem| problem.to_string() == text && countable(problem)).ok_or_else(fault)
    }
}

/// Sizes above this are no image's and no matrix's.
const MOST: usize = 1 << 31;

/// Whether its operations, parts and padding can be counted without overflow.
fn countable(problem: &Problem) -> bool {
    let factors = match *problem {
        Problem::Conv(_, s) => {
            let wide = |side: usize| side + 2 * s.conv.pad + s.conv.stride;
            if s.conv.pad > 1 << 20 || s.conv.stride > 1 << 20 {
                return false;
            }
            [s.n, wide(s.h), wide(s.w), s.ci + 3, s.co + 3, s.conv.groups, s.kh, s.kw]
        }
        Problem::Gemm(_, s) => [s.batch, s.rows + 3, s.depth + 3, s.cols + 3, 1, 1, 1, 1],
    };
    let product = factors.iter().try_fold(1u128, |product, &factor| product.checked_mul(factor as u128));
    product.is_some_and(|product| product < 1 << 56)
}

fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|n| (1..=MOST).contains(n))
}

fn pair(text: &str) -> Option<(usize, usize)> {
    let (a, b) = text.split_once('x')?;
    Some((number(a)?, number(b)?))
}

/// As `b4 64->128 32x32 k3 s2`, with `k1x7`, `p0` and `g32` where they do not go without saying.
fn conv(text: &str) -> Option<ConvSizes> {
    let mut words = text.split(' ').peekable();
    let n = number(words.next()?.strip_prefix('b')?)?;
    let (channels, co) = words.next()?.split_once("->")?;
    let (channels, co) = (number(channels)?, number(co)?);
    let (h, w) = pair(words.next()?)?;
    let kernel = words.next()?.strip_prefix('k')?;
    let (kh, kw) = pair(kernel).or_else(|| number(kernel).map(|side| (side, side)))?;
    let stride = number(words.next()?.strip_prefix('s')?)?;
    let mut after = |letter| words.next_if(|word| word.starts_with(letter)).map(|word| word[1..].parse::<usize>().ok());
    let pad = after('p').unwrap_or(Some(kh / 2)).filter(|pad| *pad <= MOST)?;
    let groups = after('g').unwrap_or(Some(1)).filter(|groups| *groups > 0)?;
    let divides = channels.is_multiple_of(groups) && co.is_multiple_of(groups);
    let fits = h + 2 * pad >= kh && w + 2 * pad >= kw;
    let whole = words.next().is_none() && divides && fits;
    whole.then_some(ConvSizes { n, h, w, ci: channels / groups, co, kh, kw, conv: Conv { stride, pad, groups } })
}

/// As `4x512x128`, or `16 of 4x512x128`.
fn gemm(text: &str) -> Option<GemmSizes> {
    let (batch, sizes) = text.split_once(" of ").map_or((Some(1), text), |(batch, sizes)| (number(batch), sizes));
    let mut sizes = sizes.split('x').map(number);
    let found = GemmSizes { batch: batch?, rows: sizes.next()??, depth: sizes.next()??, cols: sizes.next()?? };
    sizes.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_a_problem_is_read_back() {
        let mut count = 0;
        for (kh, kw, pad) in [(3, 3, 1), (3, 3, 0), (1, 1, 0), (7, 7, 3), (1, 7, 3), (7, 7, 0)] {
            for (stride, groups) in [(1, 1), (2, 1), (1, 32), (3, 4)] {
                let conv = Conv { stride, pad, groups };
                let sizes = ConvSizes { n: 5, h: 9, w: 17, ci: 3, co: 2 * groups, kh, kw, conv };
                for direction in [Direction::Forward, Direction::Input, Direction::Weight] {
                    let problem = Problem::Conv(direction, sizes);
                    assert_eq!(problem.to_string().parse::<Problem>().unwrap(), problem);
                    count += 1;
                }
            }
        }
        for batch in [1, 16] {
            for form in [Form::Nn, Form::Nt, Form::Tn] {
                let problem = Problem::Gemm(form, GemmSizes { batch, rows: 7, depth: 512, cols: 1 });
                assert_eq!(problem.to_string().parse::<Problem>().unwrap(), problem);
                count += 1;
            }
        }
        assert_eq!(count, 78);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "gemm.nn",
            "gemm.nn ",
            "gemm.nn 4x4",
            "gemm.nn 4x4x4x4",
            "gemm.nn 4x0x4",
            "gemm.nn 4x-1x4",
            "gemm.nn 1 of 4x4x4",
            "gemm.xx 4x4x4",
            "gemm.nn 99999999999999999999x1x1",
            "gemm.nn 2147483648x2147483648x2147483648",
            "conv2d.forward b1000000 1000000->1000000 1000000x1000000 k3 s1",
            "conv2d.forward b1 4->4 8x8 k3 s1 p2000000",
            "conv2d 4x4x4",
            "conv2d.forward b4 64->64 32x32 k3",
            "conv2d.forward b4 64->64 32x32 k3 s0",
            "conv2d.forward b4 64->64 32x32 k3 s1 p1",
            "conv2d.forward b4 64->64 32x32 k3 s1 g0",
            "conv2d.forward b4 64->63 32x32 k3 s1 g2",
            "conv2d.forward b4 64->64 32x32 k3 s1 x",
            "conv2d.forward b4 64->64 2x2 k7 s1 p0",
            "conv2d.forward b04 64->64 32x32 k3 s1",
            "conv2d.forward b4 64->64 32x32 k3x3 s1",
            "conv2d.forward b4  64->64 32x32 k3 s1",
            "conv2d.forward b4 64->64 32x32 k3 s1 p\u{e9}",
        ] {
            assert!(text.parse::<Problem>().is_err(), "{text}");
        }
    }
}
