//! A case from its name and shape, as [`cases`](super::cases) writes them: `conv2d.forward b4 64->64 32x32 k3 s1`.

use super::BANK;
use super::cases::{Case, Kind, Options, case};
use crate::error::{Error, Result};
use crate::ops::{Direction, Form, Problem};
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
    let (name, shape) = line.split_once(' ')?;
    match name {
        "gemm" => product(shape),
        "train_step" => training(shape),
        _ => convolution(line, shape),
    }
}

fn convolution(line: &str, shape: &str) -> Option<Case> {
    let Problem::Conv(direction, sizes) = line.parse().ok()? else { return None };
    let name = match direction {
        Direction::Forward => "conv2d.forward",
        Direction::Input => "conv2d.grad_input",
        Direction::Weight => "conv2d.grad_weight",
    };
    Some(case(name, shape, Kind::Conv(direction, sizes)))
}

fn product(shape: &str) -> Option<Case> {
    let Problem::Gemm(_, sizes) = format!("gemm.nn {shape}").parse().ok()? else { return None };
    let form = if (sizes.cols, sizes.depth) == (BANK.0, BANK.1) { Form::Nt } else { Form::Nn };
    Some(case("gemm", shape, Kind::Gemm(form, sizes)))
}

fn training(shape: &str) -> Option<Case> {
    let (n, dim, m) = BANK;
    let network = shape.strip_suffix(&format!(" nce m{m} n{n} d{dim}"))?;
    let &[arch, width, batch, side] = network.split(' ').collect::<Vec<_>>().as_slice() else { return None };
    let (height, across) = side.split_once('x')?;
    let number = |word: &str, before: &str| word.strip_prefix(before)?.parse().ok().filter(|n| *n > 0);
    let (width, batch, size) = (number(width, "w")?, number(batch, "b")?, number(height, "").filter(|_| height == across)?);
    Some(case("train_step", shape, Kind::Train(Options { batch, arch: arch.into(), width, size, filter: None })))
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
    fn another_line_is_an_error() {
        for line in [
            "",
            "gemm",
            "gemm 4x4",
            "gemm 4x0x4",
            "conv2d b4 64->64 32x32 k3 s1",
            "conv2d.forward b4 64->64 32x32 k3 s0",
            "gemm.nn 4x4x4",
            "train_step resnet18 w64 b4 32x32",
            "train_step resnet18 w64 b4 32x33 nce m4096 n50000 d128",
            "train_step resnet18 w64 b0 32x32 nce m4096 n50000 d128",
            "train_step resnet18 w64 b4 32x32 nce m4095 n50000 d128",
        ] {
            assert!(line.parse::<Case>().is_err(), "`{line}`");
        }
    }
}
