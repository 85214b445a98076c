//! How fast the kernels are on an adapter, against what the adapter itself does.
//!
//! [`cases`] lists what can be measured and [`Bench::run`] measures one of them. Each sample of a case is taken next to a
//! sample of the adapter's own rate ([`PeakMeter`]), so that `fraction_of_peak` holds on a machine that others use too.
//!
//! - A case of one op is a one-op tape whose dispatches run over and over in one submission, for at least 50 ms a sample.
//! - `train_step` is timed as `train` runs it: the host writes a batch, submits the step, and reads losses two steps late.
//! - `gflops` counts two for each multiply-add of the plain algorithm with unpadded channels, whatever is run; of a
//!   training step it counts three times the forward convolutions and nothing else.
//! - `fraction_of_peak` is of the multiply-add rate for convolutions, products, the softmax and the training step, and of
//!   the copy rate for what memory bounds: batch norm, augmentation, the update, noise-contrastive estimation.
//!
//! ```no_run
//! use instdisc::{gpu::Gpu, train::bench};
//! let bench = bench::Bench::new(&Gpu::open(&Default::default())?)?;
//! for case in bench::cases(&Default::default())? {
//!     println!("{}", bench.run(&case)?.json());
//! }
//! # Ok::<(), instdisc::Error>(())
//! ```

mod named;

use super::{Images, StepOptions, TrainingStep};
use crate::data;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, PeakMeter, Read, Work};
use crate::nn::{ResNet, ResNetConfig, Stem};
use crate::npid::{Loss, Method, ZRule};
use crate::ops::{self, Augmentation, Conv, Sgd};
use crate::rng::{Sequence, Stream};
use crate::shape::Layout;
use crate::tape::{Program, Step, Store, StoreBuilder, Tape, Tensor};
use serde::Serialize;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

/// Rows of the bank, the length of a row, and the negatives a sample.
const BANK: (usize, usize, usize) = (50_000, 128, 4096);
/// Samples of a case.
const SAMPLES: usize = 7;
/// Seconds that a sample of one op takes at least, and of the training step.
const SAMPLE: f64 = 0.05;
const STEP_SAMPLE: f64 = 0.5;

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
    /// Only cases whose name or shape holds this text, beside the adapter's own rates.
    pub filter: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { batch: 4, arch: "resnet18".into(), width: 64, size: 32, filter: None }
    }
}

impl Options {
    fn net(&self) -> Result<ResNet> {
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
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Input,
    Weight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Convolution {
    batch: usize,
    input: usize,
    output: usize,
    side: usize,
    kernel: usize,
    conv: Conv,
    /// Side of the result.
    out: usize,
}

impl Convolution {
    fn flops(self) -> f64 {
        2.0 * (self.batch * self.out * self.out * self.output * self.kernel * self.kernel) as f64
            * (self.input / self.conv.groups) as f64
    }
}

#[derive(Clone, Debug)]
enum Kind {
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
/// [`Error::Value`] for an unknown network, an impossible width, a batch or size of 0, or a filter that nothing meets.
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
        let meets = |case: &Case| case.name.contains(text.as_str()) || case.shape.contains(text.as_str());
        if !all.iter().any(meets) {
            let expected = "a part of a case's name or shape, as `conv2d` or `64->64`";
            return Err(Error::value("bench", "--filter", expected, format!("`{text}`")));
        }
        all.retain(|case| meets(case) || case.name.starts_with("peak."));
    }
    Ok(all)
}

fn case(name: &'static str, shape: String, kind: Kind) -> Case {
    Case { name, shape, kind }
}

/// What was measured of a [`Case`]. [`json`](Self::json) makes one line of it.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// [`Case::name`].
    pub case: &'static str,
    /// [`Case::shape`].
    pub shape: String,
    /// Milliseconds a run, the median of the samples.
    pub median_ms: f64,
    /// How far the samples lie apart: (slowest − fastest) / median.
    pub spread: f64,
    /// 10⁹ operations a second, two for a multiply-add.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gflops: Option<f64>,
    /// 10⁹ bytes a second that must move at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gbps: Option<f64>,
    /// The share of the adapter's own rate: the median of the samples' shares, each of a rate sampled next to it.
    pub fraction_of_peak: f64,
    /// The kernels, as `conv2d:forward rows=8 cols=4`.
    pub variant: String,
    /// The adapter's name.
    pub adapter: String,
    /// Dispatches a run; of training steps only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispatches: Option<usize>,
    /// Bytes of device memory for network, bank and step; of training steps only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Images a second; of training steps only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_per_second: Option<f64>,
}

