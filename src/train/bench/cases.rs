//! What can be measured.

use super::BANK;
use crate::error::{Error, Result};
use crate::nn::{ResNet, ResNetConfig, Stem};
use crate::ops::Conv;

/// What [`cases`] lists.
#[derive(Clone, Debug)]
pub struct Options {
    /// Images a batch.
    pub batch: usize,
    /// `resnet18`, `resnet34` or `resnet50`: whose convolutions, and whose training step.
    pub arch: String,
    /// Channels of the first stage.
    pub width: usize,
    /// Side of the images. Up to 64 the network begins as for CIFAR, above as for ImageNet.
    pub size: usize,
    /// Only cases whose name or shape holds this text.
    pub filter: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { batch: 4, arch: "resnet18".into(), width: 64, size: 32, filter: None }
    }
}

impl Options {
    pub(super) fn net(&self) -> Result<ResNet> {
        let stem = if self.size <= 64 { Stem::Cifar } else { Stem::Imagenet };
        ResNet::new(ResNetConfig { width: self.width, ..ResNetConfig::named(&self.arch, stem)? })
    }
}

/// Something to measure.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, as `conv2d.forward`.
    pub name: &'static str,
    /// What it is measured on, as `b4 64->64 32x32 k3 s1`; height and width are those of the input.
    pub shape: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Input,
    Weight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Convolution {
    pub(super) batch: usize,
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) side: usize,
    pub(super) kernel: usize,
    pub(super) conv: Conv,
    /// Side of the result.
    out: usize,
}

impl Convolution {
    pub(super) fn flops(self) -> f64 {
        2.0 * (self.batch * self.out * self.out * self.output * self.kernel * self.kernel) as f64
            * (self.input / self.conv.groups) as f64
    }
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    PeakMultiply,
    PeakCopy,
    Conv(Direction, Convolution),
    Linear([usize; 3]),
    Scores([usize; 3]),
    BatchNorm([usize; 3], bool),
    Nce(usize),
    Softmax(usize),
    Augment(usize, usize),
    Sgd(Options),
    Train(Options),
}

/// Every convolution of `net` on a batch of images of `side`.
fn convolutions(net: &ResNet, batch: usize, side: usize) -> Vec<Convolution> {
    let all = net.convolutions(side).into_iter();
    all.map(|(c, side)| {
        let conv = Conv { stride: c.stride, pad: c.pad, groups: c.groups };
        Convolution { batch, input: c.input, output: c.output, side, kernel: c.kernel, conv, out: c.side(side) }
    })
    .collect()
}

/// Floating-point operations that count for a training step of `net`: three times its forward convolutions.
pub fn step_flops(net: &ResNet, batch: usize, side: usize) -> f64 {
    3.0 * convolutions(net, batch, side).into_iter().map(Convolution::flops).sum::<f64>()
}

/// Everything that can be measured with these options, the adapter's own rates first.
///
/// # Errors
/// [`Error::Value`] for an unknown network, an impossible width, or a batch or size of 0.
pub fn cases(options: &Options) -> Result<Vec<Case>> {
    let Options { batch, size, .. } = *options;
    if batch == 0 || size == 0 {
        return Err(Error::value("bench", "batch, size", "at least 1", format!("{batch}, {size}")));
    }
    let net = options.net()?;
    let mut all = vec![
        case("peak.fma", "independent multiply-adds".into(), Kind::PeakMultiply),
        case("peak.copy", "64 MiB read, 64 MiB written".into(), Kind::PeakCopy),
    ];
    let mut shapes: Vec<Convolution> = Vec::new();
    for shape in convolutions(&net, batch, size) {
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    for (name, direction) in [
        ("conv2d.forward", Direction::Forward),
        ("conv2d.grad_input", Direction::Input),
        ("conv2d.grad_weight", Direction::Weight),
    ] {
        for &c in &shapes {
            let mut shape = format!("b{batch} {}->{} {}x{} k{} s{}", c.input, c.output, c.side, c.side, c.kernel, c.conv.stride);
            if c.conv.groups > 1 {
                shape += &format!(" g{}", c.conv.groups);
            }
            all.push(case(name, shape, Kind::Conv(direction, c)));
        }
    }
    let (n, dim, m) = BANK;
    all.push(case("gemm", "512x512x512".into(), Kind::Linear([512, 512, 512])));
    all.push(case("gemm", format!("128x{dim}x{n}"), Kind::Scores([128, dim, n])));
    for (name, backward) in [("batch_norm.forward", false), ("batch_norm.backward", true)] {
        for c in shapes.first().into_iter().chain(shapes.last()) {
            let shape = format!("b{batch} {} {}x{}", c.output, c.out, c.out);
            all.push(case(name, shape, Kind::BatchNorm([batch, c.output, c.out], backward)));
        }
    }
    all.push(case("nce", format!("b{batch} m{m} n{n} d{dim}"), Kind::Nce(batch)));
    all.push(case("softmax", format!("b{batch} n{n} d{dim}"), Kind::Softmax(batch)));
    all.push(case("augment", format!("b{batch} {size}x{size}"), Kind::Augment(batch, size)));
    let Options { arch, width, .. } = options;
    all.push(case("sgd", format!("{arch} w{width}"), Kind::Sgd(options.clone())));
    let shape = format!("{arch} w{width} b{batch} {size}x{size} nce m{m} n{n} d{dim}");
    all.push(case("train_step", shape, Kind::Train(options.clone())));
    if let Some(text) = &options.filter {
        all.retain(|case| case.name.contains(text.as_str()) || case.shape.contains(text.as_str()));
    }
    Ok(all)
}

fn case(name: &'static str, shape: String, kind: Kind) -> Case {
    Case { name, shape, kind }
}

impl Case {
    /// Whether memory bounds it, so that it is held against the copy rate.
    pub(super) fn bandwidth_bound(&self) -> bool {
        use Kind::{Augment, BatchNorm, Nce, PeakCopy, Sgd};
        matches!(self.kind, PeakCopy | BatchNorm(..) | Nce(_) | Augment(..) | Sgd(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_resnet18_counts_13_gflop() {
        let net = Options::default().net().unwrap();
        assert_eq!((step_flops(&net, 4, 32) / 1e7).round(), 1333.0);
    }

    #[test]
    fn every_distinct_convolution_of_resnet18_is_a_case() {
        let all = cases(&Options::default()).unwrap();
        let forward: Vec<_> = all.iter().filter(|c| c.name == "conv2d.forward").map(|c| c.shape.as_str()).collect();
        assert_eq!(forward.len(), 11);
        assert_eq!(forward[..3], ["b4 3->64 32x32 k3 s1", "b4 64->64 32x32 k3 s1", "b4 64->128 32x32 k3 s2"]);
        assert!(forward.contains(&"b4 64->128 32x32 k1 s2") && forward.contains(&"b4 512->512 4x4 k3 s1"));
        assert_eq!(all[0].name, "peak.fma");
    }

    #[test]
    fn a_filter_leaves_what_holds_it() {
        let options = Options { filter: Some("softmax".into()), ..Options::default() };
        assert_eq!(cases(&options).unwrap().len(), 1);
    }
}
