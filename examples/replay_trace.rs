//! Replay a PyTorch training trace step by step and print how far this crate's numbers are from it, as one JSON object.
//!
//! `cargo run --release --example replay_trace -- FILE [NUDGE]` with a file of the format `instdisc-trace-1`: metadata that says what
//! was run, first weights, and for every step the images, rows and negatives; losses, gradients and final weights to compare.
//! With a NUDGE above 0 some of the first weights are moved by a unit in the last place, other ones for each number: later
//! losses depend on which ReLU a value of 1e-8 falls on, and so on the last bit of the weights.

use instdisc::checkpoint::File;
use instdisc::gpu::Gpu;
use instdisc::nn::{Block, Mode, ResNet, ResNetConfig, Stem};
use instdisc::npid::{self, Loss, Method, ZRule};
use instdisc::optim::Sgd;
use instdisc::shape::Layout;
use instdisc::tape::{Part, Step, Store, StoreBuilder, Tape};
use instdisc::train::{Images, StepOptions, TrainingStep};
use instdisc::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn main() -> std::process::ExitCode {
    let Some(path) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: replay_trace FILE.safetensors [NUDGE]");
        return std::process::ExitCode::from(2);
    };
    let nudge = std::env::args().nth(2).and_then(|n| n.parse().ok()).unwrap_or(0);
    match replay(&path, nudge) {
        Ok(report) => {
            println!("{report}");
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// What the trace's metadata says was run.
struct Trace {
    path: PathBuf,
    file: File,
    config: ResNetConfig,
    method: Method,
    sgd: Sgd,
    lr: f32,
    log_z: f32,
    size: usize,
    batch: usize,
    steps: usize,
    n: usize,
}

impl Trace {
    fn read(path: &Path) -> Result<Self> {
        let file = File::import(path)?;
        let fault =
            |key: &str| Error::data(path, format!("is no trace: the metadata has no usable `{key}`; see reference/README.md"));
        let meta: &BTreeMap<String, String> = &file.metadata;
        let text = |key: &str| meta.get(key).map(String::as_str).ok_or_else(|| fault(key));
        let number = |key: &str| text(key)?.parse::<f64>().map_err(|_| fault(key));
        let whole = |key: &str| text(key)?.parse::<usize>().map_err(|_| fault(key));
        if text("format")? != "instdisc-trace-1" {
            return Err(fault("format"));
        }
        let block = match text("block")? {
            "basic" => Block::Basic,
            "bottleneck" => Block::Bottleneck,
            _ => return Err(fault("block")),
        };
        let stem = match text("stem")? {
            "cifar" => Stem::Cifar,
            "imagenet" => Stem::Imagenet,
            _ => return Err(fault("stem")),
        };
        let blocks = text("blocks")?.split(',').map(|b| b.trim().parse().map_err(|_| fault("blocks"))).collect::<Result<_>>()?;
        let loss = match text("loss")? {
            "softmax" => Loss::Softmax,
            "nce" => Loss::Nce { negatives: whole("negatives")?, z: ZRule::First, exclude_own: false },
            _ => return Err(fault("loss")),
        };
        let [tau, bank_keep, prox] = ["tau", "bank_keep", "prox"].map(&number);
        let method = Method { loss, tau: tau? as f32, bank_keep: bank_keep? as f32, prox: prox? as f32, ..Method::default() };
        Ok(Self {
            config: ResNetConfig { block, blocks, width: whole("width")?, groups: whole("groups")?, stem, dim: whole("dim")? },
            method,
            sgd: Sgd { momentum: number("momentum")? as f32, weight_decay: number("weight_decay")? as f32 },
            lr: number("lr")? as f32,
            log_z: if method.loss == Loss::Softmax { 0.0 } else { number("z")?.ln() as f32 },
            size: whole("size")?,
            batch: whole("batch")?,
            steps: whole("steps")?,
            n: whole("n")?,
            path: path.to_owned(),
            file,
        })
    }

    fn floats(&self, name: &str) -> Result<Vec<f32>> {
        self.tensor(name)?.as_f32()
    }

    fn integers(&self, name: &str) -> Result<Vec<u32>> {
        Ok(self.tensor(name)?.as_i32()?.into_iter().map(|i| i.max(0) as u32).collect())
    }

    fn tensor(&self, name: &str) -> Result<&instdisc::checkpoint::Tensor> {
        self.file.tensors.get(name).ok_or_else(|| Error::data(&self.path, format!("has no tensor `{name}`")))
    }

    /// The trace's weights and running statistics under `prefix`, with what the network has for each.
    fn compare(&self, prefix: &str, ours: impl Fn(&str) -> Result<Vec<f32>>) -> Result<f64> {
        let mut worst: f64 = 0.0;
        let mut compared = 0;
        for name in self.file.tensors.keys().filter_map(|name| name.strip_prefix(prefix)) {
            worst = larger(worst, relative(&ours(name)?, &self.floats(&format!("{prefix}{name}"))?));
            compared += 1;
        }
        if compared == 0 { Err(Error::data(&self.path, format!("has nothing under `{prefix}`"))) } else { Ok(worst) }
    }
}

/// The larger of two, where NaN is larger than anything.
fn larger(a: f64, b: f64) -> f64 {
    if b <= a { a } else { b }
}

/// ‖a − b‖ / ‖b‖; NaN where the lengths differ.
fn relative(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::NAN;
    }
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    let gap = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    gap / norm(&mut b.iter().map(|b| f64::from(*b))).max(1e-30)
}

fn largest_gap(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::NAN;
    }
    a.iter().zip(b).fold(0.0, |worst, (a, b)| larger(worst, (f64::from(*a) - f64::from(*b)).abs()))
}