impl Measurement {
    /// One line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Measures cases on one device.
pub struct Bench {
    gpu: Gpu,
    meter: PeakMeter,
}

/// Measure one case on `gpu`. For several, a [`Bench`] prepares the adapter's own kernels once.
///
/// # Errors
/// As [`Bench::run`].
pub fn run(gpu: &Gpu, case: &Case) -> Result<Measurement> {
    Bench::new(gpu)?.run(case)
}

impl Bench {
    /// Prepare to measure on `gpu`.
    ///
    /// # Errors
    /// As [`PeakMeter::new`].
    pub fn new(gpu: &Gpu) -> Result<Self> {
        Ok(Self { gpu: gpu.clone(), meter: PeakMeter::new(gpu)? })
    }

    /// Measure `case`.
    ///
    /// # Errors
    /// [`Error::Limit`] and [`Error::OutOfMemory`] where the device cannot hold it; [`Error::DeviceLost`].
    pub fn run(&self, case: &Case) -> Result<Measurement> {
        let mut prepared = Prepared::new(&self.gpu, case)?;
        let times = prepared.as_mut().map_or(Ok(1), Prepared::warm_up)?;
        let peak = || if case.bandwidth_bound() { self.meter.bytes_per_second() } else { self.meter.flops() };
        let mut samples = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            let before = peak()?;
            // Without a program the rate itself is the case.
            let seconds = prepared.as_mut().map(|p| p.seconds(times)).transpose()?;
            samples.push((before, seconds));
        }
        let bandwidth = case.bandwidth_bound();
        let own = self.meter.work();
        let own = if bandwidth { Work { flops: 0.0, ..own } } else { Work { bytes: 0.0, ..own } };
        let work = prepared.as_ref().map_or(own, |p| p.work);
        let amount = if bandwidth { work.bytes } else { work.flops };
        let (times, shares): (Vec<f64>, Vec<f64>) = samples
            .iter()
            .map(|&(rate, seconds)| (seconds.unwrap_or(amount / rate), seconds.map_or(1.0, |s| amount / s / rate)))
            .unzip();
        let median = median(times.clone());
        let spread = times.iter().copied().fold(0.0, f64::max) - times.iter().copied().fold(f64::INFINITY, f64::min);
        let of = |amount: f64| (amount > 0.0).then_some(amount / median / 1e9);
        let mut found = Measurement {
            case: case.name,
            shape: case.shape.clone(),
            median_ms: median * 1e3,
            spread: spread / median,
            gflops: of(work.flops),
            gbps: of(work.bytes),
            fraction_of_peak: self::median(shares),
            variant: prepared.as_ref().map_or("peak".into(), |p| p.variant.clone()),
            adapter: self.gpu.facts().name.clone(),
            dispatches: None,
            peak_bytes: None,
            images_per_second: None,
        };
        if let (Some(Prepared { run: Run::Train(trainer), .. }), Kind::Train(options)) = (&mut prepared, &case.kind) {
            found.dispatches = Some(trainer.step.program().dispatches().len());
            found.peak_bytes = Some(trainer.bytes);
            found.images_per_second = Some(options.batch as f64 / median);
        }
        Ok(found)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Case {
    /// Whether memory bounds it, so that it is held against the copy rate.
    fn bandwidth_bound(&self) -> bool {
        use Kind::{Augment, BatchNorm, Nce, PeakCopy, Sgd};
        matches!(self.kind, PeakCopy | BatchNorm(..) | Nce(_) | Augment(..) | Sgd(_))
    }
}

/// A case with its program, to time it by other means than [`Bench::run`].
pub struct Prepared {
    run: Run,
    work: Work,
    variant: String,
    /// Kept alive for the program.
    _store: Option<Store>,
}

enum Run {
    Dispatches(Box<Program>, Range<usize>),
    Train(Box<Trainer>),
}

impl Prepared {
    /// Record and compile `case` and fill its inputs with random numbers; `None` for the adapter's own rates.
    ///
    /// # Errors
    /// [`Error::Limit`] and [`Error::OutOfMemory`] where the device cannot hold it; [`Error::DeviceLost`].
    pub fn new(gpu: &Gpu, case: &Case) -> Result<Option<Self>> {
        let mut builder = Recording::new(gpu);
        let mut store = None;
        match &case.kind {
            Kind::PeakMultiply | Kind::PeakCopy => return Ok(None),
            Kind::Train(options) => return Ok(Some(Self::training(gpu, options)?)),
            Kind::Conv(direction, c) => builder.conv(*direction, *c)?,
            &Kind::Linear([m, k, n]) => {
                let x = builder.floats("x", &[m, k], Layout::Rows)?;
                let w = builder.floats("w", &[n, k], Layout::Weight)?;
                ops::linear(&mut builder.tape, x, w, None)?;
            }
            &Kind::Scores([m, k, n]) => {
                let x = builder.floats("f", &[m, k], Layout::Rows)?;
                let bank = builder.floats("bank", &[n, k], Layout::Rows)?;
                ops::scores(&mut builder.tape, x, bank)?;
            }
            &Kind::BatchNorm([n, c, side], backward) => {
                let x = builder.floats("x", &[n, c, side, side], Layout::Rows)?;
                let gamma = builder.floats("gamma", &[c], Layout::Rows)?;
                let beta = builder.floats("beta", &[c], Layout::Rows)?;
                if backward {
                    [x, gamma, beta].into_iter().try_for_each(|t| builder.tape.track(t))?;
                }
                let y = ops::batch_norm(&mut builder.tape, x, gamma, beta, 1e-5)?.y;
                if backward {
                    builder.backward(y)?;
                }
            }
            &Kind::Nce(batch) => {
                let (n, dim, m) = BANK;
                let (f, bank, own) = builder.against_bank(batch)?;
                let rows = builder.integers("rows", &[batch, m], n as u32)?;
                let z = builder.tape.input("z", &[4], Layout::Rows)?;
                builder.fills.push((z, Fill::Floats(vec![(n as f32).ln(), 1.0, 0.0, 0.0])));
                ops::nce(&mut builder.tape, f, bank, own, rows, z, 0.07)?;
                debug_assert_eq!(f.shape()[1], dim);
            }
            &Kind::Softmax(batch) => {
                let (f, bank, own) = builder.against_bank(batch)?;
                ops::softmax(&mut builder.tape, f, bank, own, 0.07)?;
            }
            &Kind::Augment(batch, side) => {
                let words = pixels(side) / 4;
                let packed = builder.integers("pixels", &[batch * words], u32::MAX)?;
                let table = builder.tape.input_u32("table", &[batch, 4])?;
                let rows = (0..batch as u32).flat_map(|i| [i * words as u32, side as u32, side as u32, i]).collect();
                builder.fills.push((table, Fill::Integers(rows)));
                ops::augment(&mut builder.tape, packed, table, Augmentation::paper(side))?;
            }
            Kind::Sgd(options) => {
                let mut declared = StoreBuilder::default();
                options.net()?.declare(&mut declared, 0)?;
                let own = declared.build(gpu)?;
                ops::sgd(&mut builder.tape, &own, SGD)?;
                store = Some(own);
            }
        }
        let wanted = if builder.backward { "backward" } else { "forward" };
        let mut program = builder.compile()?;
        program.set_step(Step { number: 0, seed: 0, lr: 0.0 })?;
        let segment = program.segments().iter().find(|s| s.name == wanted).map(|s| s.range.clone());
        let range = segment.unwrap_or(0..program.dispatches().len());
        let dispatches = &program.dispatches()[range.clone()];
        let mut work =
            dispatches.iter().fold(Work::default(), |a, d| Work { flops: a.flops + d.work.flops, bytes: a.bytes + d.work.bytes });
        match case.kind {
            Kind::Conv(_, c) => work.flops = c.flops(),
            Kind::BatchNorm(..) | Kind::Sgd(_) | Kind::Augment(..) | Kind::Nce(_) => work.flops = 0.0,
            _ => {}
        }
        let variants: Vec<String> = dispatches.iter().map(|d| d.kernel.variant.to_string()).collect();
        let variant = variants.join(", ");
        Ok(Some(Self { run: Run::Dispatches(Box::new(program), range), work, variant, _store: store }))
    }

