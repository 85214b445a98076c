//! What can be measured.

use super::BANK;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::nn::{ResNet, ResNetConfig, Stem};
use crate::ops::{Algorithm, Conv, ConvSizes, Direction, Form, GemmSizes, Problem};

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
    /// Only cases whose name or shape holds this text, beside the adapter's own rates: see [`filter`].
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

/// Something to measure: one of [`cases`], or one that a line names (`"gemm 512x512x512".parse()`).
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, as `conv2d.forward`.
    pub name: &'static str,
    /// What it is measured on, as `b4 64->64 32x32 k3 s1`; height and width are those of the input.
    pub shape: String,
    /// How its [`problem`](Self::problem) is to be computed; `None`: as the device's choices or else the static table say.
    pub algorithm: Option<Algorithm>,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    PeakMultiply,
    PeakCopy,
    Conv(Direction, ConvSizes),
    Gemm(Form, GemmSizes),
    BatchNorm([usize; 3], bool),
    Nce(usize),
    Softmax(usize),
    TopK(usize, usize),
    Augment(usize, usize),
    Sgd(Options),
    Train(Options),
}

/// Every convolution of `net` on a batch of images of `side`.
fn convolutions(net: &ResNet, batch: usize, side: usize) -> Vec<ConvSizes> {
    let all = net.convolutions(side).into_iter();
    all.map(|(c, side)| {
        let conv = Conv { stride: c.stride, pad: c.pad, groups: c.groups };
        ConvSizes { n: batch, h: side, w: side, ci: c.input / c.groups, co: c.output, kh: c.kernel, kw: c.kernel, conv }
    })
    .collect()
}

/// Floating-point operations that count for a training step of `net`: three times its forward convolutions.
pub fn step_flops(net: &ResNet, batch: usize, side: usize) -> f64 {
    let forward = convolutions(net, batch, side).into_iter().map(|sizes| Problem::Conv(Direction::Forward, sizes));
    3.0 * forward.map(|problem| problem.work().flops).sum::<f64>()
}

/// Everything that can be measured with these options, the adapter's own rates first.
///
/// # Errors
/// [`Error::Value`] for an unknown network, an impossible width, a batch or size of 0, or a filter that nothing meets.
pub fn cases(options: &Options) -> Result<Vec<Case>> {
    let Options { batch, size, .. } = *options;
    if batch == 0 || size == 0 {
        return Err(Error::value("bench", "batch, size", "at least 1", format!("{batch}, {size}")));
    }
    let net = options.net()?;
    let mut all = vec![
        case("peak.fma", "independent multiply-adds", Kind::PeakMultiply),
        case("peak.copy", "64 MiB read, 64 MiB written", Kind::PeakCopy),
    ];
    let mut shapes: Vec<ConvSizes> = Vec::new();
    for sizes in convolutions(&net, batch, size) {
        if !shapes.contains(&sizes) {
            shapes.push(sizes);
        }
    }
    for (name, direction) in [
        ("conv2d.forward", Direction::Forward),
        ("conv2d.grad_input", Direction::Input),
        ("conv2d.grad_weight", Direction::Weight),
    ] {
        all.extend(shapes.iter().map(|&sizes| case(name, sizes, Kind::Conv(direction, sizes))));
    }
    let (n, dim, m) = BANK;
    let square = GemmSizes { batch: 1, rows: 512, depth: 512, cols: 512 };
    let scores = GemmSizes { batch: 1, rows: 128, depth: dim, cols: n };
    all.push(case("gemm", square, Kind::Gemm(Form::Nn, square)));
    all.push(case("gemm", scores, Kind::Gemm(Form::Nt, scores)));
    for (name, backward) in [("batch_norm.forward", false), ("batch_norm.backward", true)] {
        for sizes in shapes.first().into_iter().chain(shapes.last()) {
            let (channels, [side, _]) = (sizes.co, sizes.result());
            let shape = format!("b{batch} {channels} {side}x{side}");
            all.push(case(name, shape, Kind::BatchNorm([batch, channels, side], backward)));
        }
    }
    all.push(case("nce", format!("b{batch} m{m} n{n} d{dim}"), Kind::Nce(batch)));
    all.push(case("softmax", format!("b{batch} n{n} d{dim}"), Kind::Softmax(batch)));
    let (queries, k) = (256, 200);
    all.push(case("top_k", format!("q{queries} k{k} n{n} d{dim}"), Kind::TopK(queries, k)));
    all.push(case("augment", format!("b{batch} {size}x{size}"), Kind::Augment(batch, size)));
    let Options { arch, width, .. } = options;
    all.push(case("sgd", format!("{arch} w{width}"), Kind::Sgd(options.clone())));
    let shape = format!("{arch} w{width} b{batch} {size}x{size} nce m{m} n{n} d{dim}");
    all.push(case("train_step", shape, Kind::Train(options.clone())));
    match &options.filter {
        Some(text) => filter(all, text),
        None => Ok(all),
    }
}