pub(crate) fn replay(path: &Path, nudge: u32) -> Result<serde_json::Value> {
    let trace = Trace::read(path)?;
    let gpu = Gpu::open(&Default::default())?;
    let net = ResNet::new(trace.config.clone())?;
    let mut store = load(&gpu, &net, &trace, nudge)?;
    let options = StepOptions {
        batch: trace.batch,
        images: Images::Given { side: trace.size },
        method: trace.method,
        sgd: trace.sgd,
        given_negatives: true,
    };
    let mut step = TrainingStep::new(&gpu, &net, &store, options)?;
    let expected: Vec<f64> = trace.tensor("loss")?.as_f64()?;
    let (mut losses, mut gradients, mut embedding) = (Vec::new(), f64::NAN, f64::NAN);
    if expected.len() != trace.steps {
        return Err(Error::data(path, format!("has {} losses for {} steps", expected.len(), trace.steps)));
    }
    for (t, expected) in expected.into_iter().enumerate() {
        step.write_images(&trace.floats(&format!("x/{t}"))?, &trace.integers(&format!("index/{t}"))?)?;
        if trace.method.loss != Loss::Softmax {
            step.write_negatives(&trace.integers(&format!("negatives/{t}"))?)?;
        }
        step.run(Step { number: t as u32, seed: 0, lr: trace.lr })?;
        let (loss, f) = (step.loss(), step.embedding());
        let got = f64::from(step.program().read(loss)?[0]);
        losses.push((got - expected).abs() / expected.abs());
        if t == 0 {
            gradients = trace.compare("grad/", |name| store.read(name, Part::Grad))?;
            embedding = largest_gap(&step.program().read(f)?, &trace.floats("embedding/0")?);
        }
    }
    let value = |name: &str| if name.contains("running_") { store.read_state(name) } else { store.read(name, Part::Value) };
    let weights = trace.compare("final/", value)?;
    let bank = relative(&store.read_state(npid::BANK)?, &trace.floats("bank/final")?);
    let evaluated = evaluate(&gpu, &net, &mut store, &trace)?;
    Ok(serde_json::json!({
        "loss_rel": losses,
        "grad_rel_max": gradients,
        "embedding0_abs_max": embedding,
        "bank_rel": bank,
        "weights_rel_max": weights,
        "embedding_eval_abs_max": largest_gap(&evaluated, &trace.floats("embedding/eval")?),
    }))
}

/// A store with the trace's first weights, nudged, bank and Z.
fn load(gpu: &Gpu, net: &ResNet, trace: &Trace, nudge: u32) -> Result<Store> {
    let mut builder = StoreBuilder::default();
    net.declare(&mut builder, 0)?;
    trace.method.declare(&mut builder, trace.n, trace.config.dim, 0)?;
    let mut store = builder.build(gpu)?;
    let names: Vec<String> = store.parameters().map(|p| p.name.clone()).collect();
    for name in names {
        let mut values = trace.floats(&format!("init/{name}"))?;
        for (i, value) in values.iter_mut().enumerate().filter(|_| nudge > 0) {
            let random = instdisc::rng::hash([nudge, 0], 0, i as u32)[0];
            *value = if random.is_multiple_of(3) { value.next_up() } else { *value };
        }
        store.write(&name, Part::Value, &values)?;
    }
    store.write_state(npid::BANK, &trace.floats("bank/initial")?)?;
    store.write_state(npid::Z, &[trace.log_z, 1.0, 0.0, 0.0])?;
    Ok(store)
}

/// Embeddings of the first batch in evaluation mode.
fn evaluate(gpu: &Gpu, net: &ResNet, store: &mut Store, trace: &Trace) -> Result<Vec<f32>> {
    let mut tape = Tape::new(gpu);
    let x = tape.input("x", &[trace.batch, 3, trace.size, trace.size], Layout::Rows)?;
    let features = net.forward(&mut tape, store, x, Mode::Evaluate)?;
    tape.keep(features.embedding)?;
    let mut program = tape.compile()?;
    program.write(x, &trace.floats("x/0")?)?;
    program.run()?;
    program.read(features.embedding)
}