    fn training(gpu: &Gpu, options: &Options) -> Result<Self> {
        let (trainer, store) = Trainer::new(gpu, options)?;
        let flops = step_flops(&options.net()?, options.batch, options.size);
        let variant = "train: forward, backward, update, z, bank".into();
        Ok(Self { run: Run::Train(Box::new(trainer)), work: Work { flops, bytes: 0.0 }, variant, _store: Some(store) })
    }

    /// Operations that count for a run, two for a multiply-add.
    pub fn flops(&self) -> f64 {
        self.work.flops
    }

    /// Run a few times, so that drivers compile, and say how many runs make a sample.
    fn warm_up(&mut self) -> Result<usize> {
        let (wanted, mut times) = match &self.run {
            Run::Dispatches(..) => (SAMPLE, 1),
            Run::Train(_) => (STEP_SAMPLE, 2),
        };
        self.seconds(1)?;
        loop {
            let each = self.seconds(times)?;
            if each * times as f64 >= 0.8 * wanted || times >= 1 << 20 {
                return Ok(times.max((wanted / each.max(1e-9)).ceil() as usize));
            }
            times = ((wanted / each.max(1e-9)).ceil() as usize).clamp(2 * times, 1 << 20);
        }
    }

    /// Seconds a run, as the mean of `times`.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Gpu`].
    pub fn seconds(&mut self, times: usize) -> Result<f64> {
        match &mut self.run {
            Run::Dispatches(program, range) => program.time(range.clone(), times),
            Run::Train(trainer) => trainer.seconds(times),
        }
    }
}

/// What the optimiser is measured with.
const SGD: Sgd = Sgd { momentum: 0.9, weight_decay: 5e-4 };

/// Bytes of an image in whole words.
fn pixels(side: usize) -> usize {
    (side * side * 3).div_ceil(4) * 4
}

enum Fill {
    Floats(Vec<f32>),
    Integers(Vec<u32>),
}

/// A one-op tape with what is to be written into its inputs.
struct Recording {
    tape: Tape,
    fills: Vec<(Tensor, Fill)>,
    numbers: Sequence,
    backward: bool,
}

impl Recording {
    fn new(gpu: &Gpu) -> Self {
        Self { tape: Tape::new(gpu), fills: Vec::new(), numbers: Sequence::new(0, Stream::Test, 0), backward: false }
    }