/// Those of `all` whose name or shape holds `text`, beside the adapter's own rates.
///
/// # Errors
/// [`Error::Value`] where there are none.
pub fn filter(mut all: Vec<Case>, text: &str) -> Result<Vec<Case>> {
    let meets = |case: &Case| case.name.contains(text) || case.shape.contains(text);
    if !all.iter().any(meets) {
        let expected = "a part of a case's name or shape, as `conv2d` or `64->64`";
        return Err(Error::value("bench", "--filter", expected, format!("`{text}`")));
    }
    all.retain(|case| meets(case) || case.name.starts_with("peak."));
    Ok(all)
}

pub(super) fn case(name: &'static str, shape: impl ToString, kind: Kind) -> Case {
    Case { name, shape: shape.to_string(), algorithm: None, kind }
}

impl Case {
    /// What it solves, where several algorithms can.
    pub fn problem(&self) -> Option<Problem> {
        match self.kind {
            Kind::Conv(direction, sizes) => Some(Problem::of(direction, sizes)),
            Kind::Gemm(form, sizes) => Some(Problem::Gemm(form, sizes)),
            _ => None,
        }
    }

    /// It by every algorithm that `gpu` has for it; as it is where there is nothing to choose.
    pub fn variants(&self, gpu: &Gpu) -> Vec<Self> {
        let Some(problem) = self.problem() else { return vec![self.clone()] };
        let candidates = problem.candidates(gpu).into_iter();
        candidates.map(|algorithm| Self { algorithm: Some(algorithm), ..self.clone() }).collect()
    }

    /// Whether memory bounds it, so that it is held against the copy rate.
    pub(super) fn bandwidth_bound(&self) -> bool {
        use Kind::{Augment, BatchNorm, Nce, PeakCopy, Sgd};
        matches!(self.kind, PeakCopy | BatchNorm(..) | Nce(_) | Augment(..) | Sgd(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(options: &Options) -> Vec<String> {
        cases(options).unwrap().into_iter().filter(|c| c.name == "conv2d.forward").map(|c| c.shape).collect()
    }

    #[test]
    fn a_step_of_resnet18_counts_13_gflop() {
        let net = Options::default().net().unwrap();
        assert_eq!((step_flops(&net, 4, 32) / 1e7).round(), 1333.0);
    }

    #[test]
    fn every_distinct_convolution_of_resnet18_is_a_case() {
        let forward = forward(&Options::default());
        assert_eq!(forward.len(), 11);
        assert_eq!(forward[..3], ["b4 3->64 32x32 k3 s1", "b4 64->64 32x32 k3 s1", "b4 64->128 32x32 k3 s2"]);
        assert!(forward.iter().any(|s| s == "b4 64->128 32x32 k1 s2") && forward.iter().any(|s| s == "b4 512->512 4x4 k3 s1"));
        assert_eq!(cases(&Options::default()).unwrap()[0].name, "peak.fma");
    }

    /// The list of He et al. 2016, table 1, with the stride in the 3×3 convolution as torchvision has it.
    #[test]
    fn every_distinct_convolution_of_resnet50_is_a_case() {
        let mut expected = vec!["b2 3->64 224x224 k7 s2".to_owned()];
        let (mut side, mut input) = (56, 64);
        for (stage, width) in [64, 128, 256, 512].into_iter().enumerate() {
            let (stride, output) = (if stage == 0 { 1 } else { 2 }, 4 * width);
            let out = side / stride;
            expected.push(format!("b2 {input}->{width} {side}x{side} k1 s1"));
            expected.push(format!("b2 {width}->{width} {side}x{side} k3 s{stride}"));
            expected.push(format!("b2 {width}->{output} {out}x{out} k1 s1"));
            expected.push(format!("b2 {input}->{output} {side}x{side} k1 s{stride}"));
            expected.push(format!("b2 {output}->{width} {out}x{out} k1 s1"));
            expected.push(format!("b2 {width}->{width} {out}x{out} k3 s1"));
            (side, input) = (out, output);
        }
        expected.sort();
        expected.dedup();
        let mut found = forward(&Options { batch: 2, arch: "resnet50".into(), size: 224, ..Options::default() });
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_problem_of_a_convolution_has_its_name_and_shape() {
        for case in cases(&Options::default()).unwrap().iter().filter(|c| c.name.starts_with("conv2d")) {
            assert_eq!(case.problem().unwrap().to_string(), format!("{} {}", case.name, case.shape));
        }
    }

    #[test]
    fn a_filter_leaves_what_holds_it_and_the_rates() {
        let names = |text: &str| -> Result<Vec<_>> {
            let options = Options { filter: Some(text.into()), ..Options::default() };
            Ok(cases(&options)?.into_iter().map(|case| case.name).collect())
        };
        assert_eq!(names("softmax").unwrap(), ["peak.fma", "peak.copy", "softmax"]);
        assert_eq!(names("peak").unwrap(), ["peak.fma", "peak.copy"]);
        assert!(names("nothing like it").is_err());
    }
}
