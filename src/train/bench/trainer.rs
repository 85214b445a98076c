//! The training step as `train` runs it.

use super::BANK;
use super::cases::Options;
use crate::data;
use crate::error::Result;
use crate::gpu::{Gpu, Read};
use crate::npid::{Loss, Method, ZRule};
use crate::ops::{Augmentation, Sgd};
use crate::rng::{Sequence, Stream};
use crate::tape::{Step, Store, StoreBuilder};
use crate::train::profile::Recorder;
use crate::train::{Images, Pixels, Profile, StepOptions, TrainingStep};
use std::collections::VecDeque;
use std::time::Instant;

/// What the optimiser is measured with.
pub(super) const SGD: Sgd = Sgd { momentum: 0.9, weight_decay: 5e-4 };

/// Bytes of an image in whole words.
pub(super) fn pixels(side: usize) -> usize {
    (side * side * 3).div_ceil(4) * 4
}

/// Training steps on random pixels.
pub(super) struct Trainer {
    gpu: Gpu,
    pub(super) step: TrainingStep,
    batches: Vec<data::Batch>,
    late: VecDeque<Read>,
    number: u32,
    pub(super) bytes: u64,
}

impl Trainer {
    /// One that has found Z.
    pub(super) fn new(gpu: &Gpu, options: &Options) -> Result<(Self, Store)> {
        let (mut trainer, store) = Self::unprepared(gpu, options)?;
        trainer.step.write_batch(&trainer.batches[0])?;
        trainer.step.find_z(Step { number: 0, seed: 0, lr: LR })?;
        gpu.wait()?;
        Ok((trainer, store))
    }

    /// One whose kernels have not run yet.
    pub(super) fn unprepared(gpu: &Gpu, options: &Options) -> Result<(Self, Store)> {
        let held = gpu.bytes().0;
        let (n, dim, negatives) = BANK;
        let net = options.net()?;
        let method = Method { loss: Loss::Nce { negatives, z: ZRule::Ema, exclude_own: false }, tau: 0.07, ..Method::default() };
        let mut builder = StoreBuilder::default();
        net.declare(&mut builder, 0)?;
        method.declare(&mut builder, n, dim, 0)?;
        let store = builder.build(gpu)?;
        let words = options.batch * pixels(options.size) / 4;
        let images = Images::Augmented { settings: Augmentation::paper(options.size), pixels: Pixels::Written { words } };
        let step_options = StepOptions { batch: options.batch, images, method, sgd: SGD, given_negatives: false };
        let step = TrainingStep::new(gpu, &net, &store, step_options)?;
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
        let bytes = gpu.bytes().0 - held;
        Ok((Self { gpu: gpu.clone(), step, batches, late: VecDeque::new(), number: 0, bytes }, store))
    }

    pub(super) fn seconds(&mut self, times: usize) -> Result<f64> {
        self.gpu.wait()?;
        let start = Instant::now();
        for _ in 0..times {
            self.step.write_batch(&self.batches[self.number as usize % self.batches.len()])?;
            self.submit()?;
            let loss = self.step.loss();
            self.late.push_back(self.step.program().read_later(loss)?);
            if self.late.len() > 2 {
                self.late.pop_front().map(Read::wait).transpose()?;
            }
        }
        self.gpu.wait()?;
        Ok(start.elapsed().as_secs_f64() / times.max(1) as f64)
    }

    fn submit(&mut self) -> Result<()> {
        self.step.run(Step { number: self.number, seed: 0, lr: LR })?;
        self.number += 1;
        Ok(())
    }

    /// Profile `times` steps, which take `seconds` when nobody watches.
    pub(super) fn profile(&mut self, times: usize, seconds: f64) -> Result<Profile> {
        let mut recorder = Recorder::new(self.step.program())?;
        for _ in 0..times {
            let begin = Instant::now();
            self.step.write_batch(&self.batches[self.number as usize % self.batches.len()])?;
            recorder.host(self.step.program(), "write images", begin);
            self.submit()?;
            recorder.step(self.step.program())?;
        }
        recorder.finish(&self.gpu, self.step.program(), Some(seconds))
    }
}

/// A learning rate that keeps weights finite on random pixels.
const LR: f32 = 1e-3;
