//! The cases, read from the lines that name them: `conv2d.forward b4 64->64 32x32 k3 s1`.

use std::str::FromStr;

/// A 2-d convolution of square images with padding kernel / 2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Convolution {
    pub(crate) batch: usize,
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) side: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) groups: usize,
}

impl Convolution {
    /// Side of the result.
    pub(crate) fn out(&self) -> usize {
        (self.side + 2 * (self.kernel / 2) - self.kernel) / self.stride + 1
    }

    /// Two for each multiply-add.
    pub(crate) fn flops(&self) -> f64 {
        let pixels = self.batch * self.out() * self.out();
        2.0 * (pixels * self.output * self.kernel * self.kernel) as f64 * (self.input / self.groups) as f64
    }
}

/// A training step with noise-contrastive estimation.
#[derive(Clone, Debug)]
pub(crate) struct Training {
    pub(crate) arch: String,
    pub(crate) width: usize,
    pub(crate) batch: usize,
    pub(crate) side: usize,
    /// Negatives a sample, rows of the bank, and their length.
    pub(crate) negatives: usize,
    pub(crate) rows: usize,
    pub(crate) dim: usize,
}

/// What can be measured.
#[derive(Clone, Debug)]
pub(crate) enum Case {
    Forward(Convolution),
    ForwardBackward(Convolution),
    /// A linear layer of m rows, k inputs and n outputs.
    Linear([usize; 3]),
    /// m queries against n bank rows of k numbers.
    Scores([usize; 3]),
    Train(Training),
}

impl FromStr for Case {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        read(line).ok_or_else(|| format!("`{line}` names no case"))
    }
}

fn read(line: &str) -> Option<Case> {
    let (name, shape) = line.trim().split_once(' ')?;
    let words: Vec<&str> = shape.split(' ').collect();
    match name {
        "conv2d.forward" => convolution(&words).map(Case::Forward),
        "conv2d.forward+backward" => convolution(&words).map(Case::ForwardBackward),
        "gemm" => {
            let sizes: Vec<usize> = shape.split('x').map(|size| count(size, "")).collect::<Option<_>>()?;
            let sizes: [usize; 3] = sizes.try_into().ok()?;
            Some(if sizes[1..] == [128, 50_000] { Case::Scores(sizes) } else { Case::Linear(sizes) })
        }
        "train_step" => training(&words).map(Case::Train),
        _ => None,
    }
}

fn convolution(words: &[&str]) -> Option<Convolution> {
    let [batch, channels, side, kernel, stride, groups @ ..] = words else { return None };
    let (input, output) = channels.split_once("->")?;
    Some(Convolution {
        batch: count(batch, "b")?,
        input: count(input, "")?,
        output: count(output, "")?,
        side: square(side)?,
        kernel: count(kernel, "k")?,
        stride: count(stride, "s")?,
        groups: groups.first().map_or(Some(1), |word| count(word, "g"))?,
    })
}

fn training(words: &[&str]) -> Option<Training> {
    let &[arch, width, batch, side, "nce", negatives, rows, dim] = words else { return None };
    Some(Training {
        arch: arch.into(),
        width: count(width, "w")?,
        batch: count(batch, "b")?,
        side: square(side)?,
        negatives: count(negatives, "m")?,
        rows: count(rows, "n")?,
        dim: count(dim, "d")?,
    })
}

/// The side of `32x32`.
fn square(word: &str) -> Option<usize> {
    word.split_once('x').and_then(|(side, _)| count(side, ""))
}

fn count(word: &str, prefix: &str) -> Option<usize> {
    word.strip_prefix(prefix)?.parse().ok().filter(|&n| n > 0)
}
