//! A residual network of Burn's own layers, and its training step by instance discrimination.

use crate::case::{Convolution, Training};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Distribution, IndexingUpdateOp, Int, Tensor, activation};

/// The temperature, and the weight of a bank row's old value.
const TAU: f32 = 0.07;
const KEEP: f32 = 0.5;
/// A learning rate that keeps weights finite on random pixels.
const LR: f64 = 1e-3;

/// A convolution and its batch norm.
#[derive(Module, Debug)]
struct Unit {
    conv: Conv2d,
    norm: BatchNorm,
}

impl Unit {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }
}

#[derive(Module, Debug)]
struct Residual {
    body: Vec<Unit>,
    shortcut: Option<Unit>,
}

impl Residual {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut y = x.clone();
        for (i, unit) in self.body.iter().enumerate() {
            y = unit.forward(if i == 0 { y } else { activation::relu(y) });
        }
        let x = self.shortcut.as_ref().map_or_else(|| x.clone(), |unit| unit.forward(x.clone()));
        activation::relu(y + x)
    }
}

/// Images `[n, 3, side, side]` to unit vectors `[n, dim]`.
#[derive(Module, Debug)]
struct ResNet {
    stem: Unit,
    pool: Option<MaxPool2d>,
    blocks: Vec<Residual>,
    fc: Linear,
}

impl ResNet {
    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let mut x = activation::relu(self.stem.forward(x));
        if let Some(pool) = &self.pool {
            x = pool.forward(x);
        }
        for block in &self.blocks {
            x = block.forward(x);
        }
        let [n, channels, ..] = x.dims();
        unit_rows(self.fc.forward(x.flatten::<3>(2, 3).mean_dim(2).reshape([n, channels])))
    }
}

fn unit_rows(x: Tensor<2>) -> Tensor<2> {
    let length = x.clone().powf_scalar(2.0).sum_dim(1).sqrt().clamp_min(1e-12);
    x / length
}

/// Builds layer by layer and counts the operations of the convolutions on the way.
struct Builder<'a> {
    batch: usize,
    side: usize,
    flops: f64,
    device: &'a Device,
}

impl Builder<'_> {
    fn unit(&mut self, input: usize, output: usize, kernel: usize, stride: usize) -> Unit {
        let c = Convolution { batch: self.batch, input, output, side: self.side, kernel, stride, groups: 1 };
        self.flops += c.flops();
        self.side = c.out();
        let pad = kernel / 2;
        let conv = Conv2dConfig::new([input, output], [kernel; 2])
            .with_stride([stride; 2])
            .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
            .with_bias(false);
        Unit { conv: conv.init(self.device), norm: BatchNormConfig::new(output).init(self.device) }
    }

    fn resnet(&mut self, training: &Training) -> Result<ResNet, String> {
        let (counts, bottleneck) = match training.arch.as_str() {
            "resnet18" => ([2, 2, 2, 2], false),
            "resnet34" => ([3, 4, 6, 3], false),
            "resnet50" => ([3, 4, 6, 3], true),
            other => return Err(format!("no network `{other}`")),
        };
        let large = self.side > 64;
        let width = training.width;
        let stem = if large { self.unit(3, width, 7, 2) } else { self.unit(3, width, 3, 1) };
        let pool = large.then(|| {
            self.side = self.side.div_ceil(2);
            MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init()
        });
        let mut blocks = Vec::new();
        let mut channels = width;
        for (stage, count) in counts.into_iter().enumerate() {
            for number in 0..count {
                let stride = if stage > 0 && number == 0 { 2 } else { 1 };
                let own = width << stage;
                let (side, input) = (self.side, channels);
                let body = if bottleneck {
                    vec![self.unit(input, own, 1, 1), self.unit(own, own, 3, stride), self.unit(own, 4 * own, 1, 1)]
                } else {
                    vec![self.unit(input, own, 3, stride), self.unit(own, own, 3, 1)]
                };
                channels = if bottleneck { 4 * own } else { own };
                let shortcut = (stride != 1 || input != channels).then(|| {
                    self.side = side;
                    self.unit(input, channels, 1, stride)
                });
                blocks.push(Residual { body, shortcut });
            }
        }
        let fc = LinearConfig::new(channels, training.dim).init(self.device);
        Ok(ResNet { stem, pool, blocks, fc })
    }
}