    fn floats(&mut self, name: &str, shape: &[usize], layout: Layout) -> Result<Tensor> {
        let tensor = self.tape.input(name, shape, layout)?;
        let values = (0..tensor.shape().count()).map(|_| self.numbers.unit() - 0.5).collect();
        self.fills.push((tensor, Fill::Floats(values)));
        Ok(tensor)
    }

    fn integers(&mut self, name: &str, shape: &[usize], below: u32) -> Result<Tensor> {
        let tensor = self.tape.input_u32(name, shape)?;
        let values = (0..tensor.shape().count()).map(|_| (f64::from(self.numbers.unit()) * f64::from(below)) as u32).collect();
        self.fills.push((tensor, Fill::Integers(values)));
        Ok(tensor)
    }

    /// Embeddings, a bank and the samples' rows in it.
    fn against_bank(&mut self, batch: usize) -> Result<(Tensor, Tensor, Tensor)> {
        let (n, dim, _) = BANK;
        let f = self.floats("f", &[batch, dim], Layout::Rows)?;
        let bank = self.floats("bank", &[n, dim], Layout::Rows)?;
        let own = self.integers("own", &[batch], n as u32)?;
        Ok((f, bank, own))
    }

    fn backward(&mut self, y: Tensor) -> Result<()> {
        let upstream = self.floats("dy", y.shape().dims(), y.layout())?;
        self.backward = true;
        self.tape.backward_from(y, upstream)
    }

    fn conv(&mut self, direction: Direction, c: Convolution) -> Result<()> {
        let x = self.floats("x", &[c.batch, c.input, c.side, c.side], Layout::Rows)?;
        let weight = self.floats("w", &[c.output, c.input / c.conv.groups, c.kernel, c.kernel], Layout::Weight)?;
        match direction {
            Direction::Forward => {}
            Direction::Input => self.tape.track(x)?,
            Direction::Weight => self.tape.track(weight)?,
        }
        let y = ops::conv2d(&mut self.tape, x, weight, c.conv)?;
        if direction == Direction::Forward { Ok(()) } else { self.backward(y) }
    }

