//! A case made ready to be sampled again and again.

use crate::case::{Case, Convolution};
use crate::resnet::Trainer;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor, module};
use serde_json::{Value, json};
use std::time::Instant;

/// A case with its tensors, and how many runs make a sample.
pub(crate) struct Timed {
    run: Box<dyn FnMut()>,
    device: Device,
    flops: f64,
    times: usize,
    /// Milliseconds of the very first run: compiling, autotuning, and one run.
    first_ms: f64,
}

impl Timed {
    /// Prepare `case`: a first run, then enough runs to know how many fill `seconds`.
    pub(crate) fn new(case: &Case, device: &Device, seconds: f64) -> Result<Self, String> {
        let start = Instant::now();
        let (run, flops) = prepare(case, device)?;
        let mut timed = Self { run, device: device.clone(), flops, times: 1, first_ms: 0.0 };
        timed.seconds()?;
        timed.first_ms = start.elapsed().as_secs_f64() * 1e3;
        for _ in 0..2 {
            timed.times = (seconds / timed.seconds()?.max(1e-9)).ceil().max(1.0) as usize;
        }
        Ok(timed)
    }

    /// Seconds a run, as the mean of a sample's.
    fn seconds(&mut self) -> Result<f64, String> {
        let sync = |device: &Device| device.sync().map_err(|error| format!("{error:?}"));
        sync(&self.device)?;
        let start = Instant::now();
        for _ in 0..self.times {
            (self.run)();
        }
        sync(&self.device)?;
        Ok(start.elapsed().as_secs_f64() / self.times as f64)
    }

    /// The answer to `line`: `samples` samples.
    pub(crate) fn sample(&mut self, line: &str, samples: usize) -> Result<Value, String> {
        let found = (0..samples.max(1)).map(|_| Ok(self.seconds()? * 1e3)).collect::<Result<Vec<f64>, String>>()?;
        let mut sorted = found.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted[sorted.len() / 2];
        let (case, shape) = line.split_once(' ').unwrap_or((line, ""));
        Ok(json!({
            "case": case, "shape": shape, "median_ms": median, "samples_ms": found, "gflops": self.flops / median / 1e6,
            "first_ms": self.first_ms,
        }))
    }
}

/// One run of `case`, and the operations that it counts.
fn prepare(case: &Case, device: &Device) -> Result<(Box<dyn FnMut()>, f64), String> {
    let matrix = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Uniform(-0.5, 0.5), device);
    let product = |[m, k, n]: [usize; 3]| 2.0 * (m * k) as f64 * n as f64;
    Ok(match case {
        Case::Forward(c) => {
            let (x, w, options) = operands(c, device);
            (Box::new(move || drop(module::conv2d(x.clone(), w.clone(), None, options.clone()))), c.flops())
        }
        Case::ForwardBackward(c) => {
            let (x, w, options) = operands(c, device);
            let (x, w) = (x.autodiff().require_grad(), w.autodiff().require_grad());
            let run = move || {
                // The upstream gradient is ones of the result's shape.
                let gradients = module::conv2d(x.clone(), w.clone(), None, options.clone()).backward();
                drop((x.grad(&gradients), w.grad(&gradients)));
            };
            (Box::new(run), 3.0 * c.flops())
        }
        &Case::Linear([m, k, n]) => {
            // Burn keeps a linear layer's weights as [inputs, outputs].
            let (x, w) = (matrix([m, k]), matrix([k, n]));
            (Box::new(move || drop(x.clone().matmul(w.clone()))), product([m, k, n]))
        }
        &Case::Scores([m, k, n]) => {
            let (f, bank) = (matrix([m, k]), matrix([n, k]));
            (Box::new(move || drop(f.clone().matmul(bank.clone().transpose()))), product([m, k, n]))
        }
        Case::Train(training) => {
            let mut trainer = Trainer::new(training, &device.clone().autodiff())?;
            let flops = trainer.flops;
            (Box::new(move || drop(trainer.step())), flops)
        }
    })
}

fn operands(c: &Convolution, device: &Device) -> (Tensor<4>, Tensor<4>, ConvOptions<2>) {
    let random = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Uniform(-0.5, 0.5), device);
    let x = random([c.batch, c.input, c.side, c.side]);
    let w = random([c.output, c.input / c.groups, c.kernel, c.kernel]);
    let pad = c.kernel / 2;
    (x, w, ConvOptions::new([c.stride; 2], [pad; 2], [1, 1], c.groups))
}
