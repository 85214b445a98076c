//! A case from its name and shape, as [`cases`](super::cases) writes them: `conv2d.forward b4 64->64 32x32 k3 s1`.

use super::BANK;
use super::cases::{Case, Kind, Options, case};
use crate::error::{Error, Result};
use crate::ops::{Conv, ConvSizes, Direction, Form, GemmSizes};
use std::str::FromStr;

impl FromStr for Case {
    type Err = Error;

    /// The case that `line` names: a convolution in one direction, a product or a training step, of any size. A product of
    /// the bank's size is one with the bank.
    ///
    /// # Errors
    /// [`Error::Value`] for any other line.
    fn from_str(line: &str) -> Result<Self> {
        read(line).ok_or_else(|| {
            let expected = "`conv2d.forward b4 64->64 32x32 k3 s1` (or .grad_input, .grad_weight; g32 for groups), \
                            `gemm 512x512x512`, or `train_step resnet18 w64 b4 32x32` with the bank's sizes";
            Error::value("bench", "case", expected, format!("`{line}`"))
        })
    }
}

fn read(line: &str) -> Option<Case> {
    let (name, shape) = line.trim().split_once(' ')?;
    let words: Vec<&str> = shape.split(' ').collect();
    let conv = |direction| Some(Kind::Conv(direction, convolution(&words)?));
    let (name, kind) = match name {
        "conv2d.forward" => ("conv2d.forward", conv(Direction::Forward)?),
        "conv2d.grad_input" => ("conv2d.grad_input", conv(Direction::Input)?),
        "conv2d.grad_weight" => ("conv2d.grad_weight", conv(Direction::Weight)?),
        "gemm" => ("gemm", product(shape)?),
        "train_step" => ("train_step", training(&words)?),
        _ => return None,
    };
    Some(case(name, shape, kind))
}

fn convolution(words: &[&str]) -> Option<ConvSizes> {
    let (words, groups) = match *words {
        [ref words @ .., last] if last.starts_with('g') => (words, count(last, "g")?),
        _ => (words, 1),
    };
    let &[batch, channels, side, kernel, stride] = words else { return None };
    let (input, output) = channels.split_once("->")?;
    let (input, output) = (count(input, "")?, count(output, "")?);
    let (kernel, side) = (count(kernel, "k")?, square(side)?);
    let conv = Conv { stride: count(stride, "s")?, pad: kernel / 2, groups };
    if input % groups != 0 || output % groups != 0 || side + 2 * conv.pad < kernel {
        return None;
    }
    let n = count(batch, "b")?;
    Some(ConvSizes { n, h: side, w: side, ci: input / groups, co: output, kh: kernel, kw: kernel, conv })
}

fn product(shape: &str) -> Option<Kind> {
    let sizes: Vec<usize> = shape.split('x').map(|size| count(size, "")).collect::<Option<_>>()?;
    let &[rows, depth, cols] = sizes.as_slice() else { return None };
    let form = if (cols, depth) == (BANK.0, BANK.1) { Form::Nt } else { Form::Nn };
    Some(Kind::Gemm(form, GemmSizes { batch: 1, rows, depth, cols }))
}

fn training(words: &[&str]) -> Option<Kind> {
    let &[arch, width, batch, side, "nce", negatives, rows, dim] = words else { return None };
    if (count(rows, "n")?, count(dim, "d")?, count(negatives, "m")?) != BANK {
        return None;
    }
    let (width, batch, size) = (count(width, "w")?, count(batch, "b")?, square(side)?);
    Some(Kind::Train(Options { batch, arch: arch.into(), width, size, filter: None }))
}

/// The side of `32x32`.
fn square(word: &str) -> Option<usize> {
    let (height, width) = word.split_once('x')?;
    count(height, "").filter(|_| height == width)
}

/// A whole number from 1 to a million after `prefix`.
fn count(word: &str, prefix: &str) -> Option<usize> {
    word.strip_prefix(prefix)?.parse().ok().filter(|n| (1..=1_000_000).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::bench::cases;

    #[test]
    fn what_cases_writes_is_read_back() {
        for (arch, width, size) in [("resnet18", 64, 32), ("resnet50", 64, 224), ("resnet34", 16, 65)] {
            let options = Options { batch: 3, arch: arch.into(), width, size, filter: None };
            let mut read = 0;
            for case in cases(&options).unwrap() {
                if ["conv2d", "gemm", "train"].iter().any(|name| case.name.starts_with(name)) {
                    let line = format!("{} {}", case.name, case.shape);
                    assert_eq!(format!("{:?}", line.parse::<Case>().unwrap()), format!("{case:?}"));
                    read += 1;
                }
            }
            assert!(read > 30, "{read} cases of {arch}");
        }
    }

    #[test]
    fn a_grouped_convolution_counts_its_groups() {
        let line = "conv2d.grad_weight b2 128->256 56x56 k3 s2 g32";
        let Kind::Conv(direction, c) = line.parse::<Case>().unwrap().kind else { panic!("{line} is a convolution") };
        assert_eq!((direction, c.conv), (Direction::Weight, Conv { stride: 2, pad: 1, groups: 32 }));
        assert_eq!((c.n, c.ci, c.co, c.result()), (2, 4, 256, [28, 28]));
    }

    #[test]
    fn another_line_is_an_error() {
        for line in [
            "",
            "gemm",
            "gemm 4x4",
            "gemm 4x0x4",
            "conv2d b4 64->64 32x32 k3 s1",
            "conv2d.forward b4 64->64 32x16 k3 s1",
            "conv2d.forward b4 64->64 1x1 k7",
            "conv2d.forward b4 64->64 32x32 k3 s1 g5",
            "conv2d.forward b4 64->64 32x32 k3 s0",
            "train_step resnet18 w64 b4 32x32 nce m4095 n50000 d128",
        ] {
            assert!(line.parse::<Case>().is_err(), "`{line}`");
        }
    }
}