    fn compile(self) -> Result<Program> {
        let mut program = self.tape.compile()?;
        for (tensor, fill) in self.fills {
            match fill {
                Fill::Floats(values) => program.write(tensor, &values)?,
                Fill::Integers(values) => program.write_u32(tensor, &values)?,
            }
        }
        Ok(program)
    }
}

/// Training steps on random pixels.
struct Trainer {
    gpu: Gpu,
    step: TrainingStep,
    batches: Vec<data::Batch>,
    late: VecDeque<Read>,
    number: u32,
    bytes: u64,
}

impl Trainer {
    fn new(gpu: &Gpu, options: &Options) -> Result<(Self, Store)> {
        let held = gpu.bytes().0;
        let (n, dim, negatives) = BANK;
        let net = options.net()?;
        let method = Method { loss: Loss::Nce { negatives, z: ZRule::Ema, exclude_own: false }, tau: 0.07, ..Method::default() };
        let mut builder = StoreBuilder::default();
        net.declare(&mut builder, 0)?;
        method.declare(&mut builder, n, dim, 0)?;
        let store = builder.build(gpu)?;
        let words = options.batch * pixels(options.size) / 4;
        let images = Images::Augmented { settings: Augmentation::paper(options.size), words };
        let step_options = StepOptions { batch: options.batch, images, method, sgd: SGD, given_negatives: false };
        let mut step = TrainingStep::new(gpu, &net, &store, step_options)?;
        let mut numbers = Sequence::new(1, Stream::Test, 0);
        let mut batches = Vec::new();
        for first in 0..4 {
            let mut batch = data::Batch::default();
            for i in 0..options.batch {
                let rgb = (0..options.size * options.size * 3).map(|_| (numbers.unit() * 256.0) as u8).collect();
                let image = data::Image::new(options.size as u32, options.size as u32, rgb)?;
                batch.push(((first * options.batch + i) % n) as u32, &image)?;
            }
            batches.push(batch);
        }
        step.write_batch(&batches[0])?;
        step.find_z(Step { number: 0, seed: 0, lr: LR })?;
        gpu.wait()?;
        let bytes = gpu.bytes().0 - held;
        Ok((Self { gpu: gpu.clone(), step, batches, late: VecDeque::new(), number: 0, bytes }, store))
    }

    fn seconds(&mut self, times: usize) -> Result<f64> {
        self.gpu.wait()?;
        let start = Instant::now();
        for _ in 0..times {
            self.step.write_batch(&self.batches[self.number as usize % self.batches.len()])?;
            self.step.run(Step { number: self.number, seed: 0, lr: LR })?;
            self.number += 1;
            let loss = self.step.loss();
            self.late.push_back(self.step.program().read_later(loss)?);
            if self.late.len() > 2 {
                self.late.pop_front().map(Read::wait).transpose()?;
            }
        }
        self.gpu.wait()?;
        Ok(start.elapsed().as_secs_f64() / times.max(1) as f64)
    }
}

/// A learning rate that keeps weights finite on random pixels.
const LR: f32 = 1e-3;

/// A kernel's part in a training step.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// The kernel, as `conv2d:forward rows=8 cols=4`.
    pub variant: String,
    /// Its dispatches in a step.
    pub dispatches: usize,
    /// Milliseconds of all of them.
    pub ms: f64,
    /// Their part of the whole.
    pub share: f64,
    /// 10⁹ operations a second.
    pub gflops: f64,
    /// 10⁹ bytes a second.
    pub gbps: f64,
}

/// Where the time of a training step goes: each dispatch timed alone, summed by kernel, the dearest first.
///
/// # Errors
/// As [`Bench::run`].
pub fn profile(gpu: &Gpu, options: &Options) -> Result<Vec<Share>> {
    let (mut trainer, _store) = Trainer::new(gpu, options)?;
    trainer.seconds(1)?;
    let program = trainer.step.program();
    let mut shares: Vec<(Share, Work)> = Vec::new();
    for i in 0..program.dispatches().len() {
        let first = program.time(i..i + 1, 2)?;
        let times = (0.005 / first.max(1e-9)).ceil().clamp(1.0, 200.0) as usize;
        let seconds = median((0..3).map(|_| program.time(i..i + 1, times)).collect::<Result<_>>()?);
        let dispatch = &program.dispatches()[i];
        let variant = dispatch.kernel.variant.to_string();
        let place = shares.iter().position(|(s, _)| s.variant == variant).unwrap_or_else(|| {
            let empty = Share { variant, dispatches: 0, ms: 0.0, share: 0.0, gflops: 0.0, gbps: 0.0 };
            shares.push((empty, Work::default()));
            shares.len() - 1
        });
        let (share, work) = &mut shares[place];
        share.dispatches += 1;
        share.ms += seconds * 1e3;
        work.flops += dispatch.work.flops;
        work.bytes += dispatch.work.bytes;
    }
    let total: f64 = shares.iter().map(|(s, _)| s.ms).sum();
    let mut shares: Vec<Share> = shares
        .into_iter()
        .map(|(s, work)| Share { share: s.ms / total, gflops: work.flops / s.ms / 1e6, gbps: work.bytes / s.ms / 1e6, ..s })
        .collect();
    shares.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    Ok(shares)
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