/// Network, optimiser and bank, with a batch of random images on the device.
pub(crate) struct Trainer {
    net: Option<ResNet>,
    optimiser: ModuleOptimizer,
    bank: Tensor<2>,
    images: Tensor<4>,
    own: Tensor<1, Int>,
    negatives: usize,
    /// What a step counts: three times its forward convolutions.
    pub(crate) flops: f64,
}

impl Trainer {
    /// A trainer on a device with automatic differentiation.
    pub(crate) fn new(training: &Training, device: &Device) -> Result<Self, String> {
        let mut builder = Builder { batch: training.batch, side: training.side, flops: 0.0, device };
        let net = builder.resnet(training)?;
        let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
        let sgd = SgdConfig::new().with_momentum(Some(momentum)).with_weight_decay(Some(WeightDecayConfig::new(5e-4)));
        let plain = device.clone().inner();
        let bank = Tensor::random([training.rows, training.dim], Distribution::Normal(0.0, 1.0), &plain);
        let pixels = [training.batch, 3, training.side, training.side];
        Ok(Self {
            flops: 3.0 * builder.flops,
            net: Some(net),
            optimiser: sgd.init(),
            bank: unit_rows(bank),
            images: Tensor::random(pixels, Distribution::Normal(0.0, 1.0), device),
            own: Tensor::arange(0..training.batch as i64, &plain),
            negatives: training.negatives,
        })
    }

    /// One step: forward, loss, backward, SGD, and the bank rows of the batch. Returns the loss, still on the device; `None` after a
    /// step that panicked.
    pub(crate) fn step(&mut self) -> Option<Tensor<1>> {
        let net = self.net.take()?;
        let [rows, dim] = self.bank.dims();
        let [batch, ..] = self.images.dims();
        let m = self.negatives;
        let f = net.forward(self.images.clone());
        let drawn = Tensor::<1, Int>::random([batch * m], Distribution::Uniform(0.0, rows as f64), &self.bank.device());
        let own = self.own.clone().reshape([batch, 1]);
        let rows_of = Tensor::cat(vec![own, drawn.reshape([batch, m])], 1).reshape([batch * (m + 1)]);
        let gathered = self.bank.clone().select(0, rows_of).reshape([batch, m + 1, dim]).autodiff();
        let scores = gathered.matmul(f.clone().reshape([batch, dim, 1])).reshape([batch, m + 1]);
        // h = P / (P + m / n) with P = exp(score / tau) / Z and Z = n, as if the constant had been estimated so.
        let p = scores.div_scalar(TAU).exp().div_scalar(rows as f32);
        let noise = m as f32 / rows as f32;
        let own = p.clone().slice([0..batch, 0..1]);
        let others = p.slice([0..batch, 1..m + 1]);
        let own = (own.clone() / own.add_scalar(noise)).log().sum();
        let others = others.add_scalar(noise).recip().mul_scalar(noise).log().sum();
        let loss = (own + others).div_scalar(-(batch as f32));
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        self.net = Some(self.optimiser.step(LR, net, gradients));
        let old = self.bank.clone().select(0, self.own.clone());
        let moved = unit_rows(old.mul_scalar(KEEP) + f.inner().mul_scalar(1.0 - KEEP));
        // Taken out of `self` first, so that Burn may write in place.
        let bank = std::mem::replace(&mut self.bank, Tensor::zeros([1, 1], &self.own.device()));
        self.bank = bank.select_assign(0, self.own.clone(), moved, IndexingUpdateOp::Assign);
        Some(loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_lower_the_loss() {
        let training = Training { arch: "resnet18".into(), width: 8, batch: 16, side: 16, negatives: 64, rows: 256, dim: 128 };
        let mut trainer = Trainer::new(&training, &Device::wgpu(Default::default()).autodiff()).unwrap();
        let losses: Vec<f32> = (0..20).map(|_| trainer.step().unwrap().into_scalar()).collect();
        let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
        // PyTorch goes from 17 to 19 (four seeds) to 5 in these steps. A NaN passes no comparison.
        assert!(mean(&losses[15..]) < 0.5 * mean(&losses[..5]), "{losses:?}");
        println!("{losses:?}");
    }
}
