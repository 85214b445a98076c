//! Training: a network that learns to tell every picture from all others.

use crate::pictures::Pictures;
use instdisc::data::{Loader, Sampler};
use instdisc::gpu::{Gpu, Read};
use instdisc::nn::{Block, ResNet, ResNetConfig, Stem};
use instdisc::npid::{Loss, Method};
use instdisc::ops::Augmentation;
use instdisc::optim::{Schedule, Sgd};
use instdisc::tape::{Step, Store, StoreBuilder};
use instdisc::train::{Images, Pixels, StepOptions, TrainingStep};
use instdisc::{Error, Result};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Pictures a step.
pub(crate) const BATCH: usize = 32;
/// Side of the pictures as the network sees them.
pub(crate) const SIDE: usize = 32;
/// Words of a batch of them.
pub(crate) const WORDS: usize = BATCH * SIDE * SIDE * 3 / 4;
const FIRST_RATE: f32 = 0.05;
/// Losses that may be on their way from the device while the next steps run.
const IN_FLIGHT: usize = 3;

/// Training's augmentations, which recall@1 is measured with too.
pub(crate) fn augmentation() -> Augmentation {
    let (mean, deviation) = ([0.5; 3], [0.25; 3]);
    Augmentation { area: [0.4, 1.0], jitter: [0.3; 3], hue: 0.1, grey: 0.1, mean, deviation, ..Augmentation::paper(SIDE) }
}

/// What the adapter can do in the time.
pub(crate) struct Plan {
    pub(crate) pictures: usize,
    /// Over which the learning rate falls to zero. Where time is up before, stopping on the way does better than a shorter fall.
    pub(crate) epochs: usize,
    /// Channels of the network's first stage.
    pub(crate) width: usize,
}

impl Plan {
    /// A small network on a processor, a larger one and all pictures on a GPU.
    pub(crate) fn of(gpu: &Gpu) -> Self {
        if gpu.facts().software {
            Self { pictures: 256, epochs: 180, width: 16 }
        } else {
            Self { pictures: usize::MAX, epochs: 300, width: 32 }
        }
    }
}

/// What one epoch reports.
pub(crate) struct Epoch {
    /// Epochs done.
    pub(crate) done: usize,
    /// The mean loss.
    pub(crate) loss: f32,
    /// Pictures a second, without what is done between epochs.
    pub(crate) speed: f64,
}

/// A network on its way.
pub(crate) struct Training {
    pub(crate) net: ResNet,
    pub(crate) store: Store,
    step: TrainingStep,
    loader: Loader,
    steps_an_epoch: u64,
    seed: u64,
    done: usize,
    epochs: usize,
    deadline: Instant,
}

impl Training {
    /// A new network of `plan`, with a bank of random rows.
    pub(crate) fn new(gpu: &Gpu, pictures: &Pictures, plan: &Plan, seed: u64, deadline: Instant) -> Result<Self> {
        let config =
            ResNetConfig { block: Block::Basic, blocks: vec![1, 1, 1], width: plan.width, groups: 1, stem: Stem::Half, dim: 128 };
        let net = ResNet::new(config)?;
        let n = pictures.originals.len();
        let method = Method { loss: Loss::Softmax, tau: 0.2, ..Method::default() };
        let mut builder = StoreBuilder::default();
        net.declare(&mut builder, seed)?;
        method.declare(&mut builder, n, 128, seed)?;
        let store = builder.build(gpu)?;
        let images = Images::Augmented { settings: augmentation(), pixels: Pixels::Written { words: WORDS } };
        let sgd = Sgd { momentum: 0.9, weight_decay: 1e-4 };
        let step =
            TrainingStep::new(gpu, &net, &store, StepOptions { batch: BATCH, images, method, sgd, given_negatives: false })?;
        let sampler = Sampler::new(n, BATCH, seed)?;
        let steps_an_epoch = sampler.batches_per_epoch();
        let loader = Loader::new(Arc::new(pictures.set.clone()), sampler, 0..u64::MAX, 1)?;
        Ok(Self { net, store, step, loader, steps_an_epoch, seed, done: 0, epochs: plan.epochs, deadline })
    }

    /// Train for an epoch; `None` when there are no more. `seen` gets each step's loss and the pictures a second so far.
    pub(crate) fn epoch(&mut self, mut seen: impl FnMut(f32, f64)) -> Result<Option<Epoch>> {
        if self.done == self.epochs || Instant::now() >= self.deadline {
            return Ok(None);
        }
        let start = Instant::now();
        let lr = Schedule::Cosine.rate(FIRST_RATE, self.done, self.epochs);
        let (mut losses, mut reads) = (Vec::new(), VecDeque::new());
        let mut take = |read: Read| -> Result<()> {
            let loss = read.wait()?.first().map_or(f32::NAN, |word| f32::from_bits(*word));
            losses.push(loss);
            seen(loss, (losses.len() * BATCH) as f64 / start.elapsed().as_secs_f64());
            Ok(())
        };
        let mut last = 0;
        for _ in 0..self.steps_an_epoch {
            let Some(batch) = self.loader.next().transpose()?.filter(|_| Instant::now() < self.deadline) else { break };
            last = batch.step;
            self.step.write_batch(&batch)?;
            self.step.run(Step { number: last as u32, seed: self.seed, lr })?;
            let loss = self.step.loss();
            reads.push_back(self.step.program().read_later(loss)?);
            if reads.len() > IN_FLIGHT
                && let Some(read) = reads.pop_front()
            {
                take(read)?;
            }
        }
        reads.into_iter().try_for_each(&mut take)?;
        if losses.is_empty() {
            return Ok(None);
        }
        let program = self.step.program();
        if let Some(flag) = program.read_guard()?
            && flag.wait()?.first() != Some(&0)
        {
            program.find_non_finite(last)?;
            return Err(Error::NotFinite { tensor: "an earlier step".into(), index: 0, step: last });
        }
        self.done += 1;
        let seconds = start.elapsed().as_secs_f64();
        let loss = losses.iter().sum::<f32>() / losses.len() as f32;
        Ok(Some(Epoch { done: self.done, loss, speed: (losses.len() * BATCH) as f64 / seconds }))
    }
}
